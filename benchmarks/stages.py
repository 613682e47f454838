"""The stages that are measured against their floors, on MovieLens-100k and at larger shapes."""

from collections.abc import Iterator
from functools import partial

import numpy as np
import torch
from torch import Tensor

from latentcrs_utils.data.movielens import read_movielens_100k
from latentcrs_utils.data.preprocess import k_core, positives
from latentcrs_utils.data.sequences import Dataset, Sequences
from latentcrs_utils.language.embedder import Embedder
from latentcrs_utils.ranking import rank_by_factors

from .measure import Measurement, against_matrix_products, compare
from .training import WIDTH, measure_backbone, measure_em
from .worlds import ml_1m_shaped, random

_SENTENCES = (
    "something funny from the eighties",
    "a tense thriller, but please no horror tonight",
    "we need a film for the kids, with songs in it if there is one",
    "I loved the one with the train; more like that",
)


def five_core() -> Measurement:
    """The k-core to its fixed point, compared with counting each user and item once."""
    liked = positives(read_movielens_100k().ratings)

    def count_once() -> None:
        liked["user"].value_counts()
        liked["item"].value_counts()

    seconds, floor = compare(lambda: k_core(liked, 5), count_once)
    note = f"{len(liked):,} ratings to the fixed point"
    return Measurement("5-core", "ml-100k", seconds, "counting users and items once", floor, note)


def padding(data: Dataset) -> Measurement:
    """CSR to a padded batch of all users, compared with copying an array of that size."""
    histories = data.histories("test")
    padded = histories.pad(50)
    seconds, floor = compare(lambda: histories.pad(50), padded.copy, repeats=50)
    note = f"{len(histories)} histories to {list(padded.shape)}"
    return Measurement("padding", data.name, seconds, "copying the result", floor, note)


def random_ranking(
    n_users: int, n_items: int, length: int
) -> tuple[Tensor, Tensor, np.ndarray, Sequences]:
    """What a ranking needs: random S [U, d] and item vectors [V + 1, d], targets, histories."""
    rng = np.random.default_rng(0)
    offsets = np.arange(n_users + 1, dtype=np.int64) * length
    flat = rng.integers(1, n_items + 1, n_users * length).astype(np.int32)
    factors = random(n_users, WIDTH), random(n_items + 1, WIDTH, seed=1)
    return *factors, rng.integers(1, n_items + 1, n_users), Sequences(offsets, flat)


def full_ranking(
    scale: str, S: Tensor, V: Tensor, targets: np.ndarray, seen: Sequences, *, repeats: int
) -> Measurement:
    """Ranking every item for every user, compared with one product into memory that is there."""
    scores = torch.empty(len(S), len(V))
    return against_matrix_products(
        "full ranking",
        scale,
        lambda: rank_by_factors(S, V, targets, seen),
        f"{len(S):,} users x {len(V) - 1:,} items, history masked",
        aim=1.5,
        repeats=repeats,
        floor=("its product of scores", lambda: torch.mm(S, V.T, out=scores)),
    )


def embedder_and_texts(n_texts: int) -> tuple[Embedder, list[str]]:
    """The default embedder, its weights loaded, which keeps nothing; and different sentences."""
    texts = [f"{_SENTENCES[n % len(_SENTENCES)]} ({n})" for n in range(n_texts)]
    embedder = Embedder(reuse=False, batch_size=32)
    embedder.embed(texts[:1], progress=False)
    return embedder, texts


def of_ranking(data: Dataset, quick: bool) -> Iterator[Measurement]:
    """Full ranking, at three sizes of the catalogue."""
    factors = random(data.n_users, WIDTH), random(data.n_items + 1, WIDTH, seed=1)
    own = data.targets("test"), data.histories("test")
    yield full_ranking(data.name, *factors, *own, repeats=30)
    if not quick:
        yield full_ranking("ML-1M shapes", *random_ranking(6034, 3125, 95), repeats=5)
        # of the users some: the time is in proportion, the memory is bounded
        yield full_ranking("CDs shapes", *random_ranking(2048, 76_616, 12), repeats=3)


def of_backbone(data: Dataset, quick: bool) -> Iterator[Measurement]:
    """Pretraining by whole epochs."""
    yield measure_backbone(data, repeats=1 if quick else 3)
    if not quick:
        yield measure_backbone(ml_1m_shaped(), repeats=1)


def of_em(data: Dataset, quick: bool) -> Iterator[Measurement]:
    """EM by whole epochs."""
    for residual in (False, True):
        n_batches = 4 if quick else None
        yield measure_em(data, 256, 1 if quick else 3, residual=residual, n_batches=n_batches)
    for residual in () if quick else (False, True):
        yield measure_em(ml_1m_shaped(), 512, 1, residual=residual)


def of_embedding(data: Dataset, quick: bool) -> Iterator[Measurement]:
    """PromptEOL of one batch with the language model, compared with its own matrix products."""
    embedder, texts = embedder_and_texts(32)
    embed = partial(embedder.embed, texts, progress=False)
    note, repeats = f"{len(texts)} sentences in {embedder.dtype}", 1 if quick else 2
    yield against_matrix_products("embedding", embedder.name, embed, note, aim=1.5, repeats=repeats)


STAGES = {
    "data": lambda data, quick: iter((five_core(), padding(data))),
    "ranking": of_ranking,
    "backbone": of_backbone,
    "em": of_em,
    "embedding": of_embedding,
}
