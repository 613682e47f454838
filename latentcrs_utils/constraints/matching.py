"""Which items of a catalogue meet requirements."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import lru_cache

import numpy as np

from latentcrs_utils.constraints.constraint import Requirement
from latentcrs_utils.data.sequences import Dataset
from latentcrs_utils.simulation.items import Catalogue

# years and prices come from what users type; so many masks of a large catalogue stay small
_N_KEPT = 1_024


class Matcher:
    """Answers for all items of a data set at once.

    An item of which an attribute is not known (no year, no price) meets no requirement that asks
    for a value of it, and every one that refuses a value. What is true of the items is computed
    once for each condition.

    Attributes:
        catalogue: the items.
        items: true for every item, false for padding, bool [V + 1].
    """

    def __init__(self, data: Dataset) -> None:
        self.catalogue = Catalogue(data)
        self.items = np.arange(data.n_items + 1) > 0
        self._known: dict[str, np.ndarray] = {}

    def true_of(self, condition: str) -> np.ndarray:
        """Items that a condition is true of, bool [V + 1]; never the padding.

        Raises:
            DataError: the condition is of an unknown kind.
        """
        if condition not in self._known:
            if len(self._known) >= _N_KEPT:
                self._known.clear()
            self._known[condition] = self.catalogue.true_of(condition)
        return self._known[condition]

    def all_of(self, requirements: Iterable[Requirement]) -> np.ndarray:
        """Items that meet every one, bool [V + 1]; all items if there are none."""
        return self._reduced(np.logical_and.reduce, requirements)

    def any_of(self, requirements: Iterable[Requirement]) -> np.ndarray:
        """Items that meet at least one, bool [V + 1]; all items if there are none."""
        return self._reduced(np.logical_or.reduce, requirements)

    def _reduced(
        self, reduce: Callable[..., np.ndarray], requirements: Iterable[Requirement]
    ) -> np.ndarray:
        masks = [self.true_of(requirement.condition) for requirement in requirements]
        return reduce(masks) if masks else self.items


@lru_cache(maxsize=4)
def matcher_for(data: Dataset) -> Matcher:
    """Return the matcher of a data set, one for all conversations about it."""
    return Matcher(data)
