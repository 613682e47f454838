"""A conversation, turn by turn, with a model whose numbers are known."""

import threading
from dataclasses import replace

import polars as pl
import pytest
import torch

from latentcrs_utils.conversation.session import Conversation, StoppedError
from latentcrs_utils.conversation.turn import Feedback
from latentcrs_utils.errors import ConfigError, DataError, MessageError
from tests.conversation.fakes import (
    GENRES,
    N_ITEMS,
    FakeChatModel,
    FakeModel,
    FakeScorer,
    ids,
    known_model,
)

REPLY = "Film Number 7 may do."
WISH = "a western from the seventies"


@pytest.fixture
def model() -> FakeModel:
    return FakeModel()


def chat(model: FakeModel, user=42, chat_model=None, **more) -> Conversation:
    return Conversation(model, user, chat_model=chat_model, **more)


def test_a_turn_offers_the_best_items_of_the_wanted_genre(model):
    turn = chat(model).say("a horror film")
    # item v has genre v mod 4; Horror is genre 2, and small ids score higher
    assert ids(turn) == [2, 6, 10, 14, 18]
    assert [item.title for item in turn.items][:2] == ["Night of the Moth", "Film Number 6"]
    assert turn.items[0].year == 1952 and turn.items[0].genres == ("Horror",)
    assert turn.items[1].genres == ()
    assert [item.score for item in turn.items] == sorted(
        (item.score for item in turn.items), reverse=True
    )


def test_an_item_without_a_name_is_never_offered(model):
    nameless = pl.when(pl.col("item") == 2).then(pl.lit("Unknown title"))
    items = model.data.items.with_columns(nameless.otherwise(pl.col("title")).alias("title"))
    model = replace(model, data=replace(model.data, items=items))
    assert ids(chat(model).say("a horror film")) == [6, 10, 14, 18, 22]


def test_intents_before_and_after_are_the_posterior(model):
    conversation = chat(model)
    turn = conversation.say("horror")
    S = torch.tensor([[1.0, 0, 0, 0]])  # all films of user 42 are comedies
    before = model.intent_prior(S, torch.zeros(1, 4))[0]
    after = model.intent_prior(S, torch.tensor([[0.0, 0, 2, 0]]))[0]
    for j, genre in enumerate(GENRES):
        assert turn.intents_before[f"{genre} lovers"] == pytest.approx(before[j].item())
        assert turn.intents_after[f"{genre} lovers"] == pytest.approx(after[j].item())
    assert next(iter(turn.intents_after)) == "Horror lovers"
    assert conversation.intents() == pytest.approx(dict(turn.intents_after))
    assert next(iter(conversation.intents())) == "Horror lovers"


def test_all_messages_so_far_are_read_together(model):
    conversation = chat(model)
    conversation.say("a western")
    conversation.say("or a drama")
    assert model.language.read == ["a western", "a western or a drama"]
    assert conversation.messages == ["a western", "or a drama"]


class Counted:
    """What an encoder or an embedder was asked for."""

    def __init__(self, encode):
        self.encode, self.calls = encode, 0

    def __call__(self, *asked, **options):
        self.calls += 1
        return self.encode(*asked, **options)


@pytest.mark.parametrize("policy", ["B", "F", "V"])
def test_a_turn_encodes_and_embeds_once(policy):
    model = known_model()
    encode, embed = Counted(model.backbone.encode), Counted(model.language.encode)
    model.backbone.encode, model.language.encode = encode, embed
    conversation = Conversation(
        model, 42, chat_model=FakeScorer(*["..."] * 9), policy=policy, extractor="lexicon"
    )

    def look(turn):
        """What the view does after a turn or a click."""
        conversation.intents()
        conversation.why(turn)
        conversation.markdown()
        return encode.calls, embed.calls

    conversation.intents()
    assert (encode.calls, embed.calls) == (1, 0)
    first = conversation.say("a funny film")
    assert look(first) == (1, 1)
    second = conversation.say("and scary")
    assert look(second) == (1, 2)
    conversation.retry()
    conversation.use("B")
    assert look(conversation.retry()) == (1, 2)
    # a click changes the history, not the words
    conversation.accept(conversation.turns[-1].items[0].item)
    assert look(first) == (2, 2)
    assert look(conversation.say("sad")) == (2, 3)


def test_history_and_offered_items_are_not_offered_again(model):
    conversation = chat(model)
    first, second = ids(conversation.say("comedy")), ids(conversation.say("comedy"))
    known = {12, 16, 20, 24, 28}  # the last film of user 42, 32, is kept aside for testing
    assert not {*first, *second} & known
    assert not {*first} & {*second}
    assert first == [4, 8, 32, 36, 40]
    assert conversation.offered == [*first, *second]


