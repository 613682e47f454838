"""Sentence encoders: the pooling, what is kept of a text, the cache, and two readers at once."""

import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import polars as pl
import pytest
import torch
from torch.nn.functional import normalize

from latentcrs_utils.errors import AssetError, ConfigError, MessageError
from latentcrs_utils.language import models
from latentcrs_utils.language.embedder import PROMPT, Embedder
from latentcrs_utils.language.encoding import embed
from latentcrs_utils.language.sentence_encoder import SentenceEncoder, SideBySide
from latentcrs_utils.language.text_encoder import EmbeddingUsage
from latentcrs_utils.support import assets

from .tiny_encoder import LIMIT, make_tiny_encoder

TEXTS = ["funny", "a slow war film from the forties", "for the kids, please", "[SEP]", "funny"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_encoder(tmp_path_factory.mktemp("tiny-bert"))


@pytest.fixture
def encoder(folder: Path, empty_cache: Path) -> SentenceEncoder:
    return SentenceEncoder(folder, dtype="float32")


def test_vectors_are_means_over_the_tokens_whatever_the_company(folder, encoder):
    vectors = encoder.embed(TEXTS)
    assert vectors.shape == (5, 16) and vectors.dtype == torch.float32
    torch.testing.assert_close(vectors.norm(dim=1), torch.ones(5))
    bert = models.load_language_model(models.find_model(folder, "sentence encoder"), "float32")
    for text, vector in zip(TEXTS, vectors, strict=True):
        # by hand, alone: no batch, no padding, no mask
        ids = torch.tensor([encoder.token_ids(text)])
        hidden = bert.model(ids).last_hidden_state[0]
        expected = torch.stack(list(hidden)).mean(dim=0)
        torch.testing.assert_close(vector, expected / expected.norm(), atol=1e-5, rtol=1e-5)
    for size in (1, 2):
        apart = SentenceEncoder(folder, dtype="float32", batch_size=size, reuse=False)
        torch.testing.assert_close(apart.embed(TEXTS), vectors, atol=1e-5, rtol=1e-5)
    # a control word in a text is letters
    assert len(encoder.token_ids("[SEP]")) == 7 and torch.equal(vectors[0], vectors[4])


def test_known_texts_need_no_weights_and_another_setting_shares_none(
    folder, encoder, tmp_path, monkeypatch
):
    before = encoder.embed(TEXTS)
    n_tokens = sum(len(encoder.token_ids(text)) for text in set(TEXTS))
    assert replace(encoder.tokens, seconds=0) == EmbeddingUsage(5, 4, n_tokens, 4, n_tokens)
    others = [
        SentenceEncoder(make_tiny_encoder(tmp_path / "other", seed=1), dtype="float32"),
        SentenceEncoder(folder, dtype="bfloat16"),
    ]
    assert len({encoder.identity, *(other.identity for other in others)}) == 3
    for other in others:
        assert not torch.equal(other.embed(TEXTS), before)
        assert other.tokens.computed_texts == 4
    monkeypatch.setattr(models, "load_language_model", lambda *_: pytest.fail("loaded"))
    copy = shutil.copytree(folder, tmp_path / "copy")
    assert torch.equal(SentenceEncoder(copy, dtype="float32").embed(TEXTS), before)


def test_a_long_text_keeps_its_end(encoder):
    long = "a quiet drama, " * 20
    ids = encoder.token_ids(long + "alone")
    assert len(ids) == LIMIT and ids[0] == encoder.token_ids("a")[0]
    assert ids[-6:] == encoder.token_ids("alone")[-6:]
    vectors = encoder.embed([long + "alone", "z" + long[1:] + "alone", long + "abcde"])
    assert torch.equal(vectors[0], vectors[1])
    assert not torch.allclose(vectors[0], vectors[2], atol=1e-2)


def test_what_is_no_sentence_encoder_is_named(folder, tiny, encoder, empty_cache, tmp_path):
    with pytest.raises(ConfigError, match=r"tiny-llama.* writes text \(Llama.*Embedder"):
        SentenceEncoder(tiny)
    with pytest.raises(ConfigError, match=r"a sentence encoder \(Bert.*SentenceEncoder"):
        Embedder(folder)
    (tmp_path / "model.gguf").touch()
    for place in (tmp_path, tmp_path / "absent", tmp_path / "model.gguf"):
        with pytest.raises(ConfigError, match="is no sentence encoder: give a folder"):
            SentenceEncoder(place)
    with pytest.raises(AssetError, match="sentence encoder 'owner/none' is not on this machine"):
        SentenceEncoder("owner/none")
    weights = shutil.copytree(folder, tmp_path / "broken") / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(AssetError, match="broken is damaged, or no sentence encoder"):
        SentenceEncoder(tmp_path / "broken").embed(["funny"])
    with pytest.raises(MessageError, match="Text 1 of the list"):
        encoder.embed(["fine", " "])
    with pytest.raises(ConfigError, match="at least one"):
        SideBySide([])


def test_side_by_side_keeps_the_order_and_standardises_each_part(tiny, encoder):
    writer = Embedder(tiny, dtype="float32")
    both, turned = SideBySide([encoder, writer]), SideBySide([writer, encoder])
    parts = [one.embed(TEXTS) for one in (encoder, writer)]
    assert torch.equal(both.embed(TEXTS), torch.cat(parts, dim=1))
    assert both.identity != turned.identity and encoder.identity in both.identity
    assert both.name == f"{encoder.name} + {writer.name}"
    assert both.tokens.tokens == encoder.tokens.tokens + writer.tokens.tokens > 0
    assert len(both.token_ids("funny")) == 7 + len(PROMPT.format(text="funny"))
    # a chat's replies come from the one that can write
    assert both.language_model == tiny and encoder.language_model == "smollm2"
    n = range(len(TEXTS))
    frame = {"split": ["train"] * 5, "user": n, "cut": n, "target": n, "text": TEXTS}
    language = embed(SimpleNamespace(frame=pl.DataFrame(frame)), embedder=both)
    torch.testing.assert_close(language.x[:4].std(dim=0), torch.ones(32), atol=1e-4, rtol=0)
    other = embed(SimpleNamespace(frame=pl.DataFrame(frame)), embedder=turned)
    assert language.fingerprint != other.fingerprint


def test_minilm_hears_what_is_meant_and_reads_short_texts_unpadded():
    if assets.cached(assets.MINILM) is None:
        pytest.skip("all-MiniLM-L6-v2 is not in the cache: run the course's notebook 04 once")
    minilm = SentenceEncoder(dtype="float32", reuse=False)
    funny, comedy, war = minilm.embed(["a funny film", "a comedy", "a war film"])
    assert funny.shape == (384,) and funny @ comedy > funny @ war + 0.1
    # its tokenizer file asks for padding to, and truncation at, 128
    assert len(minilm.token_ids("a funny film")) == 5
    assert len(minilm.token_ids("funny " * 600)) == 512
    x, y = SentenceEncoder(dtype="bfloat16", reuse=False).embed(["a comedy", "a war film"])
    assert normalize(x, dim=0) @ comedy > 0.99 and y @ war > 0.99
