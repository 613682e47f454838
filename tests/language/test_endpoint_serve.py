"""The ChatModel at an address, against `transformers serve` with the embedded model."""

from __future__ import annotations

import threading

import pytest

from latentcrs_utils.errors import EndpointError, ReplyError
from latentcrs_utils.language.endpoint_chat_model import EndpointChatModel
from latentcrs_utils.language.local_chat_model import LocalChatModel

FRANCE = [{"role": "user", "content": "What is the capital of France?"}]


@pytest.fixture
def chat_model(served_smollm2) -> EndpointChatModel:
    model, url = served_smollm2
    return EndpointChatModel(model, url, key_variable=None)


def test_chat_streamed_and_whole_is_what_the_model_says_here(chat_model):
    pieces: list[str] = []
    streamed = chat_model.generate(FRANCE, max_new_tokens=12, stream=pieces.append)
    assert "Paris" in streamed.text == "".join(pieces) and len(pieces) > 3
    whole = chat_model.generate(FRANCE, max_new_tokens=12)
    here = LocalChatModel(dtype="float32").generate(FRANCE, max_new_tokens=12)
    assert whole.text == streamed.text == here.text
    assert whole.finish == streamed.finish == "end"
    assert whole.prompt_tokens == streamed.prompt_tokens == here.prompt_tokens
    assert whole.counted and streamed.counted and chat_model.usage.uncounted == 0
    assert chat_model.usage.prompt_tokens == 2 * here.prompt_tokens
    assert whole.completion_tokens == streamed.completion_tokens == here.completion_tokens


def test_limit_and_stop(chat_model):
    cut = chat_model.generate(FRANCE, max_new_tokens=3)
    assert (cut.finish, cut.completion_tokens) == ("length", 3)
    stop, pieces = threading.Event(), []

    def third_is_enough(piece: str) -> None:
        pieces.append(piece)
        if len(pieces) == 3:
            stop.set()

    story = [{"role": "user", "content": "Tell me a long story about the sea."}]
    reply = chat_model.generate(story, max_new_tokens=200, stream=third_is_enough, stop=stop)
    assert reply.finish == "stopped" and reply.text == "".join(pieces[:3])
    assert not reply.counted and chat_model.usage.uncounted == 1


def test_this_server_ignores_schemas_and_is_found_out(chat_model):
    with pytest.raises(ReplyError, match=r"asked twice .* may ignore response_format"):
        chat_model.generate(FRANCE, schema={"enum": ["Paris", "Rome"]}, max_new_tokens=6)
    assert chat_model.usage.calls == 2


def test_a_model_that_it_does_not_serve(chat_model):
    other = EndpointChatModel("other-model", chat_model.base_url, key_variable=None, retries=0)
    with pytest.raises(EndpointError, match=r"HTTP 400: .*other-model.*: change what"):
        other.generate(FRANCE)
