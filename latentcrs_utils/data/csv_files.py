"""Tables of text, read with the exact place of every mistake; and one's own two CSV files."""

import io
import math
import re
from pathlib import Path
from typing import Any

import polars as pl

from latentcrs_utils.data.source import Source, damaged, decode, literal, once_each, place, unpacked
from latentcrs_utils.errors import DataError
from latentcrs_utils.support.progress import note

RATING_COLUMNS = ("user", "item", "rating", "timestamp")
# what only says that a genre is not known
NO_GENRE = {"", "unknown", "(no genres listed)", "none", "null", "nan", "n/a"}
# ASCII's own marks between cells and lines: in quoted cells they replace a separator or line end
_CELL, _LINE = "\x1f", "\x1e"
_SHORTENED = r"^[0-9]\.[0-9]{1,5}E\+[0-9]{2}$"  # a long number as a spreadsheet writes it
_UNITS = 1e11, 1e14, 1e17  # from here on a time is in milliseconds, microseconds, nanoseconds


class Table:
    """The cells of a file as text, and the exact place of what is wrong with one.

    ``columns`` must be there; without a header they are all, in order, of a file in latin-1.
    Without a ``separator`` the header tells whether it is a comma, semicolon, tab or bar, and cells
    may be in quotation marks; any other such mark is text. ``frame`` has ``columns``, and
    ``rating`` if there is one; ``advice`` is for a damaged file. DataError: absent, unreadable,
    empty, other encoding, a column absent or twice, a row too long, too short or hidden by a quote.
    """

    def __init__(
        self, path: Path, columns: tuple[str, ...], separator: str = "", *,
        header: bool = True, advice: str = "correct the file",
    ):  # fmt: skip
        self.path, self.advice = path, advice
        with unpacked(path) as (stream, _):
            text = decode(path, stream.read(), "utf-8" if header else "latin-1")
        for mark in filter(text.count, ("\0", _CELL, _LINE)):
            problem = f"the control character {mark!r} is no text; {advice}"
            raise damaged(path, problem, **place(text, text.index(mark)))
        if (first := re.search(r"^.*\S.*$", text, re.M)) is None:
            raise damaged(path, f"is empty; {advice}")
        quoted, separator = not separator, separator or max(",;\t|", key=first[0].count)
        if quoted:
            text = self._unquoted(text, separator, first[0].count(separator))
        hidden = pl.col("row").str.count_matches(_LINE)
        number = pl.int_range(1, 1 + pl.len()) + hidden.cum_sum() - hidden
        rows = pl.read_lines(io.BytesIO(text.encode()), name="row").with_columns(line=number)
        rows = rows.filter(pl.col("row").str.contains(rf"[^\s{separator}]"))
        if len(rows) <= header:
            line = text.count("\n", 0, first.end()) + 1
            raise damaged(path, f"there is a header and no row; {advice}", line=line)
        self._lines = rows["line"]
        names = self._names(rows["row"][0].split(separator), columns) if header else columns
        self._lines, rows = self._lines[int(header) :], rows[int(header) :]
        self._check_widths(rows["row"], separator, names)
        cells = rows["row"].str.split_exact(separator, len(names) - 1).struct.unnest()
        used = [name for name in dict.fromkeys((*columns, "rating")) if name in names]
        frame = cells.select(pl.col(f"field_{names.index(name)}").alias(name) for name in used)
        shown = pl.all().str.replace_many({_CELL: separator, _LINE: "\n"})
        self.frame = frame.select(shown) if quoted else frame

    def _unquoted(self, text: str, separator: str, width: int) -> str:
        """Take cells out of quotation marks, with marks for the separators and line ends in them.

        DataError: a cell of lines that all are whole rows; two stray quotation marks are likelier.
        """

        def bare(found: re.Match[str]) -> str:
            start, end = found.span("cell")
            if "\n" in found["cell"]:
                first, after = text.rfind("\n", 0, start) + 1, text.find("\n", end)
                lines = text[first : after if after >= 0 else None].split("\n")
                if all(line.count(separator) >= width for line in lines if line.strip()):
                    problem = "a cell in quotation marks begins here and hides whole rows; "
                    remedy = "correct the quotation marks, or leave out its line ends"
                    raise damaged(self.path, problem + remedy, **place(text, start - 1))
            cell = found["cell"].replace('""', '"')
            return found["before"] + cell.replace(separator, _CELL).replace("\n", _LINE)

        cell = r'"(?P<cell>[^"]*+(?:""[^"]*+)*+)"'
        mark = re.escape(separator)
        return re.sub(rf"(?P<before>^|{mark}) *{cell} *(?=$|{mark})", bare, text, flags=re.M)

    def _names(self, given: list[str], wanted: tuple[str, ...]) -> tuple[str, ...]:
        """Trim the names of the columns (``" Item_ID:token"`` -> ``"item_id"``), check them."""
        names = tuple(name.split(":")[0].strip().lower() for name in given)
        for name in (*wanted, *RATING_COLUMNS):
            if names.count(name) > 1:
                raise self._damaged("two columns have this name", 0, name)
            if name in wanted and name not in names:
                there = f"{', '.join(filter(None, names))}; needed are {', '.join(wanted)}"
                raise self._damaged(f"there is no such column among {there}", 0, name)
        return names

    def _check_widths(self, rows: pl.Series, separator: str, names: tuple[str, ...]) -> None:
        """Refuse a row that ends before the last named column or has more cells than columns."""
        # spreadsheets add empty cells at the end of some rows
        filled = rows.str.strip_chars_end(separator)
        width, most = (1 + row.str.count_matches(separator, literal=True) for row in (rows, filled))
        wrong = (width < max(i for i, name in enumerate(names, 1) if name)) | (most > len(names))
        if wrong.any():
            row = wrong.arg_max() or 0
            column = (*names, len(names) + 1)[min(width[row], len(names))]
            raise self._damaged(f"the row has {width[row]} cells, not {len(names)}", row, column)

    def _damaged(self, problem: str, row: int, column: str | int) -> DataError:
        return damaged(self.path, f"{problem}; {self.advice}", line=self._lines[row], column=column)

    def refuse(self, wrong: pl.Series, cells: pl.Series, problem: str) -> None:
        """Raise DataError for the first of a column's cells that is ``wrong``, with its place."""
        if wrong.any():
            row = wrong.arg_max() or 0
            told = f"{cells[row]!r} {problem}" if cells[row] else problem
            raise self._damaged(told, row, cells.name)

    def texts(self, column: str) -> pl.Series:
        """Return a column of text without surrounding spaces; no cell may be empty."""
        cells = self.frame[column].str.strip_chars()
        self.refuse(cells == "", cells, "the cell is empty")
        self.refuse(cells.str.contains(_SHORTENED), cells, "was shortened by a spreadsheet")
        return cells

    def numbers(self, column: str, kind: str, limit: float) -> pl.Series:
        """Return a column of finite numbers from minus ``limit`` to ``limit``."""
        cells = self.texts(column)
        values = cells.cast(pl.Float64, strict=False)
        fits = (values.is_finite() & (values.abs() <= limit)).fill_null(False)
        self.refuse(~fits, cells, f"is not {kind}")
        return values

    def ratings(self, columns: tuple[str, ...] = RATING_COLUMNS) -> pl.DataFrame:
        """Return user, item, rating, timestamp; where ratings are absent, all are infinite."""
        user, item, rating, timestamp = columns
        when = self.numbers(timestamp, "a number of seconds since 1970", 1e20)
        unit = pl.Series(_UNITS).search_sorted(when.abs())
        other = f"and line {self._lines[0]:,} are not both in seconds (or milliseconds ...)"
        self.refuse(unit != unit[0], self.frame[timestamp], other)
        rated = self.numbers(rating, "a number", 1e6) if rating in self.frame else math.inf
        ids = dict(user=self.texts(user), item=self.texts(item))
        return pl.DataFrame(dict(**ids, rating=rated, timestamp=when))


