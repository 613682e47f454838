"""What an item is, as numbers: the vector c_v that the residual of `LatentCRS+` scores."""

import numpy as np
import torch
from torch import Tensor

from latentcrs_utils.data import Dataset

# Most films of the catalogue are from the nineties, so the periods are narrow there.
PERIOD_STARTS = (0, 1940, 1950, 1960, 1970, 1980, 1985, 1990, 1993, 1994, 1995, 1996, 1997, 1998)


def item_attributes(data: Dataset) -> Tensor:
    """Genres and period of every item as indicators.

    Args:
        data: the data set, whose items have `genres` (list) and `year` (or null).

    Returns:
        [V + 1, number of genres + number of periods] of 0 and 1; row 0 (padding) is zero, and so
        are the periods of an item whose year is unknown.
    """
    genres = data.items["genres"].to_list()
    vocabulary = sorted({genre for of_item in genres for genre in of_item})
    column = {genre: i for i, genre in enumerate(vocabulary)}
    table = torch.zeros(data.n_items + 1, len(vocabulary) + len(PERIOD_STARTS))
    for item, of_item in enumerate(genres, start=1):
        for genre in of_item:
            table[item, column[genre]] = 1.0
    years = data.items["year"].to_numpy().astype(float)
    known = np.flatnonzero(~np.isnan(years))
    periods = np.searchsorted(PERIOD_STARTS, years[known], side="right") - 1
    table[known + 1, len(vocabulary) + periods] = 1.0
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
