"""The exercises of notebook 05: posterior, bound, the two steps, and what a fixed q can teach.

B instances, K intents, V films, H histories. Marked against the package's own functions.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from course.exercises.marking import mark
from latentcrs_utils.em import losses

_PRIOR = torch.tensor([[0.5, 0.2, 0.3], [0.1, 0.6, 0.3]]).log()
_ITEM = torch.tensor([[0.25, 0.10, 0.30], [0.05, 0.15, 0.50]]).log()
_Q = torch.tensor([[0.2, 0.6, 0.2], [0.3, 0.3, 0.4]]).log()


def exact_posterior(answer: Callable[..., Any]) -> None:
    """Mark Bayes' rule: ``(log_prior, log_item) -> log p(m | v, S, x)``, all [B, K]."""
    cases = [(_PRIOR, _ITEM), (_Q[:1], _ITEM[1:])]
    advice = "Add the two logarithms; then each row of probabilities has to sum to one."
    mark("Exercise 1", answer, losses.exact_posterior, cases, advice=advice)


def elbo(answer: Callable[..., Any]) -> None:
    """Mark Equation 4: ``(log_q, log_prior, log_item) -> [B]``, all arguments [B, K]."""
    cases = [(_Q, _PRIOR, _ITEM), (losses.exact_posterior(_PRIOR, _ITEM), _PRIOR, _ITEM)]
    advice = "Under q, the mean of log p(v | m) + log p(m | S, x) - log q, one number an instance."
    mark("Exercise 2", answer, losses.elbo, cases, advice=advice)


def _of_networks(log_q: Tensor, *log_p: Tensor) -> tuple[Tensor, ...]:
    """Copies that can learn, each labelled with its name."""
    found = tuple(part.clone().requires_grad_() for part in (log_q, *log_p))
    for name, part in zip(("log_q", "log_prior", "log_item"), found, strict=True):
        vars(part)["name_here"] = name
    return found


def _learns(loss: Any) -> dict[str, Any]:
    """A loss, and what its gradient reaches."""
    reached, nodes = set(), [getattr(loss, "grad_fn", None)]
    while nodes:
        if (node := nodes.pop()) is not None:
            reached.add(getattr(getattr(node, "variable", None), "name_here", None))
            nodes += [above for above, _ in node.next_functions]
    value = loss.detach() if isinstance(loss, Tensor) else loss
    return {"loss": value, "what learns": reached - {None}}


def m_step(answer: Callable[..., Any]) -> None:
    """Mark Equation 9 with q fixed, all items as candidates: the arguments of `reference`."""

    def reference(log_q: Tensor, log_prior: Tensor, log_item: Tensor, recommendation: Tensor,
                  lambda_: float, alpha_M: float) -> Any:  # fmt: skip
        item_loss, weights = losses.infonce(log_q.exp(), log_item), (1.0, lambda_, alpha_M)
        names = dict(zip(("infonce_weight", "lambda_", "alpha_M"), weights, strict=True))
        loss = losses.m_step_loss(item_loss, log_q, log_prior, recommendation, **names)
        return {"loss": loss.detach(), "what learns": {"log_prior", "log_item"}}

    parts = _of_networks(_Q, _PRIOR, _ITEM)
    cases = [(*parts, torch.tensor(1.5), 1.0, 0.0), (*parts, torch.tensor(1.5), 0.1, 5.0)]
    advice = "Three terms: InfoNCE weighed by q, lambda KL(q || p), alpha L_rec; only p learns."
    mark("Exercise 3", answer, reference, cases, advice=advice, read=_learns)


def e_step(answer: Callable[..., Any]) -> None:
    """Mark Equation 14 with the generative model fixed: the arguments of `reference`."""

    def reference(log_q: Tensor, log_prior: Tensor, log_item: Tensor, recommendation: Tensor,
                  alpha_E: float) -> Any:  # fmt: skip
        divergence = losses.e_step_elbo_loss(log_q, log_prior, log_item)
        loss = losses.e_step_loss(divergence, recommendation, alpha_E=alpha_E)
        return {"loss": loss.detach(), "what learns": {"log_q"}}

    parts = _of_networks(_Q, _PRIOR, _ITEM)
    cases = [(*parts, torch.tensor(1.5), 0.0), (*parts, torch.tensor(1.5), 5.0)]
    advice = "KL of q to prior times evidence, plus alpha L_rec; only q learns."
    mark("Exercise 4", answer, reference, cases, advice=advice, read=_learns)


def best_table(answer: Callable[..., Any]) -> None:
    """Mark the p(v | m) that maximises the ELBO under a fixed q: ``(q, choices) -> [K, V]``."""

    def reference(q: Tensor, choices: Tensor) -> Tensor:
        counts = q.T @ choices
        return counts / counts.sum(dim=1, keepdim=True)

    q = torch.tensor([[0.8, 0.1, 0.1], [0.2, 0.5, 0.3]])
    choices = torch.tensor([[6.0, 0.0, 1.0, 3.0], [1.0, 20.0, 3.0, 1.0]])
    cases = [(q, choices), (q[:, :2] / q[:, :2].sum(1, keepdim=True), choices[:, :3])]
    advice = "Each choice counts once, shared out by q; each intent's row sums to one."
    mark("Exercise 5", answer, reference, cases, advice=advice)
