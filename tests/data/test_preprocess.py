"""Positives, k-core, order, splits and random cuts on generated ratings."""

from collections import Counter

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from latentcrs_utils.data import preprocess
from latentcrs_utils.data.sequences import Dataset, Sequences
from latentcrs_utils.data.source import Statistics
from latentcrs_utils.errors import DataError

Pairs = list[tuple[str, str]]
# few ids, so that cores of two and three really occur
pairs = st.lists(st.tuples(st.sampled_from("abcdefg"), st.sampled_from("uvwxyz")), max_size=60)


def frame(rows: Pairs) -> pl.DataFrame:
    return pl.DataFrame(rows, schema={"user": pl.String, "item": pl.String}, orient="row")


def brute_force_core(rows: Pairs, k: int) -> Pairs:
    """Remove one offending row at a time until none offends."""
    rows = list(rows)
    while True:
        users, items = (Counter(row[side] for row in rows) for side in (0, 1))
        bad = [row for row in rows if users[row[0]] < k or items[row[1]] < k]
        if not bad:
            return rows
        rows.remove(bad[0])


@given(pairs, st.integers(1, 4))
def test_k_core_is_the_brute_force_fixed_point_in_file_order(rows: Pairs, k: int) -> None:
    kept, passes = preprocess.k_core(frame(rows).with_row_index("row"), k)
    core = kept.drop("row")
    assert Counter(core.iter_rows()) == Counter(brute_force_core(rows, k))
    assert kept["row"].is_sorted()
    assert passes[0].actions == len(rows)
    assert passes[-1] == passes[-2]
    assert preprocess.k_core(core, k)[0].equals(core)


def test_positives_and_the_official_filters() -> None:
    ratings = pl.DataFrame({"rating": [3.5, 4.0, 5.0, 1.0]})
    assert preprocess.positives(ratings, 4)["rating"].to_list() == [4.0, 5.0]
    kept, passes = preprocess.official_filter(frame(list(zip("aaaaab", "vwxyzv", strict=True))), 5)
    assert kept["user"].unique().to_list() == ["a"]
    assert passes == [Statistics(2, 5, 6), Statistics(1, 5, 5)]
    ratings = frame(list(zip("aaabbbc", "xyzxyzx", strict=True)))
    assert [p.actions for p in preprocess.official_filter(ratings, 3)[1]] == [7, 6]
    kept, passes = preprocess.official_filter(ratings, 3, passes=10)
    # after the first pass x alone is left, with too few users
    assert (len(kept), [p.actions for p in passes]) == (0, [7, 2, 0, 0])


@given(st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 2)), max_size=30))
def test_ties_keep_the_order_of_the_file(rows: list[tuple[str, int]]) -> None:
    schema = {"user": pl.String, "timestamp": pl.Int64}
    ratings = pl.DataFrame(rows, schema=schema, orient="row").with_row_index("row")
    ordered = preprocess.chronological(ratings)["row"].to_list()
    assert ordered == sorted(range(len(rows)), key=lambda row: rows[row])


def test_leave_one_out() -> None:
    train, valid, test = preprocess.leave_one_out(Sequences.from_lists([[1, 2, 3, 4], [5, 6, 7]]))
    assert [part.tolist() for part in train] == [[1, 2], [5]]
    assert (valid.tolist(), test.tolist()) == ([3, 6], [4, 7])
    with pytest.raises(DataError, match="at least three items"):
        preprocess.leave_one_out(Sequences.from_lists([[1, 2, 3], [4, 5]]))


@st.composite
def datasets(draw: st.DrawFn) -> Dataset:
    """A data set whose items are all different within a user, so that leaks can be seen."""
    lengths = draw(st.lists(st.integers(3, 12), min_size=1, max_size=6))
    sequences = Sequences.from_lists([list(range(1, length + 1)) for length in lengths])
    items = pl.DataFrame({"item": np.arange(1, max(lengths) + 1, dtype=np.int32)})
    return Dataset("toy", items, pl.DataFrame(), sequences, {}, "")


@given(datasets(), st.integers(0, 6), st.integers(0, 9), st.integers(0, 3))
def test_cuts_stay_in_training(data: Dataset, n_cuts: int, seed: int, min_history: int) -> None:
    users, cuts = preprocess.random_cuts(data, n_cuts, seed, min_history=min_history)
    for user, cut in zip(users, cuts, strict=True):
        *history, target = data.interactions[user][: cut + 1]
        assert not set(data.interactions[user][-2:]) & {target, *history}
    for user, length in enumerate(data.interactions.lengths):
        own = cuts[users == user].tolist()
        assert own == sorted(set(own))
        assert own[-1] == length - 3
        assert len(own) == 1 + min(n_cuts, max(length - 3 - min_history, 0))
        assert all(cut >= min_history for cut in own[:-1])


def test_random_cuts_depend_on_the_seed_alone_and_are_drawn_evenly(data: Dataset) -> None:
    first, again, other = (preprocess.random_cuts(data, 5, seed) for seed in (0, 0, 1))
    assert np.array_equal(first, again) and not np.array_equal(first[1], other[1])
    # pooled over users with 20+ positions: the mean relative position is near the middle
    users, cuts = first
    last = data.interactions.lengths[users] - 3
    random = (cuts < last) & (last >= 20)
    relative = (cuts[random] - 1) / (last[random] - 2)
    assert abs(relative.mean() - 0.5) < 0.02
    assert (relative.min(), relative.max()) == (0, 1)
