"""Why turns come out as they do, in a world where it is known what moves what, and by how much."""

import json
import math
from dataclasses import replace
from unittest.mock import Mock

import polars as pl
import pytest
import torch
from scipy import special

from latentcrs_utils.constraints.constraint import Constraint
from latentcrs_utils.conversation import explanation
from latentcrs_utils.conversation.belief import Beliefs
from latentcrs_utils.conversation.explanation import WHY_LIMIT, Explanation, behind
from latentcrs_utils.conversation.session import Conversation
from latentcrs_utils.conversation.turn import Feedback, Push, State, Turn, describe
from latentcrs_utils.em import attribution
from tests.conversation.fakes import INTENTS, chat, fake_model


def softmax(*logits: float) -> list[float]:
    return special.softmax(logits).tolist()


def kl(q: list[float], p: list[float]) -> float:
    return special.rel_entr(q, p).sum()


@pytest.fixture
def model():
    return fake_model()


def explain(model, history, messages, items, refused=()) -> Explanation:
    """What is told of the last message when some items are offered."""
    *before, turn = (Turn(n, message, (), {}, {}) for n, message in enumerate(messages, start=1))
    turn = replace(turn, items=tuple(describe(model.data, item) for item in items))
    state = State(history, [*before, *(Feedback("reject", item) for item in refused)])
    return explanation.explain(turn, state, Beliefs(model))


def test_a_turn_moves_the_intents_from_the_text_before_to_the_text_after(model):
    found = explain(model, [12], ["a funny film", "and scary"], [2])
    before, after = softmax(4, 0, 0, 0), softmax(4, 0, 3, 0)
    assert found.nats == pytest.approx(kl(after, before), rel=1e-4)
    assert [change.name for change in found.intents][:2] == ["Horror lovers", "Comedy lovers"]
    for change in found.intents:
        was, now = (p[INTENTS.index(change.name)] for p in (before, after))
        told = change.before, change.after, change.change
        assert told == pytest.approx((was, now, now - was), abs=1e-6)


def test_the_word_that_moves_an_intent_is_found_with_what_it_does(model):
    found = explain(model, [], ["please a scary film", "not sad"], [2, 1])
    words = {effect.text: effect for effect in found.words}
    assert list(words) == ["please", "a", "scary", "film", "not", "sad"]
    assert [effect.message for effect in found.words] == [1, 1, 1, 1, 2, 2]
    after, without = softmax(0, 2, 3, 0), softmax(0, 2, 0, 0)
    scary, gained = words["scary"], [a - b for a, b in zip(after, without, strict=True)]
    assert scary.intents == pytest.approx(dict(zip(INTENTS, gained, strict=True)), abs=1e-6)
    assert scary.nats == pytest.approx(kl(after, without), rel=1e-4)
    S, x = torch.zeros(1, 4), torch.tensor([[0.0, 1, 1.5, 0]])
    lost = model.scores(S, x) - model.scores(S, torch.tensor([[0.0, 1, 0, 0]]))
    assert scary.log_items == pytest.approx(lost[0, [2, 1]].tolist(), abs=1e-5)
    assert scary.log_items[0] > 1 > 0 > scary.log_items[1]
    for word in ("please", "a", "film", "not"):
        assert [words[word].nats, *words[word].log_items] == pytest.approx([0] * 3, abs=1e-6)


def test_of_two_words_that_say_the_same_each_shows_what_it_adds_to_the_other(model):
    found = explain(model, [], ["funny hilarious"], [])
    effects = {effect.text: effect.intents["Comedy lovers"] for effect in found.words}
    both, one, two = softmax(6, 0, 0, 0)[0], softmax(2, 0, 0, 0)[0], softmax(4, 0, 0, 0)[0]
    assert effects == pytest.approx({"funny": both - two, "hilarious": both - one}, abs=1e-6)
    assert effects["funny"] + effects["hilarious"] < both - 0.25 - 0.2


