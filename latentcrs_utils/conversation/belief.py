"""S and x of a conversation: its history and its words as the fitted model sees them."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from latentcrs_utils.conversation.belief import read_text
from latentcrs_utils.data.sequences import Sequences

if TYPE_CHECKING:
    from latentcrs_utils.em.model import LatentCRS

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
