"""The two stages that train, by whole epochs: the backbone, and the EM of Algorithm 1."""

from __future__ import annotations

from collections.abc import Callable

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
from latentcrs_utils.support.processes import SINGLE, Processes

from .measure import Measurement, against_matrix_products

WIDTH, TEXT_WIDTH = 64, 576
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
    epoch = backbone_epoch(data, config)
    return against_matrix_products(
        "backbone epoch", data.name, epoch, note, aim=3.0, repeats=repeats
    )


def em_instances(data: Dataset, n_cuts: int) -> Instances:
    """Training instances of a data set's own histories, with random S and x.

    Args:
        data: the data set.
        n_cuts: random cuts a user besides the last training item.
    """
    users, cuts = random_cuts(data, n_cuts, seed=0)
    generator = torch.Generator().manual_seed(0)
    flat, offsets = data.interactions.flat, data.interactions.offsets
    return Instances(
        torch.randn(len(users), WIDTH, generator=generator),
        torch.randn(len(users), TEXT_WIDTH, generator=generator),
        torch.from_numpy(flat[offsets[users] + cuts].astype(np.int64)),
        data.interactions.prefixes(users, cuts),
    )


def em_trainer(data: Dataset, instances: Instances, K: int, *, residual: bool) -> EMTrainer:
    """Both models in the state of stage 3's first pass, with random vectors.

    The preset is that of ml-100k; the other presets' weights and rates change no cost.
    """
    options = preset("ml-100k")
    config = options.em_plus if residual else options.em
    generator = torch.Generator().manual_seed(0)
    v = torch.randn(data.n_items + 1, WIDTH, generator=generator)
    anchors = torch.randn(K, WIDTH, generator=generator)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = GenerativeModel(
            anchors,
            v,
            item_vectors(v, data),
            TEXT_WIDTH,
            residual=residual,
            text_hidden=config.text_hidden,
            dropout=config.dropout,
        )
        return EMTrainer(model, InferenceModel(WIDTH), config, instances, seed=0)


def em_epoch(
    data: Dataset, K: int, n_cuts: int, *, residual: bool, n_batches: int | None = None
) -> tuple[Callable[[], None], Instances]:
    """A function that runs one epoch of Algorithm 1's third stage, and its instances."""
    instances = em_instances(data, n_cuts)
    if n_batches is not None:
        instances = instances.take(torch.arange(n_batches * preset("ml-100k").em.batch_size))
    trainer = em_trainer(data, instances, K, residual=residual)

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
    name = "LatentCRS+" if residual else "LatentCRS"
    return against_matrix_products(
        f"EM epoch, {name}", data.name, epoch, note, aim=3.0, repeats=repeats
    )
