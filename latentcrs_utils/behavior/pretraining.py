"""Pretraining of the backbone on behavior alone: next items, and ICLRec's contrasts on top."""

from __future__ import annotations

import argparse
import ast
import dataclasses
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from latentcrs_utils.behavior.iclrec import contrast_loss, find_prototypes, mean_state
from latentcrs_utils.behavior.losses import (
    next_item_bce,
    next_item_ce,
    next_item_loss,
    next_item_sampled,
    sample_negatives,
)
from latentcrs_utils.behavior.sasrec import SASRec
from latentcrs_utils.behavior.windows import batches, epoch_windows, next_item_windows, trim
from latentcrs_utils.config import BackboneConfig, preset
from latentcrs_utils.errors import ConfigError
from latentcrs_utils.ranking import ndcg, rank_by_factors
from latentcrs_utils.support.artifacts import Checkpoint, Training, epochs_since_best, train_or_load
from latentcrs_utils.support.device import (
    autocast,
    choose_device,
    compiled,
    peak_memory,
    reset_peak_memory,
)
from latentcrs_utils.support.files import atomic_path
from latentcrs_utils.support.processes import SINGLE, Processes, join, run_command
from latentcrs_utils.support.progress import note, track

if TYPE_CHECKING:
    from latentcrs_utils.data.sequences import Dataset, Sequences


__all__ = [
    "Backbone",
    "contrast_loss",
    "encode_last",
    "next_item_bce",
    "next_item_ce",
    "next_item_loss",
    "next_item_sampled",
    "next_item_windows",
    "pretrain",
    "sample_negatives",
    "train_epoch",
    "trim",
    "validate",
]


@dataclass(frozen=True)
class Backbone:
    """A pretrained, frozen sequence encoder.

    Attributes:
        config: what it was trained with.
        encoder: the network, in evaluation mode, without gradients.
        curve: one dict per epoch: `epoch`, `loss`, `valid NDCG@20`, `seconds`.
        n_items: catalogue size V.
        facts: how it was trained: `device`, `processes`, `peak_memory` of one in bytes (also 0
            where that is unknown), `best_epoch`.
    """

    config: BackboneConfig
    encoder: SASRec = field(repr=False)
    curve: list[dict[str, float]] = field(repr=False)
    n_items: int
    facts: dict[str, Any] = field(default_factory=dict, repr=False, compare=False)

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
    device: str | None = None,
    compile: bool = False,
) -> Backbone:
    """Train the backbone on the training part of `data`, or load it if that was done before.

    Stops when valid NDCG@20 (full ranking, history masked) has not risen for `config.patience`
    epochs, and returns the best epoch's weights. A run that is killed or interrupted goes on after
    its last epoch when it is called again, to the same result.

    In several processes (torchrun, Accelerate) all call this; each takes its share of every batch.
    Batches, steps and learning rate are those of one process, only dropout is drawn otherwise.

    Args:
        data: the data set; its validation items select the epoch, its test items are not touched.
        config: hyper-parameters; None takes the preset of the data set.
        seed: seed of weights, dropout, order, views and negatives.
        progress: show a progress bar; None lets the environment decide.
        reuse: False trains again even if a result is on disk.
        device: "cpu", "cuda" or "cuda:1"; None, `device.choose_device`'s choice.
        compile: pass the encoder through `torch.compile` (pays on a GPU, after a minute or so).

    Returns:
        The frozen backbone, on the CPU.

    Raises:
        ConfigError: a device that is not there.
    """
    config = preset(data.name, data.n_users).backbone if config is None else config
    place = choose_device(device)
    job = _Job(data, config, seed, place, compile, join(place))
    tensors, meta = _train_or_load(job, progress, reuse)
    encoder = SASRec(data.n_items, config)
    encoder.load_state_dict(tensors)
    encoder.eval().requires_grad_(False)
    facts = {name: value for name, value in meta.items() if name != "curve"}
    return Backbone(config, encoder, meta["curve"], data.n_items, facts)


@dataclass(frozen=True)
class _Job:
    """What is trained, where, and by how many."""

    data: Dataset
    config: BackboneConfig
    seed: int
    device: torch.device
    compile: bool
    processes: Processes


