"""The phrase books: pools of phrasings, read from the TOML files in ``phrasings/``.

Everything a simulated user can say stands in those files, in three pools: ``train``, ``valid``
and ``test``. The pools share no phrase and no sentence frame, so that a text of the pool
``test`` uses wordings which no training text has. There is one book for each kind of item
(films, games, albums); to teach another language or another kind, edit the files.
"""

from __future__ import annotations

import tomllib
from functools import cache
from pathlib import Path
from typing import Any, Literal

import numpy as np

from latentcrs_utils.errors import DataError

Pool = Literal["train", "valid", "test"]
POOLS: tuple[Pool, ...] = ("train", "valid", "test")
Domain = Literal["films", "games", "albums"]
FOLDER = Path(__file__).parent / "phrase_books"
# "any" holds what is said to the items on offer, whatever they are; "shop" what is said of anything
# on sale: prices and times
FOLDERS: dict[Domain, tuple[str, ...]] = {
    "films": ("any", "films"), "games": ("any", "shop", "games"),
    "albums": ("any", "shop", "albums"),
}  # fmt: skip
DOMAINS: tuple[Domain, ...] = tuple(FOLDERS)
_DATA_NAMES: dict[str, Domain] = {"amazon-video-games": "games", "amazon-cds": "albums"}

DECADE_WORDS = {
    1920: "twenties", 1930: "thirties", 1940: "forties", 1950: "fifties", 1960: "sixties",
    1970: "seventies", 1980: "eighties", 1990: "nineties", 2000: "noughties",
    2010: "twenty-tens", 2020: "twenty-twenties",
}  # fmt: skip
# "the 20s" are those of the last century, "the 10s" nobody's
_SHORT_DECADES = {2000: "00s", 2010: "2010s", 2020: "2020s"}
_OTHER = "any other"
_PLAIN_FORM = {"film": "film", "touch": "many"}
# what a request is for when no genre is named: plain, and in other words
_THING: dict[Domain, tuple[str, str]] = {
    "films": ("a film", "something"), "games": ("something", "something"),
    "albums": ("an album", "something"),
}  # fmt: skip
ERA_PARTS = {"1990-1993": "early", "1994-1995": "mid", "1996-1998": "late"}


def domain_of(data_name: str) -> Domain:
    """Return the kind of item that a data set holds: by its name, or else films."""
    found = (d for name, d in _DATA_NAMES.items() if data_name.startswith(name))
    return next(found, "films")


@cache
def phrase_book(domain: Domain = "films") -> dict[str, Any]:
    """Return the contents of a domain's phrasing files by name: plain, genres, frames, ..."""
    paths = (path for folder in FOLDERS[domain] for path in (FOLDER / folder).glob("*.toml"))
    return {path.stem: tomllib.loads(path.read_text("utf-8")) for path in paths}


@cache
def pool(phrasing: Pool, *path: str, domain: Domain = "films") -> list[str]:
    """Return the phrases at ``path`` (file, table, key ...) of one pool.

    Raises:
        DataError: the phrase book has no such entry.
    """
    entry: Any = phrase_book(domain)
    for step in (*path, phrasing):
        if step not in entry:
            raise DataError(f"The phrase book has no entry {' > '.join([*path, phrasing])}.")
        entry = entry[step]
    return entry


def pick(rng: np.random.Generator, phrasing: Pool, *path: str, domain: Domain = "films") -> str:
    """Draw one phrase of :func:`pool`, uniformly."""
    phrases = pool(phrasing, *path, domain=domain)
    return phrases[int(rng.integers(len(phrases)))]


def _leaves(
    entry: Any, path: tuple[str, ...]
) -> list[tuple[tuple[str, ...], dict[str, list[str]]]]:
    if set(entry) <= set(POOLS):
        return [(path, entry)]
    return [leaf for key, inner in entry.items() for leaf in _leaves(inner, (*path, key))]


@cache
def all_pools(domain: Domain = "films") -> dict[tuple[str, ...], dict[str, list[str]]]:
    """Return every entry of the phrase book: path -> {pool: phrases}."""
    phrases = {name: entry for name, entry in phrase_book(domain).items() if name != "names"}
    return dict(_leaves(phrases, ()))


