"""Data of one's own: the example in data/, and every way in which a CSV file goes wrong."""

import csv
import io
import re
import tempfile
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import latentcrs_utils as lc
from latentcrs_utils.data.csv_files import Table, read_csv_pair
from latentcrs_utils.data.sequences import Dataset
from latentcrs_utils.errors import DataError
from tests.conftest import raw_sequences

TABLES = tomllib.loads(Path(__file__).with_name("tables.toml").read_text("utf-8"))
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
    "semicolons": lambda text: text.replace(",", ";"),
    "tabs": lambda text: text.replace(",", "\t"),
    "bars": lambda text: text.replace(",", "|"),
    "unnamed columns": lambda text: text.replace("\n", ",,\n"),
    "unnamed columns in the header alone": lambda text: text.replace("\n", ",,\n", 1),
    "empty cells at the end": lambda text: text.replace("m06,4,1700176400", "m06,4,1700176400,,"),
    "empty rows": lambda text: text.replace("\n", "\n,,,\n", 2).replace("\n", "\n , \n", 1),
    "index of pandas": lambda text: "," + text.strip().replace("\n", "\n7,"),
    "two indices": lambda text: "Unnamed: 0.1,Unnamed: 0," + text.strip().replace("\n", "\n7,7,"),
    "notes twice": lambda text: text.replace("\n", ",x,y\n").replace(",x,y", ",note,note", 1),
    "all in quotes": lambda text: re.sub(r"[^,\n]+", r'"\g<0>"', text),
    "milliseconds": lambda text: re.sub(r"(?m)(1[67]\d{8})$", r"\g<1>000", text),
    "decimals": lambda text: re.sub(r"(?m)(1[67]\d{8})$", r"\1.0", text),
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
        message = f"{file}.csv, line 1, column '{missing}': there is no such column among "
        with pytest.raises(DataError, match=f"{message}{', '.join(names)}; needed are {wanted}; c"):
            load(texts["mine"], texts["films"])


MISTAKES = [
    (file, old, new.replace("BAD", bad), message.replace("BAD", re.escape(repr(bad))))
    for file, rows in TABLES["mistakes"].items()
    for old, new, message, *values in rows
    for bad in [*values, [""]][0]
]


@pytest.mark.parametrize(("file", "old", "new", "message"), MISTAKES)
def test_a_mistake_has_its_line(load: Load, file: str, old: str, new: str, message: str) -> None:
    texts = {"mine": INTERACTIONS, "films": ITEMS}
    assert old in texts[file]
    texts[file] = texts[file].replace(old, new)
    with pytest.raises(DataError, match=rf"{file}\.csv, {message}") as caught:
        load(texts["mine"], texts["films"])
    assert "\n" not in str(caught.value)


# a title as it is written -> as it is read; None: refused on its line
QUOTES: dict[str, str | None] = {text: text for text in TABLES["quotes"]["same"]}
QUOTES |= TABLES["quotes"]["read"] | dict.fromkeys(TABLES["quotes"]["refused"])


@pytest.mark.parametrize("written", QUOTES)
def test_quotation_marks(load: Load, written: str) -> None:
    items = ITEMS.replace("Paper Umbrellas", written)
    if (title := QUOTES[written]) is None:
        with pytest.raises(DataError, match=r"films\.csv, line [34], column "):
            load(items=items)
    else:
        data = load(items=items)
        assert (data.title(data.item_index("m02")), data.n_items) == (title, 10)


cells = st.text(st.sampled_from("ab\"',;\t \n\r|é"), max_size=6)


@given(
    st.lists(st.tuples(cells, cells, cells), min_size=1, max_size=6),
    st.sampled_from(",;\t"),
    st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL, None]),
)
@example([("x", '"a', "y"), ("x", 'b"', "y")], ",", None)
@example([("x", '"a', "b,c"), ("x", "y", "z"), ("x", 'b"', "y")], ",", None)
def test_a_written_table_is_read_back_whole_or_refused(rows: list, mark: str, style: Any) -> None:
    """Written properly or, without a style, by somebody who knows no quotation marks."""
    rows = [(f"{n}", *row) for n, row in enumerate(rows)]
    written = io.StringIO("u,v,w,x\n".replace(",", mark))
    written.seek(0, io.SEEK_END)
    if style is None:
        rows = [[re.sub(r"\s", "", cell) for cell in row] for row in rows]
        written.writelines(mark.join(row) + "\n" for row in rows)
    else:
        csv.writer(written, delimiter=mark, quoting=style).writerows(rows)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "t.csv"
        path.write_bytes(written.getvalue().encode())
        try:
            found = Table(path, tuple("uvwx")).frame.rows()
        except DataError as refusal:
            assert re.search(r"t\.csv, line \d+, column ('\w'|\d+): ", str(refusal))
            return
    if style is None:
        assert [row[0] for row in found] == [row[0] for row in rows]
    else:
        ends = [[cell.replace("\r\n", "\n").replace("\r", "\n") for cell in row] for row in rows]
        assert found == list(map(tuple, ends))


# cells of one file -> the genres of the first (None: refused), and whether a note says how
GENRES: dict[tuple[str, ...], tuple[str | None, bool]] = {
    (cells,) if isinstance(cells, str) else tuple(cells): (genres, how == "noted")
    for how in ("clear", "noted")
    for genres, columns in TABLES["genres"][how].items()
    for cells in columns
} | {(cell,): (None, False) for cell in TABLES["genres"]["refused"]}


@pytest.mark.parametrize("written", GENRES)
def test_notations_of_genres(tmp_path: Path, capsys, monkeypatch, written: tuple[str, ...]) -> None:
    monkeypatch.setenv("LATENTCRS_PROGRESS", "1")
    rows = [[f"{n}", "t", "", cell] for n, cell in enumerate(written)]
    with (tmp_path / "i.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["item", "title", "year", "genres"], *rows])
    (tmp_path / "m.csv").write_text("user,item,timestamp\nu,0,1\n")
    genres, said = GENRES[written]
    if genres is None:
        with pytest.raises(DataError, match=r"i\.csv, line 2, column 'genres': .* names no genres"):
            read_csv_pair(tmp_path / "m.csv", tmp_path / "i.csv")
    else:
        found = read_csv_pair(tmp_path / "m.csv", tmp_path / "i.csv").items["genres"][0]
        assert ("|".join(found), "separates genres" in capsys.readouterr().err) == (genres, said)


def test_an_empty_file_another_encoding_or_none(load: Load) -> None:
    texts = {"": " is empty", "\n \n": " is empty", "\nuser,item,timestamp\n": ", line 2: there is"}
    for content, message in texts.items():
        with pytest.raises(DataError, match=rf"mine\.csv{message}.*; correct the file\."):
            load(content)
    with pytest.raises(DataError, match=r"films\.csv, line 11, column 5: the text is not UTF-8; s"):
        load(items=ITEMS.encode("latin-1"))
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
