"""S, x and p(m | S, x) of a dialogue: what the model infers from history and messages."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from latentcrs_utils.config import CARELESS_SHARE
from latentcrs_utils.conversation.steering import log_likelihood
from latentcrs_utils.conversation.turn import Push
from latentcrs_utils.data.sequences import Sequences

if TYPE_CHECKING:
    from latentcrs_utils.em.model import LatentCRS
    from latentcrs_utils.em.networks import Context
    from latentcrs_utils.language.encoding import Language

TEXT_LIMIT = 2_000  # characters that are read; a longer dialogue loses its oldest messages
N_LEADERS = 6  # intents that a turn reports: the leaders before the message and after it
_N_KEPT = 8  # latest histories, texts and beliefs that are remembered


def read_text(messages: Sequence[str]) -> tuple[str, int]:
    """x^u, messages (oldest first) joined by a space, and how many of the oldest it leaves out."""
    first = 0
    while len(" ".join(messages[first:])) > TEXT_LIMIT and len(messages) - first > 1:
        first += 1
    return " ".join(messages[first:]), first


def embed_texts(language: "Language", texts: Sequence[str]) -> Tensor:
    """x of every text, [B, d_x], each distinct one once, in one call; of an empty text zero."""
    distinct = [text for text in dict.fromkeys(texts) if text]
    # the default type changes while another thread loads a language model
    table = torch.zeros(1, len(language.mean), dtype=torch.float32)
    if distinct:
        table = torch.cat([table, language.encode(distinct, progress=False)])
    row = {text: number for number, text in enumerate(distinct, start=1)}
    return table[[row.get(text, 0) for text in texts]]


@dataclass(frozen=True)
class Belief:
    """What a fitted model believes of B instances, from S [B, d] and x [B, d_x] of `LatentCRS`.

    `pushes` on intents change p(m | S, x) by Bayes' rule (`steering`), and with it the scores. The
    model's terms read the B `texts`; without them they are those of a person who said nothing.
    """

    model: "LatentCRS"
    S: Tensor
    x: Tensor
    pushes: tuple[Push, ...] = ()
    texts: tuple[str, ...] | None = None

    @property
    def log_pushes(self) -> Tensor | None:
        """log P(pushes | m), [K]; None without pushes."""
        anchors = self.model.generative.anchors
        return log_likelihood(self.pushes, anchors, CARELESS_SHARE) if self.pushes else None

    @cached_property
    @torch.no_grad()
    def context(self) -> "Context":
        """What follows from S, x and the pushes and does not depend on an item."""
        context, pushed = self.model.context(self.S, self.x), self.log_pushes
        if pushed is None:
            return context
        return replace(context, log_prior=(context.log_prior + pushed).log_softmax(-1))

    @property
    def log_intents(self) -> Tensor:
        """log p(m | S, x), [B, K] (Equation 5)."""
        return self.context.log_prior

    @property
    def intents(self) -> Tensor:
        """p(m | S, x), [B, K] (Equation 5)."""
        return self.log_intents.exp()

    @cached_property
    @torch.no_grad()
    def scores(self) -> Tensor:
        """log p(v | S, x) and the model's terms, [B, V + 1]; minus infinity for the padding."""
        return self.model.final_scores(self.context, self.S, self.texts)

    def shift_from(self, before: "Belief") -> tuple[dict[str, float], dict[str, float]]:
        """The leading intents before and now, by name, the highest now first (B = 1)."""
        was, now = before.intents[0], self.intents[0]
        leaders = {j for p in (was, now) for j in p.topk(min(N_LEADERS, len(p))).indices.tolist()}
        order = sorted(leaders, key=lambda j: (-float(now[j]), j))
        names = self.model.anchors.names
        return ({names[j]: float(was[j]) for j in order}, {names[j]: float(now[j]) for j in order})


class Beliefs:
    """Beliefs of one dialogue; the latest are remembered, so that nothing is encoded twice."""

    def __init__(self, model: "LatentCRS"):
        kept = lru_cache(_N_KEPT)
        S = kept(lambda history: model.backbone.encode(Sequences.from_lists([history])))
        x = kept(lambda text: embed_texts(model.language, [text]))
        self._belief = kept(
            lambda history, text, pushes: Belief(
                model, S(history), x(text), pushes, (text,) if text else None
            )
        )

    @torch.no_grad()
    def __call__(
        self, history: Iterable[int], messages: Sequence[str], pushes: tuple[Push, ...] = ()
    ) -> Belief:
        """What is believed after a history (item ids, oldest first), messages and pushes, B = 1."""
        return self._belief(tuple(history), read_text(messages)[0], pushes)


class Span(NamedTuple):
    """Successive words of a dialogue, the number (from 1) of their message, and what is left."""

    message: int
    text: str
    rest: str


def spans(messages: Sequence[str], limit: int) -> list[Span]:
    """Cut the text of `read_text` into single words, or into `limit` (>= 1) spans of more.

    Beyond `limit` words the longest span is halved, at a punctuation mark near its middle if there
    is one, until there are `limit` of them. A span lies within one message, unless there are more
    messages than spans: then the oldest ones are one span.
    """
    text, n_dropped = read_text(messages)
    words = [match.span() for match in re.finditer(r"\S+", text)]
    if not words:
        return []
    ends = [*accumulate(len(message) + 1 for message in messages[n_dropped:])]
    owner = [sum(start >= end for end in ends) for start, _ in words]
    begins = [i for i in range(1, len(words)) if owner[i] != owner[i - 1]]
    cuts = [0, *begins[max(len(begins) - limit + 1, 0) :], len(words)]
    pauses = [i for i in range(1, len(words)) if text[words[i - 1][1] - 1] in ",.;:!?…"]
    while len(cuts) <= min(limit, len(words)):
        begin, end = max(pairwise(cuts), key=lambda piece: piece[1] - piece[0])
        middle, quarter = (begin + end) / 2, (end - begin) / 4
        near = [i for i in pauses if abs(i - middle) < quarter]
        cut = min(near, key=lambda i: abs(i - middle), default=int(middle))
        cuts = sorted([*cuts, cut])
    found = []
    for begin, end in pairwise(cuts):
        start, stop = words[begin][0], words[end - 1][1]
        rest = f"{text[:start].rstrip()} {text[stop:].lstrip()}".strip()
        found.append(Span(n_dropped + owner[begin] + 1, text[start:stop], rest))
    return found
