"""How the items of a turn are chosen: policies B, F and V of the paper (Section 4.3), and A.

The recommender scores all items; a policy's `select` makes a list of them. Where a language model
fails, F reads with the lexicon and V keeps the recommender's order, and the slate says so.
"""

import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from latentcrs_utils.config import ASK_ABOVE, CARELESS_SHARE, RerankConfig
from latentcrs_utils.constraints import extraction
from latentcrs_utils.constraints.constraint import Constraint, Matcher, Requirements, matcher_for
from latentcrs_utils.constraints.negation import negation_in
from latentcrs_utils.constraints.vocabulary import vocabulary_for
from latentcrs_utils.conversation.belief import Belief
from latentcrs_utils.conversation.in_words import listed, render, thing, words_of
from latentcrs_utils.conversation.reranking import CannotScoreError, Prior, RerankContext, rerank
from latentcrs_utils.conversation.steering import best_question
from latentcrs_utils.conversation.turn import PolicyName, Recommendation, describe
from latentcrs_utils.data.sequences import Dataset
from latentcrs_utils.data.source import UNKNOWN_TITLE
from latentcrs_utils.ranking import mask_items
from latentcrs_utils.simulation.titles import spoken_title

if TYPE_CHECKING:
    from latentcrs_utils.language.chat_model import ChatModel

Stop = threading.Event | None
Question = tuple[tuple[int, int, str], ...]
GetChatModel = Callable[[], "ChatModel | None"]


@dataclass(frozen=True)
class Request:
    """What a policy is asked for in one turn of one dialogue.

    `scores` [V + 1] are those of all items, such as log p(v | S, x); at most `n_items` are wanted.
    `excluded` are ids that are offered only if the last message names them: seen, offered before,
    clicked. The `requirements` are what `parse` found to hold; `history` has the ids of known items
    and `messages` all that the user said, both oldest first. `stop`, set from any thread, ends a
    language model's answer. `user` is 0..U-1, or -1 for somebody whom no system was trained on.
    """

    scores: Tensor
    excluded: Collection[int]
    n_items: int
    requirements: Requirements = field(default_factory=Requirements)
    history: Sequence[int] = ()
    messages: Sequence[str] = ()
    stop: Stop = None
    user: int = -1


@dataclass(frozen=True)
class Slate:
    """The items of a turn and how they were found; the fields are those of `Turn`.

    `tokens` are those of this dialogue; `prior_tokens` were read once for the whole catalogue, and
    `seconds` are of the answers when they were given. A policy that asks whether the item is to
    have an attribute, `asked`, offers nothing.
    """

    items: tuple[Recommendation, ...] = ()
    note: str = ""
    relaxed: tuple[str, ...] = ()
    candidates: tuple[int, ...] = ()
    reranked: tuple[int, ...] = ()
    tokens: tuple[int, int] = (0, 0)
    prior_tokens: int = 0
    counted: bool = True
    seconds: float = 0.0
    asked: Constraint | None = None


