"""The EM loop as one would write it first: correct, and far too slow.

For every batch it encodes the histories again, though the backbone is frozen; and it gives every
instance its own copy of all anchors and all items' scores, [B, K, V + 1], though all users share
them. Each loss equals the package's (tests/benchmarks/test_benchmarks.py).
"""

from typing import Any

import torch
from torch import Tensor

from latentcrs_utils.behavior.sasrec import SASRec
from latentcrs_utils.config import BackboneConfig
from latentcrs_utils.data.sequences import Dataset
from latentcrs_utils.em import losses
from latentcrs_utils.em.networks import GenerativeModel
from latentcrs_utils.em.trainer import EMTrainer

from .measure import compare, peak_bytes
from .training import em_instances, em_trainer

AIM, K, N_BATCHES = 50.0, 256, 2


@torch.no_grad()
def encode_again(encoder: SASRec, padded: Tensor) -> Tensor:
    """S of padded histories [B, L], computed anew, [B, d]."""
    return encoder(padded)[:, -1]


def log_item_for_each(
    model: GenerativeModel, S: Tensor, x: Tensor, targets: Tensor, *, residual: bool = True
) -> tuple[Tensor, Tensor]:
    """log p(m_j | S, x) and log p(v | m_j, S, x) of the targets, both [B, K], in form `mixture`.

    S is [B, d], x [B, d_x], targets [B]; ``residual`` is added where the model has one.
    """
    log_prior = torch.log_softmax(model.f(S, x, model.anchors), dim=-1)
    # every instance its own anchors [B, K, d], its own items, and its own table [B, K, V + 1]
    anchors, items = (table.expand(len(S), -1, -1) for table in (model.anchors, model.v))
    logits = model.g.W_j(anchors) @ model.g.W_v(items).transpose(1, 2)
    if residual and model.residual is not None:
        query = model.residual.query(S, x)
        logits = logits + (query @ model.residual.items(model.v, model.c).T)[:, None, :]
    padding = torch.arange(logits.shape[-1], device=logits.device) == 0
    log_item = torch.log_softmax(logits.masked_fill(padding, -torch.inf), dim=-1)
    index = targets[:, None, None].expand(-1, log_item.shape[1], 1)
    return log_prior, log_item.gather(2, index).squeeze(2)


def naive_m_loss(
    trainer: EMTrainer, encoder: SASRec, padded: Tensor, x: Tensor, targets: Tensor
) -> Tensor:
    """L^M (Equation 9) of a batch, with q fixed and all items as candidates, as `EMTrainer.m_loss`.

    ``encoder`` is the frozen backbone; padded histories are [B, L], x [B, d_x], targets [B].
    """
    model, config = trainer.generative, trainer.config
    S = encode_again(encoder, padded)
    log_prior, log_item = log_item_for_each(model, S, x, targets)
    recommendation = -losses.log_likelihood(log_prior, log_item).mean()
    if model.residual is not None:
        alone = losses.log_likelihood(*log_item_for_each(model, S, x, targets, residual=False))
        recommendation = recommendation - config.aux_intent_weight * alone.mean()
    with torch.no_grad():
        log_q = trainer.inference(S, model.anchors)
    return losses.m_step_loss(
        losses.infonce(log_q.exp(), log_item),
        log_q,
        log_prior,
        recommendation,
        infonce_weight=config.infonce_weight,
        lambda_=config.lambda_,
        alpha_M=config.alpha_M,
    )


def naive_e_loss(
    trainer: EMTrainer, encoder: SASRec, padded: Tensor, x: Tensor, targets: Tensor
) -> Tensor:
    """L^E (Equation 14) of a batch; arguments as in `naive_m_loss`."""
    model = trainer.generative
    anchors, S = model.anchors.detach(), encode_again(encoder, padded)
    log_q = trainer.inference(S, anchors)
    logits = losses.intent_vector(log_q.exp(), anchors) @ trainer.inference.W_e(model.v[1:]).T
    with torch.no_grad():
        log_prior, log_item = log_item_for_each(model, S, x, targets)
    elbo_loss = losses.e_step_elbo_loss(log_q, log_prior, log_item)
    recommendation = losses.recommendation_loss_e(logits, targets - 1)
    return losses.e_step_loss(elbo_loss, recommendation, alpha_E=trainer.config.alpha_E)


def naive_batch(
    trainer: EMTrainer, encoder: SASRec, padded: Tensor, x: Tensor, targets: Tensor
) -> None:
    """One E-step and one M-step on a batch, each with its optimiser."""
    steps = (
        (naive_e_loss, trainer.optimiser_inference, trainer.inference, trainer.generative),
        (naive_m_loss, trainer.optimiser_generative, trainer.generative, trainer.inference),
    )
    for loss_of, optimiser, trained, fixed in steps:
        trained.train()
        fixed.eval()
        loss = loss_of(trainer, encoder, padded, x, targets)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()


def against_naive_em(data: Dataset, *, residual: bool, batch_size: int) -> dict[str, Any]:
    """Time an E-step and an M-step on each of a few batches, theirs and ours."""
    few = em_instances(data, 5).take(torch.arange(N_BATCHES * batch_size))
    trainer = em_trainer(data, few, K, residual=residual)
    padded = torch.from_numpy(few.histories.pad(BackboneConfig().max_length))
    encoder = SASRec(data.n_items, BackboneConfig()).eval().requires_grad_(False)

    def theirs() -> None:
        for part in torch.arange(len(few)).split(batch_size):
            naive_batch(trainer, encoder, padded[part], few.x[part], few.targets[part])

    def ours() -> None:
        trainer.e_step()
        trainer.m_step()

    def encode() -> None:
        for part in padded.split(batch_size):
            encode_again(encoder, part)

    rival_peak, our_peak = peak_bytes(theirs), peak_bytes(ours)
    encode()
    rival_seconds, seconds, encoding = compare(theirs, ours, encode, repeats=2, warm=True)
    # ours has S at hand: encoding it once counts, spread over all the epochs of Algorithm 1
    n_epochs = trainer.config.n_epochs_generative + trainer.config.n_epochs_alternate
    seconds += encoding / n_epochs
    system = f"LatentCRS{'+' * residual}"
    return {
        "rival": "naive EM loop",
        "what": f"E-step and M-step on a batch of {batch_size}, {system}, {data.name}",
        "seconds": seconds / N_BATCHES,
        "rival_seconds": rival_seconds / N_BATCHES,
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
