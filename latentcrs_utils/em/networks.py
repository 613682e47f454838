"""The networks of Section 4.2: f, g (generative), l (inference) and the residual of `LatentCRS+`.

Shapes: B instances, K intents, V items (ids 1..V, column 0 is padding), d the width of the
backbone, d_x the width of the language model, C candidate items.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor, nn

from latentcrs_utils.config import Form


class IntentPrior(nn.Module):
    """f of Equation 5: softmax over intents of FFN([S; x]) (W_m m_j)^T."""

    def __init__(self, text_width: int, width: int, text_hidden: int, dropout: float):
        super().__init__()
        self.text = text_projection(text_width, text_hidden, width, dropout)
        self.ffn = two_layers(2 * width, 2 * width, width, dropout)
        self.W_m = identity_map(width)

    def forward(self, S: Tensor, x: Tensor, anchors: Tensor) -> Tensor:
        """Logits of p(m_j | S, x), [B, K], from S [B, d], x [B, d_x] and anchors [K, d]."""
        return self.ffn(torch.cat([S, self.text(x)], dim=-1)) @ self.W_m(anchors).T


class ItemAffinity(nn.Module):
    """The item-intent factor of g (Equation 6): (W_j m_j) (W_v v)^T, one table for all users."""

    def __init__(self, width: int):
        super().__init__()
        self.W_j, self.W_v = identity_map(width), identity_map(width)

    def forward(self, anchors: Tensor, items: Tensor) -> Tensor:
        """The table [K, V + 1] from anchors [K, d] and item vectors [V + 1, d]."""
        return self.W_j(anchors) @ self.W_v(items).T


class InferenceModel(nn.Module):
    """l of Equation 10, q(m_j | S), with the item matrix W_e of Equation 13."""

    def __init__(self, width: int):
        super().__init__()
        self.W_q, self.W_k, self.W_e = (identity_map(width) for _ in range(3))

    def forward(self, S: Tensor, anchors: Tensor) -> Tensor:
        """log q(m_j | S), [B, K], from S [B, d] and anchors [K, d]."""
        scale = anchors.shape[1] ** 0.5
        scores = full_precision(self.W_q(S) @ self.W_k(anchors).T)
        return torch.log_softmax(scores / scale, dim=-1)

    def item_logits(self, r: Tensor, v: Tensor) -> Tensor:
        """r W_e v for each of n item vectors (Equation 13), [B, n], from r [B, d] and v [n, d]."""
        return full_precision(r @ self.W_e(v).T)


class Residual(nn.Module):
    """What `LatentCRS+` adds to log p(v | m_j, S, x): a (S . v) + T([S; x]) (U c_v)^T.

    The first term scores an item as the backbone does; the second its vector and attributes c_v by
    the words, without the intents. With `zero_init` all scores start at zero.
    """

    def __init__(
        self, text_width: int, width: int, item_width: int, text_hidden: int, dropout: float, *,
        zero_init: bool = False,
    ):  # fmt: skip
        super().__init__()
        self.a = nn.Parameter(torch.tensor(0.0 if zero_init else 1.0))
        self.T = text_projection(text_width + width, text_hidden, width, dropout)
        self.U = nn.Linear(item_width, width, bias=False)
        if zero_init:
            for parameter in list(self.T.parameters())[-2:]:  # those of the last layer
                nn.init.zeros_(parameter)

    def query(self, S: Tensor, x: Tensor) -> Tensor:
        """The instances' factor of the scores, [B, 2 d], from S [B, d] and x [B, d_x]."""
        return torch.cat([self.a * S, full_precision(self.T(torch.cat([S, x], dim=-1)))], dim=-1)

    def items(self, v: Tensor, c: Tensor) -> Tensor:
        """The items' factor of the scores, [..., 2 d], from v [..., d] and c [..., d_c]."""
        return torch.cat([v, full_precision(self.U(c))], dim=-1)


