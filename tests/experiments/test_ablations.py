"""The ablations: one change at a time, the same users, and measures that are right by hand."""

import json
from dataclasses import asdict, replace
from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest
import torch

from experiments import ablations, variants
from experiments import intent_diagnostics as diagnostics
from latentcrs_utils.config import EMConfig, preset
from latentcrs_utils.data.sequences import Sequences
from latentcrs_utils.em.instances import Instances
from latentcrs_utils.evaluation.one_turn import LEVELS, EvalSet
from tests.em import small_world


@pytest.fixture(scope="module")
def data():
    return small_world.dataset()


def groups_of(n_users):
    return variants.groups(SimpleNamespace(name="ml-100k", n_users=n_users))


PLAN = groups_of(938)


def test_names_are_distinct_and_every_reference_is_in_its_group():
    for group in PLAN.values():
        names = [variant.name for variant in group]
        references = {variant.reference for variant in group}
        assert len(set(names)) == len(names)
        assert references - {None} < set(names) and None in references


@pytest.mark.parametrize("name", ["lambda", "alpha_M", "alpha_E"])
def test_a_sweep_changes_one_value_and_holds_the_presets_own(name):
    own = asdict(preset("ml-100k").em)
    changed = [{k for k, v in asdict(variant.em).items() if v != own[k]} for variant in PLAN[name]]
    assert sorted(map(len, changed)) == [0] + [1] * (len(changed) - 1)
    assert len(set.union(*changed)) == 1
    assert len({variant.value for variant in PLAN[name]}) == len(PLAN[name])


def test_more_intents_than_users_are_not_tried():
    assert [v.K for v in groups_of(300)["K"]] == [16, 64, 256]
    assert [v.K for v in groups_of(6034)["K"]][-1] == 1024


def test_what_the_ablations_of_table_5_leave_out():
    by_name = {variant.name: variant.em for variant in PLAN["table 5"]}
    alone = by_name["without inference model"]
    assert (alone.n_epochs_q, alone.infonce_weight, alone.lambda_) == (0, 0, 0)
    assert by_name["direct KL alignment"].schedule == "joint"
    unrewarded = by_name["without recommendation loss"]
    assert (unrewarded.alpha_E, unrewarded.alpha_M) == (0, 0)


class SmallLanguage(small_world.Language):
    """The small world at four levels, with what `fewer_texts` needs."""

    def __init__(self, data):
        super().__init__(data)
        frame = self.utterances.frame
        levels = [frame.filter(split="test").with_columns(level=pl.lit(n)) for n in LEVELS[::-1]]
        frame = pl.concat([frame.filter(pl.col("split") != "test"), *levels])
        frame = frame.with_columns(conditions=pl.concat_list(pl.format("genre={}", pl.col("text"))))
        genres = torch.tensor([small_world.GENRES.index(text) for text in frame["text"]])
        self.utterances = type(self.utterances)(frame)
        self.x = torch.nn.functional.one_hot(genres, 3).float()
        self.mean, self.scale = torch.zeros(3), torch.ones(3)


@pytest.fixture(scope="module")
def language(data):
    return SmallLanguage(data)


def test_unseen_cases_are_level_by_level_and_user_by_user(data, language):
    cases = variants.unseen_cases(data, small_world.backbone(data), language)
    assert cases.frame["level"].to_list() == list(np.repeat(LEVELS, data.n_users))
    assert cases.frame["user"].to_list() == list(range(data.n_users)) * 4
    targets = cases.instances.targets.reshape(4, -1)
    assert (targets == torch.from_numpy(data.targets("test"))).all()


def test_fewer_texts_takes_instances_with_their_text_and_leaves_the_tests(data, language):
    fewer = variants.fewer_texts(language, 0.6, seed=0)
    before, after = language.utterances.frame, fewer.utterances.frame
    kept = set(after.filter(split="train")["text"])
    assert len(kept) == 2  # 60 % of three
    wanted = before.filter((pl.col("split") != "train") | pl.col("text").is_in(list(kept)))
    assert after.equals(wanted)
    distinct = torch.stack([fewer.x[after["text"].to_list().index(text)] for text in sorted(kept)])
    torch.testing.assert_close(distinct.mean(0), torch.zeros(3))
    assert variants.fewer_texts(language, 1.0, seed=0) is language


