"""Ranking metrics of each instance, and the uncertainty of their mean."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

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


@dataclass(frozen=True)
class Difference:
    """Mean of paired differences with its bootstrap interval.

    Attributes:
        mean: mean difference.
        low, high: ends of the interval.
        per_user: [N] the differences, one a user.
    """

    mean: float
    low: float
    high: float
    per_user: np.ndarray

    @property
    def is_clear(self) -> bool:
        """Whether the interval leaves out zero."""
        return self.low > 0 or self.high < 0


def paired_difference(
    ours: Tensor | np.ndarray,
    theirs: Tensor | np.ndarray,
    users: np.ndarray | None = None,
    *,
    n: int = 2000,
    seed: int = 0,
    level: float = 0.95,
) -> Difference:
    """Mean of ``ours - theirs`` on the same instances, with an interval over users.

    Users are what is drawn by chance, so users are resampled: several instances of one user are
    averaged first, and never count as independent.

    Args:
        ours, theirs: [B] values of a metric, the same instances in the same order.
        users: [B] whose instance it is; default, each instance is a user of its own.
        n, seed, level: of the bootstrap (see `bootstrap_interval`).

    Raises:
        ValueError: the lengths do not agree, or there is no instance.
    """
    gap = np.asarray(ours, dtype=np.float64) - np.asarray(theirs, dtype=np.float64)
    if users is not None:
        if len(users) != len(gap):
            raise ValueError(f"{len(gap)} differences came with {len(users)} users.")
        _, place = np.unique(users, return_inverse=True)
        gap = np.bincount(place, weights=gap) / np.bincount(place)
    low, high = bootstrap_interval(gap, n=n, seed=seed, level=level)
    return Difference(float(gap.mean()), low, high, gap)


def users_needed(
    per_user: np.ndarray, effect: float, *, power: float = 0.8, level: float = 0.95
) -> int:
    """How many users it takes to find a mean difference of ``effect``, by the normal formula.

    Args:
        per_user: [N] paired differences of a pilot; only their spread is read.
        effect: the smallest true difference that one would not want to miss, not zero.
        power: probability of finding it, in (0, 1).
        level: coverage of the interval that must leave out zero, in (0, 1).

    Raises:
        ValueError: fewer than two users, or an effect of zero.
    """
    if len(per_user) < 2 or effect == 0:
        raise ValueError("It takes two users to see a spread, and an effect that is not zero.")
    normal = NormalDist()
    reach = normal.inv_cdf((1 + level) / 2) + normal.inv_cdf(power)
    return math.ceil((reach * float(np.std(per_user, ddof=1)) / abs(effect)) ** 2)
