"""The reply: a language model's where it behaves, a plain template's elsewhere."""

import threading

import pytest

from conversation.fakes import FakeModel, FakeTalker
from latentcrs_utils.conversation import Conversation

GOOD = "Night of the Moth may be the one. It is a horror film from 1952."


def say(*replies, message="horror", user=None, **more):
    talker = FakeTalker(*replies, before_piece=more.pop("before_piece", None))
    conversation = Conversation(FakeModel(), user, talker=talker)
    return conversation.say(message, **more), talker


def test_a_good_reply_is_shown_and_billed():
    shown = []
    turn, talker = say(GOOD, stream=shown.append)
    assert (turn.reply, turn.reply_source, turn.why_template) == (GOOD, "model", None)
    assert turn.talker == "Scripted" and turn.prompt_tokens == 50 and turn.completion_tokens > 5
    assert shown == ["Night of the Moth may be the one.", " It is a horror film from 1952."]
    told = talker.asked[0][-1]["content"]
    assert "horror" in told and "Night of the Moth (1952), Film Number 6 (1956)" in told


def test_only_two_sentences_are_taken():
    turn, _ = say(f"{GOOD} And a third one. And a fourth one.")
    assert turn.reply == GOOD


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        ("Watch Dust & Thunder tonight.", "named a film that was not chosen (Dust & Thunder)"),
        ("It stars Tom Hanks.", "something that is not in the list (Tom)"),
        ("Answer in one or two short, warm sentences.", "recited its instructions"),
        ("", "it was empty"),
        ("a sentence without an end", "it broke off"),
        ("Fine. Fine.", "repeated itself"),
    ],
)
def test_a_bad_reply_is_replaced_and_the_reason_kept(reply, reason):
    shown = []
    turn, _ = say(reply, stream=shown.append)
    assert turn.reply_source == "template"
    assert reason in turn.why_template
    assert turn.draft == reply or turn.draft in reply
    assert turn.reply.startswith("Have a look at Night of the Moth (1952)")
    assert "Dust" not in "".join(shown) and "Tom" not in "".join(shown)


def test_a_bad_second_sentence_stops_the_model_and_is_never_shown():
    shown = []
    bad = f"Night of the Moth is a choice. Or see Heat instead. {'More and more words. ' * 50}"
    turn, _ = say(bad, stream=shown.append)
    assert shown == ["Night of the Moth is a choice."]
    assert turn.why_template == "it named a film that was not chosen (Heat)"
    assert len(turn.draft) < 100


def test_a_failing_model_loses_nothing():
    turn, _ = say(RuntimeError("out of memory"))
    assert turn.reply_source == "template" and len(turn.items) == 5
    assert turn.why_template == "the language model failed (RuntimeError)"


def test_stopping_keeps_what_was_said_or_falls_back_to_the_template():
    stop = threading.Event()
    turn, _ = say(GOOD, stream=lambda _: stop.set(), stop=stop)
    assert turn.reply == "Night of the Moth may be the one." and turn.reply_source == "model"
    early = threading.Event()
    turn, _ = say(GOOD, before_piece=early.set, stop=early)
    assert turn.reply_source == "template" and turn.why_template == "you stopped it"
    assert len(turn.items) == 5


def test_the_same_reply_twice_is_not_shown_twice():
    talker = FakeTalker("A fine choice for you.", "A fine choice for you.")
    conversation = Conversation(FakeModel(), 42, talker=talker)
    assert conversation.say("horror").reply_source == "model"
    assert "repeated" in conversation.say("western").why_template


def test_without_a_talker_the_template_speaks_of_the_intent_that_rose():
    conversation = Conversation(FakeModel(), 42, talker=None)
    turn = conversation.say("horror")
    assert turn.reply == (
        "Have a look at Night of the Moth (1952), or else at Film Number 6 (1956) and "
        "Film Number 10 (1960). Your words moved me towards “Horror lovers”."
    )
    assert turn.talker is None
    assert "lean on what you liked before" in conversation.say("hello").reply


def test_the_template_knows_when_little_is_known_and_little_is_left():
    assert (
        Conversation(FakeModel(), None, talker=None)
        .say("hello")
        .reply.endswith("Tell me more, and I can aim better.")
    )
    one = Conversation(FakeModel(), None, talker=None, n_items=1).say("horror")
    assert one.reply.startswith("One is left that I can suggest: Night of the Moth (1952).")
