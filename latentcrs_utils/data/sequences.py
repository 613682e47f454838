"""Sequences in compressed rows (CSR) and the data set that holds them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
import polars as pl

from latentcrs_utils.errors import DataError

Split = Literal["train", "valid", "test"]


def _gather(flat: np.ndarray, starts: np.ndarray, lengths: np.ndarray) -> Sequences:
    """Collect ``flat[starts[i] : starts[i] + lengths[i]]`` for all i, without a Python loop."""
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    positions = np.arange(offsets[-1]) + np.repeat(starts - offsets[:-1], lengths)
    return Sequences(offsets, flat[positions])


@dataclass(frozen=True, eq=False)
class Sequences:
    """N item sequences in one flat array; sequence i is ``flat[offsets[i]:offsets[i + 1]]``.

    Attributes:
        offsets: int64 [N + 1], starting at 0.
        flat: int32 [total], item ids 1..V, oldest first (0 is padding and never appears).
    """

    offsets: np.ndarray
    flat: np.ndarray

    @classmethod
    def from_lists(cls, rows: Iterable[Sequence[int]]) -> Sequences:
        """Build from Python lists (small inputs: examples and tests)."""
        rows = list(rows)
        offsets = np.cumsum([0, *(len(row) for row in rows)], dtype=np.int64)
        flat = np.array([item for row in rows for item in row], dtype=np.int32)
        return cls(offsets, flat)

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

    def select(self, indices: Any) -> Sequences:
        """Return the sequences ``indices`` (int [M], repeats allowed, or bool [N]) in order."""
        chosen = np.arange(len(self))[np.asarray(indices)]
        return _gather(self.flat, self.offsets[:-1][chosen], self.lengths[chosen])

    def prefixes(self, indices: Any, cuts: Any) -> Sequences:
        """Return the first ``cuts[j]`` items of sequence ``indices[j]``, for every j.

        Raises:
            DataError: a cut is negative or beyond the end of its sequence.
        """
        indices, cuts = np.asarray(indices, dtype=np.int64), np.asarray(cuts, dtype=np.int64)
        if np.any(cuts < 0) or np.any(cuts > self.lengths[indices]):
            raise DataError("A cut lies outside its sequence; cuts go from 0 to the length.")
        return _gather(self.flat, self.offsets[:-1][indices], cuts)

    def last(self, n: int) -> Sequences:
        """Return every sequence cut to its last ``n`` items."""
        kept = np.minimum(self.lengths, n)
        return _gather(self.flat, self.offsets[1:] - kept, kept)

    def without_last(self, n: int) -> Sequences:
        """Return every sequence without its last ``n`` items (empty if it has no more)."""
        kept = np.maximum(self.lengths - n, 0)
        return _gather(self.flat, self.offsets[:-1], kept)

    def pad(self, length: int) -> np.ndarray:
        """Return int64 [N, length]: the last ``length`` items, padded with 0 on the left."""
        recent = self.last(length)
        padded = np.zeros((len(self), length), dtype=np.int64)
        padded[np.arange(length) >= (length - recent.lengths)[:, None]] = recent.flat
        return padded

    def rows(self) -> np.ndarray:
        """Return int64 [total]: the sequence that each entry of ``flat`` belongs to."""
        return np.repeat(np.arange(len(self)), self.lengths)


@dataclass(frozen=True, eq=False)
class Dataset:
    """One prepared data set.

    Attributes:
        name: e.g. ``"ml-100k"``.
        items: item (int32, 1..V), raw_item, title (str), year (int32 or null), genres
            (list of str), sorted by item. Titles need not be unique. Amazon's sets also have
            creator (brand or artist), platform (str or null), price (US dollars or null).
        users: user (int32, 0..U-1), raw_user (str), sorted by user.
        interactions: U sequences, chronological, ties in the order of the file.
        counts: what each step of the preprocessing kept.
        fingerprint: sha256 of interactions and items, for artifact keys.
    """

    name: str
    items: pl.DataFrame
    users: pl.DataFrame
    interactions: Sequences
    counts: dict[str, Any]
    fingerprint: str

    @property
    def n_users(self) -> int:
        """U, the number of users."""
        return len(self.interactions)

    @property
    def n_items(self) -> int:
        """V, the number of items, padding not counted."""
        return len(self.items)

    def __repr__(self) -> str:
        return (
            f"Dataset({self.name}: {self.n_users:,} users, {self.n_items:,} items, "
            f"{len(self.interactions.flat):,} actions)"
        )

    def histories(self, split: Split) -> Sequences:
        """Return what is known of every user, U sequences.

        ``"train"``: the training part itself (all but the last two items; its last item is
        the training target); ``"valid"``: all but the last two; ``"test"``: all but the last.
        """
        hidden = {"train": 2, "valid": 2, "test": 1}
        return self.interactions.without_last(hidden[_split(split)])

    def targets(self, split: Split) -> np.ndarray:
        """Return the item to predict for every user, int64 [U].

        ``"train"``: the last training item; ``"valid"``: the last but one of all; ``"test"``:
        the last of all.
        """
        from_end = {"train": 3, "valid": 2, "test": 1}[_split(split)]
        return self.interactions.flat[self.interactions.offsets[1:] - from_end].astype(np.int64)

    @cached_property
    def titles(self) -> list[str]:
        """Titles by item id, length V + 1; entry 0 (padding) is empty."""
        return ["", *self.items["title"].to_list()]

    def title(self, item: int) -> str:
        """Return the title of item id ``item`` (1..V)."""
        return self.titles[self._valid_item(item)]

    def item(self, item: int) -> dict[str, Any]:
        """Return item id ``item`` as a dict: what the columns of ``items`` say of it."""
        return self.items.row(self._valid_item(item) - 1, named=True)

    def _valid_item(self, item: int) -> int:
        if not 1 <= int(item) <= self.n_items:
            raise DataError(
                f"There is no item {item} in {self.name}: item ids go from 1 to {self.n_items}."
            )
        return int(item)

    @cached_property
    def _user_by_raw(self) -> dict[str, int]:
        return {raw: user for user, raw in enumerate(self.users["raw_user"])}

    @cached_property
    def _item_by_raw(self) -> dict[str, int]:
        return {raw: item for item, raw in enumerate(self.items["raw_item"], start=1)}

    def user_index(self, raw_user: str | int) -> int:
        """Return the user index (0..U-1) of a user id of the provider.

        Raises:
            DataError: that id is not among the users kept; the message names what exists.
        """
        return _lookup(self._user_by_raw, raw_user, "user", self.name)

    def item_index(self, raw_item: str | int) -> int:
        """Return the item id (1..V) of an item id of the provider (``DataError`` if unknown)."""
        return _lookup(self._item_by_raw, raw_item, "item", self.name)


def _split(split: str) -> str:
    if split not in ("train", "valid", "test"):
        raise DataError(f"There is no split {split!r}: use 'train', 'valid' or 'test'.")
    return split


def _lookup(index: dict[str, int], raw: str | int, kind: str, name: str) -> int:
    """Find a provider's id, or say which ids exist."""
    found = index.get(str(raw))
    if found is None:
        known = list(index)
        raise DataError(
            f"There is no {kind} {str(raw)[:40]!r} in {name} after filtering: "
            f"it has {len(known):,} {kind}s with ids from {known[0]} to {known[-1]}, "
            f"for example {', '.join(known[:5])}."
        )
    return found
