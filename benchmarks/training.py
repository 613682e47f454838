"""The two stages that train, by whole epochs: the backbone, and the EM of Algorithm 1.

``torchrun --nproc_per_node N -m benchmarks.training N`` prints the seconds of a backbone epoch in
N processes with one thread each.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from latentcrs_utils.behavior.pretraining import train_epoch
from latentcrs_utils.behavior.sasrec import SASRec
from latentcrs_utils.config import BackboneConfig, preset
from latentcrs_utils.data.preprocess import random_cuts
from latentcrs_utils.data.sequences import Dataset
from latentcrs_utils.em.instances import Instances, item_vectors
from latentcrs_utils.em.networks import GenerativeModel, InferenceModel
from latentcrs_utils.em.trainer import EMTrainer
from latentcrs_utils.support.processes import SINGLE, Processes, join

from .measure import Measurement, against_matrix_products, compare, in_a_process
from .worlds import generated_data, random

WIDTH, TEXT_WIDTH = 64, 576
USERS, ITEMS, LENGTH = 800, 3000, 40  # of the epoch that is shared by processes
# further instances a user: as many as the presets cut, on ML-1M as many as the paper's code
CUTS = {"ml-100k": 15, "ML-1M shapes": 5}


def backbone_epoch(
    data: Dataset, config: BackboneConfig, processes: Processes = SINGLE
) -> Callable[[], float]:
    """Return a function that trains for one epoch, all windows, without validation."""
    encoder = SASRec(data.n_items, config)
    optimizer = torch.optim.Adam(encoder.parameters(), lr=config.learning_rate, fused=True)
    generator = torch.Generator()

    def epoch() -> float:
        # the same windows and batches each time, so that the floor's products are this call's
        generator.manual_seed(0)
        return train_epoch(encoder, optimizer, data, config, 0, generator, processes)

    return epoch


def n_targets(data: Dataset) -> int:
    """Next items that an epoch over all windows predicts."""
    return int(np.maximum(data.histories("train").lengths - 1, 0).sum())


def measure_backbone(data: Dataset, repeats: int) -> Measurement:
    """One epoch of pretraining with the full softmax over all windows."""
    config = BackboneConfig(windows="all")
    note = (
        f"{data.n_users:,} users, {n_targets(data):,} next items in windows of "
        f"{config.max_length}, full softmax over {data.n_items:,} items"
    )
    what = "backbone epoch", data.name, backbone_epoch(data, config), note
    return against_matrix_products(*what, aim=3.0, repeats=repeats)


def em_instances(data: Dataset, n_cuts: int) -> Instances:
    """Training instances of a data set's own histories with so many cuts, random S and x."""
    users, cuts = random_cuts(data, n_cuts, seed=0)
    flat, offsets = data.interactions.flat, data.interactions.offsets
    return Instances(
        random(len(users), WIDTH),
        random(len(users), TEXT_WIDTH, seed=1),
        torch.from_numpy(flat[offsets[users] + cuts].astype(np.int64)),
        data.interactions.prefixes(users, cuts),
    )


def em_trainer(
    data: Dataset, instances: Instances, K: int, *, residual: bool, n_negatives: int | None = None
) -> EMTrainer:
    """Both models in the state of stage 3's first pass, random vectors, preset of ml-100k."""
    options = preset("ml-100k")
    config = replace(options.em_plus if residual else options.em, n_negatives=n_negatives)
    v = random(data.n_items + 1, WIDTH)
    vectors = random(K, WIDTH, seed=1), v, item_vectors(v, data)
    more: dict[str, Any] = {"text_hidden": config.text_hidden, "dropout": config.dropout}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = GenerativeModel(*vectors, TEXT_WIDTH, residual=residual, **more)
        return EMTrainer(model, InferenceModel(WIDTH), config, instances, seed=0)


def em_epoch(
    data: Dataset, K: int, n_cuts: int, *, n_batches: int | None = None, **options: Any
) -> tuple[Callable[[], None], Instances]:
    """Return a function that runs an epoch of Algorithm 1's third stage, and its instances."""
    instances = em_instances(data, n_cuts)
    if n_batches is not None:
        some = min(len(instances), n_batches * preset("ml-100k").em.batch_size)
        instances = instances.take(torch.arange(some))
    trainer = em_trainer(data, instances, K, **options)

    def epoch() -> None:
        trainer.e_step()
        trainer.m_step()

    return epoch, instances


def measure_em(
    data: Dataset, K: int, repeats: int, *, residual: bool, n_batches: int | None = None
) -> Measurement:
    """One epoch of the third stage of Algorithm 1: an E-pass, then an M-pass."""
    epoch, instances = em_epoch(data, K, CUTS[data.name], residual=residual, n_batches=n_batches)
    note = (
        f"{data.n_users:,} users; E-pass and M-pass over {len(instances):,} instances, batch 480, "
        f"K={K}, all {data.n_items:,} items as candidates"
    )
    what = f"EM epoch, LatentCRS{'+' * residual}", data.name, epoch, note
    return against_matrix_products(*what, aim=3.0, repeats=repeats)


def efficiency_of_two() -> dict[str, Any] | None:
    """A backbone epoch in one and two processes (1: half the time); None where torchrun fails."""
    launch = ("torch.distributed.run", "--standalone", "--nproc_per_node")
    try:
        one, two = (
            in_a_process(*launch, n, "-m", "benchmarks.training", n, OMP_NUM_THREADS="1")
            for n in "12"
        )
    except subprocess.CalledProcessError:
        print("Two processes are left out: torchrun failed.")
        return None
    return {
        "what": f"one backbone epoch, {USERS} users, {ITEMS:,} items, one thread a process",
        "cores": os.cpu_count(),
        "seconds_1": round(one, 3),
        "seconds_2": round(two, 3),
        "efficiency": round(max(0.0, one / two - 1), 3),
    }


def main(processes: Processes) -> None:
    """Train with the other processes; the main one prints the seconds of an epoch."""
    data = generated_data("processes", USERS, ITEMS, LENGTH)
    (seconds,) = compare(backbone_epoch(data, BackboneConfig(), processes), repeats=3)
    if processes.is_main:
        print(json.dumps(seconds))


if __name__ == "__main__":
    main(join(torch.device("cpu"), expected=int(sys.argv[1])))