def test_the_items_of_the_history_that_carry_an_intent_are_found(model):
    # two comedies, a drama, a horror film: S is a share of each
    found = explain(model, [12, 1, 2, 16], ["funny"], [4])
    assert [effect.text for effect in found.history[:2]] == [
        "Film Number 12 (1962)", "The Quiet Harbour (1951)",
    ]  # fmt: skip
    after, without = softmax(3, 0.5, 0.5, 0), softmax(2 + 2 / 3, 2 / 3, 2 / 3, 0)
    for place in (0, 3):
        effect = found.history[place]
        assert effect.intents["Comedy lovers"] == pytest.approx(after[0] - without[0], abs=1e-6)
        assert effect.nats == pytest.approx(kl(after, without), rel=1e-4)
        assert effect.log_items[0] > 0
    assert found.history[1].intents["Comedy lovers"] < 0


def test_what_is_behind_a_change_goes_the_way_it_went(model):
    found = explain(model, [12, 2], ["hilarious", "so scary and sad"], [])
    changes = {change.name: change for change in found.intents}
    assert changes["Comedy lovers"].change < 0 < changes["Horror lovers"].change
    rose = behind(changes["Horror lovers"], found.words)
    assert [effect.text for effect in rose] == ["scary"]
    assert behind(changes["Horror lovers"], found.history) == [found.history[1]]
    fell = behind(changes["Comedy lovers"], found.words)
    assert [effect.text for effect in fell] == ["scary", "sad"]
    assert behind(changes["Comedy lovers"], found.words, n=1) == fell[:1]


def test_all_texts_are_embedded_in_one_call_each_once(model):
    model.language.encode = Mock(wraps=model.language.encode)
    explain(model, [12], ["sad film film", "scary"], [2])
    last = ["film film scary", "sad film scary", "sad film film"]
    assert model.language.read[2:] == last and model.language.encode.call_count == 3


def test_the_nearest_training_texts_are_told_with_where_they_lead(model):
    # the history, comedies only, has no part in it
    nearest = explain(model, [12], ["scary, a bit sad"], []).nearest
    texts, cosines, leads = zip(*nearest, strict=True)
    # the repeated text counts once, and the test text, though nearest, was no training text
    assert texts == ("something scary please", "a sad film", "a funny film")
    norm = math.hypot(1, 1.5)
    assert cosines == pytest.approx([1.5 / norm, 1 / norm, 0], abs=1e-6)
    assert leads[:2] == ("Horror lovers", "Drama lovers")


@pytest.mark.parametrize("residual", [False, True])
def test_an_item_has_the_shapley_values_of_its_score(residual):
    model = fake_model(residual=residual)
    horror, comedy = explain(model, [12], ["scary"], [2, 4]).items
    S, x = torch.tensor([[1.0, 0, 0, 0]]), torch.tensor([[0, 0, 1.5, 0]])
    parts = attribution.contributions(model, S, x, [2, 4]).T
    for reasons, expected in zip((horror, comedy), parts.tolist(), strict=True):
        assert tuple(reasons.nats) == ("history", "words", "residual")[: 2 + residual]
        assert list(reasons.nats.values()) == pytest.approx(expected)
        assert sum(map(abs, reasons.shares.values())) == pytest.approx(1)
        assert all(reasons.nats[who] * share >= 0 for who, share in reasons.shares.items())
    assert horror.label == "Night of the Moth (1952)"
    # the history wants comedies, the words want horror
    assert horror.shares["words"] > 0 > horror.shares["history"]
    assert comedy.shares["history"] > 0 > comedy.shares["words"]
    exact = model.exact_posterior(torch.tensor([2]), S, x)[0]
    assert next(iter(horror.intents)) == "Horror lovers" and len(horror.intents) == 3
    assert horror.intents["Horror lovers"] == pytest.approx(exact[2].item(), abs=1e-6)


