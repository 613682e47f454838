"""The numbers of the README are the recorded ones."""

import json
from pathlib import Path

import polars as pl
import pytest

from latentcrs_utils.evaluation.one_turn import LEVELS
from tools import readme

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")


def record(name: str) -> dict:
    return json.loads((readme.RESULTS / f"{name}.json").read_text(encoding="utf-8"))


def cells(head: str, system: str) -> list[str]:
    """The cells of a system's row in the table below the first line that has these words."""
    _, _, below = TEXT.partition(head)
    row = next(line for line in below.splitlines() if f"| {system} |" in line)
    return [cell.strip() for cell in row.split("|")[1:-1]]


def test_readme_shows_the_recorded_results_and_notebooks():
    assert readme.readme(TEXT) == TEXT, "Run `python -m tools.readme`."


def test_results_cover_every_system_level_and_user():
    recorded = record("one_turn_ml-100k")
    masked = pl.DataFrame(recorded["masked"])
    assert set(masked["level"]) == set(LEVELS)
    assert set(masked["phrasing"]) == {"test", "train"}
    assert masked["n"].unique().to_list() == [938]
    assert masked["system"].n_unique() == 10
    assert len(masked) == 10 * 4 * 2
    assert len(recorded["seeds"]) == 3
    assert (masked["low"] <= masked["NDCG@20"]).all()
    assert (masked["NDCG@20"] <= masked["high"]).all()


def test_one_turn_of_one_system_is_as_recorded_and_the_best_is_bold():
    masked = pl.DataFrame(record("one_turn_ml-100k")["masked"]).filter(system="LatentCRS+")
    value = {
        (row["level"], row["phrasing"]): row["NDCG@20"] for row in masked.iter_rows(named=True)
    }
    shown = cells("One-turn recommendation", "**LatentCRS+**")[1:]
    for level, cell in zip(LEVELS, shown, strict=True):
        unseen, seen = value[level, "test"], value[level, "train"]
        assert cell.replace("*", "") == f"{unseen:.3f} ({seen:.3f})"
    unseen = pl.DataFrame(record("one_turn_ml-100k")["masked"]).filter(phrasing="test")
    best = [unseen.filter(level=level)["NDCG@20"].max() for level in LEVELS]
    bold = [cell.startswith("**") for cell in shown]
    assert bold == [value[level, "test"] == b for level, b in zip(LEVELS, best, strict=True)]


def test_dialogues_and_their_gaps_are_as_recorded():
    recorded = record("multi_turn_ml-100k")
    plain = {row["system"]: row for row in recorded["results"][0]["systems"]}
    row = plain["fusion without intents"]
    shown = cells("Five turns of five films", "fusion without intents")
    assert shown[1].replace("*", "") == f"{row['S@5']:.3f} ({row['AT']:.2f})"
    ends = [-row[f"S@5_gap{end}"] for end in ("", "_high", "_low")]
    assert f"{readme.interval(*ends)} at *plain*" in TEXT


@pytest.mark.parametrize("aim", [3.0, None])
def test_the_bench_shows_what_has_an_aim(aim):
    stage = {"stage": "EM epoch", "scale": "ml-100k", "seconds": 1.25, "peak_bytes": 30_000_000}
    rival = {"rival": "RecBole", "rival_batch": 2048, "what": "an epoch", "seconds": 0.5,
             "rival_seconds": 90.0, "ratio": 180.0, "aim": 3.0, "predictions": 51599}  # fmt: skip
    made = {"threads": 1, "clock": "c", "machine": "m", "date": "d", "command": "p"}
    measured = {"measurements": [stage | {"ratio": 2.46, "aim": aim}]}
    recorded = made | measured | {"against": [rival] if aim else []}
    part = readme.bench_part(recorded)
    assert ("| EM epoch | ml-100k | 1.2 s | 30 MB | 2.5 x | 3 x |" in part) is bool(aim)
    rivals = "| RecBole, its batch 2,048 | an epoch | 90.0 s | 500.0 ms | 180 x | 3 x |"
    assert (rivals in part) is bool(aim)
    assert ("RecBole makes a sample of every prefix" in part) is bool(aim)
