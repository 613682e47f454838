"""Sentence encoders: models trained to give texts of like meaning vectors of like direction.

They need no prompt: x^u is the mean of the last hidden states of all tokens of the text, scaled to
length one (Reimers & Gurevych, 2019). `SideBySide` joins what several encoders read.
"""

from collections.abc import Sequence
from dataclasses import astuple
from pathlib import Path

import numpy as np
import torch

from latentcrs_utils.errors import ConfigError
from latentcrs_utils.language import models
from latentcrs_utils.language.embedder import Embedder
from latentcrs_utils.language.text_encoder import EmbeddingUsage, TextEncoder


class SentenceEncoder(TextEncoder):
    """Text to vectors of length one with a sentence encoder, each distinct text once.

    The model is ``"minilm"`` (all-MiniLM-L6-v2, d = 384), a folder or a Hugging Face id; the mean
    is taken whatever pooling its authors chose. The rest is as for `Embedder`. ConfigError: unknown
    model or dtype, or a model that writes text. AssetError: the model cannot be fetched.
    """

    def __init__(
        self, model: str | Path = models.DEFAULT_ENCODER, *, dtype: models.DTypeName = "auto",
        batch_size: int = 32, reuse: bool = True,
    ):  # fmt: skip
        super().__init__(model, "sentence encoder", dtype, batch_size, reuse)

    @property
    def identity(self) -> str:
        """What the vectors depend on besides the text: pooling, code, model, dtype."""
        return f"mean of tokens, 1|{self._source.identity}|{self.dtype}"

    def token_ids(self, text: str) -> list[int]:
        """Token ids of a text; of one longer than the model reads the *end* is kept."""
        encoder = self._language_model()
        limit = min(encoder.context_length, encoder.tokenizer.model_max_length)
        ids = encoder.token_ids(text)
        # the first token opens every text
        return ids if len(ids) <= limit else ids[:1] + ids[1 - limit :]

    def _vectors(self, model: models.LanguageModel, batch: Sequence[list[int]]) -> np.ndarray:
        """Mean over the tokens, scaled to length one; the mask hides the padding on the right."""
        device, longest = model.model.device, max(map(len, batch))
        padding = [model.tokenizer.pad_token_id or 0] * longest
        ids = torch.tensor([(sequence + padding)[:longest] for sequence in batch], device=device)
        lengths = torch.tensor([[len(sequence)] for sequence in batch], device=device)
        mask = (torch.arange(longest, device=device) < lengths).long()
        with torch.inference_mode():
            output = model.model.base_model(input_ids=ids, attention_mask=mask)
            mean = (output.last_hidden_state.float() * mask[:, :, None]).sum(dim=1) / lengths
            return torch.nn.functional.normalize(mean, dim=1).cpu().numpy()


class SideBySide(TextEncoder):
    """Several text encoders as one: their vectors side by side; `embed` standardises scales."""

    def __init__(self, encoders: Sequence[TextEncoder]):
        if not encoders:
            raise ConfigError("SideBySide() takes a list of encoders: give at least one.")
        self.encoders, self.name = tuple(encoders), " + ".join(e.name for e in encoders)
        self.tokens = EmbeddingUsage()  # what all calls of the encoders so far have cost, summed
        writers = [e.language_model for e in encoders if isinstance(e, Embedder)]
        self.language_model = (*writers, models.DEFAULT_MODEL)[0]

    @property
    def identity(self) -> str:
        """What the vectors depend on besides the text: that of each encoder, in order."""
        return "|".join(("side by side", *(encoder.identity for encoder in self.encoders)))

    def embed(self, texts: Sequence[str], progress: bool | None = None) -> torch.Tensor:
        """Return float32 ``[N, d_1 + d_2 + ...]`` for N texts, on the CPU, not standardised."""
        vectors = [encoder.embed(texts, progress) for encoder in self.encoders]
        usages = [astuple(encoder.tokens) for encoder in self.encoders]
        self.tokens = EmbeddingUsage(*map(sum, zip(*usages, strict=True)))
        return torch.cat(vectors, dim=1)

    def token_ids(self, text: str) -> list[int]:
        """Token ids of all that is read for one text, encoder after encoder."""
        return [token for encoder in self.encoders for token in encoder.token_ids(text)]
