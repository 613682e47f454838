"""Negation and its scope: whether words ask for what they name, refuse it, or take it back.

A cue ("not", "sick of") holds for the names after it up to the end of its clause, a contrast
("but", "rather") or a comma that continues no list ("no horror, war or westerns"); a refusal may
also follow the name ("horror? no thanks"). Idioms that only look like one ("can't get enough of",
"not only") refuse nothing. All of them are in ``words/negation.toml``; add yours there.
"""

import re
import tomllib
from functools import cache, lru_cache
from pathlib import Path
from typing import Any, Literal

Polarity = Literal["asked", "refused", "withdrawn"]
_FOLDER = Path(__file__).parent / "words"


@cache
def words(name: str) -> dict[str, Any]:
    """Return a file of words: of one kind of item, such as "films", or of "any", "negation" ..."""
    return tomllib.loads((_FOLDER / f"{name}.toml").read_text("utf-8"))


_CUES = ("idioms", "answers", "withdrawals", "negation", "near", "ends")
_SHORTEST_CLAUSE = 3  # letters
_REACH = {"negation": 8, "near": 2, "withdrawals": 3}  # words from a cue to a name

_WORDS = {
    kind: "|".join(line for line in lines.splitlines() if line and line[0] != "#")
    for kind, lines in words("negation").items()
}
_SAID = {
    kind: lines.replace("NOT", f"(?:{_WORDS['denials']})").replace("START", _WORDS["starts"])
    for kind, lines in _WORDS.items()
}
_ITEM = rf"(?>(?:(?!(?:n?or|and|{_SAID['starts']})\b)[\w'-]++\s*){{1,3}})"
# a comma between things refused: the list ends with "or", or with "and" and the clause
_LIST = rf"\s*(?:{_ITEM},\s*){{0,4}}(?:{_ITEM},?\s*)??(?:n?or\s+{_ITEM}|and\s+{_ITEM}(?=[,.;!?]|$))"
_STOP = rf"[.;:?!…()\n]|\s[-–—]+\s|[–—]|,(?!{_LIST})"
_CUE = re.compile(
    "|".join(rf"(?P<{kind}>(?<![\w'])(?:{_SAID[kind]})(?![\w']))" for kind in _CUES)
    + rf"|(?P<stops>{_STOP})",
    re.I,
)
# what is said after a name, where the clause up to it is as it must be
_AFTER = [
    (kind, re.compile(rf"{names}(?:{_SAID[kind]})", re.I), re.compile(clause, re.I))
    for kind, names, clause in (
        ("retracted", _SAID["noun"], ""),
        ("after", _SAID["noun"], ""),
        ("replies", _SAID["noun"], _SAID["few"]),
        *((kind, _SAID["several"], _SAID["first"]) for kind in ("after", "replies")),
    )
]
_PREFERRED = re.compile(_SAID["preferred"], re.I)


class Negation:
    """The cues of one text (straight apostrophes); ``bare`` is the text with idioms blanked."""

    def __init__(self, text: str):
        # "prefer a comedy to a drama" refuses what follows
        text = _PREFERRED.sub(lambda match: f"{match[1]}no".ljust(len(match[0])), text)
        self._text, self._cues, self.bare = text, [*_CUE.finditer(text)], text
        for cue in self._cues:
            if cue.lastgroup == "idioms":
                self.bare = self.bare[: cue.start()] + "_" * len(cue[0]) + self.bare[cue.end() :]

    def of(self, start: int, end: int) -> tuple[Polarity, int, int]:
        """Return what becomes of the name from start to end, and the place of what says so."""
        before = [cue for cue in self._cues if cue.start() < start and cue.end() < end]
        kind = before[-1].lastgroup or "" if before else ""
        said: Polarity = "asked"
        if kind in _REACH and len(self._text[before[-1].end() : start].split()) < _REACH[kind]:
            said = "withdrawn" if kind == "withdrawals" else "refused"
            start = before[-1].start()
        for kind, pattern, clause in _AFTER:
            if clause.search(self._text[:start]) and (after := pattern.match(self.bare, end)):
                what: Polarity = "withdrawn" if kind == "retracted" else "refused"
                return what if said == "asked" else said, start, after.end()
        return said, start, end


negation_in = lru_cache(maxsize=64)(Negation)  # the cues of a text, looked through once


def clauses(text: str) -> list[tuple[int, int]]:
    """Return where the clauses of a text begin and end: cut at stops, contrasts and refusals."""
    cuts, start = [], 0
    for cue in negation_in(text.replace("’", "'"))._cues:
        if cue.lastgroup in ("stops", "ends", "negation", "near"):
            cuts.append((start, cue.start()))
            start = cue.end() if cue.lastgroup == "stops" else cue.start()
    spans = [*cuts, (start, len(text))]
    return [(a, b) for a, b in spans if sum(map(str.isalpha, text[a:b])) >= _SHORTEST_CLAUSE]
