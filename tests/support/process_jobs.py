"""What one process and two must do alike: small trainings, an embedding, a command.

``python tests/support/process_jobs.py OUT MODEL`` in one process, ``torchrun …`` in two;
``--notebook`` starts the two as a notebook does. The main process writes OUT (JSON).
"""

from __future__ import annotations

import argparse
import json
import os
import socket
from contextlib import redirect_stdout
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from experiments import pretrain as command
from latentcrs_utils.behavior.pretraining import pretrain
from latentcrs_utils.config import BackboneConfig
from latentcrs_utils.data.sequences import Dataset, Sequences
from latentcrs_utils.language.embedder import Embedder
from latentcrs_utils.support.processes import Processes, run_command
from tests.em.small_world import dataset
from tests.support.resume_jobs import digest, interrupted_at, without_seconds

BASE = BackboneConfig(
    hidden=16, n_layers=1, max_length=6, batch_size=15, n_epochs=3, dropout=0.0, learning_rate=1e-2,
    n_negatives=20, n_intent_prototypes=4,
)  # fmt: skip
TRAININGS = {
    "ce": BASE,
    "sampled": replace(BASE, loss="sampled"),
    # 61 windows in batches of 15: the last batch has one row, so one process has none
    "bce, contrasts": replace(BASE, loss="bce", contrast="Hybrid", windows="last"),
    "bfloat16": replace(BASE, precision="bfloat16"),
    "dropout": replace(BASE, dropout=0.3),
}
TEXTS = [f"{'a quiet film ' * (n % 7)}about number {n}" for n in range(23)]


def world() -> Dataset:
    """61 users on a circle of the 24 items of the small world, with some noise."""
    rng = np.random.default_rng(0)
    starts, lengths = rng.integers(24, size=61), rng.integers(4, 20, size=61)
    rows = [
        (start + np.arange(n) + (rng.random(n) < 0.2) * rng.integers(24, size=n)) % 24 + 1
        for start, n in zip(starts, lengths, strict=True)
    ]
    users = pl.DataFrame(
        {"user": pl.Series(range(61), dtype=pl.Int32), "raw_user": [str(u) for u in range(61)]}
    )
    return Dataset("world", dataset().items, users, Sequences.from_lists(rows), {}, "world-of-61")


def train(config: BackboneConfig, *, reuse: bool = False) -> dict[str, Any]:
    """Pretrain; the curve without times, the bits of the weights, and by how many."""
    backbone = pretrain(world(), config, reuse=reuse)
    state = digest(backbone.encoder.state_dict())
    curve = without_seconds(backbone.curve)
    return {"curve": curve, "digest": state, "processes": backbone.facts["processes"]}


def interrupted(config: BackboneConfig) -> dict[str, Any]:
    """Train twice: the first is stopped in the midst of its third epoch, in every process."""
    # a key of its own in the cache; the training is the same, for it is shorter than any patience
    config = replace(config, patience=config.patience + 1)
    with interrupted_at(25):  # of 29
        train(config, reuse=True)
    return train(config, reuse=True)


def all_jobs(model: str, processes: Processes) -> dict[str, Any]:
    """Everything that is compared."""
    results: dict[str, Any] = {name: train(config) for name, config in TRAININGS.items()}
    results["interrupted"] = interrupted(TRAININGS["dropout"])
    for name, reuse in {"embedding": True, "from the cache": True, "afresh": False}.items():
        embedder = Embedder(model, dtype="float32", batch_size=4, reuse=reuse)
        vectors = embedder.embed(TEXTS)
        # the same in every process
        everywhere = processes.merge({processes.number: digest({"vectors": vectors})})
        results[name] = sorted(set(everywhere.values()))
    pids = processes.merge({processes.number: os.getpid()})
    results |= {"processes": processes.count, "numbers": sorted(pids)}
    return results | {"pids": len(set(pids.values()))}


def job(out: str, model: str, expected: int | None = None) -> None:
    """Do everything, and call the command if asked to; the main process writes what came out."""

    def work(processes: Processes) -> None:
        results = all_jobs(model, processes)
        if expected is not None:
            arguments = ["--data", "synthetic", "--set", "n_epochs=1", "hidden=8", "n_layers=1"]
            with redirect_stdout(StringIO()) as printed:
                status = command.main([*arguments, "--expect-processes", str(expected)])
            results["command"] = [status, printed.getvalue()]
        if processes.is_main:
            Path(out).write_text(json.dumps(results), encoding="utf-8")

    run_command(work)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out")
    parser.add_argument("model")
    parser.add_argument("--expected", type=int)
    parser.add_argument("--notebook", action="store_true")
    options = parser.parse_args()
    if options.notebook:
        from accelerate import notebook_launcher

        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = str(free.getsockname()[1])
        notebook_launcher(job, (options.out, options.model), num_processes=2, use_port=port)
    else:
        job(options.out, options.model, options.expected)
