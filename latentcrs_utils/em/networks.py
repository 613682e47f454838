"""The networks of Section 4.2: f, g (generative), l (inference) and the residual of `LatentCRS+`.

Shapes: B instances, K intents, V items (ids 1..V, column 0 is padding), d the width of the
backbone, d_x the width of the language model, C candidate items.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import torch
from torch import Tensor, nn

Form = Literal["mixture", "logit", "product"]


@dataclass(frozen=True)
class Context:
    """What the generative model computes once per instance, before it looks at any item.

    Attributes:
        log_prior: log p(m_j | S, x), [B, K] (Equation 5).
        affinity: FFN([S; x]) (W_m m_j)^T, [B, K]: the logits of the prior, a factor of Equation 6.
        users: the instances' side of what is added to an item's score whatever the intent,
            [B, 2 d]; its product with the items' side (`Residual.items`) is that residual. None
            for the paper's `LatentCRS`.
    """

    log_prior: Tensor
    affinity: Tensor
    users: Tensor | None


def identity_map(width: int) -> nn.Linear:
    """A trainable matrix that starts as the identity.

    Anchors, S and v live in one space, where m_j . v is the backbone's score of item v for the
    typical user m_j: EM starts from there rather than from noise.
    """
    linear = nn.Linear(width, width, bias=False)
    nn.init.eye_(linear.weight)
    return linear


class TextProjection(nn.Module):
    """x [B, d_x] -> [B, width]: brings the language embedding to the intent space."""

    def __init__(self, text_width: int, hidden: int, width: int, dropout: float):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(text_width, hidden),
            nn.LayerNorm(hidden),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(hidden, width),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Project [B, d_x] to [B, width]."""
        return self.layers(x)


class IntentPrior(nn.Module):
    """f of Equation 5: softmax over intents of FFN([S; x]) (W_m m_j)^T."""

    def __init__(self, text_width: int, width: int, text_hidden: int, dropout: float):
        super().__init__()
        self.text = TextProjection(text_width, text_hidden, width, dropout)
        self.ffn = nn.Sequential(
            nn.Linear(2 * width, 2 * width),
            nn.LayerNorm(2 * width),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(2 * width, width),
        )
        self.W_m = identity_map(width)

    def forward(self, S: Tensor, x: Tensor, anchors: Tensor) -> Tensor:
        """Logits [B, K] of p(m_j | S, x); their softmax is f.

        Args:
            S: [B, d]; x: [B, d_x]; anchors: [K, d].
        """
        user = self.ffn(torch.cat([S, self.text(x)], dim=-1))
        return user @ self.W_m(anchors).T


class ItemAffinity(nn.Module):
    """The item-intent factor of g (Equation 6): (W_j m_j) (W_v v)^T, one table for all users."""

    def __init__(self, width: int):
        super().__init__()
        self.W_j = identity_map(width)
        self.W_v = identity_map(width)

    def forward(self, anchors: Tensor, items: Tensor) -> Tensor:
        """The table [K, V + 1] from anchors [K, d] and item vectors [V + 1, d]."""
        return self.W_j(anchors) @ self.W_v(items).T


class Residual(nn.Module):
    """What `LatentCRS+` adds to log p(v | m_j, S, x): a (S . v) + T([S; x]) (U c_v)^T.

    The first term lets the backbone speak for itself; the second scores an item's vector and
    attributes c_v against the words directly, without passing through the intents.

    Args:
        silent: start at zero, so that what the intents explain already is left to them.
    """

    def __init__(
        self,
        text_width: int,
        width: int,
        item_width: int,
        text_hidden: int,
        dropout: float,
        *,
        silent: bool = False,
    ):
        super().__init__()
        self.a = nn.Parameter(torch.tensor(0.0 if silent else 1.0))
        self.T = TextProjection(text_width + width, text_hidden, width, dropout)
        self.U = nn.Linear(item_width, width, bias=False)
        if silent:
            for parameter in self.T.layers[-1].parameters():
                nn.init.zeros_(parameter)

    def users(self, S: Tensor, x: Tensor) -> Tensor:
        """The instances' factor of the scores, [B, 2 d], from S [B, d] and x [B, d_x]."""
        return torch.cat([self.a * S, full_precision(self.T(torch.cat([S, x], dim=-1)))], dim=-1)

    def items(self, v: Tensor, c: Tensor) -> Tensor:
        """The items' factor of the scores, [..., 2 d], from v [..., d] and c [..., d_c]."""
        return torch.cat([v, full_precision(self.U(c))], dim=-1)

    def forward(self, S: Tensor, x: Tensor, v: Tensor, c: Tensor) -> Tensor:
        """Scores [B, V + 1] from S [B, d], x [B, d_x], v [V + 1, d] and c [V + 1, d_c]."""
        return self.users(S, x) @ self.items(v, c).T


