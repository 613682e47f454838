"""What all readers share: what they return, how it is counted, how they say what is wrong."""

import ast
import json
import re
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import polars as pl

from latentcrs_utils.errors import DataError

_ARTICLES = "The|A|An|La|Le|Les|Il|El|Lo|Los|Las|Der|Die|Das|Det|Den|O|Un|Una|Une|L'"
# "Usual Suspects, The" and "Tin Drum, The (Blechtrommel, Die)": the article ends a part
_TRAILING_ARTICLE = re.compile(rf"([^()]+?), ({_ARTICLES})(?= \(|\)|$)")
# of a range the first year: "(2006-2007)", "(2007-)", "(1999/2000)", "(2007?)"
_TRAILING_YEAR = re.compile(
    r"\s*\(\s*((?:18|19|20)\d\d)\s*(?:[-‐-―−/]\s*(?:\d{4}|\d\d|present)?|\?)?\s*\)$", re.I
)
UNKNOWN_TITLE = "Unknown title"
ITEM_SCHEMA = dict(
    raw_item=pl.String(), title=pl.String(), year=pl.Int32(), genres=pl.List(pl.String)
)


@dataclass(frozen=True)
class Source:
    """What a reader returns: all ratings in file order, and the items with metadata.

    Attributes:
        ratings: user, item (the provider's ids: str, or a categorical of str where there are
            millions of rows), rating (float), timestamp (a number; only its order counts).
        items: raw_item (str) and what `Dataset.items` has of an item, in file order.
        complete_from: ratings below this one are not all there; 0 where none is missing.
        repeated: further ratings of one user for one item that the reader left out.
        official_passes: of the official release's loop; ``None`` where it filtered users only.
    """

    ratings: pl.DataFrame
    items: pl.DataFrame
    complete_from: float = 0.0
    repeated: int = 0
    official_passes: int | None = None


@dataclass(frozen=True)
class Statistics:
    """Users, items and actions, and what follows from the three."""

    users: int
    items: int
    actions: int

    @classmethod
    def of(cls, ratings: pl.DataFrame) -> "Statistics":
        """Count ratings, one a row; columns ``user`` and ``item``."""
        return cls(ratings["user"].n_unique(), ratings["item"].n_unique(), len(ratings))

    @property
    def average_length(self) -> float:
        """Actions per user."""
        return self.actions / self.users

    @property
    def sparsity(self) -> float:
        """Share of the cells of the user-item matrix that are empty, 0 to 1."""
        return 1 - self.actions / (self.users * self.items)


def damaged(path: Path, problem: str, *, line: int = 0, column: str | int = "") -> DataError:
    """Say in one sentence what is wrong with a file, and where: its line (from 1), its column.

    A column is a name or, where there is none, the place of a character in the line (from 1).
    """
    place = f", line {line:,}" * bool(line) + f", column {column!r}" * bool(column)
    return DataError(f"{path}{place}{':' * bool(place)} {problem}.")


def notation(text: str) -> Any:
    """Return the value that a text writes in JSON or in Python; ValueError if in neither."""
    for read in (json.JSONDecoder(strict=False).decode, ast.literal_eval):
        with suppress(ValueError, SyntaxError, TypeError, RecursionError, MemoryError):
            return read(text)
    raise ValueError(f"{text!r:.40} is no list or mapping")


def once_each(ratings: pl.DataFrame, keep: Literal["first", "last"]) -> pl.DataFrame:
    """Keep a user's first or last rating of an item, by time, then by place in the file."""
    numbered = ratings.with_row_index("row")
    # equal hashes are rare: only what may be repeated is sorted
    again = ratings.select("user", "item").hash_rows().is_duplicated()
    in_time = numbered.filter(again).sort("timestamp", maintain_order=True)
    once = in_time.unique(["user", "item"], keep=keep, maintain_order=True)
    return pl.concat([numbered.filter(~again), once]).sort("row").drop("row")


def tidy_title(title: str) -> str:
    """Put trailing articles in front: ``"Usual Suspects, The"`` -> ``"The Usual Suspects"``."""
    # the French article takes no space
    return _TRAILING_ARTICLE.sub(r"\2 \1", title.strip()).replace("L' ", "L'")


def mend_year(title: str, year: str) -> tuple[str, int | None]:
    """Return title and year, taking the year from the end of the title where its cell has none.

    A cell that is no number and a title without a year give ``None``: nothing is guessed.
    """
    if year.isdigit() and len(year) == 4:
        return title, int(year)
    in_title = _TRAILING_YEAR.search(title)
    return (title[: in_title.start()], int(in_title[1])) if in_title else (title, None)
