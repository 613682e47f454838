"""A conversation, turn by turn, with a model whose numbers are known."""

import threading
from unittest.mock import Mock

import pytest
import torch

from latentcrs_utils.conversation.session import Conversation, StoppedError
from latentcrs_utils.conversation.turn import Feedback
from latentcrs_utils.errors import ConfigError, DataError, MessageError
from tests.conversation.fakes import INTENTS, FakeChatModel, FakeScorer, chat, fake_model, ids

WISH = "a western from the seventies"


def test_a_turn_offers_the_best_items_of_the_wanted_genre_that_have_a_name():
    turn = chat(user=42).say("a horror film")
    # item v has genre v mod 4; Horror is genre 2, and small ids score higher
    assert ids(turn) == [2, 6, 10, 14, 18]
    first, second, *_ = turn.items
    assert (first.label, first.genres) == ("Night of the Moth (1952)", ("Horror",))
    assert second.genres == () and first.score > second.score > turn.items[-1].score
    assert str(turn).startswith("You:    a horror film\nSystem: ")
    assert "1. Night of the Moth (1952)  [Horror]\n" in str(turn)
    conversation = chat(user=42)
    conversation.model.data.titles[2] = "Unknown title"
    turn = conversation.say("horror " * 30)
    assert ids(turn) == [6, 10, 14, 18, 22]
    assert all(len(line) <= 96 for line in str(turn).splitlines())


def test_intents_before_and_after_are_the_posterior():
    conversation = chat(user=42)
    turn, model = conversation.say("horror"), conversation.model
    S = torch.tensor([[1.0, 0, 0, 0]])  # all films of user 42 are comedies
    for told, x in ((turn.intents_before, [0.0] * 4), (turn.intents_after, [0.0, 0, 2, 0])):
        expected = model.intent_prior(S, torch.tensor([x]))[0].tolist()
        assert told == pytest.approx(dict(zip(INTENTS, expected, strict=True)))
    assert next(iter(turn.intents_after)) == next(iter(conversation.intents())) == "Horror lovers"
    assert conversation.intents() == pytest.approx(dict(turn.intents_after))


def test_all_messages_so_far_are_read_together_until_the_oldest_are_too_far_back():
    conversation = chat(user=42)
    conversation.say("a western")
    conversation.say("or a drama")
    read = conversation.model.language.read
    assert read == ["a western", "a western or a drama"]
    turn = [conversation.say(letter * 990 + " film") for letter in "bc"][-1]
    assert read[-1] == "b" * 990 + " film " + "c" * 990 + " film"
    assert "first 2 messages are no longer read" in turn.note and len(conversation.messages) == 4


@pytest.mark.parametrize("policy", ["B", "F", "V"])
def test_a_turn_encodes_and_embeds_once(policy):
    conversation = chat(policy, FakeScorer(*["..."] * 9), 42)
    sides = conversation.model.backbone, conversation.model.language
    for side in sides:
        side.encode = Mock(wraps=side.encode)

    def look(turn):
        """What the view does after a turn or a click; how often history and words were encoded."""
        conversation.intents()
        conversation.why(turn)
        conversation.markdown()
        return tuple(side.encode.call_count for side in sides)

    conversation.intents()
    assert [side.encode.call_count for side in sides] == [1, 0]
    assert look(conversation.say("a funny film")) == (1, 1)
    assert look(conversation.say("and scary")) == (1, 2)
    conversation.use("B")
    assert look(conversation.retry()) == (1, 2)
    # a click changes the history, not the words
    conversation.accept(conversation.turns[-1].items[0].item)
    assert look(conversation.turns[0]) == (2, 2)
    assert look(conversation.say("sad")) == (2, 3)


def test_history_and_offered_items_are_not_offered_again():
    conversation = chat(user=42)
    first, second = (ids(conversation.say("comedy")) for _ in range(2))
    # of user 42 are known 12, 16, 20, 24, 28; the last film, 32, is kept aside for testing
    assert first == [4, 8, 32, 36, 40] and conversation.offered == [*first, *second]
    assert not {12, 16, 20, 24, 28} & {*second} and not {*first} & {*second}


def test_an_accepted_item_joins_the_history_and_a_refused_one_leaves_it():
    conversation = chat()
    before = conversation.intents()["Western lovers"]
    conversation.accept(3)
    conversation.accept(3)
    assert conversation.history == [3] and len(conversation.events) == 1
    assert conversation.intents()["Western lovers"] > before
    conversation.reject(3)
    assert conversation.history == [] and conversation.feedback == {3: "reject"}
    assert 3 not in ids(conversation.say("western"))


