"""Utterances as the vectors x^u that the EM sees: embedded, then standardised."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

import polars as pl
import torch

from latentcrs_utils.errors import DataError
from latentcrs_utils.language.embedder import Embedder
from latentcrs_utils.language.sentence_encoder import SentenceEncoder, SideBySide
from latentcrs_utils.language.text_encoder import TextEncoder

# a coordinate that hardly moves over the training texts carries nothing: it is not blown up
_SMALLEST_SCALE = 1e-3


class UtteranceTable(Protocol):
    """A table of texts, one row an utterance history x^u; what the simulator makes is one."""

    @property
    def frame(self) -> pl.DataFrame:
        """The columns split, user, cut, target, text, and where histories are cut short, kept."""


@dataclass(frozen=True, eq=False)
class Language:
    """Embedded utterances and the way to embed more of the same kind.

    PromptEOL vectors of short texts are nearly parallel (mean cosine 0.92), so every coordinate
    is centred and scaled, with statistics of the distinct *training* texts alone.
    """

    utterances: UtteranceTable
    # standardised vectors of the N utterances, float32 [N, d], in the same order
    x: torch.Tensor = field(repr=False)
    mean: torch.Tensor = field(repr=False)  # [d], what is subtracted
    scale: torch.Tensor = field(repr=False)  # [d], what is divided by
    embedder: TextEncoder

    @property
    def fingerprint(self) -> str:
        """sha256 of what the vectors come from: model and prompt, instances, words; 64 digits."""
        parts = "split", "user", "cut", "target", "text", "kept"
        frame = self.utterances.frame
        rows = frame.select(part for part in parts if part in frame.columns).rows()
        content = json.dumps([self.embedder.identity, rows], ensure_ascii=True)
        return hashlib.sha256(content.encode()).hexdigest()

    def of_encoder(self, number: int = 0) -> "Language":
        """What one of encoders side by side reads alone; of a single encoder, all of it."""
        if not isinstance(self.embedder, SideBySide):
            return self
        text = self.utterances.frame["text"][:1].to_list()
        widths = [encoder.embed(text, False).shape[1] for encoder in self.embedder.encoders]
        own = slice(sum(widths[:number]), sum(widths[: number + 1]))
        x, mean, scale = self.x[:, own], self.mean[own], self.scale[own]
        return replace(self, x=x, mean=mean, scale=scale, embedder=self.embedder.encoders[number])

    def encode(self, texts: Sequence[str], progress: bool | None = None) -> torch.Tensor:
        """Embed and standardise n new texts (a dialogue's messages joined), float32 ``[n, d]``."""
        return (self.embedder.embed(texts, progress) - self.mean) / self.scale


def embed(
    utterances: UtteranceTable, *, embedder: TextEncoder | None = None, progress: bool | None = None
) -> Language:
    """Embed all utterances, each distinct text once, and standardise them.

    Without an ``embedder`` SmolLM2 and MiniLM read. DataError: fewer than two training texts.
    """
    embedder = embedder or SideBySide([Embedder(), SentenceEncoder()])
    texts = utterances.frame["text"].to_list()
    splits = utterances.frame["split"].to_list()
    raw = embedder.embed(texts, progress)
    # each distinct text counts once, as it is embedded once
    first = {text: row for row, text in enumerate(texts) if splits[row] == "train"}
    if len(first) < 2:
        raise DataError(f"{len(first)} distinct training texts: standardising needs at least two.")
    training = raw[sorted(first.values())]
    mean, scale = training.mean(dim=0), training.std(dim=0).clamp(min=_SMALLEST_SCALE)
    return Language(utterances, (raw - mean) / scale, mean, scale, embedder)