def test_an_epoch_keeps_its_number_of_steps():
    own = EMConfig(batch_size=480)
    sizes = [variants.smaller_batches(own, share).batch_size for share in (1.0, 0.25, 0.001)]
    assert sizes == [480, 120, variants.SMALLEST_BATCH]


def test_differences_are_paired_and_take_the_seeds_that_both_have():
    ours = {0: np.array([[1, 30]] * 3 + [[30, 30]]), 3: np.full((4, 2), 30)}
    row = variants.describe(ours)
    assert row["seeds"] == [0, 3] and row["NDCG@20"] == pytest.approx(3 / 16)
    assert row["seed_spread"] == pytest.approx(3 / 8)
    assert row["levels"]["plain"]["mean"] == pytest.approx(1 / 4)
    assert row["levels"]["vague"]["mean"] == 0
    theirs = {0: np.full((4, 2), 30)}
    found = variants.difference(ours, theirs)
    assert found["mean"] == pytest.approx(3 / 8)  # of one user 3 / 4, of the other nothing
    assert (found["low"], found["high"]) == (0.0, 0.75)
    assert found["levels"]["plain"]["mean"] == pytest.approx(0.5)
    assert variants.difference({2: ours[0]}, theirs) == {}


def cases_of(histories, targets, **frame):
    nothing, n = torch.zeros(len(targets), 2), len(targets)
    instances = Instances(nothing, nothing, torch.tensor(targets), Sequences.from_lists(histories))
    return EvalSet(instances, [""] * n, pl.DataFrame(frame))


def test_probabilities_of_candidates_sum_to_one_and_leave_the_history_out():
    cases = cases_of([[1], [2, 3]], [2, 1])
    log_p = diagnostics.candidate_log_probability(torch.randn(2, 5), cases)
    torch.testing.assert_close(log_p.exp().sum(1), torch.ones(2))
    assert torch.isinf(log_p[0, [0, 1]]).all() and torch.isinf(log_p[1, [0, 2, 3]]).all()


def test_calibration_error_by_hand():
    for promised, kept, n_bins, expected in (
        ([0.2, 0.2, 0.9, 0.9], [0, 0, 1, 1], 2, 0.15), ([0.5] * 10, [0, 1] * 5, 5, 0),
    ):  # fmt: skip
        found = diagnostics.expected_calibration_error(np.array(promised), np.array(kept), n_bins)
        assert found == pytest.approx(expected)


def test_the_temperature_of_scaled_scores_is_found():
    noise = torch.Generator().manual_seed(0)
    logits = torch.randn(4000, 31, generator=noise)
    logits[:, 0] = -torch.inf
    chosen = torch.multinomial(logits.softmax(1), 1, generator=noise)[:, 0]
    cases = cases_of([[]] * 4000, chosen.tolist())
    assert diagnostics.best_temperature(2 * logits, cases) == pytest.approx(2, rel=0.1)
    assert diagnostics.best_temperature(logits, cases) == pytest.approx(1, rel=0.1)


def test_calibration_promises_what_the_list_holds():
    cases = cases_of([[], []], [3, 25])
    scores = -torch.arange(31.0).expand(2, 31).clone()
    found = diagnostics.calibration(scores, cases)
    assert found["kept"].tolist() == [1, 0]
    p = torch.softmax(scores[0, 1:], 0)
    assert found["promised"][0] == pytest.approx(float(p[:20].sum()), abs=1e-6)
    assert found["log_likelihood"][0] == pytest.approx(float(p[2].log()), abs=1e-5)


def test_diversity_of_one_genre_is_zero_and_of_disjoint_genres_one(data):
    cases, scores = cases_of([[]], [1]), torch.zeros(1, small_world.N_ITEMS + 1)
    comedies = data.items.with_columns(genres=pl.lit(["Comedy"]))
    same = diagnostics.diversity(scores, cases, replace(data, items=comedies))
    assert same["distance"] == pytest.approx(0)
    assert same["coverage"] == pytest.approx(20 / small_world.N_ITEMS)
    mixed = diagnostics.diversity(scores, cases, data)
    assert 0.6 < mixed["distance"][0] < 0.75  # three genres, equally frequent: two of three differ


