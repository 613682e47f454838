"""Tables of text, read with the exact place of every mistake; and one's own two CSV files."""

from __future__ import annotations

import csv
import io
import itertools
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from latentcrs_utils.data.source import Source
from latentcrs_utils.errors import DataError
from latentcrs_utils.support.progress import note

RATING_COLUMNS = ("user", "item", "rating", "timestamp")
ITEM_COLUMNS = ("item", "title", "year", "genres")
_BETWEEN = {",": "with commas between", "\t": "with tabs between"}


@dataclass(frozen=True)
class TableLayout:
    """How a provider writes a table.

    Attributes:
        separator: between cells; may be longer than one character.
        encoding: of the file; ``utf-8-sig`` is UTF-8 with or without a byte-order mark.
        header: whether the first line names the columns.
        quoted: whether cells may be put in double quotes.
        advice: what a reader should do about a damaged file, for error messages.
    """

    separator: str = ","
    encoding: str = "utf-8-sig"
    header: bool = True
    quoted: bool = True
    advice: str = "correct the file"

    def records(self, text: str) -> Iterator[tuple[int, list[str]]]:
        """Give the rows of a text that are not empty, each with the line on which it begins."""
        if not self.quoted:
            rows = (line.split(self.separator) for line in text.split("\n"))
            yield from ((number, cells) for number, cells in enumerate(rows, 1) if any(cells))
            return
        reader, begin = csv.reader(io.StringIO(text), delimiter=self.separator), 1
        for cells in reader:
            if any(cells):
                yield begin, cells
            begin = reader.line_num + 1


def read_table(path: Path, layout: TableLayout, columns: tuple[str, ...]) -> Table:
    """Read a file as text cells.

    Args:
        path: the file.
        layout: how it is written.
        columns: the columns that it must have; without a header, all of them in order.

    Raises:
        DataError: absent, unreadable, empty, in another encoding, without one of ``columns``,
            or with rows of other lengths.
    """
    text = _decoded(path, layout.encoding)
    if not text.strip():
        raise DataError(f"{path} is empty; {layout.advice}.")
    separator, source = layout.separator, text
    if len(separator) > 1:
        # polars separates by one byte only
        separator, source = "\t", text.replace(separator, "\t")
    try:
        frame = pl.read_csv(
            source.encode(),
            separator=separator,
            quote_char='"' if layout.quoted else None,
            has_header=layout.header,
            infer_schema=False,
        )
    except pl.exceptions.PolarsError as error:
        raise _unreadable(path, layout, text, str(error)) from None
    if layout.header:
        frame.columns = _names(path, layout, frame.columns, columns)
    elif frame.width == len(columns):
        frame.columns = list(columns)
    else:
        expected = f"{len(columns)} ({', '.join(columns)})"
        raise DataError(f"{path} has {frame.width} columns, not {expected}; {layout.advice}.")
    # an empty line comes as a row without any cell
    frame = frame.filter(~pl.all_horizontal(pl.all().is_null()))
    if frame.is_empty():
        raise DataError(f"{path} has a header and no rows; {layout.advice}.")
    return Table(path, layout, text, frame)


def _decoded(path: Path, encoding: str) -> str:
    """Return the text of a file, or say which line is not in the encoding."""
    try:
        raw = path.read_bytes()
        return raw.decode(encoding).replace("\r\n", "\n").replace("\r", "\n")
    except OSError as error:
        reason = error.strerror or error
        raise DataError(f"{path} cannot be read ({reason}); check the name of the file.") from None
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise DataError(
            f"{path}, line {line}: the text is not UTF-8; save the file again as UTF-8 "
            f'(spreadsheets call it "CSV UTF-8").'
        ) from None


def _names(
    path: Path, layout: TableLayout, given: list[str], columns: tuple[str, ...]
) -> list[str]:
    """Trim the names of the columns (``" Item_ID:token"`` -> ``"item_id"``) and check them."""
    # polars marks the second of two equal names itself
    names = [re.split(r":|_duplicated_\d+$", name)[0].strip().lower() for name in given]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise DataError(f"{path}, line 1: two columns are called {twice!r}; {layout.advice}.")
    absent = next((name for name in columns if name not in names), None)
    if absent is not None:
        raise DataError(
            f"{path}, line 1: there is no column {absent!r} among {', '.join(names)}; "
            f"the first line must name {', '.join(columns)}, {_BETWEEN[layout.separator]}."
        )
    return names


