"""The lexicon as a hard filter on the catalogue: backbone + what the words say literally."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from latentcrs_utils.data import Dataset
from latentcrs_utils.language.lexicon import GENRE_WORDS, Requirements, extract

_GENRES = list(GENRE_WORDS)


def _catalogue(data: Dataset) -> tuple[np.ndarray, np.ndarray]:
    """Return has-genre bool [V + 1, 18] and year int [V + 1] (0: unknown)."""
    column = {genre: index for index, genre in enumerate(_GENRES)}
    has_genre = np.zeros((data.n_items + 1, len(_GENRES)), dtype=bool)
    for item, genres in data.items.select("item", "genres").iter_rows():
        has_genre[item, [column[genre] for genre in genres if genre in column]] = True
    years = np.zeros(data.n_items + 1, dtype=np.int64)
    years[1:] = data.items["year"].fill_null(0).to_numpy()
    return has_genre, years


def _allowed(wanted: Requirements, has_genre: np.ndarray, years: np.ndarray) -> np.ndarray:
    """Return the items that meet ``wanted``, bool [V + 1]; falls back as documented below."""
    asked = np.array([genre in wanted.genres for genre in _GENRES])
    refused = np.array([genre in wanted.not_genres for genre in _GENRES])
    rest = has_genre[:, refused].sum(1) == 0
    if wanted.years:
        rest &= np.logical_or.reduce([(years >= a) & (years <= b) for a, b in wanted.years])
    rest[0] = False
    every = rest & has_genre[:, asked].all(1)
    some = rest & has_genre[:, asked].any(1)
    for allowed in (every, some):
        if allowed.any():
            return allowed
    return np.arange(len(years)) > 0


def lexicon_mask(data: Dataset, texts: Sequence[str]) -> np.ndarray:
    """Return the items that the literal words of each text allow.

    An item is allowed if it has every genre asked for and none refused, and was made in one of
    the spans asked for. If no item has all genres, one of them is enough; if nothing at all is
    left, or the text names nothing that the lexicon knows, every item is allowed. So no row is
    empty, and a text without known words leaves the backbone as it is.

    Args:
        data: the data set with V items.
        texts: N texts.

    Returns:
        Bool [N, V + 1]; column 0 (padding) is always False.
    """
    has_genre, years = _catalogue(data)
    rows = {text: _allowed(extract(text), has_genre, years) for text in set(texts)}
    if not rows:
        return np.zeros((0, data.n_items + 1), dtype=bool)
    return np.stack([rows[text] for text in texts])
