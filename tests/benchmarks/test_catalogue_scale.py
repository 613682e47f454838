"""The measurements at catalogue scale, run small: every stage works and says what it measured."""

import pytest

from benchmarks import catalogue_scale


@pytest.mark.parametrize("stage", catalogue_scale.STAGES)
def test_every_stage_runs_and_says_how_long_and_how_large(stage: str, monkeypatch) -> None:
    for name, small in (("K", 8), ("N_CASES", 20), ("N_BATCHES", 1), ("N_TURNS", 2)):
        monkeypatch.setattr(catalogue_scale, name, small)
    found = catalogue_scale.run_stage(stage, n_users=200, n_items=150)
    assert min(found["seconds"], found["processor_seconds"]) > 0
    assert 1 <= found["n"] <= 480
    assert found["peak_bytes"] >= found["bytes_before"] >= 0
