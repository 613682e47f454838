"""The game of questions: its gains and rewards by hand, and what shrinks the candidates."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from latentcrs_utils.baselines.attributes import attributes_of
from latentcrs_utils.baselines.questions import (
    ACCEPTED,
    MISSED,
    NO,
    YES,
    Game,
    Rewards,
    hdcg,
    held_out_game,
)
from latentcrs_utils.baselines.rival import known_of_request
from latentcrs_utils.constraints.constraint import Constraint
from latentcrs_utils.conversation.policies import Request
from latentcrs_utils.data.sequences import Dataset, Sequences
from latentcrs_utils.simulation.items import Catalogue
from latentcrs_utils.simulation.users import TemplateUser, answer, make_test_cases

REWARDS = Rewards(yes=0.1, no=-0.2, hit=5.0, miss=-0.5, limit=-3.0)


def new_game(data: Dataset, targets: list[int], **size: int) -> Game:
    n, generator = len(targets), torch.Generator().manual_seed(0)
    seen = Sequences.from_lists([[1]] * n)
    rows = torch.zeros(n, dtype=torch.int64)
    return Game(attributes_of(data), rows, torch.tensor(targets), seen, generator, **size)


def favouring(game: Game, *items: int) -> torch.Tensor:
    """Scores that rank these items first."""
    scores = torch.zeros(game.known.candidates.shape)
    for place, item in enumerate(items):
        scores[:, item] = 100.0 - place
    return scores


@pytest.mark.parametrize(
    "turn, rank, gain", [(1, 1, 1.0), (1, 2, 0.8638), (2, 1, 0.6309), (15, 10, 0.2462)]
)
def test_hdcg_by_hand(turn: int, rank: int, gain: float) -> None:
    assert float(hdcg(torch.tensor(turn), torch.tensor(rank))) == pytest.approx(gain, abs=5e-5)


def test_every_turn_earns_what_it_should(world: Dataset) -> None:
    game = new_game(world, [6], n_turns=5, n_items=1)  # film 6 has no genre, and a decade
    names = [str(name) for name in game.attributes.names]
    assert [game.known.turn, int(game.known.events[0, 0])] == [2, YES]
    a_list = torch.tensor([len(names)])
    genre = torch.tensor([next(i for i, name in enumerate(names) if name.startswith("genre"))])
    earned = [game.step(genre, favouring(game), REWARDS)]
    earned += [game.step(a_list, favouring(game, 7, 6), REWARDS) for _ in range(2)]
    assert [float(one) for one in earned] == pytest.approx([-0.2, -0.5, 5.0])
    assert game.known.events[0].tolist() == [YES, NO, MISSED, MISSED, 0]
    assert (int(game.turn_of_hit), int(game.rank_of_hit)) == (4, 1)
    assert float(game.step(a_list, favouring(game, 6), REWARDS)) == 0.0  # it is over
    lost = new_game(world, [6], n_turns=2, n_items=1)
    assert float(lost.step(genre, favouring(lost), REWARDS)) == pytest.approx(-0.2 - 3.0)
    assert not lost.active.any() and int(lost.turn_of_hit) == 0


def test_only_what_is_accepted_or_refused_as_an_item_shrinks_the_candidates(data: Dataset) -> None:
    game = held_out_game(attributes_of(data), data, "valid", np.arange(60), n_items=3)
    n, generator = len(game.attributes), torch.Generator().manual_seed(1)
    changed = {YES: 0, NO: 0, MISSED: 0}
    while game.active.any():
        before, active = game.known, game.active
        actions = torch.randint(n + 1, (60,), generator=generator)
        asked = actions.clamp_max(n - 1)
        game.step(actions, torch.rand(before.candidates.shape, generator=generator))
        after, now = game.known, game.known.events[:, before.turn - 1]
        assert not (after.candidates & ~before.candidates).any()
        for row in active.nonzero()[:, 0].tolist():
            gone = before.candidates[row] & ~after.candidates[row]
            kind = int(now[row])
            changed[kind] += int(gone.any())
            if kind == YES and not game.attributes.single[asked[row]]:
                assert torch.equal(
                    gone, before.candidates[row] & ~game.attributes.has[:, asked[row]]
                )
            if kind == MISSED:
                assert torch.equal(gone, after.rejected[row] & ~before.rejected[row])
    assert changed[YES] > 20 and changed[MISSED] > 20 and changed[NO] == 0
    assert ((game.known.beliefs > ACCEPTED).sum(1) >= 1).all()


@pytest.mark.parametrize(
    "text, asked, refused",
    [
        ("Yes, Comedy, please.", {"genre=Comedy"}, set()),
        ("No, not the 1980s.", set(), {"decade=1980"}),
        ("A comedy, but no horror, please.", {"genre=Comedy"}, {"genre=Horror"}),
        ("Some drama from the eighties.", {"genre=Drama", "decade=1980"}, set()),
        ("Anything but westerns.", set(), {"genre=Western"}),
        ("", set(), set()),
    ],
)
def test_beliefs_of_words(data: Dataset, text: str, asked: set[str], refused: set[str]) -> None:
    attributes = attributes_of(data)
    (belief,) = attributes.beliefs([text])
    names = [str(name) for name in attributes.names]
    assert {name for name, b in zip(names, belief, strict=True) if b > ACCEPTED} == asked
    assert {name for name, b in zip(names, belief, strict=True) if b < -ACCEPTED} == refused


def test_a_span_of_years_asks_for_each_decade_that_it_touches(data: Dataset) -> None:
    attributes = attributes_of(data)
    signs = attributes.signs(Constraint("era", "1975-1984"))
    touched = {str(n) for n, s in zip(attributes.names, signs, strict=True) if s > 0}
    assert touched == {"decade=1970", "decade=1980"}
    assert (attributes.signs(Constraint("era", "1975-1984", negated=True)) == 0).all()
    assert attributes.signs(Constraint("genre", "Drama", negated=True)).sum() == -1


def test_answers_of_simulated_users_are_heard_in_a_dialogue(data: Dataset) -> None:
    attributes, catalogue = attributes_of(data), Catalogue(data)
    for case in make_test_cases(data, range(4), catalogue):
        user = TemplateUser(case)
        asked = [attributes.names[place] for place in (3, 11, 14)]
        messages = ["Hello there.", *(answer(user, one, catalogue).text for one in asked)]
        offered = (int(case.history[0]), 5)
        request = Request(
            torch.zeros(data.n_items + 1), {*case.history, *offered}, 5,
            history=[*map(int, case.history)], messages=[*messages, "Neither of these."],
        )  # fmt: skip
        known = known_of_request(attributes, request)
        truth = [bool(attributes.has[case.target.item, place]) for place in (3, 11, 14)]
        assert (known.beliefs[0, [3, 11, 14]] > 0).tolist() == truth
        assert known.settled[0, [3, 11, 14]].all() and known.turn == 5 and known.last
        assert known.events[0].tolist() == [*(YES if t else NO for t in truth), MISSED, 0]
        assert known.rejected[0].nonzero().flatten().tolist() == [*{5} - {*case.history}]
        assert not known.candidates[0, [0, *case.history]].any()
        hidden = replace(request, history=(), messages=messages[:1])
        known = known_of_request(attributes, hidden)  # more is gone than was ever offered
        assert not known.rejected.any() and not known.candidates[0, [5, *case.history]].any()