class Policy:
    """Policy B: what the message asks for by title, then the recommender's best items."""

    name: PolicyName = "B"

    def __init__(self, data: Dataset):
        self.data = data
        self.noun = thing(data.name)

    def parse(
        self, message: str, before: Requirements, stop: Stop = None, offered: Sequence[int] = ()
    ) -> extraction.Extraction:
        """Take from a message what holds after it; "newer" compares with the items `offered`."""
        return extraction.Extraction(Requirements())

    @torch.no_grad()
    def select(self, request: Request) -> Slate:
        """Choose the items of a turn, if any are left; ConfigError: the model cannot do that."""
        catalogue, (asked, note) = matcher_for(self.data).catalogue, self._asked_for(request)
        gone = {*request.excluded, *asked, *self._known(request.messages)}
        gone = {*catalogue.same(gone), *untitled(self.data)}
        others, n_left = mask_items(request.scores, gone), request.n_items - len(asked)
        slate = Slate()
        if n_left and torch.isfinite(others).any():
            slate = self._choose(others, replace(request, n_items=n_left))
        items = tuple(
            replace(item, misses=tuple(request.requirements.unmet(catalogue[item.item])))
            for item in (*self._described(asked, request.scores), *slate.items)
        )
        return replace(slate, items=items, note=" ".join(filter(None, (note, slate.note))))

    def question(self, belief: Belief, gone: Collection[int]) -> Question:
        """What is asked at the end of the reply, as `Turn` has it, but about no id that is gone."""
        return ()

    def _asked_for(self, request: Request) -> tuple[list[int], str]:
        """The ids that the last message asks for by title, known or not, and a note about them."""
        catalogue, found, notes = matcher_for(self.data).catalogue, list[int](), list[str]()
        message, known = "".join(request.messages[-1:]), catalogue.same(request.excluded)
        for title in vocabulary_for(self.data).titles.find(message):
            n, ids = request.n_items - len(found), {*title.items}
            if title.asked and n and not ids:
                name = message[title.start : title.end]
                notes.append(f"No {self.noun} of {self.data.name} is called “{name}”.")
            elif title.asked and n:
                others = {*range(len(request.scores))} - (ids - known or ids)
                best = best_items(mask_items(request.scores, others), n, catalogue.twins)
                named = " and ".join(describe(self.data, item).label for item in best)
                seen = not catalogue.same(request.history).isdisjoint(best)
                before = ", seen before" if seen else ", offered before"
                notes.append(f"You asked for {named}{before if ids <= known else ''}.")
                found += [item for item in best if item not in found]
        return found, " ".join(notes)

    def _known(self, messages: Sequence[str]) -> Iterator[int]:
        """Yield the ids that messages compare with or refuse: "like Heat", "but not Star Trek"."""
        for message in messages:
            for title in vocabulary_for(self.data).titles.find(message):
                refused = negation_in(message).of(title.start, title.end)[0] == "refused"
                if not title.asked and (refused or len(title.items) == 1):
                    yield from title.items

    def _choose(self, scores: Tensor, request: Request) -> Slate:
        """Choose among the items of finite score, of which there is one at least."""
        return Slate(self._best(scores, request.n_items))

    def _best(self, scores: Tensor, n: int) -> tuple[Recommendation, ...]:
        best = best_items(scores, n, matcher_for(self.data).catalogue.twins)
        return self._described(best, scores)

    def _described(self, ids: Iterable[int], scores: Tensor) -> tuple[Recommendation, ...]:
        return tuple(describe(self.data, item, float(scores[item])) for item in ids)


@lru_cache(maxsize=4)
def untitled(data: Dataset) -> tuple[int, ...]:
    """Items without a title: an offer that nobody could take up."""
    return tuple(item for item, title in enumerate(data.titles) if title == UNKNOWN_TITLE)


def best_items(scores: Tensor, n: int, twins: Mapping[int, tuple[int, ...]]) -> list[int]:
    """Ids of the n best items of scores [V + 1], best first, of equal ones the smaller id first.

    Of one item under several ids (`Catalogue.twins`) only the best; fewer if few are finite.
    """
    order = scores.argsort(descending=True, stable=True)[: n + len(twins)]
    best: dict[tuple[int, ...], int] = {}
    for item in order[torch.isfinite(scores[order])].tolist():
        best.setdefault(twins.get(item, (item,)), item)
    return [*best.values()][:n]


class AskPolicy(Policy):
    """Policy A: as B, and where the belief is broad, "More like this film, or more like that?"."""

    name: PolicyName = "A"

    @torch.no_grad()
    def question(self, belief: Belief, gone: Collection[int]) -> Question:
        """The best item of either intent of the pair whose answer tells most about p(m | S, x)."""
        generative, catalogue = belief.model.generative, matcher_for(self.data).catalogue
        pair, gain = best_question(belief.intents[0], generative.anchors, CARELESS_SHARE)
        if gain < ASK_ABOVE:
            return ()
        asked: list[int] = []
        for scores in generative.item_table()[list(pair)]:
            without = {*catalogue.same([*gone, *asked]), *untitled(self.data)}
            asked += best_items(mask_items(scores, without), 1, catalogue.twins)
        titles = [spoken_title(self.data.title(item)) for item in asked]
        return tuple(zip(pair, asked, titles, strict=True)) if len(asked) == 2 else ()


