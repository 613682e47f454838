"""Traits of test cases, and results by part."""

from __future__ import annotations

import numpy as np
import pytest

from latentcrs_utils.data.sequences import Dataset
from latentcrs_utils.evaluation.one_turn import (
    by_part,
    history_similarity,
    means_by_part,
    parts_of_equal_size,
    target_popularity,
)


def test_popularity_counts_training_parts_alone(data: Dataset) -> None:
    user = 17
    target = int(data.targets("test")[user])
    expected = sum(target in data.histories("train")[u] for u in range(data.n_users))
    assert target_popularity(data)[user] == expected


def test_similarity_is_the_mean_overlap_with_the_last_films(data: Dataset) -> None:
    found = history_similarity(data)
    genres = [set(), *map(set, data.items["genres"])]
    for user in (0, 3, 500, 937):
        target = genres[data.targets("test")[user]]
        overlaps = [
            len(genres[i] & target) / max(1, len(genres[i] | target))
            for i in data.histories("test")[user][-10:]
        ]
        assert found[user] == pytest.approx(np.mean(overlaps))
    assert found.min() >= 0 and found.max() <= 1
    assert not np.allclose(found, history_similarity(data, n_last=1))


def test_parts_have_nearly_equal_size_and_keep_ties_together() -> None:
    values = np.array([5, 1, 1, 1, 9, 7, 3, 2])
    parts = parts_of_equal_size(values)

    assert len(set(parts[[1, 2, 3]].tolist())) == 1
    sizes = np.bincount(parts_of_equal_size(np.random.default_rng(0).random(1000)))
    assert sizes.tolist() == [250] * 4
    # order is kept: a higher value is never in a lower part
    order = np.argsort(values)
    assert (np.diff(parts[order]) >= 0).all()


def test_means_by_part() -> None:
    table = by_part(np.array([0.0, 1.0, 0.5, 0.5]), np.array([0, 0, 2, 2]), ["a", "b", "c"])
    assert table["part"].to_list() == ["a", "c"]  # nobody is in b
    assert table["mean"].to_list() == [0.5, 0.5] and table["n"].to_list() == [2, 2]
    first, last = table.to_dicts()
    assert first["low"] < 0.5 < first["high"]
    assert last["low"] == last["high"] == 0.5
    with pytest.raises(ValueError, match="do not fit"):
        by_part(np.zeros(2), np.array([0, 3]), ["a", "b", "c"])


def test_several_systems_at_once() -> None:
    values, parts = {"one": np.array([0.0, 1.0, 0.5]), "two": np.ones(3)}, np.array([0, 0, 1])
    means, ends = means_by_part(values, parts, ["a", "b"])
    assert means == {"one": {"a": 0.5, "b": 0.5}, "two": {"a": 1.0, "b": 1.0}}
    assert ends["one"]["a"] == by_part(values["one"], parts, ["a", "b"]).select("low", "high").row(
        0
    )
