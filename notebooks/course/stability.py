"""How far to trust a clustering: what another seed or other users would have made of it.

A number of agreement says little alone. k-means cuts a cloud without any structure into much the
same pieces twice, too, so every agreement here comes with a null to hold it against.
"""

from collections.abc import Iterable, Sequence
from itertools import combinations

import numpy as np
import torch
from torch import Tensor

from latentcrs_utils.intents import k_means


def over_seeds(S: Tensor, K: int, seeds: Iterable[int]) -> Tensor:
    """Cluster the points S [N, h] once for each of R seeds, from one start each, int64 [R, N]."""
    return torch.stack([k_means(S, K, seed=seed)[1] for seed in seeds])


def over_resamples(S: Tensor, users: np.ndarray, K: int, seeds: Iterable[int]) -> Tensor:
    """Cluster bootstrap samples of the users, and assign every point to the centroids found.

    A sample draws as many users as there are, with replacement; a user drawn brings all points.
    Drawing points instead would leave almost every user in every sample.

    Args:
        S: [N, h] points.
        users: [N] user of each point, 0..U-1.
        seeds: one sample each; they also seed the starts.

    Returns:
        [R, N] int64 assignments of all points.
    """
    n_users, found = int(users.max()) + 1, []
    points_of = np.split(np.argsort(users, kind="stable"), np.cumsum(np.bincount(users))[:-1])
    for seed in seeds:
        drawn = np.random.default_rng(seed).integers(n_users, size=n_users)
        rows = np.concatenate([points_of[user] for user in drawn])
        centroids = k_means(S[torch.from_numpy(rows)], K, seed=seed)[0]
        found.append(torch.cdist(S, centroids).argmin(1))
    return torch.stack(found)


def agreement(labelings: Sequence[Tensor] | Tensor) -> np.ndarray:
    """Adjusted Rand Index of every pair of R clusterings, [N] each, of the same points.

    1 for the same clusters under whatever numbers, 0 on average for unrelated ones.

    Returns:
        [R * (R - 1) / 2] in the order (0, 1), (0, 2), ..., (1, 2), ...

    Raises:
        ValueError: fewer than two clusterings.
    """
    from sklearn.metrics import adjusted_rand_score

    if len(labelings) < 2:
        raise ValueError("Agreement needs at least two clusterings.")
    arrays = [np.asarray(labels) for labels in labelings]
    return np.array([adjusted_rand_score(one, other) for one, other in combinations(arrays, 2)])


def structureless(S: Tensor, seed: int = 0) -> Tensor:
    """Draw [N, h] points, float32, from a Gaussian with the mean and the covariance of S [N, h]."""
    points, noise = S.numpy().astype(np.float64), np.random.default_rng(seed)
    drawn = noise.multivariate_normal(points.mean(0), np.cov(points, rowvar=False), len(points))
    return torch.from_numpy(drawn.astype(np.float32))


def match_clusters(one: Tensor, other: Tensor) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pair the clusters of two clusterings of the same points, so that the pairs overlap most.

    The Hungarian algorithm maximises the sum, over pairs, of Jaccard's overlap: points in both
    over points in either.

    Args:
        one: [N] assignments, 0..K-1; other: [N] assignments, 0..L-1.

    Returns:
        clusters of `one`, their partners in `other`, and the overlaps of the pairs, 0 to 1; each
        of length min(K, L), the clusters of `one` in rising order.
    """
    from scipy.optimize import linear_sum_assignment

    both = np.zeros((int(one.max()) + 1, int(other.max()) + 1))
    np.add.at(both, (one.numpy(), other.numpy()), 1)
    either = both.sum(1, keepdims=True) + both.sum(0, keepdims=True) - both
    overlap = np.divide(both, either, out=np.zeros_like(both), where=either > 0)
    rows, columns = linear_sum_assignment(-overlap)
    return rows, columns, overlap[rows, columns]


def silhouettes(S: Tensor, assignments: Tensor, rows: np.ndarray | None = None) -> Tensor:
    """Silhouettes of some points, measured against all points.

    scikit-learn's `silhouette_score` can sample, too, but then the sample's clusters are smaller.

    Args:
        S: [N, h] points; assignments: [N] their clusters.
        rows: which points, [n]; None means all.

    Returns:
        [n], -1 to 1: (b - a) / max(a, b), where a is the mean distance to the other points of the
        own cluster and b the lowest mean distance to another; 0 for a point alone in its cluster.

    Raises:
        ValueError: if all points are in one cluster.
    """
    if int(assignments.min()) == int(assignments.max()):
        raise ValueError("A silhouette needs at least two clusters.")
    members = torch.nn.functional.one_hot(assignments).to(S.dtype)  # [N, K]
    sizes = members.sum(0)
    chosen = torch.arange(len(S)) if rows is None else torch.from_numpy(np.asarray(rows))
    found = []
    for part in chosen.split(1024):
        own, place = assignments[part], torch.arange(len(part))
        distance = torch.cdist(S[part], S)
        distance[place, part] = 0.0  # torch.cdist is not exact there
        sums = distance @ members
        a = sums[place, own] / (sizes[own] - 1).clamp_min(1)
        means = torch.where(sizes > 0, sums / sizes, torch.inf)
        means[place, own] = torch.inf
        b = means.amin(1)
        s = (b - a) / torch.maximum(a, b)
        found.append(torch.where(sizes[own] > 1, s, 0.0))
    return torch.cat(found)
