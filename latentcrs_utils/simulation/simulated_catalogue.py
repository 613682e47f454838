"""A catalogue as arrays: which items are alike, and which ones a condition is true of.

:mod:`.conditions` says what is true of one item; the same is asked here of all items at once, for
catalogues of tens of thousands and histories of hundreds.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from functools import cached_property

import numpy as np

from latentcrs_utils.data.sequences import Dataset
from latentcrs_utils.simulation.items import Film, films, holds
from latentcrs_utils.simulation.phrasings import Domain, domain_of

_UNKNOWN = -1


def _codes(values: Iterable[Hashable | None]) -> tuple[dict[Hashable, int], np.ndarray]:
    """Number the distinct values: value -> number, and int32 [n]; None is -1."""
    number: dict[Hashable, int] = {}
    codes = [_UNKNOWN if v is None else number.setdefault(v, len(number)) for v in values]
    return number, np.array(codes, np.int32)


class Catalogue:
    """The items of a data set, by item id (entry 0 is padding).

    Attributes:
        films: what is known of each, V + 1.
        domain: what they are.
    """

    def __init__(self, data: Dataset) -> None:
        self.films: Sequence[Film] = films(data)
        self.domain: Domain = domain_of(data.name)

    def __getitem__(self, item: int) -> Film:
        return self.films[item]

    @cached_property
    def _genres(self) -> tuple[dict[str, int], np.ndarray]:
        """Genre -> number, and which item has which, as bits: uint64 [V + 1, words]."""
        column = {g: i for i, g in enumerate(sorted(set().union(*(f.genres for f in self.films))))}
        bits = np.zeros((len(self.films), len(column) // 64 + 1), dtype=np.uint64)
        for film in self.films:
            for genre in film.genres:
                word, bit = divmod(column[genre], 64)
                bits[film.item, word] |= np.uint64(1 << bit)
        return column, bits

    @cached_property
    def _years(self) -> np.ndarray:
        """Year of every item, int32 [V + 1]; 0 is unknown."""
        return np.array([film.year or 0 for film in self.films], np.int32)

    @cached_property
    def _prices(self) -> np.ndarray:
        """Price of every item in dollars, float64 [V + 1]; infinite where it is not known."""
        return np.array([np.inf if film.price is None else film.price for film in self.films])

    @cached_property
    def _facts(self) -> dict[str, tuple[dict[Hashable, int], np.ndarray]]:
        """Decade, span of the nineties, creator and platform of every item, as numbers."""
        attributes = ("decade", "era", "creator", "platform")
        return {a: _codes(getattr(film, a) for film in self.films) for a in attributes}

    def likest(self, history: np.ndarray, target: int) -> np.ndarray:
        """Return the items of a history, the likest to ``target`` first.

        Likeness: number of shared attributes (:func:`.conditions.shared`), then overlap of the
        genres, then recency.

        Args:
            history: item ids, oldest first, int [n].
            target: item id.
        """
        bits = self._genres[1]
        theirs, own = bits[history], bits[target]
        common = np.bitwise_count(theirs & own).sum(axis=1, dtype=np.int64)
        either = np.bitwise_count(theirs | own).sum(axis=1, dtype=np.int64)
        n_shared = common
        for _, codes in self._facts.values():
            if codes[target] != _UNKNOWN:
                n_shared = n_shared + (codes[history] == codes[target])
        order = np.lexsort((np.arange(len(history)), common / np.maximum(either, 1), n_shared))
        return history[order[::-1]]

    @cached_property
    def _items(self) -> np.ndarray:
        """True for every item, false for padding, bool [V + 1]."""
        return np.arange(len(self.films)) > 0

    def _has(self, genre: str) -> np.ndarray:
        column, bits = self._genres
        if genre not in column:
            return np.zeros(len(self.films), dtype=bool)
        word, bit = divmod(column[genre], 64)
        return (bits[:, word] >> np.uint64(bit)) & np.uint64(1) == 1

    def true_of(self, condition: str) -> np.ndarray:
        """Return the items that ``condition`` is true of, bool [V + 1]; never the padding.

        The same as :func:`.conditions.holds` of each item, faster for what is said most.

        Raises:
            DataError: the condition is of an unknown kind.
        """
        kind, _, value = condition.partition("=")
        if kind == "genre":
            return self._has(value)
        if kind == "not genre":
            return self._items & ~self._has(value)
        if kind in ("decade", "era"):
            span = (int(value), int(value) + 9) if kind == "decade" else value.split("-")
            first, last = (int(year) for year in span)
            return (self._years >= first) & (self._years <= last) & (self._years > 0)
        if kind in ("creator", "platform"):
            number, codes = self._facts[kind]
            return self._items & (codes == number.get(value, _UNKNOWN - 1))
        if kind == "price":
            return self._prices < float(value)
        return self._items & np.array([holds(condition, film, self.films) for film in self.films])
