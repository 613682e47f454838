"""Comparing variants fairly: the same users, the same sentences, differences user by user."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from latentcrs_utils.em.model import instances_of, rows_of
from latentcrs_utils.evaluation.metrics import bootstrap_interval
from latentcrs_utils.evaluation.one_turn import LEVELS, METRICS, UNSEEN, Cases, metric_values
from latentcrs_utils.ranking import rank_of_target

if TYPE_CHECKING:
    from torch import Tensor

    from latentcrs_utils.behavior.pretraining import Backbone
    from latentcrs_utils.data.sequences import Dataset
    from latentcrs_utils.language.encoding import Language

METRIC = "NDCG@20"


def unseen_cases(data: Dataset, backbone: Backbone, language: Language) -> Cases:
    """All test users at the four levels, phrasing not seen in training: 4 U cases, level by level.

    Level l of user u is case l U + u, so that ranks of these cases reshape to [4, U].
    """
    rows = rows_of(language, "test")
    frame = language.utterances.frame[rows].with_row_index("case")
    frame = frame.filter(frame["phrasing"] == UNSEEN)
    order = np.concatenate([frame.filter(level=level).sort("user")["case"] for level in LEVELS])
    rows = rows[order]
    frame = language.utterances.frame[rows]
    return Cases(
        instances_of(data, backbone, language, rows),
        frame["text"].to_list(),
        frame.select("user", "level", "phrasing", "conditions"),
    )


def ranks_by_level(cases: Cases, scores: Tensor, *, masked: bool = True) -> np.ndarray:
    """Ranks of the targets [4, U] (levels, users), 1 is best; `cases` as from `unseen_cases`."""
    seen = cases.instances.histories if masked else None
    ranks = rank_of_target(scores, cases.instances.targets, seen)
    return ranks.numpy().reshape(len(LEVELS), -1)


@torch.no_grad()
def scores_of(model: Any, cases: Cases) -> Tensor:
    """Scores [4 U, V + 1] of a system with `scores(S, x)`."""
    scores: Tensor = model.scores(cases.instances.S, cases.instances.x)
    return scores


def describe(ranks: Mapping[int, np.ndarray]) -> dict[str, Any]:
    """Means and intervals of one variant.

    Args:
        ranks: seed -> ranks [4, U].

    Returns:
        seeds; the four metrics, means over levels, users and seeds; low and high, 95 % bootstrap
        interval over users of NDCG@20 (levels and seeds averaged); levels, NDCG@20 of each, with
        its interval; seed_spread, largest minus smallest NDCG@20 of a seed.
    """
    stacked = np.stack(list(ranks.values()))
    values = metric_values(stacked, METRIC)  # [seeds, 4, U]
    row: dict[str, Any] = {"seeds": list(ranks)}
    row |= {metric: float(metric_values(stacked, metric).mean()) for metric in METRICS}
    row["low"], row["high"] = bootstrap_interval(values.mean((0, 1)))
    row["seed_spread"] = float(np.ptp(values.mean((1, 2))))
    row["levels"] = {
        level: mean_and_interval(of_level)
        for level, of_level in zip(LEVELS, values.mean(0), strict=True)
    }
    return row


def difference(ours: Mapping[int, np.ndarray], theirs: Mapping[int, np.ndarray]) -> dict[str, Any]:
    """Mean difference in NDCG@20, user by user, on the seeds that both have.

    Args:
        ours, theirs: seed -> ranks [4, U].

    Returns:
        mean, low, high of all levels together, and levels, the same for each; empty where no seed
        is shared.
    """
    shared = [seed for seed in ours if seed in theirs]
    if not shared:
        return {}
    gaps = np.mean(
        [metric_values(ours[s], METRIC) - metric_values(theirs[s], METRIC) for s in shared], axis=0
    )  # [4, U]
    found = mean_and_interval(gaps.mean(0))
    found["levels"] = {
        level: mean_and_interval(of_level) for level, of_level in zip(LEVELS, gaps, strict=True)
    }
    return found


def mean_and_interval(values: np.ndarray) -> dict[str, Any]:
    """The mean of [N] values and its 95 % bootstrap interval: mean, low, high."""
    low, high = bootstrap_interval(values)
    return {"mean": float(values.mean()), "low": low, "high": high}
