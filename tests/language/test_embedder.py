"""PromptEOL vectors: what they are, what is computed once, and what the cache survives."""

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch

from latentcrs_utils import run
from latentcrs_utils.errors import ConfigError, MessageError
from latentcrs_utils.language import embedder as embedder_module
from latentcrs_utils.language import models
from latentcrs_utils.language.embedder import PROMPT, Embedder
from latentcrs_utils.language.text_encoder import EmbeddingUsage

from .tiny_model import make_tiny_model

TEXTS = ["funny", "a slow war film from the forties", "for the kids, please", "funny"]


@pytest.fixture
def tiny_embedder(tiny: Path, empty_cache: Path) -> Embedder:
    return Embedder(tiny, dtype="float32", batch_size=2)


@pytest.fixture
def passes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Sizes of the batches that really go through the model."""
    sizes, real = [], embedder_module.last_hidden_states

    def counted(language_model, batch):
        sizes.append(len(batch))
        return real(language_model, batch)

    monkeypatch.setattr(embedder_module, "last_hidden_states", counted)
    return sizes


def direct(folder: Path, text: str) -> torch.Tensor:
    """Last hidden state of the prompt around one text, with no batch and no padding."""
    loaded = models.load_language_model(folder, "float32")
    ids = loaded.tokenizer(f'This sentence: "{text}" means in one word: "', return_tensors="pt")
    with torch.no_grad():
        hidden = loaded.model(ids["input_ids"], output_hidden_states=True).hidden_states[-1]
    return hidden[0, -1]


def test_vectors_equal_an_unpadded_pass_of_each_prompt(tiny, tiny_embedder):
    # control words and braces in a text are plain letters
    texts = [*TEXTS, "{text} {0}"]
    vectors = tiny_embedder.embed(texts)
    assert vectors.dtype == torch.float32 and vectors.shape == (5, 16)
    expected = torch.stack([direct(tiny, text) for text in texts])
    torch.testing.assert_close(vectors, expected, atol=1e-5, rtol=1e-5)
    assert torch.equal(vectors[0], vectors[3])
    assert not torch.allclose(vectors[0], vectors[1], atol=1e-2)
    assert len(tiny_embedder.token_ids("<|end|>")) == len(PROMPT.format(text="<|end|>"))


def test_each_distinct_text_is_computed_once_and_usage_says_so(
    tiny, tiny_embedder, passes, empty_cache
):
    # without reuse nothing is read or kept
    afresh = Embedder(tiny, dtype="float32", reuse=False)
    assert torch.equal(afresh.embed(["funny"]), afresh.embed(["funny"]))
    assert passes == [1, 1] and not list(empty_cache.rglob("*.sqlite"))
    tiny_embedder.embed(TEXTS)
    tiny_embedder.embed(["new", "funny"])
    assert passes == [1, 1, 2, 1, 1]
    # a byte is a token in the tiny tokenizer
    first, new, funny = (
        sum(len(PROMPT.format(text=text)) for text in texts)
        for texts in (set(TEXTS), ["new"], ["funny"])
    )
    expected = EmbeddingUsage(6, 5, first + new + funny, 4, first + new)
    assert replace(tiny_embedder.tokens, seconds=0.0) == expected


def test_known_texts_need_no_weights(tiny, tiny_embedder, monkeypatch):
    before = tiny_embedder.embed(TEXTS)
    monkeypatch.setattr(models, "load_language_model", lambda *_: pytest.fail("loaded"))
    other = Embedder(tiny, dtype="float32")
    assert torch.equal(other.embed(TEXTS), before)


@pytest.mark.parametrize(
    "change", [{"prompt": 'The word for "{text}" is "'}, {"dtype": "bfloat16"}, {"model": 1}]
)
def test_another_setting_never_reuses_a_vector(tiny, tiny_embedder, passes, change, tmp_path):
    before = tiny_embedder.embed(["funny"])
    if "model" in change:
        change = {"model": make_tiny_model(tmp_path / "other", seed=1)}
    other = Embedder(**{"model": tiny, "dtype": "float32"} | change).embed(["funny"])
    assert len(passes) == 2 and not torch.equal(other, before)


def test_a_long_text_keeps_its_end_and_the_whole_prompt(tiny, tiny_embedder, passes, monkeypatch):
    tiny_embedder.embed(["funny"])
    monkeypatch.setattr(embedder_module, "MAX_TOKENS", 100)
    ids = tiny_embedder.token_ids("first words " + "and so on " * 200 + "last words")
    text = models.load_language_model(tiny, "float32").tokenizer.decode(ids)
    assert len(ids) == 100
    assert text.startswith('This sentence: "') and "first" not in text
    assert text.endswith('and so on last words" means in one word: "')
    # so the latest words of a long message decide
    long = "a quiet drama, " * 133
    vectors = tiny_embedder.embed([long + "alone", "x" + long[1:] + "alone", long + "abcde"])
    assert torch.equal(vectors[0], vectors[1])
    assert not torch.allclose(vectors[0], vectors[2], atol=1e-2)
    # vectors of another length are others
    tiny_embedder.embed(["funny"])
    assert sum(passes) == 5


def test_what_cannot_be_embedded_is_named(tiny, tiny_embedder):
    for bad in ("", " \n", None, "half \ud83d"):
        with pytest.raises(MessageError, match="Text 1 of the list"):
            tiny_embedder.embed(["fine", bad])
    with pytest.raises(MessageError, match="list"):
        tiny_embedder.embed("funny")
    assert tiny_embedder.embed([]).shape == (0, 16)
    for name, value in {"prompt": "no place", "batch_size": 0, "dtype": "float16x"}.items():
        with pytest.raises(ConfigError, match=name):
            Embedder(tiny, **{name: value})


def test_threads_share_one_embedder(tiny_embedder):
    groups = [[f"text {i} of {thread}" for i in range(6)] for thread in range(4)]
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(tiny_embedder.embed, groups))
    assert tiny_embedder.tokens.texts == 24
    for result, group in zip(results, groups, strict=True):
        assert torch.equal(result, tiny_embedder.embed(group))


def test_only_the_owner_reads_what_was_typed_and_it_can_be_forgotten(tiny_embedder, empty_cache):
    folder = empty_cache / "embeddings"
    folder.mkdir(0o777)
    file, old = folder / "vectors-1.sqlite", os.umask(0)
    try:
        file.touch(0o666)  # as an earlier version left it
        tiny_embedder.embed(["a private matter"])
    finally:
        os.umask(old)
    assert file.stat().st_mode & 0o777 == 0o600 and folder.stat().st_mode & 0o777 == 0o700
    assert all(f.stat().st_mode & 0o077 == 0 for f in folder.iterdir())
    file.with_name(f"{file.name}.damaged").touch()
    assert run.main(["--forget"]) == 0 and not list(folder.iterdir())
    tiny_embedder.embed(["a private matter"])
    assert file.stat().st_mode & 0o777 == 0o600


def test_a_cache_that_is_damaged_or_cannot_be_written(tiny_embedder, empty_cache, passes):
    before = tiny_embedder.embed(["funny"])
    file = empty_cache / "embeddings" / "vectors-1.sqlite"
    file.write_bytes(b"this is no database, whatever its name says" * 100)
    for _ in range(2):
        assert torch.equal(tiny_embedder.embed(["funny"]), before)
    assert passes == [1, 1] and file.read_bytes().startswith(b"SQLite format 3")
    # a folder in the file's place fails for every user, even where permissions do not bind
    file.unlink()
    file.mkdir()
    assert torch.equal(tiny_embedder.embed(["funny"]), before) and passes == [1, 1, 1]


def test_smollm2_puts_like_meanings_near_once_centred(model_dir):
    texts = ["A comedy, please", "I want to be scared tonight", "A film for my children",
             "A sad love story", "Something that makes me laugh", "a horror film",
             "something for the whole family and the little ones", "a tearful romance"]  # fmt: skip
    normalize = partial(torch.nn.functional.normalize, dim=1)
    # bfloat16 says the same
    raw, other = (Embedder(dtype=d, reuse=False).embed(texts) for d in ("float32", "bfloat16"))
    assert raw.shape == (8, 576)
    # nearly parallel: why the course standardises them
    assert (normalize(raw) @ normalize(raw).T).min() > 0.6
    x, other = (normalize(vectors - vectors.mean(dim=0)) for vectors in (raw, other))
    assert ((x[:4] @ x[4:].T).argmax(dim=1) == torch.arange(4)).sum() >= 3
    assert (x * other).sum(dim=1).min() > 0.98
