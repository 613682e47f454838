"""V and F in one turn: ranks by hand, the choice of a weight, and the command."""

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from experiments import reranking
from experiments.reranking import Asked, ask_about, cases_to_test, compare, main, ranks_of
from latentcrs_utils.conversation.turn import describe
from latentcrs_utils.data.sequences import Dataset
from latentcrs_utils.evaluation import one_turn
from latentcrs_utils.evaluation.metrics import metric_values
from latentcrs_utils.evaluation.one_turn import LEVELS, EvalSet, evaluate, scorers
from latentcrs_utils.simulation.utterances import simulate_utterances
from tests.conversation.fakes import FakeScorer
from tests.evaluation.dialogue_world import N_USERS, Language, fitted_to

FIVE = (21, 22, 23, 24, 25)


@pytest.fixture(scope="module")
def fitted(world: Dataset) -> SimpleNamespace:
    """The small world with utterances, and a model that counts the names of genres in them."""
    language = Language()
    language.utterances = simulate_utterances(world, seed=0)
    language.x = language.encode(language.utterances.frame["text"].to_list())
    return fitted_to(world, language)


def asked(world: Dataset, target: int, rank: int, gains: dict[int, float]) -> Asked:
    candidates = tuple(describe(world, item, -float(place)) for place, item in enumerate(FIVE))
    return Asked(candidates, tuple(gains.get(item, 0.0) for item in FIVE), target, rank)


def test_ranks_by_hand(world: Dataset) -> None:
    texts = [
        asked(world, 25, 5, {25: 10.0}),  # -4 and what ten nats add
        asked(world, 21, 1, {22: 10.0, 23: 30.0}),
        asked(world, 7, 31, {25: 10.0}),  # no candidate: it stays where it was
    ]
    assert ranks_of(texts, 0.0).tolist() == [5, 1, 31]
    assert ranks_of(texts, 0.25).tolist() == [3, 3, 31]
    assert ranks_of(texts, 1.0).tolist() == [1, 3, 31]


def test_the_gaps_are_paired_over_users() -> None:
    ours, theirs = np.array([1, 3, 30, 6]), np.array([2, 3, 30, 5])
    row = compare(ours, theirs, np.arange(4))
    assert row["Recall@5"] == 0.5 and row["Recall@5_gap"] == -0.25
    assert row["NDCG@5"] == pytest.approx((1 + 1 / 2) / 4)
    better, worse = 1 - 1 / np.log2(3), 1 / np.log2(7) - 1 / np.log2(6)
    assert row["NDCG@20_gap"] == pytest.approx((better + worse) / 4)
    assert row["NDCG@20_gap_low"] < row["NDCG@20_gap"] < row["NDCG@20_gap_high"]
    assert compare(ours, ours, np.arange(4))["NDCG@5_gap_high"] == 0


def test_every_weight_is_weighed_on_the_same_likelihoods(world: Dataset) -> None:
    texts = [asked(world, 23, 3, {23: 4.0, 24: 100.0})] * 3
    rows = reranking.weigh(texts, np.arange(3), [1.0, 0.0, 0.6])
    # the target gains the second place at best, for 24 gains more
    found = {row["weight"]: row["NDCG@20"] for row in rows}
    assert found == pytest.approx({0.0: 0.5, 0.6: 1 / np.log2(3), 1.0: 1 / np.log2(3)})
    assert rows[0]["NDCG@5"] == pytest.approx(0.5) and rows[0]["NDCG@20_gap"] == 0
    # of equal ones that with less weight
    assert reranking.choose(rows) == reranking.choose(rows[::-1]) == rows[1]


def test_the_model_reads_the_best_that_were_not_seen(fitted: SimpleNamespace) -> None:
    cases = cases_to_test(fitted, 4, seed=1)
    scorer, chat_model = scorers(fitted)["LatentCRS+"], FakeScorer(words=("Western",))
    found = ask_about(fitted.data, cases, scorer, chat_model, {})
    told = [(prompt, texts) for prompt, texts in chat_model.scored if "What do you" not in prompt]
    assert len(found) == len(cases) == len(told) == 16
    for row, of_text in enumerate(found):
        items = [item.item for item in of_text.candidates]
        assert not set(items) & set(cases.instances.histories[row].tolist()) and len(items) == 20
        assert cases.texts[row] in told[row][0] and len(told[row][1]) == 20
        westerns = ["Western" in candidate.genres for candidate in of_text.candidates]
        assert of_text.log_ratios == tuple(10.0 * western for western in westerns)
        # the candidates are the items of the first ranks
        place = items.index(of_text.target) + 1 if of_text.target in items else None
        assert place == (of_text.rank if of_text.rank <= 20 else None)
    ranks = evaluate(cases, {"B": scorer})["B"]
    assert ranks_of(found, 0.0).tolist() == ranks.tolist()


