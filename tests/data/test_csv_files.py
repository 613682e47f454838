"""Data of one's own: the example in data/, and every way in which a CSV file goes wrong."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

import latentcrs_utils as lc
from latentcrs_utils.data.sequences import Dataset
from latentcrs_utils.errors import DataError
from tests.conftest import raw_sequences

EXAMPLE = Path(__file__).resolve().parents[2] / "data" / "example"
INTERACTIONS = (EXAMPLE / "interactions.csv").read_text(encoding="utf-8")
ITEMS = (EXAMPLE / "items.csv").read_text(encoding="utf-8")
Load = Callable[..., Dataset]


@pytest.fixture
def load(tmp_path: Path) -> Load:
    """Write two files and load them."""

    def load(interactions: str | bytes = INTERACTIONS, items: str | bytes = ITEMS) -> Dataset:
        for name, content in (("mine.csv", interactions), ("films.csv", items)):
            data = content if isinstance(content, bytes) else content.encode()
            (tmp_path / name).write_bytes(data)
        return lc.load_csv(tmp_path / "mine.csv", str(tmp_path / "films.csv"), k_core=3)

    return load


def test_the_example(load: Load) -> None:
    data = load()
    assert repr(data) == "Dataset(own: 6 users, 10 items, 30 actions)"
    # oldest first; m03 was rated 2 and is no positive
    assert raw_sequences(data)["ada"] == ["m01", "m02", "m05", "m06", "m08"]
    # two ratings at the same time stay in the order of the file
    assert raw_sequences(data)["dora"][:2] == ["m02", "m04"]
    comma, nameless = (data.item(data.item_index(raw)) for raw in ("m03", "m10"))
    assert comma["title"] == "Night Train, No Driver"
    assert comma["genres"] == ["Horror", "Thriller"]
    assert (nameless["title"], nameless["year"]) == ("Étude in Rust", None)
    assert data.items.schema["year"] == pl.Int32
    # too small for the defaults
    with pytest.raises(DataError, match="Nothing of tiny is left: no user has 5 ratings"):
        lc.load_csv(EXAMPLE / "interactions.csv", EXAMPLE / "items.csv", name="tiny")


def test_without_ratings_everything_is_positive(load: Load) -> None:
    rows = (line.split(",") for line in INTERACTIONS.splitlines())
    data = load("\n".join(f"{user},{item},{time}" for user, item, _, time in rows))
    assert len(data.interactions.flat) == data.counts["ratings"] == 33
    assert raw_sequences(data)["ada"] == ["m01", "m02", "m05", "m06", "m03", "m08"]


def reordered(text: str) -> str:
    """Swap the first two columns and add one that means nothing."""
    rows = [line.split(",") for line in text.splitlines()]
    return "\n".join(",".join([row[1], row[0], "note", *row[2:]]) for row in rows)


HARMLESS: dict[str, Callable[[str], str]] = {
    "mark": lambda text: "\ufeff" + text,
    "windows": lambda text: text.replace("\n", "\r\n"),
    "old mac": lambda text: text.replace("\n", "\r"),
    "empty lines": lambda text: text.replace("\n", "\n\n") + "\n\n",
    "header": lambda text: text.replace("user,item,rating,time", " User, ITEM ,rating , time"),
    "spaces": lambda text: text.replace(",m05,", ", m05 ,"),
    "reordered": reordered,
}


@pytest.mark.parametrize("change", HARMLESS)
def test_harmless_differences_change_nothing(load: Load, change: str) -> None:
    changed = HARMLESS[change](INTERACTIONS)
    assert changed != INTERACTIONS and load(changed).fingerprint == load().fingerprint


@pytest.mark.parametrize(
    ("file", "wanted"), [("mine", "user, item, timestamp"), ("films", "item, title, year, genres")]
)
def test_a_missing_column(load: Load, file: str, wanted: str) -> None:
    for missing in wanted.split(", "):
        texts = {"mine": INTERACTIONS, "films": ITEMS}
        header, rows = texts[file].split("\n", 1)
        names = ["x" if name == missing else name for name in header.split(",")]
        texts[file] = ",".join(names) + "\n" + rows
        message = f"{file}.csv, line 1: there is no column '{missing}' among {', '.join(names)}; "
        with pytest.raises(DataError, match=f"{message}the first line must name {wanted}, with co"):
            load(texts["mine"], texts["films"])


# of each file: what is written in it, what instead, and what the reader is told
MISTAKES: dict[str, list[tuple[str, str, str]]] = {
    "mine": [
        ("m06,4", "m06,four", "line 5, column 'rating': 'four' is not a number; correct the file"),
        ("m06,4", "m06,inf", "line 5, column 'rating': 'inf' is not a number"),
        ("1700176400", "2023-11-16", "line 5, column 'timestamp': '2023-11-16' is not a number of"),
        ("1700176400", "nan", "line 5, column 'timestamp': 'nan' is not"),
        (",1700176400", "", "line 5, column 'timestamp': the cell is empty"),
        ("ada,m06", "ada,", r"line 5, column 'item': the cell is empty; correct the file\.$"),
        ("\nada,m06", "\n ,m06", "line 5, column 'user': the cell is empty"),
        ("m06,4", "m66,4", "line 5, column 'item': 'm66' is not among the items of .*films"),
        ("ada,m06", "ada,x,m06", "line 5: 5 cells where the first line has 4; correct"),
        (",", ";", "line 1: there is no column 'user' among user;item;rating;timestamp"),
        ("user,item,rating", "user,item,item", "line 1: two columns are called 'item'"),
    ],
    "films": [
        ("m06,", "m02,", "line 7, column 'item': 'm02' is on line 3 already; keep one"),
        ("1994", "around 94", "line 3, column 'year': 'around 94' is not a whole number"),
        ("1994", "99999999999", "line 3, column 'year': '99999999999' is not a whole"),
        ("1994", "1994.5", r"line 3, column 'year': '1994\.5' is not a whole number"),
        ("Paper Umbrellas", "", "line 3, column 'title': the cell is empty"),
        ('"Night Train, No Driver"', "Night Train, No Driver", "line 4: 5 cells"),
        # a title over two lines: the lines after it are still counted right
        ('No Driver",1979,Horror|Thriller\nm04,The Ninth Cellar,1982',
         '\nNo Driver",1979,Horror|Thriller\nm04,The Ninth Cellar,x', "line 6, column 'year': 'x'"),
    ],
}  # fmt: skip


@pytest.mark.parametrize(("file", "mistake"), [(f, m) for f, row in MISTAKES.items() for m in row])
def test_a_mistake_is_named_with_its_line(load: Load, file: str, mistake: tuple) -> None:
    old, new, message = mistake
    texts = {"mine": INTERACTIONS, "films": ITEMS}
    assert old in texts[file]
    texts[file] = texts[file].replace(old, new)
    with pytest.raises(DataError, match=rf"{file}\.csv, {message}") as caught:
        load(texts["mine"], texts["films"])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("encoding", "line"), [("latin-1", 11), ("utf-16", 1)])
def test_another_encoding_is_named_with_its_line(load: Load, encoding: str, line: int) -> None:
    with pytest.raises(DataError, match=rf"films\.csv, line {line}: the text is not UTF-8; save"):
        load(items=ITEMS.encode(encoding))


def test_an_empty_file_or_none(load: Load) -> None:
    texts = {"": "is empty", "\n \n": "is empty", "user,item,timestamp\n": "has a header and no"}
    for content, message in texts.items():
        with pytest.raises(DataError, match=rf"mine\.csv {message}.*; correct the file\."):
            load(content)
    with pytest.raises(DataError, match=r"nowhere\.csv cannot be read \(No such file"):
        lc.load_csv("nowhere.csv", EXAMPLE / "items.csv")


def test_of_repeated_pairs_the_latest_counts(
    load: Load, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LATENTCRS_PROGRESS", "1")
    # ada first liked m03, then (already in the file, later) did not; ben now likes m01
    again = "ada,m03,5,1600000000\nben,m01,5,1800000000\nben,m01,4,1800000000\n"
    data = load(INTERACTIONS + again)
    ada, ben = (raw_sequences(data)[user] for user in ("ada", "ben"))
    assert "m03" not in ada and ben.index("m01") == len(ben) - 1
    assert data.counts["ratings"] == 33
    assert "3 earlier rows of the same user and item were left out" in capsys.readouterr().err


def test_whole_years_written_as_decimals_and_repeated_genres(load: Load) -> None:
    data = load(items=ITEMS.replace("1994,Comedy|Romance", "1994.0, Comedy || Romance|Comedy"))
    film = data.item(data.item_index("m02"))
    assert (film["year"], film["genres"]) == (1994, ["Comedy", "Romance"])
