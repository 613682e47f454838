"""The ChatModel at an address: chat, streaming, usage, JSON; what it overcomes, says and hides."""

import json
import logging
import random
import threading
import time
import tomllib
import traceback
from concurrent.futures import ThreadPoolExecutor
from itertools import product
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from latentcrs_utils.errors import ConfigError, EndpointError, ReplyError
from latentcrs_utils.language.chat_model import Usage
from latentcrs_utils.language.endpoint_chat_model import EndpointChatModel, on_this_machine

from . import chat_server as does
from .chat_server import CHAT, FITS, GENRE, KEY, MODEL, chat_model_for, chat_server, stopping_after

TABLE = tomllib.loads(Path(__file__).with_name("faults.toml").read_text("utf-8"))


def stopped_in(seconds: float) -> threading.Event:
    """An event that is set after a while."""
    stop = threading.Event()
    threading.Timer(seconds, stop.set).start()
    return stop


def test_a_reply_its_usage_and_what_was_sent(server, monkeypatch):
    chat_model = chat_model_for(server)
    reply = chat_model.generate(CHAT, max_new_tokens=30)
    assert (reply.text, reply.finish, reply.model) == (server.says, "end", MODEL)
    assert (reply.prompt_tokens, reply.completion_tokens, reply.counted) == (4, 7, True)
    assert server.asked == [
        {"model": MODEL, "messages": CHAT, "max_tokens": 30, "temperature": 0.0}
    ]
    # the key is read afresh and trimmed
    monkeypatch.setenv("TEST_KEY", " sk-new\n")
    assert chat_model.generate(CHAT, max_new_tokens=2).finish == "length"
    sent = [headers["authorization"] for headers in server.headers]
    assert sent == [f"Bearer {KEY}", "Bearer sk-new"]
    assert chat_model.usage == Usage(2, 8, 9, chat_model.usage.seconds)
    assert reply.seconds > 0 and chat_model.score is None


@pytest.mark.parametrize(
    ("fault", "expected", "tokens"),
    [
        (does.well("A quiet film."), ["A", " quiet", " film."], (4, 3)),
        # any piece may bring the usage; what is not reported is not guessed
        (does.stream_of(does.delta("Hi", "stop", (9, 1))), ["Hi"], (9, 1)),
        (does.well("Hi", usage=False), ["Hi"], (0, 0)),
    ],
)
def test_pieces_add_up_and_so_does_their_usage(server, fault, expected, tokens):
    server.plan[:] = [fault, does.well("Hi", usage=False)]
    chat_model, pieces = chat_model_for(server), []
    reply = chat_model.generate(CHAT, stream=pieces.append)
    assert pieces == expected
    assert reply.text == "".join(pieces) and reply.finish == "end"
    assert (reply.prompt_tokens, reply.completion_tokens, reply.counted) == (*tokens, any(tokens))
    assert not chat_model.generate(CHAT).counted
    uncounted = 1 + (not any(tokens))
    assert chat_model.usage == Usage(2, *tokens, chat_model.usage.seconds, uncounted)


def test_a_stop_between_pieces(server):
    server.plan[:] = [does.well("one two three four " * 50, pause=0.02)]
    stop, pieces = threading.Event(), []
    chat_model, third = chat_model_for(server), stopping_after(3, stop, pieces)
    reply = chat_model.generate(CHAT, max_new_tokens=200, stream=third, stop=stop)
    assert (reply.text, reply.finish, reply.counted) == ("one two three", "stopped", False)
    assert chat_model.usage.uncounted == 1
    # what is stopped before it begins is not sent
    assert chat_model.generate(CHAT, stop=stop).finish == "stopped" and len(server.asked) == 1


@pytest.mark.parametrize("retries", [0, 3])
def test_a_stop_waits_neither_for_a_silent_endpoint_nor_for_the_next_try(server, retries):
    server.plan[:] = [does.status(503, Retry_After="60") if retries else does.silent(30)]
    started = time.monotonic()
    reply = chat_model_for(server, retries=retries).generate(CHAT, stop=stopped_in(0.3))
    assert (reply.text, reply.finish) == ("", "stopped") and time.monotonic() - started < 20


