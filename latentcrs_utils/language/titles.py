"""Titles in talk: how a person says them, and whether a text gives one away."""

from __future__ import annotations

import html
import re
import unicodedata
from functools import cache, lru_cache

from .wording import Domain, phrase_book

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
_LONG_TITLE, _SPOKEN_WORDS = 6, 8  # nobody says more of "2x Analog Thumbsticks Joysticks for ..."


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
    said = " ".join(said.split()[:_SPOKEN_WORDS]).strip(" -–—/|,:")
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


def leaks(text: str, title: str, secret: str | None = None) -> bool:
    """Say whether ``text`` holds ``title`` or any distinctive word of it.

    Args:
        text: what is said.
        title: the title to be kept.
        secret: the words of the title among which the distinctive ones are looked for (None: all).
    """
    words = tokens(text)
    if not _surface_words(title if secret is None else secret).isdisjoint(words):
        return True
    whole = _whole(title)
    return bool(whole) and whole in f" {' '.join(words)} "
