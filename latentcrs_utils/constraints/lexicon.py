"""The lexicon: regular expressions that read constraints out of a text.

The plain competitor of every learned reading of a request knows genres by near-synonyms too (funny,
cartoon), times in digits and words, refusals (`Negation`), corrections of earlier wishes ("older"),
and platforms ("PS4"), creators and prices where the catalogue has them; it forgives typing errors.
It knows no titles: `Vocabulary` blanks them. Add words of yours in ``words/*.toml``.
"""

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cache, lru_cache

from rapidfuzz import process
from rapidfuzz.distance import OSA

from latentcrs_utils.constraints.constraint import (
    FIRST_YEAR,
    LAST_YEAR,
    Constraint,
    Correction,
    Requirement,
    Requirements,
    matcher_for,
    narrowed,
)
from latentcrs_utils.constraints.negation import negation_in, words
from latentcrs_utils.data.sequences import Dataset
from latentcrs_utils.simulation.phrase_book import DECADE_WORDS, ERA_PARTS, Domain, domain_of

_RECENT_YEARS, _OLD_YEARS = 3, 19  # before the newest item
_LONGEST_NAME = 6  # words of a creator


def _pattern(of_name: Iterable[str]) -> re.Pattern[str]:
    """Compile words for one thing to a pattern that matches whole words, whatever the case."""
    return re.compile(rf"(?<!\w)(?:{'|'.join(of_name)})(?![\w'])", re.I)


@dataclass(frozen=True, eq=False)
class Lexicon:
    """The words of one kind of catalogue: names and the patterns that find them."""

    genres: Mapping[str, re.Pattern[str]]
    platforms: Mapping[str, re.Pattern[str]]
    spoken: Mapping[re.Pattern[str], tuple[int, int]]  # "recent" and "old" -> the years they mean
    asides: re.Pattern[str]  # names of times and genres that are not the item's
    years: tuple[int, int] | None  # first and last that four digits may mean; None: no year
    prices: bool  # whether sums of money are read
    creators: Mapping[str, str] = field(default_factory=dict)  # in lower case -> name


@cache
def lexicon_of(domain: Domain) -> Lexicon:
    """Return the lexicon of a kind of item, whatever the catalogue."""
    known = {"platforms": {}, "prices": False, **words("any"), **words(domain)}
    genres, platforms = (
        {name: _pattern(of_name) for name, of_name in known[slot].items()}
        for slot in ("genres", "platforms")
    )
    asides = [*known["asides_of_kind"], *words("any")["asides"]]
    genre = "|".join(word for of_genre in known["genres"].values() for word in of_genre)
    asides = [form.replace("TIME", known["time"]).replace("GENRE", genre) for form in asides]
    recent, old, aside = (_pattern(forms) for forms in (known["recent"], known["old"], asides))
    years = tuple(known["years"]) or None
    spoken = {recent: (1996, 1998), old: (FIRST_YEAR, 1979)}
    return Lexicon(genres, platforms, spoken, aside, years, known["prices"])


@lru_cache(maxsize=4)
def lexicon_for(data: Dataset) -> Lexicon:
    """Return the lexicon of a data set: that of its domain, and what its columns add to it.

    Unknown genres, platforms, creators are read by name; the newest item says what "recent" means.
    """
    known, items = lexicon_of(domain_of(data.name)), matcher_for(data).catalogue.items[1:]
    genres = {genre for item in items for genre in item.genres} - known.genres.keys()
    platforms = {item.platform for item in items if item.platform} - known.platforms.keys()
    creators = sorted({item.creator for item in items if item.creator})
    years = [item.year for item in items if item.year is not None]
    last = max(years, default=0)
    spans = (last - _RECENT_YEARS + 1, last), (FIRST_YEAR, last - _OLD_YEARS)
    return replace(
        known,
        genres={**known.genres, **{n: _pattern([re.escape(n)]) for n in sorted(genres)}},
        platforms={**known.platforms, **{n: _pattern([re.escape(n)]) for n in sorted(platforms)}},
        creators={name.lower(): name for name in creators if len(name) > 1},
        prices=any(item.price is not None for item in items),
        years=known.years and (min([*years, known.years[0]]), last or known.years[1]),
        spoken=dict(zip(known.spoken, spans, strict=True)) if years else known.spoken,
    )


@dataclass(frozen=True)
class Mention:
    """One place in a text, characters ``start`` to ``end``, where a constraint is named."""

    constraint: Constraint  # negated where it is refused
    start: int
    end: int
    opening: int  # where the name or the words that refuse it begin
    closing: int  # where they end
    withdrawn: bool = False  # neither asked for nor refused: it counts no longer


