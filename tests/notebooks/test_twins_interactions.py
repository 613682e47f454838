"""What notebook 01 writes out by hand equals what the package computes, on inputs of its own."""

import numpy as np
import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from latentcrs_utils.data import preprocess
from latentcrs_utils.data.sequences import Dataset, Sequences

STEMS = ("01_interactions_and_5core",)

# few ids, so that cores of two and three really occur
pairs = st.lists(st.tuples(st.sampled_from("abcdefg"), st.sampled_from("uvwxyz")), max_size=60)
sequences = st.lists(st.lists(st.integers(1, 99), min_size=3, max_size=9), min_size=1, max_size=9)


@given(pairs, st.integers(1, 4))
def test_k_core(by_hand, rows, k):
    frame = pl.DataFrame(rows, schema={"user": pl.String, "item": pl.String}, orient="row")
    kept, _ = preprocess.k_core(frame, k)
    assert by_hand.k_core(rows, k) == list(kept.iter_rows())


@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("uvw"), st.integers(0, 3))))
def test_chronological(by_hand, rows):
    schema = {"user": pl.String, "item": pl.String, "timestamp": pl.Int64}
    ordered = preprocess.chronological(pl.DataFrame(rows, schema=schema, orient="row"))
    assert by_hand.chronological(rows) == list(ordered.iter_rows())


@given(st.lists(st.lists(st.integers(1, 99), max_size=9), min_size=1), st.integers(1, 12))
def test_to_csr_and_pad(by_hand, rows, length):
    offsets, flat = by_hand.to_csr(rows)
    expected = Sequences.from_lists(rows)
    np.testing.assert_array_equal(offsets, expected.offsets)
    np.testing.assert_array_equal(flat, expected.flat)
    np.testing.assert_array_equal(by_hand.pad(offsets, flat, length), expected.pad(length))


@given(sequences)
def test_leave_one_out(by_hand, rows):
    parts, valid, test = by_hand.leave_one_out(rows)
    training, *held_out = preprocess.leave_one_out(Sequences.from_lists(rows))
    assert parts == [part.tolist() for part in training]
    np.testing.assert_array_equal([valid, test], held_out)


@given(sequences, st.integers(0, 8), st.integers(0, 5))
def test_random_cuts(by_hand, rows, n_cuts, seed):
    own = Sequences.from_lists(rows)
    data = Dataset("small", pl.DataFrame(), pl.DataFrame(), own, {}, "")
    ours = by_hand.random_cuts(own.lengths, n_cuts, seed)
    np.testing.assert_array_equal(np.array(ours).T, preprocess.random_cuts(data, n_cuts, seed))
