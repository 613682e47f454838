"""The items of a catalogue as a simulated user knows them: attributes, moods, relations."""

import html
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from latentcrs_utils.data.sequences import Dataset
from latentcrs_utils.data.source import UNKNOWN_TITLE
from latentcrs_utils.errors import DataError
from latentcrs_utils.simulation import phrase_book as books
from latentcrs_utils.simulation.titles import leaks_title, spoken_title, spoken_words

YEARS_APART = 5  # "older" and "newer" mean at least so many years
PRICE_STEPS = (5, 10, 15, 20, 30, 50, 100)  # people name round sums
CHEAPER = 0.7  # "cheaper" means at most so much of the other's price
RELATIONS = ("older", "newer", "lighter", "darker", "similar", "cheaper", "same creator")
"""How the target may compare with an item of the user's own history."""
_MOODS = {name: rule for domain in books.DOMAINS
          for name, rule in books.phrase_book(domain)["items"]["moods"].items()}  # fmt: skip
_DARK: Mapping[str, Any] = books.phrase_book("films")["items"]["dark"]


@dataclass(frozen=True)
class Item:
    """What the simulator knows of an item; None: unknown."""

    item: int
    title: str  # as the catalogue has it (films) or as a person would shorten it (others)
    year: int | None
    genres: frozenset[str]  # in the words of the phrase book
    creator: str | None = None  # publisher, brand or artist
    platform: str | None = None  # what a game runs on
    price: float | None = None  # US dollars
    title_keywords: str | None = None  # what of the title gives it away; None: all of it

    @cached_property
    def decade(self) -> int | None:
        """The first year of the decade."""
        return None if self.year is None else self.year // 10 * 10

    @cached_property
    def era(self) -> str | None:
        """The span of the nineties that holds the year, or None."""
        spans = ((era, *books.years_of(era)) for era in books.ERA_PARTS)
        return next((era for era, first, last in spans if first <= (self.year or 0) <= last), None)

    @cached_property
    def attributes(self) -> frozenset[tuple[str, Any]]:
        """Genres, decade, era, creator and platform, where known, as (slot, value)."""
        slots = ("decade", "era", "creator", "platform")
        facts = {(s, getattr(self, s)) for s in slots if getattr(self, s) is not None}
        return frozenset(facts | {("genre", genre) for genre in self.genres})

    def leaks_title(self, text: str) -> bool:
        """Say whether ``text`` gives the title away."""
        return leaks_title(text, self.title, self.title_keywords)

    def suits(self, mood: str) -> bool:
        """Say whether a mood suits the item; an unknown mood is a `DataError`."""
        if mood not in _MOODS:
            raise DataError(f"There is no mood {mood!r}.")
        return _fits(_MOODS[mood], self)

    def relations_to(self, example: "Item") -> list[str]:
        """Return those of `RELATIONS` that are true of the item compared with ``example``."""
        gap = self.year - example.year if self.year and example.year else 0
        true = {
            "older": gap <= -YEARS_APART,
            "newer": gap >= YEARS_APART,
            "lighter": self.suits("light") and _fits(_DARK, example),
            "darker": _fits(_DARK, self) and example.suits("light"),
            "similar": example.genres == self.genres and example.decade == self.decade,
            "cheaper": self.price and example.price and self.price <= CHEAPER * example.price,
            "same creator": example.creator is not None and example.creator == self.creator,
        }
        return [relation for relation in RELATIONS if true[relation]]


class Catalogue:
    """The items of a data set, V + 1 by id; of item 0 (padding) nothing is known.

    Slots beside genre and time are the columns for which the phrase book has words.
    """

    def __init__(self, data: Dataset) -> None:
        self.domain: books.Domain = books.domain_of(data.name)
        plain = books.phrase_book(self.domain)["plain"]
        slots = [slot for slot in books.FACTS if slot in data.items.columns and slot in plain]
        self.items = [Item(0, "", None, frozenset())]
        for row in data.items.iter_rows(named=True):
            title, keywords = title_and_keywords(row["title"], self.domain)
            genres = {books.catalogue_name("genres", g, self.domain) for g in row["genres"] or ()}
            known = row["item"], title, row["year"], frozenset(genres)
            facts = {slot: _fact(slot, row[slot], self.domain) for slot in slots}
            self.items.append(Item(*known, **facts, title_keywords=keywords))

    def __getitem__(self, item: int) -> Item:
        return self.items[item]

    @cached_property
    def twins(self) -> Mapping[int, tuple[int, ...]]:
        """Id -> all ids of an item that has several: same title, known year, maker, platform."""
        groups: dict[Any, list[int]] = defaultdict(list)
        for item in self.items[1:]:
            words = spoken_words(spoken_title(item.title))
            if words and item.year is not None and item.title != UNKNOWN_TITLE:
                groups[words, item.year, item.creator, item.platform].append(item.item)
        return {item: tuple(ids) for ids in groups.values() if len(ids) > 1 for item in ids}

    def same(self, items: Iterable[int]) -> set[int]:
        """Return the ids of some items, under all of their ids."""
        return {twin for item in items for twin in self.twins.get(item, (item,))}


def title_and_keywords(title: str, domain: books.Domain) -> tuple[str, str | None]:
    """Return a title of a catalogue as people say it, and what of it gives it away (None: all).

    A shop's title, for which the phrase book lists generic words, is said without edition, platform
    and sales talk (``"Into the Nexus - PS3"`` -> ``"Into the Nexus"``), and words for machines,
    packaging or the kind of thing give nothing away.
    """
    book = books.phrase_book(domain)["items"]
    if "generic_title_words" not in book:
        return title, None
    plain = said = " ".join(re.sub("<[^>]*>?", "", html.unescape(title)).split())
    for pattern, kept in book["title_cuts"]:
        said = re.sub(pattern, kept, said)
    said, generic = said or plain or title, book["generic_title_words"].split()
    return said, " ".join(word for word in spoken_words(said) if word not in generic)


def _fact(slot: str, value: Any, domain: books.Domain) -> Any:
    """Return a platform, creator or price, or None where it tells nothing."""
    if value is None or slot == "price":
        return value if value is not None and value > 0 else None
    name = books.catalogue_name(f"{slot}s", value.strip(), domain)
    return None if name.lower() in books.phrase_book(domain)["items"]["no_creator"] else name


def _fits(rule: Mapping[str, Any], item: Item) -> bool:
    """Say whether a rule of the file ``items`` is true: any and none of these genres, ..."""
    dated = "first_year" in rule or "last_year" in rule
    first, last = rule.get("first_year", 0), rule.get("last_year", 9999)
    return (
        ("any" not in rule or not item.genres.isdisjoint(rule["any"]))
        and item.genres.isdisjoint(rule.get("none", ()))
        and ("platforms" not in rule or item.platform in rule["platforms"])
        and (not dated or (item.year is not None and first <= item.year <= last))
    )


def shares_attribute(item: Item, target: Item) -> bool:
    """Say whether two items share genre or creator, or platform where a genre is not known."""
    slots = {slot for slot, _ in item.attributes & target.attributes}
    unknown = not item.genres or not target.genres
    return not slots.isdisjoint({"genre", "creator"}) or (unknown and "platform" in slots)
