"""Policy V: a language model puts the recommender's best items into another order (Section 4.3).

A small model cannot write a list, but it can tell how likely a title is after what the user said;
a capable one writes the order. The recommender alone decides which items there are.
"""

import json
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from latentcrs_utils.config import RerankConfig
from latentcrs_utils.conversation.in_words import words_of
from latentcrs_utils.conversation.turn import Recommendation
from latentcrs_utils.errors import ConfigError, MessageError
from latentcrs_utils.language.chat_model import ChatModel
from latentcrs_utils.simulation.titles import spoken_title


class CannotScoreError(ConfigError):
    """The likelihood of words is asked of a model that does not tell it."""


# The model reads the latest titles and words; a longer context costs more than it tells.
_N_TITLES = 8
_N_CHARACTERS = 1_000
_TOKENS_PER_NUMBER = 6

# What a customer says who says nothing: what is left of a likelihood is due to the context.
NOTHING = "What do you recommend?"
Prior = dict[str, float]  # words for an item -> log p(item | empty context), whoever the user is


@dataclass(frozen=True)
class RerankContext:
    """What a language model is told of the user: titles and messages, the oldest first."""

    liked: Sequence[str]
    messages: Sequence[str]
    noun: str = "film"

    def __str__(self) -> str:
        titles = ", ".join(map(spoken_title, self.liked[-_N_TITLES:]))
        told = f"A customer liked these {self.noun}s: {titles}.\n" if titles else ""
        said = " ".join(" ".join(self.messages).split())[-_N_CHARACTERS:]
        return f'{told}Now the customer says: "{said}"'


@dataclass(frozen=True)
class Reranked:
    """A new order of some candidates, item ids with the best first.

    `log_ratios`, of each candidate in the old order, are the nats that the context adds; or none.
    """

    order: tuple[int, ...]
    log_ratios: tuple[float, ...] = ()
    tokens: tuple[int, int] = (0, 0)  # read and written for this context
    prior_tokens: int = 0  # read for what does not depend on it
    counted: bool = True  # whether the back end reported them


def rerank(
    chat_model: ChatModel, candidates: Sequence[Recommendation], context: RerankContext,
    config: RerankConfig, prior: Prior | None = None, stop: threading.Event | None = None,
) -> Reranked:  # fmt: skip
    """Re-rank by likelihood or in a list; "auto": by likelihood if the model can score.

    By likelihood, the order is that of `fused_order`; an item gains by log p(item | context) -
    log p(item | empty context). The difference keeps long titles from losing and common ones from
    winning. In a list, the model writes the numbers of the items, which `permutation` completes.

    The candidates come best first, `prior` remembers what does not depend on the context, and
    `stop` ends the answer of a model that writes. CannotScoreError: the likelihood is asked of a
    model that cannot tell it. MessageError: a score is no number, or the answer has no number of
    the list. LatentCRSError: the model failed.
    """
    score, noun = chat_model.score, context.noun
    if config.method == "listwise" or (config.method == "auto" and score is None):
        return _written(chat_model, candidates, context, stop)
    if score is None:
        reason = f"{chat_model.name} cannot score given words: choose method='listwise'."
        raise CannotScoreError(reason)
    # what the model scores is title, year and genres, behind the space that parts them
    texts = []
    for item in candidates:
        known = ", ".join([*([str(item.year)] if item.year else []), *item.genres])
        texts.append(f" {spoken_title(item.title)}" + (f" ({known})" if known else ""))

    def log_likelihoods(context: RerankContext, texts: list[str]) -> list[float]:
        prompt = f"{context}\nThe {noun} that the shop recommends:"
        scores = [float(log_likelihood) for log_likelihood in score(prompt, texts)]
        if len(scores) != len(texts) or not np.isfinite(scores).all():
            raise MessageError(f"The language model gave no {len(texts)} finite scores.")
        return scores

    prior = {} if prior is None else prior
    begun = chat_model.usage.prompt_tokens
    if missing := [text for text in dict.fromkeys(texts) if text not in prior]:
        nothing = RerankContext([], [NOTHING], noun)
        prior |= zip(missing, log_likelihoods(nothing, missing), strict=True)
    cached = chat_model.usage.prompt_tokens
    told = zip(log_likelihoods(context, texts), texts, strict=True)
    ratios = tuple(score - prior[text] for score, text in told)
    order = fused_order(candidates, ratios, config.weight)
    tokens = chat_model.usage.prompt_tokens - cached, 0
    return Reranked(tuple(order), ratios, tokens, cached - begun)


def fused_order(
    candidates: Sequence[Recommendation], ratios: Sequence[float], weight: float
) -> list[int]:
    """Item ids by log p(v | S, x) + weight * log ratio, best first; stable."""
    fused = {item.item: item.score + weight * r for item, r in zip(candidates, ratios, strict=True)}
    return sorted(fused, key=lambda item: -fused[item])


def _written(
    chat_model: ChatModel, candidates: Sequence[Recommendation], context: RerankContext,
    stop: threading.Event | None,
) -> Reranked:  # fmt: skip
    n = len(candidates)
    listed = "\n".join(
        f"{number}. {item.label}{': ' + ', '.join(item.genres) if item.genres else ''}"
        for number, item in enumerate(candidates, start=1)
    )
    instructions = words_of("examples")["order"].format(thing=context.noun)
    request, limit = f"{context}\nThe list:\n{listed}", _TOKENS_PER_NUMBER * (n + 4)
    chat = [{"role": "system", "content": instructions}, {"role": "user", "content": request}]
    reply = chat_model.generate(chat, schema=order_schema(n), max_new_tokens=limit, stop=stop)
    try:
        answer = json.loads(reply.text)
    except ValueError as error:
        told = f"The language model wrote no JSON: {reply.text[:60]!r}."
        raise MessageError(told) from error
    numbers = answer.get("order") if isinstance(answer, dict) else answer
    order = tuple(candidates[place].item for place in permutation(numbers, n))
    tokens = reply.prompt_tokens, reply.completion_tokens
    return Reranked(order, tokens=tokens, counted=reply.counted)


def order_schema(n: int) -> dict[str, Any]:
    """JSON schema of ``{"order": [n numbers from 1 to n]}``; it cannot forbid one twice."""
    numbers = {"type": "integer", "enum": [*range(1, n + 1)]}
    order = {"type": "array", "items": numbers, "minItems": n, "maxItems": n}
    only = {"properties": {"order": order}, "required": ["order"], "additionalProperties": False}
    return {"type": "object", **only}


def permutation(numbers: Any, n: int) -> list[int]:
    """A permutation of 0..n-1: what a list has of 1 to n, then the rest; MessageError: none."""
    listed = numbers if isinstance(numbers, list) else []
    named = [x - 1 for x in listed if type(x) is int and 1 <= x <= n]
    if not named:
        raise MessageError(f"The language model named none of the {n} items.")
    return list(dict.fromkeys([*named, *range(n)]))
