"""The phrase books: pools of phrasings, read from the TOML files in ``phrase_books/``.

They hold all that a simulated user can say, one book for each kind of item; to teach another
language or kind, edit them. The pools ``train``, ``valid`` and ``test`` share no phrase and no
sentence frame, so that a test text is worded as no training text is. A book's file ``items`` says
what may be said at all: moods, genres to refuse, names of the catalogue that count as one.
"""

import tomllib
from functools import cache
from pathlib import Path
from typing import Any, Literal

from latentcrs_utils.errors import DataError

Pool = Literal["train", "valid", "test"]
POOLS: tuple[Pool, ...] = ("train", "valid", "test")
Domain = Literal["films", "games", "albums"]
FOLDER = Path(__file__).parent / "phrase_books"
# "any" holds for all items, "shop" for everything on sale: prices and times
FOLDERS: dict[Domain, tuple[str, ...]] = {
    "films": ("any", "films"), "games": ("any", "shop", "games"),
    "albums": ("any", "shop", "albums"),
}  # fmt: skip
DOMAINS: tuple[Domain, ...] = tuple(FOLDERS)

ERA_PARTS = {"1990-1993": "early", "1994-1995": "mid", "1996-1998": "late"}
"""Spans within the nineties, when most of MovieLens was made, and what they are called."""
FACTS = ("platform", "creator", "price")  # slots of a data set that has columns of these names
OTHER_GENRE = "any other"  # entry of the plain words for a genre that the book does not know


def domain_of(data_name: str) -> Domain:
    """Return the kind of item that a data set holds: by its name, or else films."""
    if data_name.startswith("amazon-video-games"):
        return "games"
    return "albums" if data_name.startswith("amazon-cds") else "films"


def years_of(span: str) -> tuple[int, int]:
    """Return the first and last year of a span such as ``1996-1998``, both included."""
    first, last = span.split("-")
    return int(first), int(last)


@cache
def phrase_book(domain: Domain = "films") -> dict[str, Any]:
    """Return the contents of a domain's files by name: plain, genres, frames, items, ..."""
    book: dict[str, Any] = {}
    for folder in FOLDERS[domain]:
        for path in (FOLDER / folder).glob("*.toml"):
            book.setdefault(path.stem, {}).update(tomllib.loads(path.read_text("utf-8")))
    return book


DECADE_WORDS = {int(y): word for y, word in phrase_book()["items"]["decade_words"].items()}
"""First year of a decade -> its name in words."""


@cache
def pool(phrasing: Pool, *path: str, domain: Domain = "films") -> list[str]:
    """Return a pool's phrases at ``path`` (file, table, key ...); `DataError`: no such entry."""
    entry: Any = phrase_book(domain)
    for step in (*path, phrasing):
        if step not in entry:
            raise DataError(f"The phrase book has no entry {' > '.join([*path, phrasing])}.")
        entry = entry[step]
    return entry


def catalogue_name(kind: str, name: str, domain: Domain) -> str:
    """Return the phrase book's name for a genre, platform or creator (``kind``) of a catalogue."""
    return phrase_book(domain)["items"].get("names", {}).get(kind, {}).get(name, name)


def has_other_words(slot: str, value: str, domain: Domain) -> bool:
    """Say whether a value can be said without the catalogue's own words, as everyday genres can."""
    book = phrase_book(domain)
    everyday = slot == "genre" and book["items"].get("everyday_genres", False)
    return everyday or slot not in ("genre", *FACTS) or value in book.get(f"{slot}s", {})


def named_genre(template: str, genre: str, domain: Domain) -> str:
    """Put the name of a genre into a template; abbreviations and a shop's names keep capitals."""
    everyday = phrase_book(domain)["items"].get("everyday_genres", False)
    name = genre.lower() if everyday and not genre.isupper() else genre
    return template.format(genre=name, a="an" if name[:1].lower() in "aeiou" else "a")


def genre_names(genre: str, domain: Domain) -> list[str]:
    """Return every plain word for a genre, of all pools."""
    plain, known = phrase_book(domain)["plain"], genre in phrase_book(domain)["genres"]
    pools = plain[genre if known else OTHER_GENRE]["touch"].values()
    phrases = [phrase for of_pool in pools for phrase in of_pool]
    return phrases if known else [named_genre(phrase, genre, domain) for phrase in phrases]
