"""Marking functions of the exercises of notebook 08."""

import re
from collections.abc import Callable
from typing import Any

import numpy as np
from scipy.special import xlogy

from course.exercises.marking import mark


def turns_of_the_content(answer: Callable[..., Any]) -> None:
    """Mark the mean turn of the successes, from AT with failures counted as 5 and S@5.

    `answer` is ``(at, s5) -> a number``; S@5 is above 0.
    """

    def reference(at: float, s5: float) -> float:
        return (at - 5 * (1 - s5)) / s5

    cases = [(3.6, 0.8), (2.0, 1.0), (4.9, 0.05)]
    advice = "Take away what the failures add to AT, then divide by those who are left."
    mark("Exercise 1", answer, reference, cases, advice=advice)


def gives_away(answer: Callable[..., Any]) -> None:
    """Mark the test of a message for a whole word of a title with four letters or more.

    `answer` is ``(message, title) -> bool``.
    """

    def words(text: str) -> set[str]:
        return {word for word in re.findall("[a-z0-9]+", text.lower()) if len(word) >= 4}

    def reference(message: str, title: str) -> bool:
        return bool(words(message) & words(title))

    cases = [
        ("The one with the falcon, please.", "The Maltese Falcon"),
        ("We met in the theatre.", "Heat"),
        ("the HEAT of the night", "Heat"),
        ("For all of us, and for you.", "The Good, The Bad and The Ugly"),
        ("A drama from the nineties.", "Dante's Peak"),
    ]
    advice = "Compare whole words, without their commas, and in one case."
    mark("Exercise 2", answer, reference, cases, advice=advice)


def by_luck(answer: Callable[..., Any]) -> None:
    """Mark success rate and AT of a system that offers films at random, none twice.

    `answer` is ``(n_candidates, n_items, n_turns) -> (success rate, AT)``.
    """

    def reference(n_candidates: int, n_items: int, n_turns: int) -> tuple[float, float]:
        success = [min(1.0, k * n_items / n_candidates) for k in range(1, n_turns + 1)]
        return success[-1], 1 + sum(1 - share for share in success[:-1])

    cases = [(950, 5, 5), (20, 5, 5), (10, 3, 3)]
    advice = "What was shown is not shown again; a failure counts as the last turn."
    mark("Exercise 3", answer, reference, cases, advice=advice)


def questions(answer: Callable[..., Any]) -> None:
    """Mark the entropy of each yes-or-no question, in nats; minus infinity where it is settled.

    `answer` is ``(has [N, A], left [N], settled [A]) -> [A]``: films by attributes, films left,
    attributes known.
    """

    def reference(has: np.ndarray, left: np.ndarray, settled: np.ndarray) -> np.ndarray:
        p = has[left].mean(axis=0)
        return np.where(settled, -np.inf, -xlogy(p, p) - xlogy(1 - p, 1 - p))

    rng = np.random.default_rng(0)
    has, open_to_all = rng.random((9, 4)) < [0.3, 0.5, 0.7, 0.5], np.zeros(4, dtype=bool)
    has[:4, 2], has[:4, 3] = True, False
    cases = [
        (has, np.ones(9, dtype=bool), open_to_all),
        (has, np.arange(9) < 4, open_to_all),
        (has, np.arange(9) % 2 == 0, np.array([True, False, False, True])),
    ]
    advice = (
        "Count films that are left alone; a certain answer tells nothing; known ones come last."
    )
    mark("Exercise 4", answer, reference, cases, advice=advice)


def content_bounds(answer: Callable[..., Any]) -> None:
    """Mark the bounds that S@3 and S@5 set to the mean turn of the successes.

    `answer` is ``(s3, s5) -> (lowest, highest)``; S@5 is above 0.
    """

    def reference(s3: float, s5: float) -> tuple[float, float]:
        late = s5 - s3
        return (s3 + 4 * late) / s5, (3 * s3 + 5 * late) / s5

    cases = [(0.188, 0.540), (0.0, 0.258), (0.5, 0.5)]
    advice = "Two groups of successes, each as early and as late as it can be."
    mark("Exercise 5", answer, reference, cases, advice=advice)