def test_who_is_asked(fitted: SimpleNamespace) -> None:
    valid = reranking.validation_cases(fitted, ["plain", "vague"], 9, seed=0)
    few = cases_to_test(fitted, 5, seed=0)
    past = fitted.data.interactions
    for cases, place, n, n_users in ((valid, -2, 9, 9), (few, -1, 20, 5)):
        assert (len(cases), cases.frame["user"].n_unique()) == (n, n_users)
        wanted = [past[user][place] for user in cases.frame["user"]]
        assert cases.instances.targets.tolist() == wanted
    assert set(valid.frame["level"]) <= {"plain", "vague"} and set(few.frame["phrasing"]) == {
        "test"
    }
    assert len(cases_to_test(fitted, None, seed=0)) == 4 * N_USERS


def test_f_in_one_turn_is_held_to_the_words(fitted: SimpleNamespace) -> None:
    cases = cases_to_test(fitted, None, seed=0)
    found = {row["level"]: row for row in reranking.filter_table(fitted, cases)}
    assert [row["n"] for row in found.values()] == [N_USERS] * 4
    plain = found["plain"]
    gap = plain["LatentCRS+ F"]["NDCG@20"] - plain["LatentCRS+"]["NDCG@20"]
    assert plain["to LatentCRS+"]["NDCG@20_gap"] == pytest.approx(gap) and gap > 0
    # at every level the filter's row is that of the one-turn table
    rows = np.flatnonzero((cases.frame["level"] == "vague").to_numpy())
    name = "backbone + lexicon filter"
    ranks = evaluate(cases, {name: scorers(fitted)[name]})[name][rows]
    assert found["vague"][name]["NDCG@5"] == pytest.approx(metric_values(ranks, "NDCG@5").mean())


def test_what_was_seen_is_no_choice_for_f(fitted: SimpleNamespace) -> None:
    cases = cases_to_test(fitted, 1, seed=0)
    history = cases.instances.histories[0].tolist()
    genres = fitted.data.items["genres"].to_list()
    westerns = {v for v, g in enumerate(genres, 1) if g == ["Western"]} - {*history}
    asked_for = EvalSet(cases.instances, ["a western"] * 4, cases.frame)
    scores = reranking.filtered(fitted.data, scorers(fitted)["LatentCRS+"])(asked_for)
    scores[:, history] = -torch.inf
    assert set(scores[0].topk(len(westerns)).indices.tolist()) == westerns


def test_the_command_goes_on_where_it_was(world, fitted, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(reranking, "prepare", lambda say, name, tests: (world, fitted.language))
    monkeypatch.setattr(one_turn, "fit_all", lambda data, language, *, seed, say: fitted)
    record, answers = tmp_path / "record.json", tmp_path / "answers.jsonl"
    kept = ["--answers", str(answers), "--record", str(record)]
    arguments = ["--users", "8", "--test-users", "3", *kept]
    monkeypatch.setattr(reranking, "WEIGHTS", (0.0, 1.0))

    class Mortal(FakeScorer):
        left = 5

        def score(self, prompt, continuations):
            self.left -= 1
            if self.left == 0:
                raise KeyboardInterrupt
            return super().score(prompt, continuations)

    with pytest.raises(KeyboardInterrupt):
        main(arguments, Mortal(words=("Western",)))
    assert "filter" in json.loads(record.read_text()) and len(answers.read_bytes()) > 0
    chat_model = FakeScorer(words=("Western",))
    main(arguments, chat_model)
    written = json.loads(record.read_text())
    asked_in_all = len(answers.read_text().splitlines())
    assert len(chat_model.scored) == asked_in_all - 4
    valid = written["validation"]
    assert valid["n"] == 8 and len(valid["rows"]) == 2 and valid["best"] in valid["rows"]
    # a weight above 0 is tested even where the recommender alone was best
    assert written["test"]["weight"] == 1 and written["test"]["n_candidates"] == 20
    tested = {row["level"]: row["n"] for row in written["test"]["rows"]}
    assert tested == dict.fromkeys(LEVELS, 3)
    assert written["command"].endswith(" ".join(arguments)) and written["model"] == "Scripted"
    main(arguments, FakeScorer())
    assert json.loads(record.read_text())["test"] == written["test"]
