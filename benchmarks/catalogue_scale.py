"""``python -m benchmarks.catalogue_scale``: what touches all items, at the size of Amazon CDs.

The data are *generated*: 104,544 users, 76,616 items, about 12 actions a user, with random vectors
in place of a trained backbone and of embedded sentences: they tell time and memory, not how good a
recommendation is. Every stage runs in a process of its own, whose peak memory is that of the stage,
its data and the libraries.
"""

import json
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import polars as pl
import torch

from latentcrs_utils import intents
from latentcrs_utils.baselines.direct import DirectModel, TextScorer
from latentcrs_utils.behavior.pretraining import Backbone
from latentcrs_utils.behavior.sasrec import SASRec
from latentcrs_utils.config import BackboneConfig, EMConfig, preset
from latentcrs_utils.conversation.session import Conversation
from latentcrs_utils.data.sequences import Dataset
from latentcrs_utils.em.instances import Instances, item_vectors
from latentcrs_utils.em.model import LatentCRS
from latentcrs_utils.em.networks import GenerativeModel, InferenceModel, Residual
from latentcrs_utils.evaluation.one_turn import EvalSet, Fitted, evaluate, scorers
from latentcrs_utils.evaluation.recording import Command, provenance, write_record
from latentcrs_utils.ranking import rank_by_factors
from latentcrs_utils.support.device import peak_memory

from .measure import ROOT, in_a_process
from .training import TEXT_WIDTH, WIDTH, backbone_epoch, em_epoch
from .worlds import generated_data, random

RECORD = ROOT / "results" / "catalogue_scale.json"
N_USERS, N_ITEMS, MEAN_LENGTH, K = 104_544, 76_616, 12.0, 128
N_CASES = 4_096  # of users asked for; a system's time grows with it, its memory does not
N_BATCHES, N_NEGATIVES, N_TURNS = 20, 10, 20
TEXTS = ("something funny from the eighties", "a tense thriller", "no horror please", "anything")
SYSTEMS = (
    "popularity", "item-kNN", "backbone alone", "text alone", "backbone + lexicon filter",
    "fusion without intents", "LatentCRS", "LatentCRS+",
)  # fmt: skip


def random_model(data: Dataset, *, residual: bool) -> LatentCRS:
    """An unfitted `LatentCRS` (or `LatentCRS+`) that reads texts as random vectors."""
    backbone = _backbone(data)
    v = backbone.item_embeddings
    anchors = intents.Anchors(
        centroids=random(K, WIDTH, seed=1),
        sizes=torch.ones(K, dtype=torch.int64),
        names=tuple(f"intent {number}" for number in range(K)),
        assignments=torch.zeros(data.n_users, dtype=torch.int64),
        item_counts=torch.zeros(1, data.n_items + 1, dtype=torch.int64),
        inertia=0.0,
    )
    language: Any = SimpleNamespace(
        embedder=None,
        mean=torch.zeros(TEXT_WIDTH),
        encode=lambda texts, progress: random(len(texts), TEXT_WIDTH, seed=len(texts[0])),
    )
    c, config = item_vectors(v, data), EMConfig(residual=residual)
    generative = GenerativeModel(anchors.centroids, v, c, TEXT_WIDTH, residual=residual)
    models = [model.eval().requires_grad_(False) for model in (generative, InferenceModel(WIDTH))]
    return LatentCRS(data, backbone, anchors, language, config, *models, [])


def _backbone(data: Dataset) -> Backbone:
    config = BackboneConfig(hidden=WIDTH)
    encoder = SASRec(data.n_items, config).eval().requires_grad_(False)
    return Backbone(config, encoder, [])


def timed(n: int, function: Callable[[], Any]) -> dict[str, Any]:
    """What a stage that handled ``n`` users or turns took, on the clock and of the processor."""
    clock, processor = time.perf_counter(), time.process_time()
    function()
    spent = {"seconds": time.perf_counter() - clock}
    return spent | {"processor_seconds": time.process_time() - processor, "n": n}


def turn(data: Dataset) -> dict[str, Any]:
    """One turn of `LatentCRS+` but for embedding and wording; medians after a first turn."""
    model = random_model(data, residual=True)
    chat = Conversation(model, user=data.users["raw_user"][0], chat_model=None)
    messages = [f"{TEXTS[number % len(TEXTS)]} ({number})" for number in range(N_TURNS + 1)]
    first, *others = [timed(1, partial(chat.say, message)) for message in messages]
    median = {name: float(np.median([took[name] for took in others])) for name in first}
    slowest = max(took["seconds"] for took in others)
    return median | {"n": 1, "first": first["seconds"], "slowest": slowest}


def ranking(data: Dataset) -> dict[str, Any]:
    """Rank all items for all users by two factors, history masked."""
    S, items = random(data.n_users, WIDTH), random(data.n_items + 1, WIDTH, seed=1)
    targets, seen = data.targets("test"), data.histories("test")
    return timed(len(S), lambda: rank_by_factors(S, items, targets, seen))


