"""Pretraining of the backbone on behavior alone: next items, and ICLRec's contrasts on top."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from ..artifacts import Checkpoint, train_or_load
from ..config import BackboneConfig, preset
from ..progress import track
from ..ranking import ndcg, rank_of_target
from ..training import Training, epochs_since_best
from .contrast import (
    find_prototypes,
    instance_contrast,
    intent_contrast,
    mean_state,
    random_view,
)
from .encoder import SASRec

if TYPE_CHECKING:
    from ..data import Dataset, Sequences


@dataclass(frozen=True)
class Backbone:
    """A pretrained, frozen sequence encoder.

    Attributes:
        config: what it was trained with.
        encoder: the network, in evaluation mode, without gradients.
        curve: one dict per epoch: `epoch`, `loss`, `valid NDCG@20`, `seconds`.
        n_items: catalogue size V.
    """

    config: BackboneConfig
    encoder: SASRec = field(repr=False)
    curve: list[dict[str, float]] = field(repr=False)
    n_items: int

    @torch.no_grad()
    def encode(self, sequences: Sequences, batch_size: int = 1024) -> Tensor:
        """Represent histories by the state S at their last item.

        Args:
            sequences: N histories, oldest item first; only the last `max_length` items count.
            batch_size: histories encoded at once.

        Returns:
            [N, hidden] float32; an empty history gives the zero vector.
        """
        return encode_last(self.encoder, sequences, batch_size)

    @property
    def item_embeddings(self) -> Tensor:
        """[V+1, hidden] item vectors v; row 0, the padding, is zero."""
        return self.encoder.item_embedding.weight

    def scores(self, S: Tensor) -> Tensor:
        """Score all items for each user vector: S·v.

        Args:
            S: [B, hidden] user representations.

        Returns:
            [B, V+1]; column 0 is -inf.
        """
        scores = S @ self.item_embeddings.T
        scores[:, 0] = float("-inf")
        return scores


def pretrain(
    data: Dataset,
    config: BackboneConfig | None = None,
    *,
    seed: int = 0,
    progress: bool | None = None,
    reuse: bool = True,
) -> Backbone:
    """Train the backbone on the training part of `data`, or load it if that was done before.

    Stops when valid NDCG@20 (full ranking, history masked) has not risen for `config.patience`
    epochs, and returns the best epoch's weights. A run that is killed or interrupted goes on after
    its last epoch when it is called again, to the same result.

    Args:
        data: the data set; its validation items select the epoch, its test items are not touched.
        config: hyper-parameters; None takes the preset of the data set.
        seed: seed of weights, dropout, order, views and negatives.
        progress: show a progress bar; None lets the environment decide.
        reuse: False trains again even if a result is on disk.

    Returns:
        The frozen backbone.
    """
    config = preset(data.name, data.n_users).backbone if config is None else config
    tensors, meta, _ = train_or_load(
        "backbone",
        {"data": data.fingerprint, "config": config, "seed": seed},
        lambda checkpoint: _train(data, config, seed, progress, checkpoint),
        reuse=reuse,
    )
    encoder = SASRec(data.n_items, config)
    encoder.load_state_dict(tensors)
    encoder.eval().requires_grad_(False)
    return Backbone(config, encoder, meta["curve"], data.n_items)


def encode_last(encoder: SASRec, sequences: Sequences, batch_size: int = 1024) -> Tensor:
    """Encode [N] histories to the states [N, hidden] at their last items (zero if empty)."""
    padded = torch.from_numpy(sequences.pad(encoder.max_length))
    return torch.cat([encoder(trim(part))[:, -1] for part in padded.split(batch_size)])


def trim(sequences: Tensor) -> Tensor:
    """Drop leading columns of [B, L] that hold only padding; at least one column stays."""
    longest = int((sequences > 0).any(0).sum())
    return sequences[:, -max(1, longest) :]


def next_item_windows(
    sequences: Sequences, length: int, phases: np.ndarray | None = None
) -> tuple[Tensor, Tensor]:
    """Cut sequences into inputs and their next items.

    A sequence of n items has n - 1 (item, next item) pairs. Without `phases` its last `length`
    pairs make one window; with them, all pairs are used: windows of `length` pairs are laid from
    the end, the last one shortened by the sequence's phase.

    Args:
        sequences: N sequences.
        length: pairs in a window, L.
        phases: [N] whole numbers in 0..L-1, or None.

    Returns:
        Inputs and targets, both [B, L] int64, left-padded; targets[b, l] follows inputs[b, l].
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


