"""The reply: a language model's where it behaves, a plain template's elsewhere."""

import re
import threading
import tomllib
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest

from latentcrs_utils.constraints.constraint import matcher_for
from latentcrs_utils.constraints.lexicon import extract
from latentcrs_utils.conversation.guards import guard_for
from latentcrs_utils.conversation.session import Conversation
from tests.conversation.fakes import N_ITEMS, FakeChatModel, chat, fake_model
from tests.language import chat_server as does
from tests.language.chat_server import KEY, ChatServer, chat_model_for, chat_server

GOOD = "Night of the Moth may be the one for a horror night, from 1952."
GONE, ORDER = RuntimeError("gone"), '{"order": [1, 2]}'


def say(*replies, message="horror", before_piece=None, **more):
    chat_model = FakeChatModel(*replies, before_piece=before_piece)
    return chat(chat_model=chat_model).say(message, **more), chat_model


@pytest.mark.parametrize("more", ["", " And a second one. And a third one."])
def test_one_good_sentence_about_the_first_three_items_is_shown_and_billed(more):
    shown = []
    turn, chat_model = say(GOOD + more, message='horror, "now"', stream=shown.append)
    assert (turn.reply, turn.reply_source, turn.why_template) == (GOOD, "model", None)
    assert turn.chat_model == "Scripted" and shown == [GOOD] and "Usage" not in str(turn)
    assert turn.completion_tokens > 5
    assert turn.counted and turn.usage == f"50 tokens read, {turn.completion_tokens} written"
    (asked,) = chat_model.asked
    assert [m["role"] for m in asked] == ["system", *["user", "assistant"] * 3, "user"]
    assert asked[0]["content"].startswith("You recommend films.")
    assert asked[-1]["content"] == (
        'Wish: "horror, "now""\n'
        "List: Night of the Moth (1952, Horror), Film Number 6 (1956), "
        "Film Number 10 (1960, Horror)"
    )


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        ("Answer in one friendly sentence that takes up the wish.", "recited its instructions"),
        ("The Hollow Stair suits a spooky night in.", "recited its instructions"),
        ("", "it was empty"),
        ("a sentence without an end", "it broke off"),
        # the model is stopped behind a bad sentence
        (f"Or see Heat instead. {'More and more words. ' * 50}", "film that was not chosen (Heat)"),
    ],
)
def test_a_bad_reply_is_never_shown_but_replaced_and_the_reason_kept(reply, reason):
    shown = []
    turn, _ = say(reply, stream=shown.append)
    assert turn.reply_source == "template" and shown == []
    assert reason in turn.why_template
    assert turn.draft in reply and len(turn.draft) >= min(len(reply), 20) and len(turn.draft) < 100
    assert turn.reply.startswith("As you asked, Night of the Moth (1952) is a horror film")


@pytest.mark.parametrize(
    ("reply", "reason"),
    [(GONE, "the language model failed (RuntimeError)"), (GOOD, "you stopped it")],
)
def test_a_model_that_fails_or_is_stopped_loses_no_items(reply, reason):
    stop = threading.Event()
    turn, _ = say(reply, before_piece=stop.set, stop=stop)
    assert (turn.reply_source, turn.why_template, len(turn.items)) == ("template", reason, 5)
    # also while the model is silent, and a reply may hold what no text does
    assert say("Film\0 Number 6 \ud800 is sad.")[0].reply_source in ("model", "template")
    # a stop after the sentence keeps it
    stop.clear()
    assert say(f"{GOOD} More.", stream=lambda _: stop.set(), stop=stop)[0].reply == GOOD


def test_the_same_reply_twice_is_not_shown_twice():
    said = "For an evening that is as calm and grey as this one a fine choice is surely {}."
    chat_model = FakeChatModel(said.format("Film Number 6"), said.format("Film Number 22"))
    conversation = chat(user=42, chat_model=chat_model)
    assert conversation.say("horror").reply_source == "model"
    assert "repeated" in conversation.say("horror").why_template


@pytest.mark.parametrize(
    ("user", "message", "n_items"),
    [(42, "horror", 5), (42, "a film", 5), (None, "a film", 5), (None, "horror", 1)],
)
def test_the_template_names_three_items_and_what_the_words_did(user, message, n_items):
    turn = chat(user=user, n_items=n_items).say(message)
    assert ("horror film" in turn.reply) == (message == "horror") and turn.chat_model is None
    assert [item.label in turn.reply for item in turn.items] == [i < 3 for i in range(n_items)]


class Counting(FakeChatModel):
    """Reports the tokens of all replies after the first few."""

    counts = property(lambda self: len(self.asked) > self.after)


@pytest.mark.parametrize(
    ("policy", "replies", "after", "choosing", "usage"),
    [
        ("B", [GOOD], 1, (0, 0), "tokens not counted: nobody reported them"),
        ("F", ['{"genres": []}', GONE], 0, (50, 3), "at least 50 tokens read, 3 written: nobody"),
        *((p, [reply, GOOD], 1, (0, 0), "at least 50") for p in "FV" for reply in (GONE, ORDER)),
    ],
)
def test_tokens_that_nobody_reported_are_no_zero(policy, replies, after, choosing, usage):
    chat_model = Counting(*replies)
    chat_model.after = after
    conversation = chat(policy, chat_model, extractor="both")
    turn = conversation.say("horror")
    assert not turn.counted and turn.choosing_tokens == choosing
    assert turn.usage.startswith(usage) and f"Usage: {usage}" in str(turn)
    again = Conversation.from_transcript(fake_model(), conversation.transcript(), chat_model=None)
    assert again.turns == [turn]


