"""Pretraining of the backbone on behavior alone: next items, and ICLRec's contrasts on top."""

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from latentcrs_utils.behavior.iclrec import contrast_loss, find_prototypes, mean_state
from latentcrs_utils.behavior.next_item import next_item_loss
from latentcrs_utils.behavior.sasrec import SASRec
from latentcrs_utils.behavior.windows import batches, epoch_windows, trim
from latentcrs_utils.config import BackboneConfig, preset
from latentcrs_utils.data.sequences import Dataset, Sequences
from latentcrs_utils.ranking import ndcg, rank_by_factors
from latentcrs_utils.support import device as devices
from latentcrs_utils.support.artifacts import Training, train_or_load
from latentcrs_utils.support.processes import SINGLE, Processes, join
from latentcrs_utils.support.progress import note

ENCODED_AT_ONCE = 1024  # histories


def train_epoch(
    encoder: SASRec, optimizer: torch.optim.Optimizer, data: Dataset, config: BackboneConfig,
    epoch: int, generator: torch.Generator, processes: Processes = SINGLE,
) -> float:  # fmt: skip
    """Train one pass over all windows of the training part; returns the mean loss.

    The encoder is on the device where it is trained, the generator on the CPU: it draws windows,
    order, views and negatives. Epochs count from 0, and contrasts begin after
    `config.warmup_epochs` of them. Each of the processes does its share of each batch.
    """
    device = encoder.item_embedding.weight.device
    windows = epoch_windows(data.histories("train"), config, generator)
    inputs, targets = (part.to(device) for part in windows)
    contrast = config.contrast if epoch >= config.warmup_epochs else "none"
    prototypes, assignments = None, None
    if contrast in ("Hybrid", "IntentCL"):
        found = find_prototypes(mean_states(encoder, inputs), config.n_intent_prototypes, epoch)
        prototypes, assignments = processes.broadcast(found)
    encoder.train()
    total = torch.zeros((), dtype=torch.float64, device=device)
    for rows in batches(windows[0], config.batch_size, generator):
        with devices.autocast(device, config.precision):
            loss = next_item_loss(
                encoder, inputs[rows], targets[rows], config.loss, generator,
                n_negatives=config.n_negatives, processes=processes,
            )  # fmt: skip
            seen = loss.detach()
            if contrast != "none":
                own = None if assignments is None else assignments[rows]
                of_views = contrast_loss(
                    encoder, inputs[rows], prototypes, own, config, contrast, generator, processes
                )
                loss, seen = loss + of_views, seen + of_views.detach() / processes.count
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        total += processes.sum_gradients(encoder, seen) * len(rows)
        optimizer.step()
    encoder.eval()
    return total.item() / len(inputs)