_CORRECTIONS = [
    (_pattern(filter(None, entry.pop("words").splitlines())), entry)
    for entry in words("corrections")["corrections"]
]
_SAID = {name: "|".join(map(str, of_name)) for name, of_name in words("any").items()}
_WORD_TO_DECADE = {word: decade for decade, word in DECADE_WORDS.items()}
_PARTS = {part: era for era, part in ERA_PARTS.items()} | {"middle": "1994-1995"}
_SAID |= {"part": "|".join(_PARTS), "word": "|".join(_WORD_TO_DECADE)}
_READ = {name: re.compile(form % _SAID, re.I) for name, form in words("any")["patterns"].items()}


def mentions(text: str, lexicon: Lexicon | None = None) -> list[Mention]:
    """Return where a text names a genre, a time or a fact, in order (None: the films' lexicon)."""
    lexicon = lexicon or lexicon_of("films")
    plain, origin = _plain(text, lexicon)
    named = [
        *_named(plain, "genre", lexicon.genres), *_named(plain, "platform", lexicon.platforms),
        *_times(plain, lexicon), *_creators(plain, lexicon.creators),
    ]  # fmt: skip
    negation, found, tail, place = negation_in(plain), list[Mention](), 0, (0, 0)
    for constraint, start, end in sorted(named, key=lambda name: name[1:]):
        said, opening, closing = negation.of(start, end)
        # "horror scares me": a word of the refusal; "no romcom" refuses one of two genres
        if (said == "asked" and start < tail) or (said == "refused" and (start, end) == place):
            continue
        place = start, end
        tail = max(tail, closing if closing > end else 0)
        constraint = replace(constraint, negated=said == "refused")
        if constraint.attribute == "years":
            constraint, first, last = _opened(plain, constraint, start, end)
            opening, closing = min(opening, first), max(closing, last)
        start, end, opening, closing = (origin[at] for at in (start, end, opening, closing))
        found.append(Mention(constraint, start, end, opening, closing, said == "withdrawn"))
    for match in _READ["price"].finditer(plain) if lexicon.prices else ():
        price = Constraint("price", str(int(match["sign"] or match["word"])))
        start, end = (origin[place] for place in match.span())
        found.append(Mention(price, start, end, start, end))
    return sorted(found, key=lambda mention: mention.start)


def extract(text: str, lexicon: Lexicon | None = None) -> Requirements:
    """Return the genres, times and facts that ``text`` names, asked for or refused.

    What is named twice counts as the last mention says; of several prices the lowest counts, and
    a span with an open end narrows other times. The evidence of each is its name in the text, with
    the words of refusal. The lexicon is that of films, or of a catalogue (:func:`lexicon_for`).
    """
    lexicon, corrections = lexicon or lexicon_of("films"), list[Correction]()
    last: dict[Constraint, Requirement] = {}
    for mention in mentions(text, lexicon):
        constraint, evidence = mention.constraint, text[mention.opening : mention.closing]
        asked = last.get(constraint.opposite)
        if asked and constraint.negated:
            sentence = re.split(r"[.!?;\n]", text[: mention.opening])[-1]
            own = {said[:4].lower() for said in (asked.evidence, constraint.value)}
            if asked.evidence in sentence and text[mention.start :][:4].lower() not in own:
                continue  # "horror without gore" is horror
        last.pop(constraint.opposite, None)
        if mention.withdrawn:
            last.pop(constraint, None)
            corrections.append(Correction(evidence, forgets=str(constraint)))
        else:
            last.setdefault(constraint, Requirement(constraint, evidence))
    for price in sorted((c for c in last if c.slot == "price"), key=lambda c: int(c.value))[1:]:
        del last[price]
    corrections += _corrections(_plain(text, lexicon)[0], lexicon.genres)
    return Requirements(narrowed(tuple(last.values())), tuple(corrections))


Name = tuple[Constraint, int, int]  # what is named in a text, where its name begins and ends


def _named(text: str, slot: str, patterns: Mapping[str, re.Pattern[str]]) -> list[Name]:
    """Return where the names of one slot stand; the longest only, where one holds another."""
    matches = [(name, match.span()) for name, p in patterns.items() for match in p.finditer(text)]
    spans = {span for _, span in matches}
    inner = {(a, b) for a, b in spans for c, d in spans if c <= a and b <= d and d - c > b - a}
    return [(Constraint(slot, name), *span) for name, span in matches if span not in inner]


