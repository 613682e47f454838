"""Ranking metrics by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from latentcrs_utils import ranking
from latentcrs_utils.data.sequences import Sequences
from latentcrs_utils.evaluation.metrics import bootstrap_interval, ndcg, rank_of_target, recall
from latentcrs_utils.ranking import rank_by_factors, ranks_in_chunks

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


def ranks_by_counting(scores: np.ndarray, targets: np.ndarray, seen: list | None) -> list[int]:
    """One rank after the other: items at least as good as the target, the seen ones left out."""
    ranks = []
    for row, (of_row, target) in enumerate(zip(scores, targets, strict=True)):
        gone = set() if seen is None else set(seen[row]) - {target}
        better = [i for i in range(1, len(of_row)) if of_row[i] >= of_row[target] and i not in gone]
        ranks.append(len(better))
    return ranks


@st.composite
def ranking_problems(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, list | None]:
    """Scores with ties and minus infinities, targets in the history, empty and double histories."""
    rng = np.random.default_rng(draw(st.integers(0, 2**31)))
    n_rows, n_items = draw(st.integers(1, 9)), draw(st.integers(1, 14))
    scores = rng.integers(0, draw(st.integers(1, 30)), (n_rows, n_items + 1)).astype(np.float32)
    scores[rng.random(scores.shape) < draw(st.sampled_from([0.0, 0.3, 1.0]))] = -np.inf
    scores[:, 0] = draw(st.sampled_from([-INF, 0.0, INF, np.nan]))
    targets = rng.integers(1, n_items + 1, n_rows)
    if not draw(st.booleans()):
        return scores, targets, None
    return (
        scores,
        targets,
        [rng.integers(1, n_items + 1, rng.integers(0, 6)).tolist() for _ in range(n_rows)],
    )


@given(ranking_problems(), st.integers(1, 5))
def test_ranks_in_chunks_are_those_of_counting(problem: tuple, rows: int) -> None:
    scores, targets, lists = problem
    seen = None if lists is None else Sequences.from_lists(lists)
    expected = ranks_by_counting(scores, targets, lists)
    assert rank_of_target(torch.from_numpy(scores), targets, seen).tolist() == expected
    n_items, asked = scores.shape[1] - 1, []

    def score_rows(of: slice) -> torch.Tensor:
        asked.append(of.stop - of.start)
        return torch.from_numpy(scores[of])

    memory = rows * 4 * (n_items + 1)
    found = ranks_in_chunks(score_rows, targets, seen, n_items=n_items, memory=memory)
    assert found.tolist() == expected
    assert max(asked) <= rows
    assert sum(asked) == len(scores)


@given(st.integers(0, 2**31), st.booleans(), st.sampled_from([2**21, 2**10]))
def test_ranks_of_factors_are_those_of_their_product(seed: int, masked: bool, cache: int) -> None:
    # whole numbers: exact products, many ties; a small "cache" makes many tiles of few items
    rng = np.random.default_rng(seed)
    n_users, n_items = int(rng.integers(1, 300)), int(rng.integers(1, 40))
    users, items = (
        torch.from_numpy(rng.integers(-2, 3, (n, 3)).astype(np.float32))
        for n in (n_users, n_items + 1)
    )
    targets = rng.integers(1, n_items + 1, n_users)
    lists = [rng.integers(1, n_items + 1, rng.integers(0, 6)).tolist() for _ in range(n_users)]
    seen = Sequences.from_lists(lists) if masked else None
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ranking, "_CACHE", cache)
        found = rank_by_factors(users, items, targets, seen)
    scores = (users @ items.T).numpy()
    assert found.tolist() == ranks_by_counting(scores, targets, lists if masked else None)


def test_tiles_of_items_are_used_where_a_row_of_scores_is_long(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # whole numbers, whose sums are exact in whatever order a product adds them up
    generator = torch.Generator().manual_seed(0)
    users, items = (
        torch.randint(-9, 10, (n, 16), generator=generator).float() for n in (300, 9001)
    )
    targets = torch.randint(1, 9001, (300,), generator=generator)
    seen = Sequences.from_lists([[1 + row, 2 + row, 9000, 1 + row] for row in range(300)])
    expected = rank_of_target(users @ items.T, targets, seen)
    monkeypatch.setattr(ranking, "ranks_in_chunks", None)  # the whole rows are not asked for
    assert torch.equal(rank_by_factors(users, items, targets, seen), expected)
    items[5000] = torch.nan
    with pytest.raises(ValueError, match="hold NaN"):
        rank_by_factors(users, items, targets, seen)


def test_a_product_that_rounds_unevenly_is_ranked_by_whole_rows(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    generator = torch.Generator().manual_seed(0)
    users, items = (torch.randn(n, 16, generator=generator) for n in (50, 9001))
    targets = torch.randint(1, 9001, (50,), generator=generator)
    expected = rank_of_target(users @ items.T, targets)
    monkeypatch.setattr(ranking, "_rank_in_tiles", lambda *_: None)
    assert torch.equal(rank_by_factors(users, items, targets), expected)


@pytest.mark.parametrize("column", [1, 2, 3])
def test_a_score_that_is_not_a_number_is_refused_wherever_it_stands(column: int) -> None:
    scores = torch.tensor([[-INF, 1.0, 2.0, 3.0]] * 5)
    scores[3, column] = torch.nan
    with pytest.raises(ValueError, match="rows 2 to 3 hold NaN"):
        rank_of_target(scores, [1, 2, 3, 1, 2], chunk_size=2)


def test_infinities_of_both_signs_are_no_reason_to_complain() -> None:
    assert rank_of_target(torch.tensor([[0.0, INF, -INF, 1.0]]), [3]).tolist() == [2]


def test_chunks_of_the_wrong_shape_are_refused() -> None:
    with pytest.raises(ValueError, match=r"Rows 0 to 1 came with scores \(2, 3\)"):
        ranks_in_chunks(lambda rows: torch.zeros(2, 3), [1, 1], n_items=3)
    with pytest.raises(ValueError, match="3 users came with 2 targets"):
        rank_by_factors(torch.zeros(3, 2), torch.zeros(4, 2), [1, 1])


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