class GenerativeModel(nn.Module):
    """p(m_j | S, x) and p(v | m_j, S, x): everything that the M-step trains.

    Args:
        anchors: intent anchors m, [K, d]; copied, and trained from there.
        v: item embeddings of the frozen backbone, [V + 1, d].
        c: item vectors with attributes for the residual, [V + 1, d_c].
        text_width: d_x.
        form: which reading of p(v | ...) (see `log_probability`).
        residual: True for `LatentCRS+`, False for the paper's `LatentCRS`.
        text_hidden: width of the hidden layer over the language embedding.
        dropout: dropout on the text layers and the FFN.
    """

    v: Tensor
    c: Tensor

    def __init__(
        self,
        anchors: Tensor,
        v: Tensor,
        c: Tensor,
        text_width: int,
        *,
        form: Form = "mixture",
        residual: bool = False,
        text_hidden: int = 256,
        dropout: float = 0.5,
    ):
        super().__init__()
        width = anchors.shape[1]
        self.form = form
        self.anchors = nn.Parameter(anchors.clone())
        self.register_buffer("v", v)
        self.register_buffer("c", c)
        self.f = IntentPrior(text_width, width, text_hidden, dropout)
        self.g = ItemAffinity(width)
        self.residual = (
            Residual(text_width, width, c.shape[1], text_hidden, dropout, silent=True)
            if residual
            else None
        )
        self.residual_enabled = residual

    def context(self, S: Tensor, x: Tensor) -> Context:
        """Everything about the instances that does not depend on the item.

        Args:
            S: [B, d]; x: [B, d_x].
        """
        affinity = full_precision(self.f(S, x, self.anchors))
        users = None
        if self.residual is not None and self.residual_enabled:
            users = self.residual.users(S, x)
        return Context(torch.log_softmax(affinity, dim=-1), affinity, users)

    def catalogue(self) -> Catalogue:
        """Everything about the items that does not depend on the instance.

        In an M-step it changes with every batch; while the model is fixed, one serves all.
        """
        vectors = None if self.residual is None else self.residual.items(self.v, self.c)
        return Catalogue(
            full_precision(self.g.W_j(self.anchors)), full_precision(self.g.W_v(self.v)), vectors
        )

    def residual_scores(self, context: Context) -> Tensor | None:
        """What the residual adds to every item's score, [B, V + 1]; None where it is silent."""
        vectors = self.catalogue().residual
        if context.users is None or vectors is None:
            return None
        return context.users @ vectors.T

    def item_table(self) -> Tensor:
        """(W_j m_j) (W_v v)^T for all intents and items, [K, V + 1]; padding is minus infinity."""
        table = self.g(self.anchors, self.v)
        padding = torch.zeros_like(table, dtype=torch.bool)
        padding[:, 0] = True
        return table.masked_fill(padding, -torch.inf)

    def log_item(
        self, context: Context, targets: Tensor, catalogue: Catalogue | None = None
    ) -> Tensor:
        """log p(v | m_j, S, x) of one item per instance, all items as candidates, [B, K].

        Forms `mixture` and `logit` only; g of the form `product` has a factor of its own for each
        user, so that all items for all intents would be [B, K, V]: there, `candidate_logits`.

        Args:
            context: of `context`.
            targets: item ids, [B].
            catalogue: of `catalogue`, where the caller has it already.
        """
        return self.log_items(context, targets, catalogue)[0]

    def log_items(
        self, context: Context, targets: Tensor, catalogue: Catalogue | None = None
    ) -> tuple[Tensor, Tensor]:
        """`log_item`, and what it would be without the residual (the same where it is silent)."""
        catalogue = catalogue or self.catalogue()
        # computed anew for these few: the gradient of a chosen column would fill a whole table
        own = full_precision(self.g.W_v(self.v[targets])) @ catalogue.intents.T
        own = full_precision(own)
        alone = own - catalogue.log_total
        if context.users is None or self.residual is None:
            return alone, alone
        vectors = self.residual.items(self.v[targets], self.c[targets])
        own = own + (context.users * vectors).sum(1, keepdim=True)
        return own - log_normaliser(context.users, catalogue), alone

    def candidate_logits(self, context: Context, candidates: Tensor) -> Tensor:
        """g(v, m_j, S, x) of sampled candidates, [B, K, C]; residual included.

        Nothing here is as large as the catalogue.

        Args:
            context: of `context`.
            candidates: item ids, [B, C].
        """
        chosen = full_precision(self.g.W_v(self.v[candidates]))
        logits = full_precision(chosen @ self.g.W_j(self.anchors).T).transpose(1, 2)
        if self.form == "product":
            logits = logits * context.affinity.unsqueeze(-1)
        if context.users is not None and self.residual is not None:
            vectors = self.residual.items(self.v[candidates], self.c[candidates])
            logits = logits + (vectors @ context.users.unsqueeze(-1)).transpose(1, 2)
        return logits

    def log_probability(self, context: Context, catalogue: Catalogue | None = None) -> Tensor:
        """log p(v | S, x) of every item, [B, V + 1]; column 0 (padding) is minus infinity.

        - `mixture` (Appendix E.1): log sum_j p(m_j | S, x) softmax_v(g), a mixture of softmaxes;
        - `logit` (Equation 8): log softmax_v of h = sum_j p(m_j | S, x) g(v, m_j);
        - `product` (Equations 6 and 8): the same h, where g has the factor of the user's affinity.

        Args:
            context: of `context`.
            catalogue: of `catalogue`, where the caller has it already.
        """
        catalogue = catalogue or self.catalogue()
        if self.form == "mixture":
            return _padded(log_mixture(context.log_prior, context.users, catalogue))
        weight = context.log_prior.exp()
        if self.form == "product":
            weight = weight * context.affinity
        # the sum over intents first: what is left is one product of width d
        h = full_precision((weight @ catalogue.intents) @ catalogue.items[1:].T)
        if context.users is not None and catalogue.residual is not None:
            h = h + full_precision(context.users @ catalogue.residual[1:].T)
        return _padded(torch.log_softmax(h, dim=-1))


def _padded(scores: Tensor) -> Tensor:
    """[B, V] with a column of minus infinity before it, for the padding."""
    return torch.cat([torch.full_like(scores[:, :1], -torch.inf), scores], dim=1)


class InferenceModel(nn.Module):
    """l of Equation 10, q(m_j | S), with the item matrix W_e of Equation 13.

    Args:
        width: d, of S, of the anchors and of the item vectors.
    """

    def __init__(self, width: int):
        super().__init__()
        self.W_q = identity_map(width)
        self.W_k = identity_map(width)
        self.W_e = identity_map(width)

    def forward(self, S: Tensor, anchors: Tensor) -> Tensor:
        """log q(m_j | S), [B, K], from S [B, d] and anchors [K, d]."""
        scale = anchors.shape[1] ** 0.5
        scores = full_precision(self.W_q(S) @ self.W_k(anchors).T)
        return torch.log_softmax(scores / scale, dim=-1)

    def item_logits(self, r: Tensor, v: Tensor) -> Tensor:
        """r W_e v for each of n item vectors, [B, n], from r [B, d] and v [n, d]."""
        return full_precision(r @ self.W_e(v).T)


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
