"""The lexicon as a hard filter on the catalogue: backbone + what the words say literally."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from latentcrs_utils.data import Dataset
from latentcrs_utils.language.catalogue import Catalogue
from latentcrs_utils.language.lexicon import Requirements, extract, lexicon_for


class _Filter:
    """Which items of a catalogue meet what a text asks for.

    What is true of the items is computed once for each condition, not once for each text.
    """

    def __init__(self, data: Dataset) -> None:
        self.catalogue = Catalogue(data)
        self.items = np.arange(data.n_items + 1) > 0
        self.years = np.zeros(data.n_items + 1, dtype=np.int64)
        self.years[1:] = data.items["year"].fill_null(0).to_numpy()
        self.known: dict[str, np.ndarray] = {}

    def true_of(self, condition: str) -> np.ndarray:
        """Items that a condition is true of, bool [V + 1]."""
        if condition not in self.known:
            self.known[condition] = self.catalogue.true_of(condition)
        return self.known[condition]

    def of_any(self, kind: str, values: Sequence[str] | frozenset[str]) -> np.ndarray:
        """Items with at least one of the values; all items if there are none."""
        if not values:
            return self.items
        return np.logical_or.reduce([self.true_of(f"{kind}={value}") for value in values])

    def allowed(self, wanted: Requirements) -> np.ndarray:
        """Items that meet ``wanted``, bool [V + 1]; falls back as :func:`lexicon_mask` says."""
        facts = self.items & self.of_any("platform", wanted.platforms)
        facts &= self.of_any("creator", wanted.creators)
        if wanted.below is not None:
            facts &= self.true_of(f"price={wanted.below:g}")
        if wanted.years:
            spans = [(self.years >= first) & (self.years <= last) for first, last in wanted.years]
            facts &= np.logical_or.reduce(spans)
        for genre in wanted.not_genres:
            facts &= ~self.true_of(f"genre={genre}")
        asked = [self.true_of(f"genre={genre}") for genre in sorted(wanted.genres)]
        combine: tuple[Callable[..., np.ndarray], ...] = (
            np.logical_and.reduce,
            np.logical_or.reduce,
        )
        for reduce in combine:
            allowed = facts & reduce(asked) if asked else facts
            if allowed.any():
                return allowed
        return self.items


def lexicon_mask(data: Dataset, texts: Sequence[str]) -> np.ndarray:
    """Return the items that the literal words of each text allow.

    An item is allowed if it has every genre asked for and none refused, and was made in one of
    the spans asked for; of a shop's catalogue also if it runs on a platform asked for, is by a
    creator asked for and costs less than said. If no item has all genres, one of them is enough;
    if nothing at all is left, or the text names nothing that the lexicon knows, every item is
    allowed. So no row is empty, and a text without known words leaves the backbone as it is.

    Args:
        data: the data set with V items.
        texts: N texts.

    Returns:
        Bool [N, V + 1]; column 0 (padding) is always False.
    """
    if not texts:
        return np.zeros((0, data.n_items + 1), dtype=bool)
    filter_, lexicon = _Filter(data), lexicon_for(data)
    mask = np.empty((len(texts), data.n_items + 1), dtype=bool)
    rows: dict[tuple[str, ...], np.ndarray] = {}
    for row, text in enumerate(texts):
        wanted = extract(text, lexicon)
        if wanted.conditions not in rows:
            rows[wanted.conditions] = filter_.allowed(wanted)
        mask[row] = rows[wanted.conditions]
    return mask
