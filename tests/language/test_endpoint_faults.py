"""The ChatModel at an address when things go wrong: what it overcomes, says and hides."""

from __future__ import annotations

import json
import logging
import traceback

import pytest

from latentcrs_utils.errors import ConfigError, EndpointError

from . import chat_server as does
from .chat_server import CHAT, KEY, chat_model_for, chat_server


def failure(server, *plan, stream=None, **more) -> str:
    """What is said when the server does this."""
    server.plan[:] = plan
    with pytest.raises(EndpointError) as caught:
        chat_model_for(server, **more).generate(CHAT, stream=stream)
    said = str(caught.value)
    assert said.startswith(server.url) and "\n" not in said and said.endswith(".")
    return said


@pytest.mark.parametrize("stream", [None, str])
@pytest.mark.parametrize(
    "fault",
    [does.status(429), does.status(500), does.status(503), does.silent(0), does.silent(2.5)],
    ids=["429", "500", "503", "no answer", "time-out"],
)
def test_a_fault_that_passes_is_overcome(server, fault, stream):
    server.plan[:] = [fault]
    chat_model = chat_model_for(server, timeout=1)
    reply = chat_model.generate(CHAT, stream=stream)
    assert reply.text == server.says and reply.counted and len(server.asked) == 2
    assert chat_model.usage.calls == 1


def test_pauses_grow_and_follow_what_the_server_asks_for(server):
    server.plan[:] = [does.status(500), does.status(500), does.status(429, Retry_After="1")]
    assert chat_model_for(server, retries=3).generate(CHAT).text == server.says
    first, second, third = (b - a for a, b in zip(server.times, server.times[1:], strict=False))
    # 0.05 and 0.1 s, each up to a quarter less by chance; then what was asked for
    assert first > 0.037 and second > 0.074 and third >= 1


@pytest.mark.parametrize("before", [does.cut(), does.cut(silence=2.5)], ids=["cut", "silence"])
def test_a_stream_that_breaks_before_its_first_word_is_asked_for_again(server, before):
    server.plan[:] = [before]
    pieces: list[str] = []
    reply = chat_model_for(server, timeout=1).generate(CHAT, stream=pieces.append)
    assert reply.text == server.says == "".join(pieces) and len(server.asked) == 2


@pytest.mark.parametrize(
    ("refusal", "dropped"),
    [
        (does.status(400, "Unsupported: 'max_tokens'. Use 'max_completion_tokens'"), "max_tokens"),
        (does.status(422, "Unexpected fields: {'stream_options'}"), "stream_options"),
        (does.status(400, "temperature does not support 0 with this model"), "temperature"),
    ],
)
def test_what_an_endpoint_does_not_understand_is_left_out_from_then_on(server, refusal, dropped):
    server.plan[:] = [refusal]
    chat_model = chat_model_for(server)
    assert chat_model.generate(CHAT, max_new_tokens=3, stream=str).text == "A quiet film"
    assert chat_model.generate(CHAT, max_new_tokens=3, stream=str).text == "A quiet film"
    assert [dropped in asked for asked in server.asked] == [True, False, False]


@pytest.mark.parametrize("stream", [None, str])
@pytest.mark.parametrize(
    ("fault", "said", "n_asked"),
    [
        (does.status(429, "slow down"), "is at its limit (HTTP 429: slow down), asked twice", 2),
        (does.status(429, Retry_After="500"), "asked once: ask again in 500 s", 1),
        (does.status(500, "boom"), "fails (HTTP 500: boom), asked twice: look into its log", 2),
        (does.silent(2.5), "was silent for 1 s, asked twice", 2),
        (does.silent(0), "cannot be reached or breaks off, asked twice", 2),
        (does.status(404, "no small-1"), "has no model 'small-1', or is no such endpoint", 1),
        (does.status(400, "too long"), "refuses the request (HTTP 400: too long): change", 1),
        (does.status(403, "not you"), "refuses the key (HTTP 403): set the environment", 1),
        (does.raw("<html>Welcome</html>", "text/html"), "check that this is an OpenAI-comp", 1),
        (does.raw('{"choices": ['), "check that this is an OpenAI-compatible address", 1),
        (does.raw('{"choices": [{"message": 3}]}'), "answered without a reply", 1),
        (does.raw('{"choices": {"first": 1}}'), "answered without a reply", 1),
        (does.raw("[1, 2]"), "answered without a reply", 1),
        (does.well("", finish="content_filter"), "withheld the reply of 'small-1'", 1),
    ],
)
def test_a_fault_that_stays_is_one_sentence(server, fault, said, n_asked, stream):
    assert said in failure(server, fault, fault, stream=stream, timeout=1)
    assert len(server.asked) == n_asked


