"""The embedded language model itself: real weights, a few sentences."""

from __future__ import annotations

import json

import pytest
import torch

from latentcrs_utils.language.embedder import Embedder
from latentcrs_utils.language.local_chat_model import LocalChatModel

PAIRS = [
    ("A comedy, please", "Something that makes me laugh"),
    ("I want to be scared tonight", "a horror film"),
    ("A film for my children", "something for the whole family and the little ones"),
    ("A sad love story", "a tearful romance"),
]


def centred(vectors: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.normalize(vectors - vectors.mean(dim=0), dim=1)


@pytest.fixture(scope="module")
def vectors(model_dir) -> dict[str, torch.Tensor]:
    texts = [text for pair in PAIRS for text in pair]
    dtypes = "float32", "bfloat16"
    return {dtype: Embedder(dtype=dtype, reuse=False).embed(texts) for dtype in dtypes}


def test_like_meanings_are_near_once_centred(vectors):
    raw = torch.nn.functional.normalize(vectors["float32"], dim=1)
    assert vectors["float32"].shape == (8, 576)
    assert (raw @ raw.T).min() > 0.6  # nearly parallel: why the course standardises them
    x = centred(vectors["float32"])
    similarity = x[0::2] @ x[1::2].T
    assert (similarity.argmax(dim=1) == torch.arange(len(PAIRS))).float().mean() >= 0.75


def test_bfloat16_says_the_same_as_float32(vectors):
    one, other = centred(vectors["float32"]), centred(vectors["bfloat16"])
    assert (one * other).sum(dim=1).min() > 0.98


def test_a_reply_streams_and_repeats_exactly(model_dir):
    chat_model, pieces = LocalChatModel(), []
    chat = [{"role": "user", "content": "What is the capital of France?"}]
    reply = chat_model.generate(chat, max_new_tokens=12, stream=pieces.append)
    assert "Paris" in reply.text and reply.text == "".join(pieces)
    assert reply.model == "SmolLM2-135M-Instruct" and "<|" not in reply.text
    assert chat_model.generate(chat, max_new_tokens=12).text == reply.text


def test_scores_prefer_what_is_right(model_dir):
    scores = LocalChatModel().score("The opposite of hot is", [" cold", " green", " a banana"])
    assert scores[0] > max(scores[1:]) and max(scores) < 0


def test_it_writes_json_of_a_schema(model_dir):
    decades = [1970, 1980, 1990]
    schema = {
        "type": "object",
        "properties": {
            "genres": {"type": "array", "items": {"enum": ["Comedy", "Horror"]}, "maxItems": 2},
            "decade": {"enum": [*decades, None]},
            "evidence": {"type": "string", "maxLength": 24},
        },
        "required": ["genres", "decade", "evidence"],
        "additionalProperties": False,
    }
    wish = "Extract genres, decade and evidence as JSON: 'a comedy from the eighties'"
    chat = [{"role": "user", "content": wish}]
    reply = LocalChatModel().generate(chat, schema=schema, max_new_tokens=80)
    value = json.loads(reply.text)
    assert list(value) == schema["required"] and set(value["genres"]) <= {"Comedy", "Horror"}
    assert value["decade"] in (*decades, None) and len(value["evidence"]) <= 24
    assert reply.finish == "end" and reply.completion_tokens < 80
