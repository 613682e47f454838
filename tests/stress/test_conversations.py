"""A thousand hostile messages, and two hundred sessions at once over one model."""

import json
import random
import re
import statistics
import sys
import threading
import time
import tomllib
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from latentcrs_utils.conversation.guards import MESSAGE_LIMIT, guard_for, may_be_text
from latentcrs_utils.conversation.session import Conversation
from latentcrs_utils.conversation.turn import Turn
from latentcrs_utils.errors import LatentCRSError
from latentcrs_utils.language.chat_model import Reply
from tests.stress.conftest import SEED, figures, scaled

pytestmark = pytest.mark.stress
SECONDS, MEGABYTES = 3.0, 4.0  # at most: processor time of a message; a session among 200
PIECES = tomllib.loads(Path(__file__).with_name("hostile.toml").read_text(encoding="utf-8"))
# a chat model that repeats the wish, as a model that was talked over would
PARROT = SimpleNamespace(name="parrot", score=None)
PARROT.generate = lambda messages, **_: Reply(messages[-1]["content"], 1, 1, 0.0, "parrot")
NO_TEXT = (None, 7, b"a comedy", ["a comedy"], "", " \n\t ", "\u200b", "\ud800", "\0\0")


def hostile(rng: random.Random) -> object:
    """A message: pieces joined, repeated, broken, or no text at all."""
    if rng.random() < 0.03:
        return rng.choice(NO_TEXT)
    pieces = [rng.choice(PIECES[rng.choice([*PIECES])]) for _ in range(rng.randint(1, 5))]
    text = rng.choice([" ", " ", "", ", ", "\n", "\0", ". "]).join(pieces)
    if rng.random() < 0.15:
        text *= rng.choice([2, 20, MESSAGE_LIMIT // len(text) + 1, 100_000 // len(text)])
    if rng.random() < 0.3:
        text = text[: rng.choice([MESSAGE_LIMIT, MESSAGE_LIMIT + 1, len(text) // 2 + 1])]
    for _ in range(rng.choice([0, 0, 1, 5])):
        place = rng.randint(0, len(text))
        text = text[:place] + chr(rng.randrange(0x110000)) + text[place:]
    return text


def test_every_message_gives_a_turn_or_one_sentence(world: dict) -> None:
    rng, data, model = random.Random(SEED), world["data"], world["fit_em"]
    users, guard = [*data.users["raw_user"], None], guard_for(data, "item")
    labels = {(data.title(i), data.item(i)["year"]) for i in range(1, data.n_items + 1)}
    sources, slowest, n_messages = Counter(), 0.0, scaled(1000)
    for number in range(n_messages):
        if number % 5 == 0:
            policy, parrot = "BF"[number // 5 % 2], (None, PARROT)[number // 10 % 2]
            chat = Conversation(model, rng.choice(users), chat_model=parrot, policy=policy)
        text, before, started = hostile(rng), chat.events, time.thread_time()
        where = f"seed {SEED}, policy {policy}, message {number}: {text!r:.300}"
        try:
            turn = chat.say(text)
        except LatentCRSError as error:
            reply, source = str(error), "one sentence that refuses it"
            assert reply.endswith(".") and "\n" not in reply and len(reply) < 400, where
            assert chat.events == before, where
        except BaseException as error:
            raise AssertionError(f"{where} ended in {error!r}") from error
        else:
            reply, source = turn.reply, turn.reply_source
            assert {(item.title, item.year) for item in turn.items} <= labels, where
            # the name of an intent, which is quoted, holds titles of what such users chose
            titles, unquoted = [item.title for item in turn.items], re.sub("“.*?”", "", reply)
            assert guard.foreign_title(unquoted, titles) is None, where
            for said, year in re.findall(r"(.*?) \((\d{4})\)", reply):
                assert any(said.endswith(t) for t, y in labels if y == int(year)), where
            # the user's words are at most quoted
            own = re.sub(r"'.*?'|\".*?\"", "", unquoted).casefold()
            assert source != "template" or "zq7x" not in own, where
        slowest = max(slowest, spent := time.thread_time() - started)
        assert spent < SECONDS, f"{where} took {spent:.1f} s"
        assert reply and all(map(may_be_text, reply)), where
        sources[source] += 1
        if number % 5 == 4:
            copied = Conversation.from_transcript(model, json.loads(json.dumps(chat.transcript())))
            assert chat.markdown() and copied.messages == chat.messages, where
    assert len(sources) > 1 and min(sources.values()) > n_messages / 50, sources
    answers = ", ".join(f"{n} by {source}" for source, n in sources.most_common())
    figures["hostile messages"].append(
        f"{n_messages}, B and F in turn: {answers}, 0 other exceptions; slowest {slowest:.2f} s"
    )


def play(world: dict, number: int, ready=lambda: None) -> tuple:
    """A session of a few messages, clicks and second thoughts; seconds of each answer."""
    rng, seconds = random.Random(f"{SEED} {number}"), list[float]()
    users = [*world["data"].users["raw_user"], None]
    chat = Conversation(world["fit_em"], rng.choice(users), policy=rng.choice("BFV"))
    ready()
    for _ in range(rng.randint(2, 4)):
        if chat.turns and chat.turns[-1].items and rng.random() < 0.6:
            item = rng.choice(chat.turns[-1].items).item
            rng.choice([chat.accept, chat.reject, lambda _: chat.undo()])(item)
        if rng.random() < 0.2:
            chat.use(rng.choice("BFV"))
        started = time.perf_counter()
        chat.say(f"{rng.choice(PIECES['wishes'])} {rng.randint(1930, 1999)}")
        seconds.append(time.perf_counter() - started)
    return chat, seconds


def plain(chat: Conversation) -> list:
    """All that happened in a session, times aside: every score and probability, every word."""
    timeless = [replace(e, seconds={}) if isinstance(e, Turn) else e for e in chat.events]
    return [chat.user, chat.policy, chat.history, chat.intents(), timeless]


def test_sessions_at_once_equal_their_sequential_twins(world: dict, monkeypatch) -> None:
    play(world, -1)  # weights are loaded, and what is computed once for all is there
    n, memory = scaled(200), psutil.Process().memory_info
    before, ready, started = memory().rss, threading.Barrier(n), time.perf_counter()
    sys.setswitchinterval(1e-4)  # what threads share shows itself when they take turns often
    with ThreadPoolExecutor(n) as pool:
        sessions = [*pool.map(lambda number: play(world, number, ready.wait), range(n))]
    sys.setswitchinterval(5e-3)
    lasted, each = time.perf_counter() - started, (memory().rss - before) / n / 1e6
    # the twins embed their messages themselves
    monkeypatch.setattr(world["embed"].embedder, "_store", None)
    mixed = [i for i, (chat, _) in enumerate(sessions) if plain(chat) != plain(play(world, i)[0])]
    assert not mixed, f"seed {SEED}: sessions {mixed} differ from their twins"
    p = statistics.quantiles(seconds := [s for _, spent in sessions for s in spent], n=100)
    figures["sessions"].append(
        f"{n} at once, {len(seconds)} messages in {lasted:.0f} s, 0 mixed; an answer after "
        f"{p[49]:.2f} s (p50), {p[94]:.2f} s (p95), {p[98]:.2f} s (p99); {each:.2f} MB a session"
    )
    assert each * n / 200 < MEGABYTES, f"{each:.1f} MB a session"
