"""A thousand hostile messages: each gives a turn, or one clear sentence; never anything else."""

from __future__ import annotations

import json
import random
import re
import time
import tomllib
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from latentcrs_utils.conversation.guards import MESSAGE_LIMIT, guard_for, may_be_text
from latentcrs_utils.conversation.session import Conversation
from latentcrs_utils.errors import LatentCRSError
from latentcrs_utils.language.chat_model import Reply
from tests.stress.stages import Course

pytestmark = pytest.mark.stress
N_MESSAGES = 1000
SECONDS = 3.0  # of this thread's processor time, so that other work does not count
PIECES = tomllib.loads(Path(__file__).with_name("hostile.toml").read_text(encoding="utf-8"))
NO_TEXT = (None, 7, b"a comedy", ["a comedy"], "", " \n\t ", "\u200b", "\ud800", "\0\0")
_LABEL = re.compile(r"(.*?) \((\d{4})\)")


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


class Parrot:
    """A chat model that repeats the wish, as a model that was talked over would."""

    name, score = "parrot", None

    def generate(self, messages, *, max_new_tokens, schema=None, stream=None, stop=None):
        return Reply(messages[-1]["content"], 1, 1, 0.0, self.name)


@pytest.mark.parametrize("policy", ["B", "F"])
def test_every_message_gives_a_turn_or_one_sentence(
    course: Course, policy: str, seed: int, report: Callable
) -> None:
    rng, model, data = random.Random(f"{seed} {policy}"), course.fit_em, course.data
    users, guard = [*data.users["raw_user"], None], guard_for(data)
    labels = {(data.title(item), row["year"]) for item in range(1, data.n_items + 1)
              for row in [data.item(item)]}  # fmt: skip
    seen, slowest = Counter(), 0.0
    for number in range(N_MESSAGES):
        if number % 5 == 0:
            parrot = Parrot() if number % 10 else None
            chat = Conversation(model, rng.choice(users), chat_model=parrot, policy=policy)
        text, before = hostile(rng), chat.events
        where = f"seed {seed}, policy {policy}, message {number}: {text!r:.300}"
        started = time.thread_time()
        try:
            turn = chat.say(text)
        except LatentCRSError as error:
            said = str(error)
            assert said.endswith(".") and "\n" not in said and len(said) < 400, where
            assert all(map(may_be_text, said)) and chat.events == before, where
            seen["refused in one sentence"] += 1
        except BaseException:
            print(where)
            raise
        else:
            reply, titles = turn.reply, [item.title for item in turn.items]
            assert {(item.title, item.year) for item in turn.items} <= labels, where
            assert reply and all(map(may_be_text, reply)), where
            # the name of an intent, which is quoted, holds titles of what such users chose
            assert guard.foreign_title(re.sub("“.*?”", "", reply), titles) is None, where
            for before_year, year in _LABEL.findall(reply):
                known = (title for title, y in labels if y == int(year))
                assert any(before_year.endswith(title) for title in known), where
            if turn.reply_source == "template":
                # the user's words are at most quoted
                assert "zq7x" not in re.sub(r"“.*?”|'.*?'|\".*?\"", "", reply).casefold(), where
            seen[f"answered by {turn.reply_source}"] += 1
        slowest = max(slowest, spent := time.thread_time() - started)
        assert spent < SECONDS, f"{where} took {spent:.1f} s"
        if number % 5 == 4:
            assert chat.markdown()
            values = json.loads(json.dumps(chat.transcript()))
            copied = Conversation.from_transcript(model, values, chat_model=None)
            assert copied.messages == chat.messages, where
    assert seen.total() == N_MESSAGES and min(seen.values()) > 20
    counts = ", ".join(f"{n} {what}" for what, n in sorted(seen.items()))
    report("hostile messages", **{policy: f"{N_MESSAGES} ({counts})", f"slowest_{policy}": slowest})
