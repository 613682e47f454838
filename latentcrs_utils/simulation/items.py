"""What may be said about an item: machine-readable conditions, and whether they are true.

A condition is a string ``kind=value``: ``genre=Comedy``, ``not genre=Horror``, ``decade=1980``,
``era=1996-1998`` (a span within the nineties, when most of MovieLens was made), ``mood=light``,
``creator=Nintendo``, ``platform=PlayStation 4``, ``price=20`` (less than 20 dollars), and, about
an item of the user's own history, ``like=12``, ``older=12``, ``newer=12``, ``lighter=12``,
``darker=12``, ``similar=12``, ``cheaper=12``, ``same creator=12`` (the value is an item id);
``liked=12`` names an item that the user liked but that has nothing in common with the target.
Every utterance of the simulator carries the conditions that it expresses, so its truth can be
checked.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from latentcrs_utils.data.sequences import Dataset
from latentcrs_utils.errors import DataError
from latentcrs_utils.simulation.items import (
    MOODS,
    is_dark,
    is_light,
    leaks,
    shop_title,
    without_shop_words,
)
from latentcrs_utils.simulation.phrasings import Domain, catalogue_name, domain_of

ERAS: dict[str, tuple[int, int]] = {
    "1990-1993": (1990, 1993),
    "1994-1995": (1994, 1995),
    "1996-1998": (1996, 1998),
}
YEARS_APART = 5  # "older" and "newer" mean at least so many years
PRICE_STEPS = (5, 10, 15, 20, 30, 50, 100)  # people name round sums
CHEAPER = 0.7  # "cheaper" means at most so much of the other's price
# Who stands in a catalogue as creator without having made anything.
_NOBODY = frozenset({"", "various", "various artists", "unknown", "generic", "n/a", "none"})


@dataclass(frozen=True)
class Film:
    """What the simulator knows of an item, be it a film, a game or an album.

    Attributes:
        item: id.
        title: as the catalogue has it (films) or as a person would shorten it (others).
        year: None if unknown.
        genres: in the words of the phrase book.
        creator: publisher, brand or artist, or None.
        platform: what a game runs on, or None.
        price: US dollars, or None.
        secret: the part of the title that gives it away; None: the whole title.
    """

    item: int
    title: str
    year: int | None
    genres: frozenset[str]
    creator: str | None = None
    platform: str | None = None
    price: float | None = None
    secret: str | None = None

    @cached_property
    def decade(self) -> int | None:
        """The first year of the decade."""
        return None if self.year is None else self.year // 10 * 10

    @cached_property
    def era(self) -> str | None:
        """The span of the nineties that holds the year, or None."""
        spans = (name for name in ERAS if self.year and self.within(name))
        return next(spans, None)

    @cached_property
    def below(self) -> int | None:
        """The smallest round sum above the price, or None if unknown or beyond them all."""
        return next((s for s in PRICE_STEPS if self.price is not None and self.price < s), None)

    def within(self, era: str) -> bool:
        """Say whether the film was made in the span ``era``, e.g. ``"1996-1998"``."""
        first, last = (int(year) for year in era.split("-"))
        return self.year is not None and first <= self.year <= last

    def betrayed_by(self, text: str) -> bool:
        """Say whether ``text`` gives the title away."""
        return leaks(text, self.title, self.secret)


def films(data: Dataset) -> list[Film]:
    """Return the items by id; entry 0 (padding) has no title, year, genre or anything else.

    ``creator``, ``platform`` and ``price`` are None where the catalogue lacks the column.
    """
    domain = domain_of(data.name)
    rows = data.items.select("item", "title", "year", "genres").iter_rows()
    if domain == "films":
        known = (Film(item, title, year, frozenset(genres)) for item, title, year, genres in rows)
    else:
        known = (
            _of_shop(domain, *row, *facts)
            for row, facts in zip(rows, zip(*_facts(data), strict=True), strict=True)
        )
    return [Film(0, "", None, frozenset()), *known]


def _facts(data: Dataset) -> list[list[Any]]:
    """Return the columns creator, platform and price, None where absent."""
    return [
        data.items[name].to_list() if name in data.items.columns else [None] * data.n_items
        for name in ("creator", "platform", "price")
    ]


def _of_shop(
    domain: Domain,
    item: int,
    raw_title: str,
    year: int | None,
    genres: Sequence[str],
    creator: str | None,
    platform: str | None,
    price: float | None,
) -> Film:
    """Return an item of a shop's catalogue, in the phrase book's names."""
    title = shop_title(raw_title, domain)
    if creator is not None:
        creator = catalogue_name("creators", creator.strip(), domain)
        creator = None if creator.lower() in _NOBODY else creator
    return Film(
        item,
        title,
        year,
        frozenset(catalogue_name("genres", genre, domain) for genre in genres or ()),
        creator,
        platform and catalogue_name("platforms", platform, domain),
        price if price is not None and price > 0 else None,
        without_shop_words(title, domain),
    )


def shared(film: Film, target: Film) -> frozenset[str]:
    """Return the attributes that two items share: genres, decade, span of the nineties, maker."""
    common = {f"genre={genre}" for genre in film.genres & target.genres}
    if film.year is not None and film.decade == target.decade:
        common.add(f"decade={film.decade}")
        if film.era is not None and film.era == target.era:
            common.add(f"era={film.era}")
    if film.creator is not None and film.creator == target.creator:
        common.add(f"creator={film.creator}")
    if film.platform is not None and film.platform == target.platform:
        common.add(f"platform={film.platform}")
    return frozenset(common)


def alike(film: Film, target: Film) -> bool:
    """Say whether one may be asked for by naming the other.

    They share a genre or their creator, or, where nothing is known of the genre of one, run on
    the same platform.
    """
    if film.genres & target.genres:
        return True
    if film.creator is not None and film.creator == target.creator:
        return True
    unknown = not film.genres or not target.genres
    return unknown and film.platform is not None and film.platform == target.platform


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
    if example.price is not None and target.price is not None:
        found += [f"cheaper={example.item}"] if target.price <= CHEAPER * example.price else []
    if example.creator is not None and example.creator == target.creator:
        found.append(f"same creator={example.item}")
    return found


def holds(condition: str, target: Film, catalogue: Sequence[Film]) -> bool:
    """Say whether ``condition`` is true of ``target``.

    ``like`` asks for something in common (:func:`alike`); ``liked`` says nothing about the
    target, so it always holds.

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
    if kind == "creator":
        return target.creator == value
    if kind == "platform":
        return target.platform == value
    if kind == "price":
        return target.price is not None and target.price < float(value)
    if kind == "like":
        return alike(catalogue[int(value)], target)
    if kind == "liked":
        return True
    if kind in RELATIONS:
        return condition in relations(catalogue[int(value)], target)
    raise DataError(f"There is no condition of the kind {kind!r} (in {condition!r}).")


RELATIONS = (
    "older", "newer", "lighter", "darker", "similar", "cheaper", "same creator",
)  # fmt: skip
"""Kinds of conditions that compare the target with an item of the user's own history."""
PERSONAL = ("like", "liked", *RELATIONS)
"""Kinds of conditions that are true for one user alone."""