def test_an_accepted_item_joins_the_history(model):
    conversation = chat(model, user=None)
    before = conversation.intents()["Western lovers"]
    conversation.accept(3)
    conversation.accept(3)
    assert conversation.history == [3]
    assert conversation.intents()["Western lovers"] > before
    conversation.reject(3)
    assert conversation.history == [] and conversation.feedback == {3: "reject"}
    assert 3 not in ids(conversation.say("western"))


def test_undo_takes_back_the_last_message_or_click(model):
    conversation = chat(model)
    start = conversation.transcript()
    turn = conversation.say("drama")
    middle = conversation.transcript()
    conversation.accept(turn.items[0].item)
    assert conversation.undo().item == turn.items[0].item
    assert conversation.transcript() == middle
    assert conversation.undo() is turn
    assert conversation.transcript() == start
    assert conversation.undo() is None


def test_a_stranger_is_served_from_words_alone_and_told_so(model):
    for conversation in (chat(model, user=None), chat(model, user=None, history=[])):
        turn = conversation.say("western")
        assert ids(turn) == [3, 7, 11, 15, 19]
        assert turn.note == "No history is known, so these films follow from your words alone."
        assert turn.intents_before == pytest.approx({f"{g} lovers": 0.25 for g in GENRES})
    assert chat(model, user=None, history=[3, 7, 11]).history == [3, 7, 11]
    assert chat(model).say("hello").note == ""


def test_an_unknown_user_is_named_with_those_who_exist(model):
    with pytest.raises(DataError, match=r"no user '43'.*for example 7, 42, 99"):
        Conversation(model, 43)


@pytest.mark.parametrize("item", [0, -1, N_ITEMS + 1, "2", 2.0, None])
def test_an_unknown_item_is_refused_and_changes_nothing(model, item):
    conversation = chat(model)
    conversation.say("drama")
    before = conversation.transcript()
    for act in (conversation.accept, conversation.reject, conversation.label):
        with pytest.raises(DataError, match=f"item ids go from 1 to {N_ITEMS}"):
            act(item)
    with pytest.raises(DataError, match="There is no item"):
        Conversation(model, history=[1, item])
    assert conversation.transcript() == before


@pytest.mark.parametrize("message", ["", "  ", "x" * 10_000, None])
def test_a_refused_message_changes_nothing(model, message):
    conversation = chat(model)
    conversation.say("drama")
    before, read = conversation.transcript(), list(model.language.read)
    with pytest.raises(MessageError):
        conversation.say(message)
    assert conversation.transcript() == before and model.language.read == read


def test_an_exhausted_catalogue_offers_the_rest_then_says_so():
    conversation = chat(FakeModel(n_items=33), user=None, n_items=30)
    assert conversation.say("anything").note.startswith("No history is known")
    rest = conversation.say("more")
    assert len(rest.items) == 3
    assert "Only 3 of the 30 places could be filled" in rest.note
    before = conversation.transcript()
    with pytest.raises(MessageError, match="Nothing is left to offer"):
        conversation.say("still more")
    assert conversation.transcript() == before


def test_a_dialogue_beyond_the_limit_drops_its_oldest_messages(model):
    conversation = chat(model)
    for letter in "abc":
        turn = conversation.say(letter * 900)
    assert model.language.read[-1] == "b" * 900 + " " + "c" * 900
    assert turn.note == "The dialogue is long: its first 1 messages are no longer read."
    assert len(conversation.messages) == 3


def test_stages_are_announced_with_the_items_before_the_reply(model):
    seen = []
    chat_model = FakeChatModel("The Quiet Harbour may do.")
    chat(model, user=None, chat_model=chat_model).say(
        "comedy", watch=lambda stage, turn: seen.append((stage, turn))
    )
    assert [stage for stage, _ in seen] == ["reading", "choosing", "writing"]
    assert [turn is None for _, turn in seen] == [True, True, False]
    assert len(seen[2][1].items) == 5 and seen[2][1].reply == ""


def test_stopping_before_items_are_chosen_drops_the_message(model):
    conversation, stop = chat(model), threading.Event()
    stop.set()
    with pytest.raises(StoppedError, match="message was not used"):
        conversation.say("drama", stop=stop)
    assert conversation.turns == [] and conversation.say("drama").number == 1


def test_a_printed_turn_shows_both_sides(model):
    turn = chat(model, user=None).say("horror")
    assert str(turn).splitlines()[0] == "You:    horror"
    assert "1. Night of the Moth (1952)  [Horror]" in str(turn)
    assert "2. Film Number 6 (1956)\n" in str(turn)
    assert str(turn).endswith("follow from your words alone.")
    assert all(len(line) <= 96 for line in str(chat(model).say("many words " * 30)).splitlines())