def _train_or_load(
    job: _Job, progress: bool | None, reuse: bool
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Let the main process load or train, the others help it train; all get the result."""
    processes = job.processes
    if not processes.is_main:
        if processes.broadcast(False):
            _train(job, False, Checkpoint("backbone", Path(), "", active=False))
        return processes.broadcast(({}, {}))

    def train(checkpoint: Checkpoint) -> tuple[dict[str, Tensor], dict[str, Any]]:
        processes.broadcast(True)
        return _train(job, progress, checkpoint)

    parts = {"data": job.data.fingerprint, "config": job.config, "seed": job.seed}
    tensors, meta, loaded = train_or_load("backbone", parts, train, reuse=reuse)
    if loaded:
        processes.broadcast(False)
    return processes.broadcast((tensors, meta))


def encode_last(encoder: SASRec, sequences: Sequences, batch_size: int = 1024) -> Tensor:
    """Encode [N] histories to the states [N, hidden] at their last items (zero if empty)."""
    padded = torch.from_numpy(sequences.pad(encoder.max_length))
    device = encoder.item_embedding.weight.device
    parts = (trim(part).to(device) for part in padded.split(batch_size))
    return torch.cat([encoder(part)[:, -1] for part in parts])


def _train(
    job: _Job, progress: bool | None, checkpoint: Checkpoint
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Train to the best validation epoch; return its weights and the learning curve."""
    data, config, device, processes = job.data, job.config, job.device, job.processes
    reset_peak_memory(device)
    generator = torch.Generator().manual_seed(job.seed)
    encoder = SASRec(data.n_items, config, seed=job.seed).to(device)
    optimizer = torch.optim.Adam(
        encoder.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay, fused=True
    )
    training = Training(encoder, [optimizer], generator)
    curve = training.curve
    # Dropout draws from the global generator: seed a copy of it and give the original back.
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        # not the same dropout for all shares of a batch
        torch.manual_seed(job.seed + 1_000_003 * processes.number)
        training.resume(checkpoint, processes)
        compiled(encoder, job.compile)
        values = [row["valid NDCG@20"] for row in curve]
        for epoch in track(range(len(curve), config.n_epochs), "Pretraining", progress=progress):
            if values and epochs_since_best(values) >= config.patience:
                break
            begun = time.perf_counter()
            loss = train_epoch(encoder, optimizer, data, config, epoch, generator, processes)
            value = validate(encoder, data, processes)
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
            training.save(checkpoint, f"epoch {epoch + 1}", processes)
    facts: dict[str, Any] = {
        "best_epoch": len(curve) - epochs_since_best(values),
        "device": device.type,
        "processes": processes.count,
        "peak_memory": peak_memory(device),
    }
    if processes.is_main:
        note(
            f"backbone: {len(curve)} epochs on {facts['processes']} x {facts['device']}, peak "
            f"memory {facts['peak_memory'] / 2**20:,.0f} MiB a process.",
            progress,
        )
    return training.best_state, {"curve": curve, **facts}


def train_epoch(
    encoder: SASRec,
    optimizer: torch.optim.Optimizer,
    data: Dataset,
    config: BackboneConfig,
    epoch: int,
    generator: torch.Generator,
    processes: Processes = SINGLE,
) -> float:
    """Train one pass over all windows.

    Args:
        encoder: the network, on the device where it is trained.
        optimizer: of its parameters.
        data: the data set; its training part is read.
        config: hyper-parameters.
        epoch: number of the pass, from 0; contrasts begin after `config.warmup_epochs`.
        generator: source of windows, order, views and negatives, on the CPU.
        processes: all that train together; each does its share of each batch.

    Returns:
        The mean loss.
    """
    device = encoder.item_embedding.weight.device
    inputs, targets = epoch_windows(data.histories("train"), config, generator)
    contrast = config.contrast if epoch >= config.warmup_epochs else "none"
    order = batches(inputs, config.batch_size, generator)
    inputs, targets = inputs.to(device), targets.to(device)
    prototypes, assignments = None, None
    if contrast in ("Hybrid", "IntentCL"):
        states = _mean_states(encoder, inputs)
        found = find_prototypes(states, config.n_intent_prototypes, epoch)
        prototypes, assignments = processes.broadcast(found)
    encoder.train()
    total = torch.zeros((), dtype=torch.float64, device=device)
    for rows in order:
        with autocast(device, config.precision):
            loss = next_item_loss(
                encoder,
                inputs[rows],
                targets[rows],
                config.loss,
                generator,
                n_negatives=config.n_negatives,
                processes=processes,
            )
            seen = loss.detach()
            if contrast != "none":
                own = None if assignments is None else assignments[rows]
                beside = contrast_loss(
                    encoder, inputs[rows], prototypes, own, config, contrast, generator, processes
                )
                loss, seen = loss + beside, seen + beside.detach() / processes.count
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        total += _sum_gradients(encoder, seen, processes) * len(rows)
        optimizer.step()
    encoder.eval()
    return total.item() / len(inputs)


def _sum_gradients(encoder: SASRec, loss: Tensor, processes: Processes) -> Tensor:
    """Sum gradients and the loss over the processes, in one message; the summed loss."""
    if processes.count == 1:
        return loss
    parameters = [p for p in encoder.parameters() if p.requires_grad]
    gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
    *summed, whole = processes.total([*gradients, loss.to(gradients[0].dtype)])
    for parameter, gradient in zip(parameters, summed, strict=True):
        parameter.grad = gradient
    return whole


@torch.no_grad()
def _mean_states(encoder: SASRec, inputs: Tensor, batch_size: int = 1024) -> Tensor:
    encoder.eval()
    parts = [trim(part) for part in inputs.split(batch_size)]
    return torch.cat([mean_state(encoder(part), part) for part in parts])


@torch.no_grad()
def validate(encoder: SASRec, data: Dataset, processes: Processes = SINGLE) -> float:
    """NDCG@20 on the validation items by full ranking, history masked, in bounded memory."""
    encoder.eval()
    users = np.arange(data.n_users)[processes.shard]
    histories, targets = data.histories("valid").select(users), data.targets("valid")[users]
    S, vectors = encode_last(encoder, histories), encoder.item_embedding.weight
    values = ndcg(rank_by_factors(S, vectors, targets, histories), 20)
    (total,) = processes.total([values.sum().to(S.device)])
    return total.item() / data.n_users


def changed(config: BackboneConfig, changes: Sequence[str]) -> BackboneConfig:
    """Return the configuration with fields changed as "name=value" says.

    Raises:
        ConfigError: no such field, no "=", or a value that makes no sense there.
    """
    values = {}
    for change in changes:
        name, _, text = change.partition("=")
        if name not in {field.name for field in dataclasses.fields(config)} or not text:
            known = ", ".join(field.name for field in dataclasses.fields(config))
            raise ConfigError(f"--set {change}: give NAME=VALUE, with one of the names {known}.")
        try:
            values[name] = ast.literal_eval(text)
        except (ValueError, SyntaxError):
            values[name] = text
        if not isinstance(values[name], type(getattr(config, name))):
            wanted = type(getattr(config, name)).__name__
            if not (wanted == "float" and isinstance(values[name], int)):
                raise ConfigError(f"--set {change}: {name} is a {wanted}.")
    return dataclasses.replace(config, **values)


def record(backbone: Backbone, data: Dataset, seed: int, file: Path) -> None:
    """Write the learning curve, the configuration and how it was trained as JSON."""
    import json

    content = {
        "data": {"name": data.name, "users": data.n_users, "items": data.n_items},
        "config": dataclasses.asdict(backbone.config),
        "seed": seed,
        "facts": backbone.facts,
        "curve": backbone.curve,
    }
    with atomic_path(file) as temporary:
        temporary.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def run(options: argparse.Namespace, processes: Processes) -> None:
    """Load the data, pretrain or load, and say what came out."""
    from latentcrs_utils.behavior.pretraining import pretrain
    from latentcrs_utils.data.loading import load_csv, load_dataset

    def load() -> Dataset:
        return load_csv(*options.csv) if options.csv else load_dataset(options.data)

    # one downloads and prepares, the others then find it done
    data = processes.main_first(load)
    config = changed(preset(data.name, data.n_users).backbone, options.set)
    if processes.is_main:
        plural = "es" if processes.count > 1 else ""
        print(f"{data!r}, {processes.count} process{plural} on {choose_device(options.device)}")
    backbone = pretrain(
        data,
        config,
        seed=options.seed,
        device=options.device,
        compile=options.compile,
        reuse=not options.afresh,
        progress=None if processes.is_main else False,
    )
    if processes.is_main:
        best = max(backbone.curve, key=lambda row: row["valid NDCG@20"])
        print(
            f"best epoch {best['epoch']:.0f} of {len(backbone.curve)}: valid NDCG@20 "
            f"{best['valid NDCG@20']:.4f}, {best['seconds']:.1f} s an epoch, trained by "
            f"{backbone.facts.get('processes', 1)} on {backbone.facts.get('device', 'cpu')}"
        )
        if options.record:
            record(backbone, data, options.seed, options.record)


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    made = argparse.ArgumentParser(
        prog="python -m latentcrs_utils.behavior.pretraining",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("--data", default="ml-100k", help="name of a data set; default: ml-100k")
    made.add_argument("--csv", nargs=2, metavar=("RATINGS", "ITEMS"), help="two files of your own")
    made.add_argument("--seed", type=int, default=0, help="default: 0")
    made.add_argument(
        "--set",
        nargs="+",
        default=[],
        metavar="NAME=VALUE",
        help="hyper-parameters beside the preset, e.g. loss=sampled precision=bfloat16",
    )
    made.add_argument("--device", help="cpu, cuda or cuda:1; default: a GPU where there is one")
    made.add_argument("--compile", action="store_true", help="use torch.compile")
    made.add_argument("--afresh", action="store_true", help="train even if that was done before")
    made.add_argument("--expect-processes", type=int, metavar="N", help="stop unless there are N")
    made.add_argument("--record", type=Path, metavar="FILE", help="write the learning curve (JSON)")
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit status."""
    options = parser().parse_args(arguments)
    return run_command(
        lambda processes: run(options, processes),
        device=options.device,
        expected=options.expect_processes,
    )


if __name__ == "__main__":
    sys.exit(main())
