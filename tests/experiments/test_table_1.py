"""Table 1, counted again: what is recorded, and that the record in results/ still holds."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from experiments import table_1
from latentcrs_utils.data.loading import load_dataset
from latentcrs_utils.errors import AssetError

RECORD = Path(__file__).resolve().parents[2] / "results" / "table_1.json"


def recorded_rows():
    return {(r["data"], r["filter"]): r for r in json.loads(RECORD.read_text("utf-8"))["rows"]}


def test_a_row_by_hand():
    data = load_dataset("ml-100k", k_core=53)
    row = table_1.row(data, "k-core")
    assert (row["users"], row["items"]) == (data.n_users, data.n_items)
    assert row["actions"] == len(data.interactions.flat)
    assert row["passes"][0] == [942, 1447, 55375]
    assert row["passes"][-1] == row["passes"][-2] == [row["users"], row["items"], row["actions"]]
    histories = {item for sequence in data.interactions for item in sequence[:-3].tolist()}
    assert row["items_of_training_histories"] == len(histories)
    parts = {item for sequence in data.interactions for item in sequence[:-2].tolist()}
    assert row["items_of_training_parts"] == len(parts)


def test_the_command_records_both_filters(tmp_path, capsys):
    path = tmp_path / "table_1.json"
    table_1.main(["--datasets", "ml-100k", "--record", str(path)])
    content = json.loads(path.read_text("utf-8"))
    assert content["command"].startswith("python -m experiments.table_1 ")
    assert {"date", "machine", "versions"} <= set(content)
    assert "ml-100k, official: 938 users, 1,447 items, 55,361 actions" in capsys.readouterr().out
    # and the record in results/ holds for the embedded data
    assert content["rows"] == [recorded_rows()["ml-100k", f] for f in ("k-core", "official")]


def test_without_names_amazon_is_counted_where_it_is(tmp_path, capsys, monkeypatch):
    """Amazon's files are the reader's own: one set is there, for the other a line says why not."""
    tiny = load_dataset("ml-100k", k_core=53)

    def load(name, filter):
        if name == "amazon-cds":
            raise AssetError("CDs are not downloaded by the course.")
        return dataclasses.replace(tiny, name=name)

    monkeypatch.setattr(table_1, "load_dataset", load)
    table_1.main(["--record", str(tmp_path / "table_1.json")])
    content = json.loads((tmp_path / "table_1.json").read_text("utf-8"))
    names = ["ml-1m", "ml-latest-small", "ml-100k", "amazon-video-games"]
    assert [row["data"] for row in content["rows"]] == [name for name in names for _ in range(2)]
    assert f"--datasets {' '.join(names)}" in content["command"]
    out = capsys.readouterr().out
    assert "amazon-cds: no row. CDs are not downloaded by the course." in out
    games = "15,582 users, 7,233 items, 122,179 actions"
    assert f"amazon-video-games, as printed in the paper: {games}" in out
    monkeypatch.setattr(table_1, "load_dataset", lambda name, filter: load("amazon-cds", filter))
    with pytest.raises(AssetError):
        table_1.main(["--datasets", "amazon-cds", "--record", str(tmp_path / "other.json")])


@pytest.mark.parametrize(("name", "filter"), recorded_rows())
def test_the_record_holds_for_the_providers_files(provider_data, name, filter):
    assert table_1.row(load_dataset(name, filter=filter), filter) == recorded_rows()[name, filter]


def test_the_record_shows_no_path_of_a_machine():
    command = json.loads(RECORD.read_text("utf-8"))["command"]
    assert command.endswith("results/table_1.json") and " /" not in command and "=/" not in command