def read_csv_pair(interactions: str | Path, items: str | Path) -> Source:
    """Read two CSV files in the format of ``data/example``; ``data/README.md`` describes it.

    ``interactions`` has the columns user, item, timestamp and perhaps rating; without it every
    interaction is positive, whatever the threshold. Of several rows of one user and item the
    latest counts (of equal times the last in the file), for people change their minds. ``items``
    has item, title, year, genres. DataError: one sentence with file, line, column and remedy.
    """
    listed = Table(Path(items), ("item", "title", "year", "genres"))
    raw_item = listed.texts("item")
    listed.refuse(~raw_item.is_first_distinct(), raw_item, "is on an earlier line already")
    year = listed.frame["year"].str.strip_chars()
    no_year = ~year.str.contains(r"^((1[0-9]|20)[0-9]{2}(\.0*)?)?$")
    listed.refuse(no_year, year, "is not a whole number of four digits, or empty")
    year = year.str.head(4).replace("", None).cast(pl.Int32)
    columns = dict(raw_item=raw_item, title=listed.texts("title"), year=year)
    described = pl.DataFrame(dict(**columns, genres=_genres(listed)))
    table = Table(Path(interactions), ("user", "item", "timestamp"))
    if "rating" not in table.frame:
        note(f"{table.path}: there is no column 'rating', so every row counts as positive.")
    ratings = table.ratings()
    item = ratings["item"]
    unknown = ~item.is_in(raw_item.to_list())
    known = {_plain(raw): f", where it is {raw!r}" for raw in raw_item if unknown.any()}
    alike = known.get(_plain((*item.filter(unknown).head(1), "")[0]), "")
    rows = f"({unknown.sum():,} of {len(item):,} rows name such items)"
    table.refuse(unknown, item, f"is not among the items of {items}{alike} {rows}")
    latest = once_each(ratings, "last")
    if repeated := len(ratings) - len(latest):
        note(f"{table.path}: {repeated:,} earlier rows of the same user and item were left out.")
    return Source(latest, described)