def test_pushes_are_told_of_and_the_shares_add_up_to_the_pushed_score(model, monkeypatch):
    monkeypatch.setattr("latentcrs_utils.conversation.belief.CARELESS_SHARE", 0.2)
    push, turn = Push(2, True, (0, 1, 2, 3)), Turn(1, "a film", (), {}, {})
    turn = replace(turn, items=tuple(describe(model.data, item) for item in (2, 4)))
    state, beliefs = State([12], [push]), Beliefs(model)
    found = explanation.explain(turn, state, beliefs)
    pushed, nothing = beliefs([12], ["a film"], (push,)), beliefs([], [])
    for reasons, sign in zip(found.items, (1, -1), strict=True):
        gained = pushed.scores[0, reasons.item] - nothing.scores[0, reasons.item]
        assert sum(reasons.nats.values()) == pytest.approx(float(gained), abs=1e-5)
        assert sign * reasons.nats["pushes"] > 0.1
        share = reasons.intents["Horror lovers"]
        prior = model.exact_posterior(torch.tensor([reasons.item]), pushed.S, pushed.x)[0]
        odds = share / (1 - share) / float(prior[2] / (1 - prior[2]))
        assert odds == pytest.approx(17, rel=1e-3)  # (0.2 / 4 + 0.8) / (0.2 / 4)
    assert "pushes" in found.describe()
    assert "what you pushed" in explanation.why(turn, state, beliefs)[0]
    # the answer to a question is part of what its turn did
    answer = explanation.explain(replace(turn, pushes=(push,)), State([12]), beliefs)
    assert answer.intents[0].name == "Horror lovers" and answer.nats > 0.1 > found.nats
    assert answer.items == found.items


def test_ranks_are_among_what_could_be_offered(model):
    (reasons,) = explain(model, [12, 16], ["scary"], [6]).items
    # film 2 is the better horror film; eight more comedies, and films 1, 2, 3 and 5
    assert reasons.ranks == {"both": 2, "history": 13, "words": 2}
    gone = explain(model, [12, 16], ["scary"], [6], refused=[2, 6, *range(4, 41, 4)])
    assert gone.items[0].ranks == {"both": 1, "history": 4, "words": 1}


def test_a_stranger_owes_everything_to_the_words(model):
    found = explain(model, [], ["scary"], [2])
    nats = found.items[0].nats
    assert found.history == () and nats["history"] == pytest.approx(0, abs=1e-6)
    assert nats["words"] > 0 and nats["residual"] > 0
    # one word is compared with saying nothing
    (word,) = found.words
    assert word.intents["Horror lovers"] == pytest.approx(softmax(0, 0, 3, 0)[2] - 0.25, abs=1e-6)
    assert model.language.read == ["scary"]


def test_words_that_say_nothing_move_nothing():
    found = explain(fake_model(residual=False), [], ["hm"], [2])
    assert found.nats == pytest.approx(0, abs=1e-9) and found.nearest == ()
    assert set(found.items[0].nats.values()) == set(found.items[0].shares.values()) == {0}
    assert [change.after for change in found.intents] == pytest.approx([0.25] * 4)
    nothing = explain(fake_model(), [], ["hm"], [])
    assert nothing.items == () and len(nothing.describe().splitlines()) == 1


@pytest.mark.parametrize(
    ("n_words", "n_spans"), [(24, 24), (60, 24), (100, 16), (250, 6), (400, 4)]
)
def test_the_longer_the_dialogue_the_fewer_its_spans(model, n_words, n_spans):
    assert len(explain(model, [], ["word " * n_words], []).words) == n_spans


# A sentence for each item


@pytest.mark.parametrize("residual", [True, False])
@pytest.mark.parametrize("history", [[12, 16], [2, 1], [2, 6, 1, 12]])
@pytest.mark.parametrize("message", ["funny", "scary", "sad and scary", "hilarious"])
def test_the_shares_are_those_of_the_explanation(residual, history, message):
    model = fake_model(residual=residual)
    conversation = Conversation(model, history=history, chat_model=None, policy="B")
    turn = conversation.say(message)
    lines = conversation.why(turn)
    for reasons, line in zip(conversation.explain(turn).items, lines, strict=True):
        share = reasons.shares
        assert ("mostly" in line.lower()) == (max(share.values()) > 0.5)
        assert ("mostly your words" in line.lower()) == (share["words"] > 0.5)
        assert ("despite what you liked" in line) == (share["history"] <= -0.1)
        direct = f"{100 * share.get('residual', 0):.0f} % from a direct match"
        assert ("a direct match" in line) == (direct in line) <= residual
    assert not residual or message != "scary" or any("a direct match" in line for line in lines)


