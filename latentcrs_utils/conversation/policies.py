"""How the items of a turn are chosen: variants B, F and V of the paper (Section 4.3).

The recommender scores all items in each of them. B offers the best; F holds them to what the user
requires; V lets a language model re-order the best. Where a language model fails, F reads with the
lexicon and V keeps the recommender's order, and the turn says so.
"""

import operator
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from latentcrs_utils.config import RerankConfig
from latentcrs_utils.constraints.constraint import Constraint, Matcher, Requirements, matcher_for
from latentcrs_utils.constraints.extraction import (
    Extraction,
    Extractor,
    How,
    check_how,
    failure,
    make_extractor,
)
from latentcrs_utils.conversation.reranking import RerankContext, cache_prior, method_for, rerank
from latentcrs_utils.conversation.turn import Recommendation, VariantName
from latentcrs_utils.data.sequences import Dataset
from latentcrs_utils.data.source import UNKNOWN_TITLE
from latentcrs_utils.errors import ConfigError, DataError
from latentcrs_utils.simulation.titles import spoken_title

if TYPE_CHECKING:
    from latentcrs_utils.language.chat_model import ChatModel


YEARS_WIDENED = 5
STEPS: dict[str, str] = {
    "price": "the price",
    "creator": "who made it",
    "platform": "the platform",
    "years widened": f"the years (by up to {YEARS_WIDENED} either way)",
    "years": "the years",
    "some genres": "some of the genres",
    "genres": "the genres",
    "refusals": "what you refused",
}
"""What gives way, in this order, and how the user is told."""


@dataclass(frozen=True)
class Narrowed:
    """The items that a turn may offer, given the requirements.

    Attributes:
        items: ids, best first.
        misses: for each of them the constraints that it does not meet.
        relaxed: the steps of `STEPS` that gave way for any of them, in their order.
    """

    items: tuple[int, ...]
    misses: tuple[tuple[Constraint, ...], ...]
    relaxed: tuple[str, ...]

    @property
    def n_exact(self) -> int:
        """How many items meet everything."""
        return sum(not missed for missed in self.misses)


def steps(
    matcher: Matcher, wanted: Requirements, left: np.ndarray | None = None
) -> Iterator[tuple[str, np.ndarray]]:
    """Yield what is allowed, bool [V + 1]: at first by all requirements, then after every step.

    Steps that free no item are left out.

    Args:
        matcher: of the catalogue.
        wanted: the requirements.
        left: the items that are still to be had, bool [V + 1]; None: all.

    Yields:
        Name of the step ("" at first) and the items allowed so far; each mask holds those before.
    """
    left = matcher.items if left is None else left
    parts, looser = _parts(matcher, wanted)
    pending = [s for s in STEPS if not np.array_equal(parts[_part(s)], looser[s])]
    allowed = left & np.logical_and.reduce(list(parts.values()))
    yield "", allowed
    while pending:
        # refusals come last, whatever they would free
        tried = [step for step in pending if step != "refusals"] or pending
        freed = {step: left & _with(parts, step, looser) for step in tried}
        step = next((s for s in tried if (freed[s] & ~allowed).any()), tried[0])
        parts[_part(step)] = looser[step]
        pending = [s for s in pending if s != step and (step, s) not in _INCLUDED]
        if (freed[step] & ~allowed).any():
            allowed = freed[step]
            yield step, allowed


_INCLUDED = {("years", "years widened"), ("genres", "some genres")}


def _part(step: str) -> str:
    """The part of the requirements that a step makes looser."""
    return {"years widened": "years", "some genres": "genres"}.get(step, step)


def _with(
    parts: Mapping[str, np.ndarray], step: str, looser: Mapping[str, np.ndarray]
) -> np.ndarray:
    """What is allowed after one more step."""
    return np.logical_and.reduce(list({**parts, _part(step): looser[step]}.values()))


