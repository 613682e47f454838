"""Marking functions of the exercises of notebook 08."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from typing import Any

from course.exercises.marking import mark


def turns_of_the_content(answer: Callable[..., Any]) -> None:
    """Mark the mean turn of the successes, from AT with failures counted as 5 and S@5.

    Args:
        answer: ``(at, s5) -> a number``; S@5 is above 0.
    """

    def reference(at: float, s5: float) -> float:
        return (at - 5 * (1 - s5)) / s5

    cases = [(3.6, 0.8), (2.0, 1.0), (4.9, 0.05)]
    advice = "Take away what the failures add to AT, then divide by those who are left."
    mark("Exercise 1", answer, reference, cases, advice=advice)


def reason_to_refuse(answer: Callable[..., Any]) -> None:
    """Mark the choice of a reason to refuse that is true, new and the most common on offer.

    Args:
        answer: ``(wanted, offered, told) -> genre``: genres of the target, genres of each film on
            offer, genres refused so far; ``""`` where nothing is left to say.
    """

    def reference(
        wanted: Collection[str], offered: Sequence[Collection[str]], told: Collection[str]
    ) -> str:
        counts = Counter(genre for genres in offered for genre in set(genres))
        sayable = [genre for genre in counts if genre not in {*wanted, *told}]
        return min(sayable, key=lambda genre: (-counts[genre], genre)) if sayable else ""

    cases = [
        ({"Drama"}, [{"War", "Drama"}, {"Action", "War"}, {"Drama"}], []),
        ({"Drama"}, [{"War", "Drama"}, {"Action", "War"}, {"Drama"}], ["War"]),
        ({"Comedy"}, [{"Romance", "Comedy"}, {"Action"}, {"Comedy"}], ["Crime"]),
        ({"Comedy"}, [{"Comedy"}, {"Action"}], ["Action"]),
    ]
    advice = "It must be false of the target, not said before, and hit most of the list."
    mark("Exercise 2", answer, reference, cases, advice=advice)


def gives_away(answer: Callable[..., Any]) -> None:
    """Mark the test of a message for a whole word of a title with four letters or more.

    Args:
        answer: ``(message, title) -> bool``.
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
    mark("Exercise 3", answer, reference, cases, advice=advice)


def by_luck(answer: Callable[..., Any]) -> None:
    """Mark success rate and AT of a system that offers films at random, none twice.

    Args:
        answer: ``(n_candidates, n_items, n_turns) -> (success rate, AT)``.
    """

    def reference(n_candidates: int, n_items: int, n_turns: int) -> tuple[float, float]:
        success = [min(1.0, k * n_items / n_candidates) for k in range(1, n_turns + 1)]
        return success[-1], 1 + sum(1 - share for share in success[:-1])

    cases = [(950, 5, 5), (20, 5, 5), (10, 3, 3)]
    advice = "What was shown is not shown again; a failure counts as the last turn."
    mark("Exercise 4", answer, reference, cases, advice=advice)


def content_bounds(answer: Callable[..., Any]) -> None:
    """Mark the bounds that S@3 and S@5 set to the mean turn of the successes.

    Args:
        answer: ``(s3, s5) -> (lowest, highest)``; S@5 is above 0.
    """

    def reference(s3: float, s5: float) -> tuple[float, float]:
        late = s5 - s3
        return (s3 + 4 * late) / s5, (3 * s3 + 5 * late) / s5

    cases = [(0.188, 0.540), (0.0, 0.258), (0.5, 0.5)]
    advice = "Two groups of successes, each as early and as late as it can be."
    mark("Exercise 5", answer, reference, cases, advice=advice)
