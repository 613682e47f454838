"""Item-based nearest neighbours (Sarwar et al. 2001): items of the same users are alike."""

from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise, product

import numpy as np
import torch
from scipy import sparse
from torch import Tensor

from latentcrs_utils.data.sequences import Dataset, Sequences
from latentcrs_utils.ranking import ndcg, ranks_in_chunks

NEIGHBOURS = (10, 20, 50, 100, 200)
RECENT = (2, 3, 5, 10, 20, None)
SHRINKAGE = (0.0, 10.0, 50.0)
MAX_TUNED = 10_000
_PRODUCTS = 10_000_000  # pairs of items of one user counted at once; each takes about 30 bytes


@dataclass(frozen=True)
class ItemKNNConfig:
    """What the validation items choose.

    How many similar items are kept for each item, and how many at the end of a history count (None
    for all); `shrinkage` lowers the similarity of items that few users share.
    """

    n_neighbours: int = 50
    n_recent: int | None = None
    shrinkage: float = 0.0


def item_knn(data: Dataset, histories: Sequences, config: ItemKNNConfig | None = None) -> Tensor:
    """Score each item by its summed similarity to the items of a history, [N, V+1] float32.

    Similarities come from the training part alone; without a `config` it is the one that
    `tune_item_knn` finds. Column 0 is -inf, an empty history gives zeros.
    """
    config = tune_item_knn(data) if config is None else config
    similarity = item_similarity(data, config.n_neighbours, config.shrinkage)
    return _score(similarity, histories, config.n_recent)


@lru_cache(maxsize=4)
def item_similarity(data: Dataset, n_neighbours: int, shrinkage: float = 0.0) -> sparse.csr_array:
    """Cosine between the columns of the users x items matrix of the training part, [V+1, V+1].

    c(i, j) / (sqrt(c(i) c(j)) + shrinkage), with c(i, j) the users who have both. Row i keeps the
    `n_neighbours` items that are most similar to item i; the diagonal is zero.
    """
    matrix = incidence(data.histories("train"), data.n_items)
    matrix.data[:] = 1.0
    by_item = matrix.T.tocsr()
    counts = by_item.sum(1)
    # users who share an item with these items: no more products at once than memory is meant for
    n_products = by_item @ np.asarray(matrix.sum(1), dtype=np.float64)
    blocks = np.unique(np.cumsum(n_products) // _PRODUCTS, return_index=True)[1]
    parts = []
    for start, stop in pairwise([*blocks, len(counts)]):
        shared = (by_item[start:stop] @ matrix).tocsr()
        rows = np.repeat(np.arange(start, stop), np.diff(shared.indptr))
        values = shared.data / (np.sqrt(counts[rows] * counts[shared.indices]) + shrinkage)
        others = rows != shared.indices
        rows, columns, values = rows[others], shared.indices[others], values[others]
        order = np.lexsort((columns, -values, rows))
        offsets = np.searchsorted(rows, np.arange(start, stop + 1))
        found = (values[order], columns[order], offsets)
        parts.append(_nearest(sparse.csr_array(found, shape=shared.shape), n_neighbours))
    return sparse.csr_array(sparse.vstack(parts, format="csr"))


def _nearest(similarity: sparse.csr_array, n: int) -> sparse.csr_array:
    """Keep the first n entries of each row; rows are stored largest first, and stay so."""
    lengths = np.diff(similarity.indptr)
    kept = np.arange(similarity.nnz) - np.repeat(similarity.indptr[:-1], lengths) < n
    offsets = np.concatenate([[0], np.cumsum(np.minimum(lengths, n))])
    found = (similarity.data[kept], similarity.indices[kept], offsets)
    return sparse.csr_array(found, shape=similarity.shape)


@lru_cache(maxsize=4)
def tune_item_knn(data: Dataset) -> ItemKNNConfig:
    """The best of `NEIGHBOURS` x `RECENT` x `SHRINKAGE` by NDCG@20 on the validation items.

    Histories are masked; of more users than `MAX_TUNED`, so many spread evenly over all are asked.
    """
    histories, targets = data.histories("valid"), data.targets("valid")
    if data.n_users > MAX_TUNED:
        asked = np.linspace(0, data.n_users - 1, MAX_TUNED).astype(np.int64)
        histories, targets = histories.select(asked), targets[asked]

    def quality(config: ItemKNNConfig) -> float:
        widest = item_similarity(data, max(NEIGHBOURS), config.shrinkage)
        similarity = _nearest(widest, config.n_neighbours)

        def score_rows(rows: slice) -> Tensor:
            some = histories.select(np.arange(rows.start, rows.stop))
            return _score(similarity, some, config.n_recent)

        ranks = ranks_in_chunks(score_rows, targets, histories, n_items=data.n_items)
        return ndcg(ranks, 20).mean().item()

    grid = product(SHRINKAGE, NEIGHBOURS, RECENT)
    return max((ItemKNNConfig(n, recent, shrinkage) for shrinkage, n, recent in grid), key=quality)


def incidence(histories: Sequences, n_items: int) -> sparse.csr_array:
    """Histories x items; an item that a history holds twice counts twice."""
    cells, shape = (histories.rows(), histories.flat), (len(histories), n_items + 1)
    matrix = sparse.csr_array((np.ones(len(histories.flat), np.float32), cells), shape=shape)
    matrix.sum_duplicates()
    return matrix


def _score(similarity: sparse.csr_array, histories: Sequences, n_recent: int | None) -> Tensor:
    recent = histories if n_recent is None else histories.last(n_recent)
    scores = (incidence(recent, similarity.shape[0] - 1) @ similarity).toarray()
    scores = torch.from_numpy(scores.astype(np.float32))
    scores[:, 0] = float("-inf")
    return scores