# Another policy from the next message on, and the last message answered again


def test_another_policy_counts_from_the_next_message_on():
    conversation = chat(FakeModel(), None)
    first = conversation.say(WISH)
    conversation.use("F")
    assert conversation.policy == "F" and conversation.turns == [first]
    second = conversation.say(WISH)
    # item v has genre v mod 4 (3: Western) and the year 1950 + v
    assert ids(first) == [3, 7, 11, 15, 19] and ids(second)[:2] == [23, 27]
    conversation.use("B")
    third = conversation.say(WISH)
    assert [turn.policy for turn in conversation.turns] == ["B", "F", "B"]
    assert third.requirements == () and len(conversation.requirements) == 2
    again = Conversation.from_transcript(FakeModel(), conversation.transcript(), chat_model=None)
    assert again.turns == conversation.turns and again.policy == "B"


def test_a_change_while_a_message_is_answered_waits_for_the_next_one():
    conversation = chat(FakeModel(), None)
    turn = conversation.say(WISH, watch=lambda stage, _: conversation.use("F"))
    assert turn.policy == "B" and turn.requirements == () and conversation.policy == "F"


@pytest.mark.parametrize(
    ("setting", "reason"),
    [
        ({"n_items": 0}, "at least one item"),
        ({"history": []}, "User 42 has a history"),
        ({"history": [3]}, "User 42 has a history"),
        ({"policy": "X"}, "no policy 'X': choose 'B', 'F' or 'V'"),
        ({"extractor": "regex"}, "'regex' is not one of lexicon, model, both"),
    ],
)
def test_senseless_settings_are_refused(model, setting, reason):
    with pytest.raises(ConfigError, match=reason):
        chat(model, **setting)


def test_a_policy_that_does_not_exist_leaves_the_old_one(model):
    conversation = chat(model)
    with pytest.raises(ConfigError, match="no policy 'X'"):
        conversation.use("X")
    assert conversation.policy == "B"


def test_the_last_message_is_answered_again_from_where_it_was_said():
    conversation = chat(FakeModel(), None)
    first = conversation.say("drama")
    conversation.accept(ids(first)[0])
    second = conversation.say(WISH)
    conversation.reject(ids(second)[0])
    conversation.accept(ids(second)[1])
    conversation.use("F")
    new = conversation.retry()
    assert conversation.turns == [first, new] and new.number == 2 and new.message == WISH
    assert ids(new)[:2] == [23, 27] and new.policy == "F"
    assert conversation.feedback == {ids(first)[0]: "accept"}
    # what it had offered is to be had again
    conversation.use("B")
    assert ids(conversation.retry()) == ids(second)


def test_a_retry_streams_tells_its_stages_and_may_be_stopped():
    shown, stages, stop = [], [], threading.Event()
    chat_model = FakeChatModel(REPLY, REPLY, REPLY)
    conversation = chat(FakeModel(), None, chat_model=chat_model)
    conversation.say("western")
    conversation.retry(stream=shown.append, watch=lambda stage, _: stages.append(stage))
    assert shown == [REPLY] and stages == ["reading", "choosing", "writing"]
    assert conversation.turns[0].reply_source == "model"
    # stopped after the items, the new turn stays
    chat_model.before_piece = stop.set
    turn = conversation.retry(stop=stop)
    assert turn.why_template == "you stopped it" and conversation.turns == [turn]


def test_without_a_message_there_is_nothing_to_answer_again():
    conversation = chat(FakeModel(), None)
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
    conversation, stop = chat(FakeModel(), None), threading.Event()
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


def test_the_state_of_a_turn_is_that_before_its_message():
    conversation = chat(FakeModel(), None, history=[3])
    first = conversation.say("drama")
    conversation.accept(ids(first)[0])
    second = conversation.say("western")
    state = conversation
    assert state.before(first).history == [3] and not state.before(first).turns
    assert state.before(second).history == [3, ids(first)[0]]
    assert state.before(second).messages == ["drama"]
    with pytest.raises(DataError, match="none of this conversation"):
        conversation.before(chat(FakeModel(), None).say("horror"))


def test_a_turn_that_is_being_answered_has_a_state_too():
    conversation, seen = chat(FakeModel(), None, history=[3]), []

    def watch(stage, turn):
        if turn is not None:
            seen.append(conversation.before(turn).messages)

    conversation.say("drama", watch=watch)
    conversation.say("western", watch=watch)
    conversation.retry(watch=watch)
    assert seen == [[], ["drama"], ["drama"]]
