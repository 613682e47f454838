"""``python -m benchmarks.catalogue_scale``: what touches all items, at the size of Amazon CDs.

The data are *generated*: 104,544 users, 76,616 items, about 12 actions a user, with random vectors
in place of a trained backbone and of embedded sentences.  Times and memory depend on sizes alone;
how good a recommendation is cannot be read from them.  Every stage runs in a process of its own,
whose peak memory is that of the stage, its data and the libraries.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import polars as pl
import torch

from latentcrs_utils.baselines.direct import DirectModel, TextScorer
from latentcrs_utils.behavior.pretraining import Backbone
from latentcrs_utils.behavior.sasrec import SASRec
from latentcrs_utils.config import BackboneConfig, EMConfig, preset
from latentcrs_utils.conversation.session import Conversation
from latentcrs_utils.data.sequences import Dataset
from latentcrs_utils.em.instances import Instances, item_vectors
from latentcrs_utils.em.model import LatentCRS
from latentcrs_utils.em.networks import GenerativeModel, InferenceModel, Residual
from latentcrs_utils.em.trainer import EMTrainer
from latentcrs_utils.evaluation.one_turn import EvalSet, Fitted, Scorer, evaluate, scorers
from latentcrs_utils.evaluation.recording import Command, provenance, write_record
from latentcrs_utils.intents import Anchors, count_items, describe_anchor, k_means, name_anchors
from latentcrs_utils.ranking import rank_by_factors
from latentcrs_utils.support.device import peak_memory

from .training import backbone_epoch
from .worlds import generated_data

RECORD = Path(__file__).resolve().parent.parent / "results" / "catalogue_scale.json"
N_USERS, N_ITEMS, MEAN_LENGTH = 104_544, 76_616, 12.0
WIDTH, TEXT_WIDTH, K = 64, 576, 128
# the systems are asked for so many users; their time grows with the number, their memory does not
N_CASES = 4_096
N_BATCHES, N_NEGATIVES, N_TURNS = 20, 10, 20
TEXTS = ("something funny from the eighties", "a tense thriller", "no horror please", "anything")


def _random(*shape: int, seed: int = 0, scale: float = 0.3) -> torch.Tensor:
    return scale * torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def _backbone(data: Dataset) -> Backbone:
    config = BackboneConfig(hidden=WIDTH)
    encoder = SASRec(data.n_items, config).eval().requires_grad_(False)
    return Backbone(config, encoder, [], data.n_items)


def random_model(data: Dataset, *, residual: bool, config: EMConfig | None = None) -> LatentCRS:
    """An unfitted `LatentCRS` (or `LatentCRS+`) of the sizes above, to be timed and nothing else.

    Its language reads any text as a random vector, so that a turn is timed without the language
    model.
    """
    config = config or EMConfig(residual=residual)
    anchors = Anchors(
        centroids=_random(K, WIDTH, seed=1),
        sizes=torch.ones(K, dtype=torch.int64),
        names=tuple(f"intent {number}" for number in range(K)),
        assignments=torch.zeros(data.n_users, dtype=torch.int64),
        item_counts=torch.zeros(1, data.n_items + 1, dtype=torch.int64),
        inertia=0.0,
    )
    backbone = _backbone(data)
    v = backbone.item_embeddings
    generative = GenerativeModel(
        anchors.centroids, v, item_vectors(v, data), TEXT_WIDTH, residual=residual
    )
    language: Any = SimpleNamespace(
        mean=torch.zeros(TEXT_WIDTH),
        encode=lambda texts, progress: _random(len(texts), TEXT_WIDTH, seed=len(texts[0])),
    )
    inference = InferenceModel(WIDTH)
    for module in (generative, inference):
        module.eval().requires_grad_(False)
    return LatentCRS(data, backbone, anchors, language, config, generative, inference, [])


def turn_seconds(model: LatentCRS, n_turns: int = N_TURNS) -> dict[str, float]:
    """Seconds that a turn's recommendation takes: everything except the language model.

    Embedding and wording are left out; posteriors, the scores of all items, the mask, the choice
    and what is said about the intents are in.

    Args:
        model: whatever `fit_em` returned, or `random_model`.
        n_turns: turns of one conversation, after a first one that computes what all share.

    Returns:
        "first", and "median" and "slowest" of the others; "processor": their median in seconds of
        the processor, which others on the machine disturb less.
    """
    chat = Conversation(model, user=model.data.users["raw_user"][0], chat_model=None)
    messages = [f"{TEXTS[number % len(TEXTS)]} ({number})" for number in range(n_turns + 1)]
    (first, _), *times = [seconds_of(partial(chat.say, message)) for message in messages]
    clock, processor = np.array(times).T
    return {
        "first": first,
        "median": float(np.median(clock)),
        "slowest": float(clock.max()),
        "processor": float(np.median(processor)),
    }


def _cases(data: Dataset, n: int) -> EvalSet:
    histories = data.histories("test").select(np.arange(n))
    targets = torch.from_numpy(data.targets("test")[:n])
    instances = Instances(_random(n, WIDTH), _random(n, TEXT_WIDTH, seed=2), targets, histories)
    frame = pl.DataFrame({"user": np.arange(n), "level": "plain", "phrasing": "test"})
    return EvalSet(instances, [TEXTS[row % len(TEXTS)] for row in range(n)], frame)


def _scorer(data: Dataset, name: str) -> Scorer:
    """The scorer of one row of the one-turn table, unfitted."""
    backbone, nothing = _backbone(data), cast(Any, None)
    v = backbone.item_embeddings
    c = item_vectors(v, data)

    def direct(kind: type[TextScorer] | type[Residual]) -> DirectModel:
        scorer = kind(TEXT_WIDTH, WIDTH, c.shape[1], 256, 0.5).eval().requires_grad_(False)
        return DirectModel(name, scorer, v, c, [])

    models = (random_model(data, residual=residual) for residual in (False, True))
    parts = (backbone, nothing, direct(TextScorer), direct(Residual), *models)
    return scorers(Fitted(data, nothing, *parts))[name]


SYSTEMS = (
    "popularity", "item-kNN", "backbone alone", "text alone", "backbone + lexicon filter",
    "fusion without intents", "LatentCRS", "LatentCRS+",
)  # fmt: skip


def seconds_of(function: Callable[[], Any]) -> tuple[float, float]:
    """Seconds on the clock and seconds of the processor of one call."""
    clock, processor = time.perf_counter(), time.process_time()
    function()
    return time.perf_counter() - clock, time.process_time() - processor


def timed(n: int, function: Callable[[], Any]) -> dict[str, Any]:
    """What a stage that handled ``n`` users or turns took."""
    clock, processor = seconds_of(function)
    return {"seconds": clock, "processor_seconds": processor, "n": n}


def ranking(data: Dataset) -> dict[str, Any]:
    """Rank all items for all users by two factors, history masked."""
    S, items = _random(data.n_users, WIDTH), _random(data.n_items + 1, WIDTH, seed=1)
    targets, seen = data.targets("test"), data.histories("test")
    found = timed(len(S), lambda: rank_by_factors(S, items, targets, seen))
    # the product of some users, the whole would take 32 GB
    some = S[:2048]
    product = seconds_of(lambda: some @ items.T)[1] * len(S) / len(some)
    return {**found, "times_its_product": found["processor_seconds"] / product}


def one_turn(data: Dataset, name: str) -> dict[str, Any]:
    """Evaluate one system on some users, as the one-turn table does."""
    n = min(N_CASES, data.n_users)
    cases, scorer = _cases(data, n), _scorer(data, name)
    return timed(n, lambda: evaluate(cases, {name: scorer}))


def em(data: Dataset, n_negatives: int | None) -> dict[str, Any]:
    """E-pass and M-pass of `LatentCRS+` over some batches."""
    config = EMConfig(residual=True, n_negatives=n_negatives)
    model = random_model(data, residual=True, config=config)
    for module in (model.generative, model.inference):
        module.requires_grad_(True)
    n = min(data.n_users, config.batch_size * (N_BATCHES if n_negatives else 2))
    trainer = EMTrainer(model.generative, model.inference, config, _cases(data, n).instances)
    return timed(n, lambda: (trainer.e_step(), trainer.m_step()))


def pretraining(data: Dataset) -> dict[str, Any]:
    """An epoch of the backbone with the sampled softmax of the preset of Amazon CDs."""
    config = preset("amazon-cds").backbone
    config = replace(config, n_negatives=min(config.n_negatives, data.n_items // 2))
    return timed(data.n_users, backbone_epoch(data, config))


def clustering(data: Dataset) -> dict[str, Any]:
    """k-means on all users' states, then counts, names and a description of an anchor."""
    S = _random(data.n_users, WIDTH)
    histories = data.histories("train")

    def cluster() -> None:
        centroids, assignments, inertia = k_means(S, K)
        counts = count_items(histories.last(10), assignments, K, data.n_items)
        sizes = torch.bincount(assignments, minlength=K)
        names = name_anchors(data, counts, sizes)
        anchors = Anchors(centroids, sizes, names, assignments, counts, inertia)
        describe_anchor(anchors, data, 0)

    return timed(len(S), cluster)


