"""What printed metrics say about each other, with no access to the rankings or the dialogues."""

from __future__ import annotations

import math
from collections.abc import Mapping

from latentcrs_utils.evaluation.published import METRICS


def gain(rank: int) -> float:
    """What a target at ``rank`` (1 is best) adds to NDCG: 1 / log2(1 + rank)."""
    return 1 / math.log2(1 + rank)


def ndcg_bounds(
    recall_k: float, ndcg_k: float, recall_n: float, *, k: int = 5, n: int = 20
) -> tuple[float, float]:
    """Bounds of NDCG@n, given Recall@k, NDCG@k and Recall@n of the same rankings, k < n.

    One relevant item per instance. A share Recall@n - Recall@k of the instances has its target at a
    rank from k + 1 to n, and each of these adds between ``gain(n)`` and ``gain(k + 1)``. The bounds
    are linear, so means over runs obey them too.

    Returns:
        Lowest and highest possible NDCG@n.
    """
    later = recall_n - recall_k
    return ndcg_k + later * gain(n), ndcg_k + later * gain(k + 1)


def turns_bounds(s3: float, s5: float) -> tuple[float, float]:
    """Bounds of AT over five turns, given S@3 and S@5 of the same dialogues; failures count 5.

    AT is 5 - (S@1 + S@2 + S@3 + S@4), and S@k never falls: S@1 and S@2 lie between 0 and S@3, S@4
    between S@3 and S@5. The bounds are linear, so means over runs obey them too.

    Returns:
        Lowest and highest possible AT.
    """
    return 5 - 3 * s3 - s5, 5 - 2 * s3


def contradictions(
    metrics: Mapping[str, float], half_units: Mapping[str, float] | None = None
) -> list[str]:
    """Say what in a row of Recall@5, NDCG@5, Recall@20 and NDCG@20 cannot come from one ranking.

    Args:
        metrics: the four values by name.
        half_units: how far each may be from the true value because of its printed digits; default
            exact. Every bound is widened by it, so what is reported cannot be rounding.

    Returns:
        One sentence each; none for a row that is possible.
    """
    r5, n5, r20, n20 = (metrics[name] for name in METRICS)
    e_r5, e_n5, e_r20, e_n20 = ((half_units or {}).get(name, 0.0) for name in METRICS)
    slack = 1e-9
    found = []
    if r20 < r5 - e_r5 - e_r20 - slack:
        found.append(f"Recall@20 {r20} is below Recall@5 {r5}")
    if n5 > r5 + e_r5 + e_n5 + slack:
        found.append(f"NDCG@5 {n5} is above Recall@5 {r5}")
    if n5 < (r5 - e_r5) * gain(5) - e_n5 - slack:
        found.append(f"NDCG@5 {n5} is below Recall@5 x {gain(5):.4f}")
    low, _ = ndcg_bounds(r5 + e_r5, n5 - e_n5, r20 - e_r20)
    _, high = ndcg_bounds(r5 - e_r5, n5 + e_n5, r20 + e_r20)
    if not low - e_n20 - slack <= n20 <= high + e_n20 + slack:
        found.append(f"NDCG@20 {n20} is outside {low:.4f} to {high:.4f}")
    return found