def next_item_ce(states: Tensor, targets: Tensor, item_embeddings: Tensor) -> Tensor:
    """Full-softmax cross-entropy of the next item, mean over positions.

    Args:
        states: [P, hidden] at P real positions.
        targets: [P] next items 1..V.
        item_embeddings: [V+1, hidden]; the padding row takes no part in the softmax.

    Returns:
        Scalar loss.
    """
    return nn.functional.cross_entropy(states @ item_embeddings[1:].T, targets - 1)


def next_item_bce(
    states: Tensor, targets: Tensor, negatives: Tensor, item_embeddings: Tensor
) -> Tensor:
    """Binary cross-entropy with one sampled negative a position (SASRec and ICLRec as published).

    Args:
        states: [P, hidden] at P real positions.
        targets: [P] next items.
        negatives: [P] items that the user does not have.
        item_embeddings: [V+1, hidden].

    Returns:
        Scalar loss, -log sigmoid(s·v) - log(1 - sigmoid(s·n)), mean over positions.
    """
    # as an embedding: the gradient of plain indexing is summed in no fixed order by threads
    positive = (states * nn.functional.embedding(targets, item_embeddings)).sum(1)
    negative = (states * nn.functional.embedding(negatives, item_embeddings)).sum(1)
    return (nn.functional.softplus(-positive) + nn.functional.softplus(negative)).mean()


def sample_negatives(inputs: Tensor, n_items: int, generator: torch.Generator) -> Tensor:
    """Draw one item per position that is not in the row.

    Args:
        inputs: [B, L] item ids of each row, 0 = padding; a row must not hold all items.
        n_items: V.
        generator: source of randomness.

    Returns:
        [B, L] item ids 1..V.
    """
    taken = torch.zeros(len(inputs), n_items + 1, dtype=torch.bool)
    taken.scatter_(1, inputs, True)
    taken[:, 0] = True
    drawn = torch.randint(1, n_items + 1, inputs.shape, generator=generator)
    while (clash := taken.gather(1, drawn)).any():
        again = torch.randint(1, n_items + 1, (int(clash.sum()),), generator=generator)
        drawn[clash] = again
    return drawn