def _times(text: str, lexicon: Lexicon) -> Iterator[Name]:
    """Yield every time named in a text: decades, parts of the nineties, years, "recent", "old"."""
    for match in _READ["decade"].finditer(text):
        if match["word"]:
            decade = _WORD_TO_DECADE[match["word"].lower()]
        else:
            digits = int(match["digits"]) or 2000
            decade = digits if digits > 99 else 1900 + digits
        part = _PARTS[match["part"].lower()] if match["part"] and decade == 1990 else ""
        yield Constraint("era" if part else "decade", part or str(decade)), *match.span()
    earliest, latest = lexicon.years or (1, 0)
    for match in _READ["years"].finditer(text):
        first, last = int(match[1]), int(match[2] or match[1])
        if not first <= last <= latest:
            last = first
        if earliest <= first <= latest:
            yield Constraint("era", f"{first}-{last}"), *match.span()
    for pattern, span in lexicon.spoken.items():
        for match in pattern.finditer(text):
            yield Constraint("era", "{}-{}".format(*span)), *match.span()


def _opened(text: str, time: Constraint, start: int, end: int) -> Name:
    """Return a time as "before", "or later" and the like open its span; "not before": from it."""
    before, after = (pattern.search(text[:start]) for pattern in (_READ["before"], _READ["after"]))
    reach, (first, last) = _READ["or"].match(text, end), time.years
    if before:
        first, start = FIRST_YEAR, before.start()
        last = last if before["until"] else time.years[0] - 1
    elif after:
        first, last, start = first if after["since"] else last + 1, LAST_YEAR, after.start()
    elif reach:
        first, last = (first, LAST_YEAR) if reach["later"] else (FIRST_YEAR, last)
        end = reach.end()
    elif first > FIRST_YEAR:
        return time, start, end
    if time.negated:
        first, last = (last + 1, LAST_YEAR) if first == FIRST_YEAR else (FIRST_YEAR, first - 1)
    return Constraint("era", f"{first}-{last}"), start, end


def _corrections(text: str, genres: Collection[str]) -> Iterator[Correction]:
    """Yield what a text, as `_plain` leaves it, says of earlier requirements."""
    for pattern, what in _CORRECTIONS:
        match = pattern.search(text if "forgets" in what else negation_in(text).bare)
        # "like ____, but darker" compares with a title
        if match and ("forgets" in what or "__" not in text):
            refuses = [genre for genre in what.get("refuses", ()) if genre in genres]
            yield Correction(match.group(), **{**what, "refuses": refuses})


def _plain(text: str, lexicon: Lexicon) -> tuple[str, list[int]]:
    """Return a text without slips and asides ("eighties music"), and its origin, as `spelled`."""
    plain, origin = spelled(text.replace("’", "'"))
    for match in lexicon.asides.finditer(plain):
        start, end = match.span(match.lastindex or 0)
        plain = plain[:start] + "#" * (end - start) + plain[end:]
    return plain, origin


def _creators(text: str, names: Mapping[str, str]) -> Iterator[Name]:
    """Yield the creators named after "by", "from" and the like, the longest name first."""
    for match in _READ["by"].finditer(text) if names else ():
        start = match.end()
        ends = [m.end() for m in _READ["name"].finditer(text, start)][:_LONGEST_NAME]
        tries = (text[start:end].rstrip(".") for end in reversed(ends))
        whole = next((said for said in tries if said.lower() in names), None)
        if whole is not None:
            yield Constraint("creator", names[whole.lower()]), start, start + len(whole)


_RIGHT, _ENGLISH = (words("spelling")[kind].split() for kind in ("words", "english"))
_SLIPS = words("spelling")["slips"]
_LEAST = 0.79  # similarity: one slip in five letters, two in ten
_WORD = re.compile(r"[a-z]{4,}", re.I)


@lru_cache(maxsize=1 << 14)
def corrected(word: str) -> str:
    """Return the word that a misspelled one stands for, in lower case; itself if there is none."""
    if word in _ENGLISH or word in _SLIPS:
        return _SLIPS.get(word, word)
    known = [right for right in _RIGHT if right[0] == word[0]]  # it is rarely wrong
    near = process.extractOne(word, known, scorer=OSA.normalized_similarity, score_cutoff=_LEAST)
    return near[0] if near else word


def spelled(text: str) -> tuple[str, list[int]]:
    """Return a text with its misspelled words corrected, and where its characters come from.

    The second value holds the place in ``text`` of every character and of the end.
    """
    plain, origin, at = "", list[int](), 0
    for match in _WORD.finditer(text):
        (start, end), said = match.span(), match.group()
        right = said if start and said[0].isupper() else corrected(said.lower())
        if right != said.lower():
            plain += text[at:start] + right
            origin += range(at, start)
            origin += [start + min(i, len(said) - 1) for i in range(len(right))]
            at = end
    return plain + text[at:], [*origin, *range(at, len(text) + 1)]
