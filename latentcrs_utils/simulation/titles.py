"""Titles: as people say them, whether a text gives one away, and where one stands in a message."""

import html
import re
import tomllib
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, lru_cache
from pathlib import Path
from typing import Any, TypeVar

from rapidfuzz import process
from rapidfuzz.distance import OSA

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


# Titles in what people write; what shows that words are one lies in ``titles.toml``

_SAID: dict[str, Any] = tomllib.loads(Path(__file__).with_name("titles.toml").read_text("utf-8"))
_EVERYDAY, _DAYS, _GENERIC = (frozenset(words.split()) for words in _SAID["words"].values())
_PARTS: dict[str, str] = {}
for _name, _part in _SAID["parts"].items():
    _PARTS[_name] = _part % _PARTS
_CONTEXT = {k: re.compile("|".join(v) % _PARTS, re.I) for k, v in _SAID["context"].items()}
_ELSEWHERE = re.compile(_SAID["elsewhere"]["pattern"] % _PARTS)
FILMS_ELSEWHERE = [title.strip() for title in _SAID["elsewhere"]["films"].split(";")]
"""Films that people speak of, whether or not a catalogue has them."""
_YEAR_AFTER = re.compile(r",? (?:from )?(\()?((?:18|19|20)\d\d)\b(?(1)\))")
# letters of a title that may be misspelt, and twice; words of a short message
_RESPELLED, _LONG, _FEW = 7, 12, 5


@dataclass(frozen=True)
class TitleMention:
    """A title in a text: its place, and the ids that it may mean, none if it is of no item.

    It is ``asked`` for if the item itself is wanted, not one like it.
    """

    start: int
    end: int
    items: tuple[int, ...]
    asked: bool = False


class TitleIndex:
    """Finds a catalogue's titles in a message: in any case, without article or subtitle, misspelt.

    What may also be an everyday word needs evidence: capitals, quotation marks, a year, or words
    before it such as "I loved". ``titles`` are (id, title, year); ``is_wish`` says of a word
    whether it asks for something in itself ("scary"); ``elsewhere`` are titles of no item.
    """

    def __init__(
        self,
        titles: Sequence[tuple[int, str, int | None]],
        is_wish: Callable[[str], bool],
        elsewhere: Iterable[str] = (),
    ):
        self._is_wish, self._years = cache(is_wish), {item: year for item, _, year in titles}
        self._forms: dict[Form, list[int]] = {}
        for rank in range(3):  # what is said in full comes first
            found: dict[Form, list[int]] = defaultdict(list)
            for item, title, _ in titles:
                for form in _ways_to_say(title)[rank]:
                    found[form].append(item)
            self._forms = {**found, **self._forms}
        unknown = (form for title in elsewhere for ways in _ways_to_say(title) for form in ways)
        self._forms = {**{form: [] for form in unknown}, **self._forms}
        self._spelled = {"".join(form): form for form in self._forms}
        # by number of words and first letter, in which typing errors are rare
        self._alike: dict[tuple[int, str], list[str]] = defaultdict(list)
        for spelled, form in self._spelled.items():
            self._alike[len(form), spelled[0]].append(spelled)
        self._words = {word for form in self._forms for word in form} | _EVERYDAY | _COMMON

    def find(self, text: str) -> list[TitleMention]:
        """Return the titles in a text, in their order; none overlaps another."""
        text = re.sub("[§¶¤]", " ", text)
        words, tried, found = [*SPOKEN_WORD.finditer(text)], [], list[TitleMention]()
        keys, longest = [_key(w.group()) for w in words], max(map(len, self._forms), default=0)
        for first in range(len(keys)):
            for last in range(first + 1, min(first + longest, len(keys)) + 1):
                slips, form = self._nearest(tuple(keys[first:last]), len(keys))
                if form:
                    span = words[first].start(), words[last - 1].end()
                    tried.append((first - last, slips, *span, form))
        for _, slips, start, end, form in sorted(tried):
            if all(end <= other.start or other.end <= start for other in found):
                found += self._read(text, start, end, form, slips)
        for match in _ELSEWHERE.finditer(text):
            start, end = match.span("quoted" if match["quoted"] else "capitals")
            *_, head = said = [_key(word) for word in SPOKEN_WORD.findall(text[start:end])] or [""]
            names = self._telling(said) and self._telling([head])
            if names and all(end <= other.start or other.end <= start for other in found):
                found.append(TitleMention(start, end, ()))
        found.sort(key=lambda mention: mention.start)
        for place, mention in enumerate(found):
            marked = text
            for other in reversed(found):
                mark = "§" if other.start == mention.start else "¤"
                marked = f"{marked[: other.start]}{mark}{marked[other.end :]}"
            asked = _CONTEXT["asked"].search(marked) and not _CONTEXT["not asked"].search(marked)
            found[place] = replace(mention, asked=bool(asked))
        return found

    def _nearest(self, said: Form, n_words: int) -> tuple[int, Form | None]:
        """Return the known form that some words are or nearly are, and their slips; else None."""
        spelled, form, slips = "".join(said), None, 0
        if said in self._forms or len(spelled) < _RESPELLED - 2 * (len(said) == 1):
            return 0, said if said in self._forms else None
        if spelled in self._spelled:
            form = self._spelled[spelled]
        elif n_words <= _FEW or not self._words.issuperset(said):
            alike, limit = self._alike.get((len(said), spelled[0]), ()), 1 + (len(spelled) >= _LONG)
            near = process.extractOne(spelled, alike, scorer=OSA.distance, score_cutoff=limit)
            if near and near[0].rstrip("s") != spelled.rstrip("s"):  # "top hats" are no "Top Hat"
                form, slips = self._spelled[near[0]], int(near[1])
        # "war games" asks for a war film although there is a "WarGames"
        lost = form and any(self._is_wish(word) for word in {*said}.difference(form))
        return slips, None if lost else form

    def _read(
        self, text: str, start: int, end: int, form: Form, slips: int
    ) -> Iterator[TitleMention]:
        """Yield the mention of a form of words between two places, if they stand for a title."""
        items, year = self._forms[form], _YEAR_AFTER.match(text, end)
        of_year = [item for item in items if year and self._years[item] == int(year[2])]
        if year and (of_year or year[1]):  # in brackets, another year is another film
            yield TitleMention(start, year.end(), tuple(of_year))
            return
        mark = "¶" if _in_capitals(text, start, end) else "§"
        context = f"{text[:start]}{mark}{text[end:]}"
        if any(_CONTEXT[kind].search(context) for kind in ("quoted", self._kind(form, slips))):
            yield TitleMention(start, end, tuple(items))

    def _kind(self, form: Form, slips: int) -> str:
        """Return what kind of evidence a title needs, see ``titles.toml``."""
        word, *others = [word for word in form if word not in _COMMON] or [""]
        if len(form) == 1 and (word in _DAYS or (len(word) > 1 and word.isdigit())):
            return "number" if word.isdigit() else "day"
        if not self._telling(form):
            return "wish" if len(form) == 1 else "wishes"
        if others:
            return "certain" if len(form) > 2 else "misspelt" if slips else "pair"
        short = word in _EVERYDAY or len(word) < len("ever")
        return "everyday" if short else "misspelt" if slips else "certain"

    def _telling(self, words: Iterable[str]) -> bool:
        """Say whether some word tells more than a wish does."""
        return any(not (w in _COMMON or w in _GENERIC or self._is_wish(w)) for w in words)


