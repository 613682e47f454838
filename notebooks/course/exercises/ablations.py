"""The exercises of notebook 09: paired errors, many comparisons, honest choices, what can be."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from course.exercises.marking import mark
from latentcrs_utils.evaluation.published import gain


def standard_error(answer: Callable[..., Any]) -> None:
    """Mark the standard error of a mean paired difference.

    Args:
        answer: ``(ours, theirs) -> a number``; arrays with one value per user, same order.
    """

    def reference(ours: np.ndarray, theirs: np.ndarray) -> float:
        gaps = ours - theirs
        return float(gaps.std(ddof=1) / np.sqrt(len(gaps)))

    rng = np.random.default_rng(0)
    cases = [
        (np.array([0.4, 0.0, 0.9]), np.array([0.3, 0.1, 0.5])),
        (np.array([1.0, 0.5]), np.array([0.5, 0.0])),
        (rng.random(7).round(2), rng.random(7).round(2)),
    ]
    advice = "The spread of the differences (n - 1 in the denominator), over the root of n."
    mark("Exercise 1", answer, reference, cases, advice=advice)


def at_least_one(answer: Callable[..., Any]) -> None:
    """Mark the chance that at least one of n independent, equal variants looks significant.

    Args:
        answer: ``(n, alpha) -> a probability``.
    """

    def reference(n: int, alpha: float) -> float:
        return float(1 - (1 - alpha) ** n)

    cases = [(1, 0.05), (20, 0.05), (3, 0.5), (100, 0.01)]
    advice = "One minus the chance that none does."
    mark("Exercise 2", answer, reference, cases, advice=advice)


def holm(answer: Callable[..., Any]) -> None:
    """Mark Holm's procedure: which of several p-values stand when all are looked at together.

    Args:
        answer: ``(p_values, alpha) -> list of bool``, in the order given.
    """

    def reference(p_values: list[float], alpha: float) -> list[bool]:
        order = np.argsort(p_values, kind="stable")
        stands = [False] * len(p_values)
        for place, index in enumerate(order):
            if p_values[index] > alpha / (len(p_values) - place):
                break
            stands[index] = True
        return stands

    cases = [
        ([0.001, 0.02, 0.04], 0.05),
        ([0.03, 0.04, 0.01], 0.05),
        ([0.04, 0.001, 0.024, 0.017], 0.05),
        ([0.2], 0.25),
    ]
    advice = "Smallest first: p against alpha / (how many are left); at the first failure, stop."
    mark("Exercise 3", answer, reference, cases, advice=advice)


def honest_choice(answer: Callable[..., Any]) -> None:
    """Mark the test result of the variant that validation chooses, and what peeking would add.

    Args:
        answer: ``(valid, test) -> (honest, gain of peeking)``; one value per variant.
    """

    def reference(valid: list[float], test: list[float]) -> tuple[float, float]:
        honest = test[int(np.argmax(valid))]
        return honest, max(test) - honest

    cases = [
        ([0.20, 0.25, 0.22], [0.30, 0.21, 0.24]),
        ([0.5, 0.1], [0.4, 0.6]),
        ([0.1, 0.3], [0.2, 0.9]),
    ]
    advice = "The place of the best validation value, read off the test values."
    mark("Exercise 4", answer, reference, cases, advice=advice)


def possible(answer: Callable[..., Any]) -> None:
    """Mark whether a printed Recall@5 and NDCG@5 can come from the same ranking.

    Args:
        answer: ``(recall, ndcg) -> bool``; one relevant item per user.
    """

    def reference(recall: float, ndcg: float) -> bool:
        return bool(recall * gain(5) <= ndcg <= recall)

    cases = [(0.1468, 0.0918), (0.0698, 0.0755), (0.2, 0.05), (0.1, 0.038), (0.1, 0.04), (0.0, 0.0)]
    advice = "A hit adds 1 to Recall@5, and to NDCG@5 between its value at rank 5 and 1."
    mark("Exercise 5", answer, reference, cases, advice=advice)