def test_a_known_wish_counts_one_and_no_knowledge_a_half():
    asked = [[0], [0, 1], [1], [2]]
    knows = torch.tensor([[0.9, 0, 0], [0.8, 0.7, 0], [0.1, 0.8, 0], [0.1, 0.1, 0.9]])
    assert diagnostics.tells_the_genre(knows, asked).tolist() == [1, 1, 1, 1]
    assert diagnostics.tells_the_genre(torch.ones(4, 3), asked).tolist() == [0.5] * 4
    assert diagnostics.tells_the_genre(1 - knows, asked).mean() < 0.1


def test_asked_genres_reads_wishes_and_not_refusals():
    names = ["Comedy", "Drama"]
    conditions = [["genre=Drama", "decade=1980"], ["not genre=Comedy"], ["genre=Comedy"]]
    assert diagnostics.asked_genres(conditions, names) == [[1], [], [0]]


def test_a_shorter_history_is_its_end_and_the_ranking_stays_masked(data, language):
    backbone = small_world.backbone(data)
    cases = variants.unseen_cases(data, backbone, language)
    cut = diagnostics.cold_start_cases(cases, backbone, 2)
    expected = backbone.encode(data.histories("test").last(2))
    torch.testing.assert_close(cut.instances.S, expected.repeat(4, 1))
    assert cut.instances.histories is cases.instances.histories
    assert not diagnostics.cold_start_cases(cases, backbone, 0).instances.S.any()


def test_mass_of_truths_by_hand():
    p = torch.tensor([[0.0, 0.5, 0.3, 0.2]])
    truth = torch.tensor([-1, 1, 0, 1])
    torch.testing.assert_close(
        diagnostics.mass_of_truths(p, truth, 3), torch.tensor([[0.3, 0.7, 0]])
    )


def test_variants_are_compared_and_every_group_is_recorded(
    data, language, empty_cache, monkeypatch
):
    language.embedder.name = "one-hot"
    bench = ablations.Bench(data, language, [0, 1], lambda _: None)
    own = {v.name: v for v in variants.planned("parts", preset("small", data.n_users))}
    # the reference comes last: a sweep need not begin with it
    chosen = [
        replace(own[variants.BEHAVIOR], reference=variants.FUSION),
        replace(own[variants.FUSION], reference=None),
    ]
    behavior, fusion = ablations.run_variants(chosen, bench)
    assert fusion["seeds"] == [0, 1] and fusion["valid_ndcg10"] > 0
    gap = behavior["NDCG@20"] - fusion["NDCG@20"]
    assert behavior["difference"]["mean"] == pytest.approx(gap)
    assert behavior["valid_ndcg10"] is None
    path = empty_cache.parent / "record.json"
    told = [
        ({"n": 2}, name, np.array(hits), {"share": 1})
        for name, hits in ((variants.PLUS, [1, 1]), (variants.FUSION, [0, 1]))
    ]
    monkeypatch.setattr(ablations.Bench, "fits", lambda self, what: [(None, None, None)] * 2)
    parts = {
        "prepare": lambda say, name, tests: (data, language),
        "MEASURES": {"wishes": (lambda *of_seed: told, {"quantity": "nothing"})},
    }  # fmt: skip
    for name, part in parts.items():
        monkeypatch.setattr(ablations, name, part)
    monkeypatch.setattr(diagnostics, "recovery", lambda seeds: {"seeds": seeds})
    monkeypatch.setattr(variants, "groups", lambda data: {"parts": chosen})
    ablations.main(["--seeds", "0", "1", "--record", str(path)])
    written = json.loads(path.read_text(encoding="utf-8"))
    assert list(written["groups"]) == ["parts", "wishes", "synthetic"]
    assert written["groups"]["parts"]["rows"][1]["NDCG@20"] == round(fusion["NDCG@20"], 4)
    ours, theirs = written["groups"]["wishes"]["rows"]
    assert (ours["n"], ours["share"], ours["mean"], theirs["mean"]) == (2, 1, 1, 0.5)
    assert ours["difference"] == {"mean": 0.5, "low": 0.0, "high": 1.0}
    assert "difference" not in theirs
    assert written["groups"]["synthetic"]["seeds"] == written["seeds"] == [0, 1]