MESSAGES = tomllib.loads((Path(__file__).parent / "messages.toml").read_text("utf-8"))


@pytest.mark.parametrize("policy", ["B", "F"])
@pytest.mark.parametrize("message", MESSAGES["template"]["wishes"])
def test_the_template_says_nothing_but_what_is_true(policy, message):
    conversation = chat(policy, user=42)
    guard = guard_for(conversation.model.data, "film")
    for n in range(3):
        turn = conversation.say(message)
        told, *asked = turn.reply.split(", though you asked for ")
        told = re.split(" Your words| I know titles", told)[0].rstrip(".") + "."
        assert guard.objection(told, turn.items, message=message) is None
        items = matcher_for(conversation.model.data).catalogue.items
        wish = (
            extract(message).constraints if policy == "B" else conversation.requirements.constraints
        )
        met = [constraint.satisfies(items[turn.items[0].item]) for constraint in wish]
        assert bool(asked) == (not all(met)) or "or" in message
        assert "as you asked" not in turn.reply.lower() or all(met) or "or" in message
        assert "Kubrick" not in told and "Secret" not in turn.reply and n < 3


@pytest.mark.parametrize(
    ("name", "facts", "wish", "told"),
    [
        ("amazon-video-games", {"platform": "Wii", "creator": "Nintendo"}, "a puzzle for the Wii",
         "is listed under Puzzle for Wii by Nintendo"),
        ("amazon-cds", {"creator": "Nina Hall", "price": 9.0}, "jazz under $10",
         "is listed under Jazz under $10 by Nina Hall"),
        ("own", {}, "horror", "is listed under Horror"),
    ],
)  # fmt: skip
def test_other_catalogues_are_told_by_what_they_hold(name, facts, wish, told):
    genre = {"amazon-cds": "Jazz", "own": "Horror"}.get(name, "Puzzle")
    conversation = chat()
    data = conversation.model.data
    columns = {"genres": [[genre]] * N_ITEMS, "year": [None] * N_ITEMS}
    columns |= {column: [value] * N_ITEMS for column, value in facts.items()}
    items = data.items.with_columns(**{n: pl.Series(v) for n, v in columns.items()})
    conversation = Conversation(fake_model(), chat_model=None)
    model = conversation.model
    for field, value in (("items", items), ("name", name)):
        object.__setattr__(model.data, field, value)
    assert told in Conversation(model, chat_model=None).say(wish).reply


def test_marks_of_direction_in_titles_and_replies_are_left_out():
    model = fake_model()
    mark = (
        pl.when(pl.col("item") == 3).then(pl.lit("Dust\u202e & \u2066Thunder")).otherwise("title")
    )
    object.__setattr__(model.data, "items", model.data.items.with_columns(title=mark))
    said = FakeChatModel("Dust \u202e& Thunder\u2069 may do.")
    turn = Conversation(model, chat_model=said, wording="model").say("western")
    assert turn.reply == "Dust & Thunder may do."
    template = Conversation(model, chat_model=None).say("western").reply
    assert "Dust & Thunder" in template and "\u202e" not in template


# Words from an address


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[ChatServer]:
    monkeypatch.setenv("TEST_KEY", KEY)
    with chat_server() as running:
        yield running


def talk(server: ChatServer, policy: str = "B") -> Conversation:
    return chat(policy, chat_model_for(server, retries=0), 42, extractor="both")


def test_a_reply_that_the_guard_stops_is_not_counted(server):
    # it would go on, but nobody listens any longer
    server.plan[:] = [does.cut("Or see The Quiet Harbour ", "instead. ", "And so on.", silence=60)]
    conversation = talk(server)
    turn = conversation.say("horror")
    assert turn.why_template == "it named a film that was not chosen (The Quiet Harbour)"
    assert conversation.chat_model.usage.uncounted == 1
    assert (turn.prompt_tokens, turn.completion_tokens, turn.counted) == (0, 0, False)


@pytest.mark.parametrize("policy", ["B", "F", "V"])
def test_a_refused_key_is_told_with_what_to_do_and_without_the_key(server, policy):
    server.plan[:] = [does.echo_key] * 2
    conversation = talk(server, policy)
    turn = conversation.say("a western")
    told = f"the language model failed: {server.url} refuses the key (HTTP 401): set the"
    assert turn.why_template.startswith(told) and len(turn.items) == 5 and not turn.counted
    assert policy == "B" or f"because {turn.why_template}." in turn.note
    assert KEY not in repr(turn) and KEY not in str(conversation.transcript())
    server.plan[:] = [does.status(500, f"could not use {KEY} here")] * 2
    turn = talk(server, policy).say("a western")
    assert "could not use (the key) here" in turn.why_template and KEY not in repr(turn)
