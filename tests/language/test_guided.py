"""Tokens as the bytes that they write."""

from __future__ import annotations

import pytest
import torch
from tokenizers import Tokenizer, decoders, models, normalizers
from transformers import PreTrainedTokenizerFast

from latentcrs_utils.language.models import find_model, load_language_model
from latentcrs_utils.language.structured_output import SchemaGuide, token_bytes

TEXTS = ["a funny film", "Amélie, 日本語 🎬", 'tabs\t and "quotes"', "x  y\n"]


def with_byte_fallback() -> PreTrainedTokenizerFast:
    """A tokenizer of Llama 2's kind: letters, a mark for spaces, bytes for the rest."""
    letters = ["▁", *"abcdefghijklmnopqrstuvwxyz", "▁fil", "m"]
    words = ["<unk>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256)), *dict.fromkeys(letters)]
    inner = Tokenizer(
        models.BPE(
            vocab={word: i for i, word in enumerate(words)},
            merges=[],
            unk_token="<unk>",
            byte_fallback=True,
        )
    )
    inner.normalizer = normalizers.Replace(" ", "▁")
    inner.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    )
    return PreTrainedTokenizerFast(tokenizer_object=inner, eos_token="</s>", unk_token="<unk>")


@pytest.fixture(params=["bytes", "byte fallback"])
def tokenizer(request, tiny, empty_cache):
    if request.param == "bytes":
        return load_language_model(tiny, "float32").tokenizer
    return with_byte_fallback()


@pytest.mark.parametrize("text", TEXTS)
def test_the_tokens_of_a_text_spell_it(tokenizer, text):
    spelled = {i: word for word, ids in token_bytes(tokenizer).items() for i in ids}
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    assert b"".join(spelled[i] for i in ids) == text.encode()


def test_control_words_spell_nothing(tokenizer):
    words = token_bytes(tokenizer)
    spelled = {i for ids in words.values() for i in ids}
    assert not spelled & set(tokenizer.all_special_ids)
    assert len(spelled) == len(tokenizer) - len(tokenizer.all_special_ids)
    first = min(spelled)
    left = token_bytes(tokenizer, without=[first])
    assert first not in {i for ids in left.values() for i in ids}


def test_a_guide_allows_the_schema_s_bytes_and_no_others(tiny, empty_cache):
    guide = SchemaGuide(find_model(tiny), "float32", '{"enum": ["é"]}')
    spelled = token_bytes(load_language_model(tiny, "float32").tokenizer)
    for byte in '"é"'.encode():
        assert not guide.complete
        (token,) = spelled[bytes([byte])]
        logits = guide.restrict(torch.arange(260.0))
        assert logits[token] == token and logits.isneginf().sum() == 259
        guide.advance(token)
    assert guide.complete


def test_what_may_go_on_is_not_complete(tiny, empty_cache):
    loaded = load_language_model(tiny, "float32")
    guide = SchemaGuide(find_model(tiny), "float32", '{"type": "integer"}')
    (one,) = token_bytes(loaded.tokenizer)[b"1"]
    guide.advance(one)
    logits = guide.restrict(torch.zeros(260))
    (end,) = loaded.end_tokens
    assert logits[one] == logits[end] == 0 and not guide.complete
    guide.advance(end)
