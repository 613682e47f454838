"""Generated data of any size: no truth in them, only sizes like those of real data."""

import numpy as np
import polars as pl
import torch

from latentcrs_utils.data.sequences import Dataset, Sequences
from latentcrs_utils.data.synthetic import TASTES

GENRES = sorted({genre for genres, _, _ in TASTES for genre in genres})
_SPREAD, _POPULARITY = 0.9, 0.7


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    """Standard normal numbers, the same from the same seed."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def generated_data(name: str, n_users: int, n_items: int, mean_length: float) -> Dataset:
    """Users with histories of very different lengths, some items far more popular than others.

    A user has from about 5 to 10 times ``mean_length`` actions, and no item twice.
    """
    rng = np.random.default_rng(0)
    wanted = rng.lognormal(np.log(mean_length) - _SPREAD**2 / 2, _SPREAD, n_users)
    longest = min(10 * mean_length, n_items / 4)
    wanted = np.clip(wanted.round(), min(5, longest), longest).astype(np.int64)
    weight = (1 + np.arange(n_items)) ** -_POPULARITY
    cumulative = weight.cumsum() / weight.sum()
    # more than wanted are drawn, since only the first time that a user meets an item counts
    users = np.repeat(np.arange(n_users), 2 * wanted)
    drawn = cumulative.searchsorted(rng.random(len(users)) * cumulative[-1])
    items = 1 + rng.permutation(n_items)[drawn]
    _, first = np.unique(users * (n_items + 1) + items, return_index=True)
    kept = np.sort(first)
    number = np.arange(len(kept)) - np.searchsorted(users[kept], users[kept])
    kept = kept[number < wanted[users[kept]]]
    counts = np.bincount(users[kept], minlength=n_users)
    offsets = np.concatenate([[0], counts.cumsum()]).astype(np.int64)
    number = np.arange(1, n_items + 1, dtype=np.int32)
    pairs = rng.integers(len(GENRES), size=(2, n_items)).T
    columns = {
        "item": number,
        "raw_item": number.astype(str),
        "title": [f"Item {i}" for i in number],
        "year": rng.integers(1920, 2001, n_items).astype(np.int32),
        "genres": [sorted({GENRES[one], GENRES[two]}) for one, two in pairs],
    }
    people = np.arange(n_users, dtype=np.int32)
    return Dataset(
        name,
        pl.DataFrame(columns),
        pl.DataFrame({"user": people, "raw_user": people.astype(str)}),
        Sequences(offsets, items[kept].astype(np.int32)),
        {},
        f"{name}-{n_users}-{n_items}-{mean_length}",
    )


def ml_1m_shaped() -> Dataset:
    """All items of MovieLens-1M after its 5-core, a third of its users (time is in proportion)."""
    return generated_data("ML-1M shapes", 2000, 3125, 96)
