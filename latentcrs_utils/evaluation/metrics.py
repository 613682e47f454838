"""Ranking metrics of each instance, and the uncertainty of their mean."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from latentcrs_utils.ranking import ndcg, rank_of_target, recall

__all__ = ["bootstrap_interval", "ndcg", "rank_of_target", "recall"]


def bootstrap_interval(
    values: Tensor | np.ndarray, n: int = 2000, seed: int = 0, level: float = 0.95
) -> tuple[float, float]:
    """Percentile bootstrap interval of the mean.

    Args:
        values: [B] per-instance values.
        n: number of resamples.
        seed: seed of the resampling.
        level: coverage, in (0, 1).

    Returns:
        Lower and upper end.

    Raises:
        ValueError: if there are no values or the level is outside (0, 1).
    """
    values = np.asarray(values, dtype=np.float64)
    if values.size == 0:
        raise ValueError("A bootstrap interval needs at least one value.")
    if not 0 < level < 1:
        raise ValueError(f"The level of an interval lies between 0 and 1, not {level}.")
    generator = np.random.default_rng(seed)
    means = np.empty(n)
    chunk = max(1, 4_000_000 // values.size)
    for start in range(0, n, chunk):
        size = (min(chunk, n - start), values.size)
        means[start : start + size[0]] = values[generator.integers(values.size, size=size)].mean(1)
    tail = (1 - level) / 2
    low, high = np.quantile(means, [tail, 1 - tail])
    return float(low), float(high)
