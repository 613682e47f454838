"""The exercises of notebook 03: Lloyd's update, margins, lift, agreement."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from course.exercises.marking import mark
from latentcrs_utils.intents import lifts


def _points(seed: int, n: int, K: int) -> tuple[Tensor, Tensor]:
    """Draw n points and K centroids in the plane, with one coordinate after the comma."""
    noise = torch.Generator().manual_seed(seed)
    S = torch.randint(0, 100, (n, 2), generator=noise) / 10
    return S, torch.randint(0, 100, (K, 2), generator=noise) / 10


def update(S: Tensor, assignments: Tensor, centroids: Tensor) -> Tensor:
    """Step 2 of k-means, [N, h], [N] and [K, h] -> [K, h]: the right answer to exercise 1."""
    clusters = [S[assignments == k] for k in range(len(centroids))]
    pairs = zip(clusters, centroids, strict=True)
    return torch.stack([points.mean(0) if len(points) else old for points, old in pairs])


def lloyd_update(answer: Callable[..., Any]) -> None:
    """Mark the step of k-means: ``(S [N, h], assignments [N], centroids [K, h]) -> [K, h]``."""
    line = torch.tensor([[0.0], [2.0], [10.0]])
    cases = [(line, torch.tensor([0, 0, 1]), torch.tensor([[0.0], [9.0]]))]
    for seed, n, K in ((2, 6, 2), (3, 7, 5)):
        S, centroids = _points(seed, n, K)
        cases.append((S, torch.cdist(S, centroids).argmin(1), centroids))
    advice = "Each centroid becomes the mean of its own points; one without points rests."
    mark("Exercise 1", answer, update, cases, advice=advice)


def margin(answer: Callable[..., Any]) -> None:
    """Mark second nearest distance minus nearest: ``(S [N, h], centroids [K, h]) -> [N]``."""

    def reference(S: Tensor, centroids: Tensor) -> Tensor:
        near = torch.cdist(S, centroids).topk(2, largest=False).values
        return near[:, 1] - near[:, 0]

    line = torch.tensor([[0.0], [5.0], [9.0]]), torch.tensor([[0.0], [10.0], [4.0]])
    cases = [line, _points(0, 4, 3), _points(1, 5, 6)]
    advice = "Distances, not their squares; second nearest minus nearest, never negative."
    mark("Exercise 2", answer, reference, cases, advice=advice)


def shrunk_lift(answer: Callable[..., Any]) -> None:
    """Mark the lift of one item in one cluster, drawn to 1 where the cluster is small.

    Args:
        answer: ``(holders, size, overall) -> lift``: states of the cluster that hold the item,
            states of the cluster, share of all states that hold it.
    """

    def reference(holders: int, size: int, overall: float) -> float:
        # a second, huge cluster makes the overall share what it is said to be
        rest = 10**9
        counts = np.array([[holders], [overall * (rest + size) - holders]])
        return float(lifts(counts, np.array([size, rest]))[1][0, 0])

    cases = [(1, 1, 0.01), (30, 100, 0.1), (0, 5, 0.2), (0, 0, 0.3)]
    advice = "Add ten states that hold the item as often as everybody does, then divide."
    mark("Exercise 3", answer, reference, cases, advice=advice, tolerance=1e-5)


def agreement_of_table(answer: Callable[..., Any]) -> None:
    """Mark the Adjusted Rand Index from overlaps: ``(table [K, L] of counts) -> ARI``."""
    from sklearn.metrics import adjusted_rand_score

    def reference(table: np.ndarray) -> float:
        one, other = np.nonzero(table)
        times = table[one, other]
        return float(adjusted_rand_score(np.repeat(one, times), np.repeat(other, times)))

    tables = ([[3, 0], [0, 5]], [[3, 1], [1, 3]], [[2, 2], [2, 2]], [[4, 1, 0], [0, 2, 2]])
    cases = [(np.array(table),) for table in tables]
    advice = "Count pairs, n(n - 1)/2, in the cells, the rows, the columns and in all."
    mark("Exercise 4", answer, reference, cases, advice=advice)
