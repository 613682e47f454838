"""The floors: what needs no learning beyond the factorisation machine, or none at all.

Absolute greedy and maximum entropy are the untrained rows of CRM (Sun and Zhang 2018), EAR (Lei et
al. 2020) and all that followed; on data with few attributes they beat CRM in the literature, too.
Simplified: maximum entropy recommends in those codes with probability 10 / |candidates|; here it
does so from a fixed number of candidates on, so that the same game ends the same way twice.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from latentcrs_utils.baselines.attributes import Attributes, attributes_of
from latentcrs_utils.baselines.factorisation_machine import FactorisationMachine, fit_factors
from latentcrs_utils.baselines.questions import Known, entropies
from latentcrs_utils.behavior.pretraining import Backbone
from latentcrs_utils.config import TermWeights
from latentcrs_utils.data.sequences import Dataset
from latentcrs_utils.em.terms import ScoreTerms
from latentcrs_utils.evaluation.one_turn import EvalSet, Scorer
from latentcrs_utils.language.text_encoder import TextEncoder

FEW = 2.0  # so many lists of candidates are few enough for maximum entropy to recommend


@dataclass(frozen=True)
class AbsoluteGreedy:
    """Recommends in every turn what the factorisation machine scores highest, and never asks."""

    attributes: Attributes
    machine: FactorisationMachine

    def scores(self, known: Known) -> Tensor:
        """The machine's scores for the users and their beliefs, [N, V + 1]."""
        return self.machine.scores(known.users, known.beliefs)

    def actions(self, known: Known, scores: Tensor) -> Tensor:
        """Always A: recommend."""
        return torch.full((len(scores),), len(self.attributes))


class MaximumEntropy(AbsoluteGreedy):
    """Asks about the attribute that halves the candidates best, until they fit on `FEW` lists."""

    def actions(self, known: Known, scores: Tensor) -> Tensor:
        """The attribute of largest entropy, or A where few candidates are left."""
        few = known.candidates.sum(1) <= FEW * known.n_items
        return torch.where(few, len(self.attributes), entropies(known, self.attributes).argmax(1))


def fit_floor(kind: type[AbsoluteGreedy], data: Dataset, *, seed: int = 0) -> AbsoluteGreedy:
    """`AbsoluteGreedy` or `MaximumEntropy` with the machine that `fit_factors` fits or loads."""
    return kind(attributes_of(data), fit_factors(data, seed=seed)[0])


def dense_retrieval(data: Dataset, backbone: Backbone, reader: TextEncoder | None = None) -> Scorer:
    """Words against item texts by cosine, as a sentence encoder reads both; nothing is trained.

    Without a `reader` it is MiniLM. Neither user nor history counts.
    """
    terms = ScoreTerms.of_data(data, backbone, TermWeights(model=0.0, content=1.0), reader)
    assert terms is not None

    def scores(cases: EvalSet) -> Tensor:
        return terms(torch.zeros(len(cases), data.n_items + 1), cases.instances.S, cases.texts)

    return scores
