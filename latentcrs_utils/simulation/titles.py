"""Titles: as people say them, whether a text gives one away, and where one stands in a message."""

import re
import tomllib
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache, lru_cache
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from rapidfuzz import process
from rapidfuzz.distance import OSA

from latentcrs_utils.simulation.phrase_book import phrase_book

Form = tuple[str, ...]
SPOKEN_WORD = re.compile(r"&|[^\W_]+(?:['’][^\W_]+)*")
_POSSESSIVE = re.compile(r"['’]s\b", re.I)
_COMMON = frozenset(phrase_book("films")["items"]["common_words"].split())


@lru_cache(maxsize=1 << 14)
def spoken_words(text: str) -> Form:
    """Return the words of a text, however typed: lower case, without accents and apostrophes."""
    if not text.isascii():
        text = unicodedata.normalize("NFKD", text).replace("’", "'")
        text = "".join(c for c in text if not unicodedata.combining(c))
    found = SPOKEN_WORD.findall(text.replace("&", " and ").casefold())
    return tuple(word.replace("'", "") for word in found)


@lru_cache(maxsize=1 << 17)
def spoken_title(title: str) -> str:
    """Return a catalogue title as somebody would say it: no original title in brackets."""
    return re.sub(r"\s*\([^)]*\)", "", title).strip() or title


def _stem(word: str) -> str:
    return word[:-1] if len(word) > 3 and word.endswith("s") else word


@lru_cache(maxsize=1 << 17)
def distinctive_words(title: str) -> frozenset[str]:
    """Return the words of ``title`` that would give it away (stemmed; brackets included)."""
    return frozenset(_stem(word) for word in spoken_words(title) if word not in _COMMON)


def leaks_title(text: str, title: str, title_keywords: str | None = None) -> bool:
    """Say whether a text holds a title or a distinctive keyword of it (None: each word is one)."""
    words = spoken_words(text)
    telling = distinctive_words(title if title_keywords is None else title_keywords)
    if not telling.isdisjoint(map(_stem, words)):
        return True
    whole = " ".join(spoken_words(spoken_title(title)))
    return len(whole) > 1 and f" {whole} " in f" {' '.join(words)} "


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
_Span = TypeVar("_Span", bound=tuple[Any, ...])


class TitleMention(NamedTuple):
    """A title in a text: its place, and the ids that it may mean, none if it is of no item."""

    start: int
    end: int
    items: tuple[int, ...]
    asked: bool = False  # for the item itself, not one like it


class TitleIndex:
    """Finds a catalogue's titles in a message: in any case, without article or subtitle, misspelt.

    What may also be an everyday word needs evidence: capitals, quotation marks, a year, or words
    before it such as "I loved". ``titles`` are (id, title, year); ``is_wish`` says of a word
    whether it asks for something in itself ("scary"); ``elsewhere`` are titles of no item.
    """

    def __init__(
        self, titles: Sequence[tuple[int, str, int | None]], is_wish: Callable[[str], bool],
        elsewhere: Iterable[str] = (),
    ):  # fmt: skip
        self._is_wish, self._years = cache(is_wish), {item: year for item, _, year in titles}
        self._forms: dict[Form, list[int]] = {}
        for rank in range(3):  # what is said in full comes first
            found: dict[Form, list[int]] = defaultdict(list)
            for item, title, _ in titles:
                for form in ways_to_say(title)[rank]:
                    found[form].append(item)
            self._forms = {**found, **self._forms}
        for form in chain(*(ways for title in elsewhere for ways in ways_to_say(title))):
            self._forms.setdefault(form, [])
        self._spelled = {"".join(form): form for form in self._forms}
        # by number of words, first letter and digits, in which typing errors are rare
        self._alike: dict[tuple[int, str, str], list[str]] = defaultdict(list)
        for spelled, form in self._spelled.items():
            self._alike[_rarely_wrong(form)].append(spelled)
        self._words = {*chain(*self._forms), *_EVERYDAY, *_COMMON}
        self._found = lru_cache(1 << 15)(self._find)

    def find(self, text: str) -> list[TitleMention]:
        """Return the titles in a text, in their order; none overlaps another."""
        return [*self._found(text)]

    def _find(self, text: str) -> list[TitleMention]:
        text = re.sub("[§¶¤]", " ", text)
        found = apart(self._likely(text))
        ends = [0, *(place for title in found for place in title[:2]), len(text)]
        between = [text[ends[n] : ends[n + 1]] for n in range(0, len(ends), 2)]
        for n, title in enumerate(found):
            context = "§".join("¤".join(part) for part in (between[: n + 1], between[n + 1 :]))
            asked = _CONTEXT["asked"].search(context) and not _CONTEXT["not asked"].search(context)
            found[n] = title._replace(asked=bool(asked))
        return found

    def _likely(self, text: str) -> Iterator[TitleMention]:
        """Yield what may be a title: those of the index, the surest first, then unknown ones."""
        tried, n_words = [], len(SPOKEN_WORD.findall(text))
        for start, end, said in word_runs(text, max(map(len, self._forms), default=0)):
            slips, form = self._nearest(said, n_words)
            if form:
                tried.append((-len(said), slips, start, end, form))
        for _, slips, start, end, form in sorted(tried):
            items, year = self._forms[form], _YEAR_AFTER.match(text, end)
            of_year = [item for item in items if year and self._years[item] == int(year[2])]
            context = text[:start] + "§¶"[_in_capitals(text, start, end)] + text[end:]
            kinds = "quoted", self._kind(form, slips)
            if year and (of_year or year[1]):  # in brackets, another year is another film
                yield TitleMention(start, year.end(), tuple(of_year))
            elif any(_CONTEXT[kind].search(context) for kind in kinds):
                yield TitleMention(start, end, tuple(items))
        for match in _ELSEWHERE.finditer(text):
            start, end = match.span("quoted" if match["quoted"] else "capitals")
            *_, head = "", *spoken_words(text[start:end])
            if self._telling([head]) and not text[start:end].isdigit():
                yield TitleMention(start, end, ())

    def _nearest(self, said: Form, n_words: int) -> tuple[int, Form | None]:
        """Return the slips in some words and the known form that they nearly are; else None."""
        spelled, slips = "".join(said), 0
        if said in self._forms or len(spelled) < _RESPELLED - 2 * (len(said) == 1):
            return 0, said if said in self._forms else None
        form = self._spelled.get(spelled)
        if not form and (n_words <= _FEW or not self._words.issuperset(said)):
            alike, limit = self._alike.get(_rarely_wrong(said), ()), 1 + (len(spelled) >= _LONG)
            near = process.extractOne(spelled, alike, scorer=OSA.distance, score_cutoff=limit)
            if near and near[0].rstrip("s") != spelled.rstrip("s"):  # "top hats" are no "Top Hat"
                form, slips = self._spelled[near[0]], int(near[1])
        # "war games" asks for a war film although there is a "WarGames"
        lost = any(self._is_wish(word) for word in {*said}.difference(form or said))
        return slips, None if lost else form

    def _kind(self, form: Form, slips: int) -> str:
        """Return what kind of evidence a title needs, see ``titles.toml``."""
        word, *others = [word for word in form if word not in _COMMON] or [""]
        if len(form) == 1 and (word in _DAYS or (len(word) > 1 and word.isdigit())):
            return "number" if word.isdigit() else "day"
        if not self._telling(form):
            return "wish" if len(form) == 1 else "wishes"
        if not others and (word in _EVERYDAY or len(word) < len("ever")):
            return "everyday"
        if len(form) > 2 and others:
            return "certain"
        return "misspelt" if slips else "pair" if others else "certain"

    def _telling(self, words: Iterable[str]) -> bool:
        """Say whether some word tells more than a wish does."""
        return any(not (w in _COMMON or w in _GENERIC or self._is_wish(w)) for w in words)


