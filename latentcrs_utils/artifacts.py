"""Train or load: results on disk, keyed by what produced them; safetensors + json, never pickle.

A result is a pair of files, ``<key>.safetensors`` and ``<key>.json``. The json is written last
and holds the hash of the tensors, so a pair cut short by a kill, or damaged later, is
recognised and made again.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .errors import ConfigError
from .progress import note

if TYPE_CHECKING:
    from torch import Tensor

_FORMAT = 1


def cache_dir() -> Path:
    """Return the folder of downloads and trained results (made if absent).

    ``LATENTCRS_CACHE`` if set; ``data/cache`` of the checkout when the package runs from one;
    else the platform's cache folder for this user.
    """
    chosen = os.environ.get("LATENTCRS_CACHE")
    checkout = Path(__file__).resolve().parent.parent
    if chosen:
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


@contextmanager
def atomic_path(target: Path) -> Iterator[Path]:
    """Give a temporary path beside ``target`` that replaces it only if the block succeeds."""
    target.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.", suffix=".part")
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        # mkstemp files are private; what is kept gets the ordinary permissions
        temporary.chmod(0o644)
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)


def _canonical(value: Any) -> Any:
    """Turn a key part into plain JSON values; a dataclass keeps its class name."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {f.name: _canonical(getattr(value, f.name)) for f in dataclasses.fields(value)}
        return {"class": type(value).__name__, **fields}
    if isinstance(value, dict):
        return {str(name): _canonical(part) for name, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [_canonical(part) for part in value]
    if isinstance(value, Path):
        return str(value)
    if value is None or isinstance(value, (str, int, float, bool)):
        return value
    if hasattr(value, "item") and getattr(value, "ndim", None) == 0:
        return value.item()
    raise ConfigError(f"A {type(value).__name__} cannot be part of an artifact key: {value!r}.")


def key(**parts: Any) -> str:
    """Return 16 hex digits naming ``parts`` (dataclasses, strings, numbers, lists, dicts).

    Equal values give equal keys in every process; any changed value gives another key.
    """
    text = json.dumps(_canonical(parts), sort_keys=True, ensure_ascii=True, allow_nan=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


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
    train: Callable[[], tuple[dict[str, Tensor], dict[str, Any]]],
    *,
    reuse: bool = True,
) -> tuple[dict[str, Tensor], dict[str, Any], bool]:
    """Load the result made from ``key_parts``, or make it with ``train`` and save it.

    Args:
        kind: folder of the cache, e.g. ``"backbone"``.
        key_parts: everything that the result depends on (configs, seed, fingerprints).
        train: returns named tensors and JSON-serialisable facts about them.
        reuse: ``False`` trains afresh and overwrites what was saved.

    Returns:
        The tensors, the facts, and whether they were loaded.
    """
    name = key(kind=kind, format=_FORMAT, **key_parts)
    folder = cache_dir() / kind
    tensor_file, fact_file = folder / f"{name}.safetensors", folder / f"{name}.json"
    if reuse and (found := _load(tensor_file, fact_file)) is not None:
        note(f"{kind}: loaded what an earlier run made ({name}).")
        return *found, True
    if reuse and (tensor_file.exists() or fact_file.exists()):
        note(f"{kind}: what an earlier run left is incomplete or damaged; making it again.")
    tensors, facts = train()
    tensors = {label: tensor.detach().cpu().contiguous() for label, tensor in tensors.items()}
    try:
        _save(tensor_file, fact_file, tensors, facts)
    except OSError as error:
        note(f"{kind}: made, but not saved in {folder} ({error.strerror}).")
    else:
        note(f"{kind}: made and saved ({name}).")
    return tensors, facts, False


def _save(tensor_file: Path, fact_file: Path, tensors: dict[str, Tensor], facts: dict) -> None:
    """Write the pair, each file atomically, the json last as the commit mark."""
    from safetensors.torch import save_file

    with atomic_path(tensor_file) as temporary:
        save_file(tensors, temporary)
        digest = sha256(temporary)
    record = json.dumps({"sha256": digest, "facts": facts}, indent=1)
    with atomic_path(fact_file) as temporary:
        temporary.write_text(record, encoding="utf-8")


def _load(tensor_file: Path, fact_file: Path) -> tuple[dict[str, Tensor], dict] | None:
    """Read the pair, or return ``None`` when it is absent, incomplete or damaged."""
    try:
        record = json.loads(fact_file.read_text(encoding="utf-8"))
        if sha256(tensor_file) != record["sha256"]:
            return None
        facts = record["facts"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    from safetensors.torch import load_file

    return load_file(tensor_file), facts