def test_a_liked_item_is_named_when_the_history_speaks():
    # of the known films, the comedy 12 is the nearest to a comedy: v is its genre
    conversation = chat(history=[2, 12, 16])
    turn = conversation.say("a film")
    assert conversation.explain(turn).items[0].shares["history"] > 0.5
    assert turn.items[0].genres == ("Comedy",)
    assert conversation.why(turn)[0].startswith("Mostly what you liked (nearest: Film Number 12)")


def test_what_the_words_ask_for_is_told_only_where_the_item_has_it():
    conversation = chat(user=42)
    turn = conversation.say("a scary horror film from the fifties, no western")
    for item, line in zip(turn.items, conversation.why(turn), strict=True):
        assert ("horror" in line) == ("Horror" in item.genres)
        assert ("the 1950s" in line) == (item.year is not None and item.year < 1960)
        assert "western" not in line


def test_earlier_messages_count_and_what_came_later_does_not():
    conversation = chat()
    turns = [conversation.say(message) for message in ("a scary film", "more please")]
    lines = [conversation.why(turn) for turn in turns]
    conversation.accept(2)
    conversation.say("actually a sad drama")
    assert [conversation.why(turn) for turn in turns] == lines
    named = zip(lines[1], turns[1].items, strict=True)
    assert all("horror" in line for line, item in named if item.genres)


def test_f_says_what_an_item_lacks_and_what_it_was_held_to():
    conversation = chat("F")
    turn = conversation.say("a western from the fifties, no comedy")
    for item, line in zip(turn.items, conversation.why(turn), strict=True):
        assert line.startswith("Not the 1950s") == bool(item.misses) == (item.year >= 1960)
    misses = Constraint("genre", "Horror", True), Constraint("genre", "Sci-Fi")
    refused = replace(turn.items[0], misses=misses)
    line = conversation.why(replace(turn, number=2, items=(refused,)))[0]
    assert line.startswith("Horror after all, no sci-fi")


def test_a_turn_can_be_explained_before_its_reply_is_written_and_from_a_transcript():
    conversation, seen = chat("F", user=42), []
    watch = lambda _, turn: turn and seen.append(conversation.why(turn))  # noqa: E731
    turn = conversation.say("a funny western", watch=watch)
    assert seen == [conversation.why(turn)]
    stored = json.loads(json.dumps(conversation.transcript()))
    again = Conversation.from_transcript(conversation.model, stored, chat_model=None)
    assert again.why(again.turns[0]) == seen[0]


@pytest.mark.parametrize("policy", ["B", "F"])
@pytest.mark.parametrize("setting", [{"user": 42}, {}, {"history": [2]}])
def test_sentences_stay_short_with_long_titles_and_names(policy, setting):
    model = fake_model()
    items = model.data.items.with_columns(title=pl.col("title") + " and the very long rest" * 4)
    model = replace(model, data=replace(model.data, items=items))
    model.anchors.names = tuple(f"{name} · {'An Item of Many Words, ' * 4}" for name in INTENTS)
    conversation = Conversation(model, **setting, chat_model=None, policy=policy)
    hostile = "<script>alert(1)</script> [x](javascript:1) **scary** \u202etfel 🎃 horror"
    for message in ("a funny comedy of the fifties, scary horror, no western", "sad", hostile):
        for line in conversation.why(conversation.say(message)):
            assert len(line) <= WHY_LIMIT and line.endswith(".") and "\n" not in line
            assert not any(mark in line for mark in ("<", "[", "alert", "🎃", "\u202e"))
