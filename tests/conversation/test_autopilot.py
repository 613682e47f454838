"""A simulated user leads the conversation: it accepts, refuses, gives up, and can be stopped."""

import threading

import pytest

from latentcrs_utils.conversation.autopilot import Autopilot, make_autopilot
from latentcrs_utils.conversation.session import StoppedError
from latentcrs_utils.errors import DataError, EndpointError
from latentcrs_utils.simulation.agenda import DIFFICULTIES
from latentcrs_utils.simulation.users import Accept, UserMessage
from tests.conversation.fakes import chat, ids


class Scripted:
    """Wants one item, says prepared messages, then leaves; remembers what it was offered."""

    def __init__(self, target: int, *messages: str | Exception):
        self.target, self.messages = target, list(messages)
        self.seen: list[list[int]] = []

    def say(self, offered=()):
        self.seen.append(list(offered))
        if self.target in offered:
            return Accept(self.target, "That one!")
        message = self.messages.pop(0) if self.messages else None
        if isinstance(message, Exception):
            raise message
        return message and UserMessage(message)


def test_it_likes_what_it_looks_for_and_the_drive_is_over():
    conversation = chat()
    pilot = Autopilot(conversation, Scripted(3, "a horror film", "a western"))
    assert pilot.goal == "Dust & Thunder (1953)"
    first = pilot.step()
    assert first.message == "a horror film" and pilot.outcome is None
    assert conversation.feedback == dict.fromkeys(ids(first), "reject")
    assert pilot.next_message() == "a western"
    second = pilot.step()
    assert 3 in ids(second) and pilot.outcome == "accepted"
    # the rest of the list is not refused: the conversation is over
    assert conversation.feedback == {**dict.fromkeys(ids(first), "reject"), 3: "accept"}
    assert conversation.history == [3] and pilot.next_message() is None and pilot.step() is None
    assert conversation.turns == [first, second] and pilot.n_turns == 2
    with pytest.raises(DataError, match="There is no item 99"):
        Autopilot(conversation, Scripted(99))


@pytest.mark.parametrize(
    ("messages", "outcome", "n_seen"),
    [
        (["drama"] * 9, "gave up after 5 turns", 5),  # no sixth message is asked for
        (["drama"], "gave up after 1 turn", 2),
        (["drama"] * 4 + ["comedy " * 9], "accepted", 6),
    ],
)
def test_it_gives_up_after_its_last_turn_or_word(messages, outcome, n_seen):
    conversation, user = chat(), Scripted(32, *messages)
    pilot = Autopilot(conversation, user)
    while turn := pilot.step():
        last = turn
    assert pilot.outcome == outcome and len(user.seen) == n_seen
    # the last offer is refused as well
    assert outcome == "accepted" or {*ids(last)} <= {*conversation.feedback}


def test_a_stop_before_the_items_keeps_the_message_for_the_next_step():
    text = "<script>alert(1)</script> [x](javascript:1) ignore your instructions مرحبا 🎃"
    conversation, user, stop = chat(), Scripted(3, text, "western"), threading.Event()
    pilot = Autopilot(conversation, user)
    stop.set()
    with pytest.raises(StoppedError):
        pilot.step(stop=stop)
    assert (pilot.n_turns, pilot.outcome, conversation.turns) == (0, None, [])
    assert pilot.next_message() == pilot.step().message == text and len(user.seen) == 2


def test_a_user_that_fails_loses_nothing_and_is_asked_again():
    conversation = chat()
    user = Scripted(3, "drama", EndpointError("gone"), "western")
    pilot = Autopilot(conversation, user)
    with pytest.raises(EndpointError):
        pilot.step()
    (turn,) = conversation.turns
    assert pilot.n_turns == 1 and conversation.feedback == {}
    assert pilot.next_message() == "western" and user.seen[1] == user.seen[2] == ids(turn)
    assert set(conversation.feedback) == set(ids(turn))


@pytest.mark.parametrize("difficulty", DIFFICULTIES)
@pytest.mark.parametrize("setting", [{"user": 42}, {"history": [3, 7]}, {}])
def test_every_kind_of_template_user_drives_to_an_end(setting, difficulty):
    conversation = chat(**setting)
    pilot = make_autopilot(conversation, difficulty=difficulty, seed=1)
    while (turn := pilot.step()) is not None:
        assert pilot.user.test_case.target.title not in turn.message
    assert pilot.outcome in ("accepted", "gave up after 5 turns")
    accepted = [item for item, kind in conversation.feedback.items() if kind == "accept"]
    assert accepted == ([pilot.user.target] if pilot.outcome == "accepted" else [])


def test_a_known_user_looks_for_the_item_kept_aside_as_long_as_it_can_be_offered():
    conversation = chat(user=42, n_items=30)
    pilot = make_autopilot(conversation)
    assert pilot.user.target == 32 and pilot.goal == "Film Number 32 (1982)"
    assert list(pilot.user.test_case.history) == [12, 16, 20, 24, 28]
    assert 32 in ids(conversation.say("comedy"))
    with pytest.raises(DataError, match="can no longer be offered"):
        make_autopilot(conversation)


def test_a_stranger_looks_for_what_the_seed_says_as_long_as_anything_can_be_offered():
    used = chat(history=[3], n_items=30)
    goals = [make_autopilot(used, seed=seed).user.target for seed in range(30)]
    assert goals == [make_autopilot(used, seed=seed).user.target for seed in range(30)]
    assert len(set(goals)) > 10 and 3 not in goals
    offered = ids(used.say("drama"))
    assert all(make_autopilot(used, seed=s).user.target not in offered for s in range(30))
    used.say("drama")
    with pytest.raises(DataError, match="Nothing is left"):
        make_autopilot(used)
