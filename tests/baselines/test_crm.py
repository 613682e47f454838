"""CRM: what it learns from and what not, and a world in which the best policy is known."""

import dataclasses
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch

from latentcrs_utils.baselines import crm as module
from latentcrs_utils.baselines.attributes import attributes_of
from latentcrs_utils.baselines.crm import CRM, CRMConfig, fit_crm, fit_tracker
from latentcrs_utils.baselines.factorisation_machine import FMConfig, fit_factors, told
from latentcrs_utils.baselines.floors import AbsoluteGreedy, MaximumEntropy
from latentcrs_utils.baselines.questions import Rewards, held_out_game, play
from latentcrs_utils.constraints.constraint import Constraint
from latentcrs_utils.data.sequences import Dataset, Sequences
from latentcrs_utils.simulation.users import answer_text
from latentcrs_utils.simulation.utterances import Utterances
from tests.made import made

pytestmark = pytest.mark.usefixtures("empty_cache")
QUICK = CRMConfig(n_imitations=4, n_updates=2, n_epochs=3, batch_size=16)


def toy() -> Dataset:
    """Forty films, all dramas or comedies; what is looked for is always one of five westerns.

    Half of the films are romances, which halves the candidates best and tells nothing. Nobody has
    taken a western so far, so the machine ranks them last: whoever asks for it first wins at once.
    """
    others = [["Drama" if i <= 25 else "Comedy"] + ["Romance"] * (i % 2) for i in range(6, 41)]
    genres, titles = [["Drama", "Western"]] * 5 + others, [f"Film {i + 1}" for i in range(40)]
    rng = np.random.default_rng(0)
    rows = [[*rng.permutation(35)[:6] + 6, *rng.permutation(5)[:2] + 1] for _ in range(40)]
    return made("ml-toy", rows, title=titles, year=[None] * 40, genres=genres)


def with_other_items(data: Dataset, split: str, fingerprint: str) -> Dataset:
    """The same data with the held-out items of a split replaced."""
    rows = [[*map(int, row)] for row in data.interactions]
    for number, row in enumerate(rows):
        place = {"valid": -2, "test": -1}[split]
        row[place] = next(i for i in range(1 + number % 30, 41) if i not in row)
    interactions = Sequences.from_lists(rows)
    return dataclasses.replace(data, interactions=interactions, fingerprint=fingerprint)


def state(crm: CRM) -> dict[str, Any]:
    return {**crm.network.state_dict(), **crm.machine.state_dict()}


def test_the_best_policy_of_a_known_world_is_found() -> None:
    data = toy()
    attributes, size = attributes_of(data), {"n_turns": 6, "n_items": 5}
    config = CRMConfig(n_imitations=20, n_updates=15, n_epochs=12, patience=12, **size)
    crm = fit_crm(data, config=config)

    def turns(asker: Any) -> np.ndarray:
        return play(asker, held_out_game(attributes, data, "test", np.arange(40), 3, **size)).turns

    opening = held_out_game(attributes, data, "test", np.arange(40), 3, **size).known
    western = attributes.names.index(Constraint("genre", "Western"))
    by_drama = opening.beliefs[:, western] == 0
    assert by_drama.sum() > 10
    # a western that opens leaves five films, which are shown at once; a drama one question more
    best = np.where(by_drama, 3, 2)
    assert (turns(crm) == best).all()
    assert turns(MaximumEntropy(attributes, crm.machine)).mean() > best.mean() + 0.5
    assert turns(AbsoluteGreedy(attributes, crm.machine)).mean() > best.mean() + 0.5
    assert crm.curve[-1]["valid_turns"] < crm.curve[0]["valid_turns"]


