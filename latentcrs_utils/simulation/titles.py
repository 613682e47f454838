"""Titles: as people say them, whether a text gives one away, and where one stands in a message."""

import html
import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import lru_cache
from typing import TypeVar

from latentcrs_utils.simulation.phrase_book import Domain, phrase_book

_COMMON = frozenset(phrase_book("films")["items"]["common_words"].split())
_WORD = re.compile(r"[a-z0-9]+")
_TAGS = re.compile(r"<[^>]*>?")
_BRACKETS = re.compile(r"\s*(?:\[[^\]]*\]?|\([^)]*\)?)")
_TAIL = re.compile(r"\s+[-–—/|]+\s+.*$")
_FITTING = re.compile(r"(?:,|\s+(?:for|with|compatible|works|w)\b).*$", re.I)
_ARTICLE_LAST = re.compile(r"^(.+), (The|A|An)$")
_EDGES = " -–—/|,:"
_LONG_TITLE, _SPOKEN_WORDS = 6, 8  # nobody says more of "2x Analog Thumbsticks Joysticks for ..."


@lru_cache(maxsize=1 << 14)
def tokens(text: str) -> tuple[str, ...]:
    """Return the words of ``text``: lower case, no accents, apostrophes dropped."""
    if not text.isascii():
        text = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
    return tuple(_WORD.findall(text.lower().replace("'", "")))


@lru_cache(maxsize=1 << 17)
def spoken_title(title: str) -> str:
    """Return a catalogue title as somebody would say it: no original title in brackets."""
    return re.sub(r"\s*\([^)]*\)", "", title).strip() or title


def title_and_keywords(title: str, domain: Domain) -> tuple[str, str | None]:
    """Return a title of a catalogue as people say it, and what of it gives it away (None: all).

    A shop's title, for which the phrase book lists generic words, is said without edition, platform
    and sales talk (``"Into the Nexus - PS3"`` -> ``"Into the Nexus"``), and words for machines,
    packaging or the kind of thing give nothing away.
    """
    book = phrase_book(domain)["items"]
    if "generic_title_words" not in book:
        return title, None
    plain = " ".join(_TAGS.sub("", html.unescape(title)).split())
    said = _ARTICLE_LAST.sub(r"\2 \1", _BRACKETS.sub("", plain).strip(_EDGES))
    said = _TAIL.sub("", said)
    if book.get("cut_fitting", False) and len(said.split()) > _LONG_TITLE:
        said = _FITTING.sub("", said)
    said = " ".join(said.split()[:_SPOKEN_WORDS]).strip(_EDGES) or plain or title
    generic = book["generic_title_words"].split()
    return said, " ".join(word for word in tokens(said) if word not in generic)


def _stem(word: str) -> str:
    return word[:-1] if len(word) > 3 and word.endswith("s") else word


@lru_cache(maxsize=1 << 17)
def distinctive_words(title: str) -> frozenset[str]:
    """Return the words of ``title`` that would give it away (stemmed; brackets included)."""
    return frozenset(_stem(word) for word in tokens(title) if word not in _COMMON)


def leaks_title(text: str, title: str, title_keywords: str | None = None) -> bool:
    """Say whether a text holds a title or a distinctive keyword of it (None: each word is one)."""
    words = tokens(text)
    telling = distinctive_words(title if title_keywords is None else title_keywords)
    if not telling.isdisjoint(map(_stem, words)):
        return True
    whole = " ".join(tokens(spoken_title(title)))
    return len(whole) > 1 and f" {whole} " in f" {' '.join(words)} "


Form = tuple[str, ...]
_T = TypeVar("_T")
SPOKEN_WORD = re.compile(r"&|[^\W_]+(?:['’][^\W_]+)*")
_ARTICLES = frozenset({"the", "a", "an"})
_NAMES_AN_ITEM = re.compile(
    r"\b(?:like|as|lov\w+|liked|enjoy\w*|watch\w*|saw|seen|than)\s+(?:the\s+)?$", re.I
)
_CERTAIN = 3  # so many words in a row that are a title are no accident


def spoken_words(text: str) -> Form:
    """Return lower-case words without accents and possessives, to compare titles however typed."""
    plain = unicodedata.normalize("NFKD", text.replace("&", " and "))
    plain = "".join(c for c in plain if not unicodedata.combining(c)).replace("’", "'")
    return tuple(word.casefold().removesuffix("'s") for word in SPOKEN_WORD.findall(plain))


def titles_in(
    text: str, forms: Mapping[Form, _T], is_title: Callable[[str, list[str]], bool]
) -> Iterator[tuple[int, int, _T]]:
    """Yield where titles stand in a text: begin, end, and whose it is; the longest at each place.

    ``forms`` maps titles, as `spoken_words` has them, to whose they are; ``is_title`` says whether
    words that make up a form stand for the title, given the text before them.
    """
    found = list(SPOKEN_WORD.finditer(text))
    keys = [" ".join(spoken_words(match.group())) for match in found]
    start, longest = 0, max(map(len, forms), default=0)
    while start < len(found):
        begin, next_start = found[start].start(), start + 1
        for end in range(min(len(found), start + longest), start, -1):
            form = tuple(keys[start:end])
            if form in forms and is_title(text[:begin], [m.group() for m in found[start:end]]):
                yield begin, found[end - 1].end(), forms[form]
                next_start = end
                break
        start = next_start


def title_forms(titles: Iterable[str]) -> dict[Form, str]:
    """Return how titles may be said: also without subtitle, without article -> the title."""
    forms = {}
    for title in titles:
        said = spoken_title(title)
        for words in filter(None, map(spoken_words, (said, said.split(":")[0]))):
            forms[words] = title
            # what is left of "The War" is an everyday word
            if len(words) > 2 and words[0] in _ARTICLES:
                forms[words[1:]] = title
    return forms


def blank_titles(text: str, forms: Mapping[Form, str]) -> str:
    """Return ``text`` with underscores for each title, so that its words are not read as wishes.

    Three words in a row are a title in any case; two need their capitals, or words before them such
    as "like" or "I loved"; one needs its capital within a sentence.
    """
    for begin, end, _ in titles_in(text, forms, _is_title):
        text = text[:begin] + "_" * (end - begin) + text[end:]
    return text


def _is_title(before: str, words: list[str]) -> bool:
    """Say whether words that make up a title stand for it, and not for themselves."""
    if len(words) >= _CERTAIN or (len(words) > 1 and _NAMES_AN_ITEM.search(before)):
        return True
    content = [word for word in words if word.lower() not in _COMMON]
    capitals = bool(content) and all(w[0].isupper() or w[0].isdigit() for w in content)
    inside = before.rstrip(" \"'“‘(")
    return capitals and (len(words) > 1 or bool(inside and inside[-1] not in ".!?:;"))
