"""Algorithm 1: the three stages of variational EM on cached tensors.

The backbone is frozen and every sentence is embedded once, so an instance is three tensors: S, x
and the observed item.  One pass is a loop over slices of them.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from latentcrs_utils.config import EMConfig
from latentcrs_utils.em import losses
from latentcrs_utils.em.instances import Instances, sample_candidates
from latentcrs_utils.em.networks import Catalogue, Context, GenerativeModel, InferenceModel
from latentcrs_utils.errors import ConfigError
from latentcrs_utils.support.artifacts import Checkpoint, Training, epochs_since_best
from latentcrs_utils.support.device import autocast
from latentcrs_utils.support.progress import track

N_MONITORED = 1024


@dataclass
class EMTrainer:
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
    ) -> "EMTrainer":
        """A learner before its first pass."""
        if config.form == "product" and config.n_negatives is None:
            raise ConfigError(
                "The form 'product' has a table of items for each user, so it is trained with "
                "sampled candidates: set n_negatives, for example EMConfig(form='product', "
                "n_negatives=100)."
            )

        def adam(module: nn.Module) -> torch.optim.Optimizer:
            return torch.optim.AdamW(
                module.parameters(),
                lr=config.learning_rate,
                weight_decay=config.weight_decay,
                fused=True,
            )

        generator = torch.Generator(device=generative.v.device).manual_seed(seed)
        return cls(generative, inference, config, generator, adam(generative), adam(inference))


def batches(instances: Instances, trainer: EMTrainer) -> Iterator[Instances]:
    """Shuffled slices of `batch_size` instances; with histories where negatives are sampled."""
    device = instances.targets.device
    order = torch.randperm(len(instances), generator=trainer.generator, device=device)
    sampled = trainer.config.n_negatives is not None
    for rows in order.split(trainer.config.batch_size):
        yield instances.take(rows, with_histories=sampled)


def item_terms(
    trainer: EMTrainer, context: Context, batch: Instances, catalogue: Catalogue | None = None
) -> tuple[Tensor, Tensor]:
    """log p(v | m_j, S, x) of the observed items [B, K], and L_rec^M (Equation 8).

    With `n_negatives=None` all items are candidates (exact); else the observed item and sampled
    negatives.  The reading of Equation 8 follows the form: the mixture's own likelihood, or the
    cross-entropy of the logit h.

    Asked, with the weight `aux_intent_weight`, to explain the choices without the residual too, the
    intents keep their meaning: that is the second term of L_rec^M where a residual speaks.

    Args:
        trainer: models and configuration.
        context: of the instances.
        batch: the instances.
        catalogue: of the generative model, where the caller has it already.
    """
    model, config = trainer.generative, trainer.config
    contexts = [context]
    if context.users is not None:
        contexts.append(replace(context, users=None))
    if config.n_negatives is not None:
        n_items = len(model.v) - 1
        candidates = sample_candidates(batch, n_items, config.n_negatives, trainer.generator)
        terms = [_sampled_terms(model, one, candidates) for one in contexts]
        log_items = [log_item for log_item, _ in terms]
        recommendations = [recommendation for _, recommendation in terms]
    else:
        catalogue = catalogue or model.catalogue()
        log_items = [*model.log_items(context, batch.targets, catalogue)]
        recommendations = [
            _exact_recommendation(model, one, log_item, batch.targets, catalogue)
            for one, log_item in zip(contexts, log_items, strict=False)
        ]
    recommendation = recommendations[0]
    for of_intents in recommendations[1:]:
        recommendation = recommendation + config.aux_intent_weight * of_intents
    return log_items[0], recommendation


def _exact_recommendation(
    model: GenerativeModel,
    context: Context,
    log_item: Tensor,
    targets: Tensor,
    catalogue: Catalogue,
) -> Tensor:
    if model.form == "mixture":
        return -losses.log_likelihood(context.log_prior, log_item).mean()
    log_probability = model.log_probability(context, catalogue)
    return -log_probability.gather(1, targets[:, None]).mean()


def _sampled_terms(
    model: GenerativeModel, context: Context, candidates: Tensor
) -> tuple[Tensor, Tensor]:
    logits = model.candidate_logits(context, candidates)
    log_item = torch.log_softmax(logits, dim=-1)[..., 0]
    if model.form == "mixture":
        return log_item, -losses.log_likelihood(context.log_prior, log_item).mean()
    h = (context.log_prior.exp().unsqueeze(-1) * logits).sum(1)
    return log_item, losses.recommendation_loss_m(h[:, 0], h[:, 1:])


def inference_loss(
    trainer: EMTrainer, batch: Instances, *, warm_up: bool, catalogue: Catalogue | None = None
) -> Tensor:
    """L^E (Equation 14); in stage 1 (`warm_up`) only L_rec^E (Equation 13).

    The generative model's `catalogue` may be given, since it stays the same during an E-pass.
    """
    model, config = trainer.generative, trainer.config
    anchors = model.anchors.detach()
    log_q = trainer.inference(batch.S, anchors)
    r = losses.intent_vector(log_q.exp(), anchors)
    recommendation = losses.recommendation_loss_e(
        trainer.inference.item_logits(r, model.v[1:]), batch.targets - 1
    )
    if warm_up:
        return recommendation
    with torch.no_grad():
        context = model.context(batch.S, batch.x)
        log_item, _ = item_terms(trainer, context, batch, catalogue)
    elbo_loss = losses.e_step_elbo_loss(log_q, context.log_prior, log_item)
    return losses.e_step_loss(elbo_loss, recommendation, alpha_E=config.alpha_E)


def generative_loss(trainer: EMTrainer, batch: Instances) -> Tensor:
    """L^M (Equation 9), with q fixed: the amortised one, or the exact posterior."""
    config = trainer.config
    context = trainer.generative.context(batch.S, batch.x)
    log_item, recommendation = item_terms(trainer, context, batch)
    if config.e_step == "exact":
        log_q = losses.exact_posterior(context.log_prior, log_item).detach()
    else:
        with torch.no_grad():
            log_q = trainer.inference(batch.S, trainer.generative.anchors)
    return losses.m_step_loss(
        losses.expected_item_loss(log_q.exp(), log_item),
        log_q,
        context.log_prior,
        recommendation,
        infonce_weight=config.infonce_weight,
        lambda_=config.lambda_,
        alpha_M=config.alpha_M,
    )


def joint_loss(trainer: EMTrainer, batch: Instances) -> Tensor:
    """Both recommendation losses, and lambda KL(q || p(m | S, x)), which pulls at both models.

    Table 5's "Direct KL Alignment": no posterior is ever formed, the two beliefs are only drawn
    together.
    """
    model, config = trainer.generative, trainer.config
    context = model.context(batch.S, batch.x)
    _, recommendation = item_terms(trainer, context, batch)
    log_q = trainer.inference(batch.S, model.anchors.detach())
    alignment = losses.kl(log_q, context.log_prior).mean()
    by_history = inference_loss(trainer, batch, warm_up=True)
    return (
        config.alpha_M * recommendation + config.alpha_E * by_history + config.lambda_ * alignment
    )


def one_pass(
    trainer: EMTrainer,
    instances: Instances,
    loss_of: Callable[[Instances], Tensor],
    *optimisers: torch.optim.Optimizer,
) -> float:
    """One pass over the instances with one or more optimisers; returns the mean loss in nats."""
    device = instances.targets.device
    # summed where it is, so that no batch waits for the last one's value
    total = torch.zeros((), dtype=torch.float64, device=device)
    for batch in batches(instances, trainer):
        with autocast(device, trainer.config.precision):
            loss = loss_of(batch)
        for optimiser in optimisers:
            optimiser.zero_grad(set_to_none=True)
        loss.backward()
        for optimiser in optimisers:
            optimiser.step()
        total += loss.detach().double() * len(batch)
    return total.item() / len(instances)


def e_pass(trainer: EMTrainer, instances: Instances, *, warm_up: bool = False) -> float:
    """E-step: the generative model is fixed, without dropout, and l is trained."""
    trainer.generative.eval()
    trainer.inference.train()
    with torch.no_grad(), autocast(instances.targets.device, trainer.config.precision):
        catalogue = None if warm_up else trainer.generative.catalogue()
    return one_pass(
        trainer,
        instances,
        lambda batch: inference_loss(trainer, batch, warm_up=warm_up, catalogue=catalogue),
        trainer.optimiser_inference,
    )


def m_pass(trainer: EMTrainer, instances: Instances) -> float:
    """M-step: l is fixed, without dropout, and f, g (and the anchors) are trained."""
    trainer.inference.eval()
    trainer.generative.train()
    return one_pass(
        trainer,
        instances,
        lambda batch: generative_loss(trainer, batch),
        trainer.optimiser_generative,
    )


def joint_pass(trainer: EMTrainer, instances: Instances) -> float:
    """Both models at once (`schedule="joint"`), each with its own optimiser."""
    trainer.inference.train()
    trainer.generative.train()
    return one_pass(
        trainer,
        instances,
        lambda batch: joint_loss(trainer, batch),
        trainer.optimiser_generative,
        trainer.optimiser_inference,
    )


@torch.no_grad()
def monitor(trainer: EMTrainer, instances: Instances) -> dict[str, float]:
    """ELBO, log-likelihood and gaps, means in nats over the instances.

    The candidates are those of the training: all items, or with `n_negatives` sampled ones.
    """
    trainer.generative.eval()
    trainer.inference.eval()
    catalogue = trainer.generative.catalogue()
    rows = torch.arange(len(instances), device=instances.targets.device)
    parts = [
        _monitored(trainer, instances.take(some), catalogue)
        for some in rows.split(trainer.config.batch_size)
    ]
    return {name: torch.cat([part[name] for part in parts]).mean().item() for name in parts[0]}


def _monitored(trainer: EMTrainer, batch: Instances, catalogue: Catalogue) -> dict[str, Tensor]:
    """The quantities of `monitor` for each instance, [B]."""
    context = trainer.generative.context(batch.S, batch.x)
    log_item, _ = item_terms(trainer, context, batch, catalogue)
    log_q = trainer.inference(batch.S, trainer.generative.anchors)
    exact = losses.exact_posterior(context.log_prior, log_item)
    return {
        "elbo": losses.elbo(log_q, context.log_prior, log_item),
        "log_likelihood": losses.log_likelihood(context.log_prior, log_item),
        "kl_q_prior": losses.kl(log_q, context.log_prior),
        "kl_q_exact": losses.kl(log_q, exact),
    }


def train_em(
    trainer: EMTrainer,
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

    With `schedule="joint"` there is one stage of that name instead, as long as stages 2 and 3.

    Args:
        trainer: changed in place.
        instances: training instances.
        evaluate: `evaluate("inference")` and `evaluate("generative")` give valid NDCG@10.
        progress: show a progress bar; None asks the environment.
        checkpoint: where the state is kept after every epoch, and taken up if it is there; the
            global random stream, which dropout draws from, is part of it.

    Returns:
        One row an epoch: stage, epoch, loss_e, loss_m, elbo, log_likelihood, kl_q_prior,
        kl_q_exact (nats), valid_ndcg10, seconds.
    """
    config, generative = trainer.config, trainer.generative
    models = nn.ModuleDict({"generative": generative, "inference": trainer.inference})
    optimisers = [trainer.optimiser_generative, trainer.optimiser_inference]
    training = Training(models, optimisers, trainer.generator)
    if checkpoint is not None:
        training.resume(checkpoint)
    curve = training.curve
    first = torch.arange(min(N_MONITORED, len(instances)), device=instances.targets.device)
    monitored = instances.take(first)
    # states of these stages compete for the best
    final = {"alternate", "joint"} | ({"generative"} if generative.residual is None else set())
    for stage, n_epochs in _stages(config):
        spoken = stage in ("alternate", "joint")
        generative.residual_enabled = spoken and generative.residual is not None
        epochs = range(1 + len(_values(curve, stage)), n_epochs + 1)
        for epoch in track(epochs, f"EM, stage {stage}", progress=progress):
            values = _values(curve, stage)
            if values and epochs_since_best(values) >= config.patience:
                break
            curve.append(_epoch(trainer, instances, monitored, evaluate, stage, epoch))
            if stage in final and epochs_since_best(_values(curve, *final)) == 0:
                training.keep_best()
            if checkpoint is not None:
                training.save(checkpoint, after=f"epoch {epoch} of the stage {stage!r}")
    if training.best_state:
        models.load_state_dict(training.best_state)
    models.eval()
    return curve


