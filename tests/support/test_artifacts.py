"""Train or load: a killed run or a damaged file costs a new training, never a crash."""

import os
from collections.abc import Callable
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import Tensor

from latentcrs_utils.config import AnchorConfig
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

    runs = found = 0

    def __call__(self, checkpoint: Path | None) -> tuple[dict[str, Tensor], dict]:
        self.runs += 1
        whole = training(checkpoint)
        whole.resume()
        self.found = len(whole.curve)
        for epoch in whole.epochs(3, value="gain", patience=3, label="Demo"):
            whole.curve.append({"gain": epoch})
        return {"W": torch.arange(12.0).reshape(3, 4).T}, {"epochs": 5, "name": "ünï"}


def make(train: Callable, parts: dict | None = None, **options: bool) -> tuple[Tensor, dict]:
    tensors, facts = artifacts.train_or_load("demo", PARTS | (parts or {}), train, **options)
    return tensors["W"], facts


def pair(cache: Path) -> tuple[Path, Path]:
    (tensor_file,) = cache.rglob("*.safetensors")
    return tensor_file, tensor_file.with_suffix(".json")


def test_trains_once_then_loads_the_same(empty_cache: Path, loud: pytest.CaptureFixture) -> None:
    train = Trainer()
    (first, facts), (again, facts_again) = make(train), make(train)
    assert train.runs == 1 and torch.equal(first, again)
    assert facts == facts_again == {"epochs": 5, "name": "ünï"}
    # on stderr only
    said = loud.readouterr()
    assert "made and saved" in said.err and "loaded" in said.err and said.out == ""
    pair(empty_cache)[1].write_text("to be overwritten")
    make(train, reuse=False)
    make(train)
    assert train.runs == 2
    # any changed part trains anew
    for other in ({"seed": 4}, {"config": AnchorConfig(K=9)}, {"extra": None}):
        make(train, other)
    assert train.runs == 5


def flipped(content: bytes) -> bytes:
    return content[:-1] + bytes([content[-1] ^ 1])


