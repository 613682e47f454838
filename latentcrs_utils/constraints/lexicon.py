"""The lexicon: regular expressions that read constraints out of a text.

It is the strong, plain competitor of every learned reading of a request. It knows genres by name,
inflection and near-synonyms (funny, scary, cartoon, cowboy), decades and years in digits and words,
"recent", and negation within a few words; where the catalogue has them also platforms ("PS4"),
creators and sums of money ("under $20"). It does *not* resolve titles: "like Toy Story" tells it
nothing, and "Scary Movie" misleads it. Its words lie in ``words/*.toml``; add yours there.
"""

import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cache, lru_cache
from pathlib import Path
from typing import Any, Literal

from latentcrs_utils.constraints.constraint import (
    FIRST_YEAR,
    LAST_YEAR,
    Constraint,
    Requirement,
    Requirements,
    matcher_for,
)
from latentcrs_utils.data.sequences import Dataset
from latentcrs_utils.simulation.phrase_book import DECADE_WORDS, ERA_PARTS, Domain, domain_of

_FOLDER = Path(__file__).parent / "words"
_RECENT_YEARS = 3
_REACH = 4  # words between a refusal and what it refuses
_LONGEST_NAME = 6  # words of a creator


@cache
def words(name: Domain | Literal["any"]) -> dict[str, Any]:
    """Return the words of one kind of item, or those that mean the same of any."""
    return tomllib.loads((_FOLDER / f"{name}.toml").read_text("utf-8"))


def _pattern(of_name: Iterable[str]) -> re.Pattern[str]:
    """Compile words for one thing to a pattern that matches whole words, whatever the case."""
    return re.compile(rf"(?<!\w)(?:{'|'.join(of_name)})(?![\w'])", re.I)


@dataclass(frozen=True, eq=False)
class Lexicon:
    """The words of one kind of catalogue: names and the patterns that find them."""

    genres: Mapping[str, re.Pattern[str]]
    platforms: Mapping[str, re.Pattern[str]]
    recent_words: re.Pattern[str]
    years: tuple[int, int] | None  # first and last that four digits may mean; None: no year
    prices: bool  # whether sums of money are read
    creators: Mapping[str, str] = field(default_factory=dict)  # in lower case -> name
    recent: tuple[int, int] = (1996, 1998)  # years that "recent" means


@cache
def lexicon_of(domain: Domain) -> Lexicon:
    """Return the lexicon of a kind of item, whatever the catalogue."""
    known = {"platforms": {}, "prices": False, **words("any"), **words(domain)}
    genres, platforms = (
        {name: _pattern(of_name) for name, of_name in known[slot].items()}
        for slot in ("genres", "platforms")
    )
    years = tuple(known["years"]) or None
    return Lexicon(genres, platforms, _pattern(known["recent"]), years, known["prices"])


@lru_cache(maxsize=4)
def lexicon_for(data: Dataset) -> Lexicon:
    """Return the lexicon of a data set: that of its domain, and what its columns add to it.

    Genres, platforms and creators that the words do not know are read by their names; the newest
    item decides what "recent" means; prices are read where some are known.
    """
    known, items = lexicon_of(domain_of(data.name)), matcher_for(data).catalogue.items[1:]
    genres = {genre for item in items for genre in item.genres} - known.genres.keys()
    platforms = {item.platform for item in items if item.platform} - known.platforms.keys()
    creators = sorted({item.creator for item in items if item.creator})
    years = [item.year for item in items if item.year is not None]
    return replace(
        known,
        genres={**known.genres, **{n: _pattern([re.escape(n)]) for n in sorted(genres)}},
        platforms={**known.platforms, **{n: _pattern([re.escape(n)]) for n in sorted(platforms)}},
        creators={name.lower(): name for name in creators if len(name) > 1},
        prices=any(item.price is not None for item in items),
        years=known.years and (min([*years, known.years[0]]), max(years, default=known.years[1])),
        recent=(max(years) - _RECENT_YEARS + 1, max(years)) if years else known.recent,
    )


@dataclass(frozen=True)
class Mention:
    """One place in a text, characters ``start`` to ``end``, where a constraint is named."""

    constraint: Constraint  # negated where it follows a word of refusal
    start: int
    end: int
    opening: int  # where the words of refusal begin; ``start`` if there are none


_SAID = {name: "|".join(map(str, of_name)) for name, of_name in words("any").items()}
_WORD_TO_DECADE = {word: decade for decade, word in DECADE_WORDS.items()}
_PARTS = {part: era for era, part in ERA_PARTS.items()} | {"middle": "1994-1995"}
_NEGATED = re.compile(
    rf"\b(?:{_SAID['negation']})\b(?:[\s,]+(?!but\b)[\w'’-]+){{0,{_REACH}}}[\s-]*$", re.I
)
_DECADE = re.compile(
    rf"(?:\b(?P<part>{'|'.join(_PARTS)})[ -](?:of the )?)?(?:the )?"
    rf"(?:'?\b(?P<digits>20[0-2]0|00|(?:19)?[2-9]0)'?s\b|\b(?P<word>{'|'.join(_WORD_TO_DECADE)})\b)",
    re.I,
)
_YEARS = re.compile(
    r"\b((?:19|20)\d\d)\b(?:\s*(?:-|–|to|and|until|till)\s*((?:19|20)\d\d)\b)?(?!'?s)"
)
_BEFORE = re.compile(rf"\b(?:{_SAID['before']})[\s-]+(?:the\s+)?$", re.I)
_AFTER = re.compile(rf"\b(?:(?P<since>{_SAID['since']})|{_SAID['after']})[\s-]+(?:the\s+)?$", re.I)
_BY = re.compile(rf"\b(?:{_SAID['by']})\s+(?:the great )?", re.I)
_NAME_WORD = re.compile(r"[^\s,;:?!]+")
_PRICE = re.compile(
    rf"(?:{_SAID['at_most']}) (?:\$ ?(?P<sign>\d+)(?:\.\d\d)?"
    rf"|(?P<word>\d+)(?:\.\d\d)? ?(?:{_SAID['dollars']}))",
    re.I,
)


