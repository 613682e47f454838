"""What all readers share: how a file becomes text, what they return, how they say what is wrong."""

import ast
import bz2
import gzip
import io
import json
import lzma
import re
import tomllib
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
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
# how files begin that are no text
_FORMATS = tomllib.loads(Path(__file__).with_name("formats.toml").read_text(encoding="utf-8"))
_DAMAGE = OSError, EOFError, zlib.error, lzma.LZMAError, zipfile.BadZipFile
UNKNOWN_TITLE = "Unknown title"
ITEM_SCHEMA = dict(
    raw_item=pl.String(), title=pl.String(), year=pl.Int32(), genres=pl.List(pl.String)
)


@dataclass(frozen=True)
class Source:
    """What a reader returns: all ratings in file order, and the items with metadata.

    The columns of ``ratings`` are user, item (the provider's ids: str, or a categorical of str
    where there are millions of rows), rating (float), timestamp (a number; only its order counts).
    """

    ratings: pl.DataFrame
    items: pl.DataFrame  # raw_item (str) and what `Dataset.items` has of an item, in file order
    complete_from: float = 0.0  # ratings below this one are not all there
    repeated: int = 0  # further ratings of one user for one item that the reader left out
    official_passes: int | None = None  # of the official loop; None: it filtered users only


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
    """Say in one sentence what is wrong with a file, in which line and column (name, or from 1)."""
    place = f", line {line:,}" * bool(line) + f", column {column!r}" * bool(column)
    return DataError(f"{path}{place}{':' * bool(place)} {problem}.")


def literal(text: str) -> Any:
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
    """Return title and year, from the end of the title where its cell has none; None: unknown."""
    if year.isdigit() and len(year) == 4:
        return title, int(year)
    in_title = _TRAILING_YEAR.search(title)
    return (title[: in_title.start()], int(in_title[1])) if in_title else (title, None)


@contextmanager
def unpacked(path: Path) -> Iterator[tuple[Any, Any]]:
    """Give the text of a file as a binary stream, and the file itself, whose place is progress.

    gzip, bzip2, xz and zip are unpacked, one inside another too; a mark at the start is left out,
    UTF-16 and UTF-32 (held whole) become UTF-8. DataError: unreadable, no text, cut off, damaged.
    """
    try:
        with path.open("rb") as file:
            stream = _layers(path, file)
            encoding = json.detect_encoding(stream.peek(4)[:4])
            if encoding == "utf-8-sig":
                stream.read(3)
            elif encoding != "utf-8":
                stream = io.BytesIO(decode(path, stream.read(), encoding).encode())
            yield stream, file
    except _DAMAGE as error:
        if reason := getattr(error, "strerror", None):
            raise damaged(path, f"cannot be read ({reason}); check the name of the file") from None
        lines = 0
        with path.open("rb") as file, suppress(*_DAMAGE):
            stream = _layers(path, file)
            # read1 gives what there is before it fails
            while read := stream.read1(1 << 10):
                lines += read.count(b"\n")
        what = "the compressed file is cut off or damaged there; get the file again."
        raise DataError(f"{path}, after line {lines:,}: {what}") from None


def decode(path: Path, raw: bytes, encoding: str) -> str:
    """Decode text, every line ending with ``"\\n"``; DataError, with line and column: it is not."""
    try:
        return raw.decode(encoding).replace("\r\n", "\n").replace("\r", "\n")
    except UnicodeDecodeError as error:
        before = decode(path, raw[: error.start], encoding)
        remedy = 'save the file again as UTF-8 (in spreadsheets "CSV UTF-8")'
        where, problem = place(before, len(before)), f"the text is not {encoding.upper()}; {remedy}"
        raise damaged(path, problem, **where) from None


def place(text: str, index: int) -> dict[str, Any]:
    """Return line and column, both from 1, of a character of a text."""
    return dict(line=text.count("\n", 0, index) + 1, column=index - text.rfind("\n", 0, index))


def _layers(path: Path, stream: Any) -> Any:
    """Open one compression after another, at most four, until there is text."""
    for _ in range(5):
        head = stream.peek(512)[:512]
        unpack = next((_UNPACK[first] for first in _UNPACK if head.startswith(first)), None)
        if unpack is None:
            break
        try:
            stream = unpack(stream)
        except (RuntimeError, ValueError) as error:
            raise damaged(path, f"cannot be unpacked ({error}); unpack the right file") from None
    known = (what for first, what in _FORMATS.items() if re.match(first.encode("latin-1"), head))
    if what := next(known, None):
        raise damaged(path, what)
    return stream


def _only_file(packed: Any) -> Any:
    """Open the one file of a zip archive, leaving out what macOS adds."""
    archive = zipfile.ZipFile(packed)
    names = [name for name in archive.namelist() if not re.search(r"__MACOSX/|/$", name)]
    if len(names) != 1:
        raise ValueError(f"{len(names)} files, not one, begin with {names[:3]}")
    return archive.open(names[0])


_UNPACK: dict[bytes, Any] = {b"\x1f\x8b": gzip.open, b"BZh": bz2.open, b"PK\3\4": _only_file}
_UNPACK |= dict.fromkeys((b"\xfd7zXZ\0", b"\x5d\0\0"), lzma.open)
