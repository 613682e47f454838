"""The numbers of the README are the recorded ones."""

import json
from pathlib import Path

import polars as pl

from latentcrs_utils.evaluation.one_turn import LEVELS
from tools import readme
from tools.readme import READERS, bench_part, dialogues_part

ROOT = Path(__file__).resolve().parents[2]


def test_readme_shows_the_recorded_results_and_notebooks():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert readme.readme(text) == text, "Run `python -m tools.readme`."


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
    recorded = json.loads((readme.RESULTS / "one_turn_ml-100k.json").read_text(encoding="utf-8"))
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


def test_dialogues_part_prints_the_records():
    def row(system: str, **values: float | None) -> dict:
        start = {"system": system, "S@3": 0.5, "S@5": 0.6, "S@5_low": 0.55, "S@5_high": 0.65}
        gap = {"S@5_gap": 0.031, "S@5_gap_low": 0.007, "S@5_gap_high": 0.054}
        return start | {"AT": 3.25} | gap | values

    usage = {
        "system": "LatentCRS+", "purpose": "recommending", "prompt_tokens_a_turn": 54.91,
        "completion_tokens_a_turn": 1.0, "seconds_a_turn": 0.0483,
    }  # fmt: skip
    systems = [row("fusion without intents"), row("LatentCRS+", **{"S@5": 0.569})]
    result = {
        "difficulty": "normal", "level": "plain", "known": 2, "systems": systems,
        "ledger": [usage, usage | {"purpose": "embedding", "system": "nobody"}],
    }  # fmt: skip
    recorded = {
        "results": [result], "users": 938, "seeds": [0], "command": "the command",
        "date": "2026-01-01",
    }  # fmt: skip
    read = [
        {"reader": name, "level": "plain", "phrasing": phrasing, "precision": p, "recall": 0.25}
        for name in READERS
        for phrasing, p in (("test", None), ("train", 0.9))
    ]
    extraction = recorded | {"model": "a model", "rows": read}
    several = recorded | {"seeds": [0, 1, 2]}
    gap = {"NDCG@20_gap": -0.023, "NDCG@20_gap_low": -0.036, "NDCG@20_gap_high": -0.0106}
    names = ("LatentCRS+", "LatentCRS+ F", "backbone + lexicon filter")
    of_all = {name: {"NDCG@20": 0.3944} for name in names}
    reranking = recorded | {
        "filter": [{"level": "plain", "n": 938, **of_all, f"to {names[2]}": gap}],
        "validation": {"n": 100, "best": gap, "rows": [gap] * 16},
        "test": {"weight": 0.01, "n_candidates": 20, "rows": [{"n": 25, **gap}]},
    }
    part = dialogues_part(recorded, several, recorded, recorded, extraction, reranking)
    assert "| plain | 0.394 | 0.394 | 0.394 | -0.023 (-0.036 to -0.011) |" in part
    assert "the best of 16 choices on 100 validation users" in part
    assert "| fusion without intents | **0.600** (3.25) |" in part
    assert "| **LatentCRS+** | 0.569 (3.25) |" in part
    assert "-0.031 (-0.054 to -0.007) at *plain*" in part
    assert "mean of 3 seeds of models and users" in part
    assert "| normal, plain | **LatentCRS+** | 0.500 | 0.569 (0.550 to 0.650) | 3.25 |" in part
    assert "| films known | 2 |" in part
    assert "| both | – / 0.25 |" in part and "0.90" not in part
    assert "| **LatentCRS+** | plain | 54.9 | 1.0 | 0.048 |" in part and "nobody" not in part
