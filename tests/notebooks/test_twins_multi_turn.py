"""What notebook 08 writes out by hand equals what the package computes, on inputs of its own."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch

from latentcrs_utils.baselines.attributes import attributes_of
from latentcrs_utils.baselines.questions import entropies, held_out_game
from latentcrs_utils.constraints.constraint import Constraint
from latentcrs_utils.data.source import UNKNOWN_TITLE
from latentcrs_utils.evaluation import published as bounds
from latentcrs_utils.evaluation.dialogues import (
    Dialogue,
    Exchange,
    TokenUsage,
    success_by,
    turns_taken,
    usage_table,
)
from latentcrs_utils.evaluation.metrics import paired_difference
from latentcrs_utils.evaluation.multi_turn import Setting, converse, template_users
from latentcrs_utils.simulation.agenda import MOST_NEW
from latentcrs_utils.simulation.items import Item
from tests.evaluation.dialogue_world import dataset, noise, reader

STEMS = ("08_multi_turn",)


def held(turns, system="B"):
    successes = [None if np.isinf(turn) else int(turn) for turn in turns]
    return [Dialogue(system, user, 1, 0, turn, ()) for user, turn in enumerate(successes)]


def test_the_agenda_keeps_the_rules_of_the_package(by_hand, rng):
    """At most so much that is new, nothing twice, nothing false, the target taken."""
    genres = ["Comedy", "Drama", "War", "Western", "Crime"]
    films = {
        title: {genres[i] for i in rng.choice(5, size=rng.integers(1, 4), replace=False)}
        for title in ("Alpha", "Bravo", "Charlie", "Delta", "Echo")
    }
    for target in films:
        goal = Item(1, target, None, frozenset(films[target]))
        told: list[str] = []
        for offered in [[], ["Alpha", "Bravo"], ["Charlie"], ["Delta", "Echo"], list(films)]:
            said = by_hand.agenda(films, target, offered, told)
            if target in offered:
                assert said == ["That one!"]
                break
            assert len(said) <= MOST_NEW and not set(said) & set(told)
            for line in said:
                refuses = line.startswith("not ")
                genre = line.removeprefix("not ")
                assert Constraint("genre", genre, refuses).satisfies(goal)
                if refuses:
                    assert any(line[4:] in films[title] for title in offered)
            told += said


@pytest.mark.parametrize("listens", [True, False])
def test_the_loop_holds_the_dialogues_of_the_package(by_hand, listens):
    data = dataset()
    setting = Setting(level="plain")
    users = range(12)
    system = reader() if listens else noise(1)
    for theirs in converse(data, "one", system, users, setting):
        history = data.histories("test").select([theirs.user])
        nameless = [i for i, title in enumerate(data.titles) if title == UNKNOWN_TITLE]
        (user,) = template_users(data, setting)([theirs.user])
        barred = [*history[0].tolist(), *nameless]
        said, offers, success = by_hand.talk(user, theirs.user, system, history, barred)
        assert success == theirs.success and said == theirs.messages
        assert offers == [list(exchange.offered) for exchange in theirs.exchanges]


def test_metrics(by_hand, rng):
    turns = rng.choice([1, 2, 3, 4, 5, np.inf], size=40)
    for k in range(1, 6):
        np.testing.assert_array_equal(by_hand.success_within(k, turns), success_by(held(turns), k))
    np.testing.assert_array_equal(by_hand.turns_counted(turns), turns_taken(held(turns)))
    few = np.minimum(turns, 3)
    np.testing.assert_array_equal(by_hand.turns_counted(few, 3), turns_taken(held(few), 3))


def test_differences(by_hand, rng):
    ours, theirs = rng.choice([1, 4, np.inf], size=(2, 3, 50))
    for k in (3, 5):
        found = by_hand.gap(ours[0], theirs[0], k)
        expected = paired_difference(success_by(held(ours[0]), k), success_by(held(theirs[0]), k))
        assert (found.mean, found.low, found.high) == pytest.approx(
            (expected.mean, expected.low, expected.high)
        )
    # seeds are averaged before users are drawn
    found = by_hand.gap(ours, theirs)
    assert found.per_user.shape == (50,)
    assert found.mean == pytest.approx((ours <= 5).mean() - (theirs <= 5).mean())


def test_bounds_of_the_turns(by_hand):
    for s3, s5 in itertools.combinations_with_replacement(np.linspace(0, 1, 6), 2):
        assert by_hand.turns_bounds(s3, s5) == bounds.turns_bounds(s3, s5)


def test_tokens_of_a_dialogue(by_hand):
    def count(text):
        return [0] * 7 + [1] * len(text.split())

    messages = ["a comedy please", "no war", "older"]
    exchanges = tuple(
        Exchange(
            message, (), (), "template", (1,),
            (TokenUsage("embedding", len(count(" ".join(messages[:k]))), 1, 0.1),),
        )
        for k, message in enumerate(messages, start=1)
    )  # fmt: skip
    (dialogue,) = held([3])
    usage = usage_table([replace(dialogue, exchanges=exchanges)]).filter(purpose="recommending")
    assert by_hand.tokens_read(messages, count) == usage["prompt_tokens_a_dialogue"].item() == 35


def test_entropies_of_questions(by_hand):
    data = dataset()
    asked = attributes_of(data)
    known = held_out_game(asked, data, "test", np.arange(6)).known
    weights = torch.rand(known.candidates.shape) * known.candidates
    p = (weights @ asked.has.float()) / weights.sum(1, keepdim=True)
    ours = by_hand.entropy(p).masked_fill(known.settled, -torch.inf)
    torch.testing.assert_close(ours, entropies(known, asked, weights))
