"""Hard requirements: what the user insists on, each with the words that say so (Section 4.3).

A requirement is one of the simulator's conditions (:mod:`.conditions`) that an item meets or does
not: a genre asked for or refused, a time, and of a shop's catalogue platform, creator and price.
Moods and likenesses are no requirements; they are left to the intents.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

from latentcrs_utils.simulation.phrasings import ERA_PARTS

Source = Literal["lexicon", "model", "both"]
Attribute = Literal["genre", "years", "platform", "creator", "price"]
ATTRIBUTES: dict[str, Attribute] = {
    "genre": "genre", "not genre": "genre", "decade": "years", "era": "years",
    "platform": "platform", "creator": "creator", "price": "price",
}  # fmt: skip
"""Kind of condition -> the attribute of an item that it is about; other kinds are not hard."""
FIRST_YEAR, LAST_YEAR = 0, 9999
"""Ends of an open span: ``era=0-1979`` is before 1980, ``era=1990-9999`` is 1990 or later."""

_ALSO = re.compile(r"\b(?:or|also)\b(?:\W+\w+){0,3}\W*$", re.I)
_CHANGED = re.compile(
    r"\b(?:instead(?! of)|actually|(?:on )?second thoughts?|chang\w+ my mind|scratch that|forget"
    r"|never ?mind|i'd rather)\b",
    re.I,
)


def is_hard(condition: str) -> bool:
    """Say whether a condition is one that a filter can hold items to."""
    return condition.partition("=")[0] in ATTRIBUTES


def hard(conditions: Iterable[str]) -> set[str]:
    """Keep the hard ones of some conditions: genres, times, facts; not moods or likenesses."""
    return {condition for condition in conditions if is_hard(condition)}


def label(condition: str) -> str:
    """Words for a hard condition: "Comedy", "no Horror", "the 1980s", "under $20"."""
    kind, _, value = condition.partition("=")
    if kind == "not genre":
        return f"no {value}"
    if kind == "decade":
        return f"the {value}s"
    if kind == "era":
        return _span_label(value)
    return {"platform": f"for {value}", "creator": f"by {value}", "price": f"under ${value}"}.get(
        kind, value
    )


def _span_label(value: str) -> str:
    if value in ERA_PARTS:
        return f"the {ERA_PARTS[value]} 1990s"
    first, last = (int(year) for year in value.split("-"))
    if first == FIRST_YEAR:
        return f"before {last + 1}"
    if last == LAST_YEAR:
        return f"{first} or later"
    return str(first) if first == last else f"{first} to {last}"


@dataclass(frozen=True)
class Requirement:
    """One hard requirement.

    Attributes:
        condition: in the simulator's notation, such as ``not genre=Horror``.
        evidence: the user's own words that say so.
        source: who found it: the lexicon, a language model, or both.
    """

    condition: str
    evidence: str = ""
    source: Source = "lexicon"

    @property
    def value(self) -> str:
        """What stands behind the equals sign."""
        return self.condition.partition("=")[2]

    @property
    def attribute(self) -> Attribute:
        """Which attribute of an item it is about."""
        return ATTRIBUTES[self.condition.partition("=")[0]]

    @property
    def refuses(self) -> bool:
        """Whether it keeps items out that have the value."""
        return self.condition.startswith("not ")

    @property
    def label(self) -> str:
        """Words for it, such as stand on a button: "Comedy", "no Horror", "the 1980s"."""
        return label(self.condition)

    @property
    def years(self) -> tuple[int, int]:
        """First and last year of a time, both included."""
        if self.condition.startswith("decade="):
            return int(self.value), int(self.value) + 9
        first, last = self.value.split("-")
        return int(first), int(last)


@dataclass(frozen=True)
class Requirements:
    """All requirements of a text, or of a dialogue so far; true if there are any.

    An item must have every genre asked for and none refused, lie in one of the spans of years, be
    for one of the platforms, by one of the creators, and below the price.

    Attributes:
        found: one a condition, in the order in which they were said.
    """

    found: tuple[Requirement, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.found)

    def __len__(self) -> int:
        return len(self.found)

    def __iter__(self) -> Iterator[Requirement]:
        return iter(self.found)

    @cached_property
    def conditions(self) -> tuple[str, ...]:
        """The requirements in the simulator's notation, sorted."""
        return tuple(sorted(requirement.condition for requirement in self.found))

    @cached_property
    def genres(self) -> frozenset[str]:
        """Genres asked for."""
        return self._values("genre")

    @cached_property
    def not_genres(self) -> frozenset[str]:
        """Genres refused."""
        return self._values("not genre")

    @cached_property
    def years(self) -> tuple[tuple[int, int], ...]:
        """Spans of years asked for, both ends included; an item must lie in one of them."""
        return tuple(sorted({r.years for r in self.found if r.attribute == "years"}))

    @cached_property
    def platforms(self) -> frozenset[str]:
        """Platforms asked for (shops only)."""
        return self._values("platform")

    @cached_property
    def creators(self) -> frozenset[str]:
        """Publishers, brands or artists asked for (shops only)."""
        return self._values("creator")

    @cached_property
    def below(self) -> float | None:
        """The price must be less than so many dollars; None: any (shops only)."""
        return min((float(value) for value in self._values("price")), default=None)

    def _values(self, kind: str) -> frozenset[str]:
        return frozenset(r.value for r in self.found if r.condition == f"{kind}={r.value}")

    def of(self, attribute: Attribute) -> tuple[Requirement, ...]:
        """Return the requirements about one attribute."""
        return tuple(r for r in self.found if r.attribute == attribute)

    def without(self, condition: str) -> Requirements:
        """Return the requirements less one, which the user takes back."""
        return Requirements(tuple(r for r in self.found if r.condition != condition))

    def then(self, later: Requirements, message: str) -> Requirements:
        """Return what holds after a further message.

        Requirements add up; later words override earlier contrary ones. A genre that was refused
        and is now asked for is asked for, and the reverse. An item has one time, platform, creator
        and price, so a new one takes the place of the old, unless it follows "or" or "also". A
        message that says "instead", "actually" or the like and asks for a genre withdraws the
        genres asked for before, unless it says "also".

        Args:
            later: what was found in the message.
            message: its words.
        """
        kept = {r.condition: r for r in self.found if not _overridden(r, later, message)}
        for new in later:
            kept[new.condition] = _together(kept.get(new.condition), new)
        return Requirements(tuple(kept.values()))