def one_turn(data: Dataset, name: str) -> dict[str, Any]:
    """Evaluate one system, unfitted, on some users, as the one-turn table does."""
    backbone, nothing = _backbone(data), cast(Any, None)
    v = backbone.item_embeddings
    c = item_vectors(v, data)

    def direct(kind: type[TextScorer] | type[Residual]) -> DirectModel:
        scorer = kind(TEXT_WIDTH, WIDTH, c.shape[1], 256, 0.5).eval().requires_grad_(False)
        return DirectModel(name, scorer, scorer.items(v, c), [])

    models = (random_model(data, residual=residual) for residual in (False, True))
    parts = (backbone, nothing, direct(TextScorer), direct(Residual), *models)
    scorer = {name: scorers(Fitted(data, nothing, *parts))[name]}
    n = min(N_CASES, data.n_users)
    histories = data.histories("test").select(np.arange(n))
    targets = torch.from_numpy(data.targets("test")[:n])
    instances = Instances(random(n, WIDTH), random(n, TEXT_WIDTH, seed=2), targets, histories)
    frame = pl.DataFrame({"user": np.arange(n), "level": "plain", "phrasing": "test"})
    cases = EvalSet(instances, [TEXTS[row % len(TEXTS)] for row in range(n)], frame)
    return timed(n, lambda: evaluate(cases, scorer))


def em(data: Dataset, n_negatives: int | None) -> dict[str, Any]:
    """E-pass and M-pass of `LatentCRS+` over some batches."""
    options = {"residual": True, "n_negatives": n_negatives}
    epoch, instances = em_epoch(data, K, 1, n_batches=N_BATCHES if n_negatives else 2, **options)
    return timed(len(instances), epoch)


def pretraining(data: Dataset) -> dict[str, Any]:
    """An epoch of the backbone with the sampled softmax of the preset of Amazon CDs."""
    config = preset("amazon-cds").backbone
    config = replace(config, n_negatives=min(config.n_negatives, data.n_items // 2))
    return timed(data.n_users, backbone_epoch(data, config))


def clustering(data: Dataset) -> dict[str, Any]:
    """k-means on all users' states, then counts, names and a description of an anchor."""
    S, histories = random(data.n_users, WIDTH), data.histories("train")

    def cluster() -> None:
        centroids, assignments, inertia = intents.k_means(S, K)
        counts = intents.count_items(histories.last(10), assignments, K, data.n_items)
        sizes = torch.bincount(assignments, minlength=K)
        users, cuts = intents.naming_moments(data, 0)
        names, _ = intents.name_anchors(data, counts, sizes, users, cuts, assignments[users])
        anchors = intents.Anchors(centroids, sizes, names, assignments, counts, inertia)
        intents.describe_anchor(anchors, data, 0)

    return timed(len(S), cluster)


STAGES: dict[str, Callable[[Dataset], dict[str, Any]]] = {
    "conversation turn": turn,
    "ranking by factors": ranking,
    **{f"one turn, {name}": partial(one_turn, name=name) for name in SYSTEMS},
    "backbone epoch, sampled softmax": pretraining,
    "EM epoch, 10 negatives": partial(em, n_negatives=N_NEGATIVES),
    "EM epoch, all items": partial(em, n_negatives=None),
    "anchors": clustering,
}


def run_stage(stage: str, n_users: int, n_items: int) -> dict[str, Any]:
    """Generate the data and run one stage in this process; its times and the process's peak."""
    data = generated_data("CDs shapes, generated", n_users, n_items, MEAN_LENGTH)
    before = peak_memory(torch.device("cpu"))
    found = STAGES[stage](data)
    return {**found, "peak_bytes": peak_memory(torch.device("cpu")), "bytes_before": before}


def main(arguments: list[str] | None = None) -> None:
    """Run all stages, print a table, write the record."""
    command = Command("benchmarks.catalogue_scale", __doc__, data=None, record=False)
    command.parser.set_defaults(record=RECORD)
    add = command.parser.add_argument
    add("--users", type=int, default=N_USERS)
    add("--items", type=int, default=N_ITEMS)
    add("--stage", choices=list(STAGES), help="print the measures of this one, nothing else")
    options = command.read(arguments)
    if options.stage:
        print(json.dumps(run_stage(options.stage, options.users, options.items)))
        return
    results = {}
    print(f"{options.users:,} users, {options.items:,} items: generated data, random vectors")
    sizes = ("--users", str(options.users), "--items", str(options.items))
    for stage in STAGES:
        found = in_a_process("benchmarks.catalogue_scale", "--stage", stage, *sizes)
        results[stage] = found
        print(
            f"{stage:36} {found['seconds']:9.3f} s ({found['processor_seconds']:.3f} s of the "
            f"processor) for {found['n']:>7,}   peak {found['peak_bytes'] / 2**30:5.2f} GiB"
            f" (data and libraries {found['bytes_before'] / 2**30:.2f})",
            flush=True,
        )
    content = {"provenance": provenance(command.line, ["torch", "numpy"]), "generated": True}
    content |= {"users": options.users, "items": options.items, "K": K}
    content |= {"width": WIDTH, "text_width": TEXT_WIDTH, "threads": torch.get_num_threads()}
    write_record(options.record, {**content, "stages": results})


if __name__ == "__main__":
    main()
