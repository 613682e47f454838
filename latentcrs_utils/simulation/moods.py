"""Moods: what a vague request hints at, and the items of which each is true.

The phrases are in ``phrasings/*/moods.toml``. Each kind of item has moods of its own; a name
belongs to one of them only, so that a condition ``mood=...`` can be checked without knowing which.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from latentcrs_utils.simulation.phrasings import Domain

if TYPE_CHECKING:
    from latentcrs_utils.simulation.items import Film

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


def _any_of(*genres: str) -> Callable[[Film], bool]:
    """Return the rule "has one of these genres"."""
    wanted = frozenset(genres)
    return lambda film: bool(film.genres & wanted)


_FILM_MOODS: dict[str, Callable[[Film], bool]] = {
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
_GAME_MOODS: dict[str, Callable[[Film], bool]] = {
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
_ALBUM_MOODS: dict[str, Callable[[Film], bool]] = {
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
MOODS_OF: dict[Domain, dict[str, Callable[[Film], bool]]] = {
    "films": _FILM_MOODS, "games": _GAME_MOODS, "albums": _ALBUM_MOODS,
}  # fmt: skip
"""Moods by kind of item; the order counts (a later turn hints at the first that was not)."""
MOODS = {name: rule for moods in MOODS_OF.values() for name, rule in moods.items()}
"""All moods and their rules."""


def is_light(film: Film) -> bool:
    """Bright and not dark: what "but lighter" may mean."""
    return MOODS["light"](film)


def is_dark(film: Film) -> bool:
    """Dark and not bright: what "but darker" may mean."""
    return bool(film.genres & _DARK) and not film.genres & _BRIGHT
