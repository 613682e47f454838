"""The items of a catalogue as a simulated user knows them: facts, moods, likeness, titles.

What may be said of them is a :class:`.constraint.Constraint`, which looks here for what is true.
"""

from __future__ import annotations

import html
import re
import unicodedata
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache, cached_property, lru_cache
from typing import Any

import numpy as np

from latentcrs_utils.data.sequences import Dataset
from latentcrs_utils.simulation.phrasings import Domain, catalogue_name, domain_of, phrase_book

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
class Item:
    """What the simulator knows of an item, be it a film, a game or an album.

    Attributes:
        item: id.
        title: as the catalogue has it (films) or as a person would shorten it (others).
        year: None if unknown.
        genres: in the words of the phrase book.
        creator: publisher, brand or artist, or None.
        platform: what a game runs on, or None.
        price: US dollars, or None.
        title_keywords: the part of the title that gives it away; None: the whole title.
    """

    item: int
    title: str
    year: int | None
    genres: frozenset[str]
    creator: str | None = None
    platform: str | None = None
    price: float | None = None
    title_keywords: str | None = None

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

    def leaks_title(self, text: str) -> bool:
        """Say whether ``text`` gives the title away."""
        return leaks(text, self.title, self.title_keywords)


def films(data: Dataset) -> list[Item]:
    """Return the items by id; entry 0 (padding) has no title, year, genre or anything else.

    ``creator``, ``platform`` and ``price`` are None where the catalogue lacks the column.
    """
    domain = domain_of(data.name)
    rows = data.items.select("item", "title", "year", "genres").iter_rows()
    if domain == "films":
        known = (Item(item, title, year, frozenset(genres)) for item, title, year, genres in rows)
    else:
        known = (
            _of_shop(domain, *row, *facts)
            for row, facts in zip(rows, zip(*_facts(data), strict=True), strict=True)
        )
    return [Item(0, "", None, frozenset()), *known]


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
) -> Item:
    """Return an item of a shop's catalogue, in the phrase book's names."""
    title = shop_title(raw_title, domain)
    if creator is not None:
        creator = catalogue_name("creators", creator.strip(), domain)
        creator = None if creator.lower() in _NOBODY else creator
    return Item(
        item,
        title,
        year,
        frozenset(catalogue_name("genres", genre, domain) for genre in genres or ()),
        creator,
        platform and catalogue_name("platforms", platform, domain),
        price if price is not None and price > 0 else None,
        without_shop_words(title, domain),
    )


def shared(film: Item, target: Item) -> frozenset[tuple[str, object]]:
    """Return what two items share, as (slot, value): genres, decade, era, creator, platform."""
    slots = ("decade", "era", "creator", "platform")
    facts = {(slot, getattr(film, slot)) for slot in slots}
    common = {(slot, value) for slot, value in facts if value and value == getattr(target, slot)}
    return frozenset(common | {("genre", genre) for genre in film.genres & target.genres})


def alike(film: Item, target: Item) -> bool:
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


def overlap(film: Item, target: Item) -> float:
    """Return the Jaccard overlap of two films' genres, in [0, 1]."""
    return len(film.genres & target.genres) / max(1, len(film.genres | target.genres))


def relations(example: Item, target: Item) -> list[str]:
    """Return those of `RELATIONS` that are true of ``target`` compared with ``example``."""
    found = []
    if example.year is not None and target.year is not None:
        gap = target.year - example.year
        found += ["newer"] if gap >= YEARS_APART else []
        found += ["older"] if gap <= -YEARS_APART else []
    if is_light(target) and is_dark(example):
        found.append("lighter")
    if is_dark(target) and is_light(example):
        found.append("darker")
    if example.genres == target.genres and example.decade == target.decade:
        found.append("similar")
    if example.price is not None and target.price is not None:
        found += ["cheaper"] if target.price <= CHEAPER * example.price else []
    if example.creator is not None and example.creator == target.creator:
        found.append("same creator")
    return found


RELATIONS = (
    "older", "newer", "lighter", "darker", "similar", "cheaper", "same creator",
)  # fmt: skip
"""How the target may compare with an item of the user's own history."""


# words too common to give a title away, alone; the whole title is looked for as well
_COMMON_WORDS = """
a about again all also am an and any are as at be been but by came can could day days did
do does down for from get go goes going got had has have he her him his how i if im in into
is it its just know let like long man me more movie film my new night no not now of old on
one or other our out over see she should show so some something that the their them then
there they thing things think this time to too two up us very want was we were what when
where which who will with would year years you your please good great best little first
last big life people hot right home wrong anything everything nothing everyone somebody
nobody much made make give take need ii iii iv vi
"""
_COMMON = frozenset(_COMMON_WORDS.split())


