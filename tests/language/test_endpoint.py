"""The ChatModel at an address, against a server of our own: chat, streaming, bill, JSON."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from latentcrs_utils.errors import ConfigError, MessageError, ReplyError
from latentcrs_utils.language.chat_model import Usage
from latentcrs_utils.language.endpoint_chat_model import EndpointChatModel

from . import chat_server as does
from .chat_server import CHAT, KEY, MODEL, chat_model_for

GENRE = {
    "type": "object",
    "properties": {
        "genre": {"enum": ["Comedy", "Drama"]},
        "years": {"type": "array", "items": {"enum": [1980]}, "minItems": 1, "maxItems": 2},
    },
    "required": ["genre", "years"],
    "additionalProperties": False,
}
FITS = '{"genre": "Comedy", "years": [1980]}'


def test_a_reply_its_bill_and_what_was_sent(server):
    chat_model = chat_model_for(server, temperature=0.7)
    reply = chat_model.generate(CHAT, max_new_tokens=30)
    assert (reply.text, reply.finish, reply.model) == (server.says, "end", MODEL)
    assert (reply.prompt_tokens, reply.completion_tokens, reply.counted) == (4, 7, True)
    assert reply.seconds > 0
    assert server.asked == [
        {"model": MODEL, "messages": CHAT, "max_tokens": 30, "temperature": 0.7}
    ]
    assert server.headers[0]["authorization"] == f"Bearer {KEY}"
    assert chat_model.generate(CHAT, max_new_tokens=2).finish == "length"
    assert chat_model.usage == Usage(2, 8, 9, chat_model.usage.seconds)
    assert chat_model.score is None


def test_pieces_add_up_and_the_last_one_brings_the_bill(server):
    pieces: list[str] = []
    reply = chat_model_for(server).generate(CHAT, stream=pieces.append)
    assert pieces == ["A", " quiet", " film", " for", " a", " long", " evening."]
    assert reply.text == "".join(pieces) and reply.finish == "end"
    assert (reply.prompt_tokens, reply.completion_tokens, reply.counted) == (4, 7, True)


def test_a_bill_may_come_with_any_piece(server):
    piece = json.loads(does.delta("Hi"))
    piece["usage"] = {"prompt_tokens": 9, "completion_tokens": 1}
    server.plan[:] = [does.stream_of(json.dumps(piece), does.delta(None, "stop"))]
    reply = chat_model_for(server).generate(CHAT, stream=str)
    assert (reply.text, reply.finish, reply.prompt_tokens) == ("Hi", "end", 9)


@pytest.mark.parametrize("stream", [None, str])
def test_what_is_not_reported_is_not_guessed(server, stream):
    server.plan[:] = [does.well(usage=False)]
    chat_model = chat_model_for(server)
    reply = chat_model.generate(CHAT, stream=stream)
    assert (reply.prompt_tokens, reply.completion_tokens, reply.counted) == (0, 0, False)
    chat_model.generate(CHAT)
    assert (chat_model.usage.calls, chat_model.usage.uncounted, chat_model.usage.prompt_tokens) == (
        2,
        1,
        4,
    )


def test_a_stop_between_pieces(server):
    server.plan[:] = [does.well("one two three four " * 50, pause=0.02)]
    stop, pieces = threading.Event(), []

    def third_is_enough(piece: str) -> None:
        pieces.append(piece)
        if len(pieces) == 3:
            stop.set()

    chat_model = chat_model_for(server)
    reply = chat_model.generate(CHAT, max_new_tokens=200, stream=third_is_enough, stop=stop)
    assert (reply.text, reply.finish, reply.counted) == ("one two three", "stopped", False)
    assert chat_model.usage.uncounted == 1


def test_a_stop_does_not_wait_for_a_silent_endpoint(server):
    server.plan[:] = [does.silent(3)]
    stop = threading.Event()
    threading.Timer(0.3, stop.set).start()
    started = time.monotonic()
    reply = chat_model_for(server).generate(CHAT, stop=stop)
    assert (reply.text, reply.finish) == ("", "stopped") and time.monotonic() - started < 2


def test_what_is_stopped_before_it_begins_is_not_sent(server):
    stop = threading.Event()
    stop.set()
    chat_model = chat_model_for(server)
    assert chat_model.generate(CHAT, stop=stop).finish == "stopped"
    assert server.asked == [] and chat_model.usage == Usage()


def test_a_schema_is_sent_and_the_reply_comes_in_one_piece(server):
    pieces: list[str] = []
    reply = chat_model_for(server).generate(CHAT, schema=GENRE, stream=pieces.append)
    assert pieces == [reply.text] == [FITS]
    asked = server.asked[0]["response_format"]
    assert asked["type"] == "json_schema" and asked["json_schema"]["strict"] is True
    assert asked["json_schema"]["schema"] == GENRE


@pytest.mark.parametrize(
    ("first", "wrong"),
    [
        (does.well(heed=False), "it is no JSON"),
        (does.well(heed=False, usage=False), "it is no JSON"),
        (does.well("```json\n{}\n```"), "it is no JSON"),
        (does.well('{"genre": "Western", "years": [1980]}'), "'Western' is not one of"),
        (does.well(""), "it is empty"),
    ],
)
def test_what_does_not_fit_is_sent_back_once_with_what_is_wrong(server, first, wrong):
    server.plan[:] = [first]
    chat_model = chat_model_for(server)
    reply = chat_model.generate(CHAT, schema=GENRE)
    assert reply.text == FITS and len(server.asked) == 2
    *before, said, complaint = server.asked[1]["messages"]
    assert before == CHAT and said["role"] == "assistant" and complaint["role"] == "user"
    assert wrong in complaint["content"] and json.dumps(GENRE) in complaint["content"]
    # some endpoints refuse an empty message
    assert said["content"]
    usage = chat_model.usage
    assert (usage.calls, usage.prompt_tokens) == (2, reply.prompt_tokens)
    assert usage.completion_tokens == reply.completion_tokens
    assert reply.counted == (usage.uncounted == 0)


def test_an_endpoint_that_ignores_the_schema_is_told_of(server):
    server.plan[:] = [does.well(heed=False)] * 2
    pieces: list[str] = []
    with pytest.raises(ReplyError) as caught:
        chat_model_for(server).generate(CHAT, schema=GENRE, stream=pieces.append)
    said = str(caught.value)
    assert said.startswith(f"{MODEL} at {server.url} was asked twice and did not reply with JSON")
    assert "may ignore response_format" in said and len(server.asked) == 2 and pieces == []


def test_a_stopped_json_is_not_asked_for_again(server):
    server.plan[:] = [does.well(pause=0.3)]
    stop = threading.Event()
    threading.Timer(0.2, stop.set).start()
    with pytest.raises(ReplyError, match="was stopped before its JSON was whole"):
        chat_model_for(server).generate(CHAT, schema=GENRE, stop=stop)
    assert len(server.asked) == 1


def test_a_schema_or_chat_that_is_none_is_not_sent(server):
    with pytest.raises(ConfigError, match="no JSON schema"):
        chat_model_for(server).generate(CHAT, schema={"type": "words"})
    with pytest.raises(MessageError, match="'role' and 'content'"):
        chat_model_for(server).generate([{"role": "user"}])
    assert server.asked == []


def test_a_schema_beyond_the_strict_kind_is_asked_for_loosely(server):
    server.plan[:] = [does.status(400, "Invalid schema for response_format: uniqueItems")]
    assert chat_model_for(server).generate(CHAT, schema=GENRE).text == FITS
    assert server.asked[1]["response_format"]["json_schema"]["strict"] is False


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1:8000/v1", "ftp://host/v1", "http://", "http://host:port/v1", "not an address"],
)
def test_addresses_that_are_none(address):
    with pytest.raises(ConfigError, match=r"is no address: give one such as"):
        EndpointChatModel("m", address)


def test_addresses_that_would_give_something_away():
    for address in ("http://me:secret@host/v1", "https://host/v1?key=secret"):
        with pytest.raises(ConfigError) as caught:
            EndpointChatModel("m", address)
        assert "secret" not in str(caught.value)


def test_other_settings_that_make_no_sense():
    for wrong in ({"timeout": 0}, {"retries": -1}, {"temperature": -0.1}):
        with pytest.raises(ConfigError, match="must be above 0"):
            EndpointChatModel("m", **wrong)
    with pytest.raises(ConfigError, match="needs the model's name"):
        EndpointChatModel("")


def test_where_it_goes_when_no_address_is_given(monkeypatch):
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    assert EndpointChatModel("m").base_url == "https://api.openai.com/v1"
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/v1/")
    assert EndpointChatModel("m").base_url == "http://127.0.0.1:9/v1"
    assert EndpointChatModel("maker/model-7b").name == "model-7b"


def test_nothing_is_loaded_before_the_first_request():
    code = "import sys, latentcrs_utils as lc; lc.EndpointChatModel('m', 'http://127.0.0.1:9/v1'); "
    code += "print(sorted({'openai', 'torch', 'jsonschema', 'outlines_core'} & set(sys.modules)))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


def test_several_conversations_at_once(server):
    server.plan[:] = [does.well(f"reply {i}", pause=0.05) for i in range(8)]
    chat_model = chat_model_for(server)
    with ThreadPoolExecutor(8) as pool:
        replies = list(pool.map(lambda _: chat_model.generate(CHAT, stream=str), range(8)))
    assert sorted(reply.text for reply in replies) == [f"reply {i}" for i in range(8)]
    assert chat_model.usage.calls == 8 and chat_model.usage.completion_tokens == 16
