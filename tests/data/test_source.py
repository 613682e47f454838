"""Every packing of a file gives the same rows; titles and years are made readable."""

import bz2
import gzip
import io
import lzma
import re
import tomllib
import zipfile
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from latentcrs_utils.data.csv_files import Table
from latentcrs_utils.data.json_lines import read_json_lines
from latentcrs_utils.data.source import Statistics, mend_year, tidy_title
from latentcrs_utils.errors import DataError

TABLES = tomllib.loads(Path(__file__).with_name("tables.toml").read_text("utf-8"))
CSV = "id,title\n1,Été 😀\n2,\u2028two\n"
JSON = '{"id": "1", "title": "Été 😀"}\n{"id": "2", "title": "\u2028two"}\n'
ROWS = [("1", "Été 😀"), ("2", "\u2028two")]


def zipped(*members: tuple[str, bytes]) -> bytes:
    with zipfile.ZipFile(packed := io.BytesIO(), "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return packed.getvalue()


def halves(raw: bytes) -> tuple[bytes, bytes]:
    return raw[: len(raw) // 2], raw[len(raw) // 2 :]


PACKINGS: dict[str, Callable[[str], bytes]] = {
    "plain": str.encode,
    "mark": lambda text: text.encode("utf-8-sig"),
    "no last line end": lambda text: text.rstrip("\n").encode(),
    "crlf": lambda text: text.replace("\n", "\r\n").encode(),
    "cr": lambda text: text.replace("\n", "\r").encode(),
    "gzip": lambda text: gzip.compress(text.encode()),
    "gzip of two members": lambda text: b"".join(map(gzip.compress, halves(text.encode()))),
    "gzip of gzip": lambda text: gzip.compress(gzip.compress(text.encode())),
    "gzip with a mark": lambda text: gzip.compress(text.encode("utf-8-sig")),
    "bzip2": lambda text: bz2.compress(text.encode()),
    "xz": lambda text: lzma.compress(text.encode()),
    "lzma": lambda text: lzma.compress(text.encode(), lzma.FORMAT_ALONE),
    "zip": lambda text: zipped(("any.csv", text.encode())),
    "zip of macOS": lambda text: zipped(("a/", b""), ("a/b", text.encode()), ("__MACOSX/b", b"x")),
    "zip of gzip": lambda text: zipped(("any.csv.gz", gzip.compress(text.encode()))),
    "gzip of zip": lambda text: gzip.compress(zipped(("any.csv", text.encode()))),
    "gzip of utf-16": lambda text: gzip.compress(text.encode("utf-16")),
    **{f"{order} with a mark": (lambda text, order=order: f"\ufeff{text}".encode(order))
       for order in ("utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be")},
    **{order: (lambda text, order=order: text.encode(order))
       for order in ("utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be")},
}  # fmt: skip


@pytest.mark.parametrize("name", ["rows.jsonl", "rows.csv", "rows.jsonl.gz", "rows"])
@pytest.mark.parametrize("packing", PACKINGS)
def test_every_packing_is_read_under_every_name(tmp_path: Path, packing: str, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(PACKINGS[packing](CSV))
    assert Table(path, ("id", "title")).frame.rows() == ROWS
    path.write_bytes(PACKINGS[packing](JSON))
    schema = {"id": pl.String(), "title": pl.String()}
    assert pl.concat(read_json_lines(path, schema, ("id",))).rows() == ROWS


TAR = b"x" * 257 + b"ustar" + b"0" * 200
# a file that cannot be read -> what is said
OTHERS = {
    **{start.encode("latin-1"): said for start, said in TABLES["files"].items()}, TAR: "ar",
    b"PK\5\6" + b"\0" * 18: "zip archive without", gzip.compress(TAR): "archive",
    zipped(("a", b"x"), ("b", b"y")): "2 files, not one", zipped(("a/", b"")): "0 files",
    gzip.compress(gzip.compress(gzip.compress(gzip.compress(gzip.compress(gzip.compress(b"x")))))):
    "archive in an archive", CSV.encode("utf-16")[:-1]: "line 3, column 7: the text is not UTF-16",
    gzip.compress(CSV.encode())[:-9]: "cut off or damaged there",
    bz2.compress(CSV.encode())[:-3]: "cut off", lzma.compress(CSV.encode())[:-3]: "cut off",
}  # fmt: skip


@pytest.mark.parametrize("content", OTHERS)
def test_what_cannot_be_read_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "rows.csv"
    path.write_bytes(content)
    with pytest.raises(DataError, match=f"^{re.escape(str(path))}.*{OTHERS[content]}") as caught:
        Table(path, ("id",))
    assert "\n" not in str(caught.value)
    with pytest.raises(DataError, match=OTHERS[content]):
        list(read_json_lines(path, {"id": pl.String()}, ("id",)))


TITLES, TABLE = TABLES["titles"], TABLES["years"]
# title and cell of the year -> what they make
YEARS = {(title, cell): (left, year or None) for title, cell, left, year in TABLE["cells"]}
YEARS |= {(f"Lost {years}", ""): ("Lost", 2006) for years in TABLE["2006"]}
YEARS |= {(title, ""): (title, None) for title in TABLE["none"]}


def test_titles_become_readable_and_years_are_never_guessed() -> None:
    assert {title: tidy_title(title) for title in TITLES} == TITLES
    assert {given: mend_year(*given) for given in YEARS} == YEARS


def test_statistics_by_hand() -> None:
    ratings = pl.DataFrame({"user": list("aab"), "item": list("xyx")})
    assert Statistics.of(ratings) == Statistics(users=2, items=2, actions=3)
    assert Statistics(2, 5, 3).average_length == 1.5
    assert Statistics(2, 5, 3).sparsity == pytest.approx(0.7)
    assert Statistics(3, 4, 12).sparsity == 0
