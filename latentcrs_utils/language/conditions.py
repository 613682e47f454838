"""What may be said about a film: machine-readable conditions, and whether they are true.

A condition is a string ``kind=value``: ``genre=Comedy``, ``not genre=Horror``, ``decade=1980``,
``era=1996-1998`` (a span within the nineties, when most of the catalogue was made), ``mood=light``,
and, about a film of the user's own history, ``like=12``, ``older=12``, ``newer=12``,
``lighter=12``, ``darker=12``, ``similar=12`` (the value is an item id); ``liked=12`` names a film
that the user liked but that has no genre in common with the target. Every utterance of the
simulator carries the conditions that it expresses, so its truth can be checked.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

from ..data import Dataset
from ..errors import DataError

ERAS: dict[str, tuple[int, int]] = {
    "1990-1993": (1990, 1993),
    "1994-1995": (1994, 1995),
    "1996-1998": (1996, 1998),
}
YEARS_APART = 5  # "older" and "newer" mean at least so many years

_DARK = frozenset({"Horror", "Thriller", "Crime", "War", "Film-Noir"})
_BRIGHT = frozenset({"Comedy", "Children's", "Animation", "Musical"})


@dataclass(frozen=True)
class Film:
    """What the simulator knows of an item: id, title, year (None if unknown), genres."""

    item: int
    title: str
    year: int | None
    genres: frozenset[str]

    @cached_property
    def decade(self) -> int | None:
        """The first year of the film's decade."""
        return None if self.year is None else self.year // 10 * 10

    @cached_property
    def era(self) -> str | None:
        """The span of the nineties that holds the film, or None."""
        spans = (name for name in ERAS if self.year and self.within(name))
        return next(spans, None)

    def within(self, era: str) -> bool:
        """Say whether the film was made in the span ``era``, e.g. ``"1996-1998"``."""
        first, last = (int(year) for year in era.split("-"))
        return self.year is not None and first <= self.year <= last


def films(data: Dataset) -> list[Film]:
    """Return the films by item id; entry 0 (padding) has no title, year or genre."""
    rows = data.items.select("item", "title", "year", "genres").iter_rows()
    return [
        Film(0, "", None, frozenset()),
        *(Film(item, title, year, frozenset(genres)) for item, title, year, genres in rows),
    ]


MOODS: dict[str, Callable[[Film], bool]] = {
    "light": lambda film: bool(film.genres & _BRIGHT) and not film.genres & _DARK,
    "heavy": lambda film: (
        bool(film.genres & {"Drama", "War", "Documentary"}) and not film.genres & _BRIGHT
    ),
    "tense": lambda film: bool(
        film.genres & {"Thriller", "Horror", "Crime", "Mystery", "Film-Noir"}
    ),
    "tender": lambda film: "Romance" in film.genres,
    "family": lambda film: bool(film.genres & {"Children's", "Animation"}),
    "rush": lambda film: bool(film.genres & {"Action", "Adventure", "Western"}),
    "escape": lambda film: bool(film.genres & {"Fantasy", "Sci-Fi", "Animation"}),
    "nostalgia": lambda film: film.year is not None and film.year < 1970,
    "fresh": lambda film: film.year is not None and film.year >= 1996,
}
"""Moods and the targets of which each is true; the phrases are in ``phrasings/moods.toml``."""


def is_light(film: Film) -> bool:
    """Bright and not dark: what "but lighter" may mean."""
    return MOODS["light"](film)


def is_dark(film: Film) -> bool:
    """Dark and not bright: what "but darker" may mean."""
    return bool(film.genres & _DARK) and not film.genres & _BRIGHT


def shared(film: Film, target: Film) -> frozenset[str]:
    """Return the attributes that two films share: genres, decade, and span of the nineties."""
    common = {f"genre={genre}" for genre in film.genres & target.genres}
    if film.year is not None and film.decade == target.decade:
        common.add(f"decade={film.decade}")
        if film.era is not None and film.era == target.era:
            common.add(f"era={film.era}")
    return frozenset(common)


def overlap(film: Film, target: Film) -> float:
    """Return the Jaccard overlap of two films' genres, in [0, 1]."""
    return len(film.genres & target.genres) / max(1, len(film.genres | target.genres))


def relations(example: Film, target: Film) -> list[str]:
    """Return every relation that is true of ``target`` beside the example that it is like."""
    found = []
    if example.year is not None and target.year is not None:
        gap = target.year - example.year
        found += [f"newer={example.item}"] if gap >= YEARS_APART else []
        found += [f"older={example.item}"] if gap <= -YEARS_APART else []
    if is_light(target) and is_dark(example):
        found.append(f"lighter={example.item}")
    if is_dark(target) and is_light(example):
        found.append(f"darker={example.item}")
    if example.genres == target.genres and example.decade == target.decade:
        found.append(f"similar={example.item}")
    return found


def holds(condition: str, target: Film, catalogue: Sequence[Film]) -> bool:
    """Say whether ``condition`` is true of ``target``.

    ``like`` asks for a shared genre; ``liked`` says nothing about the target, so it always holds.

    Raises:
        DataError: the condition is of an unknown kind.
    """
    kind, _, value = condition.partition("=")
    if kind == "genre":
        return value in target.genres
    if kind == "not genre":
        return value not in target.genres
    if kind == "decade":
        return target.decade == int(value)
    if kind == "era":
        return target.within(value)
    if kind == "mood" and value in MOODS:
        return MOODS[value](target)
    if kind == "like":
        return bool(catalogue[int(value)].genres & target.genres)
    if kind == "liked":
        return True
    if kind in ("older", "newer", "lighter", "darker", "similar"):
        return condition in relations(catalogue[int(value)], target)
    raise DataError(f"There is no condition of the kind {kind!r} (in {condition!r}).")
