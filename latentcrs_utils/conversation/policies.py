"""How the items of a turn are chosen: variants B, F and V of the paper (Section 4.3).

The recommender scores all items in each of them. B offers the best; F holds them to what the user
requires; V lets a language model re-order the best. Where a language model fails, F reads with the
lexicon and V keeps the recommender's order, and the turn says so.
"""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from torch import Tensor

from latentcrs_utils.config import RerankConfig
from latentcrs_utils.constraints.constraint import Requirements
from latentcrs_utils.constraints.extraction import (
    Extraction,
    Extractor,
    How,
    check_how,
    failure,
    make_extractor,
)
from latentcrs_utils.constraints.matching import matcher_for
from latentcrs_utils.conversation.policies import best_items, describe, narrow, narrowing_note
from latentcrs_utils.conversation.reranking import Story, know_neutral, method_for, rerank
from latentcrs_utils.conversation.turn import Recommendation, VariantName
from latentcrs_utils.data.sequences import Dataset
from latentcrs_utils.errors import ConfigError

if TYPE_CHECKING:
    from latentcrs_utils.language.chat_model import Talker

GetTalker = Callable[[], "Talker | None"]


@dataclass(frozen=True)
class Reading:
    """What a variant took from a message before items are chosen.

    Attributes:
        requirements: all that hold after the message.
        note: what the user should know.
        tokens: read and written by a language model.
        counted: whether all of them were counted.
    """

    requirements: Requirements = field(default_factory=Requirements)
    note: str = ""
    tokens: tuple[int, int] = (0, 0)
    counted: bool = True


@dataclass(frozen=True)
class Question:
    """What a variant is asked for a turn.

    Attributes:
        scores: log p(v | S, x), [V + 1]; minus infinity for what is not to be offered, at least one
            is finite.
        n_items: how many items, at most.
        requirements: what `read` found to hold.
        story: the user's history and words.
        stop: set, from any thread, to end a language model's answer.
    """

    scores: Tensor
    n_items: int
    requirements: Requirements
    story: Story
    stop: threading.Event | None = None


@dataclass(frozen=True)
class Choice:
    """The items of a turn and how they were found; the fields are those of `Turn`."""

    items: tuple[Recommendation, ...]
    note: str = ""
    relaxed: tuple[str, ...] = ()
    candidates: tuple[int, ...] = ()
    reranked: tuple[int, ...] = ()
    tokens: tuple[int, int] = (0, 0)
    counted: bool = True


class Basic:
    """Variant B: the recommender's best items.

    Args:
        data: the catalogue.
    """

    name: VariantName = "B"

    def __init__(self, data: Dataset):
        self.data = data

    def read(self, message: str, before: Requirements, stop: threading.Event | None) -> Reading:
        """Take from a message what the choice needs: nothing, unless a variant says more.

        Args:
            message: what the user said.
            before: the requirements that held until then.
            stop: ends a language model's answer.
        """
        return Reading()

    def choose(self, asked: Question) -> Choice:
        """Choose the items of a turn."""
        return Choice(best_items(self.data, asked.scores, asked.n_items))


