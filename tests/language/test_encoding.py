"""Standardised utterances: statistics of the training texts and of nothing else."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace

import polars as pl
import pytest
import torch

from latentcrs_utils.errors import DataError
from latentcrs_utils.language.embedder import Embedder
from latentcrs_utils.language.encoding import Language, embed

TEXTS = ["funny", "sad", "slow and sad", "funny", "unseen words"]
SPLITS = ["train", "train", "train", "train", "test"]


@pytest.fixture
def encoded(tiny, empty_cache) -> Callable[..., Language]:
    """What `embed` makes of texts in splits."""

    def make(texts: list[str] = TEXTS, splits: list[str] = SPLITS, dtype="float32") -> Language:
        n = range(len(texts))
        columns = {"split": splits, "user": n, "cut": n, "target": n, "text": texts}
        utterances = SimpleNamespace(frame=pl.DataFrame(columns))
        return embed(utterances, embedder=Embedder(tiny, dtype=dtype))

    return make


def test_distinct_training_texts_have_mean_zero_and_scale_one(encoded):
    language = encoded()
    assert language.x.shape == (5, 16) and language.x.dtype == torch.float32
    torch.testing.assert_close(language.x[:3].mean(dim=0), torch.zeros(16), atol=1e-5, rtol=0)
    torch.testing.assert_close(language.x[:3].std(dim=0), torch.ones(16), atol=1e-4, rtol=0)
    # new texts are encoded like the old ones
    assert torch.equal(language.encode(["unseen words", "sad"]), language.x[[4, 1]])


def test_other_splits_do_not_move_the_statistics(encoded):
    language, other = encoded(), encoded([*TEXTS[:4], "quite another text"])
    assert torch.equal(language.mean, other.mean) and torch.equal(language.scale, other.scale)
    assert not torch.allclose(language.mean, encoded(splits=["train"] * 5).mean)


def test_fingerprint_follows_what_is_kept_and_is_as_ever_without_it(encoded):
    language = encoded()
    rows = [
        [split, n, n, n, text] for n, (split, text) in enumerate(zip(SPLITS, TEXTS, strict=True))
    ]
    content = json.dumps([language.embedder.identity, rows])
    assert language.fingerprint == hashlib.sha256(content.encode()).hexdigest()
    frame = language.utterances.frame
    short = SimpleNamespace(frame=frame.with_columns(kept=pl.Series([0, None, 3, 1, None])))
    assert replace(language, utterances=short).fingerprint != language.fingerprint


def test_fingerprint_follows_words_and_model(encoded):
    others = encoded([*TEXTS[:4], "new"]), encoded(dtype="bfloat16")
    assert encoded().fingerprint == encoded().fingerprint
    assert len({language.fingerprint for language in (encoded(), *others)}) == 3


def test_one_training_text_is_too_few(encoded):
    with pytest.raises(DataError, match="1 distinct training texts"):
        encoded(["funny", "funny", "sad"], ["train", "train", "test"])
