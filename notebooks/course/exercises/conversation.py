"""Marking functions of the exercises of notebook 07."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch

from course.exercises.marking import mark
from latentcrs_utils.constraints.constraint import Constraint, Requirement, Requirements
from latentcrs_utils.conversation.reranking import permutation
from latentcrs_utils.em.attribution import shapley_values


def careless(answer: Callable[..., Any]) -> None:
    """Mark the careless share under which pushes are most probable, to two digits.

    Args:
        answer: ``(careful [N], n_bars) -> c``; careful is P(push | the person is careful).
    """

    def reference(careful: np.ndarray, n_bars: int) -> float:
        shares = np.arange(101) / 100
        p = shares[:, None] / n_bars + (1 - shares[:, None]) * careful
        return float(shares[np.log(p.clip(1e-300)).sum(1).argmax()])

    cases = [
        (np.array([1.0, 1.0, 0.0, 1.0, 1.0]), 6),
        (np.array([0.9, 0.0, 0.0, 0.4]), 3),
        (np.array([0.8, 1.0]), 2),
    ]
    advice = "Add the logarithms of c / n_bars + (1 - c) * careful, and take the best c."
    mark("Exercise 1", answer, reference, cases, advice=advice)


def shares(answer: Callable[..., Any]) -> None:
    """Mark Shapley values that are summed over coalitions, not over orders.

    Args:
        answer: ``(worth) -> {player: share}``; worth is a dict from frozensets of players, the
            empty one and that of all included, to numbers.
    """

    def reference(worth: Mapping[frozenset[str], float]) -> dict[str, float]:
        players = sorted({player for coalition in worth for player in coalition})
        coalitions = [
            frozenset(p for i, p in enumerate(players) if c >> i & 1)
            for c in range(2 ** len(players))
        ]
        worths = torch.tensor([worth[c] for c in coalitions], dtype=torch.float64)
        return dict(zip(players, shapley_values(worths).tolist(), strict=True))

    cases = [
        (_game("hw", [0.0, 1.0, 2.0, 5.0]),),
        (_game("hwr", [0.0, -1.0, 4.0, 2.5, 0.5, 0.0, 6.0, 5.0]),),
        (_game("abcd", [0.0, 1, 1, 4, 0, 2, 2, 6, 1, 2, 5, 7, 1, 3, 6, 9.5]),),
    ]
    advice = "Exactly c of n players stand before a newcomer in c! (n - c - 1)! orders."
    mark("Exercise 2", answer, reference, cases, advice=advice)


def _game(players: str, worths: Sequence[float]) -> dict[frozenset[str], float]:
    """A game: player i belongs to coalition c where bit i of c is set."""
    return {
        frozenset(p for i, p in enumerate(players) if c >> i & 1): worth
        for c, worth in enumerate(worths)
    }


def then(answer: Callable[..., Any]) -> None:
    """Mark which genres are asked for and refused after a second message.

    Args:
        answer: ``(asked, refused, asked_now, refused_now) -> (asked, refused)``, all sets of
            genres.
    """

    def of(asked: set[str], refused: set[str]) -> Requirements:
        constraints = [Constraint("genre", g) for g in sorted(asked)]
        constraints += [Constraint("genre", g, negated=True) for g in sorted(refused)]
        return Requirements(tuple(Requirement(c, evidence="said") for c in constraints))

    def reference(
        asked: set[str], refused: set[str], asked_now: set[str], refused_now: set[str]
    ) -> tuple[set[str], set[str]]:
        after = of(asked, refused).then(of(asked_now, refused_now), "said")
        return set(after.genres), set(after.not_genres)

    cases = [
        ({"Comedy"}, set(), {"War"}, set()),
        ({"Comedy", "War"}, {"Horror"}, set(), {"War"}),
        ({"Comedy"}, {"Horror", "Musical"}, {"Horror"}, {"Drama"}),
        ({"Comedy"}, {"Horror"}, set(), set()),
    ]
    advice = "Wishes add up, and of two that contradict each other the later one holds."
    mark("Exercise 3", answer, reference, cases, advice=advice)


def order_of(answer: Callable[..., Any]) -> None:
    """Mark a permutation made of whatever numbers a language model wrote.

    Args:
        answer: ``(numbers, n) -> list``; numbers from 1 to n, perhaps doubled, missing or wrong,
            become the n places 0..n-1, each once.
    """
    cases = [([2, 4, 1, 3], 4), ([3, 3, 1], 4), ([7, 2, 0, -1], 3), ([4, "2", 2.0, 1], 4)]
    advice = "Keep the first mention of each place, then add what is missing in its old order."
    mark("Exercise 4", answer, permutation, cases, advice=advice)


def precision_recall(answer: Callable[..., Any]) -> None:
    """Mark micro precision and recall of conditions read out of several utterances.

    Args:
        answer: ``(found, true) -> (precision, recall)``; one set of conditions an utterance.
    """

    def reference(found: Sequence[set[str]], true: Sequence[set[str]]) -> tuple[float, float]:
        hits = sum(len(f & t) for f, t in zip(found, true, strict=True))
        return hits / sum(map(len, found)), hits / sum(map(len, true))

    cases = [
        ([{"a"}, {"b", "c"}, set()], [{"a"}, {"b"}, {"d", "e"}]),
        # nothing was asked in the second one, and something was found
        ([{"a", "b"}, {"c"}], [{"a", "b", "d"}, set()]),
        ([{"a"}, set(), {"b", "c", "d"}], [{"a"}, {"a"}, {"b"}]),
    ]
    advice = "Add up over all utterances, those without any wish included, and divide once."
    mark("Exercise 5", answer, reference, cases, advice=advice)
