"""How the items of a turn are chosen: policies B, F and V of the paper (Section 4.3).

The recommender scores all items; a policy's `select` makes a list of them. B offers the best; F
keeps what meets the constraints, and relaxes these in a stated order if too few items remain;
V lets a language model re-order the best. Where a language model fails, F reads with the lexicon
and V keeps the recommender's order, and the slate says so. The chat and the multi-turn evaluation
drive the same policies.
"""

import threading
from collections.abc import Callable, Collection, Iterator, Sequence
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
from latentcrs_utils.conversation.reply import thing
from latentcrs_utils.conversation.reranking import Prior, RerankContext, method_for, rerank
from latentcrs_utils.conversation.turn import PolicyName, Recommendation, describe
from latentcrs_utils.data.sequences import Dataset
from latentcrs_utils.data.source import UNKNOWN_TITLE

if TYPE_CHECKING:
    from latentcrs_utils.language.chat_model import ChatModel

GetChatModel = Callable[[], "ChatModel | None"]


@dataclass(frozen=True)
class Parsed:
    """What a policy took from a message before items are chosen.

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
class Request:
    """What a policy is asked for in one turn of one dialogue.

    Attributes:
        scores: of all items, [V + 1], such as log p(v | S, x).
        barred: ids of items that are not to be offered: seen, offered before, clicked.
        n_items: how many items, at most.
        requirements: what `parse` found to hold.
        history: item ids that are known of the user, oldest first.
        messages: all that the user said, oldest first.
        stop: set, from any thread, to end a language model's answer.
    """

    scores: Tensor
    barred: Collection[int]
    n_items: int
    requirements: Requirements = field(default_factory=Requirements)
    history: Sequence[int] = ()
    messages: Sequence[str] = ()
    stop: threading.Event | None = None


@dataclass(frozen=True)
class Slate:
    """The items of a turn and how they were found; the fields are those of `Turn`.

    `tokens` are those of this dialogue; `prior_tokens` were read once for the whole catalogue.
    """

    items: tuple[Recommendation, ...] = ()
    note: str = ""
    relaxed: tuple[str, ...] = ()
    candidates: tuple[int, ...] = ()
    reranked: tuple[int, ...] = ()
    tokens: tuple[int, int] = (0, 0)
    prior_tokens: int = 0
    counted: bool = True


class Policy:
    """Policy B: the recommender's best items.

    Args:
        data: the catalogue.
    """

    name: PolicyName = "B"

    def __init__(self, data: Dataset):
        self.data = data
        self.noun = thing(data.name)

    def parse(
        self, message: str, before: Requirements, stop: threading.Event | None = None
    ) -> Parsed:
        """Take from a message what the choice needs: nothing, unless a policy says more.

        Args:
            message: what the user said.
            before: the requirements that held until then.
            stop: ends a language model's answer.
        """
        return Parsed()

    @torch.no_grad()
    def select(self, request: Request) -> Slate:
        """Choose the items of a turn, none where nothing is left to offer.

        Raises:
            ConfigError: the language model cannot do what the policy asks of it.
        """
        scores = request.scores.clone()
        scores[[0, *request.barred, *nameless(self.data)]] = -torch.inf
        return self._choose(scores, request) if torch.isfinite(scores).any() else Slate()

    def _choose(self, scores: Tensor, request: Request) -> Slate:
        """Choose among the items of finite score, of which there is one at least."""
        return Slate(self._best(scores, request.n_items))

    def _best(self, scores: Tensor, n: int) -> tuple[Recommendation, ...]:
        best = best_items(scores, n)
        return tuple(describe(self.data, item, float(scores[item])) for item in best)


@lru_cache(maxsize=4)
def nameless(data: Dataset) -> tuple[int, ...]:
    """Items without a title: an offer that nobody could take up."""
    return tuple(item for item, title in enumerate(data.titles) if title == UNKNOWN_TITLE)


def best_items(scores: Tensor, n: int) -> list[int]:
    """Ids of the n best items of scores [V + 1], best first, of equal ones the smaller id first.

    Fewer if fewer scores are finite.
    """
    n = min(n, int(torch.isfinite(scores).sum()))
    if n == 0:
        return []
    among = (scores >= scores.topk(n).values[-1]).nonzero()[:, 0]
    return among[scores[among].argsort(descending=True, stable=True)[:n]].tolist()


class FilterPolicy(Policy):
    """Policy F: the best items that meet the requirements, which are relaxed in a stated order.

    Args:
        data: the catalogue.
        chat_model: the language model, loaded at first use; None: the lexicon reads alone.
        extractor: who reads the requirements.

    Raises:
        ConfigError: there is no such extractor.
    """

    name: PolicyName = "F"

    def __init__(
        self,
        data: Dataset,
        chat_model: GetChatModel = lambda: None,
        extractor: Extractor | How = "lexicon",
    ):
        super().__init__(data)
        if isinstance(extractor, str):
            check_how(extractor)
        self._chat_model, self._extractor = chat_model, extractor

    def parse(
        self, message: str, before: Requirements, stop: threading.Event | None = None
    ) -> Parsed:
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
        return Parsed(before.then(found.requirements, message), note, tokens, found.counted)

    def _ready(self) -> Extractor:
        if isinstance(self._extractor, str):
            chat_model = None if self._extractor == "lexicon" else self._chat_model()
            how: How = self._extractor if chat_model is not None else "lexicon"
            self._extractor = make_extractor(self.data, how, chat_model)
        return self._extractor

    def _choose(self, scores: Tensor, request: Request) -> Slate:
        wanted, matcher = request.requirements, matcher_for(self.data)
        best = best_items(relax(scores, matcher, wanted), request.n_items)
        items = tuple(
            replace(
                describe(self.data, item, float(scores[item])), misses=missed(matcher, wanted, item)
            )
            for item in best
        )
        relaxed = relaxed_steps(matcher, wanted, items)
        return Slate(items, relaxation_note(wanted, items, relaxed, self.noun), relaxed)


class RerankPolicy(Policy):
    """Policy V: the recommender's best items in a language model's order.

    Args:
        data: the catalogue.
        chat_model: the language model, loaded when it is first needed.
        config: method, number of candidates and weight.
    """

    name: PolicyName = "V"

    def __init__(self, data: Dataset, chat_model: GetChatModel, config: RerankConfig | None = None):
        super().__init__(data)
        self.config = config or RerankConfig()
        self._chat_model = chat_model
        self._prior: Prior = {}

    def _choose(self, scores: Tensor, request: Request) -> Slate:
        n = request.n_items
        best = self._best(scores, max(n, self.config.n_candidates))
        titles = self.data.titles
        context = RerankContext(
            [titles[item] for item in request.history], request.messages, self.noun
        )
        try:
            chat_model = self._chat_model()
        except Exception as error:  # without a model the recommender's order stands
            return Slate(best[:n], _kept(failure(error)))
        if chat_model is None:
            return Slate(best[:n], _kept("there is no language model to change it"))
        method_for(chat_model, self.config.method)
        try:
            new = rerank(
                chat_model, best, context, self.config, prior=self._prior, stop=request.stop
            )
        except Exception as error:  # whatever a model raises, the recommender's order stands
            return Slate(best[:n], _kept(failure(error)), counted=False)
        of_id = {item.item: item for item in best}
        return Slate(
            tuple(of_id[item] for item in new.order[:n]),
            candidates=tuple(of_id),
            reranked=new.order,
            tokens=(new.prompt_tokens, new.completion_tokens),
            prior_tokens=new.prior_tokens,
            counted=new.counted,
        )


def _kept(reason: str) -> str:
    return f"The order is the recommender's own, because {reason}."


# Constraint relaxation of policy F

YEARS_WIDENED = 5
RELAXATIONS: dict[str, str] = {
    "price": "the price",
    "creator": "who made it",
    "platform": "the platform",
    "years widened": f"the years (by up to {YEARS_WIDENED} either way)",
    "years": "the years",
    "some genres": "some of the genres",
    "genres": "the genres",
    "refusals": "what you refused",
}
"""What is relaxed, in this order, and how the user is told."""
# the larger step and the smaller one that it includes; the part of the wish that a step relaxes
_INCLUDED = {"years": "years widened", "genres": "some genres"}
_PARTS = {step: step for step in RELAXATIONS} | {s: large for large, s in _INCLUDED.items()}


def relaxations(
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
    asked, refused = _genres(wanted)
    parts = {
        "refusals": matcher.all_of(refused),
        "genres": matcher.all_of(asked),
        "years": matcher.any_of(wanted.of("years")),
        "platform": matcher.any_of(wanted.of("platform")),
        "creator": matcher.any_of(wanted.of("creator")),
        "price": matcher.all_of(wanted.of("price")),
    }
    looser = dict.fromkeys(RELAXATIONS, matcher.items)
    looser["years widened"] = matcher.any_of(map(_widened, wanted.of("years")))
    looser["some genres"] = matcher.any_of(asked)
    pending = [s for s in RELAXATIONS if not np.array_equal(parts[_PARTS[s]], looser[s])]
    allowed = left & np.logical_and.reduce(list(parts.values()))
    yield "", allowed
    while pending:
        # refusals come last, whatever they would free
        tried = [step for step in pending if step != "refusals"] or pending
        freed = {
            step: left & np.logical_and.reduce([*(parts | {_PARTS[step]: looser[step]}).values()])
            for step in tried
        }
        step = next((s for s in tried if (freed[s] & ~allowed).any()), tried[0])
        parts[_PARTS[step]] = looser[step]
        pending = [s for s in pending if s not in (step, _INCLUDED.get(step))]
        if (freed[step] & ~allowed).any():
            allowed = freed[step]
            yield step, allowed


def relaxation_tier(
    matcher: Matcher, wanted: Requirements, left: np.ndarray | None = None
) -> tuple[np.ndarray, list[str]]:
    """After how many relaxations each item is allowed, and the names of these steps.

    Args:
        matcher, wanted, left: as of `relaxations`.

    Returns:
        int64 [V + 1], 0 for an item that meets everything, one more than there are steps for the
        padding and for what is not left; item v is allowed after ``names[: tier[v]]``.
    """
    names, masks = zip(*relaxations(matcher, wanted, left), strict=True)
    # each mask holds those before it, so the number of masks without an item is its tier
    return (~np.stack(masks)).sum(0), list(names[1:])


def relax(scores: Tensor, matcher: Matcher, wanted: Requirements) -> Tensor:
    """Scores under requirements: every item of a lower tier before those of a higher one.

    Args:
        scores: [V + 1]; minus infinity for what is not to be offered. At least one is finite.
        matcher: of the catalogue.
        wanted: the requirements.

    Returns:
        Float64 [V + 1]: in tier 0 as they are, in higher tiers moved below those before, minus
        infinity for what the user refused, unless nothing else is left.
    """
    left = torch.isfinite(scores)
    tiers, names = relaxation_tier(matcher, wanted, left.cpu().numpy())
    tier, scores = torch.from_numpy(tiers).to(scores.device), scores.double()
    if "refusals" in names:
        kept = left & (tier <= names.index("refusals"))
        left = kept if kept.any() else left
    finite = scores[torch.isfinite(scores)]
    span = finite.max() - finite.min() + 1.0
    return torch.where(left, scores - tier * span, -torch.inf)


def missed(matcher: Matcher, wanted: Requirements, item: int) -> tuple[Constraint, ...]:
    """The constraints that an item does not satisfy; of several times or makers one is enough."""
    found: list[Constraint] = []
    for constraint in (requirement.constraint for requirement in wanted):
        attribute = constraint.attribute
        several = attribute in ("years", "platform", "creator")
        group = wanted.of(attribute) if attribute and several else [constraint]
        if not matcher.any_of(group)[item]:
            found.append(constraint)
    return tuple(found)


def relaxed_steps(
    matcher: Matcher, wanted: Requirements, items: Sequence[Recommendation]
) -> tuple[str, ...]:
    """The steps of `RELAXATIONS` behind the chosen items: no more than they needed."""
    near = matcher.any_of(map(_widened, wanted.of("years")))
    one = matcher.any_of(_genres(wanted)[0])
    found = set()
    for item in items:
        for constraint in item.misses:
            step: str = constraint.attribute or constraint.slot
            if step == "years":
                step = "years widened" if near[item.item] else "years"
            elif step == "genre":
                part = "some genres" if one[item.item] else "genres"
                step = "refusals" if constraint.negated else part
            found.add(step)
    found -= {smaller for larger, smaller in _INCLUDED.items() if larger in found}
    return tuple(step for step in RELAXATIONS if step in found)


def relaxation_note(
    wanted: Requirements, items: Sequence[Recommendation], relaxed: Sequence[str], noun: str
) -> str:
    """What to tell the user about a list that does not meet all requirements; "" if it does."""
    if not relaxed:
        return ""
    asked = ", ".join(requirement.constraint.label for requirement in wanted)
    *others, last = (RELAXATIONS[step] for step in relaxed)
    parts = f"{', '.join(others)} and {last}" if others else last
    n = sum(not item.misses for item in items)
    if n == 0:
        return f"No {noun} is left that meets all of: {asked}. So I relaxed {parts}."
    few = f"Only 1 {noun} is left that meets" if n == 1 else f"Only {n} {noun}s are left that meet"
    return f"{few} all of: {asked}. For the others I relaxed {parts}."


def _genres(wanted: Requirements) -> tuple[list[Constraint], list[Constraint]]:
    genres = wanted.of("genre")
    return [g for g in genres if not g.negated], [g for g in genres if g.negated]


def _widened(time: Constraint) -> Constraint:
    first, last = time.years
    return Constraint("era", f"{max(first - YEARS_WIDENED, 0)}-{last + YEARS_WIDENED}")
