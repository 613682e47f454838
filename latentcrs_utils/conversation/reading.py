"""What the language model reads of a dialogue, and that text cut into spans to leave out."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

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
