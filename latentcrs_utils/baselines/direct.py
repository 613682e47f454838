"""The baselines without intents: words alone, and words with behavior, scored directly.

Both are trained on the same instances as `LatentCRS`, with the softmax over all items, and stopped
by the same valid NDCG@10.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from latentcrs_utils.baselines.factorisation_machine import descend
from latentcrs_utils.behavior.pretraining import Backbone
from latentcrs_utils.config import DirectConfig, preset
from latentcrs_utils.data.sequences import Dataset
from latentcrs_utils.em.instances import instances_of, item_vectors, rows_of
from latentcrs_utils.em.networks import Residual, text_projection
from latentcrs_utils.em.terms import ScoreTerms
from latentcrs_utils.language.encoding import Language
from latentcrs_utils.ranking import ndcg, rank_by_factors
from latentcrs_utils.support.artifacts import Training, fingerprint, train_or_load


class TextScorer(nn.Module):
    """T(x) (U c_v)^T: an item's vector and attributes against the words; the history is unread.
    Methods as in `Residual`, which also read S [B, d] and v [V + 1, d].
    """

    def __init__(
        self, text_width: int, width: int, item_width: int, text_hidden: int, dropout: float
    ):
        super().__init__()
        self.T = text_projection(text_width, text_hidden, width, dropout)
        self.U = nn.Linear(item_width, width, bias=False)

    def query(self, S: Tensor, x: Tensor) -> Tensor:
        """T(x), [B, d], from x [B, d_x]."""
        return self.T(x)

    def items(self, v: Tensor, c: Tensor) -> Tensor:
        """U c_v, [V + 1, d], from c [V + 1, d_c]."""
        return self.U(c)


@dataclass(frozen=True)
class DirectModel:
    """A fitted scorer without intents, `text alone` or `fusion without intents`.

    `items` is their factor of the scores, [V + 1, width], the same for all users; `curve` has one
    row an epoch: epoch, loss (nats), valid_ndcg10. `terms` are as those of `LatentCRS`.
    """

    name: str
    scorer: TextScorer | Residual
    items: Tensor
    curve: list[dict[str, float]]
    terms: ScoreTerms | None = None

    @torch.no_grad()
    def scores(self, S: Tensor, x: Tensor, texts: Sequence[str] | None = None) -> Tensor:
        """Scores [B, V + 1] from S [B, d] and x [B, d_x]; column 0 (padding) is minus infinity."""
        scores = self.scorer.query(S, x) @ self.items.T
        scores[:, 0] = -torch.inf
        return scores if self.terms is None else self.terms(scores, S, texts)


def fit_direct(
    name: str, scorer_class: type[TextScorer] | type[Residual],
    data: Dataset, backbone: Backbone, language: Language, *,
    config: DirectConfig | None = None, seed: int = 0, progress: bool | None = None,
) -> DirectModel:  # fmt: skip
    """Fit a scorer of items by cross-entropy over the catalogue, to its best valid NDCG@10.

    A fit that is on disk is loaded; `name` is part of its key. All else is as for `fit_em`.
    """
    options = preset(data.name, data.n_users)
    config = config or options.direct
    weights = options.terms_fusion if scorer_class is Residual else options.terms_text
    v = backbone.item_embeddings
    c = item_vectors(v, data)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        widths = language.x.shape[1], v.shape[1], c.shape[1]
        scorer = scorer_class(*widths, config.text_hidden, config.dropout)

        def train(checkpoint: Path | None) -> tuple[dict[str, Tensor], dict[str, Any]]:
            splits = (rows_of(language, split) for split in ("train", "valid"))
            instances, valid = (instances_of(data, backbone, language, rows) for rows in splits)
            optimiser = torch.optim.AdamW(
                scorer.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay
            )
            generator = torch.Generator().manual_seed(seed)
            training = Training(scorer, [optimiser], generator, checkpoint)
            training.resume()
            for epoch in training.epochs(
                config.n_epochs, value="valid_ndcg10", patience=config.patience,
                label="Direct scorer", progress=progress,
            ):  # fmt: skip
                scorer.train()
                total = 0.0
                order = torch.randperm(len(instances), generator=generator)
                for rows in order.split(config.batch_size):
                    query = scorer.query(instances.S[rows], instances.x[rows])
                    logits = (query @ scorer.items(v, c).T)[:, 1:]
                    loss = F.cross_entropy(logits, instances.targets[rows] - 1)
                    descend(optimiser, loss)
                    total += loss.item() * len(rows)
                scorer.eval()
                with torch.no_grad():
                    factors = scorer.query(valid.S, valid.x), scorer.items(v, c)
                    ranks = rank_by_factors(*factors, valid.targets, valid.histories)
                row = {"epoch": epoch, "loss": total / len(instances)}
                training.curve.append(row | {"valid_ndcg10": float(ndcg(ranks, 10).mean())})
            return training.best_state, {"curve": training.curve}

        parts = {"name": name, "config": config, "seed": seed}
        parts |= {"weights": fingerprint(*backbone.encoder.state_dict().values())}
        parts |= {"data": data.fingerprint, "utterances": language.fingerprint}
        state, facts = train_or_load("direct", parts, train)
    scorer.load_state_dict(state)
    scorer.eval().requires_grad_(False)
    terms = ScoreTerms.of_data(data, backbone, weights)
    return DirectModel(name, scorer, scorer.items(v, c), facts["curve"], terms)


fit_text_alone = partial(fit_direct, "text alone", TextScorer)
"""Fit `text alone`: T(x) (U c_v)^T."""
fit_fusion = partial(fit_direct, "fusion without intents", Residual)
"""Fit `fusion without intents`: a (S . v) + T([S; x]) (U c_v)^T."""