def test_gamma_and_rewards_reach_the_returns(monkeypatch: pytest.MonkeyPatch) -> None:
    data = toy()
    crm = fit_crm(data, config=QUICK)
    drawn = torch.zeros(1, len(crm.attributes) + 1)
    drawn[0, -1] = 50.0  # a list, whatever the state
    drawn.requires_grad_()
    monkeypatch.setattr(CRM, "logits", lambda *_: drawn.expand(8, -1))
    users, rewards = np.arange(8), Rewards(miss=-1.0, hit=-1.0, limit=0.0)
    optimiser = torch.optim.SGD([drawn], 0.0)

    def mean_return(gamma: float) -> float:
        game = held_out_game(crm.attributes, data, "valid", users, n_turns=4, n_items=1)
        return module.reinforce(crm, game, optimiser, CRMConfig(gamma=gamma), rewards)

    game = held_out_game(crm.attributes, data, "valid", users, n_turns=4, n_items=1)
    n_lists = play(AbsoluteGreedy(crm.attributes, crm.machine), game).turns - 1
    assert mean_return(1.0) == pytest.approx(-n_lists.mean(), abs=1e-5)
    assert mean_return(0.5) == pytest.approx(-(2 - 0.5 ** (n_lists - 1)).mean(), abs=1e-5)


def test_no_test_item_changes_what_is_fitted() -> None:
    data = toy()
    fitted, again = fit_crm(data, config=QUICK), with_other_items(data, "test", "other tests")
    same = fit_crm(again, config=QUICK)
    assert (again.targets("test") != data.targets("test")).all()
    assert all(torch.equal(part, state(same)[name]) for name, part in state(fitted).items())
    assert fitted.curve == same.curve


def test_validation_items_choose_the_epoch_of_the_machine_and_teach_it_nothing() -> None:
    data = toy()
    config = FMConfig(n_epochs=4, patience=4)
    _, curve = fit_factors(data, config=config)
    _, other = fit_factors(with_other_items(data, "valid", "other"), config=config)
    learned = [[(row["loss"], row["accuracy"]) for row in rows] for rows in (curve, other)]
    assert learned[0] == learned[1] and len(curve) == 4
    chosen = [[row["valid_recall20"] for row in rows] for rows in (curve, other)]
    assert chosen[0] != chosen[1]


def test_the_machine_puts_training_pairs_in_order() -> None:
    model, curve = fit_factors(toy(), config=FMConfig(patience=45))
    assert curve[-1]["accuracy"] > 0.8
    has = attributes_of(toy()).has[torch.arange(1, 41)]
    beliefs = told(has, torch.Generator().manual_seed(0))
    assert not (beliefs.bool() & ~has).any() and {0, 1, 2} == {*beliefs.sum(1).int().tolist()}
    strangers = model.query(torch.tensor([-1]), torch.zeros(1, has.shape[1]))
    assert torch.allclose(strangers[0], model.users[:-1].mean(0))


def test_the_tracker_learns_words_from_training_texts_and_hears_answers() -> None:
    data = toy()
    said = {"laugh out loud": "genre=Comedy", "tears": "genre=Drama", "no tears": "not genre=Drama"}
    rows = [("train", f"{t} {n}", [known]) for t, known in said.items() for n in range(400)]
    rows += [("test", f"kisses {n}", ["genre=Romance"]) for n in range(400)]
    frame = pl.DataFrame(rows, schema=["split", "text", "conditions"], orient="row")
    tracker = fit_tracker(data, Utterances(frame))
    names = [str(name) for name in tracker.names]
    comedy, drama, romance = (names.index(f"genre={g}") for g in ("Comedy", "Drama", "Romance"))
    found = tracker.beliefs(["laugh out loud please", "tears", "no tears", "kisses", ""])
    assert found[0, comedy] > 0.5 and found[1, drama] > 0.5 and found[2, drama] < -0.5
    assert abs(float(found[3, romance])) < 0.2
    for place, name in enumerate(tracker.names):
        said = tracker.beliefs([answer_text(name), answer_text(name.opposite)])
        assert said[0].argmax() == place and said[1].argmin() == place
        assert said[0, place] > 0.5 and said[1, place] < -0.5