def test_a_stream_that_never_begins_is_one_sentence(server):
    assert "breaks off, asked twice" in failure(server, does.cut(), does.cut(), stream=str)
    assert "no reply (JSONDecodeError)" in failure(server, does.stream_of("{bad"), stream=str)
    broken = does.stream_of(json.dumps({"error": {"message": "out of memory"}}))
    assert "failed while it replied: out of memory" in failure(server, broken, stream=str)
    assert "answered without a reply" in failure(server, does.cut(clean=True), stream=str)


@pytest.mark.parametrize(
    "fault",
    [
        does.cut("A", " quiet"),
        does.cut("A", " quiet", clean=True),
        does.cut("A", " quiet", silence=2.5),
        does.stream_of(does.delta("A"), does.delta(" quiet"), "{bad"),
        does.stream_of(does.delta("A"), does.delta(" quiet"), '{"error": "out of memory"}'),
        does.stream_of(does.delta("A quiet"), does.delta(None, "content_filter")),
    ],
    ids=["cut", "closed", "silent", "malformed", "error", "filtered"],
)
def test_what_was_said_before_a_cut_is_kept(server, fault):
    server.plan[:] = [fault]
    chat_model, pieces = chat_model_for(server, timeout=1), []
    reply = chat_model.generate(CHAT, stream=pieces.append)
    assert reply.text == "A quiet" == "".join(pieces)
    assert (reply.finish, reply.counted, len(server.asked)) == ("cut", False, 1)
    assert chat_model.usage.uncounted == 1


def test_nobody_at_the_address(server):
    with chat_server() as gone:
        pass
    assert "cannot be reached or breaks off, asked twice" in failure(gone)
    assert "cannot be reached or breaks off, asked once" in failure(gone, retries=0, stream=str)


def test_a_wrong_path_is_the_address_s_fault(server):
    server.url, right = server.url.removesuffix("/v1"), server.url
    try:
        assert "check the model's name and the address (most end in /v1)" in failure(server)
    finally:
        server.url = right


def verbose_traceback(error: BaseException) -> str:
    """What the most talkative traceback shows: all locals of every frame but the test's own."""
    below = error.__traceback__.tb_next
    shown = traceback.TracebackException(type(error), error, below, capture_locals=True)
    return "".join(shown.format())


# what the endpoint does, and whether the reply is streamed
LEAKS = {
    "refused": (does.echo_key, str),
    "refused, not streamed": (does.echo_key, None),
    "error": (does.status(500, f"could not use {KEY} here"), None),
    "error in the stream": (does.stream_of(json.dumps({"error": {"message": KEY}})), str),
    "cut": (does.cut(), str),
    "nonsense": (does.raw("{"), None),
}


@pytest.mark.parametrize("leak", LEAKS)
def test_the_key_is_nowhere(server, caplog, leak):
    caplog.set_level(logging.DEBUG)
    fault, stream = LEAKS[leak]
    server.plan[:] = [fault] * 2
    chat_model = chat_model_for(server)
    with pytest.raises(EndpointError) as caught:
        chat_model.generate(CHAT, stream=stream)
    assert server.headers[0]["authorization"] == f"Bearer {KEY}"
    error = caught.value
    assert error.__context__ is None and error.__cause__ is None
    told = verbose_traceback(error)
    assert "failure = " in told and "Sending HTTP Request" in caplog.text
    places = [str(error), repr(error), told, caplog.text]
    places += [repr(chat_model), str(vars(chat_model)), str(vars(chat_model._client))]
    assert not [place for place in places if KEY[:12] in place]


def test_a_missing_key_is_not_sent_and_asked_for(server, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-another-endpoint")
    for setting in ({"key_variable": None}, {"key_variable": "NO_SUCH_KEY"}):
        assert chat_model_for(server, **setting).generate(CHAT).text == server.says
    assert not [1 for headers in server.headers if "authorization" in headers]
    refusal = does.status(401, "who are you?")
    assert "asks for a key (HTTP 401): set the environment variable NO_SUCH_KEY" in failure(
        server, refusal, key_variable="NO_SUCH_KEY"
    )
    assert "name its environment variable, key_variable" in failure(
        server, refusal, key_variable=None
    )


def test_the_key_is_read_afresh_and_trimmed(server, monkeypatch):
    chat_model = chat_model_for(server)
    chat_model.generate(CHAT)
    monkeypatch.setenv("TEST_KEY", " sk-new\n")
    chat_model.generate(CHAT)
    assert server.headers[1]["authorization"] == "Bearer sk-new"


@pytest.mark.parametrize("key", ["sk secret word", "sk-sécret", "sk-\x07secret"])
def test_what_cannot_be_a_key_is_not_shown_either(server, monkeypatch, key):
    monkeypatch.setenv("TEST_KEY", key)
    with pytest.raises(ConfigError, match="TEST_KEY holds no key") as caught:
        chat_model_for(server).generate(CHAT)
    told = verbose_traceback(caught.value)
    assert "TEST_KEY" in told and "cret" not in told and server.asked == []