def _key(word: str) -> str:
    """Return a word as it sounds: numbers as digits, no apostrophe."""
    plain = "".join(spoken_words(re.sub("['’]", "", word)))
    return _SAID["numbers"].get(plain, plain)


@lru_cache(maxsize=1 << 17)
def _ways_to_say(title: str) -> list[set[Form]]:
    """Return how a title may be said: in full, without article or "part", without subtitle."""

    def form(said: str) -> Form:
        return tuple(map(_key, SPOKEN_WORD.findall(said)))

    def shorter(forms: set[Form]) -> set[Form]:
        known = forms | {tuple(word for word in said if word != "part") for said in forms}
        begun = [said for said in known if len(said) > 1 and said[0] in ("the", "a", "an")]
        return known | {said[1:] for said in begun} | {(*said[1:], said[0]) for said in begun}

    plain, others = spoken_title(title), re.findall(r"\((?:a\.?k\.?a\.? )?([^)]*)", title)
    first, *rest = map(form, re.split(r":| - |,? or:? ", plain))
    whole = {form(plain), *map(form, others)}
    parts = {first} | {part for part in rest if len({*part} - _COMMON - _GENERIC - {"part"}) > 1}
    return [forms - {()} for forms in (whole, shorter(whole), shorter(parts))]


def _in_capitals(text: str, start: int, end: int) -> bool:
    """Say whether a part of a text is in capitals and other words, if there are any, are not."""
    words, others = (
        [word for word in SPOKEN_WORD.findall(part) if word.lower() not in _COMMON]
        for part in (text[start:end], f"{text[:start]} {text[end:]}")
    )
    capitals = text[start:end] != text[start:end].lower()
    capitals &= not any(word[0].islower() for word in [text[start], *words])
    return capitals and (not others or any(word[0].islower() for word in others))
