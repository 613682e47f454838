"""What one process and two must do alike: small trainings, an embedding.

``python tests/support/process_jobs.py OUT MODEL 1`` in one process, ``torchrun … 2`` in two;
without the number it starts two as a notebook does. The main process writes OUT (JSON).
"""

import json
import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from accelerate import notebook_launcher

from latentcrs_utils.behavior.pretraining import pretrain
from latentcrs_utils.config import BackboneConfig
from latentcrs_utils.language.embedder import Embedder
from latentcrs_utils.support.processes import Processes, join
from tests.browser.servers import free_port
from tests.em.small_world import dataset
from tests.support.resume_jobs import digest, interrupted_at, without_seconds

BASE = BackboneConfig(
    hidden=16, n_layers=1, max_length=6, batch_size=13, n_epochs=3, dropout=0.0, learning_rate=1e-2,
    n_negatives=20, n_intent_prototypes=4,
)  # fmt: skip
TRAININGS = {
    "ce": BASE,
    "sampled": replace(BASE, loss="sampled"),
    # 40 windows in batches of 13: the last batch has one row, so one process has none
    "bce, contrasts": replace(BASE, loss="bce", contrast="Hybrid", windows="last"),
    "bfloat16": replace(BASE, precision="bfloat16"),
    "dropout": replace(BASE, dropout=0.3),
}
TEXTS = [f"{'a quiet film ' * (n % 7)}about number {n}" for n in range(23)]


def train(config: BackboneConfig, *, reuse: bool = False) -> dict[str, Any]:
    """Pretrain; the curve without times, the bits of the weights, and by how many."""
    backbone = pretrain(dataset(), config, reuse=reuse)
    state = digest(backbone.encoder.state_dict())
    curve = without_seconds(backbone.curve)
    return {"curve": curve, "digest": state, "processes": backbone.facts["processes"]}


def interrupted(config: BackboneConfig) -> dict[str, Any]:
    """Train twice: the first is stopped in the midst of its third epoch, in every process."""
    # a key of its own in the cache; the training is the same, for it is shorter than any patience
    config = replace(config, patience=config.patience + 1)
    with interrupted_at(14):  # of 17
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
    """Do everything; the main process writes what came out."""
    processes = join(expected=expected)
    results = all_jobs(model, processes)
    if processes.is_main:
        Path(out).write_text(json.dumps(results), encoding="utf-8")


if __name__ == "__main__":
    out, model, *count = sys.argv[1:]
    if count:
        job(out, model, int(*count))
    else:
        notebook_launcher(job, (out, model), num_processes=2, use_port=str(free_port()))