def catalogue_name(
    kind: Literal["genres", "platforms", "creators"], name: str, domain: Domain
) -> str:
    """Return the name that the phrase book uses for a genre, platform or creator.

    The shop's categories overlap ("Gamepads & Standard Controllers" are controllers); the table
    ``names`` of a book says which of them count as one. Films keep their names.
    """
    return phrase_book(domain).get("names", {}).get(kind, {}).get(name, name)


def has_other_words(slot: str, value: str, domain: Domain) -> bool:
    """Say whether the phrase book can express a value without the catalogue's own words.

    Of films everything is said at every level, genres that the book lacks by their names.
    """
    if domain == "films":
        return True
    file = {"genre": "genres", "platform": "platforms", "creator": "creators",
            "price": "prices"}.get(slot)  # fmt: skip
    return file is None or value in phrase_book(domain).get(file, {})


class Voice:
    """One speaker: a source of draws, a pool, a phrase book, and plain words or others.

    Attributes:
        rng: of every choice of words.
        phrasing: the pool that phrases are taken from.
        domain: whose phrase book.
        plain: speak in the catalogue's own words.
    """

    def __init__(
        self, rng: np.random.Generator, phrasing: Pool, domain: Domain = "films", *, plain: bool
    ) -> None:
        self.rng, self.phrasing, self.domain, self.plain = rng, phrasing, domain, plain

    def pick(self, *path: str) -> str:
        """Draw one phrase at ``path``."""
        return pick(self.rng, self.phrasing, *path, domain=self.domain)

    @property
    def thing(self) -> str:
        """What is asked for when no genre is named."""
        return _THING[self.domain][0 if self.plain else 1]

    def time(self, slot: str, value: str) -> str:
        """Return words for ``decade=1980`` or ``era=1996-1998``, e.g. "from the Reagan years"."""
        if not self.plain:
            return self.pick("eras", value)
        decade = int(value[:4]) // 10 * 10
        template = self.pick("plain", "decade" if slot == "decade" else "part")
        return template.format(
            digits=f"{decade}s", short=_SHORT_DECADES.get(decade, f"{decade % 100}s"),
            word=DECADE_WORDS[decade],
            part=ERA_PARTS.get(value, ""),
        )  # fmt: skip

    def genre(self, genre: str, form: Literal["film", "touch"]) -> str:
        """Return words for a genre, as a whole item or as an ingredient ("touch").

        A genre that the phrase book does not know is called by its name.
        """
        if genre not in phrase_book(self.domain)["genres"]:
            return _named(self.pick("plain", _OTHER, _PLAIN_FORM[form]), genre, self.domain)
        if self.plain:
            return self.pick("plain", genre, _PLAIN_FORM[form])
        return self.pick("genres", genre, form)

    def fact(self, slot: str, value: str) -> str:
        """Return words for ``platform=Wii``, ``creator=Sega`` or ``price=20``.

        Plainly, its name ("the Wii", "Sega", "under $20"); else a nickname, if there is one.
        """
        if not self.plain and has_other_words(slot, value, self.domain):
            return self.pick(f"{slot}s", value)
        if slot == "platform" and value in phrase_book(self.domain)["platform_names"]:
            return self.pick("platform_names", value)
        return self.pick("plain", slot).format(name=value)


def genre_names(genre: str, domain: Domain = "films") -> list[str]:
    """Return every plain word for a genre, of all pools."""
    known = genre in phrase_book(domain)["genres"]
    pools_of_genre = all_pools(domain)["plain", genre if known else _OTHER, "many"]
    phrases = [phrase for phrases in pools_of_genre.values() for phrase in phrases]
    return phrases if known else [_named(phrase, genre, domain) for phrase in phrases]


def _named(template: str, genre: str, domain: Domain) -> str:
    """Put the name of a genre into a template; abbreviations and shop names keep capitals."""
    name = genre if genre.isupper() or domain != "films" else genre.lower()
    return template.format(genre=name, a="an" if name[:1].lower() in "aeiou" else "a")


def sentence(text: str) -> str:
    """Return ``text`` with a capital letter and single spaces."""
    text = " ".join(text.split())
    return text[:1].upper() + text[1:]
