"""Ranking over the whole catalogue, one relevant item per instance.

Stands below everything that trains, since early stopping ranks; `evaluation.metrics` passes it on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

if TYPE_CHECKING:
    from .data import Sequences


def rank_of_target(
    scores: Tensor,
    targets: Tensor | np.ndarray,
    seen: Sequences | None = None,
    *,
    chunk_size: int = 1024,
) -> Tensor:
    """Rank each row's target among all items.

    The padding column 0 never competes. Items in `seen` do not compete either, except the target
    itself. Ties are counted against the target: whoever scores all items alike is last, not lucky.

    Args:
        scores: [B, V+1], column v belongs to item v, higher is better; -inf is allowed.
        targets: [B] item ids 1..V.
        seen: the history of each row (the mask), or None to rank all items ("unmasked").
        chunk_size: rows handled at once; memory is bounded by chunk_size * (V+1) floats.

    Returns:
        [B] int64 ranks on the CPU, 1 is best.

    Raises:
        ValueError: if the sizes do not agree, a target is not an item, or a score is not a number.
    """
    targets = torch.as_tensor(targets, dtype=torch.int64, device=scores.device)
    _check_ranking(scores, targets, seen)
    ranks = []
    for start in range(0, len(scores), chunk_size):
        part = scores[start : start + chunk_size].clone()
        target = targets[start : start + chunk_size, None]
        own = part.gather(1, target)
        if torch.isnan(part[:, 1:]).any():
            raise ValueError(f"Scores of rows {start} to {start + len(part) - 1} hold NaN.")
        # NaN is neither above nor equal to anything, so what is NaN does not compete.
        part[:, 0] = torch.nan
        if seen is not None:
            part[_seen_cells(seen, start, len(part), scores.device)] = torch.nan
        part.scatter_(1, target, own)
        ranks.append((part >= own).sum(1).cpu())
    return torch.cat(ranks) if ranks else torch.zeros(0, dtype=torch.int64)


def _check_ranking(scores: Tensor, targets: Tensor, seen: Sequences | None) -> None:
    if scores.ndim != 2 or targets.shape != scores.shape[:1]:
        raise ValueError(
            f"Scores {tuple(scores.shape)} and targets {tuple(targets.shape)} do not fit: "
            "expected [B, V+1] and [B]."
        )
    if seen is not None and len(seen) != len(scores):
        raise ValueError(f"{len(scores)} rows of scores came with {len(seen)} seen histories.")
    if len(targets) and not (int(targets.min()) > 0 and int(targets.max()) < scores.shape[1]):
        raise ValueError(f"Targets must be items 1 to {scores.shape[1] - 1}.")


def _seen_cells(
    seen: Sequences, start: int, n_rows: int, device: torch.device
) -> tuple[Tensor, Tensor]:
    """Row and column indices of the seen items of rows start..start+n_rows-1."""
    offsets = np.asarray(seen.offsets[start : start + n_rows + 1])
    rows = np.repeat(np.arange(n_rows), np.diff(offsets))
    columns = np.asarray(seen.flat[offsets[0] : offsets[-1]], dtype=np.int64)
    return torch.from_numpy(rows).to(device), torch.from_numpy(columns).to(device)


def recall(ranks: Tensor, k: int) -> Tensor:
    """Recall@k of each instance, [B] float64: 1 if the target is among the first k (= HIT@k)."""
    return (ranks <= k).double()


def ndcg(ranks: Tensor, k: int) -> Tensor:
    """NDCG@k of each instance, [B] float64: 1 / log2(1 + rank) within the first k, else 0."""
    return recall(ranks, k) / torch.log2(1.0 + ranks.double())
