"""What a user may ask of an item, as a value, and whether an item satisfies it (Section 4.3).

A constraint is written ``slot=value``, in logs, tables and JSON files too: ``genre=Comedy``,
``not genre=Horror``, ``decade=1980``, ``era=1996-1998`` (a span of years), ``mood=light``,
``creator=Nintendo``, ``platform=PlayStation 4``, ``price=20`` (less than 20 dollars); and, with
the id of an item of the user's own history, ``like=12``, ``older=12`` and the other `RELATIONS`,
and ``liked=12`` for an item that has nothing in common with the target.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import Any, Literal, Self

import numpy as np

from latentcrs_utils.constraints.negation import words
from latentcrs_utils.data.sequences import Dataset
from latentcrs_utils.errors import DataError
from latentcrs_utils.simulation.items import RELATIONS, Catalogue, Item, shares_attribute
from latentcrs_utils.simulation.phrase_book import ERA_PARTS, years_of

Source = Literal["lexicon", "model", "classifier", "both"]
Attribute = Literal["genre", "years", "platform", "creator", "price"]
ATTRIBUTES: dict[str, Attribute] = {
    "genre": "genre", "decade": "years", "era": "years", "platform": "platform",
    "creator": "creator", "price": "price",
}  # fmt: skip
"""Slot -> attribute of an item that a filter can hold it to; the other slots are not hard."""
_ONE_IS_ENOUGH: tuple[Attribute, ...] = ("years", "platform", "creator")  # of several asked for
PERSONAL = ("like", "liked", *RELATIONS)  # slots that name an item of one user's history
_SLOTS = frozenset({*ATTRIBUTES, "mood", *PERSONAL})
_LABELS = {"decade": "the {}s", "platform": "for {}", "creator": "by {}", "price": "under ${}"}
FIRST_YEAR, LAST_YEAR = 0, 9999
"""Ends of an open span: ``era=0-1979`` is before 1980, ``era=1990-9999`` is 1990 or later."""


@dataclass(frozen=True)
class Constraint:
    """One thing that a user asks of an item, or refuses; an unknown slot is a `DataError`."""

    slot: str
    value: str
    negated: bool = False

    def __post_init__(self) -> None:
        if self.slot not in _SLOTS:
            raise DataError(f"There is no constraint on {self.slot!r} (in {str(self)!r}).")

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the constraint that ``text`` writes, e.g. ``not genre=Horror``."""
        slot, _, value = text.partition("=")
        return cls(slot.removeprefix("not "), value, slot.startswith("not "))

    def __str__(self) -> str:
        return f"{'not ' if self.negated else ''}{self.slot}={self.value}"

    @property
    def opposite(self) -> Self:
        """The constraint that is true where this one is false."""
        return replace(self, negated=not self.negated)

    @property
    def item(self) -> int:
        """Id of the item that a constraint such as ``like=12`` names."""
        return int(self.value)

    @property
    def attribute(self) -> Attribute | None:
        """Which attribute of an item a filter can hold to it; None if it is not hard."""
        return ATTRIBUTES.get(self.slot)

    @property
    def years(self) -> tuple[int, int]:
        """First and last year of a decade or an era, both included."""
        if self.slot == "decade":
            return int(self.value), int(self.value) + 9
        return years_of(self.value)

    def within(self, other: "Constraint") -> bool:
        """Say whether whatever has this value has that of the other, signs aside."""
        if self.attribute == other.attribute == "years":
            return other.years[0] <= self.years[0] and self.years[1] <= other.years[1]
        return (self.slot, self.value) == (other.slot, other.value)

    @property
    def label(self) -> str:
        """Words for a hard constraint: "Comedy", "no Horror", "not the 1980s", "under $20"."""
        words = _LABELS.get(self.slot, "{}").format(self.value)
        if self.value in ERA_PARTS:
            words = f"the {ERA_PARTS[self.value]} 1990s"
        elif self.slot == "era":
            first, last = self.years
            words = str(first) if first == last else f"{first} to {last}"
            words = f"before {last + 1}" if first == FIRST_YEAR else words
            words = f"{first} or later" if last == LAST_YEAR else words
        return f"{'no' if self.slot == 'genre' else 'not'} {words}" if self.negated else words

    def satisfies(self, item: Item, items: Sequence[Item] = ()) -> bool:
        """Say whether the constraint is true of an item; the one place that decides it.

        An item without a year or a price has none of the values asked for, and so satisfies every
        refusal. ``like`` asks for a shared attribute; ``liked`` asks for nothing. Constraints that
        name an item need all ``items``, by id. An unknown mood is a `DataError`.
        """
        match self.slot:
            case "genre":
                true = self.value in item.genres
            case "decade" | "era":
                first, last = self.years
                true = item.year is not None and first <= item.year <= last
            case "creator" | "platform":
                true = getattr(item, self.slot) == self.value
            case "price":
                true = item.price is not None and item.price < float(self.value)
            case "mood":
                true = item.suits(self.value)
            case "like":
                true = shares_attribute(items[self.item], item)
            case relation:
                true = relation == "liked" or relation in item.relations_to(items[self.item])
        return true != self.negated


