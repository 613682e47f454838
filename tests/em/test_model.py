"""`fit_em` and the rivals without intents, on a world where the words decide."""

from dataclasses import replace

import polars as pl
import pytest
import torch

from latentcrs_utils.baselines.direct import fit_fusion, fit_text_alone
from latentcrs_utils.config import DirectConfig, EMConfig
from latentcrs_utils.em import losses
from latentcrs_utils.em.instances import instances_of, rows_of
from latentcrs_utils.em.model import fit_em
from latentcrs_utils.evaluation.metrics import metric_values
from latentcrs_utils.evaluation.one_turn import (
    dialogue_cases,
    evaluate,
    level_table,
    one_turn_cases,
    summarise,
)
from latentcrs_utils.ranking import rank_of_target

from .small_world import N_ITEMS, N_USERS, Language, anchors, backbone, dataset

QUICK = EMConfig(
    learning_rate=1e-2, dropout=0.1, batch_size=32, n_epochs_q=2, n_epochs_generative=20,
    n_epochs_alternate=4,
)  # fmt: skip


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LATENTCRS_CACHE", str(tmp_path_factory.mktemp("cache")))
        data = dataset()
        encoder = backbone(data)
        yield data, encoder, anchors(encoder.encode(data.histories("train"))), Language(data)


@pytest.mark.parametrize("residual", [False, True])
def test_fit_learns_what_the_words_say_and_loads_the_same_fit_again(world, residual):
    model = fit_em(*world, replace(QUICK, residual=residual), progress=False)
    assert model.name == ("LatentCRS+" if residual else "LatentCRS")
    data, encoder, _, language = world
    test = instances_of(data, encoder, language, rows_of(language, "test"))
    scores = model.scores(test.S, test.x)
    assert scores.shape == (N_USERS, N_ITEMS + 1)
    assert torch.isneginf(scores[:, 0]).all() or (scores[:, 0] < -80).all()
    torch.testing.assert_close(scores[:, 1:].exp().sum(1), torch.ones(N_USERS))
    said = test.targets % 3
    mass = torch.stack([scores[:, 1:].exp()[:, g - 1 :: 3].sum(1) for g in (3, 1, 2)], dim=1)
    if residual:  # only the residual sees the genres of the items
        assert (mass.argmax(1) == said).float().mean() > 0.8
    likelihood = [row["log_likelihood"] for row in model.curve]
    assert likelihood[-1] > likelihood[0] + 0.05
    again = fit_em(*world, replace(QUICK, residual=residual), progress=False)
    torch.testing.assert_close(again.scores(test.S, test.x), scores, rtol=0, atol=0)
    assert again.curve == model.curve


def test_another_seed_or_config_is_another_fit(world):
    first = fit_em(*world, QUICK, progress=False)
    other = fit_em(*world, QUICK, seed=1, progress=False)
    third = fit_em(*world, replace(QUICK, lambda_=2.0), progress=False)
    table = first.generative.item_table()[:, 1:]
    for model in (other, third):
        assert not torch.equal(table, model.generative.item_table()[:, 1:])


def test_posteriors_are_distributions_and_bayes_holds(world):
    model = fit_em(*world, replace(QUICK, residual=True), progress=False)
    data, encoder, _, language = world
    test = instances_of(data, encoder, language, rows_of(language, "test"))
    prior = model.intent_posterior(test.S, test.x)
    exact = model.item_posterior(test.targets, test.S, test.x)
    for distribution in (prior, exact, model.inferred_intents(test.S)):
        torch.testing.assert_close(distribution.sum(1), torch.ones(N_USERS))
    context = model.context(test.S, test.x)
    log_item = model.generative.log_item(context, test.targets, model.catalogue)
    joint = (context.log_prior + log_item).exp()
    torch.testing.assert_close(exact, joint / joint.sum(1, keepdim=True))
    gap = losses.log_likelihood(context.log_prior, log_item) - losses.elbo(
        exact.log(), context.log_prior, log_item
    )
    torch.testing.assert_close(gap, torch.zeros(N_USERS), atol=1e-4, rtol=0)


