"""UNICORN on worlds of a few dozen films: its parts by hand, and a best policy that it finds."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from latentcrs_utils.baselines import unicorn as module
from latentcrs_utils.baselines.attributes import attributes_of
from latentcrs_utils.baselines.factorisation_machine import FMConfig
from latentcrs_utils.baselines.prioritised_replay import PrioritisedReplay
from latentcrs_utils.baselines.questions import Known, Rewards, entropies, held_out_game, play
from latentcrs_utils.baselines.unicorn import Factors, Unicorn, UnicornConfig, fit_unicorn
from latentcrs_utils.data.sequences import Dataset, Sequences
from tests.evaluation.dialogue_world import dataset
from tests.made import made

SMALL = UnicornConfig(
    width=16, n_heads=2, n_turns=4, n_items=5, n_epochs=2, n_episodes=32, n_parallel=16,
    batch_size=16, vectors=FMConfig(width=8, n_epochs=1, batch_size=16, learning_rate=0.05),
)  # fmt: skip
EAGER = replace(
    SMALL, n_actions=2, n_epochs=6, n_episodes=64, update_every=2, batch_size=32,
    learning_rate=3e-3, tau=0.05, rewards=Rewards(no=-0.5, miss=-0.5),
)  # fmt: skip


def toy() -> Dataset:
    """Forty dramas, five of them Westerns, twenty horror; everybody has a Western in mind."""
    genres = [["Drama", "Western"]] * 5 + [["Drama", "Horror"]] * 20 + [["Drama"]] * 15
    genres, titles = genres + [["Comedy"]] * 20, [f"Film Number {i}" for i in range(60)]
    rng = np.random.default_rng(0)
    rows = [[*rng.permutation(55)[:8] + 6, *rng.permutation(5)[:2] + 1] for _ in range(40)]
    return made("ml-toy", rows, title=titles, year=[None] * 60, genres=genres)


def untrained() -> tuple[Unicorn, Known, torch.Tensor]:
    """With random vectors, what it knows after the opening of twenty dialogues, and its scores."""
    torch.manual_seed(0)
    attributes = attributes_of(data := toy())
    factors = Factors(*(torch.randn(n, 6) for n in (41, 61, len(attributes))))
    asker = Unicorn(attributes, factors, SMALL)
    known = held_out_game(attributes, data, "valid", np.arange(20), n_items=5).known
    return asker, known, asker.scores(known)


def test_the_score_of_items_by_hand():
    users, attributes = torch.tensor([[1.0, 0.0], [0.0, 2.0]]), torch.tensor([[0.5, 0.5], [0, 1]])
    factors = Factors(users, torch.tensor([[0.0, 0.0], [3.0, 1.0], [-1.0, 2.0]]), attributes)
    has = SimpleNamespace(has=torch.tensor([[0, 0], [1, 1], [0, 1]]) > 0)
    known = SimpleNamespace(users=torch.tensor([0, -1]), beliefs=torch.tensor([[1, -1], [-0.5, 0]]))
    scores = Unicorn(has, factors, SMALL).scores(known)
    # p.v = 1 and 2 of the refused; a stranger has the last vector, and half a no counts half
    one, two = torch.sigmoid(torch.tensor([1.0, 2.0]))
    expected = torch.tensor([[3 + 2 - one, -1 + 0.5 - two], [2 - 0.5 * two, 4.0]])
    assert torch.allclose(scores[:, 1:], expected)


def test_settled_attributes_are_no_actions():
    asker, known, scores = untrained()
    for n_settled in range(n := len(asker.attributes)):
        now = replace(known, settled=(torch.arange(n) < n_settled).expand(20, -1))
        asked = [{*row[row < n].tolist()} for row in asker.state(now, scores).actions]
        uncertain = entropies(now, asker.attributes) > 1e-4
        assert asked == [{*row.nonzero()[:, 0].tolist()} for row in uncertain]


def test_padding_is_never_chosen_and_is_not_in_the_mean_of_advantages():
    asker, known, scores = untrained()
    few = replace(known, candidates=known.candidates & (torch.arange(61) < 9))
    state = asker.state(few, scores)
    padding = state.actions == len(asker.attributes)
    asker.network.value[2].bias.data.fill_(-100.0)
    q = asker.network(state)
    assert (q[padding] == -torch.inf).all()
    mean = q.masked_fill(padding, 0).sum(1) / (~padding).sum(1)
    assert torch.allclose(mean, asker.network.value(asker.network.read(state))[:, 0], atol=1e-4)
    learner = module._Learner(asker, torch.Generator())
    drawn = torch.stack([learner.explore(state, epsilon) for epsilon in (0.0, 1.0)], 1)
    assert padding.any(1).all() and not padding.gather(1, drawn).any()


def test_replay_draws_by_priority_and_weighs_against_it():
    memory, generator = PrioritisedReplay(2, alpha=1.0, floor=0.0), torch.Generator()
    memory.add([torch.tensor([5, 6])])
    memory.add([torch.tensor([8])])
    memory.update(torch.tensor([0, 1]), torch.tensor([1.0, -3.0]))
    places, (column,), weights = memory.draw(8, 1.0, generator)
    assert (places.tolist(), column.tolist()) == ([0] * 2 + [1] * 6, [8] * 2 + [6] * 6)
    assert torch.allclose(weights, torch.tensor([1.0] * 2 + [1 / 3] * 6))  # 2 and 2/3, over 2
    assert memory.draw(8, 0.5, generator)[2][-1].item() == pytest.approx(3**-0.5)


def test_double_targets_and_epsilon_by_hand():
    online = torch.tensor([[1.0, 2.0, -torch.inf], [5.0, 4.0, 0.0]])
    slow = torch.tensor([[9.0, 3.0, -torch.inf], [7.0, 8.0, 9.0]])
    earned = torch.tensor([0.5, -0.1]), torch.tensor([False, True])
    goals = module.double_targets(*earned, online, slow, 0.9)
    assert torch.allclose(goals, torch.tensor([0.5 + 0.9 * 3.0, -0.1]))
    shares, expected = (0.0, 0.25, 0.5, 1.0), [0.9, 0.5, 0.1, 0.1]
    assert [module.epsilon_at(share, SMALL) for share in shares] == pytest.approx(expected)


def test_it_finds_the_one_question_that_is_worth_asking(empty_cache: Path):
    asker = fit_unicorn(data := toy(), config=EAGER)
    n = [str(name) for name in asker.attributes.names].index("genre=Western")
    game = held_out_game(asker.attributes, data, "test", np.arange(40), n_turns=4, n_items=5)
    open_ = ~game.known.settled[:, n]
    assert open_.sum() > 10
    assert (entropies(game.known, asker.attributes).argmax(1) != n)[open_].all()
    assert (asker.actions(game.known, asker.scores(game.known)) == n)[open_].all()
    assert (play(asker, game).turn_of_hit == np.where(open_, 3, 2)).all()


def test_the_seed_alone_decides(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def fitted(seed: int, cache: str) -> torch.Tensor:
        monkeypatch.setenv("LATENTCRS_CACHE", str(tmp_path / cache))
        return fit_unicorn(dataset(), config=SMALL, seed=seed).network.reading.weight

    assert torch.equal(first := fitted(0, "a"), fitted(0, "b"))
    assert not torch.equal(first, fitted(1, "c"))


def test_validation_is_for_episodes_alone(empty_cache: Path, monkeypatch: pytest.MonkeyPatch):
    world, games = dataset(), []

    def fitted(*changed: int) -> Unicorn:
        rows = np.stack([*world.interactions])
        rows[:, changed] = rows[:, changed] % world.n_items + 1
        taken = Sequences.from_lists(rows)
        data = replace(world, interactions=taken, fingerprint=f"{changed}")
        return fit_unicorn(data, config=SMALL)

    def watched(attributes, data, split, users, *rest, **size):
        games.append((split, frozenset(users.tolist())))
        return held_out_game(attributes, data, split, users, *rest, **size)

    monkeypatch.setattr(module, "held_out_game", watched)
    first, held_out, training = (fitted(*at).network.nodes for at in ((), (-2, -1), (0,)))
    assert torch.equal(first, held_out)
    assert not torch.equal(first, training)
    assert {split for split, _ in games} == {"valid"}
    choosing = games[2][1]  # two games to learn from, one that chooses, and again
    assert [users.isdisjoint(choosing) for _, users in games[:6]] == [True, True, False] * 2
