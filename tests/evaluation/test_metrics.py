"""Intervals and paired differences: by hand, clustered by user, with the promised coverage."""

import math

import numpy as np
import pytest
import torch

from latentcrs_utils.evaluation.metrics import (
    bootstrap_interval,
    describe_ranks,
    metric_values,
    paired_difference,
    users_needed,
)


def test_ranks_are_described_by_hand() -> None:
    found = describe_ranks([np.array([1, 1, 30]), np.array([1, 30, 30])])
    assert found["NDCG@20"] == found["Recall@5"] == pytest.approx(1 / 2)
    assert found["seed_spread"] == pytest.approx(1 / 3)
    # seeds are averaged before users are resampled
    assert (found["low"], found["high"]) == bootstrap_interval([1.0, 0.5, 0.0])
    assert metric_values(np.array([[3, 30]]), "NDCG@20").tolist() == [[0.5, 0.0]]


def test_the_interval_holds_the_mean_and_narrows() -> None:
    values = np.random.default_rng(1).random(500)
    low, high = bootstrap_interval(values, seed=3)
    assert low < values.mean() < high
    # The normal approximation of the same interval, as a second opinion.
    half = 1.96 * values.std() / math.sqrt(500)
    assert high - low == pytest.approx(2 * half, rel=0.1)
    assert (low, high) == bootstrap_interval(torch.from_numpy(values), seed=3)
    assert bootstrap_interval([0.25, 0.25]) == (0.25, 0.25)
    # so many values that the resamples come in chunks
    low, high = bootstrap_interval(np.random.default_rng(1).random(3000), n=3000)
    assert low < high < low + 0.03


def test_paired_differences_by_hand() -> None:
    found = paired_difference(torch.tensor([1.0, 0.5, 0.5]), np.array([0.5, 0.5, 0.0]))
    assert found.mean == pytest.approx(1 / 3)
    assert found.per_user.tolist() == [0.5, 0.0, 0.5]
    assert (found.low, found.high) == bootstrap_interval(found.per_user)
    # who has more instances counts once
    found = paired_difference(np.array([1.0, 0.0, 0.0]), np.zeros(3), np.array([7, 7, 3]))
    assert sorted(found.per_user.tolist()) == [0.0, 0.5]


def test_what_both_share_cancels() -> None:
    rng = np.random.default_rng(0)
    hard = rng.normal(size=400)  # users differ far more than systems do
    found = paired_difference(hard + 0.1 + 0.1 * rng.normal(size=400), hard)
    assert found.is_clear and 0.08 < found.low < found.high < 0.12
    one, other = bootstrap_interval(hard + 0.1), bootstrap_interval(hard)
    assert one[0] < other[1]  # the two intervals overlap all the same


def test_instances_of_a_user_are_not_independent() -> None:
    rng = np.random.default_rng(1)
    gap, users, order = rng.normal(size=50).repeat(8), np.arange(50).repeat(8), rng.permutation(400)
    clustered = paired_difference(gap[order], np.zeros(400), users[order])
    naive = paired_difference(gap, np.zeros(400))
    assert len(clustered.per_user) == 50
    assert clustered.mean == pytest.approx(naive.mean)
    ratio = (clustered.high - clustered.low) / (naive.high - naive.low)
    assert 2.3 < ratio < 3.4  # sqrt(8) = 2.83


def test_no_difference_is_rarely_called_one() -> None:
    rng = np.random.default_rng(2)
    called = [paired_difference(rng.normal(size=60), np.zeros(60)).is_clear for _ in range(300)]
    assert 0.01 < np.mean(called) < 0.11


def test_users_needed_finds_the_effect_as_often_as_promised() -> None:
    rng = np.random.default_rng(3)
    n = users_needed(rng.normal(scale=2, size=20_000), 0.5)
    assert n == pytest.approx((2.8 * 2 / 0.5) ** 2, rel=0.05)
    found = [paired_difference(rng.normal(0.5, 2, size=n), np.zeros(n)).low > 0 for _ in range(300)]
    assert 0.72 < np.mean(found) < 0.88
    gap = rng.normal(size=500)
    assert users_needed(gap, -0.1) == users_needed(gap, 0.1)
    assert users_needed(gap, 0.05) == pytest.approx(4 * users_needed(gap, 0.1), rel=0.01)


def test_what_has_no_interval_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one"):
        bootstrap_interval([])
    with pytest.raises(ValueError, match="3 differences came with 2 users"):
        paired_difference(np.zeros(3), np.zeros(3), np.zeros(2))
    for gap, effect in ((np.zeros(1), 0.1), (np.zeros(9), 0.0)):
        with pytest.raises(ValueError, match="two users"):
            users_needed(gap, effect)
