"""The EM of the package beside the naive loop of `naive_em`, on the same batches."""

from __future__ import annotations

from typing import Any

import torch

from latentcrs_utils.behavior.sasrec import SASRec
from latentcrs_utils.config import BackboneConfig
from latentcrs_utils.data.sequences import Dataset

from .measure import compare, peak_bytes
from .naive_em import naive_batch
from .training import em_instances, em_trainer

AIM = 50.0


def against_naive_em(
    data: Dataset,
    K: int = 256,
    *,
    residual: bool,
    batch_size: int = 480,
    n_batches: int = 2,
    repeats: int = 2,
) -> dict[str, Any]:
    """Time an E-step and an M-step on each of a few batches, theirs and ours.

    Ours has the histories' S at hand; what encoding them once cost is a part of its seconds:
    spread over all the epochs of Algorithm 1, as it is in a fit.
    """
    few = em_instances(data, 5).take(torch.arange(n_batches * batch_size))
    trainer = em_trainer(data, few, K, residual=residual)
    config = trainer.config
    padded = torch.from_numpy(few.histories.pad(BackboneConfig().max_length))
    encoder = SASRec(data.n_items, BackboneConfig()).eval().requires_grad_(False)

    def theirs() -> None:
        for part in torch.arange(len(few)).split(batch_size):
            naive_batch(trainer, encoder, padded[part], few.x[part], few.targets[part])

    def ours() -> None:
        trainer.e_pass()
        trainer.m_pass()

    def encode() -> None:
        with torch.no_grad():
            for part in padded.split(batch_size):
                encoder(part)

    rival_peak, our_peak = peak_bytes(theirs), peak_bytes(ours)
    encode()
    rival_seconds, seconds, encoding = compare(theirs, ours, encode, repeats=repeats, warm=True)
    n_epochs = config.n_epochs_generative + config.n_epochs_alternate
    seconds += encoding / n_epochs
    return {
        "rival": "naive EM loop",
        "what": f"E-step and M-step on a batch of {batch_size}, "
        f"{'LatentCRS+' if residual else 'LatentCRS'}, {data.name}",
        "seconds": seconds / n_batches,
        "rival_seconds": rival_seconds / n_batches,
        "ratio": rival_seconds / seconds,
        "aim": AIM,
        "peak_bytes": our_peak,
        "rival_peak_bytes": rival_peak,
        "note": (
            f"seconds a batch; K={K}, {data.n_items:,} items; theirs encodes the histories for "
            f"every batch and expands to [{batch_size}, {K}, {data.n_items + 1}]; ours adds 1/"
            f"{n_epochs} of encoding them once"
        ),
    }
