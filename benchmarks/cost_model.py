"""``python -m benchmarks.cost_model``: time and memory of every stage against its sizes.

Small grids of generated data; for each stage a law of a few terms that theory suggests, fitted
with the last point left out, which then tests it. Writes ``results/cost_model.json``.
"""

import tomllib
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl
import torch

from experiments.cost_model import RECORD, Case, fit_law, terms_of
from latentcrs_utils.config import BackboneConfig
from latentcrs_utils.data.preprocess import k_core
from latentcrs_utils.evaluation.recording import PACKAGES, Command, provenance, write_record
from latentcrs_utils.intents import k_means
from latentcrs_utils.ranking import rank_by_factors

from .measure import clock, compare, peak_bytes
from .stages import embedder_and_texts, random_ranking
from .training import backbone_epoch, efficiency_of_two, em_epoch
from .worlds import generated_data, random

K_MEANS_ROUNDS, STATES_A_USER, LENGTH = 20, 9, 40


class Stage(NamedTuple):
    """``call`` maps sizes to the case and the function to time; the TOML explains the rest."""

    name: str
    call: Callable[..., tuple[Case, Callable[[], Any]]]
    grid: Sequence[Sequence[int]]
    seconds: Sequence[str]
    memory: Sequence[str]
    note: str


def filtering(n_users: int, n_items: int) -> tuple[Case, Callable[[], Any]]:
    """The 5-core of all ratings."""
    data = generated_data("cost", n_users, n_items, LENGTH)
    frame = pl.DataFrame({"user": data.interactions.rows(), "item": data.interactions.flat})
    return Case(n_users, n_items, actions=len(frame)), lambda: k_core(frame, 5)


def backbone(n_users: int, n_items: int) -> tuple[Case, Callable[[], Any]]:
    """One epoch over all windows, full softmax."""
    data = generated_data("cost", n_users, n_items, LENGTH)
    case = Case(n_users, n_items, actions=len(data.interactions.flat))
    return case, backbone_epoch(data, BackboneConfig(windows="all"))


def em(n_users: int, n_items: int, K: int) -> tuple[Case, Callable[[], Any]]:
    """One epoch of LatentCRS+: an E-pass and an M-pass over all instances."""
    data = generated_data("cost", n_users, n_items, LENGTH)
    epoch, instances = em_epoch(data, K=K, n_cuts=5, residual=True)
    case = Case(n_users, n_items, K, actions=len(data.interactions.flat), instances=len(instances))
    return case, epoch


def ranking(n_users: int, n_items: int) -> tuple[Case, Callable[[], Any]]:
    """All items ranked for every user, history masked."""
    parts = random_ranking(n_users, n_items, LENGTH)
    return Case(n_users, n_items), lambda: rank_by_factors(*parts)


def clustering(n_users: int, K: int) -> tuple[Case, Callable[[], Any]]:
    """k-means of nine states a user: one start, a fixed number of rounds."""
    S = random(STATES_A_USER * n_users, 64)
    return Case(n_users, 1, K), lambda: k_means(S, K, max_iterations=K_MEANS_ROUNDS)


def embedding(n_texts: int) -> tuple[Case, Callable[[], Any]]:
    """PromptEOL of so many sentences."""
    embedder, texts = embedder_and_texts(n_texts)
    return Case(1, 1, texts=n_texts), lambda: embedder.embed(texts, progress=False)


CALLS = {
    "data filtering": filtering,
    "backbone epoch": backbone,
    "EM epoch": em,
    "ranking": ranking,
    "k-means": clustering,
    "embedding": embedding,
}
_LAWS = tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))
STAGES = tuple(Stage(name, call, **_LAWS[name]) for name, call in CALLS.items())


def measure_point(stage: Stage, sizes: Sequence[int]) -> dict[str, Any]:
    """Time one point of a stage's grid, and its memory above what the process had."""
    case, function = stage.call(*sizes)
    peak = peak_bytes(function)
    (seconds,) = compare(function, repeats=1, warm=True)
    if seconds < 1:
        # what is cheap is repeated
        (seconds,) = compare(function, repeats=9 if seconds < 0.05 else 3, warm=True)
    memory = f"{(peak or 0) / 1e6:.0f} MB"
    print(f"{stage.name:15} {sizes!s:18} {seconds:8.3f} s {memory:>8}", flush=True)
    return {"case": case, "seconds": seconds, "bytes": peak}


def law(stage: Stage, points: Sequence[dict[str, Any]], efficiency: float | None) -> dict:
    """Fit both laws of a stage to all points but the last, and test them on the last."""
    cases = [point["case"] for point in points]
    row: dict[str, Any] = {"note": stage.note, "efficiency": efficiency}
    for what, names, least in (("seconds", stage.seconds, 1e-9), ("bytes", stage.memory, 1)):
        values = [max(point[what], least) for point in points]
        coefficients = fit_law(cases[:-1], values[:-1], names)
        predicted = [terms_of(case, names) @ np.array(coefficients) for case in cases]
        *fitted, held_out = (abs(np.array(predicted) / values - 1)).round(3).tolist()
        row[what] = {
            "terms": list(names),
            "coefficients": [float(f"{value:.4g}") for value in coefficients],
            "worst_fitted_error": max(fitted),
            "held_out_error": held_out,
        }
    return row


def main(arguments: list[str] | None = None) -> None:
    """Measure the grid of every stage, fit, test and write."""
    command = Command("benchmarks.cost_model", __doc__, data=None, record=False)
    command.parser.set_defaults(record=RECORD)
    options = command.read(arguments)
    two = efficiency_of_two()
    laws, measured = {}, []
    for stage in STAGES:
        points = [measure_point(stage, sizes) for sizes in stage.grid]
        adds = two["efficiency"] if two and stage.name == "backbone epoch" else None
        laws[stage.name] = law(stage, points, adds)
        measured += [{"stage": stage.name, **asdict(p.pop("case")), **p} for p in points]
    record = provenance(command.line, PACKAGES) | {
        "threads": torch.get_num_threads(),
        "clock": clock()[0],
        "laws": laws,
        "two_processes": two,
        "measured": measured,
    }
    write_record(options.record, record)
    for name, row in laws.items():
        off = row["seconds"]["held_out_error"]
        print(f"{name:15} the point left out is predicted within {off:.0%}")


if __name__ == "__main__":
    main()
