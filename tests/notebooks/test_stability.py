"""Agreement of clusterings over seeds and over resampled users, its null, and matching."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from course.stability import (
    agreement,
    match_clusters,
    over_resamples,
    over_seeds,
    silhouettes,
    structureless,
)


def test_clear_groups_are_found_each_time_and_a_cloud_is_cut_differently() -> None:
    # sixty users of three far tastes, two points each
    rng = np.random.default_rng(0)
    middles = np.array([[0, 0, 0], [20, 0, 0], [0, 20, 0]])
    tastes, owners = np.repeat(rng.integers(3, size=60), 2), np.repeat(np.arange(60), 2)
    points = torch.from_numpy(middles[tastes] + rng.normal(size=(120, 3))).float()
    truth = torch.from_numpy(tastes)
    for found in (over_seeds(points, 3, range(4)), over_resamples(points, owners, 3, range(4))):
        assert found.shape == (4, 120)
        assert agreement([truth, *found]).tolist() == [1.0] * 10
    cloud = structureless(points, seed=1)
    # more clusters than there are groups, so that no cut is the natural one
    assert agreement(over_seeds(cloud, 12, range(4))).max() < 0.9
    assert agreement(over_resamples(cloud, owners, 12, range(3))).max() < 0.9
    assert agreement([truth, cloud[:, 0] > 0])[0] < 0.2


def test_a_cloud_has_the_mean_and_the_covariance_that_it_imitates() -> None:
    rng = np.random.default_rng(3)
    points = torch.from_numpy(rng.normal(size=(4000, 2)) @ [[2.0, 1.0], [0.0, 0.5]] + [5, -3])
    cloud = structureless(points.float(), seed=0)
    torch.testing.assert_close(cloud.mean(0).double(), points.mean(0), atol=0.15, rtol=0)
    torch.testing.assert_close(cloud.T.cov().double(), points.T.cov(), atol=0.3, rtol=0)
    assert torch.equal(cloud, structureless(points.float(), seed=0))
    assert cloud.shape == points.shape and cloud.dtype == torch.float32


def test_a_resample_draws_users_not_points(monkeypatch: pytest.MonkeyPatch) -> None:
    owners = np.array([2, 0, 1, 0, 2, 3])
    points = torch.arange(6).float()[:, None]
    drawn = []

    def record(S, K, *, seed):
        drawn.append(sorted(S[:, 0].int().tolist()))
        return S[:K], torch.zeros(len(S), dtype=torch.int64), 0.0

    monkeypatch.setattr("course.stability.k_means", record)
    found = over_resamples(points, owners, 2, range(20))
    assert found.shape == (20, 6)
    for sample in drawn:
        times = [{sample.count(p) for p in np.flatnonzero(owners == user)} for user in range(4)]
        assert all(len(counts) == 1 for counts in times)  # all points of a user, equally often
        assert sum(counts.pop() for counts in times) == 4
    assert len({tuple(sample) for sample in drawn}) > 5


def pair_counting(a, b) -> float:
    """Adjusted Rand Index from its definition, over all pairs."""
    pairs = list(combinations(range(len(a)), 2))
    one = np.array([a[i] == a[j] for i, j in pairs])
    two = np.array([b[i] == b[j] for i, j in pairs])
    expected = one.sum() * two.sum() / len(pairs)
    largest = (one.sum() + two.sum()) / 2
    return 1.0 if largest == expected else ((one & two).sum() - expected) / (largest - expected)


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 2)), min_size=2, max_size=15))
def test_agreement_is_the_pair_counting_index(labels) -> None:
    a, b = (torch.tensor(column) for column in zip(*labels, strict=True))
    assert agreement([a, b])[0] == pytest.approx(pair_counting(a, b))
    assert agreement([a, 3 - a])[0] == pytest.approx(1.0)


def test_agreement_lists_every_pair_once_in_order() -> None:
    labelings = torch.tensor([[0, 0, 1, 1], [1, 1, 0, 0], [0, 1, 0, 1]])
    assert agreement(labelings).tolist() == pytest.approx([1.0, -0.5, -0.5])
    with pytest.raises(ValueError, match="at least two"):
        agreement(labelings[:1])


@pytest.mark.parametrize(
    ("one", "other", "expected_partners", "expected"),
    [
        # overlaps: 0 with 1: 3/4; 1 with 0: 1/3, 1 with 2: 1/2
        ([0, 0, 0, 0, 1, 1], [1, 1, 1, 0, 0, 2], [1, 2], [3 / 4, 1 / 2]),
        # overlaps: 0-0 6/12, 0-1 3/9, 1-0 3/9, 1-1 none: the best pair first would leave 1 alone
        ([0] * 9 + [1] * 3, [0] * 6 + [1] * 3 + [0] * 3, [1, 0], [1 / 3, 1 / 3]),
        # a permutation is undone
        ([0, 1, 2, 3, 3, 2, 2], [2, 0, 3, 1, 1, 3, 3], [2, 0, 3, 1], [1, 1, 1, 1]),
    ],
)
def test_matching_by_hand(one, other, expected_partners, expected) -> None:
    rows, partners, overlap = match_clusters(torch.tensor(one), torch.tensor(other))
    assert rows.tolist() == list(range(len(expected)))
    assert partners.tolist() == expected_partners
    assert overlap.tolist() == pytest.approx(expected)


def test_silhouettes_are_scikit_learns() -> None:
    from sklearn.metrics import silhouette_samples

    noise = torch.Generator().manual_seed(0)
    points = torch.randn(1500, 5, generator=noise)
    labels = torch.randint(0, 9, (1500,), generator=noise)
    labels[labels == 4] = 5  # a number that no point has
    labels[17] = 9  # a point alone
    theirs = silhouette_samples(points.numpy(), labels.numpy())
    np.testing.assert_allclose(silhouettes(points, labels), theirs, atol=1e-4)
    rows = np.array([17, 3, 1200])
    np.testing.assert_allclose(silhouettes(points, labels, rows), theirs[rows], atol=1e-4)
    assert silhouettes(points, labels, rows)[0] == 0
    with pytest.raises(ValueError, match="two clusters"):
        silhouettes(points, torch.zeros(1500, dtype=torch.int64))
