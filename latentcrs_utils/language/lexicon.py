"""A regex lexicon: the strong, plain competitor of every learned reading of a request.

It knows every genre by name, by inflection and by the near-synonyms of a dictionary (funny,
scary, cartoon, cowboy), decades and years in digits and in words, parts of the nineties,
"recent", and negation within a few words. It does *not* resolve film titles: "like Toy Story"
tells it nothing, and a title that holds a genre word ("Scary Movie") misleads it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

import polars as pl

from .conditions import ERAS
from .utterances import Utterances
from .wording import DECADE_WORDS

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
_GENRES = {g: re.compile(rf"\b(?:{words})(?![\w'])", re.I) for g, words in GENRE_WORDS.items()}
_DENIED = re.compile(rf"\b(?:{_NEGATION})\b(?:[\s,]+(?!but\b)[\w'’-]+){{0,{_REACH}}}[\s-]*$", re.I)
_DECADE = re.compile(
    rf"(?P<part>\b(?:early|mid|middle|late)[ -](?:of the )?)?(?:the )?"
    rf"(?:\b(?:19)?(?P<digit>[2-9])0'?s\b|'(?P<short>[2-9])0s\b|\b(?P<word>{'|'.join(_WORD_TO_DECADE)})\b)",
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
    """

    genres: frozenset[str]
    not_genres: frozenset[str]
    years: tuple[tuple[int, int], ...]
    conditions: tuple[str, ...]

    def __bool__(self) -> bool:
        return bool(self.conditions)


def _clause(text: str, start: int) -> str:
    """Return the words before ``start`` in the same clause (up to . ; : ? ! or "but")."""
    return re.split(r"[.;:?!]|\bbut\b(?<!anything but)", text[:start], flags=re.I)[-1]


def _times(text: str) -> list[tuple[str, tuple[int, int]]]:
    """Return every time named in ``text`` as (condition, span of years)."""
    found: list[tuple[str, tuple[int, int]]] = []
    for match in _DECADE.finditer(text):
        if _DENIED.search(_clause(text, match.start())):
            continue
        digit = match["digit"] or match["short"]
        decade = 1900 + 10 * int(digit) if digit else _WORD_TO_DECADE[match["word"].lower()]
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


def extract(text: str) -> Requirements:
    """Return the genres, refused genres and times that ``text`` names.

    A genre that is named both ways counts as the last mention says.
    """
    text = text.replace("’", "'")
    wanted: dict[str, bool] = {}
    for genre, pattern in _GENRES.items():
        for match in pattern.finditer(text):
            wanted[genre] = not _DENIED.search(_clause(text, match.start()))
    genres = frozenset(genre for genre, asked in wanted.items() if asked)
    refused = frozenset(wanted) - genres
    times = _times(text)
    conditions = {f"genre={genre}" for genre in genres} | {
        f"not genre={genre}" for genre in refused
    }
    conditions |= {condition for condition, _ in times}
    spans = tuple(sorted({span for _, span in times}))
    return Requirements(genres, refused, spans, tuple(sorted(conditions)))


def _sayable(conditions: Iterable[str]) -> set[str]:
    """Keep what a lexicon could find: genres, refusals, times; not moods or likenesses."""
    return {c for c in conditions if c.startswith(("genre=", "not genre=", "decade=", "era="))}


def lexicon_report(
    utterances: Utterances, *, by: Iterable[str] = ("level", "phrasing")
) -> pl.DataFrame:
    """Compare what the lexicon extracts with the truth that the simulator recorded.

    Args:
        utterances: the rows to read.
        by: columns to group by.

    Returns:
        One row a group: utterances, ``found`` (share of texts with any extraction), micro
        ``precision`` and ``recall`` of the conditions on genre, refused genre and time (null where
        nothing was extracted, or nothing was to be found).
    """
    by = list(by)
    extracted = {text: set(extract(text).conditions) for text in set(utterances.texts)}
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
