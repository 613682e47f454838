"""JSON-lines files of any length in bounded memory: one object a line, plain or gzip.

While one block of lines is parsed, the next is read and decompressed. ``polars.scan_ndjson``
takes memory that grows with the file (results/amazon_scale.json) and names no damaged line.
"""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl

from latentcrs_utils.data.source import damaged
from latentcrs_utils.errors import DataError
from latentcrs_utils.support.progress import bytes_bar

Schema = dict[str, pl.DataType]
BLOCK = 1 << 24  # bytes of text parsed at once
_LONGEST = 1 << 26  # bytes of one line, far beyond any review
_ADVICE = "get the file again"
_DAMAGE = EOFError, zlib.error, gzip.BadGzipFile


def read_json_lines(
    path: Path, schema: Schema, required: tuple[str, ...], block: int = BLOCK
) -> Iterator[pl.DataFrame]:
    """Give the columns of ``schema``, a block of lines at a time, in the order of the file.

    The file is compressed if its name ends in ``.gz``; memory is a small multiple of ``block``,
    bytes of text. Empty lines and other keys are left out. A key that a line lacks is null, and so
    is a value that its column cannot hold (a word for a number); a number in quotes is a number,
    and a column of text takes everything as text. DataError, one sentence with file and line: the
    file is empty, cut off or damaged, or a line is no JSON object or has no ``required`` value.
    """
    blocks = _blocks(path, block)
    with ThreadPoolExecutor(1) as reader:
        upcoming = reader.submit(next, blocks, None)
        if upcoming.result() is None:
            raise damaged(path, f"is empty; {_ADVICE}")
        while (found := upcoming.result()) is not None:
            upcoming = reader.submit(next, blocks, None)
            yield _parsed(path, *found, schema, required)


def _blocks(path: Path, size: int) -> Iterator[tuple[int, bytes]]:
    """Cut a file into blocks of whole lines, each with the number of its first line."""
    first = 1
    try:
        with path.open("rb") as file, bytes_bar(path.name, path.stat().st_size) as bar:
            # a gzip file may have several members
            text: Any = gzip.GzipFile(fileobj=file) if path.suffix == ".gz" else file
            while lines := text.read(size):
                if not lines.endswith(b"\n"):
                    lines += (end := text.readline(_LONGEST))
                    if len(end) == _LONGEST and not end.endswith(b"\n"):
                        line = first + lines.count(b"\n")
                        raise damaged(path, f"the line does not end; {_ADVICE}", line=line)
                yield first, lines
                first += lines.count(b"\n")
                bar.update(file.tell() - bar.n)
    except _DAMAGE:
        what = f"the compressed file is cut off or damaged there; {_ADVICE}."
        raise DataError(f"{path}, after line {_last_line(path):,}: {what}") from None
    except OSError as error:
        raise damaged(path, f"cannot be read ({error.strerror or error})") from None


def _last_line(path: Path) -> int:
    """Count the whole lines before the place where a compressed file is damaged."""
    lines = 0
    with gzip.open(path) as text, suppress(*_DAMAGE):
        # read1 gives what there is before it fails
        while read := text.read1(1 << 10):
            lines += read.count(b"\n")
    return lines


def _parsed(
    path: Path, first: int, lines: bytes, schema: Schema, required: tuple[str, ...]
) -> pl.DataFrame:
    """Parse a block at once; line by line only where that fails."""
    with suppress(pl.exceptions.PolarsError):
        frame = pl.read_ndjson(lines, schema=schema)
        if not any(frame[name].null_count() for name in required):
            return frame
    rows = []
    for number, line in enumerate(lines.split(b"\n"), first):
        if line.strip():
            try:
                rows.append(_row(line, schema, required))
            except ValueError as error:
                raise damaged(path, f"{error}; {_ADVICE}", line=number) from None
    return pl.DataFrame(rows, schema=schema)


def _row(line: bytes, schema: Schema, required: tuple[str, ...]) -> dict[str, Any]:
    """Parse one line with Python: lenient about kinds of values, exact about what is wrong."""
    found = None
    with suppress(ValueError):
        found = json.loads(line)
    if not isinstance(found, dict):
        raise ValueError("this is no JSON object")
    row = {name: _fitted(found.get(name), dtype) for name, dtype in schema.items()}
    for name in required:
        if name not in found:
            raise ValueError(f"there is no {name!r}")
        if row[name] is None:
            raise ValueError(f"{_text(found[name])[:40]} is no value for {name!r}")
    return row


def _fitted(value: Any, dtype: Any) -> Any:
    """Turn one JSON value into what a column of ``dtype`` holds; ``None`` if it cannot."""
    if isinstance(dtype, pl.Struct):
        inner = value if isinstance(value, dict) else {}
        return {part.name: _fitted(inner.get(part.name), part.dtype) for part in dtype.fields}
    if isinstance(dtype, pl.List):
        return [_fitted(one, dtype.inner) for one in value] if isinstance(value, list) else None
    if dtype == pl.String:
        return value if value is None or isinstance(value, str) else _text(value)
    with suppress(TypeError, ValueError, OverflowError):
        number = float("" if isinstance(value, bool) else value)
        # fails where it is not finite
        whole = int(number)
        return whole if dtype.is_integer() else number
    return None


_text = partial(json.dumps, ensure_ascii=False)
