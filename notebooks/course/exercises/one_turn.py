"""Marking functions of the exercises of notebook 06."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from course.exercises.marking import mark
from latentcrs_utils.evaluation.published import gain


def shared_ties(answer: Callable[..., Any]) -> None:
    """Mark the mean NDCG@k of a target whose ties are broken by lot.

    `answer` is ``(scores, target, k) -> a number``; scores of all films, the target's place, k.
    """

    def reference(scores: Sequence[float], target: int, k: int) -> float:
        above = sum(score > scores[target] for score in scores)
        equal = sum(score == scores[target] for score in scores)
        places = range(above + 1, above + equal + 1)
        return sum(gain(rank) for rank in places if rank <= k) / equal

    cases = [
        ([3.0, 2.0, 2.0, 1.0], 2, 5),
        ([1.0] * 8, 3, 5),
        ([5.0, 4.0, 4.0, 4.0, 4.0, 0.0], 1, 3),
    ]
    advice = "Each place among the equals is as likely; average the gain, not the rank."
    mark("Exercise 1", answer, reference, cases, advice=advice)


def standard_error(answer: Callable[..., Any]) -> None:
    """Mark the standard error of a mean paired difference where users answer several times.

    `answer` is ``(ours [B], theirs [B], users [B]) -> a number``.
    """

    def reference(ours: np.ndarray, theirs: np.ndarray, users: np.ndarray) -> float:
        gap = ours - theirs
        per_user = np.array([gap[users == user].mean() for user in np.unique(users)])
        return float(per_user.std(ddof=1) / math.sqrt(len(per_user)))

    rng = np.random.default_rng(0)
    users = np.array([3, 1, 2, 1, 3, 2, 4, 4, 3, 1, 2, 4])
    base = rng.random(5)[users]  # some users are easy for both systems
    cases = [
        (base + 0.3 * rng.random(12), base, users),
        (np.array([1.0, 0.5, 0.0]), np.array([0.5, 0.5, 0.1]), np.array([7, 8, 9])),
    ]
    advice = "Subtract first, then one mean a user; users are what is drawn by chance."
    mark("Exercise 2", answer, reference, cases, advice=advice)


def least_recall(answer: Callable[..., Any]) -> None:
    """Mark the smallest Recall@20 with which Recall@5, NDCG@5 and NDCG@20 are possible.

    `answer` is ``(recall_5, ndcg_5, ndcg_20) -> a number``.
    """

    def reference(recall_5: float, ndcg_5: float, ndcg_20: float) -> float:
        return recall_5 + (ndcg_20 - ndcg_5) / gain(6)

    cases = [(0.086, 0.0546, 0.0950), (0.5, 0.3, 0.3), (0.0, 0.0, 0.12)]
    advice = "The fewest users are needed if each adds as much as a late place can add."
    mark("Exercise 3", answer, reference, cases, advice=advice)


def all_pairs(answer: Callable[..., Any]) -> None:
    """Mark the sum of x_i x_j (v_i . v_j) over all pairs of a user's features, each pair once.

    `answer` is ``(x [k], vectors [k, d]) -> a number``.
    """

    def reference(x: np.ndarray, vectors: np.ndarray) -> float:
        scaled = x[:, None] * vectors
        return float(np.triu(scaled @ scaled.T, 1).sum())

    rng = np.random.default_rng(0)
    cases = [
        (np.ones(2), np.array([[1.0, 2.0], [3.0, -1.0]])),
        (np.ones(3), rng.normal(size=(3, 4))),
        (np.array([1.0, 0.5, -1.0, 0.0]), rng.normal(size=(4, 2))),
    ]
    advice = "The square of the sum holds each pair twice, and each feature once with itself."
    mark("Exercise 4", answer, reference, cases, advice=advice)


def least_half_width(answer: Callable[..., Any]) -> None:
    """Mark the least half-width of a 95 % interval that Recall@20 and NDCG@20 of n users allow.

    `answer` is ``(recall, ndcg, n) -> a number``.
    """

    def reference(recall: float, ndcg: float, n: int) -> float:
        return 1.96 * math.sqrt((ndcg**2 / recall - ndcg**2) / n)

    cases = [(0.34, 0.1426, 500), (1.0, 0.6, 100), (0.2, 0.1, 50)]
    advice = "Users without a hit have gain 0; the spread is least if all hits gain the same."
    mark("Exercise 5", answer, reference, cases, advice=advice, tolerance=1e-3)
