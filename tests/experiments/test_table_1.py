"""Table 1, counted again: what is recorded, and that the record in results/ still holds."""

import dataclasses
import json
from pathlib import Path

import pytest

from experiments import program, table_1
from latentcrs_utils.data.loading import load_dataset

RECORD = Path(__file__).resolve().parents[2] / "results" / "table_1.json"


RECORDED = json.loads(RECORD.read_text("utf-8"))
RECORDED_ROWS = {(row["data"], row["filter"]): row for row in RECORDED["rows"]}


def test_a_row_by_hand():
    data = load_dataset("ml-100k", k_core=53)
    row = table_1.row(data, "k-core")
    assert (row["users"], row["items"]) == (data.n_users, data.n_items)
    assert row["actions"] == len(data.interactions.flat)
    assert row["passes"][0] == [942, 1447, 55375]
    assert row["passes"][-1] == row["passes"][-2] == [row["users"], row["items"], row["actions"]]
    for name, n_left_out in {"histories": 3, "parts": 2}.items():
        items = {item for row in data.interactions for item in row[:-n_left_out].tolist()}
        assert row[f"items_of_training_{name}"] == len(items)


def test_the_command_records_both_filters(tmp_path, capsys):
    path = tmp_path / "table_1.json"
    table_1.main(["--datasets", "ml-100k", "--record", str(path)])
    content = json.loads(path.read_text("utf-8"))
    assert content["command"].startswith("python -m experiments.table_1 ")
    assert {"date", "machine", "versions"} <= set(content)
    assert "ml-100k, official: 938 users, 1,447 items, 55,361 actions" in capsys.readouterr().out
    # and the record in results/ holds for the embedded data
    assert content["rows"] == [RECORDED_ROWS["ml-100k", f] for f in ("k-core", "official")]


def test_the_papers_own_counts_are_printed_behind_ours(tmp_path, capsys, monkeypatch):
    tiny = dataclasses.replace(load_dataset("ml-100k", k_core=53), name="amazon-video-games")
    monkeypatch.setattr(table_1, "load_dataset", lambda name, filter: tiny)
    table_1.main(["--datasets", tiny.name, "--record", str(tmp_path / "table_1.json")])
    paper = "amazon-video-games, as printed in the paper: 15,582 users, 7,233 items, 122,179"
    assert paper in capsys.readouterr().out


@pytest.mark.parametrize(("name", "filter"), RECORDED_ROWS)
def test_the_record_holds_for_the_providers_files(provider_data, name, filter):
    assert table_1.row(load_dataset(name, filter=filter), filter) == RECORDED_ROWS[name, filter]


def test_an_error_of_the_course_is_one_sentence_and_status_2(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["", "--datasets", "nowhere", "--record", "none.json"])
    monkeypatch.setattr(table_1.main, "__module__", "__main__")
    with pytest.raises(SystemExit, match="2"):
        program(table_1.main)
    assert capsys.readouterr().err.startswith("There is no data set 'nowhere'")
