"""Marking functions of the exercises of notebook 09."""

from collections.abc import Callable
from typing import Any

import numpy as np

from course.exercises.marking import mark
from latentcrs_utils.evaluation.published import gain


def standard_error(answer: Callable[..., Any]) -> None:
    """Mark the standard error of a mean difference, ``(ours [U], theirs [U]) -> number``."""

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


def holm(answer: Callable[..., Any]) -> None:
    """Mark Holm's procedure, ``(p_values, alpha) -> list of bool`` in the order given."""

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
    mark("Exercise 2", answer, reference, cases, advice=advice)


def possible(answer: Callable[..., Any]) -> None:
    """Mark whether Recall@5 and NDCG@5 can be of one ranking, ``(recall, ndcg) -> bool``."""

    def reference(recall: float, ndcg: float) -> bool:
        return bool(recall * gain(5) <= ndcg <= recall)

    cases = [(0.1468, 0.0918), (0.0698, 0.0755), (0.2, 0.05), (0.1, 0.038), (0.1, 0.04), (0.0, 0.0)]
    advice = "A hit adds 1 to Recall@5, and to NDCG@5 between its value at rank 5 and 1."
    mark("Exercise 3", answer, reference, cases, advice=advice)
