"""CSR sequences against plain Python lists, and the data set that holds them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from latentcrs_utils.data.preprocess import leave_one_out
from latentcrs_utils.data.sequences import Dataset, Sequences
from latentcrs_utils.data.source import Statistics
from latentcrs_utils.errors import DataError

rows = st.lists(st.lists(st.integers(1, 99), max_size=6), max_size=8)


def as_lists(sequences: Sequences) -> list[list[int]]:
    return [sequence.tolist() for sequence in sequences]


@given(rows, st.integers(0, 7))
def test_as_plain_lists(lists: list[list[int]], n: int) -> None:
    sequences = Sequences.from_lists(lists)
    assert as_lists(sequences) == lists
    assert sequences.lengths.tolist() == [len(row) for row in lists]
    assert (sequences.offsets.dtype, sequences.flat.dtype) == (np.int64, np.int32)
    assert sequences.rows().tolist() == [i for i, row in enumerate(lists) for _ in row]
    assert as_lists(sequences.last(n)) == [row[-n:] if n else [] for row in lists]
    assert as_lists(sequences.without_last(n)) == [row[: max(len(row) - n, 0)] for row in lists]


@given(rows, st.integers(1, 7))
def test_pad_is_left_padding_of_the_newest_items(lists: list[list[int]], length: int) -> None:
    padded = Sequences.from_lists(lists).pad(length)
    assert padded.shape == (len(lists), length) and padded.dtype == np.int64
    assert padded.tolist() == [([0] * length + row)[-length:] for row in lists]


@given(rows.filter(len), st.data())
def test_select_and_prefixes(lists: list[list[int]], draw: st.DataObject) -> None:
    sequences = Sequences.from_lists(lists)
    chosen = draw.draw(st.lists(st.integers(0, len(lists) - 1), max_size=10))
    assert as_lists(sequences.select(np.array(chosen, dtype=int))) == [lists[i] for i in chosen]
    cuts = [draw.draw(st.integers(0, len(lists[i]))) for i in chosen]
    expected = [lists[i][:cut] for i, cut in zip(chosen, cuts, strict=True)]
    assert as_lists(sequences.prefixes(chosen, cuts)) == expected
    mask = np.array([len(row) % 2 == 0 for row in lists])
    assert as_lists(sequences.select(mask)) == [row for row in lists if len(row) % 2 == 0]


def test_indexing_is_a_view_and_knows_its_bounds() -> None:
    for cut in (-1, 4):
        with pytest.raises(DataError, match="outside its sequence"):
            Sequences.from_lists([[1, 2, 3]]).prefixes([0], [cut])
    sequences = Sequences.from_lists([[1, 2], [3]])
    assert sequences[-1].tolist() == [3]
    assert np.shares_memory(sequences[0], sequences.flat)
    for index in (2, -3):
        with pytest.raises(IndexError):
            _ = sequences[index]


def test_histories_and_targets_fit_together(data: Dataset) -> None:
    train, valid, test = leave_one_out(data.interactions)
    assert np.array_equal(data.targets("valid"), valid)
    assert np.array_equal(data.targets("test"), test)
    for split in ("train", "valid"):
        assert np.array_equal(data.histories(split).flat, train.flat)
    assert data.targets("train").tolist() == [part[-1] for part in train]
    for history, target in zip(data.histories("test"), data.targets("test"), strict=True):
        assert target not in history
    assert [history[-1] for history in data.histories("test")] == valid.tolist()
    for wrong in (data.targets, data.histories):
        with pytest.raises(DataError, match="'dev'"):
            wrong("dev")


def test_user_and_item_lookup(data: Dataset) -> None:
    assert data.statistics == Statistics(938, 1_008, 54_413)
    assert data.users["raw_user"][data.user_index(42)] == "42"
    assert data.user_index("42") == data.user_index(42)
    with pytest.raises(DataError, match=r"no user '99999' in ml-100k.*938 users.*from 1 to 943"):
        data.user_index(99999)
    with pytest.raises(DataError, match="no item 'Toy Story' in ml-100k"):
        data.item_index("Toy Story")
    for item in (0, 1009, -1):
        with pytest.raises(DataError, match="item ids go from 1 to 1008"):
            data.title(item)
