"""Pretraining: losses by hand, windows, early stopping, train-or-load."""

from __future__ import annotations

import dataclasses
import itertools
import math
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch

from latentcrs_utils.behavior import pretraining
from latentcrs_utils.behavior.pretraining import (
    next_item_bce,
    next_item_ce,
    next_item_windows,
    pretrain,
    sample_negatives,
    validate,
)
from latentcrs_utils.config import ICLREC_AS_PUBLISHED, BackboneConfig, preset
from latentcrs_utils.data.sequences import Dataset, Sequences

TINY = BackboneConfig(
    hidden=16, n_layers=1, n_heads=2, max_length=5, batch_size=16, n_epochs=6, dropout=0.1,
    learning_rate=1e-2, n_intent_prototypes=4, contrast="none",
)  # fmt: skip


@pytest.fixture(scope="module")
def cyclic() -> Dataset:
    """60 users who walk around a circle of 40 items: the next item is certain."""
    rng = np.random.default_rng(0)
    rows = [
        [(start + step) % 40 + 1 for step in range(length)]
        for start, length in zip(rng.integers(40, size=60), rng.integers(8, 30, 60), strict=True)
    ]
    items = pl.DataFrame(
        {
            "item": pl.Series(range(1, 41), dtype=pl.Int32),
            "raw_item": [str(i) for i in range(1, 41)],
            "title": [f"Film {i}" for i in range(1, 41)],
            "year": [1960 + i for i in range(40)],
            "genres": [["Drama"]] * 40,
        }
    )
    users = pl.DataFrame(
        {
            "user": pl.Series(range(60), dtype=pl.Int32),
            "raw_user": [str(u) for u in range(60)],
        }
    )
    return Dataset("cyclic", items, users, Sequences.from_lists(rows), {}, "cyclic-fingerprint")


