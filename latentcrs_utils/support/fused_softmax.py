"""The cross-entropy of a softmax over many candidates, without the matrix of all scores.

It takes the positions in chunks that fit the processor's cache, and derives the gradient while a
chunk's probabilities are at hand, so no [P, C] matrix is ever held, in either direction.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

# Logits held at once (4 bytes each): what a processor's cache takes, and what keeps a GPU busy.
_CELLS = {"cpu": 2**20, "cuda": 2**26}


def candidate_softmax(
    states: Tensor, candidates: Tensor, column: Tensor, own: Tensor | None = None, shift: float = 0
) -> Tensor:
    """Cross-entropy of each state's target among candidate vectors, mean over positions.

    -log exp(s·t) / (exp(s·t) + exp(shift) * sum over the other candidates c of exp(s·c))

    `column` [P] says which of the candidates [C, h] each state's target replaces; `own` [P, h] are
    the targets' vectors, None where the target *is* that candidate. `shift`, which needs `own`, is
    the log of how many items each other candidate counts for. Matrix products follow
    `torch.autocast`; sums and the loss are float32 at least.
    """
    return _CandidateSoftmax.apply(states, candidates, column, own, shift, torch.is_grad_enabled())


class _CandidateSoftmax(torch.autograd.Function):
    """`candidate_softmax`; the gradient of its logits is that of any softmax, p - [is target]."""

    @staticmethod
    def forward(
        ctx: Any, states: Tensor, candidates: Tensor, column: Tensor, own: Tensor | None,
        shift: float, with_gradient: bool,
    ) -> Tensor:  # fmt: skip
        P, on = len(states), states.device.type
        low = torch.get_autocast_dtype(on) if torch.is_autocast_enabled(on) else states.dtype
        s, c, t = states.to(low), candidates.to(low), None if own is None else own.to(low)
        transposed, n_rows = c.T.contiguous(), max(16, _CELLS[on] // len(c))
        losses = states.new_empty(P, dtype=torch.promote_types(low, torch.float32))
        cells = losses.new_empty(min(n_rows, P), len(c))
        by_state, by_candidate = (torch.zeros_like(x, dtype=losses.dtype) for x in (s, c))
        by_own = None if t is None else torch.zeros_like(t, dtype=losses.dtype)
        for start in range(0, P, n_rows):
            rows = slice(start, start + n_rows)
            at, p = column[rows, None], cells[: P - start]
            if s.dtype == p.dtype:
                torch.mm(s[rows], transposed, out=p)
            else:
                p.copy_(s[rows] @ transposed)
            if t is not None:
                p.scatter_(1, at, (s[rows] * t[rows]).sum(1, True, dtype=p.dtype) - shift)
            highest, of_targets = p.amax(1), p.gather(1, at)[:, 0]
            torch.softmax(p, 1, out=p)
            # the highest probability is 1 / Z, so this is log Z even where a target's underflows
            losses[rows] = highest - p.amax(1).log() - of_targets
            if not with_gradient:
                continue
            # the gradient of the logits, [b, C], goes on to their factors
            g = p.scatter_add_(1, at, p.new_full(at.shape, -1.0)).div_(P)
            if t is not None and by_own is not None:
                # these columns are the targets' and not the candidates'
                own_g = g.gather(1, at)
                g.scatter_(1, at, 0.0)
                by_own[rows], by_state[rows] = own_g * s[rows], own_g * t[rows]
            g = g.to(low)
            by_state[rows] += g @ c
            if g.dtype == by_candidate.dtype:
                torch.addmm(by_candidate, g.T, s[rows], out=by_candidate)
            else:
                by_candidate += g.T @ s[rows]
        ctx.save_for_backward(by_state, by_candidate, by_own)
        return losses.mean()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, outer: Tensor) -> tuple[Tensor | None, ...]:
        by_state, by_candidate, by_own = (
            None if gradient is None else gradient * outer for gradient in ctx.saved_tensors
        )
        return by_state, by_candidate, None, by_own, None, None
