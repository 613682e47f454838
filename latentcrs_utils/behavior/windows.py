"""Training windows: where sequences are cut, and which windows share a batch."""

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from latentcrs_utils.config import BackboneConfig
from latentcrs_utils.data.sequences import Sequences


def trim(sequences: Tensor) -> Tensor:
    """Drop leading columns of [B, L] that hold only padding; at least one column stays."""
    return sequences[:, -max(1, int((sequences > 0).any(0).sum())) :]


def next_item_windows(
    sequences: Sequences, length: int, phases: np.ndarray | None = None
) -> tuple[Tensor, Tensor]:
    """Cut sequences into inputs and their next items, both [B, L] int64, left-padded.

    A sequence of n items has n - 1 (item, next item) pairs. Without `phases` its last `length` = L
    pairs make one window; with them, one whole number in 0..L-1 a sequence, all pairs are used:
    windows are laid from the end, the last one shortened by the phase.
    """
    offsets = np.asarray(sequences.offsets)
    n_pairs = np.maximum(np.diff(offsets) - 1, 0)
    if phases is None:
        n_windows, shift = (n_pairs > 0).astype(np.int64), np.zeros_like(n_pairs)
    else:
        shift = np.minimum(phases, np.maximum(n_pairs - 1, 0))
        n_windows = -(-(n_pairs + shift) // length) * (n_pairs > 0)
    row = np.repeat(np.arange(len(n_pairs)), n_windows)
    number = np.arange(len(row)) - np.repeat(np.cumsum(n_windows) - n_windows, n_windows)
    end = n_pairs[row] - np.maximum(0, number * length - shift[row])
    start = np.maximum(0, n_pairs[row] - ((number + 1) * length - shift[row]))
    columns = np.arange(length) - length + (end - start)[:, None]
    cells = np.where(columns >= 0, offsets[row][:, None] + start[:, None] + columns, 0)
    flat = np.asarray(sequences.flat, dtype=np.int64)
    inputs = np.where(columns >= 0, flat[cells], 0)
    targets = np.where(columns >= 0, flat[cells + 1], 0) if len(row) else inputs
    return torch.from_numpy(inputs), torch.from_numpy(targets)


def epoch_windows(
    sequences: Sequences, config: BackboneConfig, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Inputs and targets of one epoch, both [N, L], cut as `config.windows` says."""
    if config.windows == "last":
        return next_item_windows(sequences, config.max_length)
    phases = torch.randint(config.max_length, (len(sequences),), generator=generator).numpy()
    return next_item_windows(sequences, config.max_length, phases)


def batches(inputs: Tensor, batch_size: int, generator: torch.Generator) -> Iterator[Tensor]:
    """Random batches of rows; rows of similar length share one, so that little is padding."""
    lengths = (inputs > 0).sum(1)
    jitter = torch.rand(len(inputs), generator=generator) * 0.3 * inputs.shape[1]
    groups = (lengths + jitter).argsort().split(batch_size)
    for group in torch.randperm(len(groups), generator=generator).tolist():
        yield groups[group]