class Filtering(Basic):
    """Variant F: the best items that meet the requirements, which give way in a stated order.

    Args:
        data: the catalogue.
        talker: the language model, loaded when it is first needed; None: the lexicon reads alone.
        extractor: who reads the requirements.

    Raises:
        ConfigError: there is no such extractor.
    """

    name: VariantName = "F"

    def __init__(self, data: Dataset, talker: GetTalker, extractor: Extractor | How):
        super().__init__(data)
        if isinstance(extractor, str):
            check_how(extractor)
        self._talker = talker
        self._extractor = extractor

    def read(self, message: str, before: Requirements, stop: threading.Event | None) -> Reading:
        """Add the message's requirements to those before it."""
        try:
            found = self._ready()(message, stop=stop)
        except Exception as error:  # whatever a model raises, the lexicon can read the message
            literal = make_extractor(self.data, "lexicon")(message).requirements
            found = Extraction(literal, failure=failure(error), counted=False)
        note = ""
        if found.failure:
            note = f"Your wishes were read by their literal words, because {found.failure}."
        tokens = (found.prompt_tokens, found.completion_tokens)
        return Reading(before.then(found.requirements, message), note, tokens, found.counted)

    def choose(self, asked: Question) -> Choice:
        """Choose the best that meet the requirements; see `narrow`."""
        wanted = asked.requirements
        narrowed = narrow(asked.scores, matcher_for(self.data), wanted, asked.n_items)
        items = tuple(
            replace(describe(self.data, item, float(asked.scores[item])), misses=misses)
            for item, misses in zip(narrowed.items, narrowed.misses, strict=True)
        )
        note = narrowing_note(wanted, narrowed, asked.story.noun)
        return Choice(items, note, narrowed.relaxed)

    def _ready(self) -> Extractor:
        if isinstance(self._extractor, str):
            talker = None if self._extractor == "lexicon" else self._talker()
            how: How = self._extractor if talker is not None else "lexicon"
            self._extractor = make_extractor(self.data, how, talker)
        return self._extractor


class Reranking(Basic):
    """Variant V: the recommender's best items in a language model's order.

    Args:
        data: the catalogue.
        talker: the language model, loaded when it is first needed.
        config: method, number of candidates and weight.
    """

    name: VariantName = "V"

    def __init__(self, data: Dataset, talker: GetTalker, config: RerankConfig):
        super().__init__(data)
        self.config = config
        self._talker = talker
        self._neutral: dict[str, float] = {}

    def prepare(self, items: Sequence[Recommendation], noun: str) -> None:
        """Let the model read words for some items before it is told a story.

        They are then on nobody's bill (`Choice.tokens`): no user enters into it, so it could be
        done for the whole catalogue beforehand. Nothing happens where it is not needed: without a
        model, or if the model writes the order.

        Raises:
            ConfigError: the likelihood is asked of a model that cannot tell it.
            LatentCRSError: the model failed.
        """
        talker = self._talker()
        if talker is not None and method_for(talker, self.config.method) == "likelihood":
            know_neutral(talker, items, noun, facts=self.config.facts, neutral=self._neutral)

    def choose(self, asked: Question) -> Choice:
        """Choose the first of the re-ordered candidates; see `rerank`.

        Raises:
            ConfigError: the likelihood is asked of a model that cannot tell it.
        """
        n = asked.n_items
        best = best_items(self.data, asked.scores, max(n, self.config.n_candidates))
        try:
            talker = self._talker()
        except Exception as error:  # without a model the recommender's order stands
            return Choice(best[:n], _kept(failure(error)))
        if talker is None:
            return Choice(best[:n], _kept("there is no language model to change it"))
        method_for(talker, self.config.method)
        try:
            new = rerank(
                talker, best, asked.story, self.config, neutral=self._neutral, stop=asked.stop
            )
        except Exception as error:  # whatever a model raises, the recommender's order stands
            return Choice(best[:n], _kept(failure(error)), counted=False)
        of_id = {item.item: item for item in best}
        return Choice(
            tuple(of_id[item] for item in new.order[:n]),
            candidates=tuple(of_id),
            reranked=new.order,
            tokens=(new.prompt_tokens, new.completion_tokens),
            counted=new.counted,
        )


def make_variant(
    name: VariantName,
    data: Dataset,
    talker: GetTalker,
    extractor: Extractor | How,
    rerank_config: RerankConfig,
) -> Basic:
    """Return a variant by its name.

    Raises:
        ConfigError: there is no such variant or extractor.
    """
    if name == "B":
        return Basic(data)
    if name == "F":
        return Filtering(data, talker, extractor)
    if name == "V":
        return Reranking(data, talker, rerank_config)
    raise ConfigError(f"There is no variant {name!r}: choose 'B', 'F' or 'V'.")


def _kept(reason: str) -> str:
    return f"The order is the recommender's own, because {reason}."
