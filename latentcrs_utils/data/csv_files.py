"""Tables of text, read with the exact place of every mistake; and one's own two CSV files."""

from __future__ import annotations

import csv
import io
import itertools
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import polars as pl

from latentcrs_utils.data.source import Source, damaged, once_each
from latentcrs_utils.errors import DataError
from latentcrs_utils.support.progress import note

RATING_COLUMNS = ("user", "item", "rating", "timestamp")


class Table:
    """The cells of a file as text, and the exact place of what is wrong with one.

    ``columns`` are those that it must have; without a header, all of them in order. Cells may be
    in quotes where a comma separates them. ``frame`` has the cells, those without text null, under
    trimmed names in small letters; ``advice`` is what a reader should do about a damaged file.
    DataError: absent, unreadable, empty, in another encoding, without one of ``columns``, or with
    rows of other lengths.
    """

    def __init__(
        self,
        path: Path,
        columns: tuple[str, ...],
        separator: str = ",",
        *,
        encoding: str = "utf-8-sig",
        header: bool = True,
        advice: str = "correct the file",
    ):
        # polars separates by one byte only
        self.separator = separator if len(separator) == 1 else "\t"
        self.path, self.header, self.advice = path, header, advice
        try:
            raw = path.read_bytes()
            text = raw.decode(encoding).replace("\r\n", "\n").replace("\r", "\n")
            self.text = text.replace(separator, self.separator)
        except OSError as error:
            problem = f"cannot be read ({error.strerror or error}); check the name of the file"
            raise damaged(path, problem) from None
        except UnicodeDecodeError as error:
            remedy = 'save the file again as UTF-8 (spreadsheets call it "CSV UTF-8")'
            line = raw.count(b"\n", 0, error.start) + 1
            raise damaged(path, f"the text is not UTF-8; {remedy}", line=line) from None
        if not self.text.strip():
            raise damaged(path, f"is empty; {advice}")
        try:
            frame = pl.read_csv(
                self.text.encode(),
                separator=self.separator,
                quote_char='"' if separator == "," else None,
                has_header=header,
                infer_schema=False,
            )
        except pl.exceptions.PolarsError as error:
            raise self._unreadable(str(error)) from None
        if header:
            frame.columns = self._names(frame.columns, columns)
        elif frame.width == len(columns):
            frame.columns = list(columns)
        else:
            expected = f"{len(columns)} ({', '.join(columns)})"
            raise damaged(path, f"has {frame.width} columns, not {expected}; {advice}")
        # an empty line comes as a row without any cell
        self.frame = frame.filter(~pl.all_horizontal(pl.all().is_null()))
        if self.frame.is_empty():
            raise damaged(path, f"has a header and no rows; {advice}")

    def _names(self, given: list[str], wanted: tuple[str, ...]) -> list[str]:
        """Trim the names of the columns (``" Item_ID:token"`` -> ``"item_id"``), check them."""
        # polars marks the second of two equal names itself
        names = [re.split(r":|_duplicated_\d+$", name)[0].strip().lower() for name in given]
        if twice := [name for name in names if names.count(name) > 1]:
            raise damaged(self.path, f"two columns are called {twice[0]!r}; {self.advice}", line=1)
        if absent := [name for name in wanted if name not in names]:
            between = "tabs" if self.separator == "\t" else "commas"
            problem = f"there is no column {absent[0]!r} among {', '.join(names)}"
            remedy = f"the first line must name {', '.join(wanted)}, with {between} between"
            raise damaged(self.path, f"{problem}; {remedy}", line=1)
        return names

    def _unreadable(self, reason: str) -> DataError:
        """Say which row is longer than the first one, or what polars said."""
        (_, first), *others = self._records()
        for line, cells in others:
            if len(cells) > len(first):
                widths = f"{len(cells)} cells where the first line has {len(first)}"
                return damaged(self.path, f"{widths}; {self.advice}", line=line)
        return damaged(self.path, f"is no table ({reason.splitlines()[0]}); {self.advice}")

    def _records(self) -> Iterator[tuple[int, list[str]]]:
        """Give the rows that are not empty, each with the line on which it begins."""
        quoting: Literal[0, 3] = csv.QUOTE_MINIMAL if self.separator == "," else csv.QUOTE_NONE
        reader = csv.reader(io.StringIO(self.text), delimiter=self.separator, quoting=quoting)
        line = 1
        for cells in reader:
            if any(cells):
                yield line, cells
            line = reader.line_num + 1

    def line(self, row: int) -> int:
        """Return the line of the file, from 1, on which data row ``row`` (from 0) begins."""
        return next(itertools.islice(self._records(), row + self.header, None))[0]

    def refuse(self, wrong: pl.Series, cells: pl.Series, problem: str) -> None:
        """Raise DataError for the first of a column's cells that is ``wrong``, with its place."""
        if wrong.any():
            row = wrong.arg_max() or 0
            told = f"{cells[row]!r} {problem}" if cells[row] else problem
            raise damaged(self.path, told, line=self.line(row), column=cells.name)

    def texts(self, column: str) -> pl.Series:
        """Return a column of text without surrounding spaces; no cell may be empty."""
        cells = self.frame[column].str.strip_chars().fill_null("")
        self.refuse(cells == "", cells, f"the cell is empty; {self.advice}")
        return cells

    def numbers(
        self, column: str, dtype: type[pl.DataType] = pl.Float64, kind: str = "a number"
    ) -> pl.Series:
        """Return a column of finite numbers; where they are whole, an empty cell is null."""
        cells = self.frame[column].str.strip_chars().replace("", None)
        if not dtype.is_integer():
            cells = self.texts(column)
        values = cells.cast(pl.Float64, strict=False)
        found = values.cast(dtype, strict=False)
        fits = (values.is_finite() & (found == values)).fill_null(False)
        self.refuse(cells.is_not_null() & ~fits, cells, f"is not {kind}; {self.advice}")
        return found

    def ratings(self, columns: tuple[str, ...] = RATING_COLUMNS) -> pl.DataFrame:
        """Return user, item, rating, timestamp; where ratings are absent, all are infinite."""
        user, item, rating, timestamp = columns
        return pl.DataFrame(
            {
                "user": self.texts(user),
                "item": self.texts(item),
                "rating": self.numbers(rating) if rating in self.frame else math.inf,
                "timestamp": self.numbers(timestamp, kind="a number of seconds since 1970"),
            }
        )


