"""The text of a file, however it is packed: its first bytes tell how, not its name."""

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
from pathlib import Path
from typing import Any

from latentcrs_utils.data.source import damaged
from latentcrs_utils.errors import DataError

# how files begin that are no text
_FORMATS = tomllib.loads(Path(__file__).with_name("formats.toml").read_text(encoding="utf-8"))
_DAMAGE = OSError, EOFError, zlib.error, lzma.LZMAError, zipfile.BadZipFile


def _only_file(packed: Any) -> Any:
    """Open the one file of a zip archive, leaving out what macOS adds."""
    archive = zipfile.ZipFile(packed)
    names = [name for name in archive.namelist() if not re.search(r"__MACOSX/|/$", name)]
    if len(names) != 1:
        raise ValueError(f"{len(names)} files, not one, begin with {names[:3]}")
    return archive.open(names[0])


_UNPACK: dict[bytes, Any] = {b"\x1f\x8b": gzip.open, b"BZh": bz2.open, b"PK\3\4": _only_file}
_UNPACK |= dict.fromkeys((b"\xfd7zXZ\0", b"\x5d\0\0"), lzma.open)


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
                stream = io.BytesIO(decoded(path, stream.read(), encoding).encode())
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


def decoded(path: Path, raw: bytes, encoding: str) -> str:
    """Decode text, every line ending with ``"\\n"``; DataError, with line and column: it is not."""
    try:
        return raw.decode(encoding).replace("\r\n", "\n").replace("\r", "\n")
    except UnicodeDecodeError as error:
        before = decoded(path, raw[: error.start], encoding)
        remedy = 'save the file again as UTF-8 (in spreadsheets "CSV UTF-8")'
        where, problem = place(before, len(before)), f"the text is not {encoding.upper()}; {remedy}"
        raise damaged(path, problem, **where) from None


def place(text: str, index: int) -> dict[str, Any]:
    """Return line and column, both from 1, of a character of a text."""
    return dict(line=text.count("\n", 0, index) + 1, column=index - text.rfind("\n", 0, index))
