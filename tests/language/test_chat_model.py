"""Prepared replies, and what holds for every ChatModel."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from latentcrs_utils.errors import ConfigError, ReplyError
from latentcrs_utils.language.chat_model import ScriptedChatModel, Usage

from .chat_server import CHAT, FITS, GENRE


def test_it_says_its_lines():
    scripted, pieces = ScriptedChatModel(["one two three", ValueError("broken")]), []
    reply = scripted.generate(CHAT, stream=pieces.append)
    assert reply.text == "one two three" == "".join(pieces)
    assert (reply.prompt_tokens, reply.completion_tokens) == (4, 3)
    with pytest.raises(ValueError, match="broken"):
        scripted.generate(CHAT)
    assert scripted.generate(CHAT, max_new_tokens=2).text == "one two"
    assert scripted.asked == [CHAT] * 3 and scripted.schemas == [None] * 3
    assert scripted.usage == Usage(calls=2, prompt_tokens=8, completion_tokens=5)
    stop = threading.Event()
    stop.set()
    assert ScriptedChatModel(["never"]).generate(CHAT, stop=stop).finish == "stopped"
    assert scripted.score is None


def test_scripted_replies_are_held_to_the_schema():
    scripted, pieces = ScriptedChatModel([FITS, FITS.replace("Comedy", "Western")]), []
    reply = scripted.generate(CHAT, schema=GENRE, stream=pieces.append)
    assert pieces == [reply.text] == [FITS]
    with pytest.raises(ReplyError, match=r"scripted did not .* \$\.genre: 'Western' is not one of"):
        scripted.generate(CHAT, schema=GENRE, stream=pieces.append)
    assert len(pieces) == 1 and scripted.schemas == [GENRE, GENRE]
    with pytest.raises(ReplyError, match="cut at max_new_tokens"):
        scripted.generate(CHAT, schema=GENRE, max_new_tokens=1)
    with pytest.raises(ConfigError, match="no JSON schema"):
        scripted.generate(CHAT, schema={"type": "words"})
    with pytest.raises(ConfigError, match="at least one reply"):
        ScriptedChatModel([])


def test_a_bill_adds_up_from_several_threads():
    usage = Usage()
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: usage.add(3, 2, 0.5, counted=False), range(8000)))
    assert usage == Usage(8000, 24000, 16000, 4000.0, 8000)
