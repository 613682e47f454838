"""The measurements at catalogue scale, run small: every stage works and says what it measured."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from benchmarks import catalogue_scale
from benchmarks.worlds import generated_data

SMALL = {"n_users": 200, "n_items": 150}


@pytest.mark.parametrize("stage", catalogue_scale.STAGES)
def test_every_stage_runs_and_says_how_long_and_how_large(
    stage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, small in (("K", 8), ("N_CASES", 20), ("N_BATCHES", 1), ("N_TURNS", 2)):
        monkeypatch.setattr(catalogue_scale, name, small)
    found = catalogue_scale.run_stage(stage, **SMALL)
    assert found["seconds"] > 0
    assert found["processor_seconds"] > 0
    assert 1 <= found["n"] <= 480
    assert found["peak_bytes"] >= found["bytes_before"] >= 0


def test_a_turn_is_timed_without_the_language_model_and_offers_new_items() -> None:
    data = generated_data("small", 200, 150, 12.0)
    model = catalogue_scale.random_model(data, residual=True)
    seconds = catalogue_scale.turn_seconds(model, n_turns=3)
    assert set(seconds) == {"first", "median", "slowest", "processor"}
    assert seconds["median"] <= seconds["slowest"]
    x = model.language.encode(["some words"], progress=False)
    scores = model.scores(torch.zeros(1, catalogue_scale.WIDTH), x)
    torch.testing.assert_close(scores.exp().sum(), torch.tensor(1.0))


def test_one_stage_is_written_by_a_process_of_its_own(tmp_path: Path) -> None:
    file = tmp_path / "stage.json"
    sizes = ["--users", "200", "--items", "150"]
    stage = ["--stage", "ranking by factors", "--record", str(file)]
    catalogue_scale.main([*stage, *sizes])
    assert json.loads(file.read_text(encoding="utf-8"))["n"] == 200
