"""Train or load: a killed run or a damaged file costs a new training, never a crash."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import Tensor

from latentcrs_utils.config import AnchorConfig, BackboneConfig
from latentcrs_utils.errors import ConfigError
from latentcrs_utils.support import artifacts
from latentcrs_utils.support.artifacts import Training

PARTS = {"config": AnchorConfig(K=8), "seed": 3}


def training(checkpoint: Path | None) -> Training:
    """A module with known weights, and nothing that moves them."""
    module = torch.nn.Linear(2, 3)
    torch.nn.init.constant_(module.weight, 0.5)
    return Training(module, [], torch.Generator(), checkpoint)


class Trainer:
    """Counts how often it trains, and keeps how many epochs its checkpoint held."""

    def __init__(self) -> None:
        self.runs, self.found = 0, 0

    def __call__(self, checkpoint: Path | None) -> tuple[dict[str, Tensor], dict]:
        self.runs += 1
        whole = training(checkpoint)
        whole.resume()
        self.found = len(whole.curve)
        return {"W": torch.arange(12.0).reshape(3, 4).T}, {"epochs": 5, "name": "ünï"}


def make(train: Callable, parts: dict | None = None, **options: bool) -> tuple[Tensor, dict]:
    tensors, facts = artifacts.train_or_load("demo", PARTS | (parts or {}), train, **options)
    return tensors["W"], facts


def pair(cache: Path) -> tuple[Path, Path]:
    (tensor_file,) = cache.rglob("*.safetensors")
    return tensor_file, tensor_file.with_suffix(".json")


def test_trains_once_then_loads_the_same(
    empty_cache: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture
) -> None:
    monkeypatch.setenv("LATENTCRS_PROGRESS", "1")
    train = Trainer()
    (first, facts), (again, facts_again) = make(train), make(train)
    assert train.runs == 1 and torch.equal(first, again)
    assert facts == facts_again == {"epochs": 5, "name": "ünï"}
    # on stderr only
    said = capfd.readouterr()
    assert "made and saved" in said.err and "loaded" in said.err and said.out == ""
    pair(empty_cache)[1].write_text("to be overwritten")
    make(train, reuse=False)
    make(train)
    assert train.runs == 2


@pytest.mark.parametrize("other", [{"seed": 4}, {"config": AnchorConfig(K=9)}, {"extra": None}])
def test_any_changed_part_trains_anew(empty_cache: Path, other: dict) -> None:
    train = Trainer()
    make(train)
    make(train, other)
    assert train.runs == 2


def test_what_an_earlier_version_saved_is_loaded(empty_cache: Path) -> None:
    """The names and the format of the files are kept: other versions' results stay good."""
    file = empty_cache / "demo" / "fc686ce87504b22a.safetensors"
    file.parent.mkdir(parents=True)
    file.write_bytes(safetensors.torch.save({"W": torch.ones(2)}))
    record = {"sha256": artifacts.sha256(file), "facts": {"epochs": 1}}
    file.with_suffix(".json").write_text(json.dumps(record))
    train = Trainer()
    W, facts = make(train)
    assert train.runs == 0 and W.tolist() == [1, 1] and facts == {"epochs": 1}


def flipped(content: bytes) -> bytes:
    return content[:-1] + bytes([content[-1] ^ 1])


# which file of the pair, and what becomes of its bytes (None: it is lost)
@pytest.mark.parametrize(
    ("which", "change"),
    [
        (0, lambda content: content[:-3]),
        (0, flipped),
        (0, None),
        (1, None),
        (1, lambda content: content[:20]),
        (1, lambda content: b'["not", "a", "record"]'),
        (1, lambda content: b"\xff\xfe\x00broken"),
    ],
)
def test_damaged_pair_is_made_again(
    empty_cache: Path, which: int, change: Callable[[bytes], bytes] | None
) -> None:
    train = Trainer()
    expected, _ = make(train)
    file = pair(empty_cache)[which]
    if change is None:
        file.unlink()
    else:
        file.write_bytes(change(file.read_bytes()))
    assert torch.equal(make(train)[0], expected) and train.runs == 2
    make(train)
    assert train.runs == 2


