"""The systems of the tables as partners in a dialogue: what is known so far -> scores of all items.

A system is any function from `States` to scores; variants that ask a language model return an
`Answer` with what that cost.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch
from torch import Tensor

from experiments.extraction import Answers
from latentcrs_utils.behavior.pretraining import Backbone
from latentcrs_utils.config import RerankConfig
from latentcrs_utils.constraints.constraint import Requirements, matcher_for
from latentcrs_utils.constraints.extraction import Extraction, Extractor, make_extractor
from latentcrs_utils.conversation.policies import Question, Reranking, best_items, levels, tiered
from latentcrs_utils.conversation.reply import thing
from latentcrs_utils.conversation.reranking import RerankContext
from latentcrs_utils.data.sequences import Dataset, Sequences
from latentcrs_utils.em.instances import Instances
from latentcrs_utils.evaluation.dialogues import TokenUsage
from latentcrs_utils.evaluation.one_turn import EvalSet, Fitted, Scorer, scorers
from latentcrs_utils.language.encoding import Language
from latentcrs_utils.support.artifacts import fingerprint
from latentcrs_utils.support.progress import note, track

READERS = ("text alone", "fusion without intents", "LatentCRS", "LatentCRS+")
"""The systems that read x^u as a vector; the lexicon filter reads the words themselves."""
FILTERED = "LatentCRS+ F"
"""Variant F of `LatentCRS+`."""


@dataclass(frozen=True)
class States:
    """B dialogues, each waiting for the system's next offer.

    Attributes:
        users: user indices, int64 [B].
        histories: what the system knows of each user's past, B sequences.
        messages: what each user has said, turn by turn.
        offered: what each was offered before, in order; never to be offered again.
        barred: all that is not to be offered: padding, what has no name, the whole past, however
            little of it the system knows, and what was offered before.
    """

    users: np.ndarray
    histories: Sequences
    messages: Sequence[Sequence[str]]
    offered: Sequence[Sequence[int]]
    barred: Sequence[Collection[int]]

    def __len__(self) -> int:
        return len(self.users)

    @property
    def texts(self) -> list[str]:
        """x^u as words: all messages of a user joined by a space, B strings."""
        return [" ".join(messages) for messages in self.messages]


@dataclass(frozen=True)
class Answer:
    """What a system says to B dialogues.

    Attributes:
        scores: [B, V + 1], higher is better; column 0 (padding) is never offered, nor is minus
            infinity.
        usage: what each dialogue cost in this turn, B tuples.
    """

    scores: Tensor
    usage: Sequence[tuple[TokenUsage, ...]]


System = Callable[[States], Tensor | Answer]


@dataclass(frozen=True)
class ScoredSystem:
    """A scorer of the one-turn tables, asked anew in every turn (variant B where it reads).

    Attributes:
        scorer: cases -> scores [B, V + 1].
        backbone: encodes the histories.
        language: embeds the messages.
        reads: whether the scorer looks at x; if not, nothing is embedded.
    """

    scorer: Scorer
    backbone: Backbone
    language: Language
    reads: bool

    def __call__(self, states: States) -> Answer:
        """Score all items for every dialogue."""
        usage: list[tuple[TokenUsage, ...]] = [()] * len(states)
        if self.reads:
            x, usage = embed_states(states, self.language)
        else:
            x = torch.zeros(len(states), len(self.language.mean))
        instances = Instances(
            S=self.backbone.encode(states.histories),
            x=x,
            targets=torch.zeros(len(states), dtype=torch.int64),
            histories=states.histories,
        )
        frame = pl.DataFrame({"user": states.users})
        return Answer(self.scorer(EvalSet(instances, states.texts, frame)), usage)


@dataclass(frozen=True)
class FilteringSystem:
    """Variant F: another system's scores, held to what each user requires so far.

    Attributes:
        system: whose scores are filtered.
        data: the catalogue.
        extractor: reads the requirements; each distinct message is read once.
        identity: names who reads, for the log, where it is not the lexicon.
    """

    system: System
    data: Dataset
    extractor: Extractor
    identity: str = ""
    _read: dict[str, Extraction] = field(default_factory=dict, repr=False, compare=False)

    def __call__(self, states: States) -> Answer:
        """Score all items for every dialogue; what meets the requirements comes first."""
        answer = self.system(states)
        if isinstance(answer, Tensor):
            answer = Answer(answer, [()] * len(states))
        matcher, scores, usage = matcher_for(self.data), answer.scores.double(), []
        for row, messages in enumerate(states.messages):
            begun, wanted = time.perf_counter(), Requirements()
            for message in messages:
                found = self._extraction(message)
                wanted = wanted.then(found.requirements, message)
            # what cannot be offered is no choice, so it keeps no requirement from giving way
            left = torch.isfinite(scores[row]).numpy().copy()
            left[list(states.barred[row])] = False
            scores[row] = tiered(scores[row], levels(matcher, wanted, left)[0])
            tokens = found.prompt_tokens, found.completion_tokens
            usage.append((TokenUsage("extraction", *tokens, time.perf_counter() - begun),))
        bills = [(*old, *new) for old, new in zip(answer.usage, usage, strict=True)]
        return Answer(scores, bills)

    def _extraction(self, message: str) -> Extraction:
        if message not in self._read:
            self._read[message] = self.extractor(message)
        return self._read[message]


def embed_states(states: States, language: Language) -> tuple[Tensor, list[tuple[TokenUsage, ...]]]:
    """x^u of every dialogue, [B, d_x], and the bill of each: one PromptEOL pass, one new token."""
    texts = states.texts
    begun = time.perf_counter()
    x = language.encode(texts, progress=False)
    seconds = (time.perf_counter() - begun) / max(1, len(texts))
    count = language.embedder.token_ids
    return x, [(TokenUsage("embedding", len(count(text)), 1, seconds),) for text in texts]


def dialogue_systems(fitted: Fitted) -> dict[str, System]:
    """Every row of the one-turn table as a system, in its order, and variant F of `LatentCRS+`.

    F reads with the lexicon, which needs no language model.
    """
    systems: dict[str, System] = {
        name: ScoredSystem(scorer, fitted.backbone, fitted.language, name in READERS)
        for name, scorer in scorers(fitted).items()
    }
    lexicon = make_extractor(fitted.data, "lexicon")
    systems[FILTERED] = FilteringSystem(systems["LatentCRS+"], fitted.data, lexicon)
    return systems


def identity_of(fitted: Fitted) -> str:
    """Name what the systems' answers depend on: data, texts and every trained weight."""
    modules = (
        fitted.backbone.encoder,
        fitted.text_alone.scorer,
        fitted.fusion.scorer,
        *(m for model in (fitted.latentcrs, fitted.latentcrs_plus)
          for m in (model.generative, model.inference)),
    )  # fmt: skip
    weights = [tensor for module in modules for tensor in module.state_dict().values()]
    parts = (fitted.data.fingerprint, fitted.language.fingerprint, fingerprint(*weights))
    return " ".join(parts)


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
        chat_model: the language model.
        config: method, number of candidates and weight.

    Attributes:
        identity: names model and configuration, for the log.
    """

    def __init__(
        self, system: System, data: Dataset, chat_model: Any, config: RerankConfig | None = None
    ):
        self.system, self.data = system, data
        self.config = config or RerankConfig()
        self.identity = f" {chat_model.name} {self.config}"
        self._variant = Reranking(data, lambda: chat_model, self.config)

    def __call__(self, states: States) -> Answer:
        """Score all items for every dialogue; the first candidates are in the model's order."""
        answer = self.system(states)
        if isinstance(answer, Tensor):
            answer = Answer(answer, [()] * len(states))
        scores, usage = answer.scores.clone(), []
        for row in track(range(len(states)), "Re-ranking", len(states)):
            begun = time.perf_counter()
            left = scores[row].clone()
            left[list(states.barred[row])] = -torch.inf
            order, tokens = self._order(states, row, left)
            places = torch.arange(len(order), 0, -1, dtype=scores.dtype)
            scores[row, list(order)] = scores[row][torch.isfinite(scores[row])].max() + places
            usage.append((TokenUsage("re-ranking", *tokens, time.perf_counter() - begun),))
        bills = [(*old, *new) for old, new in zip(answer.usage, usage, strict=True)]
        return Answer(scores, bills)

    def _order(
        self, states: States, row: int, left: Tensor
    ) -> tuple[tuple[int, ...], tuple[int, int]]:
        """The candidates of one dialogue in the model's order, and tokens read and written."""
        n, noun = self.config.n_candidates, thing(self.data.name)
        liked = [self.data.titles[item] for item in states.histories[row].tolist()]
        story = RerankContext(liked, states.messages[row], noun)
        # what fails here fails in the choice, too, and that says so
        with suppress(Exception):
            self._variant.prepare(best_items(self.data, left, n), noun)
        choice = self._variant.choose(Question(left, n, Requirements(), story))
        if choice.note:
            note(f"{RERANKED}, user {states.users[row]}: {choice.note}")
        return choice.reranked, choice.tokens


def asking_systems(
    fitted: Fitted, system: System, chat_model: Any, folder: Path | None = None
) -> dict[str, System]:
    """Return the systems of `ON_REQUEST` by name.

    Args:
        fitted: the data and models of one seed.
        system: whose scores they filter and re-rank.
        chat_model: the language model.
        folder: where its readings of messages are kept, so that a run that is stopped does not
            ask again; None: in memory alone.
    """
    data = fitted.data
    kept = f"{data.name}_readings_{chat_model.name}.jsonl".replace("/", "-").replace(" ", "-")
    reader = Answers(chat_model, folder / kept if folder else None)
    both = make_extractor(data, "both", reader)
    return {
        RERANKED: RerankingSystem(system, data, chat_model),
        FILTERED_BY_MODEL: FilteringSystem(system, data, both, f" {chat_model.name}"),
    }
