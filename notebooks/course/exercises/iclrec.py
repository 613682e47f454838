"""The exercises of notebook 02: ranks, the causal mask, views, and two contrasts."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from course.exercises.marking import mark
from latentcrs_utils.behavior.iclrec import crop, different_intents, info_nce, instance_contrast
from latentcrs_utils.behavior.sasrec import visible_keys
from latentcrs_utils.ranking import ndcg

_SIMILARITY = torch.tensor([[2.0, 0.0, 1.0], [0.5, 3.0, -1.0], [1.0, 4.0, 0.0]])
_LARGER = torch.tensor(
    [[1.0, 2.5, 0.0, -1.0], [0.0, 0.5, 1.5, 3.0], [2.0, -2.0, 1.0, 0.5], [0.3, 1.2, -0.7, 2.2]]
)


def ndcg_of_rank(answer: Callable[..., Any]) -> None:
    """Mark NDCG@k of a single target: ``(rank, k) -> a number``; rank 1 is best."""

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
    """Mark crop from a given start: ``(items, ratio, start) -> list of items``."""

    def reference(items: list[int], ratio: float, start: int) -> list[int]:
        history = torch.tensor([items]).expand(400, -1)
        views = crop(history, ratio, torch.Generator().manual_seed(0))
        # the ids rise within a history, so views in order are views by their start
        return [item for item in views.unique(dim=0)[start].tolist() if item]

    cases = [([3, 5, 6, 8, 9], 0.6, 1), ([2, 4, 5, 7, 8, 9], 0.2, 4), ([4, 6, 7], 0.2, 2)]
    cases += [([4, 6, 9], 0.6, 1), ([4, 6, 9], 0.99, 0)]  # 1.8 and 2.97 are cut, not rounded
    advice = "floor(ratio x n) neighbours stay, and at least one."
    mark("Exercise 3", answer, reference, cases, advice=advice)


def two_views(answer: Callable[..., Any]) -> None:
    """Mark InfoNCE of two views: ``(one [B, d], two [B, d], temperature) -> a number``."""

    def reference(one: Tensor, two: Tensor, temperature: float) -> float:
        return instance_contrast(one, two, temperature).item()

    cases = [(_SIMILARITY, _SIMILARITY.T, 1.0), (_LARGER[:, :2], _LARGER[:, 2:], 0.5)]
    advice = "All 2B views in one matrix: a row has one positive, and never counts itself."
    mark("Exercise 4", answer, reference, cases, advice=advice)


def intent_loss(answer: Callable[..., Any]) -> None:
    """Mark the contrast of views with intent prototypes, false negatives left out.

    Args:
        answer: ``(similarity [B, B], assignments [B]) -> a number``; entry (i, j) of
            ``similarity`` is view i times the prototype of sequence j.
    """

    def reference(similarity: Tensor, assignments: Tensor) -> float:
        # with unit vectors as keys, entry (i, j) is query i times key j
        keys = torch.eye(len(similarity))
        return info_nce(similarity, keys, keys, different_intents(assignments), 1.0).item()

    # sequences of one intent share a prototype, so their columns are equal
    three, four = torch.tensor([0, 1, 0]), torch.tensor([2, 0, 2, 1])
    cases = [(_SIMILARITY[:, three], three), (_LARGER[:, [0, 1, 0, 3]], four)]
    advice = "A prototype of the view's own intent counts once, as the positive."
    mark("Exercise 5", answer, reference, cases, advice=advice)
