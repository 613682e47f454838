"""The rivals without intents: words alone, and words beside behavior, scored directly.

Both are trained on the same instances as `LatentCRS`, with the softmax over all items, and stopped
by the same valid NDCG@10.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from latentcrs_utils.behavior.pretraining import Backbone
from latentcrs_utils.config import DirectConfig, preset
from latentcrs_utils.data.sequences import Dataset
from latentcrs_utils.em.instances import item_vectors
from latentcrs_utils.em.model import instances_of, rows_of
from latentcrs_utils.em.networks import Residual, TextProjection
from latentcrs_utils.language.encoding import Language
from latentcrs_utils.ranking import ndcg, rank_by_factors
from latentcrs_utils.support.artifacts import (
    Checkpoint,
    Training,
    epochs_since_best,
    fingerprint,
    train_or_load,
)
from latentcrs_utils.support.progress import track


class TextScorer(nn.Module):
    """T(x) (U c_v)^T: an item's vector and attributes against the words; the history is unread."""

    def __init__(
        self, text_width: int, width: int, item_width: int, text_hidden: int, dropout: float
    ):
        super().__init__()
        self.T = TextProjection(text_width, text_hidden, width, dropout)
        self.U = nn.Linear(item_width, width, bias=False)

    def users(self, S: Tensor, x: Tensor) -> Tensor:
        """T(x), [B, d]; S is accepted, so that all scorers are called alike."""
        return self.T(x)

    def items(self, v: Tensor, c: Tensor) -> Tensor:
        """U c_v, [V + 1, d]; v is accepted, so that all scorers are called alike."""
        return self.U(c)

    def forward(self, S: Tensor, x: Tensor, v: Tensor, c: Tensor) -> Tensor:
        """Scores [B, V + 1]; S and v are accepted, so that all scorers are called alike."""
        return self.users(S, x) @ self.items(v, c).T


@dataclass(frozen=True)
class DirectModel:
    """A fitted scorer without intents.

    Attributes:
        name: as in the tables.
        scorer: `TextScorer` or `Residual`, frozen.
        v, c: item embeddings [V + 1, d] and item vectors [V + 1, d_c].
        curve: one row an epoch: epoch, loss (nats), valid_ndcg10.
    """

    name: str
    scorer: TextScorer | Residual
    v: Tensor
    c: Tensor
    curve: list[dict[str, float]]

    @cached_property
    def items(self) -> Tensor:
        """The items' factor of the scores, [V + 1, width]; the same for all users."""
        with torch.no_grad():
            return self.scorer.items(self.v, self.c)

    @torch.no_grad()
    def scores(self, S: Tensor, x: Tensor) -> Tensor:
        """Scores [B, V + 1] from S [B, d] and x [B, d_x]; column 0 (padding) is minus infinity."""
        scores = self.scorer.users(S, x) @ self.items.T
        scores[:, 0] = -torch.inf
        return scores


def fit_text_alone(
    data: Dataset, backbone: Backbone, language: Language, **options: Any
) -> DirectModel:
    """Fit `text alone`: T(x) (U c_v)^T. Options as `fit_direct`."""
    return fit_direct("text alone", TextScorer, data, backbone, language, **options)


def fit_fusion(
    data: Dataset, backbone: Backbone, language: Language, **options: Any
) -> DirectModel:
    """Fit `fusion without intents`: a (S . v) + T([S; x]) (U c_v)^T. Options as `fit_direct`."""
    return fit_direct("fusion without intents", Residual, data, backbone, language, **options)


def fit_direct(
    name: str,
    scorer_class: type[TextScorer] | type[Residual],
    data: Dataset,
    backbone: Backbone,
    language: Language,
    *,
    config: DirectConfig | None = None,
    seed: int = 0,
    progress: bool | None = None,
    reuse: bool = True,
) -> DirectModel:
    """Fit a scorer of items by cross-entropy over the catalogue, or load the same fit.

    Args:
        name: of the system, part of the artifact's key.
        scorer_class: `TextScorer` or `Residual`.
        data, backbone, language: as for `fit_em`.
        config: hyper-parameters; default, the data set's preset.
        seed: of weights, dropout and batches.
        progress: show a progress bar; None asks the environment.
        reuse: load a fit with the same key when there is one.

    Returns:
        The scorer at its best valid NDCG@10.
    """
    config = config or preset(data.name, data.n_users).direct
    v = backbone.item_embeddings
    c = item_vectors(v, data)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        scorer = scorer_class(
            language.x.shape[1], v.shape[1], c.shape[1], config.text_hidden, config.dropout
        )
        parts = {
            "name": name,
            "config": config,
            "seed": seed,
            "data": data.fingerprint,
            "utterances": language.fingerprint,
            "weights": fingerprint(*backbone.encoder.state_dict().values()),
        }
        state, facts, _ = train_or_load(
            "direct",
            parts,
            lambda checkpoint: _train(
                scorer, data, backbone, language, v, c, config, seed, progress, checkpoint
            ),
            reuse=reuse,
        )
    scorer.load_state_dict(state)
    scorer.eval().requires_grad_(False)
    return DirectModel(name, scorer, v, c, facts["curve"])


def _train(
    scorer: TextScorer | Residual,
    data: Dataset,
    backbone: Backbone,
    language: Language,
    v: Tensor,
    c: Tensor,
    config: DirectConfig,
    seed: int,
    progress: bool | None,
    checkpoint: Checkpoint,
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    train, valid = (
        instances_of(data, backbone, language, rows_of(language, split))
        for split in ("train", "valid")
    )
    generator = torch.Generator().manual_seed(seed)
    optimiser = torch.optim.AdamW(
        scorer.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay
    )
    training = Training(scorer, [optimiser], generator)
    training.resume(checkpoint)
    curve = training.curve
    values = [row["valid_ndcg10"] for row in curve]
    epochs = range(len(curve) + 1, config.n_epochs + 1)
    for epoch in track(epochs, "Direct scorer", progress=progress):
        if values and epochs_since_best(values) >= config.patience:
            break
        scorer.train()
        total = 0.0
        for rows in torch.randperm(len(train), generator=generator).split(config.batch_size):
            scores = scorer(train.S[rows], train.x[rows], v, c)
            loss = F.cross_entropy(scores[:, 1:], train.targets[rows] - 1)
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            optimiser.step()
            total += loss.item() * len(rows)
        scorer.eval()
        with torch.no_grad():
            factors = scorer.users(valid.S, valid.x), scorer.items(v, c)
            ranks = rank_by_factors(*factors, valid.targets, valid.histories)
        values.append(float(ndcg(ranks, 10).mean()))
        curve.append({"epoch": epoch, "loss": total / len(train), "valid_ndcg10": values[-1]})
        if epochs_since_best(values) == 0:
            training.keep_best()
        training.save(checkpoint, after=f"epoch {epoch}")
    return training.best_state, {"curve": curve}
