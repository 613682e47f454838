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
    """Return the folder of downloads and trained results, which is made if absent.

    It is ``LATENTCRS_CACHE``, else ``data/cache`` of the checkout, else the user's cache folder.
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
    """Return 16 hex digits for parts made of dataclasses, strings, numbers, lists and dicts.

    Equal values give equal keys in every process; ConfigError for a value of another type.
    """
    text = json.dumps(parts, default=_plain, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _plain(value: Any) -> Any:
    """Turn a key part into what JSON knows; a dataclass keeps its class name."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {f.name: getattr(value, f.name) for f in dataclasses.fields(value)}
        return {"class": type(value).__name__, **fields}
    if hasattr(value, "item") and getattr(value, "ndim", None) == 0:
        return value.item()
    raise ConfigError(f"A {type(value).__name__} cannot be part of an artifact key: {value!r}.")


def fingerprint(*tensors: Tensor) -> str:
    """Return the sha256, 64 hex digits, of tensors; take weights, for results can differ."""
    digest = hashlib.sha256()
    for tensor in tensors:
        digest.update(str(tuple(tensor.shape)).encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def train_or_load(
    kind: str, key_parts: dict[str, Any], train: Callable[[Path | None], tuple[Tensors, Facts]],
    *, reuse: bool = True, processes: Processes = SINGLE,
) -> tuple[Tensors, Facts]:  # fmt: skip
    """Return named tensors and facts about them, JSON: loaded, or made with ``train`` and saved.

    ``kind`` is a folder of the cache; ``key_parts`` are all that the result depends on (configs,
    seed, fingerprints). A `Training` with the checkpoint that ``train`` is given goes on from
    there after a kill: the result is the same, bit by bit, with the same number of threads.
    ``reuse=False`` trains afresh, without checkpoints, and overwrites what was saved. Of several
    processes the main one loads or saves; all train and get the result.
    """
    from safetensors.torch import save

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
    tensors = _flat(tensors)
    content = save(tensors)
    record = json.dumps({"sha256": hashlib.sha256(content).hexdigest(), "facts": facts}, indent=1)
    try:
        # the json last, as the commit mark
        for file, of_file in ((tensor_file, content), (fact_file, record.encode())):
            with atomic_path(file) as temporary:
                temporary.write_bytes(of_file)
    except OSError as error:
        note(f"{kind}: made, but not saved in {folder} ({error.strerror}).")
    else:
        note(f"{kind}: made and saved ({name}).")
        discard(checkpoint)
    return processes.broadcast((tensors, facts))


def discard(checkpoint: Path) -> None:
    """Remove a checkpoint, and what killed writers of it and of its result left."""
    with suppress(OSError):
        checkpoint.unlink(missing_ok=True)
        remove_abandoned(checkpoint.with_suffix(""))


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
    """A module in training, its optimisers and random streams, and how far it has come.

    The checkpoint, if any, holds all this after every epoch, and a hash of it all. Besides
    `generator` the global random stream (dropout) belongs to it: call `resume` and `epochs` inside
    `torch.random.fork_rng`, in every process. `curve` has a JSON-serialisable dict an epoch;
    `best_state`, the module's state after its best epoch, is empty before the first.
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
        self, n_epochs: int, *, value: str, patience: int, label: str, stage: str | None = None,
        competing: Sequence[str | None] = (None,), progress: bool | None = None,
    ) -> Iterator[int]:  # fmt: skip
        """Yield the epochs, from 1, that are left to do (of a stage, where there are stages).

        The caller trains and appends a row to `curve`, with the stage in its column `stage`. Then
        all is saved, and the module's state as the best one if the row's `value` is the highest so
        far of the `competing` stages; `patience` epochs without a new highest one end the stage.
        """

        def since_best(*stages: str | None) -> int:
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
        """Take up the checkpoint, if any; other processes or devices draw dropout afresh."""
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
        kind = file.parent.name
        with suppress(OSError, ValueError):
            digest, record, content = file.read_bytes().split(b"\n", 2)
            if digest == _digest(file, record, content):
                facts, after = json.loads(record)
                note(f"{kind}: goes on after {after}, where an earlier run was stopped.")
                return _nested(load(content)), facts["curve"]
        note(f"{kind}: its checkpoint is damaged or another's; starting anew.")
        return None

    def _save(self, after: str) -> None:
        """Replace the checkpoint; where that is impossible, say so once and go on without."""
        import torch
        from safetensors.torch import save

        file, processes = self.checkpoint, self.processes
        streams = {"cpu": torch.get_rng_state()}
        if (device := next(self.module.parameters()).device).type == "cuda":
            streams["cuda"] = torch.cuda.get_rng_state(device)
        dropout = processes.merge({processes.number: streams})
        if file is None or not processes.is_main:
            return
        tree = {"module": self.module.state_dict(), "best": self.best_state, "dropout": dropout}
        tree["optimisers"] = dict(enumerate(o.state_dict()["state"] for o in self.optimisers))
        tree["generator"] = self.generator.get_state()
        record = json.dumps([{"curve": self.curve}, after]).encode()
        content = save(_flat(tree))
        try:
            with atomic_path(file) as temporary:
                temporary.write_bytes(b"\n".join([_digest(file, record, content), record, content]))
        except OSError as error:
            if not self._complained:
                note(f"{file.parent.name}: no checkpoint in {file.parent} ({error.strerror}).")
                self._complained = True


def _digest(file: Path, record: bytes, content: bytes) -> bytes:
    whole = b"\n".join([file.name.encode(), record, content])
    return hashlib.sha256(whole).hexdigest().encode()


def _flat(tree: Any, path: str = "") -> Tensors:
    """Name every tensor of nested dicts by its path, "module/layer.weight"; all are on the CPU."""
    if not isinstance(tree, dict):
        return {path.removeprefix("/"): tree.detach().cpu().contiguous()}
    return {k: t for name in tree for k, t in _flat(tree[name], f"{path}/{name}").items()}


def _nested(tensors: Tensors) -> dict[str, Any]:
    """Undo `_flat`; numbers among the keys are text now."""
    tree: dict[str, Any] = {}
    for path, tensor in tensors.items():
        *names, leaf = path.split("/")
        reduce(lambda branch, name: branch.setdefault(name, {}), names, tree)[leaf] = tensor
    return tree