def _overridden(old: Requirement, later: Requirements, message: str) -> bool:
    """Say whether an earlier requirement ends with a message."""
    same = later.of(old.attribute)
    if old.attribute != "genre":
        adds = bool(same) and old.attribute != "price" and _adds(same[0], message)
        return bool(same) and not adds
    contrary = f"genre={old.value}" if old.refuses else f"not genre={old.value}"
    if any(new.condition == contrary for new in same):
        return True
    asks_anew = any(not new.refuses and not _adds(new, message) for new in same)
    return not old.refuses and asks_anew and bool(_CHANGED.search(message.replace("’", "'")))


def _adds(new: Requirement, message: str) -> bool:
    """Say whether a requirement stands behind "or" or "also"."""
    if not new.evidence:
        return False
    before, found, _ = message.partition(new.evidence)
    return bool(found and _ALSO.search(before))


def _together(old: Requirement | None, new: Requirement) -> Requirement:
    """One requirement said or found twice: the latest words; both sources, if they differ."""
    if old is None or old.source == new.source:
        return new
    return replace(new, source="both")


def combined(lexicon: Requirements, model: Requirements) -> Requirements:
    """Return what two readers found in one message.

    The lexicon reads names of genres and words of refusal literally, so where the two contradict
    each other about a genre it prevails.
    """
    refused_or_asked = lexicon.genres | lexicon.not_genres
    found = {requirement.condition: requirement for requirement in lexicon}
    for new in model:
        if new.condition in found:
            found[new.condition] = replace(found[new.condition], source="both")
        elif new.attribute != "genre" or new.value not in refused_or_asked:
            found[new.condition] = new
    return Requirements(tuple(found.values()))