# which file of the pair, and what becomes of its bytes (None: it is lost)
@pytest.mark.parametrize(
    ("which", "change"),
    [
        (0, flipped),
        (0, None),
        (1, None),
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
    content = file.read_bytes()
    file.unlink()
    if change is not None:
        file.write_bytes(change(content))
    for _ in range(2):
        assert torch.equal(make(train)[0], expected) and train.runs == 2


def test_a_training_that_fails_and_a_cache_that_cannot_be_written(empty_cache: Path, loud) -> None:
    with pytest.raises(ZeroDivisionError):
        make(lambda checkpoint: 1 / 0)
    assert not [file for file in empty_cache.rglob("*") if file.is_file()]
    # a file where the folder should be: it costs the checkpoints, not the result
    (empty_cache / "demo").write_text("in the way")
    assert make(Trainer())[0].shape == (4, 3)
    said = loud.readouterr().err
    assert said.count("no checkpoint in") == said.count("made, but not saved in") == 1


def stop_in_second_epoch(checkpoint: Path | None) -> None:
    whole = training(checkpoint)
    for epoch in whole.epochs(9, value="gain", patience=9, label="Demo"):
        if epoch == 2:
            raise KeyboardInterrupt
        whole.curve.append({"gain": 0.1 + 0.2, "name": "ünï"})


def stopped(cache: Path, parts: dict | None = None, **options: bool) -> Path | None:
    """The checkpoint of the training that was stopped last, if there is one."""
    with pytest.raises(KeyboardInterrupt):
        make(stop_in_second_epoch, parts, **options)
    checkpoints = cache.rglob("*.checkpoint")
    return max(checkpoints, key=lambda file: file.stat().st_mtime_ns, default=None)


def test_a_checkpoint_gives_back_what_was_saved_and_goes_with_the_result(
    empty_cache: Path, loud: pytest.CaptureFixture
) -> None:
    again = training(stopped(empty_cache))
    torch.nn.init.zeros_(again.module.weight)
    again.resume()
    assert again.curve == [{"gain": 0.1 + 0.2, "name": "ünï"}]
    for state in (again.module.state_dict(), again.best_state):
        assert (state["weight"] == 0.5).all() and state.keys() == {"weight", "bias"}
    loud.readouterr()
    train = Trainer()
    make(train)
    assert train.found == 1
    assert "demo: goes on after epoch 1" in loud.readouterr().err
    assert {file.suffix for file in (empty_cache / "demo").iterdir()} == {".safetensors", ".json"}


def test_training_afresh_neither_reads_nor_writes_a_checkpoint(empty_cache: Path) -> None:
    file = stopped(empty_cache)
    train = Trainer()
    make(train, reuse=False)
    # its result is there now, so nobody will go on from the checkpoint of another training
    assert train.found == 0 and not file.exists()
    assert stopped(empty_cache, reuse=False) is None


# what becomes of the bytes of a checkpoint, given those of another training's
DAMAGES: dict[str, Callable[[bytes, bytes], bytes]] = {
    "a value": lambda own, _: flipped(own),
    "a fact": lambda own, _: own.replace(b"epoch 1", b"epoch 2"),
    "another program's": lambda *_: safetensors.torch.save({"W": torch.ones(3)}),
    "another training's": lambda _, other: other,
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_checkpoint_is_not_used(empty_cache: Path, damage: str, loud) -> None:
    other = stopped(empty_cache, {"seed": 4}).read_bytes()
    file = stopped(empty_cache)
    damaged = DAMAGES[damage](file.read_bytes(), other)
    assert damaged != file.read_bytes()
    file.write_bytes(damaged)
    train = Trainer()
    make(train)
    assert (train.found, train.runs) == (0, 1) and not file.exists()
    assert "starting anew" in loud.readouterr().err


def test_key_tells_apart_what_differs() -> None:
    class Lookalike(AnchorConfig):
        """The same fields of another class."""

    configs = (AnchorConfig(), AnchorConfig(K=65), Lookalike())
    values = (1, 1.5, "1", True, None, [1], *configs, {"K": 1})
    parts = [{"b": 1}, *({"a": value} for value in values)]
    assert len({artifacts.key(**part) for part in parts}) == len(parts)
    assert artifacts.key(a=np.int64(1), b=(2,)) == artifacts.key(b=[2], a=1)
    with pytest.raises(ConfigError, match="object"):
        artifacts.key(a=object())


def test_cache_dir_is_the_environments_or_of_the_checkout(empty_cache: Path, monkeypatch) -> None:
    assert artifacts.cache_dir() == empty_cache and empty_cache.is_dir()
    monkeypatch.delenv("LATENTCRS_CACHE")
    root = Path(artifacts.__file__).resolve().parents[2]
    assert artifacts.cache_dir() == root / "data" / "cache"


def test_a_known_hash_is_that_of_the_file_as_it_is(
    empty_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, real = tmp_path / "file", artifacts.sha256
    hashing = Mock(side_effect=real)
    monkeypatch.setattr(artifacts, "sha256", hashing)
    # a size of its own is enough to hash it again, and so is a time
    for number, (content, time) in enumerate([(b"first", 1), (b"longer", 1), (b"others", 2)], 1):
        file.write_bytes(content)
        os.utime(file, ns=(1, time))
        assert artifacts.known_sha256(file) == artifacts.known_sha256(file) == real(file)
        assert hashing.call_count == number
    # a damaged record costs another look at the file
    (record,) = (empty_cache / "hashes").iterdir()
    record.write_text("[]")
    assert artifacts.known_sha256(file) == real(file) and hashing.call_count == 4


def test_a_fingerprint_names_values_and_shape() -> None:
    values = torch.arange(6.0)
    name = artifacts.fingerprint(values, torch.ones(2))
    assert name == artifacts.fingerprint(torch.arange(6.0), torch.ones(2))
    others = ((values.reshape(2, 3), torch.ones(2)), (values + 1e-6, torch.ones(2)), (values,))
    assert all(artifacts.fingerprint(*other) != name for other in others)
