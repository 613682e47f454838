"""The fitted conversational recommender: what `fit_em` returns and the conversation asks."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from latentcrs_utils.behavior.pretraining import Backbone
from latentcrs_utils.config import EMConfig, preset
from latentcrs_utils.data.sequences import Dataset
from latentcrs_utils.em import losses
from latentcrs_utils.em.instances import instances_of, item_vectors, rows_of
from latentcrs_utils.em.networks import Context, GenerativeModel, InferenceModel, ItemTables
from latentcrs_utils.em.terms import ScoreTerms
from latentcrs_utils.em.trainer import EMTrainer, train_em
from latentcrs_utils.intents import Anchors
from latentcrs_utils.language.encoding import Language
from latentcrs_utils.support.artifacts import fingerprint, train_or_load
from latentcrs_utils.support.device import choose_device


def fit_em(
    data: Dataset, backbone: Backbone, anchors: Anchors, language: Language,
    config: EMConfig | None = None, *, residual: bool = True, seed: int = 0,
    progress: bool | None = None,
) -> "LatentCRS":  # fmt: skip
    """Fit `LatentCRS` (or `LatentCRS+`) to Equation 1 by Algorithm 1, or load it from the cache.

    It is fitted on the device that `choose_device` finds and comes back on the CPU, in the state
    with the best valid NDCG@10; the terms of `LatentCRS+` have the preset's weights. A fit that was
    killed goes on after its last epoch when it is called again, to the same result.

    Without a `config` it is the preset for `residual` (True: `LatentCRS+`); `seed` is of weights,
    dropout, order of the batches and negatives. ConfigError: form and candidates do not fit.
    """
    options = preset(data.name, data.n_users)
    config = config or (options.em_plus if residual else options.em)
    # the paper's model reads with one language model, `LatentCRS+` with all encoders
    language = language if config.residual else language.of_encoder()
    v, device = backbone.item_embeddings, choose_device()
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        generative = GenerativeModel(
            anchors.centroids, v, item_vectors(v, data), language.x.shape[1], form=config.form,
            residual=config.residual, text_hidden=config.text_hidden, dropout=config.dropout,
        )  # fmt: skip
        inference = InferenceModel(v.shape[1])
        models = nn.ModuleDict({"generative": generative, "inference": inference})

        def train(checkpoint: Path | None) -> tuple[dict[str, Tensor], dict[str, Any]]:
            models.to(device)
            instances, valid = (
                instances_of(data, backbone, language, rows_of(language, split)).to(device)
                for split in ("train", "valid")
            )
            trainer = EMTrainer(generative, inference, config, instances, seed=seed)
            curve = train_em(trainer, valid, progress=progress, checkpoint=checkpoint)
            return models.state_dict(), {"curve": curve}

        weights = fingerprint(*backbone.encoder.state_dict().values(), anchors.centroids)
        key = {"config": config, "seed": seed, "weights": weights}
        key |= {"data": data.fingerprint, "utterances": language.fingerprint}
        state, facts = train_or_load("em", key, train)
    models.cpu().load_state_dict(state)
    models.eval().requires_grad_(False)
    parts = data, backbone, anchors, language, config, generative, inference, facts["curve"]
    terms = ScoreTerms.of_data(data, backbone, options.terms_plus) if config.residual else None
    return LatentCRS(*parts, terms)


@dataclass(frozen=True)
class LatentCRS:
    """A fitted `LatentCRS` (the paper's) or `LatentCRS+` (with the residual).

    Its methods take S [B, d], embeddings of histories, and x [B, d_x], standardised embeddings of
    words, of which it reads the coordinates of its own `language`. `generative` is p(m_j | S, x)
    and p(v | m_j, S, x), `inference` q(m_j | S); `curve` has one row an epoch (see `train_em`).
    `terms`, if any, are added to what `scores` returns.
    """

    data: Dataset
    backbone: Backbone
    anchors: Anchors
    language: Language
    config: EMConfig
    generative: GenerativeModel
    inference: InferenceModel
    curve: list[dict[str, Any]]
    terms: ScoreTerms | None = None

    @property
    def name(self) -> str:
        """`LatentCRS+` or `LatentCRS`."""
        return "LatentCRS+" if self.config.residual else "LatentCRS"

    @cached_property
    def catalogue(self) -> ItemTables:
        """The items' side of the generative model, computed at first use: the model is fixed."""
        with torch.inference_mode(False), torch.no_grad():
            return self.generative.catalogue()

    @torch.no_grad()
    def context(self, S: Tensor, x: Tensor) -> Context:
        """What does not depend on the item: log p(m_j | S, x) and the residual's query."""
        return self.generative.context(S, x[:, : len(self.language.mean)])

    @torch.no_grad()
    def scores(self, S: Tensor, x: Tensor, texts: Sequence[str] | None = None) -> Tensor:
        """log p(v | S, x) of every item, [B, V + 1]; column 0 (padding) is minus infinity.

        With `terms` these are added; some of them read the B `texts`.
        """
        return self.final_scores(self.context(S, x), S, texts)

    @torch.no_grad()
    def final_scores(self, context: Context, S: Tensor, texts: Sequence[str] | None) -> Tensor:
        """As `scores`, from the context of S and x: log p(v | S, x) and the terms."""
        scores = self.generative.log_probability(context, self.catalogue)
        return scores if self.terms is None else self.terms(scores, S, texts)

    def intent_prior(self, S: Tensor, x: Tensor) -> Tensor:
        """p(m_j | S, x), [B, K] (Equation 5): what the user wants, given history and words."""
        return self.context(S, x).log_prior.exp()

    @torch.no_grad()
    def amortised_posterior(self, S: Tensor) -> Tensor:
        """q(m_j | S), [B, K] (Equation 10): what the history alone suggests."""
        return self.inference(S, self.generative.anchors).exp()

    @torch.no_grad()
    def exact_posterior(self, items: Tensor, S: Tensor, x: Tensor) -> Tensor:
        """p(m_j | v, S, x), [B, K]: which intents explain the items [B], by Bayes' rule."""
        context = self.context(S, x)
        log_item = self.generative.log_item(context, items, self.catalogue)
        return losses.exact_posterior(context.log_prior, log_item).exp()
