"""A regex lexicon: the strong, plain competitor of every learned reading of a request.

It knows every genre by name, by inflection and by the near-synonyms of a dictionary (funny,
scary, cartoon, cowboy), decades and years in digits and in words, parts of the nineties,
"recent", and negation within a few words. Of a shop's catalogue it knows platforms ("PS4"), sums of
money ("under $20") and the creators by name as well. It does *not* resolve titles: "like Toy
Story" tells it nothing, and a title that holds a genre word ("Scary Movie") misleads it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cache

import polars as pl

from ..data import Dataset
from . import shop_lexicon
from .conditions import ERAS, films
from .utterances import Utterances
from .wording import DECADE_WORDS, Domain, domain_of

GENRE_WORDS: dict[str, str] = {
    "Action": r"actions?|action-?packed|martial[ -]arts|kung[ -]?fu|shoot-?[' ]?em-?[ -]?ups?",
    "Adventure": r"adventur\w*|swashbuckl\w*",
    "Animation": r"animat\w*|anime|cartoon\w*|toons?|cgi|disney|pixar",
    "Children's": r"child|childish|children'?s?|childrens|kids?'?|kid'?s|kiddies?|family|families"
    r"|family-friendly|all[ -]ages",
    "Comedy": r"comed\w+|comics?|comical\w*|funn\w+|humou?r\w*|hilari\w*|laugh\w*|jokes?|joking"
    r"|gags?|slapstick|spoof\w*|parod\w+|satir\w+|farc\w+|rom-?coms?|romantic comed\w+",
    "Crime": r"crimes?|criminal\w*|gangsters?|mafia|mafios\w+|mobs?|mobsters?|heists?|cartels?",
    "Documentary": r"documentar\w+|docus?|docudramas?|non-?fiction|factual",
    "Drama": r"dramas?|dramatic\w*|melodrama\w*|docudramas?|tragic|traged\w+|tear-?jerk\w*",
    "Fantasy": r"fantas\w+|fairy[ -]?tales?|magic\w*|supernatural",
    "Film-Noir": r"(?:film[ -])?noirs?|hard-?boiled",
    "Horror": r"horrors?|horrif\w+|scar(?:e|es|ed|y|ier|iest|ily|ing)|frighten\w*|terrif\w*"
    r"|terror\w*|spook\w*|creep\w*|slashers?|gore|gory",
    "Musical": r"musicals?|music|sing-?along\w*|show[ -]?tunes?",
    "Mystery": r"myster\w+|whodunn?its?|detectives?|sleuth\w*",
    "Romance": r"roman(?:ce|ces|tic|tical|tically)|rom-?coms?|love[ -]stor(?:y|ies)",
    "Sci-Fi": r"sci-?[ ]?fi|scifi|science[ -]fiction|sf|futuristic|space[ -]operas?",
    "Thriller": r"thrill\w*|suspense\w*",
    "War": r"wars?|wartime|warfare|military|ww ?(?:ii|2|1)",
    "Western": r"westerns?|cowboys?|wild[ -]west|gunslingers?|spaghetti[ -]westerns?",
}
"""Genre -> alternatives, each matched as whole words, whatever the case."""

_RECENT = r"recent(?:ly)?|latest|newest|brand[ -]new|current|modern|contemporary"
_NEGATION = (
    r"no|nope|nah|not|non|never|nothing|none|neither|nor|without|avoid\w*|skip\w*|except|minus|hate"
    r"|dislike|exclud\w*|sick of|tired of|enough of|bored (?:of|with)|anything but|instead of"
    r"|rather than|less|(?:count|leave|keep) (?:me|it|us) out"
    r"|(?:do|does|did|is|are|wo|ca|should|would|have|has|had)n'?t|can'?t|cannot|don'?t"
)
_REACH = 4  # words between a negation and what it denies
_WORD_TO_DECADE = {word: decade for decade, word in DECADE_WORDS.items()}
_DENIED = re.compile(rf"\b(?:{_NEGATION})\b(?:[\s,]+(?!but\b)[\w'’-]+){{0,{_REACH}}}[\s-]*$", re.I)
_DECADE = re.compile(
    rf"(?P<part>\b(?:early|mid|middle|late)[ -](?:of the )?)?(?:the )?"
    rf"(?:\b(?P<full>20[0-2]0)'?s\b|\b(?P<noughties>00'?s)\b"
    rf"|\b(?:19)?(?P<digit>[2-9])0'?s\b|'(?P<short>[2-9])0s\b|\b(?P<word>{'|'.join(_WORD_TO_DECADE)})\b)",
    re.I,
)
_YEARS = re.compile(r"\b(19[2-9]\d)\b(?:\s*(?:-|–|to|and|until|till)\s*(19[2-9]\d)\b)?(?!'?s)")
_PARTS = {"early": "1990-1993", "mid": "1994-1995", "middle": "1994-1995", "late": "1996-1998"}


@dataclass(frozen=True)
class Requirements:
    """What the lexicon finds in a text.

    Attributes:
        genres: genres asked for.
        not_genres: genres refused.
        years: spans of years asked for, both ends included; a film must lie in one of them.
        conditions: the same in the simulator's notation, sorted.
        platforms: platforms asked for (shops only).
        creators: publishers, brands or artists asked for (shops only).
        below: the price must be less than so many dollars; None: any (shops only).
    """

    genres: frozenset[str]
    not_genres: frozenset[str]
    years: tuple[tuple[int, int], ...]
    conditions: tuple[str, ...]
    platforms: frozenset[str] = frozenset()
    creators: frozenset[str] = frozenset()
    below: float | None = None

    def __bool__(self) -> bool:
        return bool(self.conditions)


def _compiled(words: Mapping[str, str]) -> dict[str, re.Pattern[str]]:
    """Compile alternatives to patterns that match whole words, whatever the case."""
    return {
        name: re.compile(rf"(?<!\w)(?:{alternatives})(?![\w'])", re.I)
        for name, alternatives in words.items()
    }


@dataclass(frozen=True, eq=False)
class Lexicon:
    """The words of one kind of catalogue.

    Attributes:
        genres: name -> pattern.
        platforms: name -> pattern.
        creators: lower-case name, of two letters or more -> name.
        of_shop: prices count; so does only the longest of several genres at one place ("classic
            rock" is not "rock"); the nineties have no parts.
    """

    genres: Mapping[str, re.Pattern[str]]
    platforms: Mapping[str, re.Pattern[str]] = field(default_factory=dict)
    creators: Mapping[str, str] = field(default_factory=dict)
    of_shop: bool = False


FILM_LEXICON = Lexicon(_compiled(GENRE_WORDS))


@cache
def lexicon_of(domain: Domain) -> Lexicon:
    """Return the lexicon of a kind of item, whatever the catalogue."""
    if domain == "films":
        return FILM_LEXICON
    if domain == "games":
        platforms = _compiled(shop_lexicon.PLATFORM_WORDS)
        return Lexicon(_compiled(shop_lexicon.GAME_GENRE_WORDS), platforms, of_shop=True)
    return Lexicon(_compiled(shop_lexicon.ALBUM_GENRE_WORDS), of_shop=True)


def lexicon_for(data: Dataset) -> Lexicon:
    """Return the lexicon for a data set.

    That of its domain; for a shop's catalogue also the names of its other genres and platforms and
    of its creators.
    """
    lexicon = lexicon_of(domain_of(data.name))
    if not lexicon.of_shop:
        return lexicon
    items = films(data)
    genres = sorted(set().union(*(film.genres for film in items)) - set(lexicon.genres))
    platforms = {film.platform for film in items if film.platform} - set(lexicon.platforms)
    creators = sorted({film.creator for film in items if film.creator})
    return replace(
        lexicon,
        genres={**lexicon.genres, **_compiled({name: re.escape(name) for name in genres})},
        platforms={**lexicon.platforms, **_compiled({n: re.escape(n) for n in sorted(platforms)})},
        creators={name.lower(): name for name in creators if len(name) > 1},
    )


def _clause(text: str, start: int) -> str:
    """Return the words before ``start`` in the same clause (up to . ; : ? ! or "but")."""
    return re.split(r"[.;:?!]|\bbut\b(?<!anything but)", text[:start], flags=re.I)[-1]


def _decade(match: re.Match[str]) -> int:
    """Return the first year of the decade that a match of `_DECADE` names."""
    if match["full"] or match["noughties"]:
        return int(match["full"] or 2000)
    digit = match["digit"] or match["short"]
    return 1900 + 10 * int(digit) if digit else _WORD_TO_DECADE[match["word"].lower()]


def _times(text: str) -> list[tuple[str, tuple[int, int]]]:
    """Return every time named in ``text`` as (condition, span of years)."""
    found: list[tuple[str, tuple[int, int]]] = []
    for match in _DECADE.finditer(text):
        if _DENIED.search(_clause(text, match.start())):
            continue
        decade = _decade(match)
        part = (match["part"] or "").split(" ")[0].split("-")[0].lower()
        if part and decade == 1990:
            found.append((f"era={_PARTS[part]}", ERAS[_PARTS[part]]))
        else:
            found.append((f"decade={decade}", (decade, decade + 9)))
    for match in _YEARS.finditer(text):
        first, last = int(match[1]), int(match[2] or match[1])
        found.append((f"era={first}-{last}", (first, last)))
    if re.search(rf"\b(?:{_RECENT})\b", text, re.I):
        found.append(("era=1996-1998", ERAS["1996-1998"]))
    return found


def _asked(text: str, patterns: Mapping[str, re.Pattern[str]], *, longest: bool) -> dict[str, bool]:
    """Return the names that stand in ``text``: True if asked for, False if refused."""
    matches = [(name, match) for name, p in patterns.items() for match in p.finditer(text)]
    if longest:
        spans = {match.span() for _, match in matches}
        inner = {(a, b) for a, b in spans for c, d in spans if c <= a and b <= d and d - c > b - a}
        matches = [(name, match) for name, match in matches if match.span() not in inner]
    return {
        name: not _DENIED.search(_clause(text, match.start()))
        for name, match in sorted(matches, key=lambda found: found[1].start())
    }


_WORDS = re.compile(r"[^\s,;:?!]+")
_BY = re.compile(r"\b(?:by|from|with|of|like)\s+(?:the great )?", re.I)
_LONGEST_NAME = 6


def _creators(text: str, names: Mapping[str, str]) -> set[str]:
    """Return the creators named behind "by", "from" and the like, the longest name first."""
    found = set()
    for match in _BY.finditer(text) if names else ():
        words = [m.end() for m in _WORDS.finditer(text, match.end())][:_LONGEST_NAME]
        tries = (text[match.end() : end].rstrip(".").lower() for end in reversed(words))
        whole = next((name for name in tries if name in names), None)
        found |= {names[whole]} if whole else set()
    return found


_PRICE = re.compile(shop_lexicon.PRICE, re.I)


def extract(text: str, lexicon: Lexicon = FILM_LEXICON) -> Requirements:
    """Return the genres, refused genres and times that ``text`` names.

    A genre that is named both ways counts as the last mention says. With the lexicon of a shop's
    catalogue (:func:`lexicon_for`), also platforms, creators and the highest price.
    """
    text = text.replace("’", "'")
    wanted = _asked(text, lexicon.genres, longest=lexicon.of_shop)
    genres = frozenset(genre for genre, asked in wanted.items() if asked)
    refused = frozenset(wanted) - genres
    times = _times(text)
    if lexicon.of_shop:
        times = [(c, span) for c, span in times if c.startswith("decade=")]
    platforms = _asked(text, lexicon.platforms, longest=True)
    creators = _creators(text, lexicon.creators)
    sums = [int(m["sign"] or m["word"]) for m in _PRICE.finditer(text) if lexicon.of_shop]
    conditions = {f"genre={genre}" for genre in genres} | {
        f"not genre={genre}" for genre in refused
    }
    conditions |= {condition for condition, _ in times}
    conditions |= {f"platform={name}" for name, asked in platforms.items() if asked}
    conditions |= {f"creator={name}" for name in creators}
    conditions |= {f"price={min(sums)}"} if sums else set()
    return Requirements(
        genres, refused, tuple(sorted({span for _, span in times})), tuple(sorted(conditions)),
        frozenset(name for name, asked in platforms.items() if asked), frozenset(creators),
        float(min(sums)) if sums else None,
    )  # fmt: skip


def _sayable(conditions: Iterable[str]) -> set[str]:
    """Keep what a lexicon could find: genres, times, facts; not moods or likenesses."""
    kinds = ("genre=", "not genre=", "decade=", "era=", "platform=", "creator=", "price=")
    return {c for c in conditions if c.startswith(kinds)}


def lexicon_report(
    utterances: Utterances,
    *,
    by: Iterable[str] = ("level", "phrasing"),
    lexicon: Lexicon = FILM_LEXICON,
) -> pl.DataFrame:
    """Compare what the lexicon extracts with the truth that the simulator recorded.

    Args:
        utterances: the rows to read.
        by: columns to group by.
        lexicon: what it knows; :func:`lexicon_for` a data set.

    Returns:
        One row a group: utterances, ``found`` (share of texts with any extraction), micro
        ``precision`` and ``recall`` of the conditions on genre, refused genre and time (null where
        nothing was extracted, or nothing was to be found).
    """
    by = list(by)
    extracted = {text: set(extract(text, lexicon).conditions) for text in set(utterances.texts)}
    counts = [
        {
            "n_true": len(truth := _sayable(row["conditions"])),
            "n_found": len(found := extracted[row["text"]]),
            "n_hit": len(truth & found),
        }
        for row in utterances.frame.select("text", "conditions").iter_rows(named=True)
    ]
    table = pl.concat([utterances.frame.select(by), pl.DataFrame(counts)], how="horizontal")
    n_hit, n_found, n_true = (pl.col(name).sum() for name in ("n_hit", "n_found", "n_true"))
    return table.group_by(by, maintain_order=True).agg(
        pl.len().alias("utterances"),
        (pl.col("n_found") > 0).mean().alias("found"),
        pl.when(n_found > 0).then(n_hit / n_found).alias("precision"),
        pl.when(n_true > 0).then(n_hit / n_true).alias("recall"),
    )
