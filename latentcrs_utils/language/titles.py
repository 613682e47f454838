"""Film titles in talk: how a person says them, and whether a text gives one away."""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

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


@lru_cache(maxsize=8192)
def tokens(text: str) -> tuple[str, ...]:
    """Return the words of ``text``: lower case, no accents, apostrophes dropped."""
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
    return tuple(re.findall(r"[a-z0-9]+", plain.lower().replace("'", "")))


def _stem(word: str) -> str:
    return word[:-1] if len(word) > 3 and word.endswith("s") else word


def spoken_title(title: str) -> str:
    """Return a catalogue title as somebody would say it: no original title in brackets."""
    return re.sub(r"\s*\([^)]*\)", "", title).strip() or title


@lru_cache(maxsize=4096)
def distinctive_words(title: str) -> frozenset[str]:
    """Return the words of ``title`` that would give it away (stemmed; brackets included)."""
    return frozenset(_stem(word) for word in tokens(title) if word not in _COMMON)


def leaks(text: str, title: str) -> bool:
    """Say whether ``text`` holds ``title`` or any distinctive word of it."""
    words = tokens(text)
    if distinctive_words(title) & {_stem(word) for word in words}:
        return True
    whole = " ".join(tokens(spoken_title(title)))
    return len(whole) > 1 and f" {whole} " in f" {' '.join(words)} "
