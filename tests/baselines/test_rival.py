"""Rivals that ask: the same turn in the evaluation and in the chat, and what a text tells them."""

from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from latentcrs_utils.baselines.attributes import attributes_of
from latentcrs_utils.baselines.questions import entropies
from latentcrs_utils.baselines.rival import asking_rival
from latentcrs_utils.conversation.session import Conversation
from latentcrs_utils.data.sequences import Dataset
from latentcrs_utils.evaluation.multi_turn import Setting, converse, replay
from tests.conversation.fakes import fake_model, ids
from tests.evaluation.dialogue_world import N_ITEMS, Backbone, Language, without_seconds


@pytest.fixture(autouse=True)
def literal(monkeypatch: pytest.MonkeyPatch) -> None:
    """No classifier is fitted: the lexicon reads alone."""
    deaf = SimpleNamespace(probabilities=lambda texts: [{} for _ in texts])
    monkeypatch.setattr("latentcrs_utils.em.terms.classifier_for", lambda data: deaf)


class FirstAsks:
    """Asks twice what is most uncertain, then recommends; small ids are better."""

    def __init__(self, data: Dataset):
        self.attributes = attributes_of(data)

    def scores(self, known):
        has = self.attributes.has.float()
        falling = -torch.arange(N_ITEMS + 1.0) / 100
        return (known.beliefs @ has.T + falling).index_fill(1, torch.tensor([0]), -torch.inf)

    def actions(self, known, scores):
        best = entropies(known, self.attributes).argmax(1)
        return torch.where(torch.tensor(known.turn <= 2), best, len(self.attributes))


def test_a_rival_asks_and_offers_the_same_in_the_chat_and_in_the_evaluation(world: Dataset):
    rival = asking_rival("asks", FirstAsks(world))
    setting, system = Setting(level="plain", n_items=1), rival.system(Backbone(), Language())
    dialogues = converse(world, "asks", system, range(10), setting)
    n_asked = sum(not e.offered for dialogue in dialogues for e in dialogue.exchanges)
    answers = [m for d in dialogues for m in d.messages if m.startswith(("Yes, ", "No, "))]
    assert n_asked == len(answers) > 10
    again = replay(world, dialogues, "asks", system, setting)
    assert without_seconds(again) == without_seconds(dialogues)
    for dialogue in dialogues:
        model = replace(fake_model(N_ITEMS), data=world)
        chat = Conversation(model, user=str(dialogue.user), policy=rival.policy, n_items=1)
        for exchange in dialogue.exchanges:
            turn = chat.say(exchange.message)
            assert ids(turn) == [*exchange.offered]
            assert bool(exchange.offered) != turn.reply.startswith("Should it have this: ")


def test_an_answer_moves_the_scores_and_is_not_asked_for_again(world: Dataset):
    asker = FirstAsks(world)
    model = replace(fake_model(N_ITEMS), data=world)
    chat = Conversation(model, policy=asking_rival("asks", asker).policy, n_items=3)
    asked = chat.say("something")
    first = asked.reply
    assert first.count("“") == 2 and not asked.note
    yes = first.split("“")[1].split("”")[0]
    second = chat.say(yes).reply
    assert second != first and second.startswith("Should it have this: ")
    (asked,) = attributes_of(world).answered([yes]).nonzero()[:, 0].tolist()
    chat.undo()
    assert chat.say("Yes!").message == yes and chat.turns[-1].reply == second
    offered = ids(chat.say("No, not that."))
    assert attributes_of(world).has[offered, asked].all()