@dataclass(frozen=True)
class Requirement:
    """A hard constraint, the words that say so, who found it and how sure (1: literally)."""

    constraint: Constraint
    evidence: str = ""
    source: Source = "lexicon"
    probability: float = 1.0

    def __str__(self) -> str:
        return f"{self.constraint.label} (“{self.evidence}”)"


@dataclass(frozen=True)
class Correction:
    """What a message, in the words of the evidence, says of the requirements before it.

    ``forgets`` names what counts no longer: an attribute, a constraint or "all"; "opposite" turns
    all around. A ``shift`` of 1 asks for newer items than before, of -1 for older ones.
    ``refuses`` turns away from genres, if "one" of them or "some" genre was asked for, or "always".
    """

    evidence: str
    forgets: str = ""
    shift: int = 0
    refuses: Sequence[str] = ()
    when: Literal["one", "some", "always"] = "one"

    def of(self, before: "Requirements", years: Sequence[int]) -> "Requirements":
        """Return the requirements after it; if no span is required, the median of ``years`` is."""
        known, new = [r.constraint for r in before], list[Constraint]()
        if self.forgets == "opposite":
            return Requirements(tuple(replace(r, constraint=r.constraint.opposite) for r in before))
        old = [c for c in known if self.forgets in ("all", c.attribute, str(c), str(c.opposite))]
        spans = before.years or [(year, year) for year in sorted(years)[len(years) // 2 :][:1]]
        given = before.genres if self.when == "some" else before.genres.intersection(self.refuses)
        if self.shift and spans:
            old, new = before.asked("years"), [Constraint("era", self._shifted(spans))]
        elif self.refuses and (given or self.when == "always"):
            new = [Constraint("genre", genre, negated=True) for genre in self.refuses]
            old = [refusal.opposite for refusal in new]
        stays = [r for r in before if r.constraint not in (*old, *new)]
        return Requirements((*stays, *(Requirement(c, self.evidence) for c in new)))

    def _shifted(self, spans: Sequence[tuple[int, int]]) -> str:
        """Return the years after, or before, the spans; as many as they are, if "a bit" is said."""
        first, last = min(spans)[0], max(last for _, last in spans)
        length = _SHIFT if first == FIRST_YEAR or last == LAST_YEAR else last - first + 1
        slight = _SAID["slightly"].search(self.evidence)
        if self.shift > 0:
            start = min(first + _SHIFT if last == LAST_YEAR else last + 1, LAST_YEAR)
            return f"{start}-{min(start + length - 1, LAST_YEAR) if slight else LAST_YEAR}"
        end = max(last - _SHIFT if first == FIRST_YEAR else first - 1, FIRST_YEAR)
        return f"{max(end - length + 1, FIRST_YEAR) if slight else FIRST_YEAR}-{end}"


_SHIFT = 10  # years by which a span with an open end moves
_SAID = {
    name: re.compile("|".join(lines.splitlines()), re.I) for name, lines in words("changes").items()
}


@dataclass(frozen=True)
class Requirements:
    """Requirements of a text, or of a dialogue so far, in the order said; true if there are any.

    An item must meet all that is asked for, but only one of several times, platforms or creators.
    The corrections are what a text says of what was required before it.
    """

    found: tuple[Requirement, ...] = ()
    corrections: tuple[Correction, ...] = ()

    def __len__(self) -> int:
        return len(self.found)

    def __iter__(self) -> Iterator[Requirement]:
        return iter(self.found)

    @cached_property
    def constraints(self) -> tuple[Constraint, ...]:
        """What is required, sorted by the written form."""
        return tuple(sorted((r.constraint for r in self.found), key=str))

    @cached_property
    def genres(self) -> frozenset[str]:
        """Genres asked for."""
        return frozenset(c.value for c in self.asked("genre"))

    @cached_property
    def not_genres(self) -> frozenset[str]:
        """Genres refused."""
        return frozenset(c.value for c in self.refused if c.slot == "genre")

    @cached_property
    def years(self) -> tuple[tuple[int, int], ...]:
        """Spans of years asked for, both ends included."""
        return tuple(sorted({c.years for c in self.asked("years")}))

    @property
    def refused(self) -> list[Constraint]:
        """What is refused, in the order in which it was said."""
        return [r.constraint for r in self.found if r.constraint.negated]

    def asked(self, attribute: Attribute | None) -> list[Constraint]:
        """Return what is asked of one attribute, in the order in which it was said."""
        of = [r.constraint for r in self.found if r.constraint.attribute == attribute]
        return [constraint for constraint in of if not constraint.negated]

    def unmet(self, item: Item) -> list[Constraint]:
        """Return what an item lacks of the requirements, in the order in which they were said."""
        lacks = [r.constraint for r in self.found if not r.constraint.satisfies(item)]
        enough = {a for a in _ONE_IS_ENOUGH if not {*lacks}.issuperset(self.asked(a))}
        return [c for c in lacks if c.negated or c.attribute not in enough]

    def without(self, constraint: Constraint) -> Self:
        """Return the requirements less one, which the user takes back."""
        return replace(self, found=tuple(r for r in self.found if r.constraint != constraint))

    def then(self, later: "Requirements", message: str, years: Sequence[int] = ()) -> Self:
        """Return what holds after a further message, in which ``later`` was found.

        Requirements add up; later words override earlier contrary ones, also between what is asked
        for and refused. An item has one time, platform, creator and price, so a new one takes the
        place of the old, unless it follows "or" or "also". A message that says "instead",
        "actually" or the like and asks for a genre withdraws the genres asked for before, unless it
        says "also". Corrections ("older") change what was required, or the ``years`` on offer.
        """
        before = Requirements(self.found)
        for correction in later.corrections:
            # said outright
            absolute = (correction.shift and later.years) or (correction.refuses and later.refused)
            if not absolute:
                before = correction.of(before, years)
        stays = [r for r in before if not _overridden(r.constraint, before, later, message)]
        kept = {r.constraint: r for r in stays}
        for new in later:
            said = message[message.find(new.evidence) + len(new.evidence) :]
            if new.constraint.opposite in before.constraints and _SAID["allowed"].match(said):
                continue  # it is fine, not asked for
            old = kept.get(new.constraint)
            both = old is not None and old.source != new.source
            kept[new.constraint] = replace(new, source="both") if both else new
        found = tuple(kept.values())
        return replace(self, found=narrowed(found) if any(map(_restricts, later)) else found)


def _overridden(old: Constraint, known: Requirements, later: Requirements, message: str) -> bool:
    """Say whether an earlier constraint, one of the known ones, ends with a message."""
    new = [r for r in later if r.constraint in later.asked(old.attribute)]
    contrary = [c for c in later.constraints if c.negated != old.negated]
    if any(old.within(c) if c.negated else c.within(old) for c in contrary):
        return True
    if old.negated:
        return False
    if old.attribute == "years" and new and _restricts(new[0]):
        (first, last), (start, end) = old.years, new[0].constraint.years
        return first > end or last < start
    if old.attribute != "genre":
        return bool(new) and (old.attribute == "price" or not _adds(new[0], message))
    asks_anew, text = any(not _adds(r, message) for r in new), message.replace("’", "'")
    repeats = any(r.constraint in known.constraints for r in new)
    return asks_anew and bool(
        _SAID["changed"].search(text) or (not repeats and _SAID["corrected"].search(text))
    )


def _adds(new: Requirement, message: str) -> bool:
    """Say whether a requirement follows "or" or "also"."""
    before, found, _ = message.partition(new.evidence) if new.evidence else ("", "", "")
    return bool(found and _SAID["also"].search(before))


def _restricts(new: Requirement) -> bool:
    """Say whether a requirement is a time as "nothing after 1995" asks for it."""
    asked = new.constraint.attribute == "years" and not new.constraint.negated
    return asked and bool(_SAID["restricted"].match(new.evidence))


def narrowed(found: tuple[Requirement, ...]) -> tuple[Requirement, ...]:
    """Let times with an open end narrow others: "the nineties, not after 1995" is 1990 to 1995."""
    asked = Requirements(found).asked("years")
    times = {r: r.constraint.years for r in found if r.constraint in asked}
    opened = [r for r, (a, b) in times.items() if a == FIRST_YEAR or b == LAST_YEAR]
    first, last = (f(times[r][i] for r in opened) if opened else 0 for i, f in ((0, max), (1, min)))
    inner = [r for r in times if r not in opened] or opened[-1:]
    spans = {r: (max(first, times[r][0]), min(last, times[r][1])) for r in inner}
    new = [replace(r, constraint=Constraint("era", f"{a}-{b}"))
           for r, (a, b) in spans.items() if a <= b]  # fmt: skip
    changes = opened and len(times) > 1 and new
    return (*(r for r in found if r not in times), *new) if changes else found


def combined(lexicon: Requirements, model: Requirements) -> Requirements:
    """Return what two readers found; where they differ, the lexicon prevails: it is literal."""
    found = {requirement.constraint: requirement for requirement in lexicon}
    times = {r.constraint.attribute for r in lexicon} & {"years"}
    for new in model:
        if new.constraint in found:
            found[new.constraint] = replace(found[new.constraint], source="both")
        elif new.constraint.opposite in lexicon.constraints:
            continue
        # an item has one time: what a classifier takes for another contradicts it
        elif new.source != "classifier" or not ({new.constraint.attribute} & times):
            found[new.constraint] = new
    return replace(lexicon, found=tuple(found.values()))


_COLUMN = {"genre": "genres", "decade": "year", "era": "year"}


class Matcher:
    """Answers for all items of a catalogue at once, and computes every answer once.

    ``items`` is true except for padding, bool [V + 1]. An unknown mood is a `DataError`.
    """

    def __init__(self, catalogue: Catalogue) -> None:
        self.catalogue = catalogue
        self.items = np.arange(len(catalogue.items)) > 0
        # by column: the first item with each value, and which value every item has
        self._groups: dict[str, tuple[np.ndarray, np.ndarray]] = {}
        # years and prices come from what users type; so many masks of a large catalogue stay small
        self.satisfying = lru_cache(1_024)(self._satisfying)

    def _satisfying(self, constraint: Constraint) -> np.ndarray:
        """Return the items that satisfy a constraint, bool [V + 1]; never the padding."""
        # items that have the same value in the slot's column are looked at once
        items, slot = self.catalogue.items, constraint.slot
        column = _COLUMN.get(slot, slot if slot in ATTRIBUTES else "item")
        if column not in self._groups:
            number: dict[Any, int] = {}
            values = (getattr(item, column) for item in items)
            group = np.array([number.setdefault(value, len(number)) for value in values])
            self._groups[column] = np.unique(group, return_index=True)[1], group
        firsts, group = self._groups[column]
        true = [constraint.satisfies(items[item], items) for item in firsts]
        return self.items & np.array(true)[group]

    def all_of(self, constraints: Iterable[Constraint]) -> np.ndarray:
        """Items that satisfy every constraint, bool [V + 1]; all items if there are none."""
        return np.logical_and.reduce([self.items, *map(self.satisfying, constraints)])

    def any_of(self, constraints: Iterable[Constraint]) -> np.ndarray:
        """Items that satisfy some constraint, bool [V + 1]; all items if there are none."""
        masks = [*map(self.satisfying, constraints)]
        return np.logical_or.reduce(masks) if masks else self.items


@lru_cache(maxsize=4)
def matcher_for(data: Dataset) -> Matcher:
    """Return the matcher of a data set, one for all conversations about it."""
    return Matcher(Catalogue(data))
