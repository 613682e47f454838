"""Two hundred sessions at once over one model: each is what it would be alone, bit by bit."""

from __future__ import annotations

import random
import statistics
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from latentcrs_utils.conversation.session import Conversation
from latentcrs_utils.conversation.turn import Turn
from tests.stress.stages import Course
from tests.stress.test_messages import PIECES

pytestmark = pytest.mark.stress
N_SESSIONS = 200
MEGABYTES = 4.0  # a session at most


def play(course: Course, seed: int, number: int, ready: threading.Barrier | None = None) -> tuple:
    """A session of several messages, clicks and second thoughts; seconds of each answer."""
    rng, seconds = random.Random(f"{seed} {number}"), list[float]()
    user = rng.choice([*course.data.users["raw_user"], None])
    chat = Conversation(course.fit_em, user, policy=rng.choice("BFV"))
    if ready is not None:
        ready.wait()
    for _ in range(rng.randint(3, 6)):
        if chat.turns and chat.turns[-1].items and rng.random() < 0.6:
            item = rng.choice(chat.turns[-1].items).item
            step = rng.choice([chat.accept, chat.reject, lambda _: chat.undo()])
            step(item)
        if rng.random() < 0.2:
            chat.use(rng.choice("BFV"))
        genres = rng.choice(course.data.items["genres"].to_list())
        wish = f"{rng.choice(PIECES['wishes'])} {' '.join(genres)} {rng.randint(1930, 1999)}"
        started = time.perf_counter()
        chat.say(wish)
        seconds.append(time.perf_counter() - started)
    return chat, seconds


def plain(chat: Conversation) -> list:
    """All that happened in a session, times aside: every score and probability, every word."""
    timeless = [replace(e, seconds={}) if isinstance(e, Turn) else e for e in chat.events]
    return [chat.user, chat.policy, chat.history, chat.intents(), timeless]


def test_sessions_at_once_equal_their_sequential_twins(
    course: Course, seed: int, report: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    play(course, seed, -1)  # weights are loaded, and what is computed once for all is there
    memory, ready = psutil.Process().memory_info, threading.Barrier(N_SESSIONS)
    before = memory().rss
    started = time.perf_counter()
    with ThreadPoolExecutor(N_SESSIONS) as pool:
        done = [pool.submit(play, course, seed, n, ready) for n in range(N_SESSIONS)]
        sessions = [future.result() for future in done]
    lasted = time.perf_counter() - started
    each = (memory().rss - before) / N_SESSIONS / 1e6
    # the twins embed their messages themselves
    monkeypatch.setattr(course.embed.embedder, "_store", None)
    mixed = [
        number
        for number, (chat, _) in enumerate(sessions)
        if plain(chat) != plain(play(course, seed, number)[0])
    ]
    assert not mixed, f"seed {seed}: sessions {mixed} differ from their twins"
    assert each < MEGABYTES, f"{each:.1f} MB a session"
    seconds = sorted(s for _, spent in sessions for s in spent)
    p = statistics.quantiles(seconds, n=100)
    report(
        "sessions", at_once=N_SESSIONS, messages=len(seconds), mixed=0, seconds=lasted,
        p50_s=p[49], p95_s=p[94], p99_s=p[98], MB_a_session=each,
    )  # fmt: skip