@pytest.mark.parametrize(
    ("first", "usage", "wrong"),
    [
        ("A film.", False, "it is no JSON"),
        (FITS.replace("Comedy", "Western"), True, "'Western' is not one of"),
        ("", True, "it is empty"),
    ],
)
def test_what_does_not_fit_is_sent_back_once_with_what_is_wrong(server, first, usage, wrong):
    server.plan[:] = [does.well(first, usage=usage)]
    chat_model, pieces = chat_model_for(server), []
    reply = chat_model.generate(CHAT, schema=GENRE, stream=pieces.append)
    assert pieces == [reply.text] == [FITS] and len(server.asked) == 2
    form = {"name": "reply", "strict": True, "schema": GENRE}
    assert server.asked[0]["response_format"] == {"type": "json_schema", "json_schema": form}
    *before, said, complaint = server.asked[1]["messages"]
    assert before == CHAT and said["role"] == "assistant" and complaint["role"] == "user"
    assert wrong in complaint["content"] and json.dumps(GENRE) in complaint["content"]
    # some endpoints refuse an empty message
    assert said["content"]
    tokens = reply.prompt_tokens, reply.completion_tokens
    total = Usage(2, *tokens, seconds=chat_model.usage.seconds, uncounted=not usage)
    assert chat_model.usage == total and reply.counted == usage


def test_json_that_is_refused_twice_or_stopped_is_not_asked_for_again(server):
    server.plan[:] = [does.well("A film."), does.well("A film."), does.well(pause=0.3)]
    with pytest.raises(ReplyError, match=r"asked twice .* may ignore response_format"):
        chat_model_for(server).generate(CHAT, schema=GENRE, stream=pytest.fail)
    assert len(server.asked) == 2
    with pytest.raises(ReplyError, match="stopped before its end"):
        chat_model_for(server).generate(CHAT, schema=GENRE, stop=stopped_in(0.2))
    assert len(server.asked) == 3


@pytest.mark.parametrize(("said", "setting", "values"), TABLE["senseless"])
def test_settings_that_make_no_sense(said, setting, values):
    for value in values:
        with pytest.raises(ConfigError, match=said) as caught:
            EndpointChatModel(**{"model": "m", setting: value})
        assert "secret" not in str(caught.value)


def test_where_it_goes_when_no_address_is_given(monkeypatch):
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    assert EndpointChatModel("m").base_url == "https://api.openai.com/v1"
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/v1/")
    assert EndpointChatModel("m").base_url == "http://127.0.0.1:9/v1"
    for model in ("maker/model-7b", "/home/models/model-7b/", "C:\\models\\model-7b"):
        assert EndpointChatModel(model).name == "model-7b"


def test_several_conversations_at_once(server):
    server.plan[:] = [does.well(f"reply {i}", pause=0.05) for i in range(8)]
    chat_model = chat_model_for(server)
    with ThreadPoolExecutor(8) as pool:
        replies = list(pool.map(lambda _: chat_model.generate(CHAT, stream=str), range(8)))
    assert sorted(reply.text for reply in replies) == [f"reply {i}" for i in range(8)]
    assert chat_model.usage.calls == 8 and chat_model.usage.completion_tokens == 16


@pytest.mark.parametrize(
    ("fault", "streamed"),
    [
        *product([does.status(429), does.status(503), does.silent(0), does.silent(2.5)], [0, 1]),
        # a stream that breaks before its first word
        (does.cut(), True),
        (does.cut(silence=2.5), True),
    ],
)
def test_a_fault_that_passes_is_overcome(server, fault, streamed):
    server.plan[:] = [fault]
    chat_model, pieces = chat_model_for(server, timeout=1), []
    reply = chat_model.generate(CHAT, stream=pieces.append if streamed else None)
    assert reply.text == server.says and reply.counted and len(server.asked) == 2
    assert "".join(pieces) == (reply.text if streamed else "") and chat_model.usage.calls == 1


def failure(server, *plan, stream=None, **more) -> EndpointError:
    """What is raised when the server does this; one sentence."""
    server.plan[:] = plan
    with pytest.raises(EndpointError, match=rf"^{server.url} [^\n]*\.$") as caught:
        chat_model_for(server, **more).generate(CHAT, stream=stream)
    return caught.value


FAULTS = TABLE["fault"]


@pytest.mark.parametrize("stream", [None, str])
@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault["said"])
def test_a_fault_that_stays_is_one_sentence(server, fault, stream):
    if stream is None and fault.get("streamed"):
        return
    behave = getattr(does, fault["does"])(*fault.get("given", ()), **fault.get("more", {}))
    assert fault["said"] in str(failure(server, behave, behave, stream=stream, timeout=1))
    assert len(server.asked) == fault["asked"]


