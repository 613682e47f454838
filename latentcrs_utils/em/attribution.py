"""What a score came from: its exact Shapley values over history, words, residual and pushes.

log p(v | S, x) is not a sum of a part for S and a part for x: in a mixture of softmaxes the two
interact. The values of Shapley (1953) are the only ones with efficiency, symmetry, a null player
that gets nothing, and additivity; Lundberg and Lee (2017) use them to explain a prediction.
"""

from collections.abc import Sequence
from dataclasses import replace
from math import factorial

import torch
from torch import Tensor

from latentcrs_utils.em.model import LatentCRS

HISTORY, WORDS, RESIDUAL, PUSHES = "history", "words", "residual", "pushes"


def players(model: LatentCRS, pushed: bool = False) -> tuple[str, ...]:
    """Who takes part in a score: "history", "words", of `LatentCRS+` the "residual"; "pushes"."""
    residual = (RESIDUAL,) * (model.generative.residual is not None)
    return (HISTORY, WORDS, *residual, *(PUSHES,) * pushed)


def without(who: Sequence[str], player: str) -> int:
    """The row of `coalition_scores` in which all players but one take part."""
    return 2 ** len(who) - 1 - 2 ** who.index(player)


@torch.no_grad()
def coalition_scores(
    model: LatentCRS, S: Tensor, x: Tensor, log_pushes: Tensor | None = None, text: str = ""
) -> Tensor:
    """The score of every item in every coalition of the n `players`, [2^n, V + 1].

    That is log p(v | ...) and the model's terms, which read the `text` with the words.

    S [1, d] and x [1, d_x] are of one instance; more are a ValueError. Without the history S = 0,
    what the backbone gives a stranger; without the words x = 0, the mean of the standardised
    training texts. Pushes add `log_pushes`, log P(pushes | m) [K], to log p(m | S, x); without them
    p(m | S, x) stays. Player i takes part in row c where bit i of c is set, so row 0 knows nothing
    and the last row everything. Column 0 (padding) is minus infinity.
    """
    if len(S) != 1 or len(x) != 1:
        raise ValueError(f"Coalitions are those of one instance, not of {len(S)} and {len(x)}.")
    # of the type of S: the default type changes while another thread loads a language model
    history, words = S.new_tensor([[[0.0], [1.0], [0.0], [1.0]], [[0.0], [0.0], [1.0], [1.0]]])
    S = S * history
    context = model.context(S, x * words)
    contexts = [context]
    if model.generative.residual is not None:
        contexts.insert(0, replace(context, residual_query=None))
    if log_pushes is not None:
        pushed = (context.log_prior + log_pushes).log_softmax(-1)
        contexts += [replace(one, log_prior=pushed) for one in contexts]
    return torch.cat([model.final_scores(one, S, ["", "", text, text]) for one in contexts])


def shapley_values(worths: Tensor) -> Tensor:
    """Fair shares of n players in the worth of all of them together (Shapley, 1953).

    A player's share is what it adds to the coalition of those before it, averaged over all orders:
    phi_i = sum over C without i of |C|! (n - |C| - 1)! / n! (worth(C and i) - worth(C)).

    Player i belongs to coalition c of `worths` [2^n, ...] where bit i of c is set; any other number
    of coalitions is a ValueError. The shares, [n, ...], sum to worths[-1] - worths[0].
    """
    n = len(worths).bit_length() - 1
    if n < 1 or len(worths) != 2**n:
        raise ValueError(f"n players have 2^n coalitions; {len(worths)} is no such number.")
    shares = []
    for player in range(n):
        without = [c for c in range(2**n) if not c >> player & 1]
        gains = worths[[c | 1 << player for c in without]] - worths[without]
        orders = [factorial(c.bit_count()) * factorial(n - c.bit_count() - 1) for c in without]
        weights = torch.tensor(orders, dtype=worths.dtype) / factorial(n)
        shares.append(torch.tensordot(weights, gains, dims=1))
    return torch.stack(shares)


def contributions(
    model: LatentCRS, S: Tensor, x: Tensor, items: Sequence[int], log_pushes: Tensor | None = None
) -> Tensor:
    """What each of `players` adds to the scores of m items, in nats, [n, m] float64.

    They add up to log p(v | S, x) - log p(v | nothing), the last row of `coalition_scores` less the
    first; who lowers a score gets a negative share. What two do only together, they halve.
    """
    return shapley_values(coalition_scores(model, S, x, log_pushes)[:, list(items)].double())