class FilterPolicy(Policy):
    """Policy F: the best items that meet the requirements, which are relaxed in a stated order.

    `extractor` reads the requirements, with the model that `chat_model` gives at first use, if any.
    """

    name: PolicyName = "F"

    def __init__(
        self, data: Dataset, chat_model: GetChatModel = lambda: None,
        extractor: extraction.Extractor | extraction.How = "lexicon",
    ):  # fmt: skip
        super().__init__(data)
        if isinstance(extractor, str):
            extraction.check_how(extractor)
        self._chat_model, self._extractor = chat_model, extractor

    def parse(
        self, message: str, before: Requirements, stop: Stop = None, offered: Sequence[int] = ()
    ) -> extraction.Extraction:
        """Add the message's requirements to those before it, or change these."""
        extractor = self._extractor
        try:
            if isinstance(extractor, str):
                needs_model = extractor in extraction.WITH_MODEL
                chat_model = self._chat_model() if needs_model else None
                how = "lexicon" if needs_model and chat_model is None else extractor
                extractor = extraction.make_extractor(self.data, how, chat_model)
            found = extractor(message, stop=stop)
        except Exception as error:  # whatever a model raises, the lexicon can read the message
            literal = extraction.make_extractor(self.data)(message)
            found = replace(literal, failure=extraction.failure(error), counted=False)
        known = matcher_for(self.data).catalogue.items
        # "older" at first means older than most of the catalogue
        years = [year for item in offered or range(len(known)) if (year := known[item].year)]
        return replace(found, requirements=before.then(found.requirements, message, years))

    def _choose(self, scores: Tensor, request: Request) -> Slate:
        wanted, matcher = request.requirements, matcher_for(self.data)
        tiered = relax(scores, matcher, wanted)
        best = best_items(tiered, request.n_items, matcher.catalogue.twins)
        # no more than the chosen items need
        worst = {part: lack[best].max() for part, lack in _lacking(matcher, wanted).items()}
        relaxed = tuple(step for step, (part, lack) in _STEPS.items() if worst[part] == lack)
        relaxed = (*(["guesses"] if worst[_GUESSES] else []), *relaxed)
        n_met = sum(not wanted.unmet(matcher.catalogue[item]) for item in best)
        parts = listed([RELAXATIONS[step] for step in relaxed])
        note = render("relaxed", parts=parts, wanted=wanted, n_met=n_met, noun=self.noun)
        return Slate(self._described(best, scores), note, relaxed)


class RerankPolicy(Policy):
    """Policy V: the best items in the order of the model that `chat_model` gives, if any."""

    name: PolicyName = "V"

    def __init__(self, data: Dataset, chat_model: GetChatModel, config: RerankConfig | None = None):
        super().__init__(data)
        self.config = config or RerankConfig()
        self._chat_model = chat_model
        self._prior: Prior = {}

    def _choose(self, scores: Tensor, request: Request) -> Slate:
        n, titles = request.n_items, self.data.titles
        best = self._best(scores, max(n, self.config.n_candidates))
        context = RerankContext([titles[v] for v in request.history], request.messages, self.noun)
        reason, counted = "there is no language model to change it", True
        try:
            if (chat_model := self._chat_model()) is not None:
                counted = False  # what a failed model has read is not known
                new = rerank(chat_model, best, context, self.config, self._prior, request.stop)
                of_id = {item.item: item for item in best}
                items = tuple(of_id[item] for item in new.order[:n])
                slate = Slate(items, candidates=tuple(of_id), reranked=new.order, tokens=new.tokens)
                return replace(slate, prior_tokens=new.prior_tokens, counted=new.counted)
        except CannotScoreError:
            raise
        except Exception as error:  # whatever a model raises, the recommender's order stands
            reason = extraction.failure(error)
        note = f"The order is the recommender's own, because {reason}."
        return Slate(best[:n], note, counted=counted)


# Constraint relaxation of policy F

_YEARS_WIDENED = 5
_GUESSES = "guesses"  # the part that is given up first, the least probable at first
_STEPS = {step: (of["part"], of["lack"]) for step, of in words_of("relaxations").items()
          if step != _GUESSES}  # fmt: skip