def _unreadable(path: Path, layout: TableLayout, text: str, reason: str) -> DataError:
    """Say which row is longer than the first one, or what polars said."""
    (_, first), *others = layout.records(text)
    for line, cells in others:
        if len(cells) > len(first):
            widths = f"{len(cells)} cells where the first line has {len(first)}"
            return DataError(f"{path}, line {line}: {widths}; {layout.advice}.")
    return DataError(f"{path} is no table ({reason.splitlines()[0]}); {layout.advice}.")


@dataclass(frozen=True)
class Table:
    """The cells of a file as text (empty cells are null), and where they came from."""

    path: Path
    layout: TableLayout
    text: str
    frame: pl.DataFrame

    def line(self, row: int) -> int:
        """Return the line of the file, from 1, on which data row ``row`` (from 0) begins."""
        records = self.layout.records(self.text)
        return next(itertools.islice(records, row + self.layout.header, None))[0]

    def refuse(self, wrong: pl.Series, column: str, problem: Callable[[int], str]) -> None:
        """Raise DataError for the first row that is ``wrong``: file, line, column, problem."""
        if wrong.any():
            row = wrong.arg_max() or 0
            place = f"{self.path}, line {self.line(row)}, column {column!r}"
            raise DataError(f"{place}: {problem(row)}.")

    def texts(self, column: str) -> pl.Series:
        """Return a column of text without surrounding spaces; no cell may be empty."""
        cells = self.frame[column].str.strip_chars()
        empty = (cells.is_null() | (cells == "")).fill_null(True)
        self.refuse(empty, column, lambda row: f"the cell is empty; {self.layout.advice}")
        return cells

    def numbers(
        self,
        column: str,
        dtype: type[pl.DataType],
        kind: str = "a number",
        *,
        optional: bool = False,
    ) -> pl.Series:
        """Return a column of finite numbers; an empty cell is null if ``optional``."""
        cells = self.frame[column] if optional else self.texts(column)
        cells = cells.str.strip_chars().replace("", None)
        values = cells.cast(pl.Float64, strict=False)
        wrong = (values.is_null() | ~values.is_finite().fill_null(False)) & cells.is_not_null()
        if dtype.is_integer():
            wrong |= (values != values.round(0)).fill_null(False)
        self.refuse(
            wrong, column, lambda row: f"{cells[row]!r} is not {kind}; {self.layout.advice}"
        )
        return values.cast(dtype)

    def ratings(self, columns: tuple[str, ...] = RATING_COLUMNS) -> pl.DataFrame:
        """Return user, item, rating, timestamp; where ratings are absent, all are infinite."""
        user, item, rating, timestamp = columns
        endless = pl.repeat(float("inf"), len(self.frame), eager=True)
        return pl.DataFrame(
            {
                "user": self.texts(user),
                "item": self.texts(item),
                "rating": self.numbers(rating, pl.Float64) if rating in self.frame else endless,
                "timestamp": self.numbers(timestamp, pl.Float64, "a number of seconds since 1970"),
            }
        )


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
    frame = _items(read_table(Path(items), TableLayout(), ITEM_COLUMNS))
    required = tuple(name for name in RATING_COLUMNS if name != "rating")
    table = read_table(Path(interactions), TableLayout(), required)
    ratings = table.ratings()
    item = ratings["item"]
    unknown = ~item.is_in(frame["raw_item"].to_list())
    table.refuse(
        unknown,
        "item",
        lambda row: (
            f"{item[row]!r} is not among the items of {items} ({unknown.sum():,} of "
            f"{len(item):,} rows name such items); add it there or remove the row"
        ),
    )
    return Source(_latest(ratings, table.path), frame)


def _items(table: Table) -> pl.DataFrame:
    item = table.texts("item")

    def already(row: int) -> str:
        first = table.line((item == item[row]).arg_max() or 0)
        return f"{item[row]!r} is on line {first} already; keep one"

    table.refuse(~item.is_first_distinct(), "item", already)
    genre = pl.element().str.strip_chars()
    genres = table.frame["genres"].fill_null("").str.split("|").list
    return pl.DataFrame(
        {
            "raw_item": item,
            "title": table.texts("title"),
            "year": table.numbers("year", pl.Int32, "a whole number", optional=True),
            "genres": genres.eval(genre.filter(genre != "").unique(maintain_order=True)),
        }
    )


def _latest(ratings: pl.DataFrame, path: Path) -> pl.DataFrame:
    """Keep one row of every user and item: the latest, in the place of the file it has."""
    latest = pl.col("row").sort_by("timestamp", "row").last().over("user", "item")
    kept = ratings.with_row_index("row").filter(pl.col("row") == latest).drop("row")
    if repeated := len(ratings) - len(kept):
        note(f"{path}: {repeated:,} earlier rows of the same user and item were left out.")
    return kept
