"""The contrastive part of ICLRec (Chen et al. 2022): views of a sequence, and two contrasts.

A *view* is a sequence that was cropped, masked or reordered at random. *Instance* contrast pulls
two views of one sequence together; *intent* contrast pulls a view to the k-means prototype of its
sequence. Views are made of a whole left-padded batch [B, L] of item ids at once, and are one, too.

A sequence is represented by the mean of its states, for both contrasts (the official release
does so for intents, and lays all states end to end for instances).
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from latentcrs_utils.behavior.sasrec import SASRec
from latentcrs_utils.behavior.windows import trim
from latentcrs_utils.config import BackboneConfig
from latentcrs_utils.support.processes import SINGLE, Processes


def crop(sequences: Tensor, ratio: float, generator: torch.Generator) -> Tensor:
    """Keep one random contiguous part of each sequence: max(1, floor(ratio * n)) of n items."""
    B, L = sequences.shape
    lengths = (sequences > 0).sum(1)
    kept = (ratio * lengths).long().clamp(min=1).minimum(lengths)
    start = L - lengths + _random_start(lengths - kept, generator)
    columns = torch.arange(L, device=sequences.device).expand(B, L)
    first = (L - kept)[:, None]
    source = (columns - first + start[:, None]).clamp(0, L - 1)
    return sequences.gather(1, source).masked_fill(columns < first, 0)


def mask(sequences: Tensor, ratio: float, generator: torch.Generator) -> Tensor:
    """Replace floor(ratio * n) of the n items of each sequence by the padding id 0."""
    real = sequences > 0
    n_hidden = (ratio * real.sum(1)).long()
    noise = torch.rand(sequences.shape, generator=generator).to(sequences.device)
    order = noise.masked_fill(~real, 2.0).argsort(1).argsort(1)
    return sequences.masked_fill(order < n_hidden[:, None], 0)


def reorder(sequences: Tensor, ratio: float, generator: torch.Generator) -> Tensor:
    """Shuffle one random window of floor(ratio * n) neighbouring items in each sequence."""
    B, L = sequences.shape
    lengths = (sequences > 0).sum(1)
    width = (ratio * lengths).long()[:, None]
    start = (L - lengths + _random_start(lengths - width[:, 0], generator))[:, None]
    columns = torch.arange(L, device=sequences.device).expand(B, L)
    inside = (columns >= start) & (columns < start + width)
    noise = torch.rand(B, L, generator=generator).to(sequences.device)
    # a window's keys fall strictly between its neighbours' columns, so sorting shuffles it alone
    keys = torch.where(inside, start + noise * width - 0.5, columns.float())
    return sequences.gather(1, keys.argsort(1))


def random_view(
    sequences: Tensor, ratios: tuple[float, float, float], generator: torch.Generator
) -> Tensor:
    """One view of every sequence, [B, L]: of `crop`, `mask` and `reorder` one is drawn for each."""
    kind = torch.randint(3, (len(sequences), 1), generator=generator).to(sequences.device)
    ways = zip((crop, mask, reorder), ratios, strict=True)
    views = [view(sequences, ratio, generator) for view, ratio in ways]
    return torch.where(kind == 0, views[0], torch.where(kind == 1, views[1], views[2]))


def _random_start(slack: Tensor, generator: torch.Generator) -> Tensor:
    """Uniform whole numbers in 0..slack, one per row."""
    noise = torch.rand(slack.shape, generator=generator).to(slack.device)
    return (noise * (slack + 1)).long().minimum(slack)


def mean_state(states: Tensor, sequences: Tensor) -> Tensor:
    """Average the states [B, L, hidden] over the real items of `sequences` [B, L]."""
    real = (sequences > 0).unsqueeze(-1)
    return (states * real).sum(1) / real.sum(1).clamp(min=1)


def info_nce(
    queries: Tensor, positives: Tensor, negatives: Tensor, allowed: Tensor, temperature: float
) -> Tensor:
    """InfoNCE with dot products: the positive against the allowed negatives, mean over queries.

    -log exp(q·p / t) / (exp(q·p / t) + sum over allowed n of exp(q·n / t))

    Each of the queries [B, h] has its own of the positives [B, h]; the negatives [N, h] are shared,
    and `allowed` [B, N] is False where one must not count for a query. t is the temperature.
    """
    positive = (queries * positives).sum(1, keepdim=True)
    negative = (queries @ negatives.T).masked_fill(~allowed, float("-inf"))
    logits = torch.cat([positive, negative], dim=1) / temperature
    return (torch.logsumexp(logits, 1) - logits[:, 0]).mean()


def instance_contrast(one: Tensor, two: Tensor, temperature: float = 1.0) -> Tensor:
    """Contrast two views of each sequence with all other views of the batch (ICLRec, L_SeqCL).

    `one` and `two` are their representations, [B, h]; each query has 2 (B - 1) negatives. The loss,
    a scalar, is the mean over both directions.
    """
    B = len(one)
    others = ~torch.eye(B, dtype=torch.bool, device=one.device)
    allowed = torch.cat([others, others], dim=1)
    negatives = torch.cat([one, two])
    forth = info_nce(one, two, negatives, allowed, temperature)
    back = info_nce(two, one, negatives, allowed, temperature)
    return (forth + back) / 2


def different_intents(assignments: Tensor) -> Tensor:
    """Find the true negatives, pairs of different prototypes: bool [B, B] from their indices [B].

    The same intent would be a *false negative*; of [0, 1, 0] only (0, 1) and (1, 2) remain.
    """
    return assignments[:, None] != assignments[None, :]


def intent_contrast(
    views: Sequence[Tensor], prototypes: Tensor, assignments: Tensor, temperature: float = 1.0
) -> Tensor:
    """Contrast each view's own intent prototype with those of the batch (ICLRec, L_ICL).

    The prototypes [K, h] are k-means centres, constants; `assignments` [B] has the one of each
    sequence. The loss, a scalar, is the mean over the views, each [B, h].
    """
    own, allowed = prototypes[assignments], different_intents(assignments)
    return torch.stack([info_nce(view, own, own, allowed, temperature) for view in views]).mean()


def contrast_loss(
    encoder: SASRec, inputs: Tensor, prototypes: Tensor | None, assignments: Tensor | None,
    config: BackboneConfig, kind: str, generator: torch.Generator, processes: Processes = SINGLE,
) -> Tensor:  # fmt: skip
    """ICLRec's weighted contrastive loss of a batch, from two random views of each sequence.

    Inputs are [B, L] left-padded items; prototypes and assignments are as for `intent_contrast`,
    None for the kind "InstanceCL" ("Hybrid" is both kinds). Of several processes each is given the
    whole batch and encodes its share of the rows: the loss is the batch's, the gradient its own.
    """
    short = trim(inputs)
    ratios = (config.crop, config.mask, config.reorder)
    views = [random_view(short, ratios, generator) for _ in range(2)]
    # one pass for both views: a taller batch costs less than two calls
    own = torch.cat([view[processes.shard] for view in views])
    means = mean_state(encoder(own), own).chunk(2)
    one, two = (processes.all_gather(mean, len(short)) for mean in means)
    loss = inputs.new_zeros((), dtype=torch.float32)
    if kind in ("Hybrid", "InstanceCL"):
        loss = loss + config.cf_weight * instance_contrast(one, two, config.temperature)
    if kind in ("Hybrid", "IntentCL"):
        if prototypes is None or assignments is None:
            raise ValueError(f"The contrast {kind!r} needs prototypes and assignments.")
        of_intents = intent_contrast([one, two], prototypes, assignments, config.temperature)
        loss = loss + config.intent_cf_weight * of_intents
    return loss


def find_prototypes(states: Tensor, n_prototypes: int, seed: int) -> tuple[Tensor, Tensor]:
    """Cluster sequence representations [N, h] with k-means, the "E-step" of ICLRec.

    Returns the centres [K, h], at most N, and the index [N] of each sequence's centre.
    """
    from sklearn.cluster import MiniBatchKMeans

    K = min(n_prototypes, len(states))
    kmeans = MiniBatchKMeans(K, batch_size=1024, n_init=1, random_state=seed)
    assignments = kmeans.fit_predict(states.cpu().numpy().astype(np.float32))
    centres = torch.from_numpy(kmeans.cluster_centers_).to(states)
    return centres, torch.from_numpy(assignments).long().to(states.device)
