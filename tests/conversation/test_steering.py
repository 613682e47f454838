"""Steering by hand: the model of clicks, Bayes' rule, the careless share and the question."""

from math import log

import pytest
import torch

from latentcrs_utils.conversation.session import Conversation
from latentcrs_utils.conversation.steering import (
    best_question,
    careless_share,
    log_likelihood,
    nearest_shown,
)
from latentcrs_utils.conversation.turn import Push, more_like
from latentcrs_utils.errors import DataError
from tests.conversation.fakes import INTENTS, chat, fake_model

# two pairs of near twins, and one intent between them, a little nearer to the second pair
ANCHORS = torch.tensor([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0], [0.1, 0.9], [0.6, 0.8]])


@pytest.fixture(autouse=True)
def careful_people(monkeypatch):
    for module in ("belief", "policies"):
        monkeypatch.setattr(f"latentcrs_utils.conversation.{module}.CARELESS_SHARE", 0.2)
    monkeypatch.setattr("latentcrs_utils.conversation.policies.ASK_ABOVE", 0.2)


def test_every_intent_means_the_shown_one_most_like_it():
    assert nearest_shown(ANCHORS, (0, 2)).tolist() == [0, 0, 1, 1, 1]
    twins = torch.ones(3, 2)
    assert nearest_shown(twins, (2, 0)).tolist() == [1, 0, 0]  # a shown one means itself


def test_a_push_moves_the_belief_by_bayes_rule():
    prior = torch.tensor([0.1, 0.2, 0.3, 0.15, 0.25])
    pushed = prior.log() + log_likelihood([Push(0, True, (0, 2))], ANCHORS, 0.2)
    by_hand = prior * torch.tensor([0.9, 0.9, 0.1, 0.1, 0.1])
    torch.testing.assert_close(pushed.softmax(0), by_hand / by_hand.sum())
    refused = log_likelihood([Push(0, False, (0, 1, 2))], ANCHORS, 0.3)
    assert refused.exp().tolist() == pytest.approx([0.1, 0.45, 0.45, 0.45, 0.45])


@pytest.mark.parametrize("more", [True, False])
def test_the_chances_of_all_pushes_sum_to_one_for_every_intent(more):
    shown = (0, 2, 4)
    chances = [log_likelihood([Push(j, more, shown)], ANCHORS, 0.25).exp() for j in shown]
    torch.testing.assert_close(torch.stack(chances).sum(0), torch.ones(5))


@pytest.mark.parametrize("share", [0.0, 0.2, 0.5])
def test_the_careless_share_is_found_again_in_simulated_pushes(share):
    generator = torch.Generator().manual_seed(1)
    intents = torch.randint(0, 5, (4000,), generator=generator)
    careless = torch.rand(4000, generator=generator) < share
    at_random = torch.randint(0, 2, (4000,), generator=generator)
    place = torch.where(careless, at_random, nearest_shown(ANCHORS, (0, 2))[intents])
    pushes = [Push((0, 2)[k], True, (0, 2)) for k in place.tolist()]
    assert careless_share(pushes, torch.eye(5)[intents], ANCHORS) == pytest.approx(share, abs=0.04)


def test_the_question_splits_the_belief_and_its_gain_is_the_mutual_information():
    intents = torch.tensor([0.4, 0.1, 0.4, 0.1, 0.0])
    pair, gain = best_question(intents, ANCHORS, 0.0)
    assert {*pair} & {0, 1} and {*pair} & {2, 3} and gain == pytest.approx(log(2))
    assert best_question(intents, ANCHORS, 1.0)[1] == pytest.approx(0, abs=1e-6)
    sure = torch.tensor([1.0, 0, 0, 0, 0])
    assert best_question(sure, ANCHORS, 0.2)[1] == pytest.approx(0, abs=1e-6)


def test_a_push_changes_the_next_turn_and_is_undone_and_written_down():
    talk = chat(user=42)
    talk.say("a film")
    before, name = talk.intents(), talk.leaders()[-1]
    talk.push(name)
    pushed = talk.intents()
    assert pushed[name] > before[name]
    again = Conversation.from_transcript(fake_model(), talk.transcript(), chat_model=None)
    assert again.pushes == talk.pushes and again.intents() == pushed
    talk.push(name, more=False)
    assert talk.intents()[name] < pushed[name]
    held = talk.intents()
    for known, p in talk.say("another").intents_before.items():
        assert p == pytest.approx(held[known], rel=1e-4)
    talk.undo(), talk.undo(), talk.undo()
    assert talk.intents() == before and not talk.pushes


def test_the_last_push_on_an_intent_counts_and_retry_keeps_it():
    talk = chat(user=42)
    first = talk.say("a film")
    name = talk.leaders()[-1]
    for more in (True, False, False):
        talk.push(name, more)
    assert len(talk.events) == 3 and talk.pushed == {name: False} and len(talk.pushes) == 1
    talk.undo()
    assert talk.pushed == {name: True} and f"*More of: {name}*" in talk.markdown()
    again = talk.retry()
    assert again.intents_before[name] > first.intents_after[name] and talk.turns == [again]
    assert {i.genres for i in again.items} != {i.genres for i in first.items}
    talk.undo()
    assert talk.pushed == {name: True}


def test_policy_a_asks_where_the_belief_is_broad_and_a_film_that_is_named_is_a_push():
    talk, silent = chat("A"), chat("B")
    assert not silent.say("a film").question
    turn = talk.say("a film")
    (a, x, first), (b, y, second) = turn.question
    assert turn.reply.endswith(f" More like {first}, or more like {second}?")
    assert (a, b) == (x % 4, y % 4) and {x, y}.isdisjoint(talk.start)
    before = talk.intents()
    assert talk.say(f"{first} or {second}").pushes == ()
    talk.undo()
    for words, push in ((f"not {second}", (b, False)), ("the first one, please", (a, True))):
        assert talk.say(words).pushes == (Push(*push, (a, b)),)
        talk.undo()
    answered = talk.say(more_like(second))
    assert answered.pushes == talk.pushes == (Push(b, True, (a, b)),)
    assert answered.intents_after[INTENTS[b]] > 1.5 * before[INTENTS[b]]
    assert {x, y}.isdisjoint(item for _, item, _ in answered.question)
    again = Conversation.from_transcript(fake_model(), talk.transcript(), chat_model=None)
    assert again.turns == talk.turns and again.intents() == talk.intents()
    talk.undo()
    assert talk.pushes == () and talk.intents() == before
    assert talk.say("horror").question == ()  # now it is narrow


@pytest.mark.parametrize("shown", [(1,), (1, 1), (2, 3)])
def test_what_was_not_shown_cannot_be_pushed(shown):
    with pytest.raises(DataError, match="shown"):
        Push(1, True, shown)
    with pytest.raises(DataError, match="none of the intents"):
        chat(user=42).push("no such intent")
