"""Ranks against counting and sorting, in blocks of rows and of items; recall and NDCG by hand."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from latentcrs_utils import ranking
from latentcrs_utils.data.sequences import Sequences
from latentcrs_utils.ranking import ndcg, rank_by_factors, rank_of_target, ranks_in_chunks, recall

INF = float("inf")


@pytest.mark.parametrize(
    ("scores", "targets", "seen", "expected"),
    [
        ([[99, 3, 1, 2]] * 3, [1, 2, 3], None, [1, 3, 2]),
        ([[0, 5, 4, 3, 2]] * 2, [4, 4], [[1, 2, 1], []], [2, 4]),  # seen items do not compete
        ([[0, 5, 4, 3]], [2], [[1, 2]], [1]),  # the target is never masked
        ([[1] * 6], [3], None, [5]),  # ties count against the target
        ([[0, 2, 1, 1, 0]], [2], None, [3]),
        ([[-INF, 2, -INF, 1, -INF]], [2], None, [4]),  # what a filter removed is last
        ([[-INF, 2, -INF, 1, -INF]], [2], [[4]], [3]),
        ([[0, INF, -INF, 1]], [3], None, [2]),
    ],
)
def test_ranks_by_hand(scores: list, targets: list, seen: list | None, expected: list) -> None:
    histories = None if seen is None else Sequences.from_lists(seen)
    table = torch.tensor(scores, dtype=torch.float32)
    before = table.clone()
    assert rank_of_target(table, np.array(targets), histories).tolist() == expected
    assert torch.equal(table, before)


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
    lengths = rng.integers(0, 6, n_rows)
    return scores, targets, [rng.integers(1, n_items + 1, length).tolist() for length in lengths]


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
    assert max(asked) <= rows and sum(asked) == len(scores)


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


def test_tiles_of_items_are_used_where_a_row_is_long(monkeypatch: pytest.MonkeyPatch) -> None:
    # whole numbers, whose sums are exact in whatever order a product adds them up
    generator = torch.Generator().manual_seed(0)
    users, items = (
        torch.randint(-9, 10, (n, 16), generator=generator).float() for n in (300, 9001)
    )
    targets = torch.randint(1, 9001, (300,), generator=generator)
    seen = Sequences.from_lists([[1 + row, 2 + row, 9000, 1 + row] for row in range(300)])
    expected = rank_of_target(users @ items.T, targets, seen)
    with monkeypatch.context() as patch:
        patch.setattr(ranking, "_rank_in_tiles", lambda *_: None)  # it rounds unevenly
        assert torch.equal(rank_by_factors(users, items, targets, seen), expected)
    monkeypatch.setattr(ranking, "ranks_in_chunks", None)  # the whole rows are not asked for
    assert torch.equal(rank_by_factors(users, items, targets, seen), expected)
    items[5000] = torch.nan
    with pytest.raises(ValueError, match="hold NaN"):
        rank_by_factors(users, items, targets, seen)


def test_chunks_of_the_wrong_shape_or_with_what_is_not_a_number_are_refused() -> None:
    for column in (1, 2, 3):
        scores = torch.tensor([[-INF, 1.0, 2.0, 3.0]] * 5)
        scores[3, column] = torch.nan
        with pytest.raises(ValueError, match="rows 2 to 3 hold NaN"):
            ranks_in_chunks(scores.__getitem__, [1, 2, 3, 1, 2], n_items=3, memory=2 * 16)
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
