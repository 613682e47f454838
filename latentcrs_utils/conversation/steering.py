"""Steering: what a push on an intent ("more of this", "not this") says of all intents.

A model of clicks and Bayes' rule. Of n intents that are shown, a person of intent m means the one
nearest to m, a(m). A careful person presses "more of this" on a(m), and "not this" on any of the
others; with the careless share c a person presses any of the n:

    P(more of j | m) = c / n + (1 - c) [a(m) = j]
    P(not j | m)     = c / n + (1 - c) [a(m) != j] / (n - 1)

After pushes the belief is p(m | S, x, pushes), proportional to p(m | S, x) times the product of
these. The share is estimated from clicks of people whose film is known (`careless_share`).
"""

from collections.abc import Iterable, Sequence
from itertools import combinations

import torch
from torch import Tensor

from latentcrs_utils.conversation.turn import Push

_GRID = 1000  # values of the careless share that are tried


def nearest_shown(anchors: Tensor, shown: Sequence[int]) -> Tensor:
    """The place in `shown` of what each intent is most like (cosine), int [K]; anchors [K, d]."""
    return _likeness(anchors, shown).argmax(1)


def _likeness(anchors: Tensor, shown: Sequence[int]) -> Tensor:
    """Cosine of each intent with those shown, [K, n]; more than any for a shown one with itself."""
    unit = torch.nn.functional.normalize(anchors, dim=1)
    likeness = unit @ unit[list(shown)].T
    likeness[list(shown), range(len(shown))] = 2.0
    return likeness


def meant(push: Push, anchors: Tensor) -> Tensor:
    """P(push | m) of a careful person, float [K], from anchors [K, d]."""
    hits = (nearest_shown(anchors, push.shown) == push.shown.index(push.intent)).float()
    return hits if push.more else (1 - hits) / (len(push.shown) - 1)


def log_likelihood(pushes: Iterable[Push], anchors: Tensor, careless: float) -> Tensor:
    """log P(pushes | m), [K]: what is added to log p(m | S, x), up to a constant."""
    total = torch.zeros(len(anchors), dtype=torch.float32)
    for push in pushes:
        likelihood = careless / len(push.shown) + (1 - careless) * meant(push, anchors)
        total += likelihood.clamp_min(torch.finfo(torch.float32).tiny).log()
    return total


def careless_share(pushes: Sequence[Push], posteriors: Tensor, anchors: Tensor) -> float:
    """The careless share c in [0, 1] under which N pushes are most probable (maximum likelihood).

    `posteriors` [N, K] are p(m | v, S, x) of the film v that each person had in mind: a push has
    the probability c / n + (1 - c) sum_m p(m | v, S, x) P(push | m, careful).
    """
    careful = torch.stack([meant(push, anchors) for push in pushes]).mul(posteriors).sum(1)
    at_random = torch.tensor([1 / len(push.shown) for push in pushes])
    shares = torch.linspace(0, 1, _GRID + 1)[:, None]
    fit = (shares * at_random + (1 - shares) * careful).clamp_min(1e-12).log().sum(1)
    return float(shares[fit.argmax(), 0])


def best_question(
    intents: Tensor, anchors: Tensor, careless: float, *, n_leaders: int = 8
) -> tuple[tuple[int, int], float]:
    """The pair to ask about ("more like a, or more like b?"), and its expected gain in nats.

    The gain is the mutual information of intent and answer under p(m) = `intents` [K] and the model
    of clicks; pairs of the `n_leaders` most probable intents are compared.
    """
    leaders = intents.topk(min(n_leaders, len(intents))).indices.tolist()
    likeness = _likeness(anchors, leaders)
    # how much of the belief answers with the first of each pair, [n, n], and with the second
    first = torch.einsum("m,mab->ab", intents, (likeness[:, :, None] >= likeness[:, None]).float())
    answers = careless / 2 + (1 - careless) * torch.stack([first, 1 - first])
    # the entropy of an intent's own answer is the same for all pairs and intents
    noise = torch.special.entr(torch.tensor([careless / 2, 1 - careless / 2])).sum()
    gain = torch.special.entr(answers).sum(0) - noise
    a, b = max(combinations(range(len(leaders)), 2), key=lambda pair: float(gain[pair]))
    return (leaders[a], leaders[b]), float(gain[a, b])
