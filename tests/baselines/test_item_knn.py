"""Popularity and item-kNN by hand, and on real data."""

from __future__ import annotations

import math

import pytest
import torch

from latentcrs_utils.baselines import item_knn as knn
from latentcrs_utils.baselines.item_knn import ItemKNNConfig, item_knn, tune_item_knn
from latentcrs_utils.baselines.popularity import popularity
from latentcrs_utils.data.sequences import Dataset, Sequences
from latentcrs_utils.ranking import ndcg, rank_of_target
from tests.made import made


@pytest.fixture
def small() -> Dataset:
    """Three users; the last two items of each (4 and 5) are validation and test."""
    rows = [[1, 2, 4, 5], [1, 2, 3, 4, 5], [1, 3, 3, 5, 4]]
    return made("small", rows, title=list("abcde"))


def test_popularity_and_similarity_by_hand(small: Dataset) -> None:
    assert popularity(small).tolist() == [float("-inf"), 3.0, 2.0, 3.0, 0.0, 0.0]
    similarity = knn.item_similarity(small, n_neighbours=5).toarray()
    # Users of 1: all three; of 2: two; of 3: two (a repeat counts once); 2 and 3 share one.
    assert similarity[1, 2] == pytest.approx(2 / math.sqrt(3 * 2))
    assert similarity[2, 3] == pytest.approx(1 / math.sqrt(2 * 2))
    assert similarity.diagonal().tolist() == [0.0] * 6
    assert (similarity == similarity.T).all()
    assert similarity[4:].sum() == 0
    shrunk = knn.item_similarity(small, n_neighbours=5, shrinkage=2.0).toarray()
    assert shrunk[2, 3] == pytest.approx(1 / (2 + 2))
    nearest = knn.item_similarity(small, n_neighbours=1).toarray()
    assert (nearest > 0).sum(1).tolist() == [0, 1, 1, 1, 0, 0]
    assert nearest[2].argmax() == 1  # 0.82, not 3 with 0.5


def test_scores_sum_the_similarities_of_the_history(small: Dataset) -> None:
    histories = Sequences.from_lists([[2, 3], [], [2, 1]])
    config = ItemKNNConfig(n_neighbours=5)
    scores = item_knn(small, histories, config)
    assert scores.shape == (3, 6)
    assert scores[0, 1].item() == pytest.approx(2 * 2 / math.sqrt(6))
    assert scores[1, 1:].tolist() == [0.0] * 5
    assert torch.isneginf(scores[:, 0]).all()
    latest = item_knn(small, histories, ItemKNNConfig(n_neighbours=5, n_recent=1))
    assert latest[0, 1].item() == pytest.approx(2 / math.sqrt(6))


def test_similarities_do_not_depend_on_the_blocks_of_items(small: Dataset, monkeypatch) -> None:
    whole = knn.item_similarity.__wrapped__(small, 5, 2.0)
    monkeypatch.setattr(knn, "_PRODUCTS", 3)
    blocks = knn.item_similarity.__wrapped__(small, 5, 2.0)
    for part in ("indptr", "indices", "data"):
        assert (getattr(whole, part) == getattr(blocks, part)).all()


def test_very_many_users_are_tuned_on_some(small: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def ranks(score_rows, targets, histories, *, n_items):
        asked.append((len(histories), targets.tolist()))
        return torch.ones(len(targets), dtype=torch.int64)

    monkeypatch.setattr(knn, "ranks_in_chunks", ranks)
    monkeypatch.setattr(knn, "MAX_TUNED", 2)
    tune_item_knn.__wrapped__(small)
    last = small.n_users - 1
    assert asked[0] == (2, small.targets("valid")[[0, last]].tolist())


def test_both_beat_chance_on_real_data_and_item_knn_is_better(data: Dataset) -> None:
    histories, targets = data.histories("valid"), data.targets("valid")

    def quality(scores: torch.Tensor) -> float:
        return ndcg(rank_of_target(scores, targets, histories), 20).mean().item()

    by_popularity = quality(popularity(data).expand(data.n_users, -1))
    by_neighbours = quality(item_knn(data, histories))
    assert by_neighbours >= quality(item_knn(data, histories, ItemKNNConfig()))
    assert by_neighbours > by_popularity > 2 * 20 / data.n_items
