"""What a backbone is trained on: the next item, against all items, some of them, or one.

The two softmax losses share `support.fused_softmax`, which never holds a [P, V] matrix.
"""

import math

import torch
from torch import Tensor
from torch.nn.functional import embedding, softplus

from latentcrs_utils.behavior.sasrec import SASRec
from latentcrs_utils.behavior.windows import trim
from latentcrs_utils.support.fused_softmax import candidate_softmax
from latentcrs_utils.support.processes import SINGLE, Processes


def next_item_loss(
    encoder: SASRec, inputs: Tensor, targets: Tensor, kind: str, generator: torch.Generator, *,
    n_negatives: int = 1024, processes: Processes = SINGLE,
) -> Tensor:  # fmt: skip
    """The recommendation loss of a batch, the mean over its positions.

    Inputs and targets are left-padded items and the next items, both [B, L]. `kind` is "ce" (full
    softmax), "sampled" (softmax over the target and `n_negatives` items that the batch shares; as
    many as V - 1 make it the full one) or "bce" (one sampled negative a position). Of several
    processes each is given the whole batch, and returns what its rows add to the mean.
    """
    short = trim(inputs)
    following, V = targets[:, -short.shape[1] :], encoder.n_items
    drawn = torch.zeros(0)
    if kind == "bce":
        # the last target belongs to the user too, so it must not be drawn as a negative
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

    The states [P, hidden] are those of P real positions, the targets [P] their next items 1..V. Row
    0 of the item embeddings [V+1, hidden], the padding, takes no part in the softmax.
    """
    return candidate_softmax(states, item_embeddings[1:], targets - 1)


def next_item_sampled(
    states: Tensor, targets: Tensor, sample: Tensor, item_embeddings: Tensor
) -> Tensor:
    """Sampled softmax: the target against n items that all positions share, mean over positions.

    `sample` has n + 1 different items 1..V, drawn uniformly (`draw_sample`), one to spare, so that
    every position has exactly n negatives: where the target is in the sample, it is no negative;
    elsewhere the last item of the sample is left out. Each negative counts for (V - 1) / n items
    (the "log q correction"), so the sum that the softmax divides by is right on average, and with
    n = V - 1 the loss *is* the full softmax. The rest is as for `next_item_ce`.
    """
    V, n = len(item_embeddings) - 1, len(sample) - 1
    place = torch.full((V + 1,), n, device=sample.device)
    place[sample] = torch.arange(n + 1, device=sample.device)
    own, drawn = embedding(targets, item_embeddings), embedding(sample, item_embeddings)
    return candidate_softmax(states, drawn, place[targets], own, math.log((V - 1) / n))


def draw_sample(n_items: int, n_negatives: int, generator: torch.Generator) -> Tensor:
    """Draw the [n+1] different items that `next_item_sampled` needs; at most all V items."""
    return torch.randperm(n_items, generator=generator)[: n_negatives + 1] + 1


def next_item_bce(
    states: Tensor, targets: Tensor, negatives: Tensor, item_embeddings: Tensor
) -> Tensor:
    """Binary cross-entropy with one sampled negative a position (SASRec and ICLRec as published).

    -log sigmoid(s·v) - log(1 - sigmoid(s·n)), mean over positions

    `negatives` [P] are items that the user does not have; the rest is as for `next_item_ce`.
    """
    # as an embedding: the gradient of plain indexing is summed in no fixed order by threads
    positive = (states * embedding(targets, item_embeddings)).sum(1)
    negative = (states * embedding(negatives, item_embeddings)).sum(1)
    return (softplus(-positive) + softplus(negative)).mean()


def sample_negatives(inputs: Tensor, n_items: int, generator: torch.Generator) -> Tensor:
    """Draw one item 1..V per position that is not in its row of `inputs`, both [B, L].

    A row must not hold all items; the generator is one of the CPU.
    """
    taken = torch.zeros(len(inputs), n_items + 1, dtype=torch.bool)
    taken.scatter_(1, inputs.cpu(), True)
    taken[:, 0] = True
    drawn = torch.randint(1, n_items + 1, inputs.shape, generator=generator)
    while (clash := taken.gather(1, drawn)).any():
        again = torch.randint(1, n_items + 1, (int(clash.sum()),), generator=generator)
        drawn[clash] = again
    return drawn.to(inputs.device)
