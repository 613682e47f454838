"""The exercises of notebook 05: beliefs over intents, the bound, and what each step may know.

Every argument is a float tensor: K intents, V films, H histories, N evenings.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from course.exercises.marking import mark
from latentcrs_utils.em import losses

_PRIOR = torch.tensor([0.5, 0.2, 0.3])
_FIRST = torch.tensor([0.25, 0.10, 0.30])
_SECOND = torch.tensor([0.05, 0.15, 0.50])
_WIDE = torch.tensor([0.1, 0.4, 0.2, 0.3])
_RARE = torch.tensor([0.001, 0.020, 0.004, 0.500])


def _posterior(prior: Tensor, *evidence: Tensor) -> Tensor:
    """Bayes' rule for one user, films chosen independently of each other given the intent: [K]."""
    log_items = torch.stack([film.log() for film in evidence]).sum(dim=0)
    return losses.exact_posterior(prior.log()[None], log_items[None])[0].exp()


def after_two_films(answer: Callable[..., Any]) -> None:
    """Mark p(m | v1, v2, S, x) from the prior [K] and two films' p(v | m) [K].

    Args:
        answer: ``(prior, first, second) -> [K]``.
    """
    cases = [(_PRIOR, _FIRST, _SECOND), (_WIDE, _RARE, _WIDE.flip(0))]
    advice = "The prior counts once, however many films were chosen, and beliefs sum to one."
    mark("Exercise 1", answer, _posterior, cases, advice=advice)


def softmax_input(answer: Callable[..., Any]) -> None:
    """Mark the numbers whose softmax over intents is the exact posterior.

    Any constant may be added to all of them, so it is their softmax that is compared.

    Args:
        answer: ``(prior, evidence) -> [K]``.
    """

    def belief(prior: Tensor, evidence: Tensor) -> Any:
        numbers = answer(prior, evidence)
        empty = numbers is None or numbers is ...
        return numbers if empty else torch.softmax(torch.as_tensor(numbers), dim=-1)

    cases = [(_PRIOR, _FIRST), (_WIDE, _RARE)]
    advice = "What is compared is the softmax of your numbers; it exponentiates all of them."
    mark("Exercise 2", belief, _posterior, cases, advice=advice)


def gap(answer: Callable[..., Any]) -> None:
    """Mark how far the ELBO (Equation 4) lies below log p(v | S, x), in nats.

    Args:
        answer: ``(q, prior, evidence) -> a number``.
    """

    def reference(q: Tensor, prior: Tensor, evidence: Tensor) -> float:
        exact = losses.exact_posterior(prior.log()[None], evidence.log()[None])
        return losses.kl(q.log()[None], exact).item()

    cases = [
        (_PRIOR.flip(0), _PRIOR, _FIRST),
        (_WIDE.flip(0), _WIDE, _RARE),
        (_posterior(_PRIOR, _SECOND), _PRIOR, _SECOND),
    ]
    advice = "It is a KL divergence: the mean is under q, and the other side is normalised."
    mark("Exercise 3", answer, reference, cases, advice=advice)


def best_table(answer: Callable[..., Any]) -> None:
    """Mark the table p(v | m) that maximises the first term of the ELBO under a fixed q(m | S).

    Args:
        answer: ``(q [H, K], choices [H, V]) -> [K, V]``.
    """

    def reference(q: Tensor, choices: Tensor) -> Tensor:
        counts = q.T @ choices
        return counts / counts.sum(dim=1, keepdim=True)

    q = torch.tensor([[0.8, 0.1, 0.1], [0.2, 0.5, 0.3]])
    choices = torch.tensor([[6.0, 0.0, 1.0, 3.0], [1.0, 20.0, 3.0, 1.0]])
    cases = [(q, choices), (q[:, :2] / q[:, :2].sum(1, keepdim=True), choices[:, :3])]
    advice = "Each choice counts once, shared out by q; each intent's row sums to one."
    mark("Exercise 4", answer, reference, cases, advice=advice)


def best_q(answer: Callable[..., Any]) -> None:
    """Mark the one q [K] with the smallest mean KL(q || posterior) over weighted evenings.

    Args:
        answer: ``(posteriors [N, K], times [N]) -> [K]``.
    """

    def reference(posteriors: Tensor, times: Tensor) -> Tensor:
        return torch.softmax((times / times.sum()) @ posteriors.log(), dim=0)

    evenings = torch.tensor([[0.5, 0.2, 0.3], [0.05, 0.90, 0.05], [0.1, 0.1, 0.8]])
    cases = [(evenings, torch.tensor([6.0, 3.0, 1.0])), (evenings[:2], torch.tensor([1.0, 1.0]))]
    advice = "Weigh each evening by its share of all evenings, average logarithms, normalise."
    mark("Exercise 5", answer, reference, cases, advice=advice)
