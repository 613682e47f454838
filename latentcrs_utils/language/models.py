"""Models of language on this machine: which one is meant, and its weights, loaded once.

`find_model` reads no weights, so that cached embeddings are found in milliseconds.
"""

import functools
import re
import shutil
import threading
import tomllib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal
from unittest.mock import patch

import torch

from latentcrs_utils.errors import AssetError, ConfigError
from latentcrs_utils.support import assets
from latentcrs_utils.support.artifacts import cache_dir, key, known_sha256
from latentcrs_utils.support.device import choose_device
from latentcrs_utils.support.files import atomic_path
from latentcrs_utils.support.progress import note

DTypeName = Literal["auto", "float32", "bfloat16"]
Kind = Literal["language model", "sentence encoder"]
DEFAULT_MODEL, DEFAULT_ENCODER = "smollm2", "minilm"
_SAYS = tomllib.loads(Path(__file__).with_suffix(".toml").read_text("utf-8"))
_COME_WITH = {
    "language model": (DEFAULT_MODEL, assets.SMOLLM2),
    "sentence encoder": (DEFAULT_ENCODER, assets.MINILM),
}


@dataclass(frozen=True)
class ModelSource:
    """Which model is meant, before any weight is read; its name is for the screen."""

    name: str
    identity: str  # changes whenever the weights do; part of every cache key
    # gives the .gguf file, the folder, or the Hugging Face id to load from
    place: Callable[[], Path | str] = field(compare=False, repr=False)
    revision: str = "main"  # commit of a Hugging Face id
    kind: Kind = "language model"


@dataclass(frozen=True, eq=False)
class LanguageModel:
    """Loaded weights, shared by Embedder and ChatModel; threads take turns for a forward pass."""

    model: Any
    tokenizer: Any

    @property
    def context_length(self) -> int:
        """Most tokens that the model was built to read and write together."""
        config = self.model.config.get_text_config()
        return int(getattr(config, "max_position_embeddings", 0) or 2**31)

    @property
    def end_tokens(self) -> set[int]:
        """Every token with which the model ends its turn."""
        known = self.model.generation_config.eos_token_id
        ends = known if isinstance(known, (list, tuple)) else [known]
        return {*ends, self.tokenizer.eos_token_id} - {None}

    def token_ids(self, text: str, *, opening: bool = True, control: bool = False) -> list[int]:
        """Return the token ids of a text, in which control words are letters unless ``control``.

        ``opening`` puts a begin-of-text token in front, where the model has one.
        """
        how = {"add_special_tokens": opening, "split_special_tokens": not control}
        # the tokenizer keeps how it was last asked, so threads take turns
        with _tokenizing:
            return self.tokenizer(text, **how, verbose=False)["input_ids"]


def find_model(model: str | Path = DEFAULT_MODEL, kind: Kind = "language model") -> ModelSource:
    """Say which model is meant, without loading weights.

    It is ``"smollm2"`` or ``"minilm"`` (they come with the course), a folder written by
    ``save_pretrained``, a Hugging Face id ("owner/name") or, of language models, a ``.gguf`` file.
    ConfigError: nothing of that name exists, or it is of the other kind.
    AssetError: a Hugging Face id that is not on this machine and cannot be asked for.
    """
    name, asset = _COME_WITH[kind]
    if str(model) == name:
        return ModelSource(asset.title, asset.members[0].sha256, lambda: _fetch(asset), kind=kind)
    path = Path(model).expanduser()
    if path.is_file() and path.suffix == ".gguf" and kind == "language model":
        return ModelSource(path.stem, known_sha256(path), lambda: path)
    weights = sorted(path.glob("*.safetensors"))
    if weights and (path / "config.json").is_file():
        # everything that decides the hidden states
        decisive = [*weights, *sorted(path.glob("*.json"))]
        hashes = [(file.name, known_sha256(file)) for file in decisive]
        _check_kind(model, path / "config.json", kind)
        return ModelSource(path.resolve().name, key(files=hashes), lambda: path, kind=kind)
    if isinstance(model, Path) or path.exists() or path.is_absolute():
        raise ConfigError(_SAYS[kind]["no_files"].format(path))
    return _find_on_hub(model, kind)


def _fetch(asset: assets.Asset) -> Path:
    weights = assets.fetch(asset)[asset.members[0].name]
    return weights if weights.suffix == ".gguf" else weights.parent


def _check_kind(model: str | Path, config: Path, kind: Kind) -> None:
    if other := re.search(_SAYS[kind]["others"], config.read_text("utf-8", errors="replace")):
        raise ConfigError(_SAYS[kind]["other"].format(model, other[1]))


def load_language_model(
    model: str | Path | ModelSource = DEFAULT_MODEL, dtype: DTypeName = "auto"
) -> LanguageModel:
    """Load weights and tokenizer to the device of `choose_device`, once in a process.

    ConfigError: an unknown model, dtype or device. AssetError: no such weights can be had.
    """
    source = model if isinstance(model, ModelSource) else find_model(model)
    # two threads that ask for the same weights must get the same object
    with _loading:
        return _load(source, choose_dtype(dtype), choose_device())