def pretrain(
    data: Dataset, config: BackboneConfig | None = None, *, seed: int = 0,
    progress: bool | None = None, reuse: bool = True, compile: bool = False,
) -> "Backbone":  # fmt: skip
    """Train the backbone on the training part of `data`, or load it if that was done before.

    Stops when valid NDCG@20 (full ranking, history masked) has not risen for `config.patience`
    epochs, and returns the best epoch's weights, frozen, on the CPU. A run that was killed goes on
    after its last epoch when it is called again, to the same result.

    In several processes (torchrun, Accelerate) all call this; each takes its share of every batch.
    Batches, steps and learning rate are those of one process, only dropout is drawn otherwise.

    Validation items select the epoch, test items are not touched. Without a `config` it is the
    preset of the data set; `seed` is of weights, dropout, order, views and negatives; `reuse=False`
    trains again; `compile` uses `torch.compile` (pays on a GPU, after a minute or so).
    """
    config = preset(data.name, data.n_users).backbone if config is None else config
    place = devices.choose_device()
    processes = join(place)

    def train(checkpoint: Path | None) -> tuple[dict[str, Tensor], dict[str, Any]]:
        if place.type == "cuda":
            torch.cuda.reset_peak_memory_stats(place)
        encoder = SASRec(data.n_items, config, seed=seed).to(place)
        optimizer = torch.optim.Adam(
            encoder.parameters(), config.learning_rate, weight_decay=config.weight_decay, fused=True
        )
        generator = torch.Generator().manual_seed(seed)
        training = Training(encoder, [optimizer], generator, checkpoint, processes)
        # dropout draws from the global generator: seed a copy of it and give the original back
        with torch.random.fork_rng(devices=[place] if place.type == "cuda" else []):
            # not the same dropout for all shares of a batch
            torch.manual_seed(seed + 1_000_003 * processes.number)
            training.resume()
            if compile:
                encoder.compile(dynamic=True)
            for epoch in training.epochs(
                config.n_epochs, value="valid NDCG@20", patience=config.patience,
                label="Pretraining", progress=progress if processes.is_main else False,
            ):  # fmt: skip
                begun = time.perf_counter()
                how = epoch - 1, generator, processes
                row = {"epoch": epoch, "loss": train_epoch(encoder, optimizer, data, config, *how)}
                row["valid NDCG@20"] = validate(encoder, data, processes)
                training.curve.append(row | {"seconds": time.perf_counter() - begun})
        facts: dict[str, Any] = {"curve": training.curve, "device": place.type}
        facts |= {"processes": processes.count, "peak_memory": devices.peak_memory(place)}
        if processes.is_main:
            told = f"{len(training.curve)} epochs on {processes.count} x {place.type}, peak memory"
            peak = f"{facts['peak_memory'] / 2**20:,.0f} MiB a process"
            note(f"backbone: {told} {peak}.", progress)
        return training.best_state, facts

    parts = {"data": data.fingerprint, "config": config, "seed": seed}
    weights, facts = train_or_load("backbone", parts, train, reuse=reuse, processes=processes)
    encoder = SASRec(data.n_items, config)
    encoder.load_state_dict(weights)
    encoder.eval().requires_grad_(False)
    return Backbone(config, encoder, facts.pop("curve"), facts)


@dataclass(frozen=True)
class Backbone:
    """A pretrained sequence encoder, in evaluation mode and without gradients.

    `curve` has one row an epoch: `epoch`, `loss`, `valid NDCG@20`, `seconds`. `facts` say how it
    was trained: `device`, `processes`, `peak_memory` of one in bytes (0 where it is unknown).
    """

    config: BackboneConfig
    encoder: SASRec = field(repr=False)
    curve: list[dict[str, float]] = field(repr=False)
    facts: dict[str, Any] = field(default_factory=dict, repr=False, compare=False)

    @torch.no_grad()
    def encode(self, sequences: Sequences) -> Tensor:
        """S of N histories, oldest item first: the states at their last items, [N, hidden] float32.

        Only the last `max_length` items count; an empty history gives the zero vector.
        """
        return encode_last(self.encoder, sequences)

    @property
    def item_embeddings(self) -> Tensor:
        """[V+1, hidden] item vectors v; row 0, the padding, is zero."""
        return self.encoder.item_embedding.weight

    def scores(self, S: Tensor) -> Tensor:
        """S·v of all items, [B, V+1], for user representations [B, hidden]; column 0 is -inf."""
        scores = S @ self.item_embeddings.T
        scores[:, 0] = float("-inf")
        return scores


def encode_last(encoder: SASRec, sequences: Sequences) -> Tensor:
    """Encode [N] histories to the states [N, hidden] at their last items (zero if empty)."""
    padded = torch.from_numpy(sequences.pad(encoder.max_length))
    device = encoder.item_embedding.weight.device
    parts = (trim(part).to(device) for part in padded.split(ENCODED_AT_ONCE))
    return torch.cat([encoder(part)[:, -1] for part in parts])


@torch.no_grad()
def mean_states(encoder: SASRec, inputs: Tensor) -> Tensor:
    """Mean state of each sequence of [N, L] items, [N, hidden], without dropout."""
    encoder.eval()
    parts = [trim(part) for part in inputs.split(ENCODED_AT_ONCE)]
    return torch.cat([mean_state(encoder(part), part) for part in parts])


@torch.no_grad()
def validate(encoder: SASRec, data: Dataset, processes: Processes = SINGLE) -> float:
    """NDCG@20 on the validation items by full ranking, history masked, in bounded memory."""
    encoder.eval()
    users = np.arange(data.n_users)[processes.shard]
    histories, targets = data.histories("valid").select(users), data.targets("valid")[users]
    S, vectors = encode_last(encoder, histories), encoder.item_embedding.weight
    values = ndcg(rank_by_factors(S, vectors, targets, histories), 20)
    return processes.total(values.sum().to(S.device)).item() / data.n_users
