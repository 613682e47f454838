"""``load_dataset``: from a name to a prepared data set."""

from __future__ import annotations

import difflib
import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl

from latentcrs_utils.config import DataConfig, Filter
from latentcrs_utils.data import preprocess
from latentcrs_utils.data.amazon import read_amazon_cds, read_amazon_video_games
from latentcrs_utils.data.csv_files import read_csv_pair
from latentcrs_utils.data.movielens import (
    read_movielens_1m,
    read_movielens_100k,
    read_movielens_latest_small,
)
from latentcrs_utils.data.sequences import Dataset, Sequences
from latentcrs_utils.data.source import Source
from latentcrs_utils.data.synthetic import synthetic_world
from latentcrs_utils.errors import ConfigError, DataError

DATASETS: dict[str, Callable[[], Source]] = {
    "ml-100k": read_movielens_100k,
    "ml-1m": read_movielens_1m,
    "ml-latest-small": read_movielens_latest_small,
    "amazon-video-games": read_amazon_video_games,
    "amazon-cds": read_amazon_cds,
    "synthetic": lambda: synthetic_world().source,
}


def load_dataset(
    name: str = "ml-100k",
    *,
    min_rating: float = 4,
    k_core: int = 5,
    filter: Filter = "k-core",
) -> Dataset:
    """Load a data set and prepare it as the paper does (Appendix B).

    Args:
        name: one of ``DATASETS``.
        min_rating: ratings from here on are positive.
        k_core: every user and item has at least that many positives.
        filter: ``"k-core"`` runs to the fixed point (the paper's words); ``"official"`` does
            what the official release did: users only (MovieLens), ten passes (Amazon).

    Raises:
        DataError: unknown name, or nothing is left after filtering.
        AssetError: the files cannot be had.
        ConfigError: an argument makes no sense.
    """
    config = DataConfig(min_rating=min_rating, k_core=k_core, filter=filter)
    if name not in DATASETS:
        close = difflib.get_close_matches(str(name).lower(), DATASETS, n=1)
        hint = f"; did you mean {close[0]!r}?" if close else "."
        raise DataError(f"There is no data set {name!r}{hint} Known: {', '.join(DATASETS)}.")
    return prepare(name, DATASETS[name](), config)


def load_csv(
    interactions: str | Path,
    items: str | Path,
    *,
    name: str = "own",
    min_rating: float = 4,
    k_core: int = 5,
    filter: Filter = "k-core",
) -> Dataset:
    """Load data of your own from two CSV files and prepare it like the others.

    ``data/README.md`` describes the format and ``data/example`` shows it.

    Args:
        interactions: path of a file with the columns user, item, timestamp and, unless every
            interaction is positive, rating.
        items: path of a file with the columns item, title, year, genres.
        name: what to call the data set.
        min_rating, k_core, filter: as for :func:`load_dataset`.

    Raises:
        DataError: a file cannot be used (the message names line, column and remedy), or nothing
            is left after filtering.
        ConfigError: an argument makes no sense.
    """
    if name in DATASETS:
        raise ConfigError(f"The name {name!r} is taken by a built-in data set; choose another.")
    config = DataConfig(min_rating=min_rating, k_core=k_core, filter=filter)
    return prepare(name, read_csv_pair(interactions, items), config)


def prepare(name: str, source: Source, config: DataConfig) -> Dataset:
    """Filter, order and number the ratings of one source.

    Users and items are numbered in the order of their ids (as numbers where they are
    numbers, else as text), whatever the order of the ratings.
    """
    if config.min_rating < source.complete_from:
        raise DataError(
            f"The {name} file found lacks some ratings below {source.complete_from:g}, so "
            f"min_rating={config.min_rating:g} cannot be served; use min_rating="
            f"{source.complete_from:g}, or put the provider's whole file into LATENTCRS_DATA."
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
    users, items = _numbered(kept["user"], "user", 0), _numbered(kept["item"], "item", 1)
    ordered = preprocess.chronological(_renumbered(_renumbered(kept, users), items))
    lengths = np.bincount(ordered["user"].to_numpy(), minlength=len(users))
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    sequences = Sequences(offsets, ordered["item"].to_numpy().astype(np.int32))
    described_items = items.join(source.items, on="raw_item", how="left", maintain_order="left")
    counts = {
        "ratings": len(source.ratings) + source.repeated,
        "repeated": source.repeated,
        "positives": len(liked),
        "with_metadata": len(described),
        "passes": passes,
    }
    digest = hashlib.sha256()
    for part in (offsets.astype("<i8"), sequences.flat.astype("<i4")):
        digest.update(part.tobytes())
    digest.update(described_items.write_json().encode())
    return Dataset(name, described_items, users, sequences, counts, digest.hexdigest())


def _numbered(raw: pl.Series, kind: str, first: int) -> pl.DataFrame:
    """Number the distinct ids of a column from ``first``: columns ``kind``, ``raw_<kind>``."""
    distinct = raw.unique().cast(pl.String)
    numeric = distinct.cast(pl.Int64, strict=False)
    order = distinct.sort() if numeric.null_count() else distinct.gather(numeric.arg_sort())
    numbers = np.arange(first, first + len(order), dtype=np.int32)
    return pl.DataFrame({kind: numbers, f"raw_{kind}": order})


def _renumbered(ratings: pl.DataFrame, numbers: pl.DataFrame) -> pl.DataFrame:
    """Put the numbers of ``_numbered`` in the place of the provider's ids, row by row."""
    kind, raw = numbers.columns
    of_kind = numbers.select(kind, pl.col(raw).cast(ratings.schema[kind]))
    renamed = ratings.rename({kind: raw})
    return renamed.join(of_kind, on=raw, how="left", maintain_order="left").drop(raw)