def negation_start(text: str, start: int) -> int | None:
    """Return where the words begin that refuse what is named at ``start``; None if none do.

    They stand in the same clause (up to . ; : ? ! or "but"), at most four words before it.
    """
    clause = re.split(r"[.;:?!]|\bbut\b(?<!anything but)", text[:start], flags=re.I)[-1]
    match = _NEGATED.search(clause)
    return start - len(clause) + match.start() if match else None


def mentions(text: str, lexicon: Lexicon | None = None) -> list[Mention]:
    """Return every place in a text where a genre, a time or a fact is named, in their order.

    The lexicon is that of films, or of a catalogue (:func:`lexicon_for`).
    """
    lexicon = lexicon or lexicon_of("films")
    text = text.replace("’", "'")
    found = [*_named(text, "genre", lexicon.genres), *_named(text, "platform", lexicon.platforms)]
    found += [*_times(text, lexicon), *_creators(text, lexicon.creators)]
    for match in _PRICE.finditer(text) if lexicon.prices else ():
        price = Constraint("price", str(int(match["sign"] or match["word"])))
        found.append(Mention(price, *match.span(), match.start()))
    return sorted(found, key=lambda mention: mention.start)


def extract(text: str, lexicon: Lexicon | None = None) -> Requirements:
    """Return the genres, refused genres, times and facts that ``text`` names.

    A genre that is named both ways counts as the last mention says; of several prices the lowest
    counts. The evidence of each is its name in the text, with the words of refusal before it. The
    lexicon is that of films, or of a catalogue (:func:`lexicon_for`).
    """
    last: dict[tuple[str, str], Requirement] = {}
    for mention in mentions(text, lexicon):
        constraint, evidence = mention.constraint, text[mention.opening : mention.end]
        key = constraint.slot, constraint.value
        if constraint.slot == "genre":
            last[key] = Requirement(constraint, evidence)
        elif not constraint.negated:
            last.setdefault(key, Requirement(constraint, evidence))
        elif constraint.slot == "platform":
            last.pop(key, None)
    prices = sorted((key for key in last if key[0] == "price"), key=lambda key: int(key[1]))
    for key in prices[1:]:
        del last[key]
    return Requirements(tuple(last.values()))


def _mention(text: str, slot: str, value: str, start: int, end: int) -> Mention:
    opening = negation_start(text, start)
    constraint = Constraint(slot, value, negated=opening is not None)
    return Mention(constraint, start, end, start if opening is None else opening)


def _named(text: str, slot: str, patterns: Mapping[str, re.Pattern[str]]) -> list[Mention]:
    """Return where the names of one slot stand; the longest only, where one holds another."""
    matches = [(name, match.span()) for name, p in patterns.items() for match in p.finditer(text)]
    spans = {span for _, span in matches}
    inner = {(a, b) for a, b in spans for c, d in spans if c <= a and b <= d and d - c > b - a}
    return [_mention(text, slot, name, *span) for name, span in matches if span not in inner]


def _times(text: str, lexicon: Lexicon) -> Iterator[Mention]:
    """Yield every time named in a text: decades, parts of the nineties, years, "recent"."""
    for match in _DECADE.finditer(text):
        if match["word"]:
            decade = _WORD_TO_DECADE[match["word"].lower()]
        else:
            digits = int(match["digits"]) or 2000
            decade = digits if digits > 99 else 1900 + digits
        if match["part"] and decade == 1990:
            yield _time(text, match, "era", _PARTS[match["part"].lower()])
        else:
            yield _time(text, match, "decade", str(decade))
    earliest, latest = lexicon.years or (1, 0)
    for match in _YEARS.finditer(text):
        first, last = int(match[1]), int(match[2] or match[1])
        if not first <= last <= latest:
            last = first
        if earliest <= first <= latest:
            yield _time(text, match, "era", f"{first}-{last}")
    for match in lexicon.recent_words.finditer(text):
        yield _mention(text, "era", "{}-{}".format(*lexicon.recent), *match.span())


def _time(text: str, match: re.Match[str], slot: str, value: str) -> Mention:
    """Return one time named in a text; "before", "since" and "after" open its span.

    What is not before a time is in it or after it, and the reverse.
    """
    found = _mention(text, slot, value, *match.span())
    before, after = (pattern.search(text[: match.start()]) for pattern in (_BEFORE, _AFTER))
    if not before and not after:
        return found
    first, last = found.constraint.years
    border = first if before or (after and after["since"]) else last + 1
    earlier = bool(before) != found.constraint.negated
    span = f"{FIRST_YEAR}-{border - 1}" if earlier else f"{border}-{LAST_YEAR}"
    start = min((before or after or match).start(), found.opening)
    return Mention(Constraint("era", span), start, match.end(), start)


def _creators(text: str, names: Mapping[str, str]) -> Iterator[Mention]:
    """Yield the creators named after "by", "from" and the like, the longest name first."""
    for match in _BY.finditer(text) if names else ():
        start = match.end()
        ends = [m.end() for m in _NAME_WORD.finditer(text, start)][:_LONGEST_NAME]
        tries = (text[start:end].rstrip(".") for end in reversed(ends))
        whole = next((said for said in tries if said.lower() in names), None)
        if whole is not None:
            creator = Constraint("creator", names[whole.lower()])
            yield Mention(creator, start, start + len(whole), start)