def test_undo_takes_back_the_last_message_or_click():
    conversation = chat(user=42)
    start = conversation.transcript()
    turn = conversation.say("drama")
    middle = conversation.transcript()
    conversation.accept(turn.items[0].item)
    assert conversation.undo() == Feedback("accept", turn.items[0].item)
    assert conversation.transcript() == middle
    assert conversation.undo() is turn and conversation.transcript() == start
    assert conversation.undo() is None


def test_a_stranger_is_served_from_words_alone_and_told_so():
    turn = chat(history=[]).say("western")
    assert ids(turn) == [3, 7, 11, 15, 19]
    assert turn.note == "No history is known, so these films follow from your words alone."
    assert turn.intents_before == pytest.approx(dict.fromkeys(INTENTS, 0.25))
    assert chat(history=[3, 7, 11]).history == [3, 7, 11]
    assert chat(user=42).say("a film").note == ""


@pytest.mark.parametrize("act", ["accept", "reject", "label", "say"])
def test_what_is_refused_changes_nothing(act):
    conversation = chat(user=42)
    conversation.say("drama")
    before, read = conversation.transcript(), list(conversation.model.language.read)
    values, error, told = (0, -1, 41, "2", 2.0, None), DataError, "item ids go from 1 to 40"
    if act == "say":
        values, error, told = ("", "  ", "x" * 10_000, None), MessageError, "message"
    for value in values:
        with pytest.raises(error, match=told):
            getattr(conversation, act)(value)
    assert conversation.transcript() == before and conversation.model.language.read == read


def test_an_exhausted_catalogue_offers_the_rest_then_says_so():
    conversation = Conversation(fake_model(n_items=33), chat_model=None, n_items=30)
    conversation.say("anything")
    rest = conversation.say("more")
    assert len(rest.items) == 3 and "Only 3 of the 30 places could be filled" in rest.note
    before = conversation.transcript()
    with pytest.raises(MessageError, match="Nothing is left to offer"):
        conversation.say("still more")
    assert conversation.transcript() == before


def test_stages_are_announced_with_the_items_before_the_reply():
    seen, conversation = [], chat(chat_model=FakeChatModel("The Quiet Harbour may do."))
    turn = conversation.say("comedy", watch=lambda stage, turn: seen.append((stage, turn)))
    assert [stage for stage, _ in seen] == ["reading", "choosing", "writing"] == [*turn.seconds]
    assert [turn is None for _, turn in seen] == [True, True, False]
    assert len(seen[2][1].items) == 5 and seen[2][1].reply == ""


def test_another_policy_counts_from_the_next_message_on():
    conversation = chat()
    first = conversation.say(WISH)
    conversation.use("F")
    second = conversation.say(WISH)
    # item v has genre v mod 4 (3: Western) and the year 1950 + v
    assert ids(first) == [3, 7, 11, 15, 19] and ids(second)[:2] == [23, 27]
    # a change while a message is answered waits for the next one
    third = conversation.say(WISH, watch=lambda *_: conversation.use("B"))
    assert third.policy == "F" and conversation.policy == "B"
    fourth = conversation.say(WISH)
    assert [turn.policy for turn in conversation.turns] == ["B", "F", "F", "B"]
    assert fourth.requirements == () and len(conversation.requirements) == 2


@pytest.mark.parametrize(
    ("setting", "reason"),
    [
        ({"n_items": 0}, "at least one item"),
        ({"n_items": 2.5}, "at least one item, not 2.5"),
        ({"history": [3]}, "User 42 has a history"),
        ({"policy": "X"}, "no policy 'X': choose 'B', 'A', 'F' or 'V'"),
        ({"extractor": "regex"}, "'regex' is not one of lexicon, model, both, classifier"),
        ({"user": 43}, r"no user '43'.*for example 7, 42, 99"),
        ({"user": None, "history": [1, 41]}, "There is no item 41"),
    ],
)
def test_senseless_settings_are_refused(setting, reason):
    with pytest.raises(DataError if "user" in setting else ConfigError, match=reason):
        chat(**{"user": 42, **setting})


def test_the_last_message_is_answered_again_from_where_it_was_said():
    conversation = chat()
    first = conversation.say("drama")
    conversation.accept(ids(first)[0])
    second = conversation.say(WISH)
    conversation.reject(ids(second)[0])
    conversation.use("F")
    new = conversation.retry()
    assert conversation.turns == [first, new] and new.number == 2 and new.message == WISH
    assert ids(new)[:2] == [23, 27] and new.policy == "F"
    assert conversation.feedback == {ids(first)[0]: "accept"}
    # what it had offered is to be had again
    conversation.use("B")
    assert ids(conversation.retry()) == ids(second)


def broken(stage, turn):
    if stage == "choosing":
        raise RuntimeError


