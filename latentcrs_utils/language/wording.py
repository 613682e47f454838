"""The phrase book: pools of phrasings, read from the TOML files in ``phrasings/``.

Everything a simulated user can say stands in those files, in three pools: ``train``, ``valid``
and ``test``. The pools share no phrase and no sentence frame, so that a text of the pool
``test`` uses wordings which no training text has. To teach another language or another kind of
item, edit the files; no code has to change.
"""

from __future__ import annotations

import tomllib
from functools import cache
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ..errors import DataError

Pool = Literal["train", "valid", "test"]
POOLS: tuple[Pool, ...] = ("train", "valid", "test")
FOLDER = Path(__file__).parent / "phrasings"

DECADE_WORDS = {
    1920: "twenties", 1930: "thirties", 1940: "forties", 1950: "fifties", 1960: "sixties",
    1970: "seventies", 1980: "eighties", 1990: "nineties",
}  # fmt: skip
_OTHER = "any other"
_PLAIN_FORM = {"film": "film", "touch": "many"}
ERA_PARTS = {"1990-1993": "early", "1994-1995": "mid", "1996-1998": "late"}


@cache
def phrase_book() -> dict[str, Any]:
    """Return the contents of the phrasing files by name: plain, genres, eras, frames, moods."""
    return {path.stem: tomllib.loads(path.read_text("utf-8")) for path in FOLDER.glob("*.toml")}


def pool(phrasing: Pool, *path: str) -> list[str]:
    """Return the phrases at ``path`` (file, table, key ...) of one pool.

    Raises:
        DataError: the phrase book has no such entry.
    """
    entry: Any = phrase_book()
    for step in (*path, phrasing):
        if step not in entry:
            raise DataError(f"The phrase book has no entry {' > '.join([*path, phrasing])}.")
        entry = entry[step]
    return entry


def pick(rng: np.random.Generator, phrasing: Pool, *path: str) -> str:
    """Draw one phrase of :func:`pool`, uniformly."""
    phrases = pool(phrasing, *path)
    return phrases[int(rng.integers(len(phrases)))]


def _leaves(
    entry: Any, path: tuple[str, ...]
) -> list[tuple[tuple[str, ...], dict[str, list[str]]]]:
    if set(entry) <= set(POOLS):
        return [(path, entry)]
    return [leaf for key, inner in entry.items() for leaf in _leaves(inner, (*path, key))]


@cache
def all_pools() -> dict[tuple[str, ...], dict[str, list[str]]]:
    """Return every entry of the phrase book: path -> {pool: phrases}."""
    return dict(_leaves(phrase_book(), ()))


def time_phrase(rng: np.random.Generator, phrasing: Pool, condition: str, *, plain: bool) -> str:
    """Return words for ``decade=1980`` or ``era=1996-1998``, e.g. "from the Reagan years"."""
    kind, _, value = condition.partition("=")
    if not plain:
        return pick(rng, phrasing, "eras", value)
    decade = int(value[:4]) // 10 * 10
    template = pick(rng, phrasing, "plain", "decade" if kind == "decade" else "part")
    return template.format(
        digits=f"{decade}s", short=f"{decade % 100}s", word=DECADE_WORDS[decade],
        part=ERA_PARTS.get(value, ""),
    )  # fmt: skip


def genre_phrase(
    rng: np.random.Generator,
    phrasing: Pool,
    genre: str,
    form: Literal["film", "touch"],
    *,
    plain: bool,
) -> str:
    """Return words for a genre, as a whole film or as an ingredient ("touch").

    A genre that the phrase book does not know is called by its name.
    """
    if genre not in phrase_book()["genres"]:
        return _named(pick(rng, phrasing, "plain", _OTHER, _PLAIN_FORM[form]), genre)
    if plain:
        return pick(rng, phrasing, "plain", genre, _PLAIN_FORM[form])
    return pick(rng, phrasing, "genres", genre, form)


def genre_names(genre: str) -> list[str]:
    """Return every plain word for a genre, of all pools."""
    known = genre in phrase_book()["genres"]
    pools_of_genre = all_pools()["plain", genre if known else _OTHER, "many"]
    phrases = [phrase for phrases in pools_of_genre.values() for phrase in phrases]
    return phrases if known else [_named(phrase, genre) for phrase in phrases]


def _named(template: str, genre: str) -> str:
    """Put the name of a genre into a template; abbreviations keep their capitals."""
    name = genre if genre.isupper() else genre.lower()
    return template.format(genre=name, a="an" if name[:1].lower() in "aeiou" else "a")


def sentence(text: str) -> str:
    """Return ``text`` with a capital letter and single spaces."""
    text = " ".join(text.split())
    return text[:1].upper() + text[1:]
