"""What is said of a text that does not fit its schema, and which tokens a schema allows."""

import pytest
import torch
from tokenizers import Tokenizer, decoders, models, normalizers
from transformers import PreTrainedTokenizerFast

from latentcrs_utils.errors import ConfigError
from latentcrs_utils.language.models import find_model, load_language_model
from latentcrs_utils.language.structured_output import (
    SchemaGuide,
    check_schema,
    complaint,
    json_in,
    token_bytes,
)

YEARS = {"type": "array", "items": {"type": "integer", "minimum": 1900}, "maxItems": 2}


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        (" [1980, 1990]\n", None),
        ("", "it is empty"),
        ("Sure! [1980]", "it is no JSON"),
        ("[NaN]", "NaN is no number in JSON"),
        ("[1850]", r"at $[0]: 1850 is less than the minimum of 1900"),
        ("[" * 100_000, "it is no JSON"),
    ],
)
def test_complaints(text, wrong):
    found = complaint(text, YEARS)
    assert found is None if wrong is None else wrong in found


JSON = "[1980, 1990]"


@pytest.mark.parametrize(
    "form",
    [
        "```json\n{}\n```", "```\n{}```", "```JSON {} ```", "~~~\n{}\n~~~", "`{}`", "Sure! {}",
        "{}\nEnjoy.", "\ufeff{}", "{};", "json\n{}", "No [1850], so {}", "[x] {} \"[1\"",
        "<json>{}</json>", "I am \"sure\":\n{}", "[1900] or better\n{}", "**{}**", "> {}", "'{}'",
        "{{\"a\": {}}} is: {}", "Years: {}.", "[[[[ {}",
    ],
)  # fmt: skip
def test_json_is_found_between_words_and_in_fences(form):
    assert json_in(form.format(JSON, JSON), YEARS) == JSON
    for text in (form.format("none", ""), "[" * 5000, '"' * 5000, '"[', f"{JSON[:-1]}"):
        assert complaint(json_in(text, YEARS), YEARS) is not None or "19" in form
    assert json_in('"[1980]"', YEARS) == "[1980]" and json_in("a", YEARS) == "a"


def test_schemas_keep_their_order_and_must_be_some():
    # whatever it quotes, a complaint stays short
    long = complaint('"x"', {"enum": [f"genre {i}" for i in range(500)]})
    assert "'x' is not one of" in long and len(long) < 300
    assert check_schema({"type": "object", "properties": {"b": {}, "a": {}}}).index('"b"') < 40
    for schema in ({"enum": {1, 2}}, {"type": 5}, {"maxItems": -1}):
        with pytest.raises(ConfigError, match="The schema is no JSON"):
            check_schema(schema)


def with_byte_fallback() -> PreTrainedTokenizerFast:
    """A tokenizer of Llama 2's kind: letters, a mark for spaces, bytes for the rest."""
    letters = ["▁", *"abcdefghijklmnopqrstuvwxyz", "▁fil", "m"]
    words = ["<unk>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256)), *dict.fromkeys(letters)]
    vocabulary = {word: i for i, word in enumerate(words)}
    inner = Tokenizer(models.BPE(vocabulary, merges=[], unk_token="<unk>", byte_fallback=True))
    inner.normalizer = normalizers.Replace(" ", "▁")
    steps = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    inner.decoder = decoders.Sequence(steps)
    return PreTrainedTokenizerFast(tokenizer_object=inner, eos_token="</s>", unk_token="<unk>")


@pytest.mark.parametrize("kind", ["bytes", "byte fallback"])
def test_the_tokens_of_a_text_spell_it_and_control_words_spell_nothing(kind, tiny, empty_cache):
    of_tiny = load_language_model(tiny, "float32").tokenizer
    tokenizer = of_tiny if kind == "bytes" else with_byte_fallback()
    spelled = {i: word for word, ids in token_bytes(tokenizer).items() for i in ids}
    for text in ["a funny film", "Amélie, 日本語 🎬", 'tabs\t and "quotes"', "x  y\n"]:
        ids = tokenizer(text, add_special_tokens=False)["input_ids"]
        assert b"".join(spelled[i] for i in ids) == text.encode()
    assert set(spelled) == set(range(len(tokenizer))) - set(tokenizer.all_special_ids)
    left = token_bytes(tokenizer, without=[min(spelled)])
    assert min(spelled) not in {i for ids in left.values() for i in ids}


def test_a_guide_allows_the_schema_s_bytes_and_no_others(tiny, empty_cache):
    loaded = load_language_model(tiny, "float32")
    spelled, (end,) = token_bytes(loaded.tokenizer), loaded.end_tokens
    guide = SchemaGuide(find_model(tiny), "float32", '{"enum": ["é"]}')
    for byte in '"é"'.encode():
        assert not guide.complete
        (token,) = spelled[bytes([byte])]
        logits = guide.restrict(torch.arange(260.0))
        assert logits[token] == token and logits.isneginf().sum() == 259
        guide.advance(token)
    assert guide.complete
    # what may go on is not complete
    guide = SchemaGuide(find_model(tiny), "float32", '{"type": "integer"}')
    guide.advance(spelled[b"1"][0])
    assert guide.restrict(torch.zeros(260))[[*spelled[b"1"], end]].tolist() == [0, 0]
    assert not guide.complete
    guide.advance(end)
