"""What an item is, as numbers: the vector c_v that the residual of `LatentCRS+` scores."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from latentcrs_utils.data.sequences import Dataset

# Most films of the catalogue are from the nineties, so the periods are narrow there.
PERIOD_STARTS = (0, 1940, 1950, 1960, 1970, 1980, 1985, 1990, 1993, 1994, 1995, 1996, 1997, 1998)
# Games and albums: the decades, and half of those in which most were made.
SHOP_PERIOD_STARTS = (0, 1960, 1970, 1980, 1985, 1990, 1995, 2000, 2005, 2010, 2015, 2020)
PRICE_STARTS = (0.0, 5.0, 10.0, 15.0, 20.0, 30.0, 50.0, 100.0)  # US dollars
CREATOR_COUNT = 20  # a creator of so many items has an indicator of its own
N_CREATORS = 256  # at most so many creators
GENRE_COUNT = 20  # likewise a genre, where a shop's catalogue has hundreds


def item_attributes(data: Dataset) -> Tensor:
    """What is known of every item, as indicators.

    Genres and period; and where the catalogue has these columns (Amazon), platform, price band and
    the creators of at least `CREATOR_COUNT` items (the `N_CREATORS` most frequent). A genre of such
    a catalogue counts from `GENRE_COUNT` items on.

    Args:
        data: the data set, whose items have `genres` (list) and `year` (or null), and perhaps
            `platform`, `creator` and `price` (each or null).

    Returns:
        [V + 1, number of indicators] of 0 and 1: genres, periods, platforms, price bands, creators,
        the names in alphabetical order. Row 0 (padding) is zero, and so is what is not known.
    """
    of_shop = "creator" in data.items.columns
    genres = data.items["genres"].to_list()
    starts = SHOP_PERIOD_STARTS if of_shop else PERIOD_STARTS
    parts = [
        _indicators(genres, at_least=GENRE_COUNT if of_shop else 1),
        _bands(data.items["year"].to_numpy().astype(float), starts),
    ]
    if of_shop:
        facts = {
            name: [[] if value is None else [value] for value in data.items[name].to_list()]
            for name in ("platform", "creator")
            if name in data.items.columns
        }
        parts += [_indicators(facts["platform"], at_least=1)] if "platform" in facts else []
        parts += [_bands(data.items["price"].to_numpy().astype(float), PRICE_STARTS)]
        parts += [_indicators(facts["creator"], at_least=CREATOR_COUNT, at_most=N_CREATORS)]
    known = np.concatenate(parts, axis=1)
    return torch.from_numpy(np.concatenate([np.zeros_like(known[:1]), known]))


def _indicators(
    values: Sequence[Sequence[str]], *, at_least: int, at_most: int | None = None
) -> np.ndarray:
    """Which item has which value, float32 [V, values kept], the values in alphabetical order.

    Args:
        values: those of each item.
        at_least: items that a value must have to be kept.
        at_most: values kept, the most frequent first (None: all).
    """
    names = np.array([value for of_item in values for value in of_item], dtype=object)
    rows = np.repeat(np.arange(len(values)), [len(of_item) for of_item in values])
    distinct, codes, counts = np.unique(names, return_inverse=True, return_counts=True)
    frequent = np.argsort(-counts, kind="stable")[:at_most]
    kept = np.sort(frequent[counts[frequent] >= at_least])
    column = np.full(len(distinct) + 1, -1)
    column[kept] = np.arange(len(kept))
    table = np.zeros((len(values), len(kept)), dtype=np.float32)
    columns = column[codes]
    table[rows[columns >= 0], columns[columns >= 0]] = 1.0
    return table


def _bands(numbers: np.ndarray, starts: Sequence[float]) -> np.ndarray:
    """Which item's number lies in which band, float32 [V, bands]; NaN is in none.

    Args:
        numbers: [V].
        starts: of the bands, ascending; the last one has no end.
    """
    table = np.zeros((len(numbers), len(starts)), dtype=np.float32)
    known = np.flatnonzero(~np.isnan(numbers))
    table[known, np.searchsorted(starts, numbers[known], side="right") - 1] = 1.0
    return table


def standardise_columns(table: Tensor) -> Tensor:
    """Zero mean and unit variance over the items 1..V, [V + 1, d]; row 0 (padding) is zero."""
    items = table[1:]
    scaled = (items - items.mean(0)) / items.std(0).clamp_min(1e-6)
    return torch.cat([torch.zeros_like(table[:1]), scaled])


def item_vectors(item_embeddings: Tensor, data: Dataset) -> Tensor:
    """c_v: the standardised backbone embedding beside the attributes, [V + 1, d_c].

    Args:
        item_embeddings: v, [V + 1, d]; data: the data set.
    """
    return torch.cat([standardise_columns(item_embeddings), item_attributes(data)], dim=1)
