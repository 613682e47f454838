"""Train or load: a killed run or a damaged file costs a new training, never a crash."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
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
from latentcrs_utils.support.artifacts import Checkpoint

PARTS = {"config": AnchorConfig(K=8), "seed": 3}


class Trainer:
    """Counts how often it trains."""

    def __init__(self) -> None:
        self.runs = 0

    def __call__(self, checkpoint: Checkpoint) -> tuple[dict[str, Tensor], dict]:
        self.runs += 1
        return {"W": torch.arange(12.0).reshape(3, 4).T}, {"epochs": 5, "name": "ünï"}


def pair(cache: Path) -> tuple[Path, Path]:
    (tensor_file,) = cache.rglob("*.safetensors")
    (fact_file,) = cache.rglob("*.json")
    return tensor_file, fact_file


def test_trains_once_then_loads_the_same(empty_cache: Path) -> None:
    train = Trainer()
    first, facts, loaded = artifacts.train_or_load("demo", PARTS, train)
    again, facts_again, loaded_again = artifacts.train_or_load("demo", PARTS, train)
    assert (loaded, loaded_again, train.runs) == (False, True, 1)
    assert torch.equal(first["W"], again["W"])
    assert facts == facts_again == {"epochs": 5, "name": "ünï"}


def test_reuse_false_trains_and_overwrites(empty_cache: Path) -> None:
    train = Trainer()
    artifacts.train_or_load("demo", PARTS, train)
    before = pair(empty_cache)[1].stat().st_mtime_ns
    _, _, loaded = artifacts.train_or_load("demo", PARTS, train, reuse=False)
    assert (loaded, train.runs) == (False, 2)
    assert pair(empty_cache)[1].stat().st_mtime_ns >= before


@pytest.mark.parametrize("other", [{"seed": 4}, {"config": AnchorConfig(K=9)}, {"extra": None}])
def test_any_changed_part_trains_anew(empty_cache: Path, other: dict) -> None:
    train = Trainer()
    artifacts.train_or_load("demo", PARTS, train)
    _, _, loaded = artifacts.train_or_load("demo", {**PARTS, **other}, train)
    assert not loaded


def flipped(content: bytes) -> bytes:
    return content[:-1] + bytes([content[-1] ^ 1])


# which file of the pair, and what becomes of its bytes (None: it is lost)
DAMAGES: dict[str, tuple[int, Callable[[bytes], bytes | None]]] = {
    "cut tensors": (0, lambda content: content[:-3]),
    "a bit of the tensors": (0, flipped),
    "no tensors": (0, lambda content: None),
    "no facts": (1, lambda content: None),
    "cut facts": (1, lambda content: content[:20]),
    "strange facts": (1, lambda content: b'["not", "a", "record"]'),
    "undecodable facts": (1, lambda content: b"\xff\xfe\x00broken"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_pair_is_made_again(empty_cache: Path, damage: str) -> None:
    train = Trainer()
    expected, _, _ = artifacts.train_or_load("demo", PARTS, train)
    which, change = DAMAGES[damage]
    file = pair(empty_cache)[which]
    if (content := change(file.read_bytes())) is None:
        file.unlink()
    else:
        file.write_bytes(content)
    tensors, _, loaded = artifacts.train_or_load("demo", PARTS, train)
    assert not loaded
    assert torch.equal(tensors["W"], expected["W"])
    assert artifacts.train_or_load("demo", PARTS, train)[2]


KILLED_RUN = """
import os, signal, sys
import torch
from latentcrs_utils.support import artifacts

whole = artifacts.atomic_path
calls = 0

def killed_at(target):
    global calls
    calls += 1
    if calls == int(sys.argv[1]):
        (target.parent / (target.name + ".part")).write_bytes(b"half")
        os.kill(os.getpid(), signal.SIGKILL)
    return whole(target)

