"""Ranking metrics by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from latentcrs_utils.data import Sequences
from latentcrs_utils.evaluation.metrics import (
    bootstrap_interval,
    ndcg,
    rank_of_target,
    recall,
)

INF = float("inf")


def test_ranks_by_hand() -> None:
    scores = torch.tensor([[99.0, 3.0, 1.0, 2.0], [99.0, 3.0, 1.0, 2.0], [99.0, 3.0, 1.0, 2.0]])
    assert rank_of_target(scores, np.array([1, 2, 3])).tolist() == [1, 3, 2]


def test_seen_items_do_not_compete() -> None:
    scores = torch.tensor([[0.0, 5.0, 4.0, 3.0, 2.0], [0.0, 5.0, 4.0, 3.0, 2.0]])
    seen = Sequences.from_lists([[1, 2, 1], []])
    assert rank_of_target(scores, torch.tensor([4, 4]), seen).tolist() == [2, 4]


def test_the_target_is_never_masked() -> None:
    scores = torch.tensor([[0.0, 5.0, 4.0, 3.0]])
    assert rank_of_target(scores, [2], Sequences.from_lists([[1, 2]])).tolist() == [1]


def test_ties_count_against_the_target() -> None:
    assert rank_of_target(torch.ones(1, 6), [3]).tolist() == [5]
    scores = torch.tensor([[0.0, 2.0, 1.0, 1.0, 0.0]])
    assert rank_of_target(scores, [2]).tolist() == [3]


def test_a_target_that_a_filter_threw_out_is_last() -> None:
    scores = torch.tensor([[-INF, 2.0, -INF, 1.0, -INF]])
    assert rank_of_target(scores, [2]).tolist() == [4]
    assert rank_of_target(scores, [2], Sequences.from_lists([[4]])).tolist() == [3]


def test_scores_are_left_as_they_were() -> None:
    scores = torch.rand(4, 6)
    before = scores.clone()
    rank_of_target(scores, [1, 2, 3, 4], Sequences.from_lists([[5], [4], [2], [1]]))
    assert torch.equal(scores, before)


@given(st.integers(0, 2**31), st.integers(1, 7))
def test_ranks_agree_with_sorting_and_do_not_depend_on_chunks(seed: int, chunk: int) -> None:
    rng = np.random.default_rng(seed)
    scores = torch.from_numpy(rng.permuted(np.tile(np.arange(12.0), (9, 1)), axis=1))
    targets = rng.integers(1, 12, 9)
    lists = [rng.integers(1, 12, rng.integers(0, 6)).tolist() for _ in range(9)]
    expected = []
    for row, target, seen in zip(scores.numpy(), targets, lists, strict=True):
        candidates = [i for i in range(1, 12) if i == target or i not in seen]
        expected.append(sorted(candidates, key=lambda i, row=row: -row[i]).index(target) + 1)
    found = rank_of_target(scores, targets, Sequences.from_lists(lists), chunk_size=chunk)
    assert found.tolist() == expected


@pytest.mark.parametrize(
    ("scores", "targets", "seen", "message"),
    [
        (torch.zeros(2, 4), [1], None, "do not fit"),
        (torch.zeros(1, 4), [0], None, "1 to 3"),
        (torch.zeros(1, 4), [4], None, "1 to 3"),
        (torch.zeros(1, 4), [1], [[1], [2]], "2 seen histories"),
        (torch.full((1, 4), torch.nan), [1], None, "NaN"),
    ],
)
def test_what_does_not_fit_is_refused(
    scores: torch.Tensor, targets: list[int], seen: list | None, message: str
) -> None:
    histories = None if seen is None else Sequences.from_lists(seen)
    with pytest.raises(ValueError, match=message):
        rank_of_target(scores, targets, histories)


def test_recall_and_ndcg_by_hand() -> None:
    ranks = torch.tensor([1, 3, 5, 6, 100])
    assert recall(ranks, 5).tolist() == [1, 1, 1, 0, 0]
    expected = [1.0, 1 / math.log2(4), 1 / math.log2(6), 0.0, 0.0]
    assert ndcg(ranks, 5).tolist() == pytest.approx(expected)


def test_the_interval_holds_the_mean_and_narrows() -> None:
    values = np.random.default_rng(1).random(500)
    low, high = bootstrap_interval(values, seed=3)
    assert low < values.mean() < high
    # The normal approximation of the same interval, as a second opinion.
    half = 1.96 * values.std() / math.sqrt(500)
    assert high - low == pytest.approx(2 * half, rel=0.1)
    assert (low, high) == bootstrap_interval(torch.from_numpy(values), seed=3)
    inner = bootstrap_interval(values, seed=3, level=0.5)
    assert low < inner[0] < inner[1] < high
    assert bootstrap_interval([0.25, 0.25]) == (0.25, 0.25)


def test_the_interval_is_that_of_plain_resampling_in_chunks() -> None:
    values = np.random.default_rng(1).random(3000)
    low, high = bootstrap_interval(values, n=3000)
    assert low < values.mean() < high
    assert high - low < 0.03


def test_bad_intervals_are_refused() -> None:
    with pytest.raises(ValueError, match="at least one"):
        bootstrap_interval([])
    with pytest.raises(ValueError, match=r"between 0 and 1, not 95"):
        bootstrap_interval([1.0, 2.0], level=95)