def turn(data: Dataset) -> dict[str, Any]:
    """One turn's recommendation of `LatentCRS+`, without the language model."""
    seconds = turn_seconds(random_model(data, residual=True))
    measures = {"seconds": seconds["median"], "processor_seconds": seconds["processor"]}
    return {**measures, "n": 1, **seconds}


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


def in_a_process(stage: str, n_users: int, n_items: int) -> dict[str, Any]:
    """`run_stage` in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "stage.json"
        command = [sys.executable, "-m", "benchmarks.catalogue_scale", "--stage", stage]
        command += ["--users", str(n_users), "--items", str(n_items), "--record", str(file)]
        subprocess.run(command, check=True)
        found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        return found


def main(arguments: list[str] | None = None) -> None:
    """Run all stages, print a table, write the record."""
    command = Command("benchmarks.catalogue_scale", __doc__, data=None, record=False)
    command.parser.set_defaults(record=RECORD)
    command.parser.add_argument("--users", type=int, default=N_USERS)
    command.parser.add_argument("--items", type=int, default=N_ITEMS)
    command.parser.add_argument("--stage", choices=list(STAGES), help="one alone, in this process")
    options = command.read(arguments)
    if options.stage:
        write_record(options.record, run_stage(options.stage, options.users, options.items))
        return
    results = {}
    print(f"{options.users:,} users, {options.items:,} items: generated data, random vectors")
    for stage in STAGES:
        results[stage] = found = in_a_process(stage, options.users, options.items)
        print(
            f"{stage:36} {found['seconds']:9.3f} s ({found['processor_seconds']:.3f} s of the "
            f"processor) for {found['n']:>7,}   peak {found['peak_bytes'] / 2**30:5.2f} GiB"
            f" (data and libraries {found['bytes_before'] / 2**30:.2f})",
            flush=True,
        )
    content = {
        "provenance": provenance(command.line, ["torch", "numpy"]),
        "generated": True,
        "users": options.users,
        "items": options.items,
        "K": K,
        "width": WIDTH,
        "text_width": TEXT_WIDTH,
        "threads": torch.get_num_threads(),
        "stages": results,
    }
    write_record(options.record, content)


if __name__ == "__main__":
    main()
