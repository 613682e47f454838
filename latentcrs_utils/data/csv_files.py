"""Data of one's own: two CSV files, interactions and items."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from latentcrs_utils.data.csv_files import Layout, Table, read_table
from latentcrs_utils.data.source import Source
from latentcrs_utils.support.progress import note

INTERACTION_COLUMNS = ("user", "item", "rating", "timestamp")
ITEM_COLUMNS = ("item", "title", "year", "genres")
_LAYOUT = Layout()


def read_csv_pair(interactions: str | Path, items: str | Path) -> Source:
    """Read the format of ``data/example``; ``data/README.md`` describes it.

    ``rating`` may be absent: then every interaction is positive, whatever the threshold. Of
    several rows of one user and one item the latest counts (of equal times the last in the
    file), for people change their minds.

    Args:
        interactions: path of a CSV file with the columns user, item, rating, timestamp.
        items: path of a CSV file with the columns item, title, year, genres.

    Raises:
        DataError: one sentence naming file, line, column and what to do.
    """
    item_table = read_table(Path(items), _LAYOUT, ITEM_COLUMNS)
    frame = _items(item_table)
    required = tuple(name for name in INTERACTION_COLUMNS if name != "rating")
    table = read_table(Path(interactions), _LAYOUT, required)
    item = table.texts("item")
    unknown = ~item.is_in(frame["raw_item"].to_list())
    if unknown.any():
        row = unknown.arg_max() or 0
        raise table.wrong(
            row,
            "item",
            f"{item[row]!r} is not among the items of {items} ({unknown.sum():,} of "
            f"{len(item):,} rows name such items); add it there or remove the row",
        )
    rated = "rating" in table.frame.columns
    ratings = pl.DataFrame(
        {
            "user": table.texts("user"),
            "item": item,
            "rating": table.numbers("rating", pl.Float64) if rated else [float("inf")] * len(item),
            "timestamp": table.numbers("timestamp", pl.Float64, "a number of seconds since 1970"),
        }
    )
    return Source(_latest(ratings, table.path), frame)


def _items(table: Table) -> pl.DataFrame:
    item = table.texts("item")
    if item.is_duplicated().any():
        row = (~item.is_first_distinct()).arg_max() or 0
        first = (item == item[row]).arg_max() or 0
        raise table.wrong(
            row, "item", f"{item[row]!r} stands on line {table.line(first)} already; keep one"
        )
    genres = table.frame["genres"].fill_null("").str.split("|")
    trimmed = genres.list.eval(pl.element().str.strip_chars())
    return pl.DataFrame(
        {
            "raw_item": item,
            "title": table.texts("title"),
            "year": table.numbers("year", pl.Int32, "a whole number", optional=True),
            "genres": trimmed.list.eval(pl.element().filter(pl.element() != "")).list.unique(
                maintain_order=True
            ),
        }
    )


def _latest(ratings: pl.DataFrame, path: Path) -> pl.DataFrame:
    """Keep one row of every user and item: the latest, in the place of the file it has."""
    numbered = ratings.with_row_index("row")
    kept = (
        numbered.sort("timestamp", "row")
        .unique(["user", "item"], keep="last", maintain_order=True)
        .sort("row")
        .drop("row")
    )
    repeated = len(ratings) - len(kept)
    if repeated:
        note(f"{path}: {repeated:,} earlier rows of the same user and item were left out.")
    return kept
