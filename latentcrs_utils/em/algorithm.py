"""Algorithm 1: the three stages of variational EM on cached tensors.

The backbone is frozen and every sentence is embedded once, so an instance is three tensors: S, x
and the observed item.  One pass is a loop over slices of them.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from latentcrs_utils.artifacts import Checkpoint
from latentcrs_utils.config import EMConfig
from latentcrs_utils.data import Sequences
from latentcrs_utils.em import losses
from latentcrs_utils.em.networks import Context, GenerativeModel, InferenceModel
from latentcrs_utils.errors import ConfigError
from latentcrs_utils.progress import track
from latentcrs_utils.training import Training, epochs_since_best

N_MONITORED = 1024


@dataclass(frozen=True)
class Instances:
    """Training instances as tensors on one device.

    Attributes:
        S: frozen embeddings of the histories, [N, d].
        x: standardised language embeddings, [N, d_x].
        targets: observed items, [N], ids 1..V.
        histories: the items before the observed one, N sequences.
    """

    S: Tensor
    x: Tensor
    targets: Tensor
    histories: Sequences

    def __len__(self) -> int:
        return len(self.targets)

    def take(self, rows: Tensor) -> "Instances":
        """The instances of the given rows."""
        histories = self.histories.select(rows.cpu().numpy())
        return Instances(self.S[rows], self.x[rows], self.targets[rows], histories)


@dataclass
class Learner:
    """The two models, their optimisers and the random stream of one run of Algorithm 1."""

    generative: GenerativeModel
    inference: InferenceModel
    config: EMConfig
    generator: torch.Generator
    optimiser_generative: torch.optim.Optimizer
    optimiser_inference: torch.optim.Optimizer

    @classmethod
    def start(
        cls, generative: GenerativeModel, inference: InferenceModel, config: EMConfig, seed: int
    ) -> "Learner":
        """A learner before its first pass."""
        if config.form == "product" and config.n_negatives is None:
            raise ConfigError(
                "The form 'product' has a table of items for each user, so it is trained with "
                "sampled candidates: set n_negatives, for example EMConfig(form='product', "
                "n_negatives=100)."
            )

        def adam(module: nn.Module) -> torch.optim.Optimizer:
            return torch.optim.AdamW(
                module.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay
            )

        generator = torch.Generator(device=generative.v.device).manual_seed(seed)
        return cls(generative, inference, config, generator, adam(generative), adam(inference))


def batches(instances: Instances, learner: Learner) -> Iterator[Instances]:
    """Shuffled slices of `batch_size` instances."""
    order = torch.randperm(
        len(instances), generator=learner.generator, device=instances.targets.device
    )
    for rows in order.split(learner.config.batch_size):
        yield instances.take(rows)


def sample_candidates(
    batch: Instances, n_items: int, n_negatives: int, generator: torch.Generator
) -> Tensor:
    """The observed item (column 0) and negatives outside history and target, [B, 1 + n]."""
    allowed = torch.ones(len(batch), n_items + 1, device=batch.targets.device)
    rows = np.repeat(np.arange(len(batch)), batch.histories.lengths)
    allowed[rows, batch.histories.flat.astype(np.int64)] = 0.0
    allowed[:, 0] = 0.0
    allowed.scatter_(1, batch.targets[:, None], 0.0)
    if n_negatives > (fewest := int(allowed.sum(1).min())):
        raise ConfigError(
            f"n_negatives={n_negatives} cannot be drawn: after the longest history {fewest} of "
            f"{n_items} items are left. Choose at most {fewest}, or None for all items."
        )
    negatives = torch.multinomial(allowed, n_negatives, generator=generator)
    return torch.cat([batch.targets[:, None], negatives], dim=1)


def item_terms(learner: Learner, context: Context, batch: Instances) -> tuple[Tensor, Tensor]:
    """log p(v | m_j, S, x) of the observed items [B, K], and L_rec^M (Equation 8).

    With `n_negatives=None` all items are candidates (exact); else the observed item and sampled
    negatives.  The reading of Equation 8 follows the form: the mixture's own likelihood, or the
    cross-entropy of the logit h.
    """
    model, config = learner.generative, learner.config
    if config.n_negatives is None:
        log_item = model.log_item(context, batch.targets)
        if config.form == "mixture":
            return log_item, -losses.log_likelihood(context.log_prior, log_item).mean()
        log_probability = model.log_probability(context)
        return log_item, -log_probability.gather(1, batch.targets[:, None]).mean()
    candidates = sample_candidates(batch, len(model.v) - 1, config.n_negatives, learner.generator)
    logits = model.candidate_logits(context, candidates)
    log_item = torch.log_softmax(logits, dim=-1)[..., 0]
    if config.form == "mixture":
        return log_item, -losses.log_likelihood(context.log_prior, log_item).mean()
    h = (context.log_prior.exp().unsqueeze(-1) * logits).sum(1)
    return log_item, losses.recommendation_loss_m(h[:, 0], h[:, 1:])


def inference_loss(learner: Learner, batch: Instances, *, warm_up: bool) -> Tensor:
    """L^E (Equation 14); in stage 1 (`warm_up`) only L_rec^E (Equation 13)."""
    model, config = learner.generative, learner.config
    anchors = model.anchors.detach()
    log_q = learner.inference(batch.S, anchors)
    r = losses.intent_vector(log_q.exp(), anchors)
    recommendation = losses.recommendation_loss_e(
        learner.inference.item_logits(r, model.v), batch.targets
    )
    if warm_up:
        return recommendation
    with torch.no_grad():
        context = model.context(batch.S, batch.x)
        log_item, _ = item_terms(learner, context, batch)
    elbo_loss = losses.e_step_elbo_loss(log_q, context.log_prior, log_item)
    return losses.e_step_loss(elbo_loss, recommendation, alpha_E=config.alpha_E)


def generative_loss(learner: Learner, batch: Instances) -> Tensor:
    """L^M (Equation 9), with q fixed: the amortised one, or the exact posterior."""
    config = learner.config
    context = learner.generative.context(batch.S, batch.x)
    log_item, recommendation = item_terms(learner, context, batch)
    if context.residual is not None:
        # asked to explain the choices without the residual too, the intents keep their meaning
        _, of_intents = item_terms(learner, replace(context, residual=None), batch)
        recommendation = recommendation + config.intents_alone * of_intents
    if config.e_step == "exact":
        log_q = losses.exact_posterior(context.log_prior, log_item).detach()
    else:
        with torch.no_grad():
            log_q = learner.inference(batch.S, learner.generative.anchors)
    return losses.m_step_loss(
        losses.expected_item_loss(log_q.exp(), log_item),
        log_q,
        context.log_prior,
        recommendation,
        infonce_weight=config.infonce_weight,
        lambda_=config.lambda_,
        alpha_M=config.alpha_M,
    )


def one_pass(
    learner: Learner,
    instances: Instances,
    optimiser: torch.optim.Optimizer,
    loss_of: Callable[[Instances], Tensor],
) -> float:
    """One pass over the instances with one optimiser; returns the mean loss in nats."""
    total = 0.0
    for batch in batches(instances, learner):
        loss = loss_of(batch)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
        total += loss.item() * len(batch)
    return total / len(instances)


def e_pass(learner: Learner, instances: Instances, *, warm_up: bool = False) -> float:
    """E-step: the generative model is fixed, without dropout, and l is trained."""
    learner.generative.eval()
    learner.inference.train()
    return one_pass(
        learner,
        instances,
        learner.optimiser_inference,
        lambda batch: inference_loss(learner, batch, warm_up=warm_up),
    )


def m_pass(learner: Learner, instances: Instances) -> float:
    """M-step: l is fixed, without dropout, and f, g (and the anchors) are trained."""
    learner.inference.eval()
    learner.generative.train()
    return one_pass(
        learner,
        instances,
        learner.optimiser_generative,
        lambda batch: generative_loss(learner, batch),
    )


@torch.no_grad()
def monitor(learner: Learner, instances: Instances) -> dict[str, float]:
    """ELBO, log-likelihood and gaps, means in nats over the instances.

    The candidates are those of the training: all items, or with `n_negatives` sampled ones.
    """
    learner.generative.eval()
    learner.inference.eval()
    context = learner.generative.context(instances.S, instances.x)
    log_item, _ = item_terms(learner, context, instances)
    log_q = learner.inference(instances.S, learner.generative.anchors)
    exact = losses.exact_posterior(context.log_prior, log_item)
    return {
        "elbo": losses.elbo(log_q, context.log_prior, log_item).mean().item(),
        "log_likelihood": losses.log_likelihood(context.log_prior, log_item).mean().item(),
        "kl_q_prior": losses.kl(log_q, context.log_prior).mean().item(),
        "kl_q_exact": losses.kl(log_q, exact).mean().item(),
    }


def algorithm_1(
    learner: Learner,
    instances: Instances,
    evaluate: Callable[[str], float],
    *,
    progress: bool | None = None,
    checkpoint: Checkpoint | None = None,
) -> list[dict[str, Any]]:
    """Algorithm 1: warm up q, warm up the generative model, then alternate.

    Each stage ends after its number of epochs or when valid NDCG@10 has not risen for `patience`
    epochs; the best state over stages 2 and 3 is restored (with a residual, of stage 3).

    The residual of `LatentCRS+` keeps silent until stage 3: it is strong enough to explain the
    choices alone, and the intents would learn nothing.

    Args:
        learner: changed in place.
        instances: training instances.
        evaluate: `evaluate("inference")` and `evaluate("generative")` give valid NDCG@10.
        progress: show a progress bar; None asks the environment.
        checkpoint: where the state is kept after every epoch, and taken up if it is there; the
            global random stream, which dropout draws from, is part of it.

    Returns:
        One row an epoch: stage, epoch, loss_e, loss_m, elbo, log_likelihood, kl_q_prior,
        kl_q_exact (nats), valid_ndcg10, seconds.
    """
    config, generative = learner.config, learner.generative
    models = nn.ModuleDict({"generative": generative, "inference": learner.inference})
    optimisers = [learner.optimiser_generative, learner.optimiser_inference]
    training = Training(models, optimisers, learner.generator)
    if checkpoint is not None:
        training.resume(checkpoint)
    curve = training.curve
    monitored = instances.take(torch.arange(min(N_MONITORED, len(instances))))
    # states of these stages compete for the best
    final = ("alternate",) if generative.residual is not None else ("generative", "alternate")
    stages = (("q", config.n_epochs_q), ("generative", config.n_epochs_generative))
    for stage, n_epochs in (*stages, ("alternate", config.n_epochs_alternate)):
        generative.residual_speaks = stage == "alternate" and generative.residual is not None
        epochs = range(1 + len(_values(curve, stage)), n_epochs + 1)
        for epoch in track(epochs, f"EM, stage {stage}", progress=progress):
            values = _values(curve, stage)
            if values and epochs_since_best(values) >= config.patience:
                break
            curve.append(_epoch(learner, instances, monitored, evaluate, stage, epoch))
            if stage in final and epochs_since_best(_values(curve, *final)) == 0:
                training.keep_best()
            if checkpoint is not None:
                training.save(checkpoint, after=f"epoch {epoch} of the stage {stage!r}")
    if training.best_state:
        models.load_state_dict(training.best_state)
    models.eval()
    return curve


def _values(curve: list[dict[str, Any]], *stages: str) -> list[float]:
    return [row["valid_ndcg10"] for row in curve if row["stage"] in stages]


def _epoch(
    learner: Learner,
    instances: Instances,
    monitored: Instances,
    evaluate: Callable[[str], float],
    stage: str,
    epoch: int,
) -> dict[str, Any]:
    """One epoch of a stage of Algorithm 1; its row of the curve."""
    started = time.perf_counter()
    row: dict[str, Any] = {"stage": stage, "epoch": epoch, "loss_e": None, "loss_m": None}
    if stage != "generative":
        row["loss_e"] = e_pass(learner, instances, warm_up=stage == "q")
    if stage != "q":
        row["loss_m"] = m_pass(learner, instances)
    row |= monitor(learner, monitored)
    value = evaluate("inference" if stage == "q" else "generative")
    return row | {"valid_ndcg10": value, "seconds": time.perf_counter() - started}