def test_ce_by_hand() -> None:
    items = torch.tensor([[7.0, 7.0], [1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
    loss = next_item_ce(torch.tensor([[2.0, 1.0]]), torch.tensor([3]), items)
    expected = -math.log(math.exp(3) / (math.exp(2) + math.exp(1) + math.exp(3)))
    assert loss.item() == pytest.approx(expected, rel=1e-5)


def test_bce_by_hand() -> None:
    items = torch.tensor([[7.0, 7.0], [1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
    states = torch.tensor([[2.0, 1.0], [0.0, -1.0]])
    loss = next_item_bce(states, torch.tensor([3, 1]), torch.tensor([2, 3]), items)

    def sigmoid(x: float) -> float:
        return 1 / (1 + math.exp(-x))

    first = -math.log(sigmoid(3)) - math.log(1 - sigmoid(1))
    second = -math.log(sigmoid(0)) - math.log(1 - sigmoid(-1))
    assert loss.item() == pytest.approx((first + second) / 2, rel=1e-5)


def test_last_windows() -> None:
    rows = Sequences.from_lists([[1, 2, 3, 4, 5, 6], [7, 8], [9], []])
    inputs, targets = next_item_windows(rows, 3)
    assert inputs.tolist() == [[3, 4, 5], [0, 0, 7]]
    assert targets.tolist() == [[4, 5, 6], [0, 0, 8]]


@pytest.mark.parametrize("seed", range(5))
def test_all_windows_hold_every_pair_once(seed: int) -> None:
    rng = np.random.default_rng(seed)
    lists = [rng.integers(1, 100, rng.integers(0, 14)).tolist() for _ in range(20)]
    rows = Sequences.from_lists(lists)
    inputs, targets = next_item_windows(rows, 4, rng.integers(0, 4, 20))
    real = inputs > 0
    assert torch.equal(real, targets > 0)
    assert real.any(1).all()
    assert torch.equal(real, real.cummax(1).values), "padding stands on the left"
    found = sorted(zip(inputs[real].tolist(), targets[real].tolist(), strict=True))
    expected = sorted(pair for row in lists for pair in itertools.pairwise(row))
    assert found == expected


def test_no_windows_of_nothing() -> None:
    inputs, targets = next_item_windows(Sequences.from_lists([[3], []]), 4, np.array([1, 2]))
    assert inputs.shape == targets.shape == (0, 4)


def test_negatives_are_not_in_the_row() -> None:
    inputs = torch.tensor([[1, 2, 3, 4], [0, 0, 0, 5]])
    drawn = torch.cat(
        [sample_negatives(inputs, 6, torch.Generator().manual_seed(seed)) for seed in range(50)],
        dim=1,
    )
    assert set(drawn[0].tolist()) == {5, 6}
    assert set(drawn[1].tolist()) == {1, 2, 3, 4, 6}


@pytest.mark.parametrize(
    "config",
    [
        dataclasses.replace(TINY, n_epochs=15),
        dataclasses.replace(TINY, n_epochs=25, loss="bce"),
        dataclasses.replace(TINY, n_epochs=15, contrast="Hybrid"),
        dataclasses.replace(TINY, n_epochs=15, contrast="InstanceCL", windows="last"),
        dataclasses.replace(TINY, n_epochs=15, contrast="IntentCL", warmup_epochs=3),
    ],
    ids=lambda c: f"{c.loss}-{c.contrast}",
)
def test_learns_the_next_item(cyclic: Dataset, empty_cache: Path, config: BackboneConfig) -> None:
    backbone = pretrain(cyclic, config)
    untrained = pretraining.SASRec(cyclic.n_items, config, seed=0)
    assert validate(untrained, cyclic) < 0.3
    assert max(row["valid NDCG@20"] for row in backbone.curve) > 0.85
    assert not any(p.requires_grad for p in backbone.encoder.parameters())
    assert not backbone.encoder.training


def test_a_contrast_changes_the_result(cyclic: Dataset, empty_cache: Path) -> None:
    losses = {
        kind: pretrain(cyclic, dataclasses.replace(TINY, n_epochs=1, contrast=kind)).curve[0][
            "loss"
        ]
        for kind in ("none", "InstanceCL", "IntentCL", "Hybrid")
    }
    assert len(set(losses.values())) == 4
    assert losses["none"] < losses["InstanceCL"] < losses["Hybrid"]


def test_a_reload_gives_identical_representations(cyclic: Dataset, empty_cache: Path) -> None:
    histories = cyclic.histories("test")
    trained = pretrain(cyclic, TINY, seed=1)
    loaded = pretrain(cyclic, TINY, seed=1)
    again = pretrain(cyclic, TINY, seed=1, reuse=False)
    other = pretrain(cyclic, TINY, seed=2)
    assert torch.equal(trained.encode(histories), loaded.encode(histories))
    assert loaded.curve == trained.curve
    assert torch.equal(trained.encode(histories), again.encode(histories))
    assert not torch.equal(trained.encode(histories), other.encode(histories))


def test_training_leaves_the_global_generator_alone(cyclic: Dataset, empty_cache: Path) -> None:
    state = torch.get_rng_state()
    pretrain(cyclic, dataclasses.replace(TINY, n_epochs=1, contrast="Hybrid"))
    assert torch.equal(state, torch.get_rng_state())


def test_early_stopping_restores_the_best_epoch(
    cyclic: Dataset, empty_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    values, states = iter([0.1, 0.5, 0.4, 0.5, 0.3, 0.9]), []

    def scripted(encoder: torch.nn.Module, data: Dataset, *_: object) -> float:
        states.append({k: v.clone() for k, v in encoder.state_dict().items()})
        return next(values)

    monkeypatch.setattr(pretraining, "validate", scripted)
    backbone = pretrain(cyclic, dataclasses.replace(TINY, patience=3, n_epochs=6))
    # Epoch 2 is best; epochs 3 to 5 do not beat it, so the sixth never runs.
    assert len(backbone.curve) == len(states) == 5
    restored = backbone.encoder.state_dict()
    assert all(torch.equal(restored[name], states[1][name]) for name in restored)
    assert not torch.equal(restored["item_embedding.weight"], states[4]["item_embedding.weight"])


def test_validation_reads_no_test_item(cyclic: Dataset) -> None:
    encoder = pretraining.SASRec(cyclic.n_items, TINY, seed=0)
    flat = cyclic.interactions.flat.copy()
    flat[cyclic.interactions.offsets[1:] - 1] = 1
    changed = dataclasses.replace(cyclic, interactions=Sequences(cyclic.interactions.offsets, flat))
    assert validate(encoder, cyclic) == validate(encoder, changed)


def test_both_the_default_and_the_published_form_exist() -> None:
    default = preset("ml-100k").backbone
    assert (default.loss, default.contrast) == ("ce", "none")
    published = ICLREC_AS_PUBLISHED
    assert (published.loss, published.contrast) == ("bce", "Hybrid")
    assert (published.cf_weight, published.intent_cf_weight) == (0.1, 0.1)
    assert (published.crop, published.mask, published.reorder) == (0.2, 0.7, 0.2)


@pytest.mark.parametrize("config", [TINY, dataclasses.replace(TINY, contrast="Hybrid", loss="bce")])
def test_training_reads_no_validation_or_test_item(
    cyclic: Dataset, empty_cache: Path, monkeypatch: pytest.MonkeyPatch, config: BackboneConfig
) -> None:
    # Validation may choose the epoch, so its verdict is fixed here: only the losses are at stake.
    monkeypatch.setattr(pretraining, "validate", lambda *_: 0.5)
    flat = cyclic.interactions.flat.copy()
    ends = cyclic.interactions.offsets[1:]
    flat[ends - 1] = flat[ends - 2] = 1
    interactions = Sequences(cyclic.interactions.offsets, flat)
    changed = dataclasses.replace(cyclic, interactions=interactions, fingerprint="changed")
    config = dataclasses.replace(config, n_epochs=2)
    one, other = (pretrain(data, config).encoder.state_dict() for data in (cyclic, changed))
    assert all(torch.equal(one[name], other[name]) for name in one)
