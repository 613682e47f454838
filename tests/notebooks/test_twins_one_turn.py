"""What notebook 06 writes out by hand equals what the package computes, on inputs of its own."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from latentcrs_utils.baselines.factorisation_machine import FactorisationMachine
from latentcrs_utils.data.sequences import Sequences
from latentcrs_utils.evaluation import metrics as paired
from latentcrs_utils.evaluation import one_turn as slices
from latentcrs_utils.evaluation import published
from latentcrs_utils.evaluation import published as bounds
from latentcrs_utils.evaluation.metrics import bootstrap_interval
from latentcrs_utils.ranking import ndcg, rank_of_target, recall

STEMS = ("06_one_turn",)


def test_rank(by_hand, rng):
    scores = rng.integers(0, 6, (40, 12)).astype(float)  # few values: many ties
    targets = rng.integers(0, 12, 40)
    seen = [rng.choice(12, size=rng.integers(0, 6), replace=False).tolist() for _ in range(40)]
    rows = torch.from_numpy(np.concatenate([np.full((40, 1), 9.0), scores], axis=1))
    history = Sequences.from_lists([[item + 1 for item in items] for items in seen])
    for mask, hidden in ((history, seen), (None, [[]] * 40)):
        theirs = rank_of_target(rows, targets + 1, mask).tolist()
        ours = [by_hand.rank(*case) for case in zip(scores, targets, hidden, strict=True)]
        assert ours == theirs


def test_metrics(by_hand):
    ranks = torch.arange(1, 40)
    for k in (1, 5, 20):
        ours = [[f(k, r) for r in ranks.tolist()] for f in (by_hand.recall_at, by_hand.ndcg_at)]
        np.testing.assert_allclose(ours, torch.stack([recall(ranks, k), ndcg(ranks, k)]))


def test_intervals(by_hand, rng):
    ours, theirs = rng.random(60), rng.random(60)
    np.testing.assert_allclose(by_hand.interval(ours), bootstrap_interval(ours))
    np.testing.assert_allclose(
        by_hand.interval(ours, n=50, seed=7), bootstrap_interval(ours, n=50, seed=7)
    )
    found = paired.paired_difference(ours, theirs)
    np.testing.assert_allclose(by_hand.paired_interval(ours, theirs), (found.low, found.high))


def test_users_needed(by_hand, rng):
    gap = rng.normal(size=100)
    for effect in (0.02, 0.1):
        ours, theirs = by_hand.users_needed(gap, effect), paired.users_needed(gap, effect)
        assert ours == pytest.approx(theirs, rel=0.01)  # 1.96 and 0.84 are rounded


def test_quarters(by_hand, rng):
    values = rng.random(80)
    quarters = slices.parts_of_equal_size(rng.random(80))
    theirs = slices.by_part(values, quarters, ["a", "b", "c", "d"])["mean"]
    np.testing.assert_allclose(by_hand.by_quarter(values, quarters), theirs)


def test_filter(by_hand, rng):
    scores = torch.from_numpy(rng.normal(size=(9, 15)))
    allowed = torch.from_numpy(rng.random((9, 15)) < 0.4)
    kept = by_hand.filtered(scores, allowed)
    for row, before, mask in zip(kept, scores, allowed, strict=True):
        order = row[1:].argsort(descending=True) + 1
        expected = sorted(range(1, 15), key=lambda i: (not mask[i], -before[i]))
        assert order.tolist() == expected


def test_the_package_filters_alike(by_hand, rng, data):
    """The nested function of `systems.scorers`, with a backbone that is a table of scores."""
    from latentcrs_utils.constraints.lexicon_filter import lexicon_mask
    from latentcrs_utils.evaluation import one_turn as systems

    texts = ["a western", "no horror, a comedy from the 1980s", "surprise me"]
    scores = torch.from_numpy(rng.normal(size=(3, data.n_items + 1)))
    nothing = SimpleNamespace()
    fitted = systems.Fitted(
        data, nothing, SimpleNamespace(scores=lambda S: scores), nothing, nothing, nothing,
        nothing, nothing,
    )  # fmt: skip
    cases = SimpleNamespace(texts=texts, instances=SimpleNamespace(S=None))
    theirs = systems.scorers(fitted)["backbone + lexicon filter"](cases)
    ours = by_hand.filtered(scores, torch.as_tensor(lexicon_mask(data, texts)))
    assert torch.equal(ours[:, 1:].argsort(), theirs[:, 1:].argsort())


def test_bounds(by_hand):
    for row in published.ROWS:
        first = [row.metrics[name] for name in published.METRICS[:3]]
        assert by_hand.ndcg_bounds(*first) == pytest.approx(bounds.ndcg_bounds(*first))


@torch.no_grad()
def test_factorisation_machine(by_hand):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        machine, beliefs = FactorisationMachine(3, 8, 4, 5), torch.rand(4, 4) * 2 - 1
        machine.bias += torch.randn(9)
    theirs = machine.scores(torch.tensor([0, 2, 1, -1]), beliefs)
    for user, row in zip((0, 2, 1, 3), range(4), strict=True):
        own = (machine.users[user], beliefs[row], machine.attributes)
        ours = [
            by_hand.fm_score(machine.bias[v], own[0], machine.items[v], *own[1:])
            for v in range(1, 9)
        ]
        torch.testing.assert_close(torch.stack(ours), theirs[row, 1:])
