"""The record of what behavior alone can do, on a world small enough to train in a second."""

import json
from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from experiments import backbones
from experiments.backbones import REFERENCE, Run, summarise_runs
from latentcrs_utils.config import BackboneConfig
from latentcrs_utils.data.sequences import Dataset, Sequences

N_ITEMS = 12
TINY = BackboneConfig(hidden=8, n_layers=1, n_heads=1, max_length=6, n_epochs=3, patience=3)


def run(*ranks):
    return Run(np.array(ranks), best_epoch=2, curve=[{}] * 5)


def test_means_intervals_and_spread_of_the_seeds():
    (row,) = summarise_runs({REFERENCE: {0: run(1, 1, 30), 1: run(1, 30, 30)}})
    assert row["n_seeds"] == 2 and row["best_epochs"] == [2, 2] and row["epochs"] == [5, 5]
    assert row["Recall@20"] == pytest.approx(3 / 6) == row["NDCG@20"]
    assert row["seed_spread"] == pytest.approx(1 / 3)
    assert row["low"] <= row["NDCG@20"] <= row["high"]
    assert "difference" not in row


def test_a_difference_is_taken_on_the_seeds_that_both_have():
    runs = {
        "popularity": {0: Run(np.array([30, 30, 30]))},
        REFERENCE: {0: run(1, 1, 1), 1: run(1, 30, 30)},
        "other": {1: run(1, 1, 30)},
        "same": {0: run(1, 1, 1)},
    }
    popularity, _, other, same = summarise_runs(runs)
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


@pytest.fixture
def world(monkeypatch, tmp_path):
    """Forty users who walk through twelve items, and two small systems to train on them."""
    noise = np.random.default_rng(0)
    starts = noise.integers(N_ITEMS, size=40)
    sequences = Sequences.from_lists([(s + np.arange(6)) % N_ITEMS + 1 for s in starts])
    items = pl.DataFrame({"item": np.arange(1, N_ITEMS + 1, dtype=np.int32)})
    users = pl.DataFrame({"user": np.arange(40, dtype=np.int32)})
    data = Dataset("ml-100k", items, users, sequences, {}, "walks")
    systems = {REFERENCE: TINY, "bce": replace(TINY, n_epochs=2, patience=20, loss="bce")}
    monkeypatch.setenv("LATENTCRS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("LATENTCRS_PROGRESS", "0")
    monkeypatch.setattr(backbones, "load_dataset", lambda name: data)
    monkeypatch.setattr(backbones, "trained_systems", lambda name: systems)
    return tmp_path / "record.json"


def test_the_command_records_every_system_and_seed(world):
    backbones.main(["--seeds", "0", "1", "--record", str(world)])
    content = json.loads(world.read_text())
    rows = {row["system"]: row for row in content["rows"]}
    assert list(rows) == ["popularity", "item-kNN", REFERENCE, "bce"]
    assert [row["n_seeds"] for row in rows.values()] == [1, 1, 2, 2]
    assert content["not_run"] == {} and rows[REFERENCE]["epochs"] == [3, 3]
    assert len(content["valid_ndcg20"]["bce"]) == 2
    assert content["command"].endswith(f"--seeds 0 1 --record {world}")
    assert content["data"] == {"name": "ml-100k", "users": 40, "items": N_ITEMS}


def test_an_interrupted_record_keeps_what_it_has(world, monkeypatch):
    def killed(data, config, seed):
        if config.loss == "bce":
            raise KeyboardInterrupt
        return trained(data, config, seed)

    trained = backbones.run_trained
    monkeypatch.setattr(backbones, "run_trained", killed)
    with pytest.raises(KeyboardInterrupt):
        backbones.main(["--record", str(world)])
    content = json.loads(world.read_text())
    assert content["not_run"] == {"bce": [0]}
    assert [row["system"] for row in content["rows"]] == ["popularity", "item-kNN", REFERENCE]
