"""Every loss of Equations 4 to 14 of the paper, one function each, on plain tensors.

Shapes: B instances, K intents, n negatives, d the width of the intent space. Distributions over
intents come as log-probabilities [B, K], which avoids log(0): log_q is log q(m_j | S), log_prior
is log p(m_j | S, x) and log_item is log p(v | m_j, S, x) of the observed item. Losses are scalars
in nats, the mean over the batch. All losses are *minimised*: where the paper writes a gain
(Equations 8 and 13), it is negated here.
"""

import torch
import torch.nn.functional as F
from torch import Tensor


def kl(log_q: Tensor, log_p: Tensor) -> Tensor:
    """Kullback-Leibler divergence KL(q || p) between distributions over intents, [B], in nats.

    Only q must be normalised; Equation 11 leaves p open, which adds a constant free of q.
    """
    return (log_q.exp() * (log_q - log_p)).sum(-1)


def elbo(log_q: Tensor, log_prior: Tensor, log_item: Tensor) -> Tensor:
    """Evidence lower bound of one observed item, Equation 4, [B], in nats.

    It is at most `log_likelihood`, and equal to it when q is `exact_posterior`.
    """
    return (log_q.exp() * (log_item + log_prior - log_q)).sum(-1)


def log_likelihood(log_prior: Tensor, log_item: Tensor) -> Tensor:
    """log p(v | S, x) = log sum_j p(m_j | S, x) p(v | m_j, S, x), Equation 2, [B], in nats."""
    return torch.logsumexp(log_prior + log_item, dim=-1)


def exact_posterior(log_prior: Tensor, log_item: Tensor) -> Tensor:
    """log p(m_j | v, S, x) by Bayes' rule, in closed form (K terms), [B, K]."""
    return torch.log_softmax(log_prior + log_item, dim=-1)


def infonce(q: Tensor, log_item: Tensor) -> Tensor:
    """InfoNCE averaged over intents with weights q, Equation 7.

    -sum_j q(m_j | S) log (exp g(v, m_j) / sum over the candidates c of exp g(c, m_j))

    `q` is q(m_j | S), [B, K]; `log_item`, [B, K], is the log-softmax of g over the observed item
    and its sampled negatives, or over all items, where it is log p(v | m_j, S, x). Returns nats.
    """
    return -(q * log_item).sum(-1).mean()


def recommendation_loss_m(h_positive: Tensor, h_negative: Tensor) -> Tensor:
    """Auxiliary recommendation loss of the M-step, Equation 8, with h read as a logit.

    The paper takes the logarithm of h, which may be negative. As a logit it gives the cross-entropy
    of the observed item, h(v, S, x) [B], among its negatives [B, n].
    """
    logits = torch.cat([h_positive.unsqueeze(-1), h_negative], dim=-1)
    return -torch.log_softmax(logits, dim=-1)[:, 0].mean()


def m_step_loss(
    item_loss: Tensor, log_q: Tensor, log_prior: Tensor, recommendation_loss: Tensor, *,
    infonce_weight: float, lambda_: float, alpha_M: float,
) -> Tensor:  # fmt: skip
    """L^M, the loss of the recommendation learning step, Equation 9.

    `item_loss` is `infonce`, weighted 1 in the paper and 0 on ML-1M in its code; `log_q` comes from
    the inference model, which is fixed; `recommendation_loss` is L_rec^M.
    """
    return (
        infonce_weight * item_loss
        + lambda_ * kl(log_q, log_prior).mean()
        + alpha_M * recommendation_loss
    )


def e_step_elbo_loss(log_q: Tensor, log_prior: Tensor, log_item: Tensor) -> Tensor:
    """KL(q(m | S) || p(m | S, x) p(v | m, S, x)), Equation 11: the negative ELBO."""
    return kl(log_q, log_prior + log_item).mean()


def intent_vector(q: Tensor, anchors: Tensor) -> Tensor:
    """r = sum_j q(m_j | S) m_j, Equation 12: [B, d] from q [B, K] and the anchors m [K, d]."""
    return q @ anchors


def recommendation_loss_e(logits: Tensor, targets: Tensor) -> Tensor:
    """Auxiliary recommendation loss of the E-step, Equation 13.

    `logits` are r W_e v of the candidates, [B, n_candidates]; `targets` the observed one's column.
    """
    return F.cross_entropy(logits, targets)


def e_step_loss(elbo_loss: Tensor, recommendation_loss: Tensor, *, alpha_E: float) -> Tensor:
    """L^E = L_ELBO^E + alpha^E L_rec^E, the loss of the intent inference step, Equation 14."""
    return elbo_loss + alpha_E * recommendation_loss
