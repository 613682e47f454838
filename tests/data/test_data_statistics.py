"""The numbers of Table 1: counted, derived, and as the paper prints them."""

from __future__ import annotations

import pytest

from latentcrs_utils.data.loading import PAPER_TABLE_1, Statistics, load_dataset, statistics


def test_derived_numbers_by_hand():
    counts = Statistics(users=2, items=5, actions=3)
    assert counts.average_length == 1.5
    assert counts.sparsity == pytest.approx(0.7)


def test_a_full_matrix_is_not_sparse():
    assert Statistics(3, 4, 12).sparsity == 0


def test_a_data_set_is_counted():
    data = load_dataset("ml-100k")
    assert statistics(data) == Statistics(938, 1_008, 54_413)
    assert statistics(data).average_length == data.interactions.lengths.mean()


@pytest.mark.parametrize("name", PAPER_TABLE_1)
def test_the_papers_average_lengths_follow_from_its_counts(name):
    printed = PAPER_TABLE_1[name]
    assert round(printed.counts.average_length, 2) == printed.average_length


def test_the_papers_sparsity_of_movielens_belongs_to_another_number_of_items():
    printed = PAPER_TABLE_1["ml-1m"]
    users, actions = printed.counts.users, printed.counts.actions
    assert round(100 * printed.counts.sparsity, 2) == 97.29 != printed.sparsity_percent
    assert round(100 * Statistics(users, 3_533, actions).sparsity, 2) == printed.sparsity_percent
    for name in ("amazon-video-games", "amazon-cds"):
        other = PAPER_TABLE_1[name]
        assert round(100 * other.counts.sparsity, 2) == other.sparsity_percent