artifacts.atomic_path = killed_at
artifacts.train_or_load("demo", {"seed": 1}, lambda _: ({"W": torch.ones(3)}, {"run": "killed"}))
"""


@pytest.mark.parametrize("write", [1, 2])
def test_killed_while_saving_then_trained_again(empty_cache: Path, write: int) -> None:
    empty_cache.joinpath("demo").mkdir(parents=True)
    run = subprocess.run([sys.executable, "-c", textwrap.dedent(KILLED_RUN), str(write)])
    assert run.returncode == -signal.SIGKILL
    train = Trainer()
    _, facts, loaded = artifacts.train_or_load("demo", {"seed": 1}, train)
    assert (loaded, facts["epochs"]) == (False, 5)


def test_training_that_fails_leaves_nothing_behind(empty_cache: Path) -> None:
    def fail(checkpoint: Checkpoint) -> tuple[dict[str, Tensor], dict]:
        raise RuntimeError("diverged")

    with pytest.raises(RuntimeError, match="diverged"):
        artifacts.train_or_load("demo", PARTS, fail)
    assert not [file for file in empty_cache.rglob("*") if file.is_file()]


def test_result_survives_a_cache_that_cannot_be_written(
    empty_cache: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture
) -> None:
    empty_cache.mkdir()
    (empty_cache / "demo").write_text("a file where the folder should be")
    monkeypatch.setenv("LATENTCRS_PROGRESS", "1")
    tensors, _, loaded = artifacts.train_or_load("demo", PARTS, Trainer())
    assert tensors["W"].shape == (4, 3)
    assert not loaded
    assert "not saved" in capfd.readouterr().err


def test_says_what_happened_on_stderr_only(
    empty_cache: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture
) -> None:
    monkeypatch.setenv("LATENTCRS_PROGRESS", "1")
    artifacts.train_or_load("demo", PARTS, Trainer())
    first = capfd.readouterr()
    artifacts.train_or_load("demo", PARTS, Trainer())
    second = capfd.readouterr()
    assert "made and saved" in first.err
    assert "loaded" in second.err
    assert first.out == second.out == ""


STATE = {"W": torch.arange(6.0).reshape(2, 3).T, "step": torch.tensor(3.0), "none": torch.zeros(0)}


class StoppedError(Exception):
    """Ends a training before its end."""


def stop_after_saving(checkpoint: Checkpoint) -> tuple[dict[str, Tensor], dict]:
    checkpoint.save(STATE, {"loss": 0.1 + 0.2, "name": "ünï"}, after="epoch 23")
    raise StoppedError


def stopped(cache: Path, parts: dict = PARTS) -> Path:
    """The checkpoint of a training that was stopped."""
    with pytest.raises(StoppedError):
        artifacts.train_or_load("demo", parts, stop_after_saving)
    (file,) = cache.rglob("*.checkpoint")
    return file


class Resumer:
    """Keeps what its checkpoint held."""

    def __call__(self, checkpoint: Checkpoint) -> tuple[dict[str, Tensor], dict]:
        self.found = checkpoint.load()
        return {"W": torch.ones(2)}, {}


def test_a_checkpoint_gives_back_what_was_saved_and_goes_with_the_result(
    empty_cache: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture
) -> None:
    stopped(empty_cache)
    monkeypatch.setenv("LATENTCRS_PROGRESS", "1")
    train = Resumer()
    artifacts.train_or_load("demo", PARTS, train)
    tensors, facts = train.found
    assert facts == {"loss": 0.1 + 0.2, "name": "ünï"}
    assert tensors.keys() == STATE.keys()
    assert all(torch.equal(tensors[name], STATE[name]) for name in STATE)
    assert "demo: goes on after epoch 23" in capfd.readouterr().err
    assert {file.suffix for file in (empty_cache / "demo").iterdir()} == {".safetensors", ".json"}


def test_training_afresh_neither_reads_nor_writes_a_checkpoint(empty_cache: Path) -> None:
    file = stopped(empty_cache)
    train = Resumer()
    artifacts.train_or_load("demo", PARTS, train, reuse=False)
    # its result is there now, so nobody will go on from the checkpoint of another training
    assert train.found is None and not file.exists()
    with pytest.raises(StoppedError):
        artifacts.train_or_load("demo", PARTS, stop_after_saving, reuse=False)
    assert not file.exists()


def test_a_checkpoint_under_another_name_is_not_used(empty_cache: Path) -> None:
    own = stopped(empty_cache)
    own.unlink()
    stopped(empty_cache, {**PARTS, "seed": 4}).rename(own)
    train = Resumer()
    artifacts.train_or_load("demo", PARTS, train)
    assert train.found is None


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: content[:-2],
        flipped,
        lambda content: content.replace(b"epoch 23", b"epoch 24"),
        lambda content: b"",
        lambda content: safetensors.torch.save({"W": torch.ones(3)}),
    ],
    ids=["cut", "a value", "a fact", "empty", "another program's"],
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
    train = Resumer()
    _, _, loaded = artifacts.train_or_load("demo", PARTS, train)
    assert train.found is None and not loaded and not file.exists()
    assert "starting anew" in capfd.readouterr().err


def test_a_checkpoint_left_beside_its_result_goes_at_the_next_call(empty_cache: Path) -> None:
    artifacts.train_or_load("demo", PARTS, Trainer())
    result = {file: file.read_bytes() for file in pair(empty_cache)}
    for file in result:
        file.unlink()
    checkpoint = stopped(empty_cache)
    abandoned = checkpoint.with_name(f".{checkpoint.name}.x1.part")
    abandoned.mkdir()
    for file, content in result.items():
        file.write_bytes(content)
    assert artifacts.train_or_load("demo", PARTS, Trainer())[2]
    assert not checkpoint.exists() and not abandoned.exists()


FULL_DISK = """
import resource, torch
from latentcrs_utils.support import artifacts
resource.setrlimit(resource.RLIMIT_FSIZE, (5000, 5000))