def test_training_that_fails_leaves_nothing_behind(empty_cache: Path) -> None:
    with pytest.raises(ZeroDivisionError):
        make(lambda checkpoint: 1 / 0)
    assert not [file for file in empty_cache.rglob("*") if file.is_file()]


def test_result_survives_a_cache_that_cannot_be_written(
    empty_cache: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture
) -> None:
    empty_cache.mkdir()
    (empty_cache / "demo").write_text("a file where the folder should be")
    monkeypatch.setenv("LATENTCRS_PROGRESS", "1")
    assert make(Trainer())[0].shape == (4, 3)
    assert "not saved" in capfd.readouterr().err


class StoppedError(Exception):
    """Ends a training before its end."""


def stop_in_second_epoch(checkpoint: Path | None) -> tuple[dict[str, Tensor], dict]:
    whole = training(checkpoint)
    for epoch in whole.epochs(9, value="gain", patience=9, label="Demo"):
        if epoch == 2:
            raise StoppedError
        whole.curve.append({"gain": 0.1 + 0.2, "name": "ünï"})
    raise AssertionError("not stopped")


def stopped(cache: Path, parts: dict | None = None, **options: bool) -> Path | None:
    """The checkpoint of the training that was stopped last, if there is one."""
    with pytest.raises(StoppedError):
        make(stop_in_second_epoch, parts, **options)
    checkpoints = cache.rglob("*.checkpoint")
    return max(checkpoints, key=lambda file: file.stat().st_mtime_ns, default=None)


def test_a_checkpoint_gives_back_what_was_saved_and_goes_with_the_result(
    empty_cache: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture
) -> None:
    again = training(stopped(empty_cache))
    torch.nn.init.zeros_(again.module.weight)
    again.resume()
    assert again.curve == [{"gain": 0.1 + 0.2, "name": "ünï"}]
    for state in (again.module.state_dict(), again.best_state):
        assert (state["weight"] == 0.5).all() and state.keys() == {"weight", "bias"}
    monkeypatch.setenv("LATENTCRS_PROGRESS", "1")
    train = Trainer()
    make(train)
    assert train.found == 1
    assert "demo: goes on after epoch 1" in capfd.readouterr().err
    assert {file.suffix for file in (empty_cache / "demo").iterdir()} == {".safetensors", ".json"}


def test_training_afresh_neither_reads_nor_writes_a_checkpoint(empty_cache: Path) -> None:
    file = stopped(empty_cache)
    train = Trainer()
    make(train, reuse=False)
    # its result is there now, so nobody will go on from the checkpoint of another training
    assert train.found == 0 and not file.exists()
    assert stopped(empty_cache, reuse=False) is None


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: content[:-2],
        flipped,
        lambda content: content.replace(b"epoch 1", b"epoch 2"),
        lambda content: b"",
        lambda content: safetensors.torch.save({"W": torch.ones(3)}),
        lambda content: stopped(Path(os.environ["LATENTCRS_CACHE"]), {"seed": 4}).read_bytes(),
    ],
    ids=["cut", "a value", "a fact", "empty", "another program's", "another training's"],
)
def test_a_damaged_checkpoint_is_not_used(
    empty_cache: Path,
    damage: Callable[[bytes], bytes],
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture,
) -> None:
    file = stopped(empty_cache)
    damaged = damage(file.read_bytes())
    assert damaged != file.read_bytes()
    file.write_bytes(damaged)
    monkeypatch.setenv("LATENTCRS_PROGRESS", "1")
    train = Trainer()
    make(train)
    assert (train.found, train.runs) == (0, 1) and not file.exists()
    assert "starting anew" in capfd.readouterr().err


def test_a_checkpoint_left_beside_its_result_goes_at_the_next_call(empty_cache: Path) -> None:
    train = Trainer()
    make(train)
    checkpoint = pair(empty_cache)[0].with_suffix(".checkpoint")
    checkpoint.touch()
    abandoned = checkpoint.with_name(f".{checkpoint.name}.x1.part")
    abandoned.mkdir()
    make(train)
    assert train.runs == 1 and not checkpoint.exists() and not abandoned.exists()


