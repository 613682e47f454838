"""Standardised utterances: statistics of the training texts and of nothing else."""

from __future__ import annotations

from types import SimpleNamespace

import polars as pl
import pytest
import torch

from latentcrs_utils.errors import DataError
from latentcrs_utils.language.embedder import Embedder
from latentcrs_utils.language.encoding import Language, embed


def utterances(texts: list[str], splits: list[str]) -> SimpleNamespace:
    n = range(len(texts))
    columns = {"split": splits, "user": n, "cut": n, "target": n, "text": texts}
    return SimpleNamespace(frame=pl.DataFrame(columns))


TEXTS = ["funny", "sad", "slow and sad", "funny", "unseen words"]
SPLITS = ["train", "train", "train", "train", "test"]


@pytest.fixture
def embedder(tiny, empty_cache) -> Embedder:
    return Embedder(tiny, dtype="float32")


@pytest.fixture
def language(embedder) -> Language:
    return embed(utterances(TEXTS, SPLITS), embedder=embedder)


def test_distinct_training_texts_have_mean_zero_and_scale_one(language):
    assert language.x.shape == (5, 16) and language.x.dtype == torch.float32
    torch.testing.assert_close(language.x[:3].mean(dim=0), torch.zeros(16), atol=1e-5, rtol=0)
    torch.testing.assert_close(language.x[:3].std(dim=0), torch.ones(16), atol=1e-4, rtol=0)


def test_other_splits_do_not_move_the_statistics(embedder, language):
    other = embed(utterances([*TEXTS[:4], "quite another text"], SPLITS), embedder=embedder)
    assert torch.equal(language.mean, other.mean) and torch.equal(language.scale, other.scale)
    moved = embed(utterances(TEXTS, ["train"] * 5), embedder=embedder)
    assert not torch.allclose(language.mean, moved.mean)


def test_new_texts_are_encoded_like_the_old_ones(language):
    assert torch.equal(language.encode(["unseen words", "sad"]), language.x[[4, 1]])


def test_fingerprint_follows_words_and_model(tiny, embedder, language):
    same = embed(utterances(TEXTS, SPLITS), embedder=embedder)
    words = embed(utterances([*TEXTS[:4], "new"], SPLITS), embedder=embedder)
    model = embed(utterances(TEXTS, SPLITS), embedder=Embedder(tiny, dtype="bfloat16"))
    assert language.fingerprint == same.fingerprint
    assert len({language.fingerprint, words.fingerprint, model.fingerprint}) == 3


def test_one_training_text_is_too_few(embedder):
    with pytest.raises(DataError, match="1 distinct training texts"):
        embed(utterances(["funny", "funny", "sad"], ["train", "train", "test"]), embedder=embedder)