def word_runs(text: str, longest: int) -> Iterator[tuple[int, int, Form]]:
    """Yield begin, end and words of all runs of at most ``longest`` words, the longest first."""
    words = [*SPOKEN_WORD.finditer(text)]
    said = ["".join(_form(_POSSESSIVE.sub("", word.group()))) for word in words]
    for n in range(min(longest, len(words)), 0, -1):
        for first, last in enumerate(words[n - 1 :]):
            yield words[first].start(), last.end(), tuple(said[first : first + n])


def apart(spans: Iterable[_Span]) -> list[_Span]:
    """Return the spans (begin, end, ...) that overlap none before them, by their place."""
    kept = list[_Span]()
    for span in spans:
        if all(span[1] <= other[0] or other[1] <= span[0] for other in kept):
            kept.append(span)
    return sorted(kept)


def _rarely_wrong(form: Form) -> tuple[int, str, str]:
    spelled = "".join(form)
    return len(form), spelled[0], "".join(filter(str.isdigit, spelled))


def _form(text: str) -> Form:
    """Return the words of a text as they sound: numbers as digits."""
    return tuple(_SAID["numbers"].get(word, word) for word in spoken_words(text))


@lru_cache(maxsize=1 << 17)
def ways_to_say(title: str) -> list[set[Form]]:
    """Return how a title may be said: in full; by another name or without article; in part."""

    def forms(*names: str) -> set[Form]:
        return {_form(said) for name in names for said in (name, _POSSESSIVE.sub("", name))}

    def shorter(known: set[Form]) -> set[Form]:
        known = known | {tuple(word for word in said if word != "part") for said in known}
        begun = [said for said in known if len(said) > 1 and said[0] in ("the", "a", "an")]
        return known | {said[1:] for said in begun} | {(*said[1:], said[0]) for said in begun}

    plain, others = spoken_title(title), re.findall(r"\((?:a\.?k\.?a\.? )?([^)]*)", title)
    first, *rest = re.split(r":| - |,? or:? ", plain)
    telling = [part for part in rest if len({*_form(part)} - _COMMON - _GENERIC - {"part"}) > 1]
    parts = {part for part in forms(plain.split(",")[0]) if len(part) > 2} | forms(first, *telling)
    parts = {part for part in parts if not _COMMON.issuperset(part)}
    whole = forms(title, plain)
    ranks = whole, shorter(whole | forms(*others)), shorter(parts)
    return [ways - {()} for ways in ranks]


def _in_capitals(text: str, start: int, end: int) -> bool:
    """Say whether a part of a text is in capitals and other words, if there are any, are not."""
    words, others = (
        [word for word in SPOKEN_WORD.findall(part) if word.lower() not in _COMMON]
        for part in (text[start:end], f"{text[:start]} {text[end:]}")
    )
    capitals = text[start:end] != text[start:end].lower()
    capitals &= not any(word[0].islower() for word in [text[start], *words])
    return capitals and (not others or any(word[0].islower() for word in others))
