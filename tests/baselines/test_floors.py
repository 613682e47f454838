"""The floors: one never asks, one halves the candidates, one compares words with item texts."""

from types import SimpleNamespace

import numpy as np
import polars as pl
import torch

from latentcrs_utils.baselines.attributes import attributes_of
from latentcrs_utils.baselines.factorisation_machine import FactorisationMachine
from latentcrs_utils.baselines.floors import FEW, AbsoluteGreedy, MaximumEntropy, dense_retrieval
from latentcrs_utils.baselines.questions import choose, held_out_game
from latentcrs_utils.data.sequences import Dataset, Sequences
from latentcrs_utils.em.instances import Instances
from latentcrs_utils.em.terms import item_texts
from latentcrs_utils.evaluation.one_turn import EvalSet


def machine(data: Dataset) -> FactorisationMachine:
    """One that knows nothing, but likes items of small numbers."""
    made = FactorisationMachine(data.n_users, data.n_items, len(attributes_of(data)), 4)
    for part in made.parameters():
        part.requires_grad_(False).zero_()
    made.bias[:] = -torch.arange(data.n_items + 1.0)
    return made


def test_greedy_never_asks_and_offers_by_score(world: Dataset) -> None:
    greedy = AbsoluteGreedy(attributes_of(world), machine(world))
    game = held_out_game(greedy.attributes, world, "test", np.arange(30), n_items=3)
    actions, scores = choose(greedy, game.known)
    assert (actions == len(greedy.attributes)).all()
    game.step(actions, scores)
    for row in (game.turn_of_hit == 0).nonzero()[:, 0].tolist():
        left = game.known.candidates[row] | game.known.rejected[row]
        assert left.nonzero()[:3, 0].tolist() == game.known.rejected[row].nonzero()[:, 0].tolist()


def test_maximum_entropy_asks_for_the_attribute_nearest_to_half(data: Dataset) -> None:
    asker = MaximumEntropy(attributes_of(data), machine(data))
    game = held_out_game(asker.attributes, data, "valid", np.arange(40))
    asked = 0
    while game.active.any():
        known = game.known
        actions, scores = choose(asker, known)
        for row in game.active.nonzero()[:, 0].tolist():
            open_items, action = known.candidates[row], int(actions[row])
            if action < len(asker.attributes):
                share = asker.attributes.has[open_items].double().mean(0)
                off = (share - 0.5).abs()[~known.settled[row]]
                assert abs(float(share[action]) - 0.5) <= float(off.min()) + 1e-6
                asked += 1
            else:
                few = open_items.sum() <= FEW * known.n_items
                assert few or known.last or known.settled[row].all()
        game.step(actions, scores)
    assert asked > 100


class WordReader:
    """Counts words: texts of the same words have cosine one."""

    def embed(self, texts: list[str], progress: bool | None = None) -> torch.Tensor:
        rows = torch.zeros(len(texts), 512)
        for row, text in enumerate(texts):
            for word in text.lower().split():
                rows[row, sum(map(ord, word)) % 512] += 1
        return rows


def test_dense_retrieval_ranks_by_the_item_texts_alone(world: Dataset) -> None:
    texts = [item_texts(world)[6], item_texts(world)[30], ""]
    nothing, targets = torch.zeros(3, 2), torch.ones(3, dtype=torch.int64)
    histories = Sequences.from_lists([[2], [3, 4], []])
    cases = EvalSet(Instances(nothing, nothing, targets, histories), texts, pl.DataFrame())
    scores = dense_retrieval(world, SimpleNamespace(), WordReader())(cases)
    assert scores[:2].argmax(1).tolist() == [7, 31]
    assert torch.allclose(scores[[0, 1], [7, 31]], torch.ones(2), atol=1e-5)
    assert (scores[2, 1:] == scores[2, 1]).all() and torch.isneginf(scores[:, 0]).all()
