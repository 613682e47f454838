"""One-turn recommendation (Tables 2 and 3): every system ranks the catalogue for the same texts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
import torch
from torch import Tensor

from latentcrs_utils.em.model import instances_of, rows_of
from latentcrs_utils.em.trainer import Instances
from latentcrs_utils.evaluation.metrics import bootstrap_interval
from latentcrs_utils.ranking import MEMORY, ndcg, ranks_in_chunks, recall

if TYPE_CHECKING:
    from latentcrs_utils.behavior.pretraining import Backbone
    from latentcrs_utils.data.sequences import Dataset
    from latentcrs_utils.language.encoding import Language

METRICS = ("Recall@5", "NDCG@5", "Recall@20", "NDCG@20")
LEVELS = ("plain", "paraphrased", "by example", "vague")
UNSEEN, SEEN = "test", "train"


@dataclass(frozen=True)
class Cases:
    """What all systems are asked: N test instances.

    Attributes:
        instances: S, x, targets and histories.
        texts: x^u as words, N strings.
        frame: user, level and phrasing of each instance.
    """

    instances: Instances
    texts: list[str]
    frame: pl.DataFrame

    def __len__(self) -> int:
        return len(self.texts)

    def take(self, rows: slice) -> Cases:
        """The cases of a slice of rows, in their order."""
        numbers = torch.arange(len(self))[rows]
        return Cases(self.instances.take(numbers), self.texts[rows], self.frame[numbers.numpy()])


Scorer = Callable[[Cases], Tensor]


def one_turn_cases(
    data: Dataset, backbone: Backbone, language: Language, split: str = "test"
) -> Cases:
    """All test users at the four levels, with seen and with unseen phrasing.

    Of the split "valid" each user is at one level, with the phrasing of that split.
    """
    rows = rows_of(language, split)
    frame = language.utterances.frame[rows]
    return Cases(
        instances_of(data, backbone, language, rows),
        frame["text"].to_list(),
        frame.select("user", "level", "phrasing"),
    )


def dialogue_cases(data: Dataset, backbone: Backbone, language: Language) -> Cases:
    """All test users after one to five messages of unseen phrasing, levels mixed.

    In `frame` the level is the number of messages, so that `summarise` groups by it.
    """
    rows = rows_of(language, "test_turns")
    n_turns = language.utterances.frame[rows]["turns"].list.len().to_numpy()
    rows = rows[np.argsort(n_turns, kind="stable")]
    frame = language.utterances.frame[rows]
    return Cases(
        instances_of(data, backbone, language, rows),
        frame["text"].to_list(),
        frame.select("user", pl.col("turns").list.len().cast(pl.String).alias("level"), "phrasing"),
    )


def evaluate(
    cases: Cases, systems: Mapping[str, Scorer], *, masked: bool = True, memory: int = MEMORY
) -> dict[str, np.ndarray]:
    """Rank of the target under every system.

    The systems are asked for some cases at a time, so that memory does not grow with their number.

    Args:
        cases: the instances, the same for all systems.
        systems: name -> function from cases to scores [N, V + 1].
        masked: leave the items of the history out of the ranking (ICLRec's convention).
        memory: bytes of scores that a system is asked for at once at most (but one case at least).

    Returns:
        name -> ranks [N], 1 is best.
    """
    if not len(cases):
        return {name: np.zeros(0, dtype=np.int64) for name in systems}
    seen = cases.instances.histories if masked else None

    def ranks(scorer: Scorer) -> np.ndarray:
        n_items = scorer(cases.take(slice(0, 1))).shape[1] - 1
        return ranks_in_chunks(
            lambda rows: scorer(cases.take(rows)),
            cases.instances.targets,
            seen,
            n_items=n_items,
            memory=memory,
        ).numpy()

    return {name: ranks(scorer) for name, scorer in systems.items()}


def metric_values(ranks: np.ndarray, metric: str) -> np.ndarray:
    """Per-instance values of a metric such as `NDCG@20`, in the shape of `ranks`."""
    name, k = metric.split("@")
    function = {"Recall": recall, "NDCG": ndcg}[name]
    flat = torch.from_numpy(np.ascontiguousarray(ranks)).reshape(-1)
    return function(flat, int(k)).numpy().reshape(ranks.shape)


def summarise(cases: Cases, ranks_by_seed: Sequence[Mapping[str, np.ndarray]]) -> pl.DataFrame:
    """Table of means over users and seeds, with what chance could have done to them.

    Args:
        cases: the instances that were ranked.
        ranks_by_seed: one result of `evaluate` per seed, with the same systems.

    Returns:
        One row per phrasing, level and system: n, the four metrics (means over users and seeds),
        low and high (95 % bootstrap interval over users of NDCG@20, seeds averaged) and
        seed_spread (largest minus smallest NDCG@20 of a seed).
    """
    rows = []
    for (phrasing, level), group in cases.frame.with_row_index("row").group_by(
        ["phrasing", "level"], maintain_order=True
    ):
        chosen = group["row"].to_numpy()
        for system in ranks_by_seed[0]:
            ranks = np.stack([by_system[system][chosen] for by_system in ranks_by_seed])
            row = {"phrasing": phrasing, "level": level, "system": system, "n": len(chosen)}
            row |= {metric: float(metric_values(ranks, metric).mean()) for metric in METRICS}
            values = metric_values(ranks, "NDCG@20")
            row["low"], row["high"] = bootstrap_interval(values.mean(0))
            row["seed_spread"] = float(np.ptp(values.mean(1)))
            rows.append(row)
    return pl.DataFrame(rows)


def level_table(summary: pl.DataFrame, *, phrasing: str, metric: str = "NDCG@20") -> pl.DataFrame:
    """One row a system, one column a level: the table that the README and `make run` print."""
    wanted = summary.filter(pl.col("phrasing") == phrasing)
    return wanted.pivot("level", index="system", values=metric, maintain_order=True)