@pytest.mark.parametrize(
    "fault",
    [
        does.cut("A", " quiet"),
        does.cut("A", " quiet", clean=True),
        does.cut("A", " quiet", silence=2.5),
        does.stream_of(does.delta("A"), does.delta(" quiet"), "{bad"),
        does.stream_of(does.delta("A"), does.delta(" quiet"), does.error("no memory")),
        does.stream_of(does.delta("A quiet"), does.delta(None, "content_filter")),
    ],
)
def test_what_was_said_before_a_cut_is_kept(server, fault):
    server.plan[:] = [fault]
    chat_model, pieces = chat_model_for(server, timeout=1), []
    reply = chat_model.generate(CHAT, stream=pieces.append)
    assert reply.text == "A quiet" == "".join(pieces)
    assert (reply.finish, reply.counted, len(server.asked)) == ("cut", False, 1)
    assert chat_model.usage.uncounted == 1


def test_nobody_at_the_address_or_a_wrong_path(server, monkeypatch):
    with chat_server() as gone:
        pass
    assert "asked twice" in str(failure(gone))
    assert "asked once" in str(failure(gone, retries=0, stream=str))
    monkeypatch.setattr(server, "url", server.url.removesuffix("/v1"))
    assert "the address (most end in /v1)" in str(failure(server))


def verbose_traceback(error: BaseException) -> str:
    """What the most talkative traceback shows: all locals of every frame but the test's own."""
    below = error.__traceback__.tb_next
    shown = traceback.TracebackException(type(error), error, below, capture_locals=True)
    return "".join(shown.format())


@pytest.mark.parametrize(
    ("fault", "stream"),
    [
        (does.echo_key, str),
        (does.echo_key, None),
        (does.status(500, f"could not use {KEY} here"), None),
        (does.stream_of(does.error(KEY)), str),
        (does.cut(), str),
        (does.raw("{"), None),
    ],
)
def test_the_key_is_nowhere(server, caplog, fault, stream):
    caplog.set_level(logging.DEBUG)
    server.plan[:] = [fault] * 2
    chat_model = chat_model_for(server)
    with pytest.raises(EndpointError) as caught:
        chat_model.generate(CHAT, stream=stream)
    assert server.headers[0]["authorization"] == f"Bearer {KEY}"
    error = caught.value
    assert error.__context__ is None and error.__cause__ is None
    told = verbose_traceback(error)
    assert "failure=" in told and "Sending HTTP Request" in caplog.text
    places = [str(error), repr(error), told, caplog.text, repr(chat_model), str(vars(chat_model))]
    assert not [place for place in places if KEY[:12] in place]


def test_a_missing_key_is_not_sent_and_asked_for(server, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-another-endpoint")
    refusal = does.status(401, "who are you?")
    for variable, advice in ((None, "key_variable"), ("NO_SUCH_KEY", "variable NO_SUCH_KEY")):
        assert chat_model_for(server, key_variable=variable).generate(CHAT).text == server.says
        assert advice in str(failure(server, refusal, key_variable=variable))
    assert not [1 for headers in server.headers if "authorization" in headers]


@pytest.mark.parametrize("key", ["sk secret word", "sk-sécret", "sk-\x07secret"])
def test_what_cannot_be_a_key_is_not_shown_either(server, monkeypatch, key):
    monkeypatch.setenv("TEST_KEY", key)
    with pytest.raises(ConfigError, match="TEST_KEY holds no key") as caught:
        chat_model_for(server).generate(CHAT)
    told = verbose_traceback(caught.value)
    assert "TEST_KEY" in told and "cret" not in told and server.asked == []


SHAPES = tomllib.loads(Path(__file__).with_name("shapes.toml").read_text("utf-8"))["shape"]


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: f"{shape['server']}: {shape['what']}")
def test_what_servers_send_is_read_or_overcome(server, shape, streamed):
    """The table of `docs/endpoints.md`."""
    answers, schema = shape["answers"], GENRE if shape.get("json") else None
    server.plan[:] = map(does.as_written, answers)
    chat_model, pieces = chat_model_for(server), []
    stream = pieces.append if streamed else None
    reply = chat_model.generate(CHAT, schema=schema, stream=stream)
    assert reply.text == shape.get("reply", FITS if schema else server.says)
    assert not streamed or "".join(pieces) == reply.text
    assert (reply.finish, server.plan) == ("end", [])
    last, n_asked = server.asked[-1], len(server.asked)
    assert n_asked == len(answers) + ("reply" not in shape)
    assert {name: last[name] for name in shape.get("last", {})} == shape.get("last", {})
    assert not set(shape.get("gone", ())) & set(last)
    # what was learned holds for the next request
    assert chat_model.generate(CHAT, schema=schema, stream=stream).finish == "end"
    assert len(server.asked) == n_asked + 1
    assert not set(shape.get("gone", ())) & set(server.asked[-1])
    n_refused = sum(isinstance(answer, dict) for answer in answers)
    assert chat_model.usage.calls == 2 and len(server.asked) - n_refused >= 2


