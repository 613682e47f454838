"""Sequences in compressed rows (CSR) and the data set that holds them."""

import operator
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
import polars as pl

from latentcrs_utils.data.source import Statistics
from latentcrs_utils.errors import DataError

Split = Literal["train", "valid", "test"]


@dataclass(frozen=True, eq=False)
class Sequences:
    """N item sequences in one flat array; sequence i is ``flat[offsets[i]:offsets[i + 1]]``.

    ``offsets`` is int64 [N + 1] and begins with 0; ``flat`` is int32 [total], item ids 1..V, oldest
    first (0 is padding and never appears).
    """

    offsets: np.ndarray
    flat: np.ndarray

    @classmethod
    def from_lists(cls, rows: Iterable[Sequence[int]]) -> "Sequences":
        """Build from Python lists (small inputs: examples and tests)."""
        rows = list(rows)
        offsets = np.cumsum([0, *(len(row) for row in rows)], dtype=np.int64)
        return cls(offsets, np.array([item for row in rows for item in row], dtype=np.int32))

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, index: int) -> np.ndarray:
        """Return sequence ``index`` as a view of ``flat``."""
        if not -len(self) <= index < len(self):
            raise IndexError(f"sequence {index} of {len(self)}")
        index %= len(self)
        return self.flat[self.offsets[index] : self.offsets[index + 1]]

    def __iter__(self) -> Iterator[np.ndarray]:
        return (self[index] for index in range(len(self)))

    @cached_property
    def lengths(self) -> np.ndarray:
        """Number of items of each sequence, int64 [N]."""
        return np.diff(self.offsets)

    def rows(self) -> np.ndarray:
        """Return int64 [total]: the sequence that each entry of ``flat`` belongs to."""
        return np.repeat(np.arange(len(self)), self.lengths)

    def select(self, indices: Any) -> "Sequences":
        """Return the sequences ``indices`` (int [M], repeats allowed, or bool [N]) in order."""
        chosen = np.arange(len(self))[np.asarray(indices)]
        return self._cut(self.offsets[:-1][chosen], self.lengths[chosen])

    def prefixes(self, indices: Any, cuts: Any) -> "Sequences":
        """Return the first ``cuts[j]`` (0 to its length) items of sequence ``indices[j]``."""
        indices, cuts = (np.asarray(given, dtype=np.int64) for given in (indices, cuts))
        if np.any(cuts < 0) or np.any(cuts > self.lengths[indices]):
            raise DataError("A cut lies outside its sequence; cuts go from 0 to the length.")
        return self._cut(self.offsets[:-1][indices], cuts)

    def last(self, n: int | np.ndarray) -> "Sequences":
        """Return every sequence cut to its last ``n`` items, a number or one for each [N]."""
        kept = np.minimum(self.lengths, n)
        return self._cut(self.offsets[1:] - kept, kept)

    def without_last(self, n: int) -> "Sequences":
        """Return every sequence without its last ``n`` items (empty if it has no more)."""
        return self._cut(self.offsets[:-1], np.maximum(self.lengths - n, 0))

    def _cut(self, starts: np.ndarray, lengths: np.ndarray) -> "Sequences":
        """Collect ``flat[starts[i] : starts[i] + lengths[i]]`` for all i, without a Python loop."""
        offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        positions = np.arange(offsets[-1]) + np.repeat(starts - offsets[:-1], lengths)
        return Sequences(offsets, self.flat[positions])

    def pad(self, length: int) -> np.ndarray:
        """Return int64 [N, length]: the last ``length`` items, padded with 0 on the left."""
        recent = self.last(length)
        padded = np.zeros((len(self), length), dtype=np.int64)
        padded[np.arange(length) >= (length - recent.lengths)[:, None]] = recent.flat
        return padded


@dataclass(frozen=True, eq=False)
class Dataset:
    """One prepared data set.

    The columns of `items` are item (int32, 1..V), raw_item, title (str), year (int32 or null) and
    genres (list of str). Titles need not be unique. Where the files tell, there are also creator
    (brand or artist), platform (str or null), price (US dollars or null).
    """

    name: str
    items: pl.DataFrame  # sorted by item
    users: pl.DataFrame  # user (int32, 0..U-1), raw_user (str), sorted by user
    interactions: Sequences  # U, chronological, ties in the order of the file
    counts: dict[str, Any]  # what each step of the preprocessing kept
    fingerprint: str  # sha256 of interactions and items, for artifact keys

    @property
    def n_users(self) -> int:
        """U, the number of users."""
        return len(self.interactions)

    @property
    def n_items(self) -> int:
        """V, the number of items, padding not counted."""
        return len(self.items)

    @property
    def statistics(self) -> Statistics:
        """Users, items and actions."""
        return Statistics(self.n_users, self.n_items, len(self.interactions.flat))

    def __repr__(self) -> str:
        n = self.statistics
        return f"Dataset({self.name}: {n.users:,} users, {n.items:,} items, {n.actions:,} actions)"

    def histories(self, split: Split) -> Sequences:
        """Return what is known of every user, U sequences: all but the last item ("test") or two
        ("valid"; also "train", where the last of these is the target).
        """
        return self.interactions.without_last(min(2, _from_end(split)))

    def targets(self, split: Split) -> np.ndarray:
        """Return the item to predict for every user, int64 [U]: of all the last ("test"), the last
        but one ("valid"), the last but two ("train").
        """
        places = self.interactions.offsets[1:] - _from_end(split)
        return self.interactions.flat[places].astype(np.int64)

    @cached_property
    def titles(self) -> list[str]:
        """Titles by item id, length V + 1; entry 0 (padding) is empty."""
        return ["", *self.items["title"].to_list()]

    def title(self, item: int) -> str:
        """Return the title of item id ``item`` (1..V)."""
        return self.titles[self.valid_item(item)]

    def item(self, item: int) -> dict[str, Any]:
        """Return item id ``item`` as a dict: what the columns of ``items`` say of it."""
        return self.items.row(self.valid_item(item) - 1, named=True)

    def valid_item(self, item: int) -> int:
        """Return an item id as an int (``DataError`` where there is no such item)."""
        number = operator.index(item) if hasattr(item, "__index__") else 0
        if not 1 <= number <= self.n_items:
            known = f"item ids go from 1 to {self.n_items}"
            raise DataError(f"There is no item {item!r:.40} in {self.name}: {known}.")
        return number

    def user_index(self, raw_user: str | int) -> int:
        """Return the user index (0..U-1) of a provider's id, or say which exist."""
        return self._place("user", self.users["raw_user"], raw_user)

    def item_index(self, raw_item: str | int) -> int:
        """Return the item id (1..V) of a provider's id, or say which exist."""
        return self._place("item", self.items["raw_item"], raw_item) + 1

    def _place(self, kind: str, ids: pl.Series, raw: str | int) -> int:
        if (place := ids.index_of(str(raw))) is None:
            has = f"it has {len(ids):,} {kind}s with ids from {ids[0]} to {ids[-1]}, for example"
            absent = f"There is no {kind} {str(raw)[:40]!r} in {self.name} after filtering"
            raise DataError(f"{absent}: {has} {', '.join(ids[:5])}.")
        return place


def _from_end(split: str) -> int:
    """Place of a split's target, counted from the end of a sequence."""
    places = {"train": 3, "valid": 2, "test": 1}
    if split not in places:
        raise DataError(f"There is no split {split!r}: use 'train', 'valid' or 'test'.")
    return places[split]
