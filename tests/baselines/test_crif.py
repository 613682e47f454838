"""CRIF by hand, without leaks, and in worlds whose best policy is known."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from latentcrs_utils.baselines import crif as module
from latentcrs_utils.baselines.attributes import attributes_of
from latentcrs_utils.baselines.crif import ASK, FEEDBACK, OFFER, Crif, CrifConfig, fit_crif
from latentcrs_utils.baselines.questions import YES, Game, Known, held_out_game, play
from latentcrs_utils.data.sequences import Dataset
from tests.made import made

QUICK = CrifConfig(
    width=8, batch_size=256, n_epochs=3, n_items=5, n_episodes=40, n_updates=20, push=1.0,
    learning_rate=0.015,
)  # fmt: skip


def world(rows: list[list[int]]) -> Dataset:
    """Films 1 to 35 are drama and musical, 36 to 40 comedy as well, 41 to 46 crime."""
    genres = [["Drama", "Musical"]] * 35 + [["Drama", "Musical", "Comedy"]] * 5 + [["Crime"]] * 6
    titles = [f"Film Number {i}" for i in range(len(genres))]
    data = made("genres", rows, title=titles, year=[None] * len(genres), genres=genres)
    return dataclasses.replace(data, fingerprint=f"genres {rows}")


def known_of(attributes, n_turns: int = 15, **changes: Tensor) -> Known:
    """One dialogue of a stranger in which nothing happened yet."""
    A, V = len(attributes), len(attributes.has)
    nothing, none = torch.zeros(1, A), torch.zeros(1, V, dtype=torch.bool)
    candidates, events = ~none, torch.zeros(1, n_turns, dtype=torch.int64)
    candidates[0, 0] = False
    start = Known(torch.tensor([-1]), nothing, nothing.bool(), candidates, none, events, 1)
    return dataclasses.replace(start, **changes)


@pytest.fixture
def small() -> Dataset:
    return world([[1, 2, 3, 4, 5], [6, 7, 8, 9, 10, 11]])


def test_the_score_by_hand(small: Dataset) -> None:
    attributes = attributes_of(small)
    A, V = len(attributes), small.n_items + 1
    items, vectors = torch.zeros(V, 2), torch.zeros(A, 2)
    items[1], items[2], vectors[0], vectors[1] = (
        torch.tensor(v) for v in ([1.0, 2.0], [3.0, 0.0], [0.0, 0.5], [0.5, 0.0])
    )  # fmt: skip
    users = torch.tensor([[1.0, 0.0], [0.2, 0.4]])
    policy = torch.nn.Linear(27, 3)
    crif = Crif(
        attributes, CrifConfig(push=1.0), users, items, vectors, policy, {}, torch.tensor([OFFER])
    )
    beliefs = torch.zeros(1, A)
    beliefs[0, 0], beliefs[0, 1] = 1.0, -0.5
    known = known_of(attributes, beliefs=beliefs)
    scores = crif.scores(known)[0]
    assert scores[1] == pytest.approx(np.tanh(0.2 + 0.8) + np.tanh(1.0) - 0.5 * np.tanh(0.5))
    assert scores[2] == pytest.approx(np.tanh(0.6) - 0.5 * np.tanh(1.5))
    assert torch.isneginf(scores[0])
    # of item 1, refused, attribute 0 explains the second number: only the first is subtracted
    refused = torch.zeros(1, V, dtype=torch.bool)
    refused[0, 1] = True
    scores = crif.scores(dataclasses.replace(known, rejected=refused))[0]
    assert scores[2] == pytest.approx(np.tanh(3 * (0.2 - 1.0)) - 0.5 * np.tanh(1.5), rel=1e-5)


def test_a_refusal_speaks_against_the_one_attribute_more(small: Dataset) -> None:
    attributes = attributes_of(small)
    place = {name.value: i for i, name in enumerate(attributes.names)}
    both, comedy = [place["Drama"], place["Musical"]], place["Comedy"]
    telling, other = 38, 3
    beliefs = torch.zeros(1, len(attributes))
    beliefs[0, both] = 1.0
    rejected = torch.zeros(1, small.n_items + 1, dtype=torch.bool)
    rejected[0, other] = True
    vectors = (torch.randn(n, 4) for n in (3, small.n_items + 1, len(attributes)))
    policy = torch.nn.Linear(27, 3)
    crif = Crif(attributes, CrifConfig(doubt=0.25), *vectors, policy, {}, torch.tensor([OFFER]))
    known = known_of(attributes, beliefs=beliefs, rejected=rejected, settled=beliefs > 0)
    assert crif.beliefs(known).equal(beliefs)
    rejected[0, telling] = True
    assert crif.beliefs(known)[0, comedy] == -0.25
    known.settled[0, comedy] = True
    assert crif.beliefs(known).equal(beliefs)
    # where feedback is wanted, such items come first
    crif = dataclasses.replace(crif, forced=torch.tensor([FEEDBACK]))
    first = crif.scores(known_of(attributes, beliefs=beliefs))[0].topk(5).indices
    assert sorted(first.tolist()) == [36, 37, 38, 39, 40]


def test_the_oracle_by_hand() -> None:
    # among the first ten; better question; better list; far away, where the length decides
    ranks = torch.tensor([[10, 40, 40, 80], [1, 20, 35, 60], [10, 30, 30, 55]])
    lengths = torch.tensor([[90, 90, 90, 90], [1, 1, 1, 70], [80, 80, 80, 80]])
    assert module.offer_is_better(ranks, lengths).tolist() == [True, False, True, False]
    lengths[1, 3] = 71  # 20 + 9.5 against 25 + 5
    assert module.offer_is_better(ranks, lengths).tolist() == [True, False, True, True]


@pytest.mark.parametrize(("n_turns", "turn"), [(15, 3), (5, 3), (20, 19)])
def test_the_state_has_events_and_the_length_of_the_list(small, n_turns: int, turn: int) -> None:
    known = known_of(attributes_of(small), n_turns, turn=turn)
    known.events[0, turn - 2] = YES
    known.candidates[0, 9:] = False
    state = module.state_of(known)[0]
    assert state.shape == (27,)
    assert state[:15].nonzero().tolist() == [[min(turn - 2, 14)]]
    assert state[15:].tolist() == [1.0] * 4 + [0.0] * 8  # eight candidates are 2^3


def test_held_out_items_change_no_edge(small: Dataset) -> None:
    changed = world([[1, 2, 3, 12, 13], [6, 7, 8, 9, 14, 15]])
    other = world([[1, 2, 12, 4, 5], [6, 7, 8, 9, 10, 11]])
    edges, same, different = (
        torch.from_numpy(module.edges_of(data, attributes_of(data)).toarray())
        for data in (small, changed, other)
    )
    assert edges.equal(same) and not edges.equal(different)
    assert (edges[0, 2:] > 0).nonzero()[:, 0].tolist() == [1, 2, 3]
    assert edges[0, 3] == pytest.approx(1 / np.sqrt(3 * 3))


def test_it_learns_when_to_ask(empty_cache: Path) -> None:
    users, size = np.arange(60), {"n_turns": 15, "n_items": 5}
    rng = np.random.default_rng(0)

    def fitted(data: Dataset) -> tuple[Crif, Game]:
        crif = fit_crif(data, config=QUICK)
        return crif, held_out_game(crif.attributes, data, "test", users, **size)

    # all want one of five comedies that nobody took before; most do not say so at first
    rows = [[*rng.permutation(35)[:3] + 1, *rng.permutation(5)[:2] + 36] for _ in users]
    crif, game = fitted(world(rows))
    again, _ = fitted(dataclasses.replace(world(rows), fingerprint="again"))
    assert crif.items.equal(again.items)
    assert crif.facts == again.facts
    open_ = game.known.candidates.sum(1) > 5
    assert (crif.choices(game.known) == ASK)[open_].all()
    played = play(crif, game)
    assert played.turn_of_hit.tolist() == torch.where(open_, 3, 2).tolist()
    # all take the same six films, so that the first list has the target
    crif, game = fitted(world([(rng.permutation(6) + 1)[:5].tolist() for _ in users]))
    assert (crif.choices(game.known) != ASK).all()
    assert (play(crif, game).turn_of_hit == 2).mean() > 0.9
