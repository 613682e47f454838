"""Item-based nearest neighbours (Sarwar et al. 2001): items bought by the same users are alike."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from itertools import product
from typing import TYPE_CHECKING

import numpy as np
import torch
from scipy import sparse
from torch import Tensor

from ..ranking import ndcg, rank_of_target

if TYPE_CHECKING:
    from ..data import Dataset, Sequences

NEIGHBOURS = (10, 20, 50, 100, 200)
RECENT = (2, 3, 5, 10, 20, None)
SHRINKAGE = (0.0, 10.0, 50.0)


@dataclass(frozen=True)
class ItemKNNConfig:
    """What the validation items choose.

    Attributes:
        n_neighbours: similar items kept for each item.
        n_recent: items at the end of a history that count; None for all.
        shrinkage: lowers the similarity of items that few users share.
    """

    n_neighbours: int = 50
    n_recent: int | None = None
    shrinkage: float = 0.0


def item_knn(data: Dataset, histories: Sequences, config: ItemKNNConfig | None = None) -> Tensor:
    """Score each item by its summed similarity to the items of a history.

    Args:
        data: the data set; similarities come from its training part alone.
        histories: N histories to score for.
        config: None takes the best of a small grid on the validation items.

    Returns:
        [N, V+1] float32; column 0 is -inf, an empty history gives zeros.
    """
    config = tune_item_knn(data) if config is None else config
    similarity = item_similarity(data, config.n_neighbours, config.shrinkage)
    return _score(similarity, histories, config.n_recent)


def item_similarity(data: Dataset, n_neighbours: int, shrinkage: float = 0.0) -> sparse.csr_array:
    """Cosine between the columns of the users x items matrix of the training part.

    c(i, j) / (sqrt(c(i) c(j)) + shrinkage), with c(i, j) the users who have both.

    Args:
        data: the data set.
        n_neighbours: entries kept in each row, the largest; the diagonal is zero.
        shrinkage: as in the formula.

    Returns:
        [V+1, V+1] sparse matrix; row i holds the neighbours of item i.
    """
    matrix = _incidence(data.histories("train"), data.n_items)
    matrix.data[:] = 1.0
    shared = (matrix.T @ matrix).tocsr()
    counts = shared.diagonal()
    shared.setdiag(0)
    shared.eliminate_zeros()
    rows = np.repeat(np.arange(len(counts)), np.diff(shared.indptr))
    shared.data /= np.sqrt(counts[rows] * counts[shared.indices]) + shrinkage
    order = np.lexsort((shared.indices, -shared.data, rows))
    shared.data, shared.indices = shared.data[order], shared.indices[order]
    return _nearest(shared, n_neighbours)


def _nearest(similarity: sparse.csr_array, n: int) -> sparse.csr_array:
    """Keep the first n entries of each row; rows are stored largest first, and stay so."""
    lengths = np.diff(similarity.indptr)
    rank = np.arange(len(similarity.data)) - np.repeat(similarity.indptr[:-1], lengths)
    offsets = np.concatenate([[0], np.cumsum(np.minimum(lengths, n))])
    kept = rank < n
    return sparse.csr_array(
        (similarity.data[kept], similarity.indices[kept], offsets), shape=similarity.shape
    )


@lru_cache(maxsize=4)
def tune_item_knn(data: Dataset) -> ItemKNNConfig:
    """Choose the configuration with the best NDCG@20 on the validation items, history masked.

    Args:
        data: the data set; its answer is remembered, since every table asks for it.

    Returns:
        The best of `NEIGHBOURS` x `RECENT` x `SHRINKAGE`; the first of equals.
    """
    histories, targets = data.histories("valid"), data.targets("valid")
    best, best_value = ItemKNNConfig(), -1.0
    for shrinkage in SHRINKAGE:
        widest = item_similarity(data, max(NEIGHBOURS), shrinkage)
        for n_neighbours, n_recent in product(NEIGHBOURS, RECENT):
            scores = _score(_nearest(widest, n_neighbours), histories, n_recent)
            value = ndcg(rank_of_target(scores, targets, histories), 20).mean().item()
            if value > best_value:
                best, best_value = ItemKNNConfig(n_neighbours, n_recent, shrinkage), value
    return best


def _incidence(histories: Sequences, n_items: int) -> sparse.csr_array:
    """Histories x items; an item that a history holds twice counts twice."""
    shape = (len(histories), n_items + 1)
    cells = (histories.rows(), histories.flat)
    matrix = sparse.csr_array((np.ones(len(histories.flat), np.float32), cells), shape=shape)
    matrix.sum_duplicates()
    return matrix


def _score(similarity: sparse.csr_array, histories: Sequences, n_recent: int | None) -> Tensor:
    recent = histories if n_recent is None else histories.last(n_recent)
    scores = (_incidence(recent, similarity.shape[0] - 1) @ similarity).toarray()
    scores = torch.from_numpy(scores.astype(np.float32))
    scores[:, 0] = float("-inf")
    return scores