@cache
def _shop_words(domain: Domain) -> frozenset[str]:
    """Return words of titles that name machines, packaging or the kind of thing: no secret."""
    return frozenset(phrase_book(domain).get("names", {}).get("no_secret", "").split())


_WORD = re.compile(r"[a-z0-9]+")
_TAGS = re.compile(r"<[^>]*>?")
_BRACKETS = re.compile(r"\s*(?:\[[^\]]*\]?|\([^)]*\)?)")
_TAIL = re.compile(r"\s+[-–—/|]+\s+.*$")
_FITTING = re.compile(r"(?:,|\s+(?:for|with|compatible|works|w)\b).*$", re.I)
_ARTICLE_LAST = re.compile(r"^(.+), (The|A|An)$")
_LONG_TITLE, SPOKEN_WORDS = 6, 8  # nobody says more of "2x Analog Thumbsticks Joysticks for ..."


@lru_cache(maxsize=1 << 14)
def tokens(text: str) -> tuple[str, ...]:
    """Return the words of ``text``: lower case, no accents, apostrophes dropped."""
    if not text.isascii():
        text = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
    return tuple(_WORD.findall(text.lower().replace("'", "")))


def _stem(word: str) -> str:
    return word[:-1] if len(word) > 3 and word.endswith("s") else word


@lru_cache(maxsize=1 << 17)
def spoken_title(title: str) -> str:
    """Return a catalogue title as somebody would say it: no original title in brackets."""
    return re.sub(r"\s*\([^)]*\)", "", title).strip() or title


def shop_title(title: str, domain: Domain) -> str:
    """Return a shop's title as somebody would say it: no edition, platform or sales talk.

    ``"Ratchet and Clank: Into the Nexus - PS3"`` -> ``"Ratchet and Clank: Into the Nexus"``.
    """
    plain = " ".join(_TAGS.sub("", html.unescape(title)).split())
    said = _BRACKETS.sub("", plain).strip(" -–—/|,:")
    said = _ARTICLE_LAST.sub(r"\2 \1", said)
    said = _TAIL.sub("", said)
    if domain == "games" and len(said.split()) > _LONG_TITLE:
        said = _FITTING.sub("", said)
    said = " ".join(said.split()[:SPOKEN_WORDS]).strip(" -–—/|,:")
    return said or plain or title


def without_shop_words(title: str, domain: Domain) -> str:
    """Return the words of a title that keep a secret: neither machine, packaging nor kind."""
    return " ".join(word for word in tokens(title) if word not in _shop_words(domain))


@lru_cache(maxsize=1 << 17)
def distinctive_words(title: str) -> frozenset[str]:
    """Return the words of ``title`` that would give it away (stemmed; brackets included)."""
    return frozenset(_stem(word) for word in tokens(title) if word not in _COMMON)


@lru_cache(maxsize=1 << 17)
def _surface_words(title: str) -> frozenset[str]:
    """Return every word whose stem is distinctive of ``title``."""
    stems = distinctive_words(title)
    plurals = frozenset(f"{stem}s" for stem in stems if len(stem) >= 3)
    return plurals | {stem for stem in stems if _stem(stem) == stem}


@lru_cache(maxsize=1 << 17)
def _whole(title: str) -> str:
    """Return the words of the spoken title, with spaces around, or nothing if it is too short."""
    whole = " ".join(tokens(spoken_title(title)))
    return f" {whole} " if len(whole) > 1 else ""


def leaks(text: str, title: str, title_keywords: str | None = None) -> bool:
    """Say whether ``text`` holds ``title`` or any distinctive word of it.

    Args:
        text: what is said.
        title: the title to be kept.
        title_keywords: the words of the title that may give it away (None: all).
    """
    words = tokens(text)
    if not _surface_words(title if title_keywords is None else title_keywords).isdisjoint(words):
        return True
    whole = _whole(title)
    return bool(whole) and whole in f" {' '.join(words)} "


SPOKEN_WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)*")
_ARTICLES = frozenset({"the", "a", "an"})
_NAMES_AN_ITEM = re.compile(
    r"\b(?:like|as|lov\w+|liked|enjoy\w*|watch\w*|saw|seen|than)\s+(?:the\s+)?$", re.I
)
_CERTAIN = 3  # so many words in a row that are a title are no accident