def read_csv_pair(interactions: str | Path, items: str | Path) -> Source:
    """Read two CSV files in the format of ``data/example``; ``data/README.md`` describes it.

    ``interactions`` has the columns user, item, timestamp and perhaps rating; without it every
    interaction is positive, whatever the threshold. Of several rows of one user and item the
    latest counts (of equal times the last in the file), for people change their minds. ``items``
    has item, title, year, genres. DataError: one sentence with file, line, column and remedy.
    """
    listed = Table(Path(items), ("item", "title", "year", "genres"))
    raw_item = listed.texts("item")
    again = ~raw_item.is_first_distinct()
    if again.any():
        first = listed.line(raw_item.index_of(raw_item.filter(again)[0]) or 0)
        listed.refuse(again, raw_item, f"is on line {first:,} already; keep one")
    genre = pl.element().str.strip_chars()
    genres = listed.frame["genres"].fill_null("").str.split("|").list
    described = pl.DataFrame(
        {
            "raw_item": raw_item,
            "title": listed.texts("title"),
            "year": listed.numbers("year", pl.Int32, "a whole number"),
            "genres": genres.eval(genre.filter(genre != "").unique(maintain_order=True)),
        }
    )
    table = Table(Path(interactions), ("user", "item", "timestamp"))
    ratings = table.ratings()
    item = ratings["item"]
    unknown = ~item.is_in(raw_item.to_list())
    rows = f"({unknown.sum():,} of {len(item):,} rows name such items)"
    problem = f"is not among the items of {items} {rows}; add it there or remove the row"
    table.refuse(unknown, item, problem)
    latest = once_each(ratings, "last")
    if repeated := len(ratings) - len(latest):
        note(f"{table.path}: {repeated:,} earlier rows of the same user and item were left out.")
    return Source(latest, described)
