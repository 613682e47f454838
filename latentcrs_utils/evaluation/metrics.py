"""Ranking metrics of each instance, and the uncertainty of their mean."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
import torch
from torch import Tensor

from latentcrs_utils.ranking import ndcg, recall

METRICS = ("Recall@5", "NDCG@5", "Recall@20", "NDCG@20")
METRIC = "NDCG@20"  # the one that is compared where there is room for one


def metric_values(ranks: np.ndarray, metric: str) -> np.ndarray:
    """Per-instance values of a metric such as `NDCG@20`, in the shape of `ranks`."""
    name, k = metric.split("@")
    flat = torch.from_numpy(np.ascontiguousarray(ranks)).reshape(-1)
    return {"Recall": recall, "NDCG": ndcg}[name](flat, int(k)).numpy().reshape(ranks.shape)


def describe_ranks(ranks: np.ndarray | Sequence[np.ndarray]) -> dict[str, Any]:
    """Means of the four metrics and what chance could have done to NDCG@20.

    ranks is [seeds, ..., U], averaged over all but the users; low and high are the 95 % bootstrap
    interval over users, seed_spread the largest minus the smallest mean of a seed.
    """
    ranks = np.asarray(ranks)
    values = metric_values(ranks, METRIC)
    low, high = bootstrap_interval(values.mean(tuple(range(values.ndim - 1))))
    spread = float(np.ptp(values.mean(tuple(range(1, values.ndim)))))
    means = {metric: float(metric_values(ranks, metric).mean()) for metric in METRICS}
    return {**means, "low": low, "high": high, "seed_spread": spread}


def bootstrap_interval(
    values: Tensor | np.ndarray, n: int = 2000, seed: int = 0
) -> tuple[float, float]:
    """95 % percentile bootstrap interval of the mean of [B] values; ValueError: there are none."""
    values = np.asarray(values, dtype=np.float64)
    if values.size == 0:
        raise ValueError("A bootstrap interval needs at least one value.")
    generator, means = np.random.default_rng(seed), np.empty(n)
    chunk = max(1, 4_000_000 // values.size)
    for start in range(0, n, chunk):
        size = (min(chunk, n - start), values.size)
        means[start : start + size[0]] = values[generator.integers(values.size, size=size)].mean(1)
    low, high = np.quantile(means, [0.025, 0.975])
    return float(low), float(high)


def mean_and_interval(values: np.ndarray) -> dict[str, float]:
    """The mean of [N] values and its 95 % bootstrap interval: mean, low, high."""
    low, high = bootstrap_interval(values)
    return {"mean": float(values.mean()), "low": low, "high": high}


@dataclass(frozen=True)
class Difference:
    """Mean of paired differences, the ends of its interval, and the [N] differences by user."""

    mean: float
    low: float
    high: float
    per_user: np.ndarray

    @property
    def is_clear(self) -> bool:
        """Whether the interval leaves out zero."""
        return self.low > 0 or self.high < 0

    def columns(self, metric: str) -> dict[str, float]:
        """How tables record it: `metric`_gap, `metric`_gap_low and `metric`_gap_high."""
        ends = {f"{metric}_gap_low": self.low, f"{metric}_gap_high": self.high}
        return {f"{metric}_gap": self.mean, **ends}


def paired_difference(
    ours: Tensor | np.ndarray, theirs: Tensor | np.ndarray, users: np.ndarray | None = None
) -> Difference:
    """Mean of ``ours - theirs`` on the same instances, with a 95 % interval over users.

    Users are resampled: several instances of one user are averaged first. All arguments are [B];
    users says whose instance it is (None: each another's). ValueError: lengths differ, or B = 0.
    """
    gap = np.asarray(ours, dtype=np.float64) - np.asarray(theirs, dtype=np.float64)
    if users is not None:
        if len(users) != len(gap):
            raise ValueError(f"{len(gap)} differences came with {len(users)} users.")
        _, place = np.unique(users, return_inverse=True)
        gap = np.bincount(place, weights=gap) / np.bincount(place)
    return Difference(float(gap.mean()), *bootstrap_interval(gap), gap)


def users_needed(per_user: np.ndarray, effect: float) -> int:
    """How many users it takes to find a mean difference of ``effect``, by the normal formula.

    Found means, with a probability of 80 %, that the 95 % interval leaves out zero. Of the paired
    differences of a pilot, [N], only the spread is read. ValueError: under two users, or no effect.
    """
    if len(per_user) < 2 or effect == 0:
        raise ValueError("It takes two users to see a spread, and an effect that is not zero.")
    reach = NormalDist().inv_cdf(0.975) + NormalDist().inv_cdf(0.8)
    return math.ceil((reach * float(np.std(per_user, ddof=1)) / abs(effect)) ** 2)