def choose_dtype(dtype: DTypeName = "auto") -> Literal["float32", "bfloat16"]:
    """Resolve ``"auto"``: bfloat16 where the processor computes in it natively, else float32."""
    if dtype in ("float32", "bfloat16"):
        return dtype
    if dtype != "auto":
        raise ConfigError(f"dtype={dtype!r} is not one of 'auto', 'float32', 'bfloat16'.")
    if choose_device().type == "cuda":
        native = torch.cuda.is_bf16_supported()
    else:
        native = any(map(torch.cpu.get_capabilities().get, ("avx512_bf16", "amx_bf16")))
    return "bfloat16" if native else "float32"


_tokenizing = threading.Lock()
_loading = threading.Lock()


@functools.lru_cache(maxsize=3)
def _load(source: ModelSource, dtype: str, device: torch.device) -> LanguageModel:
    from transformers import GenerationConfig
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    place = source.place()
    if isinstance(place, Path) and place.suffix == ".gguf":
        model, tokenizer = _from_gguf(place, source, dtype)
    else:
        model, tokenizer = _from_files(place, dtype, source.kind, revision=source.revision)
    model.eval().requires_grad_(False).to(device)
    if source.kind == "language model":
        # without the penalties and temperatures that some models come with: greedy means greedy
        known = model.generation_config
        model.generation_config = GenerationConfig(eos_token_id=known.eos_token_id)
    # threads wait for each other, for one pass and never for a whole reply
    forward, lock = model.base_model.forward, threading.Lock()

    @functools.wraps(forward)
    def locked(*args: Any, **options: Any) -> Any:
        with lock:
            return forward(*args, **options)

    model.base_model.forward = locked
    return LanguageModel(model, tokenizer)


def _from_files(
    place: Path | str, dtype: str, kind: Kind = "language model", **options: Any
) -> tuple[Any, Any]:
    """Load a folder or a Hugging Face id; safetensors only, no code from the model's folder."""
    from transformers import AutoModel, AutoModelForCausalLM, AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(place, trust_remote_code=False, **options)
        options |= {"dtype": getattr(torch, dtype), "use_safetensors": True}
        loader = AutoModelForCausalLM if kind == "language model" else AutoModel
        model = loader.from_pretrained(place, trust_remote_code=False, **options)
    except Exception as error:  # the reader of a damaged file may stumble over anything
        why = (str(error).strip().splitlines() or [type(error).__name__])[0]
        file = options.get("gguf_file", place)
        raise AssetError(_SAYS[kind]["damaged"].format(file, why)) from error
    return model, tokenizer


def _from_gguf(file: Path, source: ModelSource, dtype: str) -> tuple[Any, Any]:
    """Load the safetensors copy of a GGUF file, making it first where it is absent or damaged."""
    folder = cache_dir() / "models" / f"{source.name}-{source.identity[:12]}"
    if folder.is_dir():
        try:
            return _from_files(folder, dtype)
        except AssetError:
            note(f"{source.name}: the cached weights are damaged; making them again.")
            shutil.rmtree(folder, ignore_errors=True)
    note(f"{source.name}: unpacking the quantised weights, once (about 15 seconds).")
    model, tokenizer = _dequantise(file)
    try:
        with atomic_path(folder) as temporary:
            model.save_pretrained(temporary)
            tokenizer.save_pretrained(temporary)
    except OSError as error:
        note(f"{source.name}: loaded, but not kept in {folder.parent} ({error.strerror}).")
    # the weights alone: what else is in float32 (the rotary frequencies) stays so when loaded from
    # the folder, and this process must compute what the next one computes
    for parameter in model.parameters():
        parameter.data = parameter.data.to(getattr(torch, dtype))
    return model, tokenizer


def _dequantise(file: Path) -> tuple[Any, Any]:
    # the reader's bar ignores the switch that silences all others, and is a widget in a notebook
    with patch("transformers.modeling_gguf_pytorch_utils.tqdm", lambda tensors, **_: tensors):
        model, tokenizer = _from_files(file.parent, "float32", gguf_file=file.name)
    # the weights are plain float32 now; with these left, save_pretrained refuses
    model.hf_quantizer = None
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config
    return model, tokenizer


def _find_on_hub(name: str, kind: Kind) -> ModelSource:
    """Resolve a Hugging Face id to a commit, from this machine's copy first."""
    from huggingface_hub import errors, hf_hub_download, try_to_load_from_cache

    try:
        found = try_to_load_from_cache(name, "config.json")
        config = found if isinstance(found, str) else hf_hub_download(name, "config.json")
    except (OSError, errors.HFValidationError) as error:
        unknown = isinstance(error, (errors.RepositoryNotFoundError, errors.HFValidationError))
        if unknown and not isinstance(error, errors.GatedRepoError):
            raise ConfigError(_SAYS[kind]["unknown"].format(name)) from error
        raise AssetError(_SAYS[kind]["no_download"].format(name)) from error
    _check_kind(name, Path(config), kind)
    # the copy lies in .../snapshots/<commit>/config.json
    commit = Path(config).parent.name
    return ModelSource(name.rpartition("/")[2], f"{name}@{commit}", lambda: name, commit, kind)