def _parts(
    matcher: Matcher, wanted: Requirements
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """The items that meet each part of the requirements, and those that do after each step."""
    asked, refused = _genres(wanted)
    parts = {
        "refusals": matcher.all_of(refused),
        "genres": matcher.all_of(asked),
        "years": matcher.any_of(wanted.of("years")),
        "platform": matcher.any_of(wanted.of("platform")),
        "creator": matcher.any_of(wanted.of("creator")),
        "price": matcher.all_of(wanted.of("price")),
    }
    looser = dict.fromkeys(STEPS, matcher.items)
    looser["years widened"] = matcher.any_of(map(_widened, wanted.of("years")))
    looser["some genres"] = matcher.any_of(asked)
    return parts, looser


def levels(
    matcher: Matcher, wanted: Requirements, left: np.ndarray | None = None
) -> tuple[np.ndarray, list[str]]:
    """After how many steps each item is allowed, and the names of these steps.

    Args:
        matcher, wanted, left: as of `steps`.

    Returns:
        int64 [V + 1], 0 for an item that meets everything, one more than there are steps for the
        padding and for what is not left; item v is allowed after ``names[: level[v]]``.
    """
    names, masks = zip(*steps(matcher, wanted, left), strict=True)
    # each mask holds those before it, so the number of masks without an item is its level
    return (~np.stack(masks)).sum(0), list(names[1:])


def tiered(scores: Tensor, level: np.ndarray) -> Tensor:
    """Scores that put every item of a lower level before those of a higher one.

    Args:
        scores: [V + 1]; minus infinity for what is not to be offered.
        level: int [V + 1], as `levels` gives.

    Returns:
        Float64 [V + 1]: the scores of level 0 as they are, those of higher levels moved below.
    """
    finite = scores[torch.isfinite(scores)].double()
    if not len(finite):
        return scores.double()
    span = finite.max() - finite.min() + 1.0
    return scores.double() - torch.from_numpy(level).to(scores.device) * span


def narrow(scores: Tensor, matcher: Matcher, wanted: Requirements, n_items: int) -> Narrowed:
    """Choose the best items under requirements; see the top of this module.

    Args:
        scores: log p(v | S, x), [V + 1]; minus infinity for what is not to be offered (padding,
            seen, offered, rejected). At least one is finite.
        matcher: of the catalogue.
        wanted: the requirements.
        n_items: how many items are wanted.

    Returns:
        At most `n_items` items; fewer only where the rest is gone or refused.
    """
    left = torch.isfinite(scores)
    level, names = levels(matcher, wanted, left.cpu().numpy())
    if "refusals" in names:
        kept = left & torch.from_numpy(level <= names.index("refusals")).to(scores.device)
        left = kept if bool(kept.any()) else left
    ranked = torch.where(left, tiered(scores, level), -torch.inf)
    best = ranked.topk(min(n_items, int(left.sum()))).indices.tolist()
    misses = tuple(_misses(matcher, wanted, item) for item in best)
    return Narrowed(tuple(best), misses, _relaxed(matcher, wanted, best, misses))


def narrowing_note(wanted: Requirements, narrowed: Narrowed, noun: str) -> str:
    """What to tell the user about a list that does not meet all requirements; "" if it does.

    Args:
        wanted: the requirements.
        narrowed: what `narrow` chose under them.
        noun: "film", "game", "album" or "item".
    """
    if not narrowed.relaxed:
        return ""
    asked = ", ".join(requirement.constraint.label for requirement in wanted)
    gave_way = _joined([STEPS[step] for step in narrowed.relaxed])
    n = narrowed.n_exact
    if n == 0:
        return f"No {noun} is left that meets all of: {asked}. So I gave way on {gave_way}."
    few = f"Only 1 {noun} is left that meets" if n == 1 else f"Only {n} {noun}s are left that meet"
    return f"{few} all of: {asked}. For the others I gave way on {gave_way}."


def _genres(wanted: Requirements) -> tuple[list[Constraint], list[Constraint]]:
    genres = wanted.of("genre")
    return [g for g in genres if not g.negated], [g for g in genres if g.negated]


def _widened(time: Constraint) -> Constraint:
    first, last = time.years
    return Constraint("era", f"{max(first - YEARS_WIDENED, 0)}-{last + YEARS_WIDENED}")


def _misses(matcher: Matcher, wanted: Requirements, item: int) -> tuple[Constraint, ...]:
    """The constraints that an item does not satisfy; of several times or makers one is enough."""
    missed: list[Constraint] = []
    for constraint in (requirement.constraint for requirement in wanted):
        attribute = constraint.attribute
        several = attribute in ("years", "platform", "creator")
        group = wanted.of(attribute) if attribute and several else [constraint]
        if not matcher.any_of(group)[item]:
            missed.append(constraint)
    return tuple(missed)


def _relaxed(
    matcher: Matcher,
    wanted: Requirements,
    items: Sequence[int],
    misses: Sequence[tuple[Constraint, ...]],
) -> tuple[str, ...]:
    """The steps that gave way for the chosen items: no more than they needed."""
    asked, _ = _genres(wanted)
    near, one = matcher.any_of(map(_widened, wanted.of("years"))), matcher.any_of(asked)
    found = set()
    for item, missed in zip(items, misses, strict=True):
        for constraint in missed:
            step: str = constraint.attribute or constraint.slot
            if step == "years":
                step = "years widened" if near[item] else "years"
            elif step == "genre":
                part = "some genres" if one[item] else "genres"
                step = "refusals" if constraint.negated else part
            found.add(step)
    # the larger step includes the smaller
    found -= {"years widened"} if "years" in found else set()
    found -= {"some genres"} if "genres" in found else set()
    return tuple(step for step in STEPS if step in found)


def _joined(parts: Sequence[str]) -> str:
    """Parts of a sentence: "a", "a and b", "a, b and c"."""
    return " and ".join([*([", ".join(parts[:-1])] if parts[1:] else []), parts[-1]])


def describe(data: Dataset, item: int, score: float = 0.0) -> Recommendation:
    """What the catalogue says of an item, with its log p(v | S, x)."""
    row = data.item(item)
    return Recommendation(item, row["title"], row["year"], tuple(row["genres"] or ()), score)


def best_items(data: Dataset, scores: Tensor, n: int) -> tuple[Recommendation, ...]:
    """The n best items of the scores [V + 1], best first; fewer if fewer scores are finite."""
    best = scores.topk(min(n, int(torch.isfinite(scores).sum())))
    return tuple(
        describe(data, item, score)
        for score, item in zip(best.values.tolist(), best.indices.tolist(), strict=True)
    )


def known_item(data: Dataset, item: int) -> int:
    """The item id as an int, if the catalogue has it.

    Raises:
        DataError: it has not.
    """
    try:
        number = operator.index(item)
    except TypeError:
        number = 0
    if not 1 <= number <= data.n_items:
        raise DataError(
            f"There is no item {repr(item)[:40]} in {data.name}: "
            f"item ids go from 1 to {data.n_items:,}."
        )
    return number


@lru_cache(maxsize=4)
def nameless(data: Dataset) -> tuple[int, ...]:
    """Items without a title: an offer that nobody could take up."""
    return tuple(item for item, title in enumerate(data.titles) if title == UNKNOWN_TITLE)


def more_like(item: Recommendation | str) -> str:
    """The message that asks for more of a kind, as the simulated users of `by example` would.

    The year stays out: variant F would hold the next items to it.

    Args:
        item: an offered item, or its title, with or without the year in brackets.
    """
    return f"Something like {spoken_title(item if isinstance(item, str) else item.title)}."


GetChatModel = Callable[[], "ChatModel | None"]


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
    story: RerankContext
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
        chat_model: the language model, loaded at first use; None: the lexicon reads alone.
        extractor: who reads the requirements.

    Raises:
        ConfigError: there is no such extractor.
    """

    name: VariantName = "F"

    def __init__(self, data: Dataset, chat_model: GetChatModel, extractor: Extractor | How):
        super().__init__(data)
        if isinstance(extractor, str):
            check_how(extractor)
        self._chat_model = chat_model
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
            chat_model = None if self._extractor == "lexicon" else self._chat_model()
            how: How = self._extractor if chat_model is not None else "lexicon"
            self._extractor = make_extractor(self.data, how, chat_model)
        return self._extractor


class Reranking(Basic):
    """Variant V: the recommender's best items in a language model's order.

    Args:
        data: the catalogue.
        chat_model: the language model, loaded when it is first needed.
        config: method, number of candidates and weight.
    """

    name: VariantName = "V"

    def __init__(self, data: Dataset, chat_model: GetChatModel, config: RerankConfig):
        super().__init__(data)
        self.config = config
        self._chat_model = chat_model
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
        chat_model = self._chat_model()
        if chat_model is not None and method_for(chat_model, self.config.method) == "likelihood":
            cache_prior(chat_model, items, noun, facts=self.config.facts, neutral=self._neutral)

    def choose(self, asked: Question) -> Choice:
        """Choose the first of the re-ordered candidates; see `rerank`.

        Raises:
            ConfigError: the likelihood is asked of a model that cannot tell it.
        """
        n = asked.n_items
        best = best_items(self.data, asked.scores, max(n, self.config.n_candidates))
        try:
            chat_model = self._chat_model()
        except Exception as error:  # without a model the recommender's order stands
            return Choice(best[:n], _kept(failure(error)))
        if chat_model is None:
            return Choice(best[:n], _kept("there is no language model to change it"))
        method_for(chat_model, self.config.method)
        try:
            new = rerank(
                chat_model, best, asked.story, self.config, neutral=self._neutral, stop=asked.stop
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
    chat_model: GetChatModel,
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
        return Filtering(data, chat_model, extractor)
    if name == "V":
        return Reranking(data, chat_model, rerank_config)
    raise ConfigError(f"There is no variant {name!r}: choose 'B', 'F' or 'V'.")


def _kept(reason: str) -> str:
    return f"The order is the recommender's own, because {reason}."