FULL_DISK = """
import resource, torch
from latentcrs_utils.support import artifacts
resource.setrlimit(resource.RLIMIT_FSIZE, (5000, 5000))

def train(checkpoint):
    whole = artifacts.Training(torch.nn.Linear(2000, 1), [], torch.Generator(), checkpoint)
    for epoch in whole.epochs(3, value="gain", patience=3, label="Demo"):
        whole.curve.append({"gain": epoch})
    return {"W": torch.ones(2000)}, {}

tensors, _ = artifacts.train_or_load("demo", {}, train)
print(int(tensors["W"].sum()))
"""


def test_a_full_disk_costs_the_checkpoint_and_not_the_training(empty_cache: Path) -> None:
    run = subprocess.run(
        [sys.executable, "-c", FULL_DISK], capture_output=True, text=True, check=True,
        env={**os.environ, "LATENTCRS_PROGRESS": "1"},
    )  # fmt: skip
    assert run.stdout == "2000\n"
    assert run.stderr.count("no checkpoint in") == 1
    assert run.stderr.count("made, but not saved in") == 1
    assert not list((empty_cache / "demo").iterdir())


def test_key_is_the_same_in_every_process() -> None:
    code = (
        "from latentcrs_utils.support.artifacts import key; from latentcrs_utils.config import *;"
        "print(key(config=BackboneConfig(), tags=('a', 'b'), seed=0))"
    )
    here = artifacts.key(seed=0, tags=["a", "b"], config=BackboneConfig())
    assert len(here) == 16
    for hash_seed in ("1", "2"):
        there = subprocess.check_output(
            [sys.executable, "-c", code], env={**os.environ, "PYTHONHASHSEED": hash_seed}, text=True
        )
        assert there.strip() == here


def test_key_tells_apart_what_differs() -> None:
    @dataclass(frozen=True)
    class Lookalike:
        K: int = 64
        n_init: int = 10
        max_iterations: int = 300

    configs = (AnchorConfig(), AnchorConfig(K=65), Lookalike())
    values = (1, 1.5, "1", True, None, [1], *configs, {"K": 1})
    parts = [{"b": 1}, *({"a": value} for value in values)]
    assert len({artifacts.key(**part) for part in parts}) == len(parts)
    assert artifacts.key(a=np.int64(1)) == artifacts.key(a=1)
    with pytest.raises(ConfigError, match="object"):
        artifacts.key(a=object())


def test_cache_dir_is_the_environments_or_of_the_checkout(
    empty_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert artifacts.cache_dir() == empty_cache and empty_cache.is_dir()
    monkeypatch.delenv("LATENTCRS_CACHE")
    root = Path(artifacts.__file__).resolve().parents[2]
    assert artifacts.cache_dir() == root / "data" / "cache"


@pytest.mark.parametrize("change", [b"other", b"longer than before"])
def test_a_known_hash_is_that_of_the_file_as_it_is(
    empty_cache: Path, tmp_path: Path, change: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, hashed = tmp_path / "file", []
    real = artifacts.sha256
    monkeypatch.setattr(artifacts, "sha256", lambda path: (hashed.append(path), real(path))[1])
    file.write_bytes(b"first")
    os.utime(file, ns=(1, 1))
    assert artifacts.known_sha256(file) == artifacts.known_sha256(file) == real(file)
    assert len(hashed) == 1
    file.write_bytes(change)
    # a size of its own is enough, and so is a time
    os.utime(file, ns=(1, 1 if len(change) != 5 else 2))
    assert artifacts.known_sha256(file) == real(file)
    # a damaged record costs another look at the file
    (record,) = (empty_cache / "hashes").iterdir()
    record.write_text("[]")
    assert artifacts.known_sha256(file) == real(file) and len(hashed) == 3


def test_a_fingerprint_names_values_and_shape() -> None:
    values = torch.arange(6.0)
    name = artifacts.fingerprint(values, torch.ones(2))
    assert name == artifacts.fingerprint(torch.arange(6.0), torch.ones(2))
    others = ((values.reshape(2, 3), torch.ones(2)), (values + 1e-6, torch.ones(2)), (values,))
    assert all(artifacts.fingerprint(*other) != name for other in others)