THINKS = does.raw(
    '{"choices": [{"message": {"content": "", "reasoning": "Hm"}, "finish_reason": "length"}],'
    ' "usage": {"prompt_tokens": 4, "completion_tokens": 80}}'
)


def test_thinking_is_billed_bounded_and_told(server):
    server.plan[:] = [THINKS]
    reply = chat_model_for(server).generate(CHAT)
    assert (reply.prompt_tokens, reply.completion_tokens, reply.counted) == (8, 87, True)
    # the user's own limit comes first
    chat_model = chat_model_for(server, thinking_tokens=500)
    assert chat_model.generate(CHAT).text == server.says
    assert server.asked[-1]["max_tokens"] == 580 and "reasoning_effort" not in server.asked[-1]
    told = str(failure(server, THINKS, THINKS, THINKS))
    assert "thinks too long" in told and "thinking_tokens=" in told
    with pytest.raises(ConfigError, match="thinking_tokens=-1"):
        chat_model_for(server, thinking_tokens=-1)


PLACES = ["127.0.0.1", "localhost", "127.1.2.3", "[::1]", "0.0.0.0", "a.localhost", "LOCALHOST"]
PROXIES = ["http_proxy", "HTTPS_PROXY", "ALL_PROXY", "all_proxy", "NO_PROXY"]


@pytest.mark.parametrize("value", ["socks5://127.0.0.1:9", "http://127.0.0.1:9", "nonsense", "[x"])
@pytest.mark.parametrize("variable", [*PROXIES, "SSL_CERT_FILE", "SSL_CERT_DIR", "SSLKEYLOGFILE"])
def test_this_machine_is_asked_without_what_the_environment_says(
    server, monkeypatch, variable, value
):
    monkeypatch.setenv(variable, "/no/such/place" if variable.startswith("SSL") else value)
    assert chat_model_for(server).generate(CHAT).text == server.says
    for place in PLACES:
        assert on_this_machine(urlsplit(f"http://{place}:1/v1").hostname)
    assert not any(map(on_this_machine, ["example.org", "10.0.0.1", "localhost.example.org"]))
    # elsewhere it is named, and never shown
    elsewhere = EndpointChatModel("m", "https://10.255.255.1/v1", timeout=0.2, retries=0)
    monkeypatch.setenv(variable, "/no/such/place" if variable.startswith("SSL") else f"{value} pw")
    with pytest.raises(EndpointError, match=r"^https://10.255.255.1/v1 [^\n]*\.$") as caught:
        elsewhere.generate(CHAT)
    if "cannot be asked" in str(caught.value):
        assert variable in str(caught.value) and value not in str(caught.value)


@pytest.mark.parametrize("seed", range(12))
def test_whatever_a_server_sends_is_a_reply_or_one_sentence(server, monkeypatch, seed):
    monkeypatch.setattr("openai._base_client.INITIAL_RETRY_DELAY", 0.0)
    monkeypatch.setattr(threading, "excepthook", lambda args: pytest.fail(str(args)))
    draws = random.Random(seed)
    chat_model = chat_model_for(server, retries=seed % 2, timeout=5)
    for _ in range(25):
        server.plan[:] = [does.anything(draws) for _ in range(60)]
        pieces: list[str] = []
        options = {
            "schema": draws.choice([None, GENRE]),
            "stream": draws.choice([None, pieces.append]),
        }
        try:
            reply = chat_model.generate(CHAT, **options)
            reply.text.encode()
            assert "<think" not in reply.text and "</think" not in reply.text
        except (EndpointError, ReplyError) as error:
            told = str(error)
            assert told.isprintable() and told.endswith(".") and KEY not in told
            assert "change what" not in told
