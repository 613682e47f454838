"""Readers: each turns a provider's files into the same two frames.

ratings: user, item (str, the provider's ids), rating (float), timestamp (float), in file order.
items: raw_item, title (str), year (int32 or null), genres (list of str), in file order.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from ..assets import movielens_100k_files
from ..errors import DataError

_ARTICLES = "The|A|An|La|Le|Les|Il|El|Lo|Los|Las|Der|Die|Das|Det|Den|O|Un|Una|Une|L'"
# "Usual Suspects, The" and "Tin Drum, The (Blechtrommel, Die)": the article ends a part
_TRAILING_ARTICLE = re.compile(rf"(?P<rest>[^()]+?), (?P<article>{_ARTICLES})(?= \(|\)|$)")
_TRAILING_YEAR = re.compile(r"\s*\(((?:18|19|20)\d\d)\)$")
_NO_GENRE = "unknown"
# one item's row says only "unkonwn" (the file's spelling); it has a row, so it counts and stays
_NO_TITLE = {"unkonwn", "unknown", ""}
UNKNOWN_TITLE = "Unknown title"


@dataclass(frozen=True)
class Source:
    """What a reader returns: all ratings in file order, and the items with metadata."""

    ratings: pl.DataFrame
    items: pl.DataFrame


def tidy_title(title: str) -> str:
    """Put trailing articles in front: ``"Usual Suspects, The"`` -> ``"The Usual Suspects"``."""

    def front(match: re.Match[str]) -> str:
        article, rest = match["article"], match["rest"]
        return f"{article}{rest}" if article.endswith("'") else f"{article} {rest}"

    return _TRAILING_ARTICLE.sub(front, title.strip())


def mend_year(title: str, year: str) -> tuple[str, int | None]:
    """Return title and year, taking the year from the end of the title where its cell has none.

    A cell that is no number and a title without a year give ``None``: nothing is guessed.
    """
    if year.isdigit() and len(year) == 4:
        return title, int(year)
    in_title = _TRAILING_YEAR.search(title)
    if in_title is None:
        return title, None
    return title[: in_title.start()], int(in_title[1])


def _read_table(path: Path, columns: dict[str, pl.DataType]) -> pl.DataFrame:
    """Read a tab-separated file with ``name:type`` headers, renaming its columns by position."""
    try:
        frame = pl.read_csv(path, separator="\t", quote_char=None, infer_schema=False)
        frame = frame.rename(lambda header: header.split(":")[0]).select(*columns)
        return frame.cast(columns)
    except (pl.exceptions.PolarsError, OSError) as error:
        reason = str(error).splitlines()[0]
        raise DataError(
            f"{path} cannot be read as a table with the columns {', '.join(columns)} ({reason}); "
            f"remove it to have it fetched again."
        ) from None


def read_movielens_100k() -> Source:
    """Read MovieLens-100k: 100,000 ratings of 943 users on 1,682 films.

    Raises:
        AssetError: the files are neither in the cache nor downloadable.
        DataError: a file is not the expected table.
    """
    files = movielens_100k_files()
    ratings = _read_table(
        files["inter"],
        {"user_id": pl.String, "item_id": pl.String, "rating": pl.Float64, "timestamp": pl.Float64},
    ).rename({"user_id": "user", "item_id": "item"})
    columns = ("item_id", "movie_title", "release_year", "class")
    table = _read_table(files["item"], dict.fromkeys(columns, pl.String)).fill_null("")
    rows = []
    for raw_item, title, cell, genres in table.iter_rows():
        title, year = mend_year(UNKNOWN_TITLE if title in _NO_TITLE else title, cell)
        kept = [genre for genre in genres.split() if genre != _NO_GENRE]
        rows.append((raw_item, tidy_title(title), year, kept))
    schema = {
        "raw_item": pl.String,
        "title": pl.String,
        "year": pl.Int32,
        "genres": pl.List(pl.String),
    }
    return Source(ratings, pl.DataFrame(rows, schema=schema, orient="row"))
