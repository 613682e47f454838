"""Train or load: results on disk, keyed by what produced them; safetensors and json, never pickle.

A result is a pair of files, ``<key>.safetensors`` and ``<key>.json``. The json is written last
and holds the hash of the tensors, so a pair cut short by a kill, or damaged later, is
recognised and made again. A training that is killed leaves a third file, ``<key>.checkpoint``,
from which the same call goes on; it disappears with the result.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import reduce
from pathlib import Path
from typing import TYPE_CHECKING, Any

from latentcrs_utils.errors import ConfigError
from latentcrs_utils.support.files import atomic_path, remove_abandoned
from latentcrs_utils.support.processes import SINGLE, Processes
from latentcrs_utils.support.progress import note, track

if TYPE_CHECKING:
    # doctor and the readers of data import this module, and they need no PyTorch
    import torch
    from torch import Tensor, nn

    Tensors = dict[str, Tensor]
    Facts = dict[str, Any]

_FORMAT = 1


def cache_dir() -> Path:
    """Return the folder of downloads and trained results (made if absent).

    ``LATENTCRS_CACHE`` if set; ``data/cache`` of the checkout when the package runs from one;
    else the platform's cache folder for this user.
    """
    checkout = Path(__file__).resolve().parents[2]
    if chosen := os.environ.get("LATENTCRS_CACHE"):
        folder = Path(chosen).expanduser()
    elif (checkout / "pyproject.toml").is_file():
        folder = checkout / "data" / "cache"
    else:
        import pooch

        folder = Path(pooch.os_cache("latentcrs"))
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def sha256(path: Path) -> str:
    """Return the sha256 of a file as 64 hex digits."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def known_sha256(path: Path) -> str:
    """Return `sha256`, remembered in the cache with the file's size and modification time."""
    status = path.stat()
    stamp = {"size": status.st_size, "mtime_ns": status.st_mtime_ns}
    record = cache_dir() / "hashes" / f"{key(file=str(path.resolve()))}.sha256.json"
    with suppress(OSError, ValueError, KeyError, TypeError):
        known = json.loads(record.read_text(encoding="utf-8"))
        if {name: known[name] for name in stamp} == stamp:
            return known["sha256"]
    digest = sha256(path)
    # a read-only cache works too, the file is only hashed each time
    with suppress(OSError), atomic_path(record) as temporary:
        temporary.write_text(json.dumps({**stamp, "sha256": digest}), encoding="utf-8")
    return digest