class GenerativeModel(nn.Module):
    """p(m_j | S, x) and p(v | m_j, S, x): everything that the M-step trains.

    The intent `anchors` m [K, d] are copied, and trained from there; v [V + 1, d] are the item
    embeddings of the frozen backbone. The `residual` of `LatentCRS+` reads item vectors with
    attributes, c [V + 1, d_c]. `form` is the reading of p(v | ...), see `log_probability`;
    `text_width` is d_x, `text_hidden` the width of the layer over the language embedding, and
    `dropout` that on the text layers and the FFN.
    """

    v: Tensor
    c: Tensor

    def __init__(
        self, anchors: Tensor, v: Tensor, c: Tensor, text_width: int, *, form: Form = "mixture",
        residual: bool = False, text_hidden: int = 256, dropout: float = 0.5,
    ):  # fmt: skip
        super().__init__()
        width = anchors.shape[1]
        self.form = form
        self.anchors = nn.Parameter(anchors.clone())
        self.register_buffer("v", v)
        self.register_buffer("c", c)
        self.f = IntentPrior(text_width, width, text_hidden, dropout)
        self.g = ItemAffinity(width)
        self.residual: Residual | None = None
        if residual:
            sizes = text_width, width, c.shape[1], text_hidden
            self.residual = Residual(*sizes, dropout, zero_init=True)

    def context(self, S: Tensor, x: Tensor, *, residual: bool = True) -> Context:
        """log p(m_j | S, x) of S [B, d] and x [B, d_x], and what else does not depend on an item.

        `residual=False` leaves the residual out, as the first stages of Algorithm 1 do.
        """
        affinity = full_precision(self.f(S, x, self.anchors))
        query = self.residual.query(S, x) if residual and self.residual is not None else None
        return Context(torch.log_softmax(affinity, dim=-1), affinity, query)

    def catalogue(self) -> ItemTables:
        """What does not depend on the instance; it changes with every step of the optimiser."""
        return ItemTables(
            intents=full_precision(self.g.W_j(self.anchors)),
            items=full_precision(self.g.W_v(self.v)),
            residual=None if self.residual is None else self.residual.items(self.v, self.c),
        )

    def item_table(self) -> Tensor:
        """(W_j m_j) (W_v v)^T for all intents and items, [K, V + 1]; padding is minus infinity."""
        return _padded(self.g(self.anchors, self.v)[:, 1:])

    def log_item(self, context: Context, targets: Tensor, catalogue: ItemTables) -> Tensor:
        """log p(v | m_j, S, x) of one item [B] per instance, all items as candidates, [B, K].

        The form `product` has a factor of each user in g, so there it takes memory for [B, K, V].
        """
        if self.form == "product":
            everything = torch.arange(1, len(self.v), device=targets.device)
            logits = self.candidate_logits(context, everything.expand(len(targets), -1))
            return logits.log_softmax(-1)[torch.arange(len(targets)), :, targets - 1]
        return self.log_items([context], targets, catalogue)[0]

    def log_items(
        self, contexts: Sequence[Context], targets: Tensor, catalogue: ItemTables
    ) -> list[Tensor]:
        """`log_item`, but of `product`, in several contexts: with the residual and without."""
        # computed anew for these few: the gradient of a chosen column would fill a whole table
        g = full_precision(full_precision(self.g.W_v(self.v[targets])) @ catalogue.intents.T)
        log_items = []
        for query in (context.residual_query for context in contexts):
            if query is None or self.residual is None:
                log_items.append(g - catalogue.log_total)
            else:
                vectors = self.residual.items(self.v[targets], self.c[targets])
                scores = g + (query * vectors).sum(1, keepdim=True)
                normaliser = catalogue.log_normaliser(catalogue.residual_scores(query))
                log_items.append(scores - normaliser)
        return log_items

    def candidate_logits(self, context: Context, candidates: Tensor) -> Tensor:
        """g(v, m_j, S, x) of sampled candidates [B, C], residual included, [B, K, C]."""
        chosen = full_precision(self.g.W_v(self.v[candidates]))
        logits = full_precision(chosen @ self.g.W_j(self.anchors).T).transpose(1, 2)
        if self.form == "product":
            logits = logits * context.affinity.unsqueeze(-1)
        if context.residual_query is not None and self.residual is not None:
            vectors = self.residual.items(self.v[candidates], self.c[candidates])
            logits = logits + (vectors @ context.residual_query.unsqueeze(-1)).transpose(1, 2)
        return logits

    def log_probability(self, context: Context, catalogue: ItemTables) -> Tensor:
        """log p(v | S, x) of every item, [B, V + 1]; column 0 (padding) is minus infinity.

        - `mixture` (Appendix E.1): log sum_j p(m_j | S, x) softmax_v(g), a mixture of softmaxes;
        - `logit` (Equation 8): log softmax_v of h = sum_j p(m_j | S, x) g(v, m_j);
        - `product` (Equations 6 and 8): the same h, where g has the factor of the user's affinity.
        """
        query = context.residual_query
        if self.form == "mixture":
            return _padded(catalogue.log_mixture(context.log_prior, query))
        weight = context.log_prior.exp()
        if self.form == "product":
            weight = weight * context.affinity
        # the sum over intents first: what is left is one product of width d
        h = full_precision((weight @ catalogue.intents) @ catalogue.items[1:].T)
        if query is not None:
            h = h + catalogue.residual_scores(query)
        return _padded(torch.log_softmax(h, dim=-1))


