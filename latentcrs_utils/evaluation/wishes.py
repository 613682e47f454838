"""A list of wishes whose truth a machine can check, whoever answers them."""

import tomllib
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from latentcrs_utils.constraints.constraint import Constraint, matcher_for
from latentcrs_utils.constraints.vocabulary import vocabulary_for
from latentcrs_utils.conversation.turn import Turn
from latentcrs_utils.data.sequences import Dataset
from latentcrs_utils.data.source import damaged
from latentcrs_utils.errors import DataError
from latentcrs_utils.simulation.items import Item


@dataclass(frozen=True)
class Wish:
    """Messages, and what must be true of the last answer: see the head of ``data/wishes.toml``."""

    name: str
    kind: str
    messages: tuple[str, ...]
    genres_any: tuple[str, ...] = ()
    genres_all: tuple[str, ...] = ()
    genres_none: tuple[str, ...] = ()
    years: tuple[int, ...] = ()
    mood: str = ""
    like: str = ""
    title: str = ""
    answer: bool = False
    says: tuple[str, ...] = ()

    @property
    def about_items(self) -> bool:
        """Whether it says what must be true of items."""
        genres = self.genres_any + self.genres_all + self.genres_none
        return any((genres, self.years, self.mood, self.like, self.title))


@dataclass(frozen=True)
class WishScore:
    """How an answer meets a wish; None where the wish asks nothing of the kind.

    ``satisfied`` is the share of the offered items that are `as_wished`, 0 if there are none, and
    whether the first one is where a title is asked for;
    ``answered`` whether no items came; ``admitted`` whether the reply says what it must.
    """

    satisfied: float | None = None
    answered: bool | None = None
    admitted: bool | None = None


def read_wishes(file: Path, data: Dataset) -> list[Wish]:
    """Return the wishes of a file; one that the data's catalogue cannot judge is a `DataError`."""
    types = {field.name: type(getattr(Wish, field.name, "")) for field in fields(Wish)}
    types["messages"], wishes = tuple, []
    try:
        entries = [dict(entry) for entry in tomllib.loads(file.read_text("utf-8"))["wish"]]
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise damaged(file, f"holds no readable [[wish]] ({error})") from error
    for number, entry in enumerate(entries, 1):
        given: dict[str, Any] = {k: tuple(v) if type(v) is list else v for k, v in entry.items()}
        wrong = [k for k, v in given.items() if type(v) is not types.get(k)]
        parts = [(k, v) for k, vs in given.items() if type(vs) is tuple for v in vs]
        wrong += [k for k, v in parts if type(v) is not (int if k == "years" else str) or v == ""]
        wrong += [k for k in ("name", "kind", "messages") if not given.get(k)]
        fault = f"{wrong[0]!r} is missing, unknown or of the wrong type" if wrong else ""
        if fault := fault or _fault(Wish(**given), data):
            name = given.get("name", "no name")
            raise DataError(f"Wish {number} ({name}) of {file.name}: {fault}.")
        wishes.append(Wish(**given))
    return wishes


def _fault(wish: Wish, data: Dataset) -> str:
    """Say what is wrong with the truth of a wish, nothing if all is well."""
    items = matcher_for(data).catalogue.items[1:]
    known = frozenset[str]().union(*(item.genres for item in items))
    if absent := {*wish.genres_any, *wish.genres_all, *wish.genres_none} - known:
        return f"{data.name} has no genre {min(absent)!r}"
    if unknown := [t for t in (wish.like, wish.title) if t and not _items_called(t, data)]:
        return f"{data.name} has no film {unknown[0]!r}"
    try:
        _ = wish.mood and items[0].suits(wish.mood)
    except DataError as error:
        return str(error).rstrip(".")
    if wish.years and not (len(wish.years) == 2 and 0 <= wish.years[0] <= wish.years[1]):
        return "'years' must be a first and a last year"
    if wish.answer and wish.about_items:
        return "an answer without films cannot have a truth about films"
    if not as_wished(wish, data):
        return f"{data.name} has no such film"
    checked = wish.answer or wish.says or wish.about_items
    return "" if checked else "it says nothing that can be checked"


def _items_called(title: str, data: Dataset) -> list[int]:
    """Return the items that a title in quotation marks means."""
    return [i for found in vocabulary_for(data).titles.find(f"“{title}”") for i in found.items]


def as_wished(wish: Wish, data: Dataset) -> frozenset[int]:
    """The items of a catalogue that a wish is for; all of them if it is for none in particular."""
    items = matcher_for(data).catalogue.items
    if wish.title:
        return frozenset(_items_called(wish.title, data))
    some, must = {*wish.genres_any}, [Constraint("genre", genre) for genre in wish.genres_all]
    must += [Constraint("genre", genre, negated=True) for genre in wish.genres_none]
    must += [Constraint("era", "{}-{}".format(*wish.years))] if wish.years else []
    must += [Constraint("mood", wish.mood)] if wish.mood else []
    models = _items_called(wish.like, data) if wish.like else []

    def true(item: Item) -> bool:
        shared = (2 * len(item.genres & items[m].genres) >= len(items[m].genres) for m in models)
        return (
            all(constraint.satisfies(item) for constraint in must)
            and bool(not some or some & item.genres)
            and (not models or (any(shared) and item.item not in models))
        )

    return frozenset(item.item for item in items[1:] if true(item))


def score(turn: Turn, wish: Wish, data: Dataset) -> WishScore:
    """Judge the answer to the last message of a wish by the catalogue of `data`."""
    offered = [item.item for item in turn.items[: 1 if wish.title else None]]
    said = f"{turn.reply} {turn.note}".casefold()
    admitted = all(words.casefold() in said for words in wish.says) if wish.says else None
    if not wish.about_items:
        return WishScore(None, not offered if wish.answer else None, admitted)
    true = as_wished(wish, data).intersection(offered)
    return WishScore(len(true) / max(len(offered), 1), None, admitted)
