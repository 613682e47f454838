"""What behavior alone can do: popularity, item-kNN, SASRec and ICLRec on the same test items.

Every row ranks all items for all test users with the history masked. The validation items choose
the epoch of what is trained; the test items are looked at once, here.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from torch import Tensor

from latentcrs_utils.baselines.item_knn import item_knn
from latentcrs_utils.baselines.popularity import popularity
from latentcrs_utils.behavior.pretraining import Backbone, pretrain
from latentcrs_utils.config import ICLREC_AS_PUBLISHED, BackboneConfig, preset
from latentcrs_utils.data.loading import load_dataset
from latentcrs_utils.data.sequences import Dataset
from latentcrs_utils.evaluation.metrics import bootstrap_interval
from latentcrs_utils.evaluation.one_turn import METRICS, metric_values
from latentcrs_utils.evaluation.recording import Command, rounded, sizes
from latentcrs_utils.ranking import rank_of_target

REFERENCE = "SASRec (softmax)"
COUNTED = ("popularity", "item-kNN")
TIMED_EPOCHS = 2


@dataclass(frozen=True)
class Run:
    """One system, trained from one seed and tested.

    Attributes:
        ranks: rank of each user's test item [U], 1 is best.
        best_epoch: the epoch that the validation items chose; 0 for what is only counted.
        curve: the learning curve, as in `Backbone`.
    """

    ranks: np.ndarray
    best_epoch: int = 0
    curve: Sequence[Mapping[str, float]] = ()


def trained_systems(data_name: str) -> dict[str, BackboneConfig]:
    """Name -> hyper-parameters of every trained system of the table.

    "published" has the official hyper-parameters (`ICLREC_AS_PUBLISHED`), the others the preset of
    the data set; "softmax" is the full softmax, "contrasts" are both of ICLRec's.
    """
    ours, published = preset(data_name).backbone, ICLREC_AS_PUBLISHED
    return {
        REFERENCE: ours,
        "SASRec (softmax) + contrasts": replace(ours, contrast="Hybrid"),
        "SASRec (softmax, dropout 0.5)": replace(ours, dropout=published.dropout),
        "SASRec (published)": replace(published, contrast="none"),
        "SASRec (published, softmax)": replace(published, contrast="none", loss="ce"),
        "ICLRec (published)": published,
    }


def ranks_on_test(scores: Tensor, data: Dataset) -> np.ndarray:
    """Rank of every user's test item under ``scores`` [U, V + 1], history masked."""
    return rank_of_target(scores, data.targets("test"), data.histories("test")).numpy()


def run_trained(data: Dataset, config: BackboneConfig, seed: int) -> Run:
    """Train (or load) one backbone and rank the test items with it."""
    backbone: Backbone = pretrain(data, config, seed=seed)
    values = [row["valid NDCG@20"] for row in backbone.curve]
    scores = backbone.scores(backbone.encode(data.histories("test")))
    return Run(ranks_on_test(scores, data), int(np.argmax(values)) + 1, backbone.curve)


def counted_runs(data: Dataset) -> dict[str, dict[int, Run]]:
    """The two systems that need no training, in the form of trained ones with the one seed 0."""
    histories = data.histories("test")
    scores = {
        "popularity": popularity(data).expand(data.n_users, -1),
        "item-kNN": item_knn(data, histories),
    }
    return {name: {0: Run(ranks_on_test(scores[name], data))} for name in COUNTED}


def cpu_seconds_per_epoch(data: Dataset, config: BackboneConfig) -> float:
    """Processor time of one epoch, validation included: other work on the machine hardly counts."""
    begun = time.process_time()
    pretrain(data, replace(config, n_epochs=TIMED_EPOCHS), reuse=False)
    return (time.process_time() - begun) / TIMED_EPOCHS


