"""Negation and its scope: whether words ask for what they name, refuse it, or take it back.

A cue ("not", "sick of") holds for the names after it up to the end of its clause, a contrast
("but", "rather") or a comma that continues no list ("no horror, war or westerns"); a refusal may
also follow the name ("horror? no thanks"). Idioms that only look like one ("can't get enough of",
"not only") refuse nothing. All of them are in ``words/negation.toml``; add yours there.
"""

import re
import tomllib
from functools import lru_cache
from pathlib import Path
from typing import Literal

Polarity = Literal["asked", "refused", "withdrawn"]
FOLDER = Path(__file__).parent / "words"
_CUES = ("idioms", "answers", "withdrawals", "negation", "near", "ends")
_REACH = {"negation": 8, "near": 2, "withdrawals": 3}  # words from a cue to a name

_WORDS = {
    kind: "|".join(line for line in lines.splitlines() if line and line[0] != "#")
    for kind, lines in tomllib.loads((FOLDER / "negation.toml").read_text("utf-8")).items()
}
_SAID = {
    kind: words.replace("NOT", f"(?:{_WORDS['denials']})").replace("START", _WORDS["starts"])
    for kind, words in _WORDS.items()
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
_NOUN = r"(?:[ -](?:films?|movies?|games?|albums?|stuff|things?|ones?|genre|music)\b)?"
_OTHERS = r"(?:(?:,\s*[\w'-]+)*,?\s+(?:and|or)\s+[\w'-]+)?"
_FIRST = r"(?:^|[.;:!?,])\s*(?:(?:the|all|any|both)\s+)?$"
# what is said after a name, where the clause up to it is as it must be
_AFTER = [
    (kind, re.compile(rf"{_NOUN}{others}(?:{_SAID[kind]})", re.I), re.compile(clause, re.I))
    for kind, others, clause in (
        ("retracted", "", ""),
        ("after", "", ""),
        ("replies", "", r"(?:^|[.;:!?,–—])\s*(?:[\w'-]+\s+){0,3}$"),
        *((kind, _OTHERS + _NOUN, _FIRST) for kind in ("after", "replies")),
    )
]
_PREFERRED = re.compile(
    r"(\b(?:prefer|(?:take|choose|pick|favou?r|want)(?=[^.;!?]* over))(?:\s+[\w'-]+){1,4}?\s+)"
    r"(?:to|over)\b(?:\s+an?\b)?",
    re.I,
)


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


negation_in = lru_cache(maxsize=64)(Negation)
"""The cues of a text; the same text is looked through once."""
