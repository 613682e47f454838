"""The record of what behavior alone can do, on a world small enough to train in a second."""

import json
from dataclasses import replace

import numpy as np
import pytest

from experiments import backbones
from experiments.backbones import REFERENCE, Run, summarise_runs
from latentcrs_utils.config import BackboneConfig

TINY = BackboneConfig(hidden=8, n_layers=1, n_heads=1, max_length=6, n_epochs=3, patience=3)


def test_a_difference_is_taken_on_the_seeds_that_both_have():
    def run(*ranks):
        return Run(np.array(ranks), best_epoch=2, curve=[{}] * 5)

    runs = {
        "popularity": {0: Run(np.array([30, 30, 30]))},
        REFERENCE: {0: run(1, 1, 1), 1: run(1, 30, 30)},
        "other": {1: run(1, 1, 30)},
        "same": {0: run(1, 1, 1)},
    }
    popularity, reference, other, same = summarise_runs(runs)
    assert reference["n_seeds"] == 2 and "difference" not in reference
    assert reference["best_epochs"] == [2, 2] and reference["epochs"] == [5, 5]
    assert reference["NDCG@20"] == pytest.approx(4 / 6)
    assert reference["seed_spread"] == pytest.approx(2 / 3)
    assert (same["difference"], same["difference_low"], same["difference_high"]) == (0, 0, 0)
    # seed 0 of the reference does not count where a system has only seed 1
    assert other["difference"] == pytest.approx(1 / 3)
    assert popularity["difference"] == pytest.approx(-(3 + 1) / 6)
    assert other["difference_low"] <= other["difference"] <= other["difference_high"]


def test_every_system_differs_from_the_reference_in_what_its_name_says():
    systems = backbones.trained_systems("ml-100k")
    assert systems["ICLRec (published)"].contrast == "Hybrid"
    assert systems["ICLRec (published)"].loss == systems["SASRec (published)"].loss == "bce"
    assert {systems[name].loss for name in systems if "softmax" in name} == {"ce"}
    assert len(set(systems.values())) == len(systems)


def test_a_killed_command_goes_on_where_it_was(world, monkeypatch, empty_cache):
    """It trains two small systems on the small world."""
    systems = {REFERENCE: TINY, "bce": replace(TINY, n_epochs=2, patience=20, loss="bce")}
    monkeypatch.setattr(backbones, "load_dataset", lambda name: world)
    monkeypatch.setattr(backbones, "trained_systems", lambda name: systems)
    trained, record = backbones.run_trained, empty_cache.parent / "record.json"
    folder = empty_cache / "backbone"

    def killed(data, config, seed):
        if config.loss == "bce":
            raise KeyboardInterrupt
        return trained(data, config, seed)

    def recorded(*seeds):
        backbones.main(["--seeds", *seeds, "--record", str(record)])
        return json.loads(record.read_text())

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(backbones, "run_trained", killed)
        recorded("0")
    made = {file: file.stat().st_mtime_ns for file in folder.glob("*.safetensors")}
    content = recorded("0", "1")
    # the reference; the epochs that were timed are trained again
    assert sum(file.stat().st_mtime_ns == at for file, at in made.items()) == 1
    rows = {row["system"]: row for row in content["rows"]}
    assert list(rows) == ["popularity", "item-kNN", REFERENCE, "bce"]
    assert [row["n_seeds"] for row in rows.values()] == [1, 1, 2, 2]
    assert rows[REFERENCE]["epochs"] == [3, 3]
    assert len(content["valid_ndcg20"]["bce"]) == 2
    assert content["command"].endswith(f"--seeds 0 1 --record {record}")
    assert content["data"] == {"name": "ml-fake", "users": 30, "items": 40}