class TitleFinder:
    """Finds the titles of a catalogue in talk, so that their words are not read as wishes.

    Args:
        titles: as the catalogue has them (empty ones are skipped).
    """

    def __init__(self, titles: Iterable[str]) -> None:
        self._forms = {form for title in titles for form in _forms(title)}
        self._longest = max(map(len, self._forms), default=0)

    def blank(self, text: str) -> str:
        """Return ``text`` with each title turned into one word of underscores, as long as it was.

        Three words in a row are a title in any case. Two need their capitals, or words before them
        such as "like" or "I loved"; one needs its capital within a sentence.
        """
        found = list(SPOKEN_WORD.finditer(text))
        keys = ["".join(tokens(match.group())) for match in found]
        start, blanked = 0, text
        while start < len(found):
            step = 1
            for end in range(min(len(found), start + self._longest), start, -1):
                if tuple(keys[start:end]) in self._forms and _is_title(text, found[start:end]):
                    a, b = found[start].start(), found[end - 1].end()
                    blanked = blanked[:a] + "_" * (b - a) + blanked[b:]
                    step = end - start
                    break
            start += step
        return blanked


def _forms(title: str) -> Iterator[tuple[str, ...]]:
    """Yield how a title may be said, as words: without its subtitle, without its article."""
    said = spoken_title(title)
    for form in (said, said.replace("&", " and "), said.split(":")[0]):
        words = tokens(form)
        if words:
            yield words
        # what is left of "The War" is an everyday word
        if len(words) > 2 and words[0] in _ARTICLES:
            yield words[1:]


def _is_title(text: str, words: list[re.Match[str]]) -> bool:
    """Say whether words that make up a title stand for it, and not for themselves."""
    before = text[: words[0].start()]
    if len(words) >= _CERTAIN or (len(words) > 1 and _NAMES_AN_ITEM.search(before)):
        return True
    content = [m.group() for m in words if m.group().lower() not in _COMMON]
    capitals = bool(content) and all(w[0].isupper() or w[0].isdigit() for w in content)
    inside = before.rstrip(" \"'“‘(")
    return capitals and (len(words) > 1 or bool(inside and inside[-1] not in ".!?:;"))


_DARK = frozenset({"Horror", "Thriller", "Crime", "War", "Film-Noir"})
_BRIGHT = frozenset({"Comedy", "Children's", "Animation", "Musical"})
_GEAR = frozenset({
    "Controllers", "Headsets", "Batteries & Chargers", "Cables & Adapters", "Cases & Storage",
    "Skins & Protectors", "Keyboards & Mice", "Memory", "Consoles", "Racing Wheels",
})  # fmt: skip
_OLD_MACHINES = frozenset({
    "NES", "Super NES", "Sega Genesis", "Nintendo 64", "PlayStation", "Game Boy",
    "Sega Dreamcast", "Game Boy Advance", "GameCube", "PlayStation 2", "Xbox",
})  # fmt: skip


def _any_of(*genres: str) -> Callable[[Item], bool]:
    """Return the rule "has one of these genres"."""
    wanted = frozenset(genres)
    return lambda film: bool(film.genres & wanted)