RELAXATIONS = {s: of["words"].format(n=_YEARS_WIDENED) for s, of in words_of("relaxations").items()}
"""What is relaxed, in this order, and how the user is told."""


def _lacking(matcher: Matcher, wanted: Requirements) -> dict[str, np.ndarray]:
    """How much every item lacks of each part of the wish, int [V + 1]; 0 if it meets the part.

    Of the guesses: how many, the least probable first, are given up until it meets the others.
    """
    guesses = sorted((r for r in wanted if r.probability < 1), key=lambda r: r.probability)
    wanted = Requirements(tuple(r for r in wanted if r.probability == 1))
    unmet = [(~matcher.satisfying(r.constraint)) * n for n, r in enumerate(guesses, 1)]
    asked = wanted.asked("genre")
    wider = (f"{max(a - _YEARS_WIDENED, 0)}-{b + _YEARS_WIDENED}" for a, b in wanted.years)
    met = {
        "price": [matcher.all_of(wanted.asked("price"))],
        "creator": [matcher.any_of(wanted.asked("creator"))],
        "platform": [matcher.any_of(wanted.asked("platform"))],
        "years": [matcher.any_of(wanted.asked("years")),
                  matcher.any_of(Constraint("era", years) for years in wider)],
        "genres": [matcher.all_of(asked), matcher.any_of(asked)],
        "refusals": [matcher.all_of(wanted.refused)],
    }  # fmt: skip
    lacking = {part: (~np.stack(masks)).sum(0) for part, masks in met.items()}
    return {_GUESSES: np.max([0 * matcher.items, *unmet], axis=0), **lacking}


def relaxations(
    matcher: Matcher, wanted: Requirements, left: np.ndarray | None = None
) -> Iterator[tuple[str, np.ndarray]]:
    """Yield a step ("" at first) and the items that are then allowed, bool [V + 1].

    Each mask holds those before it; steps that free none of those `left` (None: all) are left out.
    """
    left, lacking = matcher.items if left is None else left, _lacking(matcher, wanted)

    def allowed_if(limits: Mapping[str, int]) -> np.ndarray:
        met = [lack <= limits.get(part, 0) for part, lack in lacking.items()]
        return left & np.logical_and.reduce(met)

    limits: dict[str, int] = {}
    allowed = allowed_if(limits)
    yield "", allowed
    n_guesses = int(lacking[_GUESSES][1:].max(initial=0))
    steps = {f"{_GUESSES} {n}": (_GUESSES, n) for n in range(1, n_guesses + 1)} | _STEPS
    pending = {s: (part, n) for s, (part, n) in steps.items() if lacking[part][1:].any()}
    while pending:
        after = {s: allowed_if(limits | {part: n}) for s, (part, n) in pending.items()}
        # refusals come last, whatever they would free
        tried = [step for step in pending if step != "refusals"] or [*pending]
        step = next((step for step in tried if (after[step] & ~allowed).any()), tried[0])
        if (after[step] & ~allowed).any():
            yield step, after[step]
        relaxed, limit = pending[step]
        allowed, limits[relaxed] = after[step], limit
        pending = {s: (part, n) for s, (part, n) in pending.items() if n > limits.get(part, 0)}


def relax(scores: Tensor, matcher: Matcher, wanted: Requirements) -> Tensor:
    """Scores [V + 1] under requirements: every item of a lower tier before those of a higher one.

    The tier of an item is the number of relaxations after which it is allowed; minus infinity marks
    what is not to be offered, at least one score is finite. In the result, float64 [V + 1], it also
    marks what the user refused, unless nothing else is left.
    """
    left = torch.isfinite(scores)
    names, masks = zip(*relaxations(matcher, wanted, left.cpu().numpy()), strict=True)
    # each mask holds those before it, so the number of masks without an item is its tier
    tier = torch.from_numpy((~np.stack(masks)).sum(0)).to(scores.device)
    scores = scores.double()
    if "refusals" in names:
        kept = left & (tier < names.index("refusals"))
        left = kept if kept.any() else left
    finite = scores[torch.isfinite(scores)]
    span = finite.max() - finite.min() + 1.0
    return torch.where(left, scores - tier * span, -torch.inf)
