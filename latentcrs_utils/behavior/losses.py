"""What a backbone is trained on: the next item, against all items, some of them, or one.

The two softmax losses share one function that goes through the positions in chunks small enough
for the processor's cache, and derives the gradient while a chunk's probabilities are at hand. So no
[P, V] matrix is ever held, neither on the way forth nor back.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from latentcrs_utils.behavior.windows import trim
from latentcrs_utils.support.processes import SINGLE, Processes

if TYPE_CHECKING:
    from latentcrs_utils.behavior.sasrec import SASRec

# Logits held at once (4 bytes each): what a processor's cache takes, and what keeps a GPU busy.
_CELLS = {"cpu": 2**20, "cuda": 2**26}


def next_item_loss(
    encoder: SASRec,
    inputs: Tensor,
    targets: Tensor,
    kind: str,
    generator: torch.Generator,
    *,
    n_negatives: int = 1024,
    processes: Processes = SINGLE,
) -> Tensor:
    """The recommendation loss of a batch.

    Args:
        encoder: the network, in training mode.
        inputs: [B, L] left-padded items.
        targets: [B, L] next items.
        kind: "ce" (full softmax), "sampled" (softmax over the target and `n_negatives` items that
            the batch shares) or "bce" (one sampled negative a position).
        generator: source of the negatives.
        n_negatives: of the sampled softmax; V - 1 or more make it the full one.
        processes: all are given the whole batch; each does its share of the rows.

    Returns:
        Scalar loss; of several processes a share, the sum of which is the mean over all positions.
    """
    short = trim(inputs)
    following, V = targets[:, -short.shape[1] :], encoder.n_items
    drawn = torch.zeros(0)
    if kind == "bce":
        # The last target belongs to the user too, so it must not be drawn as a negative.
        drawn = sample_negatives(torch.cat([short, following[:, -1:]], 1), V, generator)[:, :-1]
    elif kind == "sampled":
        drawn = draw_sample(V, n_negatives, generator).to(inputs.device)
    own, following = short[processes.shard], following[processes.shard]
    vectors, real = encoder.item_embedding.weight, own > 0
    if not len(own):
        return vectors.sum() * 0.0
    states, wanted = encoder(own)[real], following[real]
    if kind == "ce":
        loss = next_item_ce(states, wanted, vectors)
    elif kind == "sampled":
        loss = next_item_sampled(states, wanted, drawn, vectors)
    else:
        loss = next_item_bce(states, wanted, drawn[processes.shard][real], vectors)
    return loss if processes.count == 1 else loss * (real.sum() / (short > 0).sum())


def next_item_ce(states: Tensor, targets: Tensor, item_embeddings: Tensor) -> Tensor:
    """Full-softmax cross-entropy of the next item, mean over positions.

    Args:
        states: [P, hidden] at P real positions.
        targets: [P] next items 1..V.
        item_embeddings: [V+1, hidden]; the padding row takes no part in the softmax.

    Returns:
        Scalar loss.
    """
    return candidate_softmax(states, item_embeddings[1:], targets - 1)


def next_item_sampled(
    states: Tensor, targets: Tensor, sample: Tensor, item_embeddings: Tensor
) -> Tensor:
    """Sampled softmax: the target against n items that all positions share, mean over positions.

    The sample has one item to spare, so that every position has exactly n negatives, uniform
    among the V - 1 items that are not its target: where the target is in the sample, it is no
    negative; elsewhere the last item of the sample is left out. Each negative stands for
    (V - 1) / n items (the "log q correction"), so the sum that the softmax divides by is right on
    average, and with n = V - 1 the loss *is* the full softmax.

    Args:
        states: [P, hidden] at P real positions.
        targets: [P] next items 1..V.
        sample: [n+1] different items 1..V, uniform, without regard to the targets.
        item_embeddings: [V+1, hidden].

    Returns:
        Scalar loss.
    """
    V, n = len(item_embeddings) - 1, len(sample) - 1
    place = torch.full((V + 1,), n, device=sample.device)
    place[sample] = torch.arange(n + 1, device=sample.device)
    own = nn.functional.embedding(targets, item_embeddings)
    drawn = nn.functional.embedding(sample, item_embeddings)
    return candidate_softmax(states, drawn, place[targets], own, math.log((V - 1) / n))


def draw_sample(n_items: int, n_negatives: int, generator: torch.Generator) -> Tensor:
    """Draw the [n+1] different items that `next_item_sampled` needs; at most all V items."""
    return torch.randperm(n_items, generator=generator)[: n_negatives + 1] + 1


def next_item_bce(
    states: Tensor, targets: Tensor, negatives: Tensor, item_embeddings: Tensor
) -> Tensor:
    """Binary cross-entropy with one sampled negative a position (SASRec and ICLRec as published).

    Args:
        states: [P, hidden] at P real positions.
        targets: [P] next items.
        negatives: [P] items that the user does not have.
        item_embeddings: [V+1, hidden].

    Returns:
        Scalar loss, -log sigmoid(s·v) - log(1 - sigmoid(s·n)), mean over positions.
    """
    # as an embedding: the gradient of plain indexing is summed in no fixed order by threads
    positive = (states * nn.functional.embedding(targets, item_embeddings)).sum(1)
    negative = (states * nn.functional.embedding(negatives, item_embeddings)).sum(1)
    return (nn.functional.softplus(-positive) + nn.functional.softplus(negative)).mean()


def sample_negatives(inputs: Tensor, n_items: int, generator: torch.Generator) -> Tensor:
    """Draw one item per position that is not in the row.

    Args:
        inputs: [B, L] item ids of each row, 0 = padding; a row must not hold all items.
        n_items: V.
        generator: source of randomness, on the CPU.

    Returns:
        [B, L] item ids 1..V.
    """
    taken = torch.zeros(len(inputs), n_items + 1, dtype=torch.bool)
    taken.scatter_(1, inputs.cpu(), True)
    taken[:, 0] = True
    drawn = torch.randint(1, n_items + 1, inputs.shape, generator=generator)
    while (clash := taken.gather(1, drawn)).any():
        again = torch.randint(1, n_items + 1, (int(clash.sum()),), generator=generator)
        drawn[clash] = again
    return drawn.to(inputs.device)


def candidate_softmax(
    states: Tensor,
    candidates: Tensor,
    column: Tensor,
    own: Tensor | None = None,
    shift: float = 0.0,
) -> Tensor:
    """Cross-entropy of each state's target among candidate vectors, mean over positions.

    -log exp(s·t) / (exp(s·t) + exp(shift) * sum over the other candidates c of exp(s·c))

    Matrix products follow `torch.autocast`; sums and the loss are float32 at least.

    Args:
        states: [P, h].
        candidates: [C, h].
        column: [P], the candidate in whose place the target stands.
        own: [P, h] vectors of the targets; None where the target *is* that candidate.
        shift: log of how many items each other candidate stands for; needs `own`.

    Returns:
        Scalar loss.
    """
    return _CandidateSoftmax.apply(states, candidates, column, own, shift, torch.is_grad_enabled())


class _CandidateSoftmax(torch.autograd.Function):
    """`candidate_softmax`; the gradient of its logits is that of any softmax, p - [is target]."""

    @staticmethod
    def forward(
        ctx: Any,
        states: Tensor,
        candidates: Tensor,
        column: Tensor,
        own: Tensor | None,
        shift: float,
        with_gradient: bool,
    ) -> Tensor:
        P, on = len(states), states.device.type
        low = torch.get_autocast_dtype(on) if torch.is_autocast_enabled(on) else states.dtype
        s, c, t = states.to(low), candidates.to(low), None if own is None else own.to(low)
        transposed = c.T.contiguous()
        n_rows = max(16, _CELLS[on] // len(c))
        losses = states.new_empty(P, dtype=torch.promote_types(low, torch.float32))
        cells = losses.new_empty(min(n_rows, P), len(c))
        gradients = [
            torch.zeros_like(x, dtype=losses.dtype) if with_gradient and x is not None else None
            for x in (s, c, t)
        ]
        for start in range(0, P, n_rows):
            rows = slice(start, start + n_rows)
            at, p = column[rows, None], cells[: P - start]
            _product(s[rows], transposed, p)
            if t is not None:
                p.scatter_(1, at, (s[rows] * t[rows]).sum(1, True, dtype=p.dtype) - shift)
            losses[rows] = _softmax_in_place(p, at)
            if with_gradient:
                p.scatter_add_(1, at, p.new_full(at.shape, -1.0))
                _add_gradients(p.div_(P), at, rows, (s, c, t), gradients)
        ctx.save_for_backward(*gradients)
        return losses.mean()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, outer: Tensor) -> tuple[Tensor | None, ...]:
        by_state, by_candidate, by_own = (
            None if gradient is None else gradient * outer for gradient in ctx.saved_tensors
        )
        return by_state, by_candidate, None, by_own, None, None


def _softmax_in_place(logits: Tensor, at: Tensor) -> Tensor:
    """Turn logits [b, C] into probabilities; return -log of those at the columns `at` [b, 1]."""
    highest, own = logits.amax(1), logits.gather(1, at)[:, 0]
    torch.softmax(logits, 1, out=logits)
    # the highest probability is exp(0) / Z, so this is log Z even where a target's underflows
    return highest - logits.amax(1).log() - own


def _add_gradients(
    g: Tensor,
    at: Tensor,
    rows: slice,
    factors: tuple[Tensor, Tensor, Tensor | None],
    gradients: list[Tensor | None],
) -> None:
    """Take the logits' gradient `g` [b, C] of some rows on to the factors of the logits."""
    s, c, t = factors
    by_state, by_candidate, by_own = gradients
    assert by_state is not None and by_candidate is not None
    if t is not None and by_own is not None:
        # these columns are the targets' and not the candidates'
        own = g.gather(1, at)
        g.scatter_(1, at, 0.0)
        by_own[rows] = own * s[rows]
        by_state[rows] = own * t[rows]
    g = g.to(s.dtype)
    by_state[rows] += g @ c
    if g.dtype == by_candidate.dtype:
        torch.addmm(by_candidate, g.T, s[rows], out=by_candidate)
    else:
        by_candidate += g.T @ s[rows]


def _product(left: Tensor, right: Tensor, out: Tensor) -> None:
    """Write a matrix product into a buffer of the same or a higher precision."""
    if left.dtype == out.dtype:
        torch.mm(left, right, out=out)
    else:
        out.copy_(left @ right)
