"""Pretraining: it learns, stops early, loads what was trained, and reads no held-out item."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from latentcrs_utils.behavior import pretraining
from latentcrs_utils.behavior.pretraining import pretrain, validate
from latentcrs_utils.behavior.sasrec import SASRec
from latentcrs_utils.config import ICLREC_AS_PUBLISHED, BackboneConfig, preset
from latentcrs_utils.data.sequences import Dataset, Sequences
from tests.made import made

TINY = BackboneConfig(
    hidden=16, n_layers=1, n_heads=2, max_length=5, batch_size=16, n_epochs=6, dropout=0.1,
    learning_rate=1e-2, n_intent_prototypes=4, contrast="none",
)  # fmt: skip


def with_other_ends(data: Dataset, n: int) -> Dataset:
    """The same data, where each user's last n items are item 1."""
    flat = data.interactions.flat.copy()
    for from_end in range(1, n + 1):
        flat[data.interactions.offsets[1:] - from_end] = 1
    rows = Sequences(data.interactions.offsets, flat)
    return dataclasses.replace(data, interactions=rows, fingerprint="changed")


@pytest.fixture(scope="module")
def cyclic() -> Dataset:
    """60 users who walk around a circle of 40 items: the next item is certain."""
    rng = np.random.default_rng(0)
    rows = [
        [(start + step) % 40 + 1 for step in range(length)]
        for start, length in zip(rng.integers(40, size=60), rng.integers(8, 30, 60), strict=True)
    ]
    return made("cyclic", rows, title=["Item"] * 40)


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
    untrained = SASRec(cyclic.n_items, config, seed=0)
    assert validate(untrained, cyclic) < 0.3
    assert max(row["valid NDCG@20"] for row in backbone.curve) > 0.85
    assert not any(p.requires_grad for p in backbone.encoder.parameters())
    assert not backbone.encoder.training


def test_a_contrast_changes_the_result_and_the_global_generator_is_left_alone(
    cyclic: Dataset, empty_cache: Path
) -> None:
    state, losses = torch.get_rng_state(), {}
    for kind in ("none", "InstanceCL", "IntentCL", "Hybrid"):
        config = dataclasses.replace(TINY, n_epochs=1, contrast=kind)
        losses[kind] = pretrain(cyclic, config).curve[0]["loss"]
    assert len(set(losses.values())) == 4
    assert losses["none"] < losses["InstanceCL"] < losses["Hybrid"]
    assert torch.equal(state, torch.get_rng_state())


def test_a_reload_gives_identical_representations(cyclic: Dataset, empty_cache: Path) -> None:
    histories = cyclic.histories("test")
    trained = pretrain(cyclic, TINY, seed=1)
    loaded = pretrain(cyclic, TINY, seed=1)
    again = pretrain(cyclic, TINY, seed=1, reuse=False)
    other = pretrain(cyclic, TINY, seed=2)
    S, *same, different = (one.encode(histories) for one in (trained, loaded, again, other))
    assert all(torch.equal(S, one) for one in same) and not torch.equal(S, different)
    assert loaded.curve == trained.curve


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
    encoder = SASRec(cyclic.n_items, TINY, seed=0)
    assert validate(encoder, cyclic) == validate(encoder, with_other_ends(cyclic, 1))
    assert validate(encoder, cyclic) != validate(encoder, with_other_ends(cyclic, 2))


def test_both_the_default_and_the_published_form_exist() -> None:
    default, published = preset("ml-100k").backbone, ICLREC_AS_PUBLISHED
    assert (default.loss, default.contrast) == ("ce", "none")
    assert (published.loss, published.contrast) == ("bce", "Hybrid")
    values = published.cf_weight, published.intent_cf_weight, published.crop, published.mask
    assert (*values, published.reorder) == (0.1, 0.1, 0.2, 0.7, 0.2)


@pytest.mark.parametrize("config", [TINY, dataclasses.replace(TINY, contrast="Hybrid", loss="bce")])
def test_training_reads_no_validation_or_test_item(
    cyclic: Dataset, empty_cache: Path, monkeypatch: pytest.MonkeyPatch, config: BackboneConfig
) -> None:
    # Validation may choose the epoch, so its verdict is fixed here: only the losses are at stake.
    monkeypatch.setattr(pretraining, "validate", lambda *_: 0.5)
    config = dataclasses.replace(config, n_epochs=2)
    worlds = (cyclic, with_other_ends(cyclic, 2))
    one, other = (pretrain(data, config).encoder.state_dict() for data in worlds)
    assert all(torch.equal(one[name], other[name]) for name in one)