def key(**parts: Any) -> str:
    """Return 16 hex digits naming ``parts`` (dataclasses, strings, numbers, lists, dicts).

    Equal values give equal keys in every process; any changed value gives another key.
    """
    text = json.dumps(parts, default=_plain, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _plain(value: Any) -> Any:
    """Turn a key part into what JSON knows; a dataclass keeps its class name."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {f.name: getattr(value, f.name) for f in dataclasses.fields(value)}
        return {"class": type(value).__name__, **fields}
    if isinstance(value, Path):
        return str(value)
    if hasattr(value, "item") and getattr(value, "ndim", None) == 0:
        return value.item()
    raise ConfigError(f"A {type(value).__name__} cannot be part of an artifact key: {value!r}.")


def fingerprint(*tensors: Tensor) -> str:
    """Return the sha256 over shapes and values of tensors, 64 hex digits.

    Weights that were read from disk have the same bits in every process; whatever is computed
    from them may not have, so artifacts are keyed by weights.
    """
    digest = hashlib.sha256()
    for tensor in tensors:
        digest.update(str(tuple(tensor.shape)).encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def train_or_load(
    kind: str,
    key_parts: dict[str, Any],
    train: Callable[[Checkpoint], tuple[Tensors, Facts]],
    *,
    reuse: bool = True,
) -> tuple[Tensors, Facts, bool]:
    """Load the result made from ``key_parts``, or make it with ``train`` and save it.

    Args:
        kind: folder of the cache, e.g. ``"backbone"``.
        key_parts: everything that the result depends on (configs, seed, fingerprints).
        train: returns named tensors and JSON-serialisable facts about them. It may keep its state
            in the checkpoint that it is given, to go on from there after a kill; with the same
            number of threads the result is then the same, bit by bit.
        reuse: ``False`` trains afresh, without checkpoints, and overwrites what was saved.

    Returns:
        The tensors, the facts, and whether they were loaded.
    """
    name = key(kind=kind, format=_FORMAT, **key_parts)
    folder = cache_dir() / kind
    tensor_file, fact_file = folder / f"{name}.safetensors", folder / f"{name}.json"
    checkpoint = Checkpoint(kind, folder / f"{name}.checkpoint", active=reuse)
    if reuse and (found := _load(tensor_file, fact_file)) is not None:
        note(f"{kind}: loaded what an earlier run made ({name}).")
        checkpoint.discard()
        return *found, True
    if reuse and (tensor_file.exists() or fact_file.exists()):
        note(f"{kind}: what an earlier run left is incomplete or damaged; making it again.")
    tensors, facts = train(checkpoint)
    tensors = _on_cpu(tensors)
    try:
        _save(tensor_file, fact_file, tensors, facts)
    except OSError as error:
        note(f"{kind}: made, but not saved in {folder} ({error.strerror}).")
    else:
        note(f"{kind}: made and saved ({name}).")
        checkpoint.discard()
    return tensors, facts, False


def train_together(
    kind: str,
    key_parts: dict[str, Any],
    train: Callable[[Checkpoint], tuple[Tensors, Facts]],
    processes: Processes,
    *,
    reuse: bool = True,
) -> tuple[Tensors, Facts]:
    """`train_or_load` of several processes: the main one loads or saves, all train and return."""
    if not processes.is_main:
        if processes.broadcast(False):
            train(Checkpoint(kind, Path(), active=False))
        return processes.broadcast(({}, {}))

    def train_with_all(checkpoint: Checkpoint) -> tuple[Tensors, Facts]:
        processes.broadcast(True)
        return train(checkpoint)

    tensors, facts, loaded = train_or_load(kind, key_parts, train_with_all, reuse=reuse)
    if loaded:
        processes.broadcast(False)
    return processes.broadcast((tensors, facts))


def _on_cpu(tensors: Tensors) -> Tensors:
    return {label: tensor.detach().cpu().contiguous() for label, tensor in tensors.items()}


def _save(tensor_file: Path, fact_file: Path, tensors: Tensors, facts: Facts) -> None:
    """Write the pair, each file atomically, the json last as the commit mark."""
    from safetensors.torch import save

    content = save(tensors)
    with atomic_path(tensor_file) as temporary:
        temporary.write_bytes(content)
    record = json.dumps({"sha256": hashlib.sha256(content).hexdigest(), "facts": facts}, indent=1)
    with atomic_path(fact_file) as temporary:
        temporary.write_text(record, encoding="utf-8")


def _load(tensor_file: Path, fact_file: Path) -> tuple[Tensors, Facts] | None:
    """Read the pair, or return ``None`` when it is absent, incomplete or damaged."""
    from safetensors.torch import load_file

    try:
        record = json.loads(fact_file.read_text(encoding="utf-8"))
        facts = record["facts"]
        whole = sha256(tensor_file) == record["sha256"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return (load_file(tensor_file), facts) if whole else None


class Checkpoint:
    """The state of an unfinished training on disk: one file, replaced as the training goes on.

    Three parts, a line each but the last: a hash over the other two and the name of the file, a
    JSON record, and safetensors. So a checkpoint that is damaged or belongs to something else is
    recognised and not used.

    Args:
        kind: of the artifact, to be named on screen.
        file: where the checkpoint is kept; its name holds the key of the artifact.
        active: ``False`` reads and writes nothing.
    """

    def __init__(self, kind: str, file: Path, *, active: bool = True):
        self.kind = kind
        self.file = file
        self.active = active
        self._complained = False

    def load(self) -> tuple[Tensors, Facts] | None:
        """Return the tensors and facts saved last, or ``None`` to begin at the beginning."""
        from safetensors.torch import load

        if not self.active or not self.file.exists():
            return None
        try:
            digest, record, content = self.file.read_bytes().split(b"\n", 2)
            whole = digest == self._digest(record, content)
        except (OSError, ValueError):
            whole = False
        if not whole:
            note(f"{self.kind}: its checkpoint is damaged or of another kind; starting anew.")
            return None
        facts, after = json.loads(record)
        note(f"{self.kind}: goes on after {after}, where an earlier run was stopped.")
        return load(content), facts

    def save(self, tensors: Tensors, facts: Facts, *, after: str) -> None:
        """Replace the checkpoint; where that is impossible, say so once and go on without.

        Args:
            tensors: the state, by name.
            facts: JSON-serialisable facts about it.
            after: what is done, for the screen, e.g. ``"epoch 23"``.
        """
        from safetensors.torch import save

        if not self.active:
            return
        record, content = json.dumps([facts, after]).encode(), save(_on_cpu(tensors))
        try:
            with atomic_path(self.file) as temporary:
                temporary.write_bytes(b"\n".join([self._digest(record, content), record, content]))
        except OSError as error:
            if not self._complained:
                note(f"{self.kind}: no checkpoint in {self.file.parent} ({error.strerror}).")
                self._complained = True

    def discard(self) -> None:
        """Remove the checkpoint and what killed writers of it left."""
        with suppress(OSError):
            self.file.unlink(missing_ok=True)
            remove_abandoned(self.file)

    def _digest(self, record: bytes, content: bytes) -> bytes:
        digest = hashlib.sha256(b"\n".join([self.file.name.encode(), record, b""]))
        digest.update(content)
        return digest.hexdigest().encode()


@dataclass
class Training:
    """Networks, optimisers and random streams of a training, and how far it has come.

    The global random stream (dropout) belongs to it, on the GPU too where the module is there:
    `save` writes its state and `resume` sets it, so both are called inside
    `torch.random.fork_rng`. Of several processes all call both; the main one reads and writes.

    Attributes:
        module: what is trained.
        optimisers: of its parameters, constructed as at the start of the training.
        generator: the training's own random stream.
        curve: one JSON-serialisable dict an epoch.
        best_state: the state of `module` after its best epoch; empty before the first.
    """

    module: nn.Module
    optimisers: Sequence[torch.optim.Optimizer]
    generator: torch.Generator
    curve: list[dict[str, Any]] = field(default_factory=list)
    best_state: Tensors = field(default_factory=dict)

    def epochs(
        self,
        n_epochs: int,
        checkpoint: Checkpoint | None,
        *,
        value: str,
        patience: int,
        label: str,
        stage: str | None = None,
        competing: Sequence[str | None] = (None,),
        progress: bool | None = None,
        processes: Processes = SINGLE,
    ) -> Iterator[int]:
        """Yield the epochs that are left to do, until `value` has not risen for `patience` of them.

        The caller trains and appends a row to `curve`. Then the module's state is kept if it is the
        best so far, and everything is saved.

        Args:
            n_epochs: the most epochs (of the stage).
            checkpoint: where the state is saved; None saves nothing.
            value: column of `curve` that selects the best state; higher is better.
            patience: epochs without a new highest value after which the stage ends.
            label: short words in front of the progress bar.
            stage: column `stage` of this stage's rows; None where the training has no stages.
            competing: stages whose states compete for the best.
            progress: show a progress bar; None asks the environment.
            processes: all that train together.

        Yields:
            The number of the epoch, from 1.
        """

        def values(*stages: str | None) -> list[float]:
            return [row[value] for row in self.curve if row.get("stage") in stages]

        epochs = range(len(values(stage)) + 1, n_epochs + 1)
        for epoch in track(epochs, label, progress=progress):
            if (past := values(stage)) and epochs_since_best(past) >= patience:
                return
            yield epoch
            if stage in competing and epochs_since_best(values(*competing)) == 0:
                self.keep_best()
            if checkpoint is not None:
                of_stage = f" of the stage {stage!r}" if stage else ""
                self.save(checkpoint, f"epoch {epoch}{of_stage}", processes)

    def keep_best(self) -> None:
        """Copy the present state of the module as the best one."""
        state = self.module.state_dict()
        self.best_state = {name: tensor.detach().clone() for name, tensor in state.items()}

    def save(self, checkpoint: Checkpoint, after: str, processes: Processes = SINGLE) -> None:
        """Write everything to the checkpoint; `after` says what is done, e.g. "epoch 23"."""
        streams = processes.merge({processes.number: self._dropout_streams()})
        tree = {
            "module": self.module.state_dict(),
            "best": self.best_state,
            "optimisers": [optimiser.state_dict()["state"] for optimiser in self.optimisers],
            "generator": self.generator.get_state(),
            "dropout": streams,
        }
        if processes.is_main:
            checkpoint.save(_flat(tree), {"curve": self.curve}, after=after)

    def resume(self, checkpoint: Checkpoint, processes: Processes = SINGLE) -> None:
        """Take up the state in the checkpoint; without one, nothing changes.

        With another number of processes, or on another kind of device, dropout is drawn afresh.
        """
        import torch

        found = processes.broadcast(checkpoint.load() if processes.is_main else None)
        if found is None:
            return
        tensors, facts = found
        tree = _nested(tensors)
        self.curve[:] = facts["curve"]
        self.module.load_state_dict(tree["module"])
        self.best_state = tree.get("best", {})
        for number, optimiser in enumerate(self.optimisers):
            saved = tree.get("optimisers", {}).get(str(number), {})
            state = {int(row): quantities for row, quantities in saved.items()}
            optimiser.load_state_dict({**optimiser.state_dict(), "state": state})
        self.generator.set_state(tree["generator"])
        if len(tree["dropout"]) == processes.count:
            streams = tree["dropout"][str(processes.number)]
            torch.set_rng_state(streams["cpu"])
            if "cuda" in streams and self._device.type == "cuda":
                torch.cuda.set_rng_state(streams["cuda"], self._device)

    @property
    def _device(self) -> torch.device:
        return next(self.module.parameters()).device

    def _dropout_streams(self) -> Tensors:
        """States of the global random streams that the module draws from, uint8 vectors."""
        import torch

        streams = {"cpu": torch.get_rng_state()}
        if self._device.type == "cuda":
            streams["cuda"] = torch.cuda.get_rng_state(self._device)
        return streams


def epochs_since_best(values: Sequence[float]) -> int:
    """Number of epochs after the (first) highest of one or more values, one value an epoch."""
    return len(values) - 1 - max(range(len(values)), key=values.__getitem__)


def _flat(tree: Any, path: str = "") -> Tensors:
    """Name every tensor of nested dicts and lists by its path: "module/layer.weight"."""
    if not isinstance(tree, dict | list):
        return {path.removeprefix("/"): tree}
    branches = tree.items() if isinstance(tree, dict) else enumerate(tree)
    return {k: t for name, branch in branches for k, t in _flat(branch, f"{path}/{name}").items()}


def _nested(tensors: Tensors) -> dict[str, Any]:
    """Undo `_flat`; the places in a list are the keys "0", "1", …"""
    tree: dict[str, Any] = {}
    for path, tensor in tensors.items():
        *branches, leaf = path.split("/")
        reduce(lambda branch, name: branch.setdefault(name, {}), branches, tree)[leaf] = tensor
    return tree
