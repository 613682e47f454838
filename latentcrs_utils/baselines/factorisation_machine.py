"""A factorisation machine over user, item and beliefs, the recommender of CRM and of the floors.

Rendle (2010), as CRM (Sun and Zhang 2018) and its successors use it: s(v) = b_v + u . v +
sum_a b_a (a . v). The terms of user and attributes among themselves are the same for all items, so
no ranking needs them. It learns from training actions alone: among `n_negatives` items drawn for
the whole batch the item taken is to have the largest score (softmax; with one of them it is the
BPR of Rendle et al. 2009). None to three of its attributes are known then: never to tell none
halves the recall for people of whom nothing is known (.10 for .21 in the first 20), and with one
negative a pair, as in the public codes, the attributes separate almost every pair alone.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from latentcrs_utils.baselines.attributes import attributes_of
from latentcrs_utils.config import Checked
from latentcrs_utils.data.sequences import Dataset
from latentcrs_utils.ranking import rank_by_factors, recall
from latentcrs_utils.support.artifacts import Training, train_or_load

MOST_KNOWN = 3  # attributes of the item taken that a training pair tells
N_VALID = 20  # the list whose recall on the validation items ends the training


@dataclass(frozen=True)
class FMConfig(Checked):
    """Sizes and training of the factorisation machine; ``weight_decay`` is that of AdamW."""

    width: int = 64
    n_negatives: int = 256
    learning_rate: float = 5e-3
    weight_decay: float = 0.3
    batch_size: int = 1024
    n_epochs: int = 20
    patience: int = 4


class FactorisationMachine(nn.Module):
    """Vectors of users [U + 1, d], the last for strangers, items [V + 1, d], attributes [A, d]."""

    def __init__(self, n_users: int, n_items: int, n_attributes: int, width: int):
        super().__init__()
        self.users = nn.Parameter(0.1 * torch.randn(n_users + 1, width))
        self.items = nn.Parameter(0.1 * torch.randn(n_items + 1, width))
        self.attributes = nn.Parameter(0.1 * torch.randn(n_attributes, width))
        self.bias = nn.Parameter(torch.zeros(n_items + 1))

    def query(self, users: Tensor, beliefs: Tensor) -> Tensor:
        """u + sum_a b_a a, [N, d], from users [N] (-1: a stranger) and beliefs [N, A]."""
        return self.users[users] + beliefs @ self.attributes

    def scores(self, users: Tensor, beliefs: Tensor) -> Tensor:
        """Scores of all items [N, V + 1]; column 0 (padding) is minus infinity."""
        scores = self.query(users, beliefs) @ self.items.T + self.bias
        return scores.index_fill(1, torch.tensor([0]), -torch.inf)


def fit_factors(
    data: Dataset, *, config: FMConfig | None = None, seed: int = 0
) -> tuple[FactorisationMachine, list[dict[str, Any]]]:
    """Fit, or load, the machine on the training actions; its curve has a row an epoch.

    The columns are epoch, loss (nats), accuracy (of the pairs in order) and valid_recall20
    (validation items, all attributes unknown), by which the best epoch is kept.
    """
    config, attributes = config or FMConfig(), attributes_of(data)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = FactorisationMachine(data.n_users, data.n_items, len(attributes), config.width)

        def train(checkpoint: Path | None) -> tuple[dict[str, Tensor], dict[str, Any]]:
            optimiser = torch.optim.AdamW(
                model.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay
            )
            generator = torch.Generator().manual_seed(seed)
            training = Training(model, [optimiser], generator, checkpoint)
            training.resume()
            seen, has = data.histories("train"), attributes.has
            users, items = torch.from_numpy(np.stack([seen.rows(), seen.flat]))
            for epoch in training.epochs(
                config.n_epochs, value="valid_recall20", patience=config.patience,
                label="Factorisation machine",
            ):  # fmt: skip
                loss, right = 0.0, 0.0
                order = torch.randperm(len(items), generator=generator)
                for rows in order.split(config.batch_size):
                    others = torch.randint(1, len(has), (config.n_negatives,), generator=generator)
                    beliefs = told(has[items[rows]], generator)
                    gap = _gaps(model, model.query(users[rows], beliefs), items[rows], others)
                    cost = F.softplus((-gap).logsumexp(1)).mean()
                    descend(optimiser, cost)
                    loss += cost.item() * len(rows)
                    right += (gap > 0).double().mean(1).sum().item()
                row = {"epoch": epoch, "loss": loss / len(items), "accuracy": right / len(items)}
                training.curve.append(row | {"valid_recall20": _valid_recall(model, data)})
            return training.best_state, {"curve": training.curve}

        parts = {"config": config, "seed": seed, "data": data.fingerprint}
        parts |= {"attributes": [str(name) for name in attributes.names]}
        state, facts = train_or_load("factorisation_machine", parts, train)
    model.eval().requires_grad_(False).load_state_dict(state)
    model.users[-1] = model.users[:-1].mean(0)
    return model, facts["curve"]


def descend(optimiser: torch.optim.Optimizer, loss: Tensor, clip: float | None = None) -> None:
    """One step down the gradient of a loss, each value of which is cut to +-`clip`."""
    optimiser.zero_grad(set_to_none=True)
    loss.backward()
    if clip is not None:
        nn.utils.clip_grad_value_(optimiser.param_groups[0]["params"], clip)
    optimiser.step()


def told(has: Tensor, generator: torch.Generator) -> Tensor:
    """None to `MOST_KNOWN` attributes of each item, at random, as beliefs [N, A] of 0 and 1."""
    order = torch.rand(has.shape, generator=generator).masked_fill(~has, 2.0).argsort(1).argsort(1)
    n_told = torch.randint(MOST_KNOWN + 1, (len(has), 1), generator=generator)
    return (has & (order < n_told)).float()


def _gaps(model: FactorisationMachine, query: Tensor, items: Tensor, others: Tensor) -> Tensor:
    """By how much each item [N] beats the others [M], [N, M]; infinitely where it is the same."""
    own = (query * model.items[items]).sum(1) + model.bias[items]
    gaps = own[:, None] - query @ model.items[others].T - model.bias[others]
    return gaps.masked_fill(items[:, None] == others, torch.inf)


@torch.no_grad()
def _valid_recall(model: FactorisationMachine, data: Dataset) -> float:
    users = F.pad(model.users[:-1], (0, 1), value=1.0)
    items = torch.cat([model.items, model.bias[:, None]], 1)
    ranks = rank_by_factors(users, items, data.targets("valid"), data.histories("valid"))
    return float(recall(ranks, N_VALID).mean())
