"""Steering by hand: what people find alike, what they do, and the same path in the chat."""

from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest
import torch

from experiments.steering import (
    RIVAL,
    People,
    answer,
    likeness,
    liking,
    push,
    pushing,
    summarise,
    talk,
)
from latentcrs_utils.conversation.turn import Push
from latentcrs_utils.data.sequences import Sequences
from latentcrs_utils.em.instances import Instances
from latentcrs_utils.evaluation.one_turn import LEVELS, EvalSet
from tests.conversation.fakes import chat, fake_model, summed

FILMS = torch.tensor([[4, 8, 36], [1, 5, 9], [2, 6, 10], [3, 7, 11]])  # of the four genres
WISH = 39  # a western that nobody has seen


@pytest.fixture
def model():
    return fake_model()


def cases_of(model, text, history=(12, 16, 20, 24, 28)):
    histories = Sequences.from_lists([list(history)])
    S, x = model.backbone.encode(histories), summed([text])
    instances = Instances(S, x, torch.tensor([WISH]), histories)
    return EvalSet(instances, [text], pl.DataFrame({"level": ["plain"]}))


def people(model, noise=0.0, n=1, seed=0):
    return People(likeness(model.data), torch.full((n,), WISH), noise, seed)


def test_films_are_alike_by_viewers_genres_and_decade(model):
    alike = likeness(model.data)
    # 12 and 16: the same person, genre (Comedy) and decade (1962, 1966); 1 and 2: not the genre
    assert alike[12, 16] == pytest.approx(3) and alike[12, 20] == pytest.approx(2.5)
    assert alike[1, 2] == pytest.approx(2)
    assert alike[4, 32] == pytest.approx(1) and alike[1, 39] == 0  # a test film has no viewer
    torch.testing.assert_close(alike, alike.T)


def test_people_choose_what_looks_most_like_their_wish_or_nothing(model):
    films = torch.tensor([[[2, 6], [35, WISH], [31, 1]]])
    one = people(model)
    assert one.compare(films) == ([1], [0])  # 35 alone counts: western of the same decade
    assert one.compare(films[:, :1]) == ([-1], [0])
    assert people(model).compare(torch.tensor([[[35], [WISH]]]))[0] == [1]
    careless, many = people(model, noise=150.0, n=600), films.expand(600, -1, -1)
    counts = np.bincount(np.array(careless.compare(many)[0]) + 1, minlength=4)
    assert counts[1:].min() > 100


def test_the_path_of_a_user_is_that_of_the_chat(model):
    talker = chat(user=42)
    talker.say("a film")
    said = iter([([2], [0]), ([-1], [0]), ([1], [0]), ([-1], [1]), ([-1], [1])])
    person = SimpleNamespace(compare=lambda films: next(said))
    pushes = []

    def act(intents, gone, of_all, people):
        pushes[:] = of_all
        by_name = dict(zip(names, intents[0].exp().tolist(), strict=True))
        assert talker.intents() == pytest.approx(by_name)
        n_before = len(pushes[0])
        push(FILMS, intents, gone, of_all, people)
        for one in pushes[0][n_before:]:
            assert {names[j] for j in one.shown} == {*talker.leaders()}
            talker.push(names[one.intent], one.more)

    names, nothing = model.anchors.names, torch.empty(0)
    pushed = pushing(model, act, cases_of(model, "a film"), person)
    next(pushed)
    for _ in range(5):
        scores = pushed.send((nothing, nothing))
        belief = talker.beliefs(talker.history, talker.messages, talker.pushes)
        torch.testing.assert_close(scores, belief.scores)
    assert {one.more for one in pushes[0]} == {True, False}


def test_the_questions_are_those_of_policy_a(model):
    talker = chat("A", user=None, n_items=1)
    instances = cases_of(model, "a film", history=()).instances
    turn = talker.say("a film")
    gone = torch.zeros(1, 41, dtype=torch.bool)
    gone[0, [0, *(item.item for item in turn.items)]] = True
    seen, pushes = [], [[]]
    person = SimpleNamespace(compare=lambda films: (seen.append(films), ([1], [0]))[1])
    answer(model, 0.0, model.context(instances.S, instances.x).log_prior, gone, pushes, person)
    assert seen[0].flatten().tolist() == [item for _, item, _ in turn.question]
    assert pushes == [[Push(turn.question[1][0], True, (*(j for j, *_ in turn.question),))]]


def test_who_likes_grows_a_history_and_the_lists_never_repeat(model):
    cases, fitted = cases_of(model, "a film"), SimpleNamespace(backbone=model.backbone, plus=model)
    silent, likes = (
        talk(liking(fitted, "plus", on, cases, people(model)), cases) for on in (False, True)
    )
    # comedies first in silence; the first western that is offered is liked, and brings more
    assert silent[0].shape == silent[1].shape == (5, 1) and len({*silent[0][:, 0]}) == 1
    assert likes[0][-1, 0] < silent[0][-1, 0]
    found = [(silent[0][0] <= 5 * k).all() for k in range(1, 6)]
    assert silent[1][:, 0].tolist() == found


def test_gaps_are_paired_with_the_rival_and_averaged_over_seeds():
    levels = np.array([level for level in LEVELS for _ in range(2)])
    ranks = np.full((5, 8), 30)
    better = ranks.copy()
    better[1:, :2] = 1
    none, found = np.zeros((5, 8), bool), better == 1
    rows = summarise({RIVAL: [(ranks, none)] * 2, "ours": [(better, found), (ranks, none)]}, levels)
    assert len(rows) == 4 * 5 * 2
    by = {(row["level"], row["clicks"], row["system"]): row for row in rows}
    first, last = by["plain", 1, "ours"], by["vague", 4, "ours"]
    assert first["NDCG@20"] == first["S_gap"] == first["S_gap_low"] == 0.5
    assert last["NDCG@20"] == last["S_gap_high"] == by["plain", 0, "ours"]["S"] == 0
