"""Variants that ask a language model in every turn, as systems of the multi-turn evaluation.

A turn costs seconds, so they take part only when they are named.
"""

from __future__ import annotations

import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from experiments.extraction import Answers
from latentcrs_utils.config import RerankConfig
from latentcrs_utils.constraints.constraint import Requirements
from latentcrs_utils.constraints.extraction import make_extractor
from latentcrs_utils.conversation.policies import Question, Reranking, best_items
from latentcrs_utils.conversation.reply import thing
from latentcrs_utils.conversation.reranking import Story
from latentcrs_utils.data.sequences import Dataset
from latentcrs_utils.evaluation.dialogues import Spent
from latentcrs_utils.evaluation.multi_turn import Answer, FilteringSystem, States, System
from latentcrs_utils.evaluation.one_turn import Fitted
from latentcrs_utils.support.progress import note, track

RERANKED = "LatentCRS+ V"
"""Variant V of `LatentCRS+`."""
FILTERED_BY_MODEL = "LatentCRS+ F (model)"
"""Variant F of `LatentCRS+` where a language model reads beside the lexicon."""
ON_REQUEST = (RERANKED, FILTERED_BY_MODEL)


class RerankingSystem:
    """Variant V: another system's best items in a language model's order, all others behind them.

    What the model reads without any story belongs to the catalogue: it takes its time in the turn
    that needs it first, but its tokens are on no dialogue's bill.

    Args:
        system: whose best items are re-ranked.
        data: the catalogue.
        talker: the language model.
        config: method, number of candidates and weight.

    Attributes:
        identity: names model and configuration, for the log.
    """

    def __init__(
        self, system: System, data: Dataset, talker: Any, config: RerankConfig | None = None
    ):
        self.system, self.data = system, data
        self.config = config or RerankConfig()
        self.identity = f" {talker.name} {self.config}"
        self._variant = Reranking(data, lambda: talker, self.config)

    def __call__(self, states: States) -> Answer:
        """Score all items for every dialogue; the first candidates are in the model's order."""
        answer = self.system(states)
        if isinstance(answer, Tensor):
            answer = Answer(answer, [()] * len(states))
        scores, spent = answer.scores.clone(), []
        for row in track(range(len(states)), "Re-ranking", len(states)):
            begun = time.perf_counter()
            left = scores[row].clone()
            left[list(states.barred[row])] = -torch.inf
            order, tokens = self._order(states, row, left)
            places = torch.arange(len(order), 0, -1, dtype=scores.dtype)
            scores[row, list(order)] = scores[row][torch.isfinite(scores[row])].max() + places
            spent.append((Spent("re-ranking", *tokens, time.perf_counter() - begun),))
        bills = [(*old, *new) for old, new in zip(answer.spent, spent, strict=True)]
        return Answer(scores, bills)

    def _order(
        self, states: States, row: int, left: Tensor
    ) -> tuple[tuple[int, ...], tuple[int, int]]:
        """The candidates of one dialogue in the model's order, and tokens read and written."""
        n, noun = self.config.n_candidates, thing(self.data.name)
        liked = [self.data.titles[item] for item in states.histories[row].tolist()]
        story = Story(liked, states.messages[row], noun)
        # what fails here fails in the choice, too, and that says so
        with suppress(Exception):
            self._variant.prepare(best_items(self.data, left, n), noun)
        choice = self._variant.choose(Question(left, n, Requirements(), story))
        if choice.note:
            note(f"{RERANKED}, user {states.users[row]}: {choice.note}")
        return choice.reranked, choice.tokens


def asking_systems(
    fitted: Fitted, system: System, talker: Any, folder: Path | None = None
) -> dict[str, System]:
    """Return the systems of `ON_REQUEST` by name.

    Args:
        fitted: the data and models of one seed.
        system: whose scores they filter and re-rank.
        talker: the language model.
        folder: where its readings of messages are kept, so that a run that is stopped does not
            ask again; None: in memory alone.
    """
    data = fitted.data
    kept = f"{data.name}_readings_{talker.name}.jsonl".replace("/", "-").replace(" ", "-")
    reader = Answers(talker, folder / kept if folder else None)
    both = make_extractor(data, "both", reader)
    return {
        RERANKED: RerankingSystem(system, data, talker),
        FILTERED_BY_MODEL: FilteringSystem(system, data, both, f" {talker.name}"),
    }
