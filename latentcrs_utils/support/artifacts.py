"""Train or load: results on disk, keyed by what produced them; safetensors and json, never pickle.

A result is a pair of files, ``<key>.safetensors`` and ``<key>.json``. The json, written last, holds
the hash of the tensors, so a pair that is cut short or damaged is recognised and made again. A
killed training leaves ``<key>.checkpoint``, from which the same call goes on.
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

    Artifacts are keyed by weights, which have the same bits in every process; what is computed
    from them may not have.
    """
    digest = hashlib.sha256()
    for tensor in tensors:
        digest.update(str(tuple(tensor.shape)).encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def train_or_load(
    kind: str,
    key_parts: dict[str, Any],
    train: Callable[[Path | None], tuple[Tensors, Facts]],
    *,
    reuse: bool = True,
    processes: Processes = SINGLE,
) -> tuple[Tensors, Facts]:
    """Return the result made from ``key_parts``: loaded, or made with ``train`` and saved.

    Of several processes the main one loads or saves; all train and get the result.

    Args:
        kind: folder of the cache, e.g. ``"backbone"``.
        key_parts: everything that the result depends on (configs, seed, fingerprints).
        train: returns named tensors and JSON-serialisable facts about them. A `Training` with the
            checkpoint file that it is given goes on from there after a kill; with the same number
            of threads the result is then the same, bit by bit.
        reuse: ``False`` trains afresh, without checkpoints, and overwrites what was saved.
        processes: all that train together.
    """
    if not processes.is_main:
        if processes.broadcast(False):
            train(None)
        return processes.broadcast(({}, {}))
    name = key(kind=kind, format=1, **key_parts)
    folder = cache_dir() / kind
    tensor_file, fact_file = folder / f"{name}.safetensors", folder / f"{name}.json"
    checkpoint = folder / f"{name}.checkpoint"
    result = _load(tensor_file, fact_file) if reuse else None
    processes.broadcast(result is None)
    if result is not None:
        note(f"{kind}: loaded what an earlier run made ({name}).")
        discard(checkpoint)
        return processes.broadcast(result)
    if reuse and (tensor_file.exists() or fact_file.exists()):
        note(f"{kind}: what an earlier run left is incomplete or damaged; making it again.")
    tensors, facts = train(checkpoint if reuse else None)
    tensors = _on_cpu(tensors)
    try:
        _save(tensor_file, fact_file, tensors, facts)
    except OSError as error:
        note(f"{kind}: made, but not saved in {folder} ({error.strerror}).")
    else:
        note(f"{kind}: made and saved ({name}).")
        discard(checkpoint)
    return processes.broadcast((tensors, facts))


def discard(checkpoint: Path) -> None:
    """Remove a checkpoint and what killed writers of it left."""
    with suppress(OSError):
        checkpoint.unlink(missing_ok=True)
        remove_abandoned(checkpoint)


def _on_cpu(tensors: Tensors) -> Tensors:
    return {label: tensor.detach().cpu().contiguous() for label, tensor in tensors.items()}


def _save(tensor_file: Path, fact_file: Path, tensors: Tensors, facts: Facts) -> None:
    """Write the pair, each file atomically, the json last as the commit mark."""
    from safetensors.torch import save

    content = save(tensors)
    record = json.dumps({"sha256": hashlib.sha256(content).hexdigest(), "facts": facts}, indent=1)
    for file, of_file in ((tensor_file, content), (fact_file, record.encode())):
        with atomic_path(file) as temporary:
            temporary.write_bytes(of_file)


def _load(tensor_file: Path, fact_file: Path) -> tuple[Tensors, Facts] | None:
    """Read the pair, or return ``None`` when it is absent, incomplete or damaged."""
    from safetensors.torch import load

    try:
        record = json.loads(fact_file.read_text(encoding="utf-8"))
        content = tensor_file.read_bytes()
        whole = hashlib.sha256(content).hexdigest() == record["sha256"]
        return (load(content), record["facts"]) if whole else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


@dataclass
class Training:
    """Networks, optimisers and random streams of a training, and how far it has come.

    The global random stream (dropout) belongs to it: call `resume` and `epochs` inside
    `torch.random.fork_rng`, in every process. A checkpoint is a line with a hash over the file's
    name and all that follows, a line of JSON, and safetensors; a damaged one is not used.

    Attributes:
        module: what is trained.
        optimisers: of its parameters, constructed as at the start of the training.
        generator: the training's own random stream.
        checkpoint: the file that holds all this after every epoch; None for none.
        processes: all that train together.
        curve: one JSON-serialisable dict an epoch.
        best_state: the state of `module` after its best epoch; empty before the first.
    """

    module: nn.Module
    optimisers: Sequence[torch.optim.Optimizer]
    generator: torch.Generator
    checkpoint: Path | None = None
    processes: Processes = SINGLE
    curve: list[dict[str, Any]] = field(default_factory=list)
    best_state: Tensors = field(default_factory=dict)
    _complained: bool = False

    def epochs(
        self,
        n_epochs: int,
        *,
        value: str,
        patience: int,
        label: str,
        stage: str | None = None,
        competing: Sequence[str | None] = (None,),
        progress: bool | None = None,
    ) -> Iterator[int]:
        """Yield the epochs, from 1, that are left to do.

        The caller trains and appends a row to `curve`. Then the module's state is kept if it is the
        best so far, and everything is saved.

        Args:
            n_epochs: the most epochs (of the stage).
            value: column of `curve` that selects the best state; higher is better.
            patience: epochs without a new highest value after which the stage ends.
            label: short words in front of the progress bar.
            stage: column `stage` of this stage's rows; None where the training has no stages.
            competing: stages whose states compete for the best.
            progress: show a progress bar; None asks the environment.
        """

        def since_best(*stages: str | None) -> int:
            """Epochs after the first highest value."""
            values = [row[value] for row in self.curve if row.get("stage") in stages]
            return len(values) - 1 - values.index(max(values)) if values else -1

        done = sum(row.get("stage") == stage for row in self.curve)
        for epoch in track(range(done + 1, n_epochs + 1), label, progress=progress):
            if since_best(stage) >= patience:
                return
            yield epoch
            if stage in competing and since_best(*competing) == 0:
                state = self.module.state_dict()
                self.best_state = {name: t.detach().clone() for name, t in state.items()}
            self._save(f"epoch {epoch}" + (f" of the stage {stage!r}" if stage else ""))

    def resume(self) -> None:
        """Take up the state in the checkpoint; without one, nothing changes.

        With another number of processes, or on another kind of device, dropout is drawn afresh.
        """
        import torch

        device = next(self.module.parameters()).device
        found = self.processes.broadcast(self._load() if self.processes.is_main else None)
        if found is None:
            return
        tree, self.curve[:] = found
        self.module.load_state_dict(tree["module"])
        self.best_state = tree.get("best", {})
        for number, optimiser in enumerate(self.optimisers):
            saved = tree["optimisers"].get(str(number), {})
            state = {int(row): quantities for row, quantities in saved.items()}
            optimiser.load_state_dict({**optimiser.state_dict(), "state": state})
        self.generator.set_state(tree["generator"])
        if len(tree["dropout"]) == self.processes.count:
            streams = tree["dropout"][str(self.processes.number)]
            torch.set_rng_state(streams["cpu"])
            if "cuda" in streams and device.type == "cuda":
                torch.cuda.set_rng_state(streams["cuda"], device)

    def _load(self) -> tuple[dict[str, Any], list[dict[str, Any]]] | None:
        """Read the tree of tensors and the curve; None to begin at the beginning."""
        from safetensors.torch import load

        file = self.checkpoint
        if file is None or not file.exists():
            return None
        try:
            digest, record, content = file.read_bytes().split(b"\n", 2)
            whole = digest == _digest(file, record, content)
        except (OSError, ValueError):
            whole = False
        if not whole:
            note(
                f"{file.parent.name}: its checkpoint is damaged or of another kind; starting anew."
            )
            return None
        facts, after = json.loads(record)
        note(f"{file.parent.name}: goes on after {after}, where an earlier run was stopped.")
        return _nested(load(content)), facts["curve"]

    def _save(self, after: str) -> None:
        """Replace the checkpoint; where that is impossible, say so once and go on without."""
        from safetensors.torch import save

        file, processes = self.checkpoint, self.processes
        streams = processes.merge({processes.number: self._dropout_streams()})
        if file is None or not processes.is_main:
            return
        tree = {
            "module": self.module.state_dict(),
            "best": self.best_state,
            "optimisers": dict(enumerate(o.state_dict()["state"] for o in self.optimisers)),
            "generator": self.generator.get_state(),
            "dropout": streams,
        }
        record = json.dumps([{"curve": self.curve}, after]).encode()
        content = save(_on_cpu(_flat(tree)))
        try:
            with atomic_path(file) as temporary:
                temporary.write_bytes(b"\n".join([_digest(file, record, content), record, content]))
        except OSError as error:
            if not self._complained:
                note(f"{file.parent.name}: no checkpoint in {file.parent} ({error.strerror}).")
                self._complained = True

    def _dropout_streams(self) -> Tensors:
        """States of the global random streams that the module draws from, uint8 vectors."""
        import torch

        device, streams = next(self.module.parameters()).device, {"cpu": torch.get_rng_state()}
        if device.type == "cuda":
            streams["cuda"] = torch.cuda.get_rng_state(device)
        return streams


def _digest(file: Path, record: bytes, content: bytes) -> bytes:
    digest = hashlib.sha256(b"\n".join([file.name.encode(), record, b""]))
    digest.update(content)
    return digest.hexdigest().encode()


def _flat(tree: Any, path: str = "") -> Tensors:
    """Name every tensor of nested dicts by its path: "module/layer.weight"."""
    if not isinstance(tree, dict):
        return {path.removeprefix("/"): tree}
    return {k: t for name in tree for k, t in _flat(tree[name], f"{path}/{name}").items()}


def _nested(tensors: Tensors) -> dict[str, Any]:
    """Undo `_flat`; numbers among the keys are text now."""
    tree: dict[str, Any] = {}
    for path, tensor in tensors.items():
        *names, leaf = path.split("/")
        reduce(lambda branch, name: branch.setdefault(name, {}), names, tree)[leaf] = tensor
    return tree
