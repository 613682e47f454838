"""One face for all rivals: they rank all items for a text, and choose or ask in a dialogue.

A `Rival` is a scorer, as the one-turn tables call it, and a `Policy`, as the chat and the dialogues
do. There are two kinds: askers, which know attributes and may ask about them, and systems that
prompt a language model with titles.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from latentcrs_utils.baselines.attributes import Attributes
from latentcrs_utils.baselines.questions import ACCEPTED, MISSED, NO, YES, Asker, Known, choose
from latentcrs_utils.behavior.pretraining import Backbone
from latentcrs_utils.conversation.policies import Policy, Request, Slate
from latentcrs_utils.data.sequences import Dataset, Sequences
from latentcrs_utils.evaluation.multi_turn import System
from latentcrs_utils.evaluation.one_turn import EvalSet, Scorer
from latentcrs_utils.language.encoding import Language
from latentcrs_utils.ranking import mask_items
from latentcrs_utils.support.artifacts import fingerprint

N_TURNS, N_ITEMS = 5, 5
"""The dialogues of the paper's Table 4."""
N_LISTED = 20  # items that a prompted system names in one turn of Tables 2 and 3
NOTHING_NAMED = "The language model named nothing that may be offered: say it in other words."


@dataclass(frozen=True)
class Rival:
    """A system of the tables, by its name: what it scores in one turn, and how it talks.

    `scores` are of all items, [N, V + 1]; the `policy` chooses or asks, and gets the scores of the
    `first_stage`, by default the same, in every turn. `identity` names the model and its setting.
    """

    name: str
    scores: Scorer
    policy: Policy
    first_stage: Scorer | None = None
    identity: str = ""

    def system(self, backbone: Backbone, language: Language) -> System:
        """The rival as a partner in dialogues."""
        scorer = self.first_stage or self.scores
        return System(scorer, self.policy, backbone, language, False, self.identity)


def users_of(data: Dataset, cases: EvalSet) -> Tensor:
    """The training user, 0..U-1, whom each case is of, int64 [N]; -1 for a stranger.

    A history that is not the user's own is a stranger's, whatever number the table has.
    """
    if "user" not in cases.frame.columns:
        return torch.full((len(cases),), -1)
    users, histories = cases.frame["user"].to_list(), cases.instances.histories
    own = [
        u if 0 <= u < data.n_users and np.isin(history, data.interactions[u]).all() else -1
        for u, history in zip(users, histories, strict=True)
    ]
    return torch.tensor(own, dtype=torch.int64)


def known_of_texts(attributes: Attributes, cases: EvalSet) -> Known:
    """What one message tells: the first and only turn, in which nothing was offered yet."""
    users, beliefs = users_of(attributes.data, cases), attributes.beliefs(cases.texts)
    start = Known.at_first(attributes, users, cases.instances.histories, 1, N_ITEMS)
    candidates = start.candidates & attributes.having(beliefs > ACCEPTED)
    return replace(start, beliefs=beliefs, settled=beliefs.abs() > ACCEPTED, candidates=candidates)


def known_of_request(attributes: Attributes, request: Request) -> Known:
    """What a dialogue under way tells (N = 1): later messages override earlier ones.

    Every message that answers a question is a yes or a no; before any other but the first, the
    items on offer were refused.
    """
    heard = attributes.beliefs(request.messages or [""])
    beliefs = torch.zeros(1, len(attributes))
    for row in heard:
        # a guess does not take back what was said
        beliefs = torch.where(row.abs() > beliefs.abs().clamp_max(ACCEPTED), row, beliefs)
    user, history = torch.tensor([request.user]), Sequences.from_lists([request.history])
    start = Known.at_first(attributes, user, history, max(N_TURNS, len(heard)), request.n_items)
    for turn, (message, row) in enumerate(zip(request.messages[1:], heard[1:], strict=True)):
        asked = attributes.answered([message])
        start.events[0, turn] = (YES if (row[asked] > 0).any() else NO) if asked.any() else MISSED
    candidates = start.candidates & attributes.having(beliefs > ACCEPTED)
    candidates[0, gone := [*{*request.excluded} - {*request.history}]] = False
    # more than was offered: a past that nobody may know, and that nobody refused
    start.rejected[0, gone] = len(gone) <= request.n_items * (len(heard) - 1)
    settled = (beliefs.abs() > ACCEPTED) | attributes.answered(request.messages)
    return replace(start, beliefs=beliefs, settled=settled, candidates=candidates, turn=len(heard))


