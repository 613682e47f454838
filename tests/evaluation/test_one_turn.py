"""Traits of test cases, results by part, ranks in chunks, and the table over seeds."""

import numpy as np
import polars as pl
import pytest
import torch

from latentcrs_utils.data.sequences import Dataset
from latentcrs_utils.evaluation import one_turn
from latentcrs_utils.evaluation.one_turn import EvalSet, by_part, evaluate, one_turn_cases
from latentcrs_utils.ranking import rank_of_target


def test_popularity_counts_training_parts_alone(data: Dataset) -> None:
    user = 17
    target = int(data.targets("test")[user])
    expected = sum(target in data.histories("train")[u] for u in range(data.n_users))
    assert one_turn.target_popularity(data)[user] == expected


def test_similarity_is_the_mean_overlap_with_the_last_films(data: Dataset) -> None:
    found = one_turn.history_similarity(data)
    genres = [set(), *map(set, data.items["genres"])]
    for user in (0, 3, 500, 937):
        target = genres[data.targets("test")[user]]
        overlaps = [
            len(genres[i] & target) / max(1, len(genres[i] | target))
            for i in data.histories("test")[user][-10:]
        ]
        assert found[user] == pytest.approx(np.mean(overlaps))
    assert found.min() >= 0 and found.max() <= 1
    assert not np.allclose(found, one_turn.history_similarity(data, n_last=1))


def test_parts_have_nearly_equal_size_and_keep_ties_together() -> None:
    values = np.array([5, 1, 1, 1, 9, 7, 3, 2])
    parts = one_turn.parts_of_equal_size(values)
    assert len(set(parts[[1, 2, 3]].tolist())) == 1
    sizes = np.bincount(one_turn.parts_of_equal_size(np.random.default_rng(0).random(1000)))
    assert sizes.tolist() == [250] * 4
    # order is kept: a higher value is never in a lower part
    order = np.argsort(values)
    assert (np.diff(parts[order]) >= 0).all()


def test_means_by_part() -> None:
    values, parts = np.array([0.0, 1.0, 0.5, 0.5]), np.array([0, 0, 2, 2])
    first, last = by_part(values, parts, ["a", "b", "c"]).to_dicts()  # nobody is in b
    assert (first["part"], first["n"], first["mean"]) == ("a", 2, 0.5)
    assert first["low"] < 0.5 < first["high"]
    assert last == {"part": "c", "n": 2, "mean": 0.5, "low": 0.5, "high": 0.5}
    means, ends = one_turn.means_by_part({"one": values, "two": np.ones(4)}, parts, ["a", "b", "c"])
    assert means == {"one": {"a": 0.5, "c": 0.5}, "two": {"a": 1.0, "c": 1.0}}
    assert ends["one"] == {"a": (first["low"], first["high"]), "c": (0.5, 0.5)}
    with pytest.raises(ValueError, match="do not fit"):
        by_part(np.zeros(2), np.array([0, 3]), ["a", "b", "c"])


def test_few_scores_are_asked_for_at_a_time_and_the_ranks_are_the_same(small_world: tuple) -> None:
    world, encoder, _, language = small_world
    cases, asked = one_turn_cases(world, encoder, language), []

    def scorer(some: EvalSet) -> torch.Tensor:
        asked.append(len(some))
        assert len(some.frame) == len(some.instances) == len(some.instances.histories) == len(some)
        return encoder.scores(some.instances.S) + some.instances.x.sum(1, keepdim=True)

    targets, histories = cases.instances.targets, cases.instances.histories
    scores = scorer(cases)
    found = evaluate(cases, {"a": scorer}, memory=3 * 4 * scores.shape[1])["a"]
    assert found.tolist() == rank_of_target(scores, targets, histories).tolist()
    assert max(asked[1:]) == 3
    unmasked = evaluate(cases, {"a": scorer}, masked=False)["a"]
    assert unmasked.tolist() == rank_of_target(scores, targets).tolist()
    assert cases.take(slice(5, 8)).texts == cases.texts[5:8]
    assert evaluate(cases.take(slice(0, 0)), {"a": scorer})["a"].tolist() == []


def test_summary_averages_over_seeds_by_hand(small_world: tuple) -> None:
    world, encoder, _, language = small_world
    cases, n = one_turn_cases(world, encoder, language), world.n_users
    first, second = {"a": np.ones(n, dtype=np.int64)}, {"a": np.full(n, 3)}
    row = one_turn.summarise(cases, [first, second]).row(0, named=True)
    assert (row["n"], row["Recall@5"], row["low"]) == (n, 1, pytest.approx(0.75))
    assert row["NDCG@20"] == pytest.approx((1 + 0.5) / 2)
    assert row["seed_spread"] == pytest.approx(0.5)
    table = one_turn.level_table(one_turn.summarise(cases, [first]), phrasing="test")
    assert table.equals(pl.DataFrame({"system": ["a"], "plain": [1.0]}))
    dialogues = one_turn.dialogue_cases(
        world, encoder, language
    )  # even users say it once, odd ones twice
    assert dialogues.frame["level"].to_list() == ["1"] * (n // 2) + ["2"] * (n // 2)
    assert set(dialogues.frame["user"][: n // 2]) == set(range(0, n, 2))
