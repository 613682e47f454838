"""The stages that are measured, each on MovieLens-100k as the course runs it."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch

from latentcrs_utils.behavior.encoder import SASRec
from latentcrs_utils.behavior.pretraining import next_item_loss, next_item_windows
from latentcrs_utils.config import preset
from latentcrs_utils.data import Dataset, k_core, positives
from latentcrs_utils.data.movielens import read_movielens_100k
from latentcrs_utils.em.algorithm import Instances, Learner, generative_loss
from latentcrs_utils.em.items import item_vectors
from latentcrs_utils.em.networks import GenerativeModel, InferenceModel
from latentcrs_utils.language.embedder import Embedder
from latentcrs_utils.language.models import load_language_model
from latentcrs_utils.ranking import rank_of_target

from .measure import Measurement, against_matrix_products, compare

_SENTENCES = (
    "something funny from the eighties",
    "a tense thriller, but please no horror tonight",
    "we need a film for the kids, with songs in it if there is one",
    "I loved the one with the train; more like that",
)


def stages(data: Dataset) -> Iterator[Measurement]:
    """Measure all stages, cheapest first."""
    yield five_core()
    yield padding(data)
    yield full_ranking(data)
    yield backbone_step(data)
    yield em_step(data)
    yield embedding()


def five_core() -> Measurement:
    """The k-core to its fixed point, beside counting each user and item once."""
    liked = positives(read_movielens_100k().ratings)

    def count_once() -> None:
        liked["user"].value_counts()
        liked["item"].value_counts()

    seconds, floor_seconds = compare(lambda: k_core(liked, 5), count_once)
    note = f"{len(liked):,} ratings to the fixed point"
    return Measurement("5-core", seconds, "counting users and items once", floor_seconds, note)


def padding(data: Dataset, length: int = 50) -> Measurement:
    """CSR to a padded batch of all users, beside copying an array of that size."""
    histories = data.histories("test")
    padded = histories.pad(length)
    seconds, floor_seconds = compare(lambda: histories.pad(length), padded.copy, repeats=50)
    note = f"{len(histories)} histories to [{len(histories)}, {length}]"
    return Measurement("padding", seconds, "copying the result", floor_seconds, note)


def full_ranking(data: Dataset, hidden: int = 64) -> Measurement:
    """Ranking every item for every user, history masked, beside the matrix product of scores."""
    generator = torch.Generator().manual_seed(0)
    S = torch.randn(data.n_users, hidden, generator=generator)
    V = torch.randn(data.n_items + 1, hidden, generator=generator)
    targets, seen = data.targets("test"), data.histories("test")
    seconds, floor_seconds = compare(
        lambda: rank_of_target(S @ V.T, targets, seen), lambda: S @ V.T, repeats=30
    )
    note = f"{data.n_users} users x {data.n_items:,} items"
    return Measurement("full ranking", seconds, "its matrix product", floor_seconds, note)


def backbone_step(data: Dataset) -> Measurement:
    """One step of pretraining with the full softmax, beside its own matrix products."""
    config = preset(data.name).backbone
    encoder = SASRec(data.n_items, config).train()
    inputs, targets = next_item_windows(data.histories("train"), config.max_length)
    # the longest histories: a full batch, hardly any padding
    rows = torch.from_numpy(np.argsort(-data.histories("train").lengths)[: config.batch_size])
    generator = torch.Generator().manual_seed(0)

    def step() -> None:
        encoder.zero_grad(set_to_none=True)
        loss = next_item_loss(encoder, inputs[rows], targets[rows], "ce", generator)
        loss.backward()

    note = f"{len(rows)} windows of {config.max_length}, forward and backward"
    return against_matrix_products("backbone step", step, torch.float32, note)


def em_step(data: Dataset, width: int = 64, text_width: int = 576) -> Measurement:
    """One M-step batch of `LatentCRS+`, beside its own matrix products."""
    options = preset(data.name)
    config, K = options.em_plus, options.anchors.K
    generator = torch.Generator().manual_seed(0)

    def random(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=generator)

    v = random(data.n_items + 1, width)
    model = GenerativeModel(
        random(K, width), v, item_vectors(v, data), text_width, residual=True
    ).train()
    learner = Learner.start(model, InferenceModel(width), config, seed=0)
    n = config.batch_size
    batch = Instances(
        random(n, width),
        random(n, text_width),
        torch.randint(1, len(v), (n,), generator=generator),
        data.histories("train").select(np.arange(n)),
    )

    def step() -> None:
        model.zero_grad(set_to_none=True)
        generative_loss(learner, batch).backward()

    note = f"{n} instances, {K} intents, {data.n_items:,} items, forward and backward"
    return against_matrix_products("EM step", step, torch.float32, note)


def embedding(n_texts: int = 32) -> Measurement:
    """PromptEOL of one batch with the language model, beside its own matrix products."""
    texts = [f"{_SENTENCES[n % len(_SENTENCES)]} ({n})" for n in range(n_texts)]
    # nothing is kept, so that every call computes
    embedder = Embedder(reuse=False, batch_size=n_texts)
    dtype = next(load_language_model(dtype=embedder.dtype).model.parameters()).dtype
    note = f"{n_texts} sentences, {embedder.name}, {embedder.dtype}"
    return against_matrix_products(
        "embedding", lambda: embedder.embed(texts, progress=False), dtype, note, repeats=3
    )
