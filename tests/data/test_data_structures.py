"""CSR sequences against plain Python lists."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from latentcrs_utils.data.sequences import Sequences
from latentcrs_utils.errors import DataError

rows = st.lists(st.lists(st.integers(1, 99), max_size=6), max_size=8)


def as_lists(sequences: Sequences) -> list[list[int]]:
    return [sequence.tolist() for sequence in sequences]


@given(rows)
def test_round_trip(lists: list[list[int]]) -> None:
    sequences = Sequences.from_lists(lists)
    assert as_lists(sequences) == lists
    assert sequences.lengths.tolist() == [len(row) for row in lists]
    assert sequences.offsets.dtype == np.int64
    assert sequences.flat.dtype == np.int32
    assert sequences.rows().tolist() == [i for i, row in enumerate(lists) for _ in row]


@given(rows, st.integers(0, 7))
def test_last_and_without_last_split_a_sequence(lists: list[list[int]], n: int) -> None:
    sequences = Sequences.from_lists(lists)
    assert as_lists(sequences.last(n)) == [row[-n:] if n else [] for row in lists]
    assert as_lists(sequences.without_last(n)) == [row[: max(len(row) - n, 0)] for row in lists]


@given(rows, st.integers(1, 7))
def test_pad_is_left_padding_of_the_newest_items(lists: list[list[int]], length: int) -> None:
    padded = Sequences.from_lists(lists).pad(length)
    assert padded.shape == (len(lists), length)
    assert padded.dtype == np.int64
    for row, sequence in zip(lists, padded.tolist(), strict=True):
        kept = row[-length:]
        assert sequence == [0] * (length - len(kept)) + kept


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


@pytest.mark.parametrize("cut", [-1, 4])
def test_a_cut_outside_its_sequence_is_refused(cut: int) -> None:
    with pytest.raises(DataError, match="outside its sequence"):
        Sequences.from_lists([[1, 2, 3]]).prefixes([0], [cut])


def test_indexing_is_a_view_and_knows_its_bounds() -> None:
    sequences = Sequences.from_lists([[1, 2], [3]])
    assert sequences[-1].tolist() == [3]
    assert np.shares_memory(sequences[0], sequences.flat)
    for index in (2, -3):
        with pytest.raises(IndexError):
            _ = sequences[index]
