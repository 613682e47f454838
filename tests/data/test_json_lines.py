"""JSON lines: block by block as at once, lenient about values, exact about damaged lines."""

import gzip
import json
import re
import tomllib
from pathlib import Path

import polars as pl
import pytest

from latentcrs_utils.data.json_lines import read_json_lines
from latentcrs_utils.errors import DataError

TABLES = tomllib.loads(Path(__file__).with_name("tables.toml").read_text("utf-8"))
DAMAGED = {"[" * 100_000: "column 1: this is no JSON object", **TABLES["lines"]}
SCHEMA: dict[str, pl.DataType] = {
    "id": pl.String(),
    "n": pl.Int64(),
    "x": pl.Float64(),
    "tags": pl.List(pl.String),
    "about": pl.Struct({"made": pl.String}),
}
GOOD = [
    {"id": f"é{i}", "n": i, "x": i / 2, "tags": ["a"] * (i % 3), "about": {"made": "x", "z": [i]}}
    for i in range(50)
]


def lines(rows: list[dict]) -> bytes:
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows)


def read(path: Path, block: int = 1 << 20) -> list[dict]:
    return pl.concat(read_json_lines(path, SCHEMA, ("id", "n"), block)).to_dicts()


# keys that nobody asked for are left out
EXPECTED = [{**row, "about": {"made": "x"}} for row in GOOD]


@pytest.mark.parametrize("block", [7, 100, 1000, 1 << 20])
@pytest.mark.parametrize("compressed", [False, True])
def test_blocks_make_no_difference(tmp_path: Path, block: int, compressed: bool) -> None:
    path = tmp_path / f"rows.jsonl{'.gz' * compressed}"
    # a compressed file may have several members
    members = gzip.compress(lines(GOOD[:20])) + gzip.compress(lines(GOOD[20:]))
    path.write_bytes(members if compressed else lines(GOOD))
    assert read(path, block) == EXPECTED


def test_empty_lines_carriage_returns_and_no_newline_at_the_end(tmp_path: Path) -> None:
    path, start = tmp_path / "rows.jsonl", lines(GOOD[:3]).replace(b"\n", b"\r\n")
    path.write_bytes(b"\n" + start + b"  \n\n" + lines(GOOD[3:])[:-1])
    assert read(path) == read(path, 33) == EXPECTED


def test_values_of_another_kind(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    odd = [
        {"id": 7, "n": "9007199254740993", "x": "3.5", "tags": "none", "about": "none"},
        {"id": "a", "n": 1.5e12, "x": "from 3", "tags": ["a", None, ["b", 1]],
         "about": {"made": [1]}},
        {"id": "b", "n": 1, "x": True, "about": None}, {"id": "c", "n": 2, "x": 10**400},
    ]  # fmt: skip
    path.write_bytes(lines(GOOD[:2]) + lines(odd))
    assert read(path)[2:] == [
        {"id": "7", "n": 9007199254740993, "x": 3.5, "tags": None, "about": None},
        {"id": "a", "n": 1_500_000_000_000, "x": None, "tags": ["a", None, '["b", 1]'],
         "about": {"made": "[1]"}},
        {"id": "b", "n": 1, "x": None, "tags": None, "about": None},
        {"id": "c", "n": 2, "x": None, "tags": None, "about": None},
    ]  # fmt: skip


def test_a_block_read_line_by_line_is_the_same(tmp_path: Path) -> None:
    """One odd line sends its whole block through Python: nothing else may change by that."""
    texts = [7, 2.5, True, ["é", 1, None], {"a": [1, 2]}, "x"]
    rows = [{"id": text, "n": 1, "tags": [text], "about": {"made": text}} for text in texts]
    plain, odd = tmp_path / "plain.jsonl", tmp_path / "odd.jsonl"
    plain.write_bytes(lines(rows))
    odd.write_bytes(lines([*rows, {"id": "odd", "n": "3"}]))
    assert read(odd)[:-1] == read(plain)
    assert read(plain)[3]["id"] == '["é", 1, null]'


@pytest.mark.parametrize("block", [50, 1 << 20])
@pytest.mark.parametrize(("damaged", "message"), DAMAGED.items())
def test_a_damaged_line_is_named(tmp_path: Path, damaged: str, message: str, block: int) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(lines(GOOD[:20]) + f"\n{damaged}\n".encode("latin-1") + lines(GOOD[20:]))
    with pytest.raises(DataError, match=f"^{re.escape(f'{path}, line 22, {message}')}"):
        read(path, block)


def test_a_file_that_is_cut_endless_empty_or_absent(tmp_path: Path, monkeypatch) -> None:
    path = tmp_path / "rows.jsonl"
    monkeypatch.setattr("latentcrs_utils.data.json_lines._LONGEST", 1000)
    for content, message in (
        (lines(GOOD)[:-9], ", line 50, column 81: this is no JSON object"),
        (lines(GOOD) + b"x" * 5000, ", line 51: the line does not end"),
        (b"", " is empty"),
    ):
        path.write_bytes(content)
        with pytest.raises(DataError, match=rf"rows\.jsonl{message}; get the file again"):
            read(path, 100)
    with pytest.raises(DataError, match=r"absent\.jsonl cannot be read \(No such file"):
        read(tmp_path / "absent.jsonl")


def test_a_compressed_file_that_is_cut_off_or_damaged(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl.gz"
    # stored, not compressed, so that the place of the damage is known
    whole = gzip.compress(lines(GOOD), compresslevel=0)
    cut = whole[: whole.index(b'{"id": "\\u00e930"') + 5]
    for content, last in ((cut, 30), (whole[:-6] + b"wrong!", 50), (whole[:5], 0)):
        path.write_bytes(content)
        with pytest.raises(DataError, match=f"after line {last}: the compressed file is cut off"):
            read(path)


def test_half_characters_and_values_that_do_not_fit_are_counted(
    tmp_path: Path, capsys, monkeypatch
):
    monkeypatch.setenv("LATENTCRS_PROGRESS", "1")
    texts = {
        r'"\ud800"': "\ufffd", r'"a\udc00b\uD83Dc"': "a\ufffdb\ufffdc", r'"\ud83d\ude00"': "😀",
        r'"\\ud800"': r"\ud800", r'"\\\ud800"': "\\\ufffd", r'"\ud83d\ud83d\ude00"': "\ufffd😀",
        r'["\ud800"]': '["\ufffd"]', "1.0": "1", "1e3": "1000", "2.5": "2.5", r'"\u0000"': "\0",
    }  # fmt: skip
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(f'{{"id": "i", "n": 1, "about": {{"made": {t}}}}}\n' for t in texts))
    assert [row["about"]["made"] for row in read(path)] == list(texts.values())
    written = ['{"made": "x"}', "{'made': 'x'}", "{'made': x}", "null", "", "[1]"]
    rows = [{"id": "i", "n": 1, "about": text, "tags": "['a', None]"} for text in written]
    path.write_bytes(path.read_bytes() + lines(rows))
    found = read(path)[len(texts) :]
    assert [row["about"] for row in found] == [{"made": "x"}] * 2 + [None] * 4
    assert all(row["tags"] == ["a", None] for row in found)
    assert "not read: 6 halves of characters, 2 values of 'about'." in capsys.readouterr().err
