"""Marking functions of the exercises of notebook 07."""

from collections.abc import Callable, Mapping, Sequence
from types import SimpleNamespace
from typing import Any

import torch

from course.exercises.marking import mark
from latentcrs_utils.constraints.constraint import Constraint, Matcher, Requirement, Requirements
from latentcrs_utils.conversation.policies import relaxations
from latentcrs_utils.conversation.reranking import permutation
from latentcrs_utils.em.attribution import shapley_values
from latentcrs_utils.simulation.items import Item

Film = tuple[int | None, set[str]]


def shares(answer: Callable[..., Any]) -> None:
    """Mark Shapley values summed over coalitions, ``{frozenset: worth} -> {player: share}``."""

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
        (_game("hw", [2.0, 1.0, 2.0, 5.0]),),  # nobody is worth something, too
        (_game("hwr", [0.0, -1.0, 4.0, 2.5, 0.5, 0.0, 6.0, 5.0]),),
        (_game("abcd", [0.0, 1, 1, 4, 0, 2, 2, 6, 1, 2, 5, 7, 1, 3, 6, 9.5]),),
    ]
    advice = "Exactly c of n players come before a given one in c! (n - c - 1)! orders."
    mark("Exercise 1", answer, reference, cases, advice=advice)


def _game(players: str, worths: Sequence[float]) -> dict[frozenset[str], float]:
    """A game: player i belongs to coalition c where bit i of c is set."""
    return {
        frozenset(p for i, p in enumerate(players) if c >> i & 1): worth
        for c, worth in enumerate(worths)
    }


def _required(asked: set[str], refused: set[str], *more: Constraint) -> Requirements:
    """Genres that are asked for and refused, and more requirements."""
    genres = [Constraint("genre", g, negated=g in refused) for g in sorted(asked | refused)]
    return Requirements(tuple(Requirement(c, evidence="said") for c in (*genres, *more)))


def then(answer: Callable[..., Any]) -> None:
    """Mark what holds after a message, ``(asked, refused, asked_now, refused_now) -> both``."""

    def reference(
        asked: set[str], refused: set[str], asked_now: set[str], refused_now: set[str]
    ) -> tuple[set[str], set[str]]:
        after = _required(asked, refused).then(_required(asked_now, refused_now), "said")
        return set(after.genres), set(after.not_genres)

    cases = [
        ({"Comedy"}, set(), {"War"}, set()),
        ({"Comedy", "War"}, {"Horror"}, set(), {"War"}),
        ({"Comedy"}, {"Horror", "Musical"}, {"Horror"}, {"Drama"}),
        ({"Comedy"}, {"Horror"}, set(), set()),
    ]
    advice = "Wishes add up, and of two that contradict each other the later one holds."
    mark("Exercise 2", answer, reference, cases, advice=advice)


def order_of(answer: Callable[..., Any]) -> None:
    """Mark a permutation of 0..n-1 made of what a model wrote, ``(numbers, n) -> list``."""
    cases = [([2, 4, 1, 3], 4), ([3, 3, 1], 4), ([7, 2, 0, -1], 3), ([4, "2", 2.0, 1], 4)]
    cases += [([2, 1, 2], 3), ([True, 3, 2], 3)]
    advice = "Keep the first mention of each place, then add what is missing in its old order."
    mark("Exercise 3", answer, permutation, cases, advice=advice)


def tiers(answer: Callable[..., Any]) -> None:
    """Mark the relaxation of requirements.

    Args:
        answer: ``(films, years, genre, refused) -> {step: titles}``; films is a dict from titles to
            (year or None, set of genres), years is (first, last).
    """

    def reference(
        films: Mapping[str, Film], years: tuple[int, int], genre: str, refused: set[str]
    ) -> dict[str, set[str]]:
        items = [Item(0, "", None, frozenset())]
        items += [
            Item(n, t, year, frozenset(g)) for n, (t, (year, g)) in enumerate(films.items(), 1)
        ]
        wanted = _required({genre}, refused, Constraint("era", "-".join(map(str, years))))
        steps: Any = relaxations(Matcher(SimpleNamespace(items=items)), wanted)  # type: ignore[arg-type]
        found = {step: {item.title for item in items if mask[item.item]} for step, mask in steps}
        return {step: titles for step, titles in found.items() if step != "refusals"}

    shelf: dict[str, Film] = {
        "Dry Gulch": (1985, {"Western"}), "Spur & Song": (1979, {"Western", "Musical"}),
        "High Plain": (1952, {"Western"}), "Curtain Call": (1986, {"Musical"}),
        "Crypt": (1984, {"Horror", "Musical"}), "Old Film": (None, {"Musical"}),
    }  # fmt: skip
    cases = [
        (shelf, (1980, 1989), "Musical", {"Horror"}),
        (shelf, (1980, 1989), "Romance", {"Horror"}),  # no years free a romance
        (shelf, (1950, 1959), "Western", set[str]()),
    ]
    advice = "Take the first step left that frees a film; what was relaxed stays relaxed."
    mark("Exercise 4", answer, reference, cases, advice=advice)
