"""PromptEOL: a sentence becomes the vector of the one word that a language model would say next.

Section 4.2.1 of the paper (after Jiang et al., 2024): the text is put into a prompt that asks for
its meaning in one word, and x^u is the last hidden state of the prompt's last token.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from latentcrs_utils.errors import ConfigError
from latentcrs_utils.language import models
from latentcrs_utils.language.text_encoder import TextEncoder

PROMPT = 'This sentence: "{text}" means in one word: "'
# longest input in tokens, prompt included
MAX_TOKENS = 512
# raised when a change of the code gives the same text another vector: old ones are not mixed in
_VECTORS = 2


class Embedder(TextEncoder):
    """Text to vectors with a local causal language model, each distinct text once.

    Computed in other company, vectors differ by rounding (bfloat16: cosine 0.999 after centring).

    The model is ``"smollm2"``, a folder, a ``.gguf`` file or a Hugging Face id; a ChatModel made
    with the same shares its weights. The dtype ``"auto"`` is bfloat16 where the processor has it
    natively, else float32. ``batch_size`` texts of like length share a forward pass; the prompt has
    ``{text}`` once; ``reuse=False`` leaves the cache alone.

    ConfigError: unknown model or dtype, or a prompt without ``{text}``. AssetError: no model.
    """

    def __init__(
        self, model: str | Path = models.DEFAULT_MODEL, *, dtype: models.DTypeName = "auto",
        batch_size: int = 32, prompt: str = PROMPT, reuse: bool = True,
    ):  # fmt: skip
        if prompt.count("{text}") != 1:
            raise ConfigError(f"The prompt must hold {{text}} exactly once: {prompt!r}.")
        super().__init__(model, "language model", dtype, batch_size, reuse)
        self.language_model, self.prompt = model, prompt

    @property
    def identity(self) -> str:
        """What the vectors depend on besides the text: code, model, dtype, length, prompt."""
        parts = (_VECTORS, self._source.identity, self.dtype, MAX_TOKENS, self.prompt)
        return "|".join(map(str, parts))

    def token_ids(self, text: str) -> list[int]:
        """Token ids of the prompt around a text; of a long one the *end* is kept."""
        language_model, opening = self._language_model(), self.prompt.partition("{text}")[0]
        ids = language_model.token_ids(self.prompt.replace("{text}", text))
        limit = min(MAX_TOKENS, language_model.context_length)
        if len(ids) <= limit:
            return ids
        n_opening = len(language_model.token_ids(opening))
        return ids[:n_opening] + ids[n_opening - limit :]

    def _vectors(self, model: models.LanguageModel, batch: Sequence[list[int]]) -> np.ndarray:
        return last_hidden_states(model, batch)


def last_hidden_states(
    language_model: models.LanguageModel, batch: Sequence[list[int]]
) -> np.ndarray:
    """Last hidden state, after the final normalisation, of the last of each sequence's tokens.

    B lists of token ids -> float32 ``[B, d]``. Padding is on the left, so the last column holds
    every last token; the mask hides it, and positions count from the sequence's own first token.
    """
    model, longest = language_model.model, max(map(len, batch))
    gaps = [longest - len(sequence) for sequence in batch]
    ids = torch.tensor([[0] * gap + list(s) for gap, s in zip(gaps, batch, strict=True)])
    mask = (torch.arange(longest) >= torch.tensor(gaps)[:, None]).long()
    with torch.inference_mode():
        hidden = model.base_model(
            input_ids=ids.to(model.device),
            attention_mask=mask.to(model.device),
            position_ids=(mask.cumsum(dim=1) - 1).clamp(min=0).to(model.device),
            use_cache=False,
        ).last_hidden_state
    return hidden[:, -1].float().cpu().numpy()