def _train(
    data: Dataset, config: BackboneConfig, seed: int, progress: bool | None, checkpoint: Checkpoint
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Train to the best validation epoch; return its weights and the learning curve."""
    generator = torch.Generator().manual_seed(seed)
    encoder = SASRec(data.n_items, config, seed=seed)
    optimizer = torch.optim.Adam(
        encoder.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay
    )
    training = Training(encoder, [optimizer], generator)
    curve = training.curve
    # Dropout draws from the global generator: seed a copy of it and give the original back.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        training.resume(checkpoint)
        values = [row["valid NDCG@20"] for row in curve]
        for epoch in track(range(len(curve), config.n_epochs), "Pretraining", progress=progress):
            if values and epochs_since_best(values) >= config.patience:
                break
            begun = time.perf_counter()
            loss = _train_epoch(encoder, optimizer, data, config, epoch, generator)
            value = validate(encoder, data)
            curve.append(
                {
                    "epoch": epoch + 1,
                    "loss": loss,
                    "valid NDCG@20": value,
                    "seconds": time.perf_counter() - begun,
                }
            )
            values.append(value)
            if epochs_since_best(values) == 0:
                training.keep_best()
            training.save(checkpoint, after=f"epoch {epoch + 1}")
    return training.best_state, {
        "curve": curve,
        "best_epoch": len(curve) - epochs_since_best(values),
    }


def _train_epoch(
    encoder: SASRec,
    optimizer: torch.optim.Optimizer,
    data: Dataset,
    config: BackboneConfig,
    epoch: int,
    generator: torch.Generator,
) -> float:
    """One pass over all windows; the mean loss."""
    inputs, targets = _epoch_windows(data.histories("train"), config, generator)
    contrast = config.contrast if epoch >= config.warmup_epochs else "none"
    prototypes, assignments = None, None
    if contrast in ("Hybrid", "IntentCL"):
        states = _mean_states(encoder, inputs)
        prototypes, assignments = find_prototypes(states, config.n_intent_prototypes, epoch)
    encoder.train()
    total = 0.0
    for rows in _batches(inputs, config.batch_size, generator):
        loss = next_item_loss(encoder, inputs[rows], targets[rows], config.loss, generator)
        if contrast != "none":
            own = None if assignments is None else assignments[rows]
            loss = loss + contrast_loss(
                encoder, inputs[rows], prototypes, own, config, contrast, generator
            )
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        total += loss.item() * len(rows)
    encoder.eval()
    return total / len(inputs)


def _epoch_windows(
    sequences: Sequences, config: BackboneConfig, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    if config.windows == "last":
        return next_item_windows(sequences, config.max_length)
    phases = torch.randint(config.max_length, (len(sequences),), generator=generator).numpy()
    return next_item_windows(sequences, config.max_length, phases)


def _batches(inputs: Tensor, batch_size: int, generator: torch.Generator) -> Iterator[Tensor]:
    """Random batches of rows; rows of like length share one, so that little padding is computed."""
    lengths = (inputs > 0).sum(1)
    jitter = torch.rand(len(inputs), generator=generator) * 0.3 * inputs.shape[1]
    groups = (lengths + jitter).argsort().split(batch_size)
    for group in torch.randperm(len(groups), generator=generator).tolist():
        yield groups[group]


def next_item_loss(
    encoder: SASRec, inputs: Tensor, targets: Tensor, kind: str, generator: torch.Generator
) -> Tensor:
    """The recommendation loss of a batch: `kind` is "ce" or "bce".

    Args:
        encoder: the network, in training mode.
        inputs: [B, L] left-padded items.
        targets: [B, L] next items.
        kind: "ce" (full softmax) or "bce" (one sampled negative a position).
        generator: source of the negatives.

    Returns:
        Scalar loss.
    """
    short, following = trim(inputs), targets[:, -trim(inputs).shape[1] :]
    real = short > 0
    states = encoder(short)[real]
    vectors = encoder.item_embedding.weight
    if kind == "ce":
        return next_item_ce(states, following[real], vectors)
    # The last target belongs to the user too, so it must not be drawn as a negative.
    owned = torch.cat([short, following[:, -1:]], dim=1)
    negatives = sample_negatives(owned, encoder.n_items, generator)[:, :-1]
    return next_item_bce(states, following[real], negatives[real], vectors)


def contrast_loss(
    encoder: SASRec,
    inputs: Tensor,
    prototypes: Tensor | None,
    assignments: Tensor | None,
    config: BackboneConfig,
    kind: str,
    generator: torch.Generator,
) -> Tensor:
    """ICLRec's weighted contrastive loss of a batch, from two random views of each sequence.

    Args:
        encoder: the network, in training mode.
        inputs: [B, L] left-padded items.
        prototypes: [K, hidden] intent prototypes; unused for kind "InstanceCL".
        assignments: [B] prototype of each sequence; unused for kind "InstanceCL".
        config: ratios, weights, temperature.
        kind: "InstanceCL", "IntentCL" or "Hybrid" (both).
        generator: source of the views.

    Returns:
        Scalar loss.
    """
    short = trim(inputs)
    ratios = (config.crop, config.mask, config.reorder)
    views = [random_view(short, ratios, generator) for _ in range(2)]
    # One pass for both views: a taller batch costs less than two calls.
    one, two = mean_state(encoder(torch.cat(views)), torch.cat(views)).chunk(2)
    loss = inputs.new_zeros((), dtype=torch.float32)
    if kind in ("Hybrid", "InstanceCL"):
        loss = loss + config.cf_weight * instance_contrast(one, two, config.temperature)
    if kind in ("Hybrid", "IntentCL"):
        if prototypes is None or assignments is None:
            raise ValueError(f"The contrast {kind!r} needs prototypes and assignments.")
        loss = loss + config.intent_cf_weight * intent_contrast(
            [one, two], prototypes, assignments, config.temperature
        )
    return loss


@torch.no_grad()
def _mean_states(encoder: SASRec, inputs: Tensor, batch_size: int = 1024) -> Tensor:
    encoder.eval()
    parts = [trim(part) for part in inputs.split(batch_size)]
    return torch.cat([mean_state(encoder(part), part) for part in parts])


@torch.no_grad()
def validate(encoder: SASRec, data: Dataset) -> float:
    """NDCG@20 on the validation items by full ranking, history masked."""
    encoder.eval()
    histories = data.histories("valid")
    scores = encode_last(encoder, histories) @ encoder.item_embedding.weight.T
    return ndcg(rank_of_target(scores, data.targets("valid"), histories), 20).mean().item()