@pytest.mark.parametrize(
    ("said", "stops", "error"),
    [(True, True, StoppedError), (True, False, RuntimeError), (False, False, MessageError)],
)
def test_what_comes_to_nothing_leaves_all_as_it_was(said, stops, error):
    conversation, stop = chat(), threading.Event()
    if said:
        conversation.say(WISH)
    conversation.accept(3)
    before = conversation.transcript()
    if stops:
        stop.set()
    with pytest.raises(error):
        conversation.retry(stop=stop, watch=broken)
    if said:
        with pytest.raises(error):
            conversation.say("drama", stop=stop, watch=broken)
    assert conversation.transcript() == before
    assert conversation.undo() == Feedback("accept", 3)


def test_the_state_of_a_turn_is_that_before_its_message():
    conversation, seen = chat(history=[3]), []

    def watch(stage, turn):
        if turn is not None:  # a turn that is being answered has a state too
            seen.append(conversation.before(turn).messages)

    first = conversation.say("drama", watch=watch)
    conversation.accept(ids(first)[0])
    conversation.say("western", watch=watch)
    second = conversation.retry(watch=watch)
    assert seen == [[], ["drama"], ["drama"]]
    assert conversation.before(first).history == [3] and not conversation.before(first).turns
    assert conversation.before(second).history == [3, ids(first)[0]]
    with pytest.raises(DataError, match="none of this conversation"):
        conversation.before(chat().say("horror"))


@pytest.mark.parametrize("policy", ["B", "F", "V"])
def test_small_talk_changes_nothing_but_is_kept(policy):
    conversation = chat(policy, user=42)
    first = conversation.say("a western, no horror")
    state, read = conversation.requirements, list(conversation.model.language.read)
    aside = conversation.say("hi, how are you?")
    assert (aside.number, aside.items, conversation.why(aside)) == (0, (), ())
    assert conversation.turns == [first] and conversation.answers == [first, aside]
    assert conversation.requirements == state and conversation.model.language.read == read
    page = conversation.markdown()
    assert "> hi, how are you?" in page and aside.reply.split(";")[0] in page and "## 0" not in page
    stored = conversation.transcript()
    again = Conversation.from_transcript(conversation.model, stored, chat_model=None)
    assert again.transcript() == stored and again.answers == [first, aside]
    assert conversation.retry().number == 0 and conversation.answers[:-1] == [first]
    assert conversation.say("a drama").number == 2 and conversation.undo().number == 2
    assert conversation.undo().number == 0 and conversation.undo() == first


def test_a_model_that_reads_other_languages_gets_them():
    conversation = chat()
    assert conversation.say("ich möchte eine Komödie").reply.startswith("I read only English")
    conversation.model.language.embedder.multilingual = True
    assert len(conversation.say("ich möchte eine Komödie").items) == 5
    del conversation.model.language.embedder.multilingual


@pytest.mark.parametrize("act", ["say", "retry"])
def test_a_second_message_at_the_same_time_is_refused(act):
    conversation, refused = chat(user=42), []

    def watch(stage, turn):
        with pytest.raises(MessageError, match="Another message is being answered"):
            conversation.say("horror") if act == "say" else conversation.retry()
        refused.append(stage)

    conversation.say("drama")
    turn = conversation.say("western", watch=watch)
    assert len(refused) == 3 and conversation.turns[1:] == [turn]
    begun, go = threading.Event(), threading.Event()
    slow = {"watch": lambda stage, _: stage == "reading" and (begun.set(), go.wait(10))}
    thread = threading.Thread(target=conversation.say, args=["a comedy"], kwargs=slow)
    thread.start()
    assert begun.wait(10)
    with pytest.raises(MessageError, match="Another message"):
        conversation.say("horror")
    go.set()
    thread.join()
    assert [turn.message for turn in conversation.turns] == ["drama", "western", "a comedy"]


@pytest.mark.parametrize("policy", ["B", "F", "V"])
def test_titles_do_what_the_data_does_not_tell(policy):
    conversation = chat(policy, user=42)
    conversation.model.data.titles[33] = "Santa Works Late"
    turn = conversation.say("a Christmas movie, something funny")
    assert ids(turn)[0] == 33 or policy == "F"
    assert ("went by titles" in turn.reply) == (33 in ids(turn)) and "“Christmas”" in turn.reply
    refused = chat(policy)
    refused.model.data.titles[4] = "Santa Works Late"
    assert 4 not in ids(refused.say("a comedy, but no Christmas"))


def test_the_words_are_a_template_s_until_a_model_s_are_asked_for():
    chat_model = FakeChatModel("The Quiet Harbour may do.")
    conversation = chat(chat_model=chat_model, wording="template")
    assert conversation.say("western").reply_source == "template" and not chat_model.asked
    conversation.use_wording("model")
    assert conversation.say("comedy").chat_model == "Scripted" and len(chat_model.asked) == 1
    with pytest.raises(ConfigError, match="no wording 'llm'"):
        conversation.use_wording("llm")
