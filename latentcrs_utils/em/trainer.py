"""Algorithm 1: the three stages of variational EM on cached tensors.

The backbone is frozen and every sentence is embedded once, so an instance is three tensors: S, x
and the observed item. A step is one pass over slices of them.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from latentcrs_utils.config import EMConfig
from latentcrs_utils.em import losses
from latentcrs_utils.em.instances import Instances, sample_candidates
from latentcrs_utils.em.networks import Context, GenerativeModel, InferenceModel, ItemTables
from latentcrs_utils.errors import ConfigError
from latentcrs_utils.ranking import ndcg, rank_by_factors, ranks_in_chunks
from latentcrs_utils.support.artifacts import Training
from latentcrs_utils.support.device import autocast

N_MONITORED = 1024
Row = dict[str, Any]


def train_em(
    trainer: "EMTrainer", valid: Instances, *, progress: bool | None = None,
    checkpoint: Path | None = None,
) -> list[Row]:  # fmt: skip
    """Algorithm 1: warm up q, warm up the generative model, then alternate E-step and M-step.

    A stage ends after its number of epochs, or when NDCG@10 of the `valid` instances has not risen
    for `patience` epochs. The trainer is left in the best state of stages 2 and 3, with a residual
    of stage 3: the residual of `LatentCRS+` takes no part earlier, since it is strong enough to
    explain the choices alone, and the intents would learn nothing. With `schedule="joint"` there is
    one stage of that name instead, as long as stages 2 and 3.

    After every epoch the state, and the global random stream that dropout draws from, is kept in
    the file `checkpoint`, and taken up if it is there. Returns one row an epoch: stage, epoch,
    loss_e, loss_m, elbo, log_likelihood, kl_q_prior, kl_q_exact (nats), valid_ndcg10, seconds.
    """
    config, training = trainer.config, trainer.training
    training.checkpoint = checkpoint
    training.resume()
    stage = partial(trainer.stage, valid=valid, progress=progress)
    if config.schedule == "joint":
        for row in stage("joint", config.n_epochs_generative + config.n_epochs_alternate):
            row["loss_m"] = trainer.joint_step()
    else:
        for row in stage("q", config.n_epochs_q):  # stage 1
            row["loss_e"] = trainer.e_step(warm_up=True)
        for row in stage("generative", config.n_epochs_generative):  # stage 2
            row["loss_m"] = trainer.m_step()
        for row in stage("alternate", config.n_epochs_alternate):  # stage 3
            row["loss_e"] = trainer.e_step()
            row["loss_m"] = trainer.m_step()
    if training.best_state:
        training.module.load_state_dict(training.best_state)
    training.module.eval()
    return training.curve


class EMTrainer:
    """One run of Algorithm 1: both models, their optimisers, the instances, the random stream.

    The M-step trains `generative` (f, g and the residual), the E-step `inference` (l), both on
    `instances`, which are on the device of the models. `seed` is of the order of the instances and
    of sampled negatives; without these the form `product` is a ConfigError. `residual_enabled` says
    whether the residual of `LatentCRS+` takes part; `stage` decides.
    """

    def __init__(
        self, generative: GenerativeModel, inference: InferenceModel, config: EMConfig,
        instances: Instances, *, seed: int = 0,
    ):  # fmt: skip
        if config.form == "product" and config.n_negatives is None:
            told = "The form 'product' has a table of items for each user, so it needs a sample"
            raise ConfigError(f"{told}: EMConfig(form='product', n_negatives=100), for example.")
        self.generative, self.inference = generative, inference
        self.config, self.instances = config, instances
        self.device, self.residual_enabled = generative.v.device, True
        lr, decay = config.learning_rate, config.weight_decay
        optimisers = [
            torch.optim.AdamW(model.parameters(), lr, weight_decay=decay, fused=True)
            for model in (generative, inference)
        ]
        self.optimiser_generative, self.optimiser_inference = optimisers
        models = nn.ModuleDict({"generative": generative, "inference": inference})
        generator = torch.Generator(device=self.device).manual_seed(seed)
        self.training = Training(models, optimisers, generator)

    # The steps of Algorithm 1: each is one pass over the instances and returns its mean loss.

    def e_step(self, *, warm_up: bool = False) -> float:
        """Intent inference: train l; `warm_up` on L_rec^E alone (Equation 13), as stage 1 does."""
        self.generative.eval()
        self.inference.train()
        with torch.no_grad(), autocast(self.device, self.config.precision):
            catalogue = self.generative.catalogue()

        def loss_of(batch: Instances) -> Tensor:
            if warm_up:
                return self.recommendation_loss_e(batch, self.log_q(batch))
            return self.e_loss(batch, catalogue)

        return self._pass(loss_of, self.optimiser_inference)

    def m_step(self) -> float:
        """Recommendation learning: train f, g, the anchors and the residual; l is fixed."""
        self.inference.eval()
        self.generative.train()
        return self._pass(self.m_loss, self.optimiser_generative)

    def joint_step(self) -> float:
        """Train both models at once, each with its own optimiser."""
        self.training.module.train()
        return self._pass(self.joint_loss, self.optimiser_generative, self.optimiser_inference)

    def _pass(
        self, loss_of: Callable[[Instances], Tensor], *optimisers: torch.optim.Optimizer
    ) -> float:
        n, config = len(self.instances), self.config
        order = torch.randperm(n, generator=self.training.generator, device=self.device)
        # summed where it is, so that no batch waits for the last one's value
        total = torch.zeros((), dtype=torch.float64, device=self.device)
        for rows in order.split(config.batch_size):
            batch = self.instances.take(rows, with_histories=config.n_negatives is not None)
            with autocast(self.device, config.precision):
                loss = loss_of(batch)
            for optimiser in optimisers:
                optimiser.zero_grad(set_to_none=True)
            loss.backward()
            for optimiser in optimisers:
                optimiser.step()
            total += loss.detach().double() * len(batch)
        return total.item() / n

    # Their losses, on a batch.

    def e_loss(self, batch: Instances, catalogue: ItemTables) -> Tensor:
        """L^E of a batch (Equation 14); the generative model is fixed, and with it `catalogue`."""
        log_q = self.log_q(batch)  # Equation 10
        recommendation = self.recommendation_loss_e(batch, log_q)  # Equations 12 and 13
        with torch.no_grad():
            context = self.context(batch)  # Equation 5
            log_item = self.log_item(context, batch, catalogue)  # Equation 6
        elbo_loss = losses.e_step_elbo_loss(log_q, context.log_prior, log_item)  # Equation 11
        return losses.e_step_loss(elbo_loss, recommendation, alpha_E=self.config.alpha_E)

    def m_loss(self, batch: Instances) -> Tensor:
        """L^M of a batch (Equation 9), with q fixed: the amortised one, or the exact posterior."""
        config = self.config
        context = self.context(batch)  # Equation 5
        log_item, recommendation = self.m_terms(context, batch)  # Equations 6 and 8
        if config.e_step == "exact":
            log_q = losses.exact_posterior(context.log_prior, log_item).detach()
        else:
            with torch.no_grad():
                log_q = self.log_q(batch)  # Equation 10
        return losses.m_step_loss(
            losses.infonce(log_q.exp(), log_item),  # Equation 7
            log_q, context.log_prior, recommendation, infonce_weight=config.infonce_weight,
            lambda_=config.lambda_, alpha_M=config.alpha_M,
        )  # fmt: skip

    def joint_loss(self, batch: Instances) -> Tensor:
        """Table 5's "Direct KL Alignment": both recommendation losses and lambda KL(q || p).

        No posterior is formed; the KL moves both models and draws their beliefs together.
        """
        c, context = self.config, self.context(batch)
        _, by_words = self.m_terms(context, batch)
        alignment = losses.kl(self.log_q(batch), context.log_prior).mean()
        by_history = self.recommendation_loss_e(batch, self.log_q(batch))
        return c.alpha_M * by_words + c.alpha_E * by_history + c.lambda_ * alignment

    # What the losses are made of.

    def context(self, batch: Instances) -> Context:
        """log p(m_j | S, x) (Equation 5) and what else does not depend on the item."""
        return self.generative.context(batch.S, batch.x, residual=self.residual_enabled)

    def log_q(self, batch: Instances) -> Tensor:
        """log q(m_j | S), [B, K] (Equation 10); the anchors belong to the M-step."""
        return self.inference(batch.S, self.generative.anchors.detach())

    def recommendation_loss_e(self, batch: Instances, log_q: Tensor) -> Tensor:
        """L_rec^E (Equation 13) of r = sum_j q(m_j | S) m_j (Equation 12)."""
        model = self.generative
        r = losses.intent_vector(log_q.exp(), model.anchors.detach())
        logits = self.inference.item_logits(r, model.v[1:])
        return losses.recommendation_loss_e(logits, batch.targets - 1)

    def log_item(self, context: Context, batch: Instances, catalogue: ItemTables) -> Tensor:
        """log p(v | m_j, S, x) of the observed items, [B, K]: g (Equation 6), normalised.

        The candidates are all items, or with `n_negatives` the observed item and a sample.
        """
        if self.config.n_negatives is None:
            return self.generative.log_item(context, batch.targets, catalogue)
        logits = self.generative.candidate_logits(context, self.candidates(batch))
        return torch.log_softmax(logits, dim=-1)[..., 0]

    def m_terms(self, context: Context, batch: Instances) -> tuple[Tensor, Tensor]:
        """`log_item` [B, K] and L_rec^M (Equation 8), from the same candidates.

        Equation 8 follows the form: the mixture's own likelihood, or the cross-entropy of the logit
        h. With a residual, the loss without it is added, weighted by `aux_intent_weight`: intents
        that must explain the choices alone, too, keep their meaning.
        """
        model, contexts = self.generative, [context]
        if context.residual_query is not None:
            contexts.append(replace(context, residual_query=None))
        if sampled := self.config.n_negatives is not None:
            candidates = self.candidates(batch)
            logits = [model.candidate_logits(one, candidates) for one in contexts]
            log_items = [torch.log_softmax(of_one, dim=-1)[..., 0] for of_one in logits]
        else:
            catalogue = model.catalogue()
            log_items = model.log_items(contexts, batch.targets, catalogue)
        recommendation = []
        for i, one in enumerate(contexts):
            if model.form == "mixture":
                loss = -losses.log_likelihood(one.log_prior, log_items[i]).mean()
            elif sampled:
                h = (one.log_prior.exp().unsqueeze(-1) * logits[i]).sum(1)
                loss = losses.recommendation_loss_m(h[:, 0], h[:, 1:])
            else:
                log_p = model.log_probability(one, catalogue).gather(1, batch.targets[:, None])
                loss = -log_p.mean()
            recommendation.append(loss)
        both, *alone = recommendation
        return log_items[0], both + self.config.aux_intent_weight * sum(alone)

    def candidates(self, batch: Instances) -> Tensor:
        """The observed items and `n_negatives` sampled others, [B, 1 + n]."""
        n_items, n = len(self.generative.v) - 1, self.config.n_negatives or 0
        return sample_candidates(batch, n_items, n, self.training.generator)

    # Around the steps: when a stage ends, what is measured after each epoch, what is saved.

    def stage(
        self, name: str, n_epochs: int, *, valid: Instances, progress: bool | None
    ) -> Iterator[Row]:
        """Yield a row of the curve for every epoch of a stage, to be filled with its losses."""
        self.residual_enabled = name in ("alternate", "joint")
        competing = ["alternate", "joint"] + ["generative"] * (self.generative.residual is None)
        for epoch in self.training.epochs(
            n_epochs, value="valid_ndcg10", patience=self.config.patience, stage=name,
            competing=competing, label=f"EM, stage {name}", progress=progress,
        ):  # fmt: skip
            started = time.perf_counter()
            row: Row = {"stage": name, "epoch": epoch, "loss_e": None, "loss_m": None}
            yield row
            row |= self.monitor()
            row["valid_ndcg10"] = self.valid_ndcg(valid, inference_alone=name == "q")
            row["seconds"] = time.perf_counter() - started
            self.training.curve.append(row)

    @torch.no_grad()
    def monitor(self) -> dict[str, float]:
        """ELBO, log-likelihood and gaps, means in nats over the first `N_MONITORED` instances."""
        self.training.module.eval()
        catalogue, parts = self.generative.catalogue(), []
        rows = torch.arange(min(N_MONITORED, len(self.instances)), device=self.device)
        for some in rows.split(self.config.batch_size):
            batch = self.instances.take(some)
            context, log_q = self.context(batch), self.log_q(batch)
            log_prior, log_item = context.log_prior, self.log_item(context, batch, catalogue)
            values = {
                "elbo": losses.elbo(log_q, log_prior, log_item),
                "log_likelihood": losses.log_likelihood(log_prior, log_item),
                "kl_q_prior": losses.kl(log_q, log_prior),
                "kl_q_exact": losses.kl(log_q, losses.exact_posterior(log_prior, log_item)),
            }
            parts.append(values)
        return {name: torch.cat([of[name] for of in parts]).mean().item() for name in parts[0]}

    @torch.no_grad()
    def valid_ndcg(self, valid: Instances, *, inference_alone: bool) -> float:
        """NDCG@10 by p(v | S, x), or by r W_e v of the inference model alone; history masked."""
        model, asked = self.generative, (valid.targets, valid.histories)
        if inference_alone:
            r = losses.intent_vector(self.log_q(valid).exp(), model.anchors)
            ranks = rank_by_factors(r, self.inference.W_e(model.v), *asked)
        else:
            catalogue = model.catalogue()

            def scores(rows: slice) -> Tensor:
                S, x = valid.S[rows], valid.x[rows]
                context = model.context(S, x, residual=self.residual_enabled)
                return model.log_probability(context, catalogue)

            ranks = ranks_in_chunks(scores, *asked, n_items=len(model.v) - 1)
        return float(ndcg(ranks, 10).mean())
