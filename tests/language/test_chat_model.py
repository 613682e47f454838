"""Prepared replies, what holds for every ChatModel, and whole sentences of what one wrote."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from latentcrs_utils.errors import ConfigError, MessageError, ReplyError
from latentcrs_utils.language.chat_model import ScriptedChatModel, Usage, sentences, tidy_reply

from .chat_server import CHAT, FITS, GENRE


def test_it_says_its_lines():
    scripted, pieces = ScriptedChatModel(["one two three", ValueError("broken")]), []
    reply = scripted.generate(CHAT, stream=pieces.append)
    assert reply.text == "one two three" == "".join(pieces) and len(pieces) == 3
    assert (reply.prompt_tokens, reply.completion_tokens) == (4, 3)
    with pytest.raises(ValueError, match="broken"):
        scripted.generate(CHAT)
    reply = scripted.generate(CHAT, max_new_tokens=2)
    assert (reply.text, reply.finish) == ("one two", "length")
    assert scripted.asked == [CHAT] * 3
    assert scripted.usage == Usage(2, 8, 5, scripted.usage.seconds)
    stop = threading.Event()
    stop.set()
    assert ScriptedChatModel(["never"]).generate(CHAT, stop=stop).finish == "stopped"
    assert scripted.score is None
    with pytest.raises(ConfigError, match="at least one reply"):
        ScriptedChatModel([])


def test_replies_are_held_to_the_schema():
    scripted, pieces = ScriptedChatModel([FITS, FITS.replace("Comedy", "Western")]), []
    reply = scripted.generate(CHAT, schema=GENRE, stream=pieces.append)
    assert pieces == [reply.text] == [FITS]
    wrong = r"^scripted did not .* \$\.genre: 'Western' is not one of.* more capable model"
    with pytest.raises(ReplyError, match=wrong):
        scripted.generate(CHAT, schema=GENRE, stream=pieces.append)
    assert len(pieces) == 1
    with pytest.raises(ReplyError, match="cut at max_new_tokens"):
        scripted.generate(CHAT, schema=GENRE, max_new_tokens=1)
    n = len(scripted.asked)
    with pytest.raises(ConfigError, match="no JSON schema"):
        scripted.generate(CHAT, schema={"type": "words"})
    for chat in ([], [{"role": "user"}], ["hello"]):
        with pytest.raises(MessageError, match="'role' and 'content'"):
            scripted.generate(chat)
    assert len(scripted.asked) == n


def test_usage_adds_up_from_several_threads():
    usage = Usage()
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: usage.add(3, 2, 0.5, counted=False), range(8000)))
    assert usage == Usage(8000, 24000, 16000, 4000.0, 8000)


def test_tidying_keeps_whole_sentences_only():
    text = '  Assistant: **Alien** is\n\nfun. It has a "cat." And then'
    assert tidy_reply(text) == 'Alien is fun. It has a "cat."' and tidy_reply("no stop") == ""
    # stops inside titles do not end a sentence
    text = "Airplane! is fun. Dr. Strange and L.A. Story too! Yes."
    assert sentences(text) == ["Airplane! is fun.", "Dr. Strange and L.A. Story too!", "Yes."]
