"""Which model is meant, and what is said when there is none."""

import struct
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest
import torch
from transformers import modeling_gguf_pytorch_utils as reader

from latentcrs_utils.errors import AssetError, ConfigError
from latentcrs_utils.language import models
from latentcrs_utils.language.embedder import last_hidden_states
from latentcrs_utils.language.models import choose_dtype, find_model, load_language_model

from .tiny_model import make_tiny_model


def test_weights_are_loaded_once_for_all_and_the_identity_follows_them(tiny, empty_cache, tmp_path):
    with ThreadPoolExecutor(3) as pool:
        found = list(pool.map(lambda _: load_language_model(tiny, "float32"), range(3)))
    assert found[0] is found[1] is found[2] is load_language_model(tiny, "float32")
    assert load_language_model(tiny, "bfloat16") is not found[0]
    assert found[0].context_length == 512
    folder = make_tiny_model(tmp_path / "model")
    assert find_model(folder).identity == find_model(tiny).identity
    make_tiny_model(folder, seed=3)
    assert find_model(folder).identity != find_model(tiny).identity


def test_threads_that_read_control_words_and_letters_at_once_do_not_mix(tiny, empty_cache):
    model, text = load_language_model(tiny, "float32"), "<|user|> a film <|end|>" * 20

    def ids(control: bool) -> list[int]:
        return model.token_ids(text, opening=False, control=control)

    alone = {control: ids(control) for control in (True, False)}
    assert len(alone[True]) < len(alone[False])
    asked = [n % 2 == 0 for n in range(400)]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(ids, asked))
    assert all(found[n] == alone[control] for n, control in enumerate(asked))


def test_dtype_auto_follows_the_processor(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    for able, expected in ({"avx512_bf16": True}, "bfloat16"), ({"avx2": True}, "float32"):
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda able=able: able)
        assert choose_dtype("auto") == expected
    with pytest.raises(ConfigError, match="float64"):
        choose_dtype("float64")


def test_models_are_found_without_their_files_and_what_is_none_is_named(
    empty_cache, tmp_path, monkeypatch
):
    monkeypatch.setattr(models.assets, "fetch", lambda asset: pytest.fail("fetched"))
    assert find_model().name == "SmolLM2-135M-Instruct"
    with pytest.raises(AssetError, match="'owner/no-such-model' is not on this machine"):
        find_model("owner/no-such-model")
    with pytest.raises(ConfigError, match=r"There is no language model 'smol lm2'.*'smollm2'"):
        find_model("smol lm2")
    (tmp_path / "config.json").write_text("{}")
    for place in (tmp_path / "absent", tmp_path, str(tmp_path / "config.json")):
        with pytest.raises(ConfigError, match=r"is no language model: .*\*\.safetensors"):
            find_model(place)


def test_damaged_files_are_named(empty_cache, tmp_path):
    folder, file = make_tiny_model(tmp_path / "model", seed=4), tmp_path / "model.gguf"
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    head = b"GGUF" + struct.pack("<IQQQ", 3, 1, 2, 20) + b"general.architecture" + bytes(200)
    for n in (0, 3, 4, 7, 8, 15, 20, 24, 31, 40, 52, 80, 200):
        (tmp_path / f"{n}.gguf").write_bytes(head[:n])
    file.write_bytes(b"GGUF but not really" * 50)
    for place in (folder, file, *sorted(tmp_path.glob("*.gguf"))):
        with pytest.raises(AssetError, match=f"{place.name} is damaged"):
            load_language_model(place, "float32")


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_dequantised_weights_are_kept_and_mended_and_compute_the_same(
    tiny, empty_cache, tmp_path, monkeypatch, dtype
):
    file, unpacked = tmp_path / "tiny.gguf", []
    file.write_bytes(b"stands for quantised weights")

    def dequantise(path):
        unpacked.append(path)
        return models._from_files(tiny, "float32")

    def load():
        models._load.cache_clear()
        return load_language_model(file, dtype)

    monkeypatch.setattr(models, "_dequantise", dequantise)
    first, second = load(), load()
    assert len(unpacked) == 1 and second is not first
    assert first.model.dtype == getattr(torch, dtype)
    # buffers too, which the files do not hold
    both = (dict([*m.model.named_parameters(), *m.model.named_buffers()]) for m in (first, second))
    torch.testing.assert_close(*both, rtol=0, atol=0)
    batch = [list(range(4, 4 + n)) for n in (40, 7)]
    assert (last_hidden_states(first, batch) == last_hidden_states(second, batch)).all()
    (weights,) = (empty_cache / "models").glob("tiny-*/model.safetensors")
    weights.write_bytes(weights.read_bytes()[:-100])
    load()
    assert len(unpacked) == 2


def test_unpacking_shows_no_bar(tmp_path, monkeypatch):
    monkeypatch.setattr(reader, "tqdm", pytest.fail)
    read = []

    def from_files(*_, **__):
        read.extend(reader.tqdm("ab", desc="tensors"))
        return SimpleNamespace(config=None), None

    monkeypatch.setattr(models, "_from_files", from_files)
    models._dequantise(tmp_path / "tiny.gguf")
    assert read == ["a", "b"]
