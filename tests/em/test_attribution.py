"""Shapley values against their definition, and shares of a score computed with the model itself."""

from dataclasses import replace
from itertools import permutations
from math import factorial
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from latentcrs_utils.config import EMConfig
from latentcrs_utils.em import attribution
from latentcrs_utils.em.model import LatentCRS
from latentcrs_utils.em.networks import InferenceModel

from .small_world import N_INTENTS, N_RANDOM, TEXT, WIDTH, random_instances, random_model

ITEMS = list(range(1, N_RANDOM + 1))
FORMS = ("mixture", "logit", "product")
systems = st.tuples(st.sampled_from(FORMS), st.booleans(), st.integers(0, 2**16))
number = st.floats(-50, 50)


def fitted(form="mixture", residual=True, seed=0) -> LatentCRS:
    """A model as `fit_em` returns it, of random weights, whose residual speaks loudly."""
    noise, model = torch.Generator().manual_seed(seed), random_model(form, residual, seed)
    for parameter in model.requires_grad_(False).parameters():
        parameter.copy_(torch.randn(parameter.shape, generator=noise))
    config, stages = EMConfig(form=form, residual=residual), [SimpleNamespace(mean=range(TEXT))] * 4
    return LatentCRS(*stages, config, model, InferenceModel(WIDTH).double(), [])


def instance(seed=1) -> tuple[torch.Tensor, torch.Tensor]:
    one = random_instances(n=1, seed=seed)
    return one.S, one.x


@st.composite
def games(draw):
    """The worths [2^n] of two games of n players."""
    n = draw(st.integers(1, 5))
    worths = st.lists(number, min_size=2**n, max_size=2**n)
    return n, torch.tensor([draw(worths), draw(worths)], dtype=torch.float64)


@given(games(), number)
def test_the_values_are_the_average_over_all_orders_efficient_and_additive(game, factor):
    n, (worths, other) = game
    expected = torch.zeros(n, dtype=torch.float64)
    for order in permutations(range(n)):
        coalition = 0
        for player in order:
            expected[player] += worths[coalition | 1 << player] - worths[coalition]
            coalition |= 1 << player
    values = attribution.shapley_values(worths)
    torch.testing.assert_close(values, expected / factorial(n))
    torch.testing.assert_close(values.sum(), worths[-1] - worths[0], atol=1e-9, rtol=1e-9)
    both = attribution.shapley_values(torch.stack([worths, other], dim=1))  # many games at once
    summed = attribution.shapley_values(worths + factor * other)
    torch.testing.assert_close(summed, both[:, 0] + factor * both[:, 1], atol=1e-8, rtol=1e-9)


def test_three_players_by_hand():
    # history 1, words 2, residual 4; history and words are worth 6 more together
    worths = torch.tensor([0.0, 1, 2, 9, 4, 5, 6, 13])
    assert attribution.shapley_values(worths).tolist() == pytest.approx([4, 5, 4])


def test_what_is_no_game_or_not_one_instance_is_refused():
    for n in (0, 1, 3, 6):
        with pytest.raises(ValueError, match="2\\^n coalitions"):
            attribution.shapley_values(torch.zeros(n))
    S, x = instance()
    with pytest.raises(ValueError, match="one instance, not of 2 and 1"):
        attribution.coalition_scores(fitted(), S.expand(2, -1), x)


@given(systems)
def test_coalitions_are_what_the_model_says_with_less_and_shares_add_up(system):
    model, (S, x) = fitted(*system), instance(system[2])
    rows = attribution.coalition_scores(model, S, x)
    assert torch.isneginf(rows[:, 0]).all()
    torch.testing.assert_close(rows[:, 1:].exp().sum(1), torch.ones(len(rows)).double())
    for c, row in enumerate(rows):
        state = (S * (c & 1), x * (c >> 1 & 1))
        context = model.generative.context(*state, residual=bool(c & 4))
        expected = model.generative.log_probability(context, model.catalogue)[0]
        torch.testing.assert_close(row, expected)
    shares = attribution.contributions(model, S, x, ITEMS)
    torch.testing.assert_close(shares, attribution.shapley_values(rows[:, 1:]))
    torch.testing.assert_close(rows[-1], model.scores(S, x)[0])
    torch.testing.assert_close(shares.sum(0), (rows[-1] - rows[0])[1:], atol=1e-9, rtol=1e-9)
    residual = ("residual",) if system[1] else ()
    assert attribution.players(model) == ("history", "words", *residual)
    assert len(shares) == len(attribution.players(model))
    for player, row in zip(who := attribution.players(model), (-2, -3, 3), strict=False):
        assert attribution.without(who, player) == row % len(rows)
    if residual:
        assert not torch.allclose(rows[3, 1:], rows[7, 1:])


@given(systems)
def test_pushes_are_a_player_of_their_own_and_all_shares_add_up(system):
    model, (S, x) = fitted(*system), instance(system[2])
    said = torch.randn(N_INTENTS, generator=torch.Generator().manual_seed(system[2])).double()
    rows = attribution.coalition_scores(model, S, x, said)
    assert attribution.players(model, True) == (*attribution.players(model), "pushes")
    torch.testing.assert_close(rows[: len(rows) // 2], attribution.coalition_scores(model, S, x))
    context = model.context(S, x)
    pushed = replace(context, log_prior=(context.log_prior + said).log_softmax(-1))
    torch.testing.assert_close(rows[-1], model.final_scores(pushed, S, None)[0])
    shares = attribution.contributions(model, S, x, ITEMS, said)
    torch.testing.assert_close(shares.sum(0), (rows[-1] - rows[0])[1:], atol=1e-9, rtol=1e-9)
    nothing = attribution.contributions(model, S, x, ITEMS, torch.zeros(N_INTENTS).double())
    assert nothing[-1].abs().max() < 1e-9


@given(systems)
def test_a_silent_residual_gets_nothing_and_leaves_the_others_their_shares(system):
    form, _, seed = system
    model, (S, x) = fitted(form, True, seed), instance(seed)
    model.generative.residual.a.data.zero_()
    for parameter in model.generative.residual.T.layers[-1].parameters():
        parameter.data.zero_()
    *two, of_residual = attribution.contributions(model, S, x, ITEMS)
    assert of_residual.abs().max() < 1e-9
    model.generative.residual = None
    del model.__dict__["catalogue"]
    alone = attribution.contributions(model, S, x, ITEMS)
    torch.testing.assert_close(torch.stack(two), alone, atol=1e-9, rtol=0)


@given(systems)
def test_who_is_absent_or_not_read_gets_nothing(system):
    model, (S, x) = fitted(*system), instance(system[2])
    assert attribution.contributions(model, 0 * S, x, ITEMS)[0].abs().max() < 1e-9
    assert attribution.contributions(model, S, 0 * x, ITEMS)[1].abs().max() < 1e-9
    model.generative.f.text.layers[0].weight.data.zero_()
    if model.generative.residual is not None:
        model.generative.residual.T.layers[0].weight.data[:, WIDTH:] = 0
    assert attribution.contributions(model, S, x, ITEMS)[1].abs().max() < 1e-9
