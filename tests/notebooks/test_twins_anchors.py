"""What notebook 03 writes out by hand equals the package and scikit-learn, on other inputs."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.cluster import KMeans
from sklearn.metrics import adjusted_rand_score, silhouette_samples

from course.exercises.anchors import update
from latentcrs_utils import intents

STEMS = ("03_intent_anchors",)


@pytest.fixture(params=range(4))
def points(request):
    """Ninety points around three places, six dimensions."""
    rng = np.random.default_rng(request.param)
    places = rng.normal(scale=3, size=(3, 6))
    return torch.from_numpy(places.repeat(30, axis=0) + rng.normal(size=(90, 6))).float()


def test_steps_and_their_rest(by_hand, points):
    start = points[::20]  # five centroids
    centroids, assignments, path = by_hand.lloyd(points, start)
    theirs = KMeans(5, init=start.numpy(), n_init=1, tol=0).fit(points.numpy())
    assert assignments.tolist() == theirs.labels_.tolist()
    torch.testing.assert_close(centroids, torch.from_numpy(theirs.cluster_centers_))
    assert path[-1] == pytest.approx(theirs.inertia_, rel=1e-4)
    assert np.all(np.diff(path) <= 1e-4 * path[0])
    torch.testing.assert_close(by_hand.assign(points, centroids), assignments)
    torch.testing.assert_close(update(points, assignments, centroids), centroids)
    assert by_hand.inertia(points, assignments, centroids).item() == pytest.approx(path[-1])


def test_a_cluster_without_points_stays(by_hand, points):
    far = torch.cat([points[:2], torch.full((1, 6), 1e3)])
    assignments = by_hand.assign(points, far)
    assert 2 not in assignments
    assert torch.equal(update(points, assignments, far)[2], far[2])


def test_the_package_is_at_rest_under_the_steps(by_hand, points):
    centroids, assignments, inertia = intents.k_means(points, 4, seed=1)
    assert torch.equal(by_hand.assign(points, centroids), assignments)
    torch.testing.assert_close(update(points, assignments, centroids), centroids)
    assert by_hand.inertia(points, assignments, centroids).item() == pytest.approx(inertia)


def test_silhouette(by_hand, points):
    points = points.double()  # torch.cdist of a point and itself is 0 only nearly
    labels = by_hand.assign(points, points[::20])
    labels[7] = 5  # alone
    ours = by_hand.silhouette(points, labels)
    np.testing.assert_allclose(ours, silhouette_samples(points.numpy(), labels), atol=1e-4)
    assert ours[7] == 0


def test_adjusted_rand(by_hand, points):
    one = by_hand.assign(points, points[::20])
    for other in (by_hand.assign(points, points[::31]), one.flip(0), (one + 1) % 5):
        theirs = adjusted_rand_score(one, other)
        assert by_hand.adjusted_rand(one, other) == pytest.approx(theirs)


def test_lifts(by_hand):
    rng = np.random.default_rng(0)
    sizes = rng.integers(1, 50, 6)
    counts = rng.integers(1, 9, (6, 11))
    for ours, theirs in zip(
        by_hand.lifts(counts, sizes), intents.lifts(counts, sizes), strict=True
    ):
        np.testing.assert_allclose(ours, theirs)
