"""The numbers of the README are the recorded ones."""

from pathlib import Path

import polars as pl

from latentcrs_utils.evaluation.one_turn import LEVELS
from tools import readme
from tools.readme_bench import bench_part

ROOT = Path(__file__).resolve().parent.parent


def test_readme_shows_the_recorded_results_and_notebooks():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert readme.readme(text) == text, "Run `python tools/readme.py`."


def test_results_part_prints_the_record_and_marks_the_best():
    rows = [
        {
            "phrasing": phrasing, "level": level, "system": system, "n": 938,
            "NDCG@20": value + 0.01 * i, "low": value - 0.02, "high": value + 0.02,
            "seed_spread": 0.004,
        }
        for phrasing in ("test", "train")
        for i, level in enumerate(LEVELS)
        for system, value in (("popularity", 0.1), ("LatentCRS+", 0.2))
    ]  # fmt: skip
    by_turns = [{**row, "level": str(i + 1), "n": 187} for i, row in enumerate(rows[:2])]
    recorded = {
        "masked": rows, "unmasked": rows, "by_turns": by_turns,
        "seeds": [0, 1], "date": "2026-01-01",
        "data": {"users": 938, "items": 1008},
    }  # fmt: skip
    part = readme.results_part(recorded)
    assert "| popularity | 0.100 (0.100) | 0.110 (0.110) | 0.120 (0.120) | 0.130 (0.130) |" in part
    assert "| **LatentCRS+** | **0.200** (0.200) |" in part
    assert "±0.020" in part and "0.004" in part and "mean of 2 seeds" in part


def test_results_cover_every_system_level_and_user():
    import json

    recorded = json.loads(readme.RESULTS.read_text(encoding="utf-8"))
    masked = pl.DataFrame(recorded["masked"])
    assert set(masked["level"]) == set(LEVELS)
    assert set(masked["phrasing"]) == {"test", "train"}
    assert masked["n"].unique().to_list() == [938]
    assert masked["system"].n_unique() == 8
    assert len(masked) == 8 * 4 * 2
    assert len(recorded["seeds"]) == 3
    assert (masked["low"] <= masked["NDCG@20"]).all()
    assert (masked["NDCG@20"] <= masked["high"]).all()


def test_bench_part_prints_the_record_with_its_aims():
    stage = {
        "stage": "EM epoch", "scale": "ml-100k", "seconds": 1.25, "peak_bytes": 30_000_000,
        "ratio": 2.46, "aim": 3.0,
    }  # fmt: skip
    rival = {
        "rival": "RecBole", "rival_batch": 2048, "what": "an epoch", "seconds": 0.5,
        "rival_seconds": 90.0, "ratio": 180.0, "aim": 3.0, "predictions": 51599,
    }  # fmt: skip
    recorded = {
        "measurements": [stage, stage | {"stage": "padding", "aim": None}],
        "against": [rival], "threads": 1, "clock": "the clock", "machine": "2 CPU cores",
        "date": "2026-01-01", "command": "python -m benchmarks",
    }  # fmt: skip
    part = bench_part(recorded)
    assert "| EM epoch | ml-100k | 1.2 s | 30 MB | 2.5 x | 3 x |" in part
    assert "padding" not in part
    assert "| RecBole, its batch 2,048 | an epoch | 90.0 s | 500.0 ms | 180 x | 3 x |" in part
    assert "RecBole makes a sample of every prefix" in part
    assert "2 CPU cores, 1 thread, the clock, 2026-01-01, `python -m benchmarks`" in part
    without = bench_part(recorded | {"against": []})
    assert "instead of" not in without and "RecBole" not in without
