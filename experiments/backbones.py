"""Behavior without words: popularity, item-kNN, SASRec and ICLRec on the same test items.

Every row ranks all items for all test users with the history masked. The validation items choose
the epoch of what is trained; the test items are looked at once, here.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from torch import Tensor

from experiments import program
from experiments.variants import difference
from latentcrs_utils import Dataset, load_dataset, preset, pretrain
from latentcrs_utils.baselines.item_knn import item_knn
from latentcrs_utils.baselines.popularity import popularity
from latentcrs_utils.config import ICLREC_AS_PUBLISHED, BackboneConfig
from latentcrs_utils.evaluation.metrics import METRIC, describe_ranks
from latentcrs_utils.evaluation.recording import Command, sizes
from latentcrs_utils.ranking import rank_of_target

REFERENCE = "SASRec (softmax)"
COUNTED = ("popularity", "item-kNN")  # without training: as if from seed 0
TIMED_EPOCHS = 2


class Run(NamedTuple):
    """One system, trained from one seed and tested."""

    ranks: np.ndarray  # of each user's test item [U], 1 is best
    best_epoch: int = 0  # that the validation items chose; 0 for what is only counted
    curve: Sequence[Mapping[str, float]] = ()  # as in `Backbone`


def trained_systems(data_name: str) -> dict[str, BackboneConfig]:
    """Name -> hyper-parameters of every trained system of the table: "published" has the official
    ones, the others the preset's; "softmax" is the full one, "contrasts" are both of ICLRec's.
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
    backbone = pretrain(data, config, seed=seed)
    values = [row["valid NDCG@20"] for row in backbone.curve]
    scores = backbone.scores(backbone.encode(data.histories("test")))
    return Run(ranks_on_test(scores, data), int(np.argmax(values)) + 1, backbone.curve)


def cpu_seconds_per_epoch(data: Dataset, config: BackboneConfig) -> float:
    """Processor time of one epoch, validation included: other work on the machine hardly counts."""
    begun = time.process_time()
    pretrain(data, replace(config, n_epochs=TIMED_EPOCHS), reuse=False)
    return (time.process_time() - begun) / TIMED_EPOCHS


def summarise_runs(runs: Mapping[str, Mapping[int, Run]]) -> list[dict[str, Any]]:
    """One row a system (-> seed -> run, all on the same users): n_seeds, what `describe_ranks`
    says, the epochs chosen and run, and, where the reference shares a seed, the mean difference in
    NDCG@20 to it with its interval.
    """
    rows = []
    reference = {seed: run.ranks for seed, run in runs.get(REFERENCE, {}).items()}
    for system, by_seed in runs.items():
        ranks = {seed: run.ranks for seed, run in by_seed.items()}
        row = {"system": system, "n_seeds": len(ranks), **describe_ranks([*ranks.values()])}
        row["best_epochs"] = [run.best_epoch for run in by_seed.values()]
        row["epochs"] = [len(run.curve) for run in by_seed.values()]
        if system in COUNTED:  # the same from every seed
            ranks = dict.fromkeys(reference, ranks[0])
        if system != REFERENCE and (gap := difference(ranks, reference)):
            row["difference"] = gap["mean"]
            row |= {f"difference_{end}": gap[end] for end in ("low", "high")}
        rows.append(row)
    return rows


@program
def main(arguments: list[str] | None = None) -> None:
    """Train, test and record every system; the curves are those of the first seed.

    A run that is stopped goes on where it was: what is trained is in the artifact cache.
    """
    command = Command("experiments.backbones", __doc__, data=False, seeds=True)
    options = command.read(arguments)
    data, seconds, curves = load_dataset("ml-100k"), {}, {}
    scores = popularity(data).expand(data.n_users, -1), item_knn(data, data.histories("test"))
    runs = {name: {0: Run(ranks_on_test(s, data))} for name, s in zip(COUNTED, scores, strict=True)}
    for system, config in trained_systems(data.name).items():
        seconds[system] = round(cpu_seconds_per_epoch(data, config), 1)
        runs[system] = {seed: run_trained(data, config, seed) for seed in options.seeds}
        first = runs[system][options.seeds[0]]
        curves[system] = [point["valid NDCG@20"] for point in first.curve]
        command.say(f"{system} is trained and tested")
    rows = summarise_runs(runs)
    for row in rows:
        if row["system"] in seconds:
            row["cpu_seconds_per_epoch"] = seconds[row["system"]]
        command.say(f"{row['system']}: NDCG@20 {row[METRIC]:.4f} over {row['n_seeds']} seeds")
    content = {"data": sizes(data), "seeds": options.seeds, "reference": REFERENCE}
    command.record(options.record, {**content, "rows": rows, "valid_ndcg20": curves})