_FILM_MOODS: dict[str, Callable[[Item], bool]] = {
    "light": lambda film: bool(film.genres & _BRIGHT) and not film.genres & _DARK,
    "heavy": lambda film: (
        bool(film.genres & {"Drama", "War", "Documentary"}) and not film.genres & _BRIGHT
    ),
    "tense": _any_of("Thriller", "Horror", "Crime", "Mystery", "Film-Noir"),
    "tender": _any_of("Romance"),
    "family": _any_of("Children's", "Animation"),
    "rush": _any_of("Action", "Adventure", "Western"),
    "escape": _any_of("Fantasy", "Sci-Fi", "Animation"),
    "nostalgia": lambda film: film.year is not None and film.year < 1970,
    "fresh": lambda film: film.year is not None and film.year >= 1996,
}
_GAME_MOODS: dict[str, Callable[[Item], bool]] = {
    "adrenaline": _any_of("Action", "Shooter", "Fighting", "Racing"),
    "immersion": _any_of("Role-Playing", "Adventure"),
    "brainwork": _any_of("Strategy", "Puzzle"),
    "contest": _any_of("Sports", "Racing", "Fighting"),
    "company": _any_of("Family", "Music & Rhythm"),
    "unwinding": _any_of("Simulation", "Puzzle", "Casual"),
    "dread": _any_of("Horror"),
    "growing up": _any_of("Educational", "Family"),
    "equipment": lambda film: bool(film.genres & _GEAR),
    "attic": lambda film: film.platform in _OLD_MACHINES,
}
_ALBUM_MOODS: dict[str, Callable[[Item], bool]] = {
    "quiet": _any_of("New Age", "Classical", "Jazz", "Folk", "Easy Listening"),
    "party": _any_of("Dance & Electronic", "Disco", "Funk", "Rap & Hip-Hop", "Latin Music"),
    "noise": _any_of("Metal", "Hardcore & Punk", "Progressive Metal"),
    "road": _any_of("Country", "Rock", "Classic Rock", "Blues"),
    "heartache": _any_of("Blues", "Soul", "R&B", "Country"),
    "grandeur": _any_of("Classical", "Opera & Classical Vocal", "Soundtracks"),
    "stage": _any_of("Broadway & Vocalists", "Opera & Classical Vocal"),
    "faith": _any_of("Christian", "Gospel"),
    "festive": _any_of("Christmas"),
    "elsewhere": _any_of("World Music", "Latin Music", "Reggae"),
    "record player": _any_of("Oldies", "Traditional Pop", "Classic Rock"),
    "nursery": _any_of("Children's Music"),
}
MOODS_OF: dict[Domain, dict[str, Callable[[Item], bool]]] = {
    "films": _FILM_MOODS, "games": _GAME_MOODS, "albums": _ALBUM_MOODS,
}  # fmt: skip
"""Moods by kind of item; the order counts (a later turn hints at the first that was not)."""
MOODS = {name: rule for moods in MOODS_OF.values() for name, rule in moods.items()}
"""All moods and their rules."""


def is_light(film: Item) -> bool:
    """Bright and not dark: what "but lighter" may mean."""
    return MOODS["light"](film)


def is_dark(film: Item) -> bool:
    """Dark and not bright: what "but darker" may mean."""
    return bool(film.genres & _DARK) and not film.genres & _BRIGHT


_UNKNOWN = -1


def _codes(values: Iterable[Hashable | None]) -> tuple[dict[Hashable, int], np.ndarray]:
    """Number the distinct values: value -> number, and int32 [n]; None is -1."""
    number: dict[Hashable, int] = {}
    codes = [_UNKNOWN if v is None else number.setdefault(v, len(number)) for v in values]
    return number, np.array(codes, np.int32)


class Catalogue:
    """The items of a data set, by item id (entry 0 is padding).

    Attributes:
        films: what is known of each, V + 1.
        domain: what they are.
    """

    def __init__(self, data: Dataset) -> None:
        self.films: Sequence[Item] = films(data)
        self.domain: Domain = domain_of(data.name)

    def __getitem__(self, item: int) -> Item:
        return self.films[item]

    @cached_property
    def _genres(self) -> tuple[dict[str, int], np.ndarray]:
        """Genre -> number, and which item has which, as bits: uint64 [V + 1, words]."""
        column = {g: i for i, g in enumerate(sorted(set().union(*(f.genres for f in self.films))))}
        bits = np.zeros((len(self.films), len(column) // 64 + 1), dtype=np.uint64)
        for film in self.films:
            for genre in film.genres:
                word, bit = divmod(column[genre], 64)
                bits[film.item, word] |= np.uint64(1 << bit)
        return column, bits

    @cached_property
    def _facts(self) -> dict[str, tuple[dict[Hashable, int], np.ndarray]]:
        """Decade, span of the nineties, creator and platform of every item, as numbers."""
        attributes = ("decade", "era", "creator", "platform")
        return {a: _codes(getattr(film, a) for film in self.films) for a in attributes}

    def nearest_items(self, history: np.ndarray, target: int) -> np.ndarray:
        """Return the items of a history, the likest to ``target`` first.

        Likeness: number of shared attributes (:func:`shared`), then overlap of the
        genres, then recency.

        Args:
            history: item ids, oldest first, int [n].
            target: item id.
        """
        bits = self._genres[1]
        theirs, own = bits[history], bits[target]
        common = np.bitwise_count(theirs & own).sum(axis=1, dtype=np.int64)
        either = np.bitwise_count(theirs | own).sum(axis=1, dtype=np.int64)
        n_shared = common
        for _, codes in self._facts.values():
            if codes[target] != _UNKNOWN:
                n_shared = n_shared + (codes[history] == codes[target])
        order = np.lexsort((np.arange(len(history)), common / np.maximum(either, 1), n_shared))
        return history[order[::-1]]