class AskingPolicy(Policy):
    """Asks or offers as an asker decides, who hears the messages as the one parser reads them."""

    def __init__(self, asker: Asker):
        super().__init__(asker.attributes.data)
        self.asker = asker

    @torch.no_grad()
    def select(self, request: Request) -> Slate:
        """Ask about an attribute, or offer the items that the asker scores highest."""
        known = known_of_request(self.asker.attributes, request)
        actions, scores = choose(self.asker, known)
        if (action := int(actions[0])) < len(self.asker.attributes):
            return Slate(asked=self.asker.attributes.names[action])
        return super().select(replace(request, scores=scores[0]))


def _weights(part: Any) -> Iterator[Tensor]:
    """All tensors of an asker and of its parts."""
    if isinstance(part, Tensor):
        yield part
    elif isinstance(part, nn.Module):
        yield from part.state_dict().values()
    elif isinstance(part, (Asker, Attributes, tuple)):
        for inner in part if isinstance(part, tuple) else vars(part).values():
            yield from _weights(inner)


def asking_rival(name: str, asker: Asker, *, hard: bool = False) -> Rival:
    """A rival that asks; in one turn it ranks all items for what the words say.

    The paper's protocol ranks the catalogue, so the main row scores softly, and what was said
    moves items without removing any; `hard` puts the items that have all of it first.
    """

    @torch.no_grad()
    def scores(cases: EvalSet) -> Tensor:
        known = known_of_texts(asker.attributes, cases)
        soft = asker.scores(known)
        return _hard(asker.attributes, known, soft) if hard else soft

    identity = f"{type(asker).__name__} {fingerprint(*_weights(asker))}"
    return Rival(name, scores, AskingPolicy(asker), identity=identity)


def _hard(attributes: Attributes, known: Known, scores: Tensor) -> Tensor:
    """Items that have all that is accepted before the others, each part in its own order."""
    refused = (known.refused.float() @ attributes.has.float().T) > 0
    allowed = attributes.having(known.accepted) & ~refused
    finite = scores[:, 1:]
    span = finite.amax(1, keepdim=True) - finite.amin(1, keepdim=True) + 1
    return torch.where(allowed, scores, scores - span)


@dataclass(frozen=True)
class Named:
    """What a prompted system answered: items, best first, and the tokens read and written."""

    items: tuple[int, ...]
    tokens: tuple[int, int] = (0, 0)
    note: str = ""
    seconds: float = 0.0  # of the answers, when they were given


Prompt = Callable[[Tensor, Sequence[int], Sequence[str], int], Named]
"""(first-stage scores [V + 1], history, messages, how many) -> `Named`; see `Request`."""


class PromptedPolicy(Policy):
    """Offers what a language model names, then to `fill` up what the first stage scores highest."""

    def __init__(self, data: Dataset, prompt: Prompt, fill: bool):
        super().__init__(data)
        self.prompt, self.fill = prompt, fill

    def select(self, request: Request) -> Slate:
        """Ask the language model; items that are excluded are not offered again."""
        open_scores = mask_items(request.scores, request.excluded)
        named = self.prompt(open_scores, request.history, request.messages, request.n_items)
        scores = in_order(named.items, open_scores if self.fill else None, len(open_scores))
        if not self.fill:
            scores[[*{*range(len(scores))}.difference(named.items)]] = -torch.inf
        slate = super().select(replace(request, scores=scores))
        note = named.note or slate.note or ("" if slate.items else NOTHING_NAMED)
        return replace(slate, tokens=named.tokens, note=note, seconds=named.seconds)


def in_order(items: Sequence[int], others: Tensor | None, n: int) -> Tensor:
    """Scores [n] that rank items in their order, then the `others` by their scores [n].

    Without others all that is not named has the same score, so nobody gains by a tie.
    """
    scores = torch.full((n,), -1.0) if others is None else others.clone().float()
    finite = scores[torch.isfinite(scores)]
    top = float(finite.max()) if len(finite) else 0.0
    for place, item in enumerate(items):
        scores[item] = top + len(items) - place
    scores[0] = -torch.inf
    return scores


def prompted_rival(
    name: str, data: Dataset, prompt: Prompt, *, first_stage: Scorer | None = None,
    identity: str = "",
) -> Rival:  # fmt: skip
    """A rival that prompts a language model, for a list of twenty in one turn.

    Items that the model does not name follow in the order of a `first_stage`, else all come last.
    """

    def nothing(cases: EvalSet) -> Tensor:
        return torch.zeros(len(cases), data.n_items + 1)

    def scores(cases: EvalSet) -> Tensor:
        first, rows = (first_stage or nothing)(cases), []
        for row, text, history in zip(first, cases.texts, cases.instances.histories, strict=True):
            row_scores = mask_items(row, ())
            named = prompt(row_scores, history.tolist(), [text], N_LISTED)
            rows.append(in_order(named.items, row_scores if first_stage else None, len(row)))
        return torch.stack(rows)

    policy = PromptedPolicy(data, prompt, first_stage is not None)
    return Rival(name, scores, policy, first_stage or nothing, identity)
