"""The items' side of the generative model, and the sums over all items and all intents.

exp(g(v, m_j) + residual_bv) is a product of two factors, one of intent and item, one of instance
and item.  So sums over V items for B instances and K intents are matrix products of [B, V] and
[K, V], and nothing of the size B x K x V is ever held.
"""

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor


def full_precision(values: Tensor) -> Tensor:
    """What autocast left in half precision as float32: sums, exponentials and losses stay there."""
    return values.float() if values.dtype in (torch.bfloat16, torch.float16) else values


@dataclass(frozen=True)
class Catalogue:
    """What the generative model computes once for all instances (`GenerativeModel.catalogue`).

    Attributes:
        intents: W_j m_j, [K, d].
        items: W_v v, [V + 1, d]; their product with `intents` is g(v, m_j).
        residual: the items' side of the residual, [V + 1, 2 d]; None for the paper's `LatentCRS`.
    """

    intents: Tensor
    items: Tensor
    residual: Tensor | None

    @cached_property
    def weights(self) -> tuple[Tensor, Tensor]:
        """exp(g(v, m_j) - peak_j) of the items 1..V, [K, V], and the peaks [K, 1]."""
        return exp_of_product(self.intents, self.items[1:])

    @cached_property
    def log_total(self) -> Tensor:
        """log sum_v exp(g(v, m_j)), [K]: the normalisers where there is no residual."""
        weights, peak = self.weights
        return weights.sum(1).log() + peak[:, 0]


def exp_of_product(left: Tensor, right: Tensor) -> tuple[Tensor, Tensor]:
    """exp(left right^T - peak), at most 1, and each row's peak, held constant for the gradient.

    Args:
        left: [N, w]; right: [M, w].

    Returns:
        [N, M] and [N, 1].
    """
    product = full_precision(left @ right.T)
    peak = product.detach().amax(1, keepdim=True)
    # in place: neither step needs its input again, and the table is the largest tensor there is
    return product.sub_(peak).exp_(), peak


def log_normaliser(users: Tensor, catalogue: Catalogue) -> Tensor:
    """log sum_v exp(g(v, m_j) + residual_bv) for every instance and intent, one matrix product.

    Args:
        users: the instances' side of the residual, [B, 2 d].
        catalogue: with a residual.

    Returns:
        [B, K].
    """
    if catalogue.residual is None:
        raise ValueError("This catalogue has no residual.")
    return _log_normaliser(*exp_of_product(users, catalogue.residual[1:]), catalogue)


def _residual(users: Tensor, catalogue: Catalogue) -> Tensor:
    if catalogue.residual is None:
        raise ValueError("This catalogue has no residual.")
    return full_precision(users @ catalogue.residual[1:].T)


def _log_normaliser(weights: Tensor, peak: Tensor, catalogue: Catalogue) -> Tensor:
    of_intents, intent_peak = catalogue.weights
    product = full_precision(weights @ of_intents.T)
    tiny = torch.finfo(product.dtype).tiny
    return product.clamp_min(tiny).log() + intent_peak.T + peak


def log_mixture(log_prior: Tensor, users: Tensor | None, catalogue: Catalogue) -> Tensor:
    """log sum_j p_j softmax_v(g(v, m_j) + residual_bv) of the items 1..V.

    Args:
        log_prior: [B, K].
        users: the instances' side of the residual, [B, 2 d], or None.
        catalogue: of the same model.

    Returns:
        [B, V].
    """
    of_intents, intent_peak = catalogue.weights
    residual = None if users is None else _residual(users, catalogue)
    if residual is None:
        log_sum = catalogue.log_total
    else:
        peak = residual.detach().amax(1, keepdim=True)
        log_sum = _log_normaliser((residual - peak).exp(), peak, catalogue)
    weight = log_prior - log_sum + intent_peak.T
    weight_peak = weight.detach().amax(1, keepdim=True)
    mixture = full_precision((weight - weight_peak).exp() @ of_intents)
    scores = mixture.clamp_min(torch.finfo(mixture.dtype).tiny).log() + weight_peak
    return scores if residual is None else scores + residual