def test_rivals_read_what_they_should(world):
    data, encoder, _, language = world
    config = DirectConfig(learning_rate=1e-2, dropout=0.1, n_epochs=15)
    text = fit_text_alone(data, encoder, language, config=config, progress=False)
    fusion = fit_fusion(data, encoder, language, config=config, progress=False)
    x, S = language.x[:5], torch.randn(5, 8)
    torch.testing.assert_close(text.scores(S, x), text.scores(-S, x))
    assert not torch.allclose(fusion.scores(S, x)[:, 1:], fusion.scores(-S, x)[:, 1:])
    cases = one_turn_cases(data, encoder, language)
    systems = {
        "text": lambda c: text.scores(c.instances.S, c.instances.x),
        "nothing": lambda c: torch.zeros(len(c.texts), N_ITEMS + 1),
    }
    ranks = evaluate(cases, systems)
    assert metric_values(ranks["text"], "Recall@5").mean() > 0.5
    assert metric_values(ranks["nothing"], "Recall@5").mean() == 0


def test_evaluation_asks_for_few_scores_at_a_time_and_finds_the_same_ranks(world):
    data, encoder, _, language = world
    cases = one_turn_cases(data, encoder, language)
    asked = []

    def scorer(some):
        asked.append(len(some))
        assert len(some.frame) == len(some.instances) == len(some.instances.histories) == len(some)
        return encoder.scores(some.instances.S) + some.instances.x.sum(1, keepdim=True)

    whole = rank_of_target(scorer(cases), cases.instances.targets, cases.instances.histories)
    unmasked = rank_of_target(scorer(cases), cases.instances.targets)
    asked.clear()
    few = 3 * 4 * (N_ITEMS + 1)
    assert evaluate(cases, {"a": scorer}, memory=few)["a"].tolist() == whole.tolist()
    assert max(asked) == 3
    assert evaluate(cases, {"a": scorer}, masked=False)["a"].tolist() == unmasked.tolist()
    assert cases.take(slice(5, 8)).texts == cases.texts[5:8]
    assert evaluate(cases.take(slice(0, 0)), {"a": scorer})["a"].tolist() == []


def test_the_catalogue_is_computed_once_for_a_fitted_model(world, monkeypatch):
    model = fit_em(*world, replace(QUICK, residual=True), progress=False)
    data, encoder, _, language = world
    test = instances_of(data, encoder, language, rows_of(language, "test"))
    fresh = model.generative.log_probability(
        model.context(test.S, test.x), model.generative.catalogue()
    )
    with torch.inference_mode():
        first = model.scores(test.S, test.x)
    assert torch.equal(first, fresh)
    monkeypatch.setattr(type(model.generative), "catalogue", None)
    assert torch.equal(model.scores(test.S, test.x), first)


def test_summary_averages_over_seeds_by_hand(world):
    data, encoder, _, language = world
    cases = one_turn_cases(data, encoder, language)
    first = {"a": torch.ones(N_USERS, dtype=torch.int64).numpy()}
    second = {"a": torch.full((N_USERS,), 3, dtype=torch.int64).numpy()}
    row = summarise(cases, [first, second]).row(0, named=True)
    assert row["n"] == N_USERS
    assert row["NDCG@20"] == pytest.approx((1 + 0.5) / 2)
    assert row["Recall@5"] == 1
    assert row["seed_spread"] == pytest.approx(0.5)
    assert row["low"] == pytest.approx(0.75)
    dialogues = dialogue_cases(data, encoder, language)
    assert dialogues.frame["level"].to_list() == ["1"] * (N_USERS // 2) + ["2"] * (N_USERS // 2)
    assert set(dialogues.frame["user"][: N_USERS // 2]) == set(range(0, N_USERS, 2))
    table = level_table(summarise(cases, [first]), phrasing="test")
    assert table.equals(pl.DataFrame({"system": ["a"], "plain": [1.0]}))
