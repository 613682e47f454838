"""JSON-lines files of any length in bounded memory: one object a line, packed or not.

While one block of lines is parsed, the next is read and decompressed. ``polars.scan_ndjson``
takes memory that grows with the file (results/amazon_scale.json) and names no damaged line.
"""

import json
import re
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl

from latentcrs_utils.data.source import damaged, literal, unpacked
from latentcrs_utils.support.progress import bytes_bar, note

Schema = dict[str, pl.DataType]
Wanted = tuple[Schema, tuple[str, ...], Counter[str]]  # required columns; what could not be read
BLOCK = 1 << 24  # bytes of text parsed at once
_LONGEST = 1 << 26  # bytes of one line, far beyond any review
_ADVICE = "get the file again"
# an escaped backslash, a character of two halves, and half a one, which is no text
_ESCAPE = re.compile(rb"\\(?:\\|u[dD][89abAB]..\\u[dD][c-fC-F]..|(u[dD][89a-fA-F]..))")
_NO_TEXT = "\ufffd|^\\s*$"  # of a text that is required


def read_json_lines(
    path: Path, schema: Schema, required: tuple[str, ...], block: int = BLOCK
) -> Iterator[pl.DataFrame]:
    """Give the columns of ``schema``, a block of lines at a time, in the order of the file.

    Memory is a small multiple of ``block``, bytes of text. Empty lines and other keys are left out.
    A key that a line lacks is null, and so, counted in a note, is a value that its column cannot
    hold; a number, object or list written as text is one. DataError, with line and column: the file
    is empty, cut off or damaged, or a line is no JSON object or has no ``required`` value.
    """
    blocks, left_out = _blocks(path, block), Counter[str]()
    with ThreadPoolExecutor(1) as reader:
        upcoming = reader.submit(next, blocks, None)
        if upcoming.result() is None:
            raise damaged(path, f"is empty; {_ADVICE}")
        while (found := upcoming.result()) is not None:
            upcoming = reader.submit(next, blocks, None)
            yield _parsed(path, *found, (schema, required, left_out))
    if what := ", ".join(f"{times:,} {name}" for name, times in left_out.items()):
        note(f"{path}: not read: {what}.")


def _blocks(path: Path, size: int) -> Iterator[tuple[int, bytes]]:
    """Cut a file into blocks of whole lines, each with the number of its first line."""
    first = 1
    with unpacked(path) as (text, file), bytes_bar(path.name, path.stat().st_size) as bar:
        while lines := text.read(size):
            if not lines.endswith(b"\n"):
                lines += (end := text.readline(_LONGEST))
                if len(end) == _LONGEST and not end.endswith(b"\n"):
                    line = first + lines.count(b"\n")
                    raise damaged(path, f"the line does not end; {_ADVICE}", line=line)
            yield first, lines
            first += lines.count(b"\n")
            bar.update(file.tell() - bar.n)


def _parsed(path: Path, first: int, lines: bytes, wanted: Wanted) -> pl.DataFrame:
    """Parse a block at once; line by line only where that fails."""
    schema, required, left_out = wanted
    if b"\\ud" in lines.lower() and (halves := sum(map(bool, _ESCAPE.findall(lines)))):
        left_out["halves of characters"] += halves
        lines = _ESCAPE.sub(lambda found: rb"\ufffd" if found[1] else found[0], lines)
    with suppress(pl.exceptions.PolarsError):
        frame = pl.read_ndjson(lines, schema=schema)
        flaws = pl.lit(False), pl.col(pl.String).str.contains(_NO_TEXT), pl.all().is_null()
        if not frame.select(required).select(pl.any_horizontal(flaws).any()).item():
            return frame
    numbered = enumerate(lines.splitlines(), first)
    rows = [_row(path, number, line, wanted) for number, line in numbered if line.strip()]
    return pl.DataFrame(rows, schema=schema)


def _row(path: Path, number: int, line: bytes, wanted: Wanted) -> dict[str, Any]:
    """Parse one line with Python: lenient about kinds of values, exact about what is wrong."""
    schema, required, left_out = wanted
    found, place, wrong = None, 1, partial(damaged, path, line=number)
    try:
        found = json.loads(line)
    except (ValueError, RecursionError) as error:
        place = getattr(error, "colno", getattr(error, "start", 0) + 1)
    if not isinstance(found, dict):
        raise wrong(f"this is no JSON object; {_ADVICE}", column=place)
    row = {name: _fitted(found.get(name), dtype) for name, dtype in schema.items()}
    for name in required:
        if name not in found:
            raise wrong(f"there is no such key among {list(found)!r:.80}; {_ADVICE}", column=name)
        if row[name] is None or re.search(_NO_TEXT, str(row[name])):
            shown = json.dumps(found[name], ensure_ascii=False)
            raise wrong(f"{shown:.40} is no value; {_ADVICE}", column=name)
    for name in row:
        if row[name] is None and found.get(name) not in (None, "", "null", "None"):
            left_out[f"values of {name!r}"] += 1
    return row


def _fitted(value: Any, dtype: Any) -> Any:
    """Turn one JSON value into what a column of ``dtype`` holds; ``None`` if it cannot."""
    if dtype.is_nested():
        with suppress(ValueError):
            value = literal(value) if isinstance(value, str) else value
        if isinstance(dtype, pl.Struct) and isinstance(value, dict):
            return {part.name: _fitted(value.get(part.name), part.dtype) for part in dtype.fields}
        of_list = isinstance(dtype, pl.List) and isinstance(value, list)
        return [_fitted(one, dtype.inner) for one in value] if of_list else None
    if dtype == pl.String:
        if value is None or isinstance(value, str):
            return value
        # as polars writes it, a whole float without its point
        integral = isinstance(value, float) and value.is_integer()
        return str(int(value)) if integral else json.dumps(value, ensure_ascii=False)
    with suppress(TypeError, ValueError, OverflowError):
        exact = type(value) is int or (isinstance(value, str) and value.isdecimal())
        number = int(value) if exact else float("" if isinstance(value, bool) else value)
        # fails where it is not finite
        whole = int(number)
        fits = not dtype.is_integer() or (whole == number and -(2**63) <= whole < 2**63)
        return (whole if dtype.is_integer() else float(number)) if fits else None
    return None