def summarise_runs(runs: Mapping[str, Mapping[int, Run]]) -> list[dict[str, Any]]:
    """One row a system: means over users and seeds, and what chance could have done to them.

    Args:
        runs: system -> seed -> run; all on the same users.

    Returns:
        Rows with n_seeds, the four metrics, low and high (95 % bootstrap interval over users of
        NDCG@20, seeds averaged), seed_spread (largest minus smallest NDCG@20 of a seed), the
        epochs chosen and run, and, beside the reference, the mean difference in NDCG@20 on the
        same users and seeds with its interval.
    """
    rows = []
    for system, by_seed in runs.items():
        ranks = np.stack([run.ranks for run in by_seed.values()])
        values = metric_values(ranks, "NDCG@20")
        row: dict[str, Any] = {"system": system, "n_seeds": len(by_seed)}
        row |= {metric: float(metric_values(ranks, metric).mean()) for metric in METRICS}
        row["low"], row["high"] = bootstrap_interval(values.mean(0))
        row["seed_spread"] = float(np.ptp(values.mean(1)))
        row["best_epochs"] = [run.best_epoch for run in by_seed.values()]
        row["epochs"] = [len(run.curve) for run in by_seed.values()]
        row |= _difference(system, by_seed, runs.get(REFERENCE, {}))
        rows.append(row)
    return rows


def _difference(
    system: str, by_seed: Mapping[int, Run], reference: Mapping[int, Run]
) -> dict[str, float]:
    """NDCG@20 minus that of the reference, user by user, on the seeds that both have."""
    counted = system in COUNTED
    seeds = [seed for seed in reference if counted or seed in by_seed]
    if system == REFERENCE or not seeds:
        return {}
    ours = np.stack([by_seed[0 if counted else seed].ranks for seed in seeds])
    theirs = np.stack([reference[seed].ranks for seed in seeds])
    gaps = metric_values(ours, "NDCG@20").mean(0) - metric_values(theirs, "NDCG@20").mean(0)
    low, high = bootstrap_interval(gaps)
    return {"difference": float(gaps.mean()), "difference_low": low, "difference_high": high}


def content(
    data: Dataset,
    runs: Mapping[str, Mapping[int, Run]],
    seconds: Mapping[str, float],
    seeds: Sequence[int],
) -> dict[str, Any]:
    """The rows, what is not run yet, and the learning curves of the first seed."""
    rows: list[dict[str, Any]] = rounded(summarise_runs(runs))
    for row in rows:
        if row["system"] in seconds:
            row["cpu_seconds_per_epoch"] = round(seconds[row["system"]], 1)
    return {
        "data": sizes(data),
        "seeds": list(seeds),
        "reference": REFERENCE,
        "rows": rows,
        "not_run": {
            system: missing
            for system in trained_systems(data.name)
            if (missing := [seed for seed in seeds if seed not in runs.get(system, {})])
        },
        "valid_ndcg20": {
            system: [point["valid NDCG@20"] for point in by_seed[seeds[0]].curve]
            for system, by_seed in runs.items()
            if system not in COUNTED and seeds[0] in by_seed
        },
    }


def _jobs(systems: Sequence[str], seeds: Sequence[int]) -> Iterator[tuple[str, int]]:
    """The first seed of every system, then the other seeds, so that a record soon has all rows."""
    yield from ((system, seeds[0]) for system in systems)
    yield from ((system, seed) for system in systems for seed in seeds[1:])


def main(arguments: list[str] | None = None) -> None:
    """Train, test and record every system; after each run the record holds what is known."""
    command = Command("experiments.backbones", __doc__, data=None, seeds=True)
    options = command.read(arguments)
    data = load_dataset("ml-100k")
    systems = trained_systems(data.name)
    runs, seconds = counted_runs(data), {}
    for system, seed in _jobs(list(systems), options.seeds):
        if system not in seconds:
            seconds[system] = cpu_seconds_per_epoch(data, systems[system])
        runs.setdefault(system, {})[seed] = run_trained(data, systems[system], seed)
        command.record(options.record, content(data, runs, seconds, options.seeds))
        row = next(row for row in summarise_runs(runs) if row["system"] == system)
        print(f"{system}, seed {seed}: NDCG@20 {row['NDCG@20']:.4f} over {row['n_seeds']} seeds")


if __name__ == "__main__":
    main()
