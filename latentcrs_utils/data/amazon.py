"""Amazon Reviews 2023, in the files of its provider (McAuley Lab): Video Games, CDs and Vinyl.

A category is two files of JSON lines: reviews, and metadata of the items. They are joined on
``parent_asin``, the page that variants of one item share.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import polars as pl

from latentcrs_utils.data import amazon as about
from latentcrs_utils.data.json_lines import read_json_lines
from latentcrs_utils.data.source import SHOP_SCHEMA, Source
from latentcrs_utils.errors import DataError
from latentcrs_utils.support.downloads import AMAZON_CDS, AMAZON_VIDEO_GAMES, OwnAsset, own_files

_REVIEW: dict[str, pl.DataType] = {
    "user_id": pl.String(),
    "parent_asin": pl.String(),
    "rating": pl.Float64(),
    "timestamp": pl.Int64(),
}
_DETAILS = (*about.RELEASED, about.LISTED, "Brand", "Manufacturer")
_METADATA: dict[str, pl.DataType] = {
    "parent_asin": pl.String(),
    "title": pl.String(),
    "store": pl.String(),
    "price": pl.String(),
    "categories": pl.List(pl.String),
    "details": pl.Struct({name: pl.String for name in _DETAILS}),
}
_OFFICIAL_PASSES = 10
Describe = Callable[[Mapping[str, Any], str], tuple[Any, ...]]


def read_amazon_video_games() -> Source:
    """Read Video Games: 4.6 million reviews of 137 thousand games, consoles and accessories.

    Items have ``creator`` (the brand), ``platform`` and ``price`` beside what films have;
    ``genres`` are the levels of the category path that tell something; ``year`` is that of
    release, else of the first day in the shop. Of a user's several reviews of one item, the
    earliest counts, as in the provider's own benchmark files.

    Raises:
        AssetError: the files are not in ``LATENTCRS_DATA``.
        DataError: a line of a file cannot be used.
    """
    return _read(AMAZON_VIDEO_GAMES, _game)


def read_amazon_cds() -> Source:
    """Read CDs and Vinyl: 4.8 million reviews of 702 thousand albums.

    As :func:`read_amazon_video_games`, but ``creator`` is the artist, there is no ``platform``
    (all null), and ``year`` is that of release only: most albums are older than the shop. The
    official release's loop is known for Video Games; here it is taken to be the same.

    Raises:
        AssetError: the files are not in ``LATENTCRS_DATA``.
        DataError: a line of a file cannot be used.
    """
    return _read(AMAZON_CDS, _album)


def _read(asset: OwnAsset, describe: Describe) -> Source:
    reviews, metadata = own_files(asset)
    ratings, repeated = _earliest(_ratings(reviews))
    items = _items(metadata, describe)
    return Source(ratings, items, repeated=repeated, official_passes=_OFFICIAL_PASSES)


def _ratings(path: Path) -> pl.DataFrame:
    """Read a file of reviews; ids become numbers as soon as a block of lines is read."""
    users, items = (pl.Categorical(pl.Categories.random(kind)) for kind in ("user", "item"))
    blocks = [
        block.select(
            pl.col("user_id").cast(users).alias("user"),
            pl.col("parent_asin").cast(items).alias("item"),
            "rating",
            "timestamp",
        )
        for block in read_json_lines(path, _REVIEW, required=tuple(_REVIEW))
    ]
    if not blocks:
        raise DataError(f"{path} is empty; get the file again.")
    return pl.concat(blocks, rechunk=True)


def _earliest(ratings: pl.DataFrame) -> tuple[pl.DataFrame, int]:
    """Keep a user's earliest review of an item (of equal times the first in the file)."""
    user, item = (ratings[name].to_physical().cast(pl.UInt64) for name in ("user", "item"))
    again = (user * (1 << 32) + item).is_duplicated()
    numbered = ratings.with_row_index("row")
    first = (
        numbered.filter(again)
        .sort("timestamp", "row")
        .unique(["user", "item"], keep="first", maintain_order=True)
    )
    kept = pl.concat([numbered.filter(~again), first]).sort("row").drop("row")
    return kept, len(ratings) - len(kept)


def _items(path: Path, describe: Describe) -> pl.DataFrame:
    """Read a file of metadata: the items with a usable title, each once, in file order."""
    blocks = []
    for block in read_json_lines(path, _METADATA, required=("parent_asin",)):
        rows = []
        for row in block.iter_rows(named=True):
            if (title := about.title(row["title"])) is not None:
                rows.append((row["parent_asin"], title, *describe(row, title)))
        blocks.append(pl.DataFrame(rows, schema=SHOP_SCHEMA, orient="row"))
    if not blocks:
        raise DataError(f"{path} is empty; get the file again.")
    return pl.concat(blocks).unique("raw_item", keep="first", maintain_order=True)


def _game(row: Mapping[str, Any], title: str) -> tuple[Any, ...]:
    """Return year, genres, creator, platform and price of a game, or of gear for games."""
    categories, details = row["categories"] or [], row["details"] or {}
    return (
        about.year(details, or_listed=True),
        about.genres(categories),
        about.brand(row["store"], details),
        about.platform(categories, title),
        about.price(row["price"]),
    )


def _album(row: Mapping[str, Any], title: str) -> tuple[Any, ...]:
    """Return year, genres, creator, platform and price of an album."""
    return (
        about.year(row["details"] or {}, or_listed=False),
        about.genres(row["categories"] or []),
        about.artist(row["store"]),
        None,
        about.price(row["price"]),
    )
