"""The beginning that successive prompts share (instructions, examples), read once for all of them.

Prompts are read in pieces of equal length, and only whole pieces are kept, so a reply is the same
to the last bit whether the beginning of its prompt was known or not.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any


class SharedBeginning:
    """Keys and values of the whole pieces that a prompt has in common with the one before it.

    What two successive prompts share is kept while the second is read; the third need not read it
    again. A prompt without a whole piece to share changes nothing.

    Args:
        step: tokens a piece.
    """

    def __init__(self, step: int):
        self.step = step
        self._last: list[int] = []
        self._kept: tuple[list[int], Any] = [], None

    def known(self, prompt: list[int]) -> tuple[int, Any]:
        """Return how many tokens of a prompt need not be read, and a cache of them to go on with.

        Returns:
            (0, None), or a multiple of `step` that leaves at least one token to be read.
        """
        beginning, cache = self._kept
        n = len(beginning)
        if not 0 < n < len(prompt) or prompt[:n] != beginning:
            return 0, None
        # a model writes into the cache that it is given
        return n, copy.deepcopy(cache)

    def to_keep(self, prompt: list[int]) -> int:
        """Note a prompt that is about to be read, and say how much of it is shared.

        Returns:
            After how many tokens `keep` is to be called, a multiple of `step`; 0: not at all.
        """
        whole = (len(prompt) - 1) // self.step * self.step
        if not whole:
            return 0
        shared = 0
        while shared < whole and _piece(prompt, shared, self.step) == _piece(
            self._last, shared, self.step
        ):
            shared += self.step
        self._last = list(prompt)
        return shared

    def keep(self, prompt: Sequence[int], n: int, cache: Any) -> None:
        """Keep the cache after the first n tokens of a prompt, in place of what was kept."""
        self._kept = list(prompt[:n]), copy.deepcopy(cache)


def _piece(tokens: list[int], start: int, step: int) -> list[int]:
    return tokens[start : start + step]
