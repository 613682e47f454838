"""A conversation whose words come from an address: what a failure or an early stop says."""

import socket
from collections.abc import Iterator

import pytest

from latentcrs_utils.conversation.session import Conversation
from latentcrs_utils.language.endpoint_chat_model import EndpointChatModel
from tests.conversation.fakes import FakeModel
from tests.language import chat_server as does
from tests.language.chat_server import KEY, ChatServer, chat_model_for, chat_server


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[ChatServer]:
    monkeypatch.setenv("TEST_KEY", KEY)
    with chat_server() as running:
        yield running


def chat(server: ChatServer, policy: str = "B") -> Conversation:
    return Conversation(
        FakeModel(),
        42,
        chat_model=chat_model_for(server, retries=0),
        policy=policy,
        extractor="both",
    )


def test_a_good_reply_is_counted(server):
    server.says = "Night of the Moth may do."
    turn = chat(server).say("horror")
    assert turn.reply == server.says and turn.counted and turn.prompt_tokens > 0


def test_a_reply_that_the_guard_stops_is_not_counted(server):
    # it would go on, but nobody listens any longer
    server.plan[:] = [does.cut("Or see The Quiet Harbour ", "instead. ", "And so on.", silence=60)]
    conversation = chat(server)
    turn = conversation.say("horror")
    assert turn.why_template == "it named a film that was not chosen (The Quiet Harbour)"
    assert conversation.chat_model.usage.uncounted == 1
    assert (turn.prompt_tokens, turn.completion_tokens, turn.counted) == (0, 0, False)
    assert turn.usage == "tokens not counted: nobody reported them"


@pytest.mark.parametrize("policy", ["B", "F", "V"])
def test_a_refused_key_is_told_with_what_to_do_and_without_the_key(server, policy):
    server.plan[:] = [does.echo_key] * 2
    turn = chat(server, policy).say("a western")
    told = (
        "the language model failed: "
        f"{server.url} refuses the key (HTTP 401): set the environment variable TEST_KEY to one "
        "that is valid there and may use 'small-1'"
    )
    assert turn.why_template == told and len(turn.items) == 5 and not turn.counted
    if policy != "B":
        assert f"because {told}." in turn.note
    assert KEY not in repr(turn) and KEY not in str(turn.to_dict())


def test_a_key_in_an_error_page_is_cut_out(server):
    server.plan[:] = [does.status(500, f"could not use {KEY} here")]
    turn = chat(server).say("a western")
    assert "could not use (the key) here" in turn.why_template and KEY not in repr(turn)


def test_an_address_where_nobody_listens_says_so():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/v1"
    chat_model = EndpointChatModel("small-1", url, key_variable=None, retries=0)
    turn = Conversation(FakeModel(), 42, chat_model=chat_model).say("a western")
    assert turn.why_template == (
        f"the language model failed: {url} cannot be reached or breaks off, asked once: see "
        "whether the server runs and the address is right"
    )