def _stages(config: EMConfig) -> tuple[tuple[str, int], ...]:
    """The stages of the schedule and the largest number of epochs of each."""
    if config.schedule == "joint":
        return (("joint", config.n_epochs_generative + config.n_epochs_alternate),)
    return (
        ("q", config.n_epochs_q),
        ("generative", config.n_epochs_generative),
        ("alternate", config.n_epochs_alternate),
    )


def _values(curve: list[dict[str, Any]], *stages: str) -> list[float]:
    return [row["valid_ndcg10"] for row in curve if row["stage"] in stages]


def _epoch(
    trainer: EMTrainer,
    instances: Instances,
    monitored: Instances,
    evaluate: Callable[[str], float],
    stage: str,
    epoch: int,
) -> dict[str, Any]:
    """One epoch of a stage of Algorithm 1; its row of the curve."""
    started = time.perf_counter()
    row: dict[str, Any] = {"stage": stage, "epoch": epoch, "loss_e": None, "loss_m": None}
    if stage in ("q", "alternate"):
        row["loss_e"] = e_pass(trainer, instances, warm_up=stage == "q")
    if stage in ("generative", "alternate"):
        row["loss_m"] = m_pass(trainer, instances)
    if stage == "joint":
        row["loss_m"] = joint_pass(trainer, instances)
    row |= monitor(trainer, monitored)
    value = evaluate("inference" if stage == "q" else "generative")
    return row | {"valid_ndcg10": value, "seconds": time.perf_counter() - started}
