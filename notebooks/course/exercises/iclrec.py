"""The exercises of notebook 02: ranks, who may look at whom, views, and two contrasts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from course.exercises.marking import mark
from latentcrs_utils.behavior.iclrec import crop, different_intents, info_nce
from latentcrs_utils.behavior.sasrec import visible_keys
from latentcrs_utils.ranking import ndcg

_SIMILARITY = torch.tensor([[2.0, 0.0, 1.0], [0.5, 3.0, -1.0], [1.0, 4.0, 0.0]])
_LARGER = torch.tensor(
    [[1.0, 2.5, 0.0, -1.0], [0.0, 0.5, 1.5, 3.0], [2.0, -2.0, 1.0, 0.5], [0.3, 1.2, -0.7, 2.2]]
)


def ndcg_of_rank(answer: Callable[..., Any]) -> None:
    """Mark NDCG@k of a single target.

    Args:
        answer: ``(rank, k) -> a number``; rank 1 is best.
    """

    def reference(rank: int, k: int) -> float:
        return ndcg(torch.tensor([rank]), k).item()

    cases = [(1, 5), (2, 5), (5, 5), (6, 5), (20, 20), (300, 20)]
    advice = "Rank 1 is worth 1, rank 3 is worth one half, and beyond k there is nothing."
    mark("Exercise 1", answer, reference, cases, advice=advice)


def may_look(answer: Callable[..., Any]) -> None:
    """Mark which position (row) may look at which (column), for one left-padded history.

    Args:
        answer: ``(items [L]) -> [L, L]`` of bool; 0 in ``items`` is padding.
    """

    def reference(items: Tensor) -> Tensor:
        return visible_keys(items[None] > 0)[0, 0]

    cases = [(torch.tensor([7, 3, 9]),), (torch.tensor([0, 0, 4, 2]),), (torch.tensor([0, 5]),)]
    advice = "No look ahead, no look at padding, and every position may look at itself."
    mark("Exercise 2", answer, reference, cases, advice=advice)


def crop_at(answer: Callable[..., Any]) -> None:
    """Mark the view that crop makes of a history when it starts at a given place.

    What is compared is what `behavior.iclrec.crop` can make of the same history.

    Args:
        answer: ``(items, ratio, start) -> list of items``.
    """

    def reference(items: list[int], ratio: float, start: int) -> list[int]:
        history = torch.tensor([items]).expand(400, -1)
        views = crop(history, ratio, torch.Generator().manual_seed(0))
        # the ids rise within a history, so views in order are views by their start
        return [item for item in views.unique(dim=0)[start].tolist() if item]

    cases = [([3, 5, 6, 8, 9], 0.6, 1), ([2, 4, 5, 7, 8, 9], 0.2, 4), ([4, 6, 7], 0.2, 2)]
    advice = "floor(ratio x n) neighbours stay, and at least one."
    mark("Exercise 3", answer, reference, cases, advice=advice)


def _info_nce(similarity: Tensor, temperature: float, allowed: Tensor) -> float:
    """InfoNCE when entry (i, j) of ``similarity`` is query i times key j, and the own is j = i."""
    keys = torch.eye(len(similarity))
    return info_nce(similarity, keys, keys, allowed, temperature).item()


def instance_loss(answer: Callable[..., Any]) -> None:
    """Mark InfoNCE of a similarity matrix whose diagonal holds the positives.

    Args:
        answer: ``(similarity [B, B], temperature) -> a number``.
    """

    def reference(similarity: Tensor, temperature: float) -> float:
        others = ~torch.eye(len(similarity), dtype=torch.bool)
        return _info_nce(similarity, temperature, others)

    cases = [(_SIMILARITY, 1.0), (_SIMILARITY, 0.5), (_LARGER, 2.0)]
    advice = "Divide by the temperature first; the positive stands below the line, too."
    mark("Exercise 4", answer, reference, cases, advice=advice)


def intent_loss(answer: Callable[..., Any]) -> None:
    """Mark the contrast of views with intent prototypes, false negatives left out.

    Args:
        answer: ``(similarity [B, B], assignments [B]) -> a number``; entry (i, j) of
            ``similarity`` is view i times the prototype of sequence j.
    """

    def reference(similarity: Tensor, assignments: Tensor) -> float:
        return _info_nce(similarity, 1.0, different_intents(assignments))

    # sequences of one intent share a prototype, so their columns are equal
    three, four = torch.tensor([0, 1, 0]), torch.tensor([2, 0, 2, 1])
    cases = [(_SIMILARITY[:, three], three), (_LARGER[:, [0, 1, 0, 3]], four)]
    advice = "A prototype of the view's own intent counts once, as the positive."
    mark("Exercise 5", answer, reference, cases, advice=advice)
