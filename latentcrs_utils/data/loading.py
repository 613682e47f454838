"""``load_dataset``: from a name to a prepared data set."""

import difflib
import hashlib
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import polars as pl

from latentcrs_utils.config import DataConfig, Filter
from latentcrs_utils.data import movielens, preprocess
from latentcrs_utils.data.amazon import read_amazon
from latentcrs_utils.data.csv_files import read_csv_pair
from latentcrs_utils.data.sequences import Dataset, Sequences
from latentcrs_utils.data.source import Source
from latentcrs_utils.data.synthetic import synthetic_world
from latentcrs_utils.errors import ConfigError, DataError

DATASETS: dict[str, Callable[[], Source]] = {
    "ml-100k": movielens.read_movielens_100k,
    "ml-1m": movielens.read_movielens_1m,
    "ml-latest-small": movielens.read_movielens_latest_small,
    "amazon-video-games": partial(read_amazon, "Video_Games"),
    "amazon-cds": partial(read_amazon, "CDs_and_Vinyl"),
    "synthetic": lambda: synthetic_world().source,
}


def load_dataset(
    name: str = "ml-100k", *, min_rating: float = 4, k_core: int = 5, filter: Filter = "k-core"
) -> Dataset:
    """Load one of ``DATASETS`` and prepare it as the paper does (Appendix B).

    Ratings from ``min_rating`` on are positive, and every user and item keeps at least ``k_core``
    of them: at the fixed point (``filter="k-core"``, the paper's words), or as far as the official
    release went (``"official"``): users only for MovieLens, ten passes for Amazon. DataError: no
    such name, or nothing is left. AssetError: the files cannot be had. ConfigError: a bad option.
    """
    config = DataConfig(min_rating=min_rating, k_core=k_core, filter=filter)
    if name not in DATASETS:
        close = difflib.get_close_matches(str(name).lower(), DATASETS, n=1)
        hint = f"; did you mean {close[0]!r}?" if close else "."
        raise DataError(f"There is no data set {name!r}{hint} Known: {', '.join(DATASETS)}.")
    return prepare(name, DATASETS[name](), config)


def load_csv(
    interactions: str | Path, items: str | Path, *, name: str = "own",
    min_rating: float = 4, k_core: int = 5, filter: Filter = "k-core",
) -> Dataset:  # fmt: skip
    """Load data of your own from two CSV files and prepare it like the others.

    `read_csv_pair` names the columns. Options and errors are those of `load_dataset`.
    """
    if name in DATASETS:
        raise ConfigError(f"The name {name!r} is taken by a built-in data set; choose another.")
    config = DataConfig(min_rating=min_rating, k_core=k_core, filter=filter)
    return prepare(name, read_csv_pair(interactions, items), config)


def prepare(name: str, source: Source, config: DataConfig) -> Dataset:
    """Filter, order and number the ratings: users and items by id, as numbers if all ids are."""
    if config.min_rating < source.complete_from:
        raise DataError(
            f"The {name} file found lacks some ratings below {source.complete_from:g}: use "
            f"min_rating={source.complete_from:g}, or put the whole file into LATENTCRS_DATA."
        )
    liked = preprocess.positives(source.ratings, config.min_rating)
    known = source.items.select(item=pl.col("raw_item").cast(liked.schema["item"]))
    described = liked.join(known, on="item", how="semi", maintain_order="left")
    if config.filter == "official":
        kept, passes = preprocess.official_filter(described, config.k_core, source.official_passes)
    else:
        kept, passes = preprocess.k_core(described, config.k_core)
    if kept.is_empty():
        raise DataError(
            f"Nothing of {name} is left: no user has {config.k_core} ratings of at least "
            f"{config.min_rating:g} on items that have as many; lower min_rating or k_core."
        )
    user, users = _numbered(kept["user"], 0)
    item, items = _numbered(kept["item"], 1)
    ordered = preprocess.chronological(kept.with_columns(user=user, item=item))
    offsets = np.searchsorted(ordered["user"].to_numpy(), np.arange(len(users) + 1))
    sequences = Sequences(offsets, ordered["item"].to_numpy().astype(np.int32))
    table = items.join(source.items, on="raw_item", how="left", maintain_order="left")
    counts = {"ratings": len(source.ratings) + source.repeated, "repeated": source.repeated}
    counts |= {"positives": len(liked), "with_metadata": len(described)}
    content = offsets.astype("<i8").tobytes() + sequences.flat.astype("<i4").tobytes()
    digest = hashlib.sha256(content + table.write_json().encode()).hexdigest()
    return Dataset(name, table, users, sequences, {**counts, "passes": passes}, digest)


def _numbered(raw: pl.Series, first: int) -> tuple[pl.Series, pl.DataFrame]:
    """Number a column's distinct ids from ``first``: the numbers row by row, a table with both."""
    ids = raw.cast(pl.String)
    distinct = ids.unique().sort()
    numeric = distinct.cast(pl.Int64, strict=False)
    if not numeric.null_count():
        distinct = distinct.gather(np.argsort(numeric.to_numpy(), kind="stable"))
    numbers = pl.Series(raw.name, np.arange(first, first + len(distinct), dtype=np.int32))
    table = pl.DataFrame([numbers, distinct.alias(f"raw_{raw.name}")])
    return ids.replace_strict(distinct, numbers), table
