"""Another variant from the next message on, and the last message answered again."""

import threading

import pytest

from latentcrs_utils.conversation.session import Conversation, StoppedError
from latentcrs_utils.conversation.turn import Feedback
from latentcrs_utils.errors import ConfigError, DataError, MessageError
from tests.conversation.fakes import FakeChatModel, FakeModel

REPLY = "Film Number 7 may do."
WISH = "a western from the seventies"


def chat(user=None, chat_model=None, **more) -> Conversation:
    return Conversation(FakeModel(), user, chat_model=chat_model, **more)


def ids(turn) -> list[int]:
    return [item.item for item in turn.items]


def test_another_variant_counts_from_the_next_message_on():
    conversation = chat()
    first = conversation.say(WISH)
    conversation.use("F")
    assert conversation.variant == "F" and conversation.turns == [first]
    second = conversation.say(WISH)
    # item v has genre v mod 4 (3: Western) and the year 1950 + v
    assert ids(first) == [3, 7, 11, 15, 19] and ids(second)[:2] == [23, 27]
    conversation.use("B")
    third = conversation.say(WISH)
    assert [turn.variant for turn in conversation.turns] == ["B", "F", "B"]
    assert third.requirements == () and len(conversation.requirements) == 2
    again = Conversation.from_transcript(FakeModel(), conversation.transcript(), chat_model=None)
    assert again.turns == conversation.turns and again.variant == "B"


def test_a_change_while_a_message_is_answered_waits_for_the_next_one():
    conversation = chat()
    turn = conversation.say(WISH, watch=lambda stage, _: conversation.use("F"))
    assert turn.variant == "B" and turn.requirements == () and conversation.variant == "F"


def test_an_unknown_variant_is_refused_and_the_old_one_stays():
    conversation = chat(variant="F")
    with pytest.raises(ConfigError, match="no variant 'X'"):
        conversation.use("X")
    assert conversation.variant == "F"


def test_the_extractor_goes_with_the_variant():
    with pytest.raises(ConfigError, match="extractor='magic'"):
        chat(extractor="magic").use("F")


def test_the_last_message_is_answered_again_from_where_it_was_said():
    conversation = chat()
    first = conversation.say("drama")
    conversation.accept(ids(first)[0])
    second = conversation.say(WISH)
    conversation.reject(ids(second)[0])
    conversation.accept(ids(second)[1])
    conversation.use("F")
    new = conversation.retry()
    assert conversation.turns == [first, new] and new.number == 2 and new.message == WISH
    assert ids(new)[:2] == [23, 27] and new.variant == "F"
    assert conversation.feedback == {ids(first)[0]: "accept"}
    # what it had offered is to be had again
    conversation.use("B")
    assert ids(conversation.retry()) == ids(second)


def test_a_retry_streams_and_tells_its_stages():
    shown, stages = [], []
    conversation = chat(chat_model=FakeChatModel(REPLY, REPLY))
    conversation.say("western")
    conversation.retry(stream=shown.append, watch=lambda stage, _: stages.append(stage))
    assert shown == [REPLY] and stages == ["reading", "choosing", "writing"]
    assert conversation.turns[0].reply_source == "model"


def test_without_a_message_there_is_nothing_to_answer_again():
    conversation = chat()
    conversation.accept(3)
    with pytest.raises(MessageError, match="no message to answer again"):
        conversation.retry()
    assert conversation.undo() == Feedback("accept", 3)


class BrokenError(Exception):
    """Somebody's mistake in a callback."""


def broken(stage, turn):
    if stage == "choosing":
        raise BrokenError


@pytest.mark.parametrize("how", ["stopped", "failed"])
def test_a_retry_that_comes_to_nothing_leaves_all_as_it_was(how):
    conversation, stop = chat(), threading.Event()
    turn = conversation.say(WISH)
    conversation.accept(ids(turn)[0])
    before = conversation.transcript()
    stop.set()
    with pytest.raises(StoppedError if how == "stopped" else BrokenError):
        if how == "stopped":
            conversation.retry(stop=stop)
        else:
            conversation.retry(watch=broken)
    assert conversation.transcript() == before
    assert conversation.undo() == Feedback("accept", ids(turn)[0])


def test_a_stop_after_the_items_keeps_the_new_turn():
    stop = threading.Event()
    chat_model = FakeChatModel(REPLY, REPLY)
    conversation = chat(chat_model=chat_model)
    conversation.say("western")
    chat_model.before_piece = stop.set
    turn = conversation.retry(stop=stop)
    assert turn.why_template == "you stopped it" and conversation.turns == [turn]


def test_a_user_and_a_history_of_ones_own_exclude_each_other():
    for history in ([], [3]):
        with pytest.raises(ConfigError, match="User 42 has a history"):
            chat(42, history=history)


def test_the_state_of_a_turn_is_that_before_its_message():
    conversation = chat(history=[3])
    first = conversation.say("drama")
    conversation.accept(ids(first)[0])
    second = conversation.say("western")
    state = conversation.state
    assert state.before(first).history == [3] and not state.before(first).turns
    assert state.before(second).history == [3, ids(first)[0]]
    assert state.before(second).messages == ["drama"]
    with pytest.raises(DataError, match="none of this conversation"):
        conversation.state.before(chat().say("horror"))


def test_a_turn_that_is_being_answered_has_a_state_too():
    conversation, seen = chat(history=[3]), []

    def watch(stage, turn):
        if turn is not None:
            seen.append(conversation.state.before(turn).messages)

    conversation.say("drama", watch=watch)
    conversation.say("western", watch=watch)
    conversation.retry(watch=watch)
    assert seen == [[], ["drama"], ["drama"]]