@dataclass(frozen=True)
class Context:
    """What the generative model computes once per instance, before it looks at any item.

    `log_prior` is log p(m_j | S, x), [B, K] (Equation 5); its logits `affinity` [B, K], which are
    FFN([S; x]) (W_m m_j)^T, are a factor of Equation 6. `residual_query` [B, 2 d] is the instances'
    factor of the residual (`Residual.query`); None leaves the residual out of every score.
    """

    log_prior: Tensor
    affinity: Tensor
    residual_query: Tensor | None


@dataclass(frozen=True)
class ItemTables:
    """What the generative model computes once for all instances (`GenerativeModel.catalogue`).

    The product of `intents`, W_j m_j [K, d], and `items`, W_v v [V + 1, d], is g(v, m_j). The
    `residual` [V + 1, 2 d] is the items' factor of the residual (`Residual.items`), or None.
    """

    intents: Tensor
    items: Tensor
    residual: Tensor | None

    @cached_property
    def weights(self) -> tuple[Tensor, Tensor]:
        """exp(g(v, m_j) - peak_j) of the items 1..V, [K, V], and the peaks [K, 1]."""
        return exp_minus_peak(full_precision(self.intents @ self.items[1:].T))

    @cached_property
    def log_total(self) -> Tensor:
        """log sum_v exp(g(v, m_j)), [K]: the normalisers without a residual."""
        weights, peak = self.weights
        return weights.sum(1).log() + peak[:, 0]

    def residual_scores(self, query: Tensor) -> Tensor:
        """What the residual adds to the scores of the items 1..V, [B, V], from query [B, 2 d]."""
        assert self.residual is not None
        return full_precision(query @ self.residual[1:].T)

    def log_normaliser(self, residual: Tensor) -> Tensor:
        """log sum_v exp(g(v, m_j) + residual_bv), [B, K]; overwrites `residual` [B, V]."""
        weights, peak = exp_minus_peak(residual)
        of_intents, intent_peak = self.weights
        return _log(full_precision(weights @ of_intents.T)) + intent_peak.T + peak

    def log_mixture(self, log_prior: Tensor, query: Tensor | None) -> Tensor:
        """log sum_j p_j softmax_v(g(v, m_j) + residual_bv) of the items 1..V, [B, V]."""
        of_intents, intent_peak = self.weights
        residual, log_sum = None, self.log_total
        if query is not None:
            residual = self.residual_scores(query)
            log_sum = self.log_normaliser(residual.clone())
        weight = log_prior - log_sum + intent_peak.T
        weight_peak = weight.detach().amax(1, keepdim=True)
        mixture = full_precision((weight - weight_peak).exp() @ of_intents)
        scores = _log(mixture) + weight_peak
        return scores if residual is None else scores + residual


def text_projection(text_width: int, hidden: int, width: int, dropout: float) -> nn.Module:
    """Brings language embeddings [B, d_x] to the intent space, [B, width]."""
    # named as in the weights that are saved
    return nn.Sequential(OrderedDict(layers=two_layers(text_width, hidden, width, dropout)))


def two_layers(width: int, hidden: int, out: int, dropout: float) -> nn.Sequential:
    """A feed-forward network with LayerNorm, ReLU and dropout on its hidden layer."""
    first, last = nn.Linear(width, hidden), nn.Linear(hidden, out)
    return nn.Sequential(first, nn.LayerNorm(hidden), nn.ReLU(), nn.Dropout(dropout), last)


def identity_map(width: int) -> nn.Linear:
    """A trainable matrix that starts as the identity, not as noise.

    Anchors, S and v live in one space: m_j . v is the backbone's score of v for the typical user.
    """
    linear = nn.Linear(width, width, bias=False)
    nn.init.eye_(linear.weight)
    return linear


def exp_minus_peak(scores: Tensor) -> tuple[Tensor, Tensor]:
    """exp(scores - peak), at most 1, and each row's peak, held constant for the gradient.

    It overwrites the scores: the largest tensor there is, and nobody reads them again.
    """
    peak = scores.detach().amax(1, keepdim=True)
    return scores.sub_(peak).exp_(), peak


def full_precision(values: Tensor) -> Tensor:
    """What autocast left in half precision as float32: sums, exponentials and losses stay there."""
    return values.float() if values.dtype in (torch.bfloat16, torch.float16) else values


def _log(sums: Tensor) -> Tensor:
    """Logarithm of sums of exponentials, of which some may have underflowed."""
    return sums.clamp_min(torch.finfo(sums.dtype).tiny).log()


def _padded(scores: Tensor) -> Tensor:
    """[B, V] with a column of minus infinity before it, for the padding."""
    return torch.cat([torch.full_like(scores[:, :1], -torch.inf), scores], dim=1)