def _plain(raw: str) -> str:
    """Reduce an id to what it would share with the same id in another notation (001, 1.0, 1)."""
    return re.sub(r"\.0*$|^0+(?=.)|[\W_]", "", raw.casefold())


def _genres(table: Table) -> pl.Series:
    """Read the genres: lists in any notation, else between bars, else semicolons, else commas."""
    cells = table.frame["genres"].str.strip_chars()
    plain = cells.filter(cells.str.contains(r"^[^\[{(]")).unique()
    mark = next((mark for mark in "|;," if plain.str.contains(mark, literal=True).any()), "")
    found = {cell: _genre_names(cell, mark or "|") for cell in cells.unique()}
    wrong = cells.is_in([cell for cell, names in found.items() if names is None])
    table.refuse(wrong, cells, "names no genres, as Comedy|Drama does")
    odd = re.compile(r"[,;/]" if mark else r"[/\s]")
    whole = next((name for cell in plain for name in found[cell] or () if odd.search(name)), "")
    if mark not in "|" or whole:
        one = f", and {whole!r} is one" * bool(whole)
        note(f"{table.path}: {mark or '|'!r} separates genres{one}; a bar leaves no doubt.")
    return pl.Series([found[cell] for cell in cells], dtype=pl.List(pl.String))


def _genre_names(cell: str, mark: str) -> list[str] | None:
    """Return the genres of a cell, each once; ``None`` for a list that is none of names."""
    parts: list[Any] = cell.split(mark)
    if re.match(r"[\[{]|\(\s*['\"]", cell):
        try:
            # numpy puts no comma between texts
            value = literal(re.sub(r"(?<=['\"])\s+(?=['\"])", ", ", cell))
            value = [value] if value and isinstance(value, dict) else value
            parts = [one["name"] if isinstance(one, dict) else one for one in value]
        except (ValueError, KeyError, TypeError):
            bare = re.fullmatch(r"\[[^\[\]{}'\"]+\]", cell)
            parts = cell[1:-1].split(",") if bare else [None]
    if not all(isinstance(part, str) for part in parts):
        return None
    names = dict.fromkeys(" ".join(part.split()) for part in parts)
    return [name for name in names if name.lower() not in NO_GENRE]
