"""S and x of a conversation: its history and its words as the fitted model sees them."""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from latentcrs_utils.data.sequences import Sequences

if TYPE_CHECKING:
    from latentcrs_utils.em.model import LatentCRS


# What the language model reads at most; a dialogue that grows beyond it loses its oldest messages.
TEXT_LIMIT = 2_000

_WORD = re.compile(r"\S+")
_STOPS = tuple(",.;:!?…")


@dataclass(frozen=True)
class Span:
    """Some successive words of a dialogue.

    Attributes:
        message: number of the message in which the words begin, 1 for the first.
        text: the words.
        rest: what is read when these words are left out, the rest verbatim; "" if nothing is.
    """

    message: int
    text: str
    rest: str


def read_text(messages: Sequence[str]) -> tuple[str, int]:
    """x^u as text: the messages joined by a space, without the oldest where they are too long.

    Args:
        messages: the user's messages, oldest first.

    Returns:
        The text, "" without a message, and how many messages were left out.
    """
    first = 0
    while len(" ".join(messages[first:])) > TEXT_LIMIT and len(messages) - first > 1:
        first += 1
    return " ".join(messages[first:]), first


def spans(messages: Sequence[str], limit: int) -> list[Span]:
    """Cut the text of `read_text` into single words, or into as many spans as are allowed.

    Beyond `limit` words the longest span is halved, at a punctuation mark near its middle if there
    is one, until there are `limit` of them. A span lies within one message, unless there are more
    messages than spans: then the oldest ones are one span. Writing without spaces between words
    makes one word of a sentence.

    Args:
        messages: the user's messages, oldest first.
        limit: number of spans at most, at least 1.
    """
    text, n_dropped = read_text(messages)
    words = [match.span() for match in _WORD.finditer(text)]
    if not words:
        return []
    ends = _message_ends(messages[n_dropped:])
    owner = [sum(start >= end for end in ends) for start, _ in words]
    begins = [i for i in range(1, len(words)) if owner[i] != owner[i - 1]]
    cuts = [0, *begins[max(len(begins) - limit + 1, 0) :], len(words)]
    while len(cuts) - 1 < limit:
        begin, end = max(pairwise(cuts), key=_length)
        if end - begin == 1:
            break
        cuts = sorted([*cuts, _middle(text, words, begin, end)])
    found = []
    for begin, end in pairwise(cuts):
        start, stop = words[begin][0], words[end - 1][1]
        rest = f"{text[:start].rstrip()} {text[stop:].lstrip()}".strip()
        found.append(Span(n_dropped + owner[begin] + 1, text[start:stop], rest))
    return found


def _message_ends(messages: Sequence[str]) -> list[int]:
    """Where each message ends in the joined text, the joining space not counted."""
    ends, position = [], 0
    for message in messages:
        ends.append(position + len(message))
        position = ends[-1] + 1
    return ends


def _length(piece: tuple[int, int]) -> int:
    return piece[1] - piece[0]


def _middle(text: str, words: Sequence[tuple[int, int]], begin: int, end: int) -> int:
    """Where to cut words[begin:end]: in the middle, or after a punctuation mark near it."""
    middle, quarter = (begin + end) / 2, (end - begin) / 4
    near = [
        i
        for i in range(begin + 1, end)
        if text[words[i - 1][1] - 1] in _STOPS and abs(i - middle) < quarter
    ]
    return min(near, key=lambda i: abs(i - middle), default=int(middle))


# the text before a message, the text after it, and a few to go back to
_N_KEPT = 8


class Encoder:
    """Encodes histories and messages, and remembers the latest texts.

    Args:
        model: what `fit_em` returned.
    """

    def __init__(self, model: "LatentCRS"):
        self.model = model
        self._known: dict[str, Tensor] = {}

    @torch.inference_mode()
    def history(self, items: Iterable[int]) -> Tensor:
        """S of item ids, oldest first, [1, d]; the zero vector without any."""
        return self.model.backbone.encode(Sequences.from_lists([list(items)]))

    @torch.inference_mode()
    def words(self, messages: Sequence[str]) -> Tensor:
        """x of all messages together, [1, d_x].

        Without a message it is the zero vector: the mean of the standardised training texts.
        """
        text, _ = read_text(messages)
        if not text:
            return torch.zeros(1, len(self.model.language.mean))
        x = self._known.get(text)
        if x is None:
            x = self._known[text] = self.model.language.encode([text], progress=False)
            for oldest in list(self._known)[:-_N_KEPT]:
                self._known.pop(oldest, None)
        return x

    @torch.inference_mode()
    def intents(self, items: Iterable[int], messages: Sequence[str]) -> Tensor:
        """p(m | S, x), [K]."""
        return self.model.intent_posterior(self.history(items), self.words(messages))[0]


# Intents that a turn reports: the leaders before the message and the leaders after it.
_LEADERS = 6


def shift(
    before: Tensor, after: Tensor, names: Sequence[str]
) -> tuple[dict[str, float], dict[str, float]]:
    """The leading intents before and after a message, by name, the highest after it first.

    Args:
        before, after: p(m | S, x), [K].
        names: of the K intents.
    """
    leaders = {*before.topk(min(_LEADERS, len(before))).indices.tolist()}
    leaders |= {*after.topk(min(_LEADERS, len(after))).indices.tolist()}
    order = sorted(leaders, key=lambda j: (-float(after[j]), j))
    return (
        {names[j]: float(before[j]) for j in order},
        {names[j]: float(after[j]) for j in order},
    )


def notes_on(
    noun: str, *, cold: bool, n_chosen: int, n_items: int, refusals: bool, n_dropped: int
) -> Iterator[str]:
    """Yield what the user should know about a turn.

    Args:
        noun: what an item is called.
        cold: nothing is known of the user.
        n_chosen, n_items: how many items there are, and how many there should be.
        refusals: the user refused something, which was kept out.
        n_dropped: how many of the oldest messages are no longer read.
    """
    if cold:
        yield f"No history is known, so these {noun}s follow from your words alone."
    if n_chosen < n_items:
        refused = ", or is what you refused" if refusals else ""
        yield (
            f"Only {n_chosen} of the {n_items} places could be filled: the rest "
            f"of the catalogue was seen or offered{refused}."
        )
    if n_dropped:
        yield f"The dialogue is long: its first {n_dropped} messages are no longer read."