def train(checkpoint):
    for epoch in range(3):
        checkpoint.save({"W": torch.ones(2000)}, {}, after="an epoch")
    return {"W": torch.ones(2000)}, {}

tensors, _, loaded = artifacts.train_or_load("demo", {}, train)
print(int(tensors["W"].sum()), loaded)
"""


def test_a_full_disk_costs_the_checkpoint_and_not_the_training(empty_cache: Path) -> None:
    run = subprocess.run(
        [sys.executable, "-c", FULL_DISK],
        env={**os.environ, "LATENTCRS_PROGRESS": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert run.stdout.strip() == "2000 False"
    assert run.stderr.count("no checkpoint in") == 1
    assert run.stderr.count("made, but not saved in") == 1
    assert not list((empty_cache / "demo").iterdir())


def test_key_is_the_same_in_every_process() -> None:
    code = (
        "from latentcrs_utils.support.artifacts import key; from latentcrs_utils.config import *;"
        "print(key(config=BackboneConfig(), tags=('a', 'b'), seed=0))"
    )
    here = artifacts.key(seed=0, tags=["a", "b"], config=BackboneConfig())
    for hash_seed in ("1", "2"):
        environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
        run = subprocess.run(
            [sys.executable, "-c", code],
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        )
        assert run.stdout.strip() == here
    assert len(here) == 16


def test_key_tells_apart_what_differs() -> None:
    @dataclass(frozen=True)
    class Lookalike:
        K: int = 64
        n_init: int = 10
        max_iterations: int = 300

    values = (
        1,
        1.5,
        "1",
        True,
        None,
        [1],
        AnchorConfig(),
        AnchorConfig(K=65),
        Lookalike(),
        {"K": 1},
    )
    parts = [{"b": 1}, *({"a": value} for value in values)]
    assert len({artifacts.key(**part) for part in parts}) == len(parts)
    assert artifacts.key(a=np.int64(1)) == artifacts.key(a=1)


def test_key_refuses_what_it_cannot_name() -> None:
    with pytest.raises(ConfigError, match="object"):
        artifacts.key(a=object())


def test_cache_dir_follows_the_environment(empty_cache: Path) -> None:
    assert artifacts.cache_dir() == empty_cache
    assert empty_cache.is_dir()


def test_cache_dir_of_a_checkout(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LATENTCRS_CACHE", raising=False)
    root = Path(artifacts.__file__).resolve().parents[2]
    assert artifacts.cache_dir() == root / "data" / "cache"


def test_a_fingerprint_names_values_and_shape() -> None:
    values = torch.arange(6.0)
    name = artifacts.fingerprint(values, torch.ones(2))
    assert name == artifacts.fingerprint(torch.arange(6.0), torch.ones(2))
    others = ((values.reshape(2, 3), torch.ones(2)), (values + 1e-6, torch.ones(2)), (values,))
    assert all(artifacts.fingerprint(*other) != name for other in others)
