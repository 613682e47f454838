"""The cost model: true laws are found, tested on what they were not fitted to, and used."""

import json
from dataclasses import fields
from pathlib import Path

import pytest

from benchmarks.cost_model import STAGES, Stage, law, measure_point
from experiments.cost_model import RECORD, Case, CostModel, fit_law
from latentcrs_utils.errors import ConfigError

TERMS, COEFFICIENTS = ("1", "users", "users*items"), [2.0, 3e-3, 5e-6]
GRID = [Case(users, items) for users in (100, 2000) for items in (500, 9000)]


def cost(case: Case) -> float:
    return 2.0 + 3e-3 * case.n_users + 5e-6 * case.n_users * case.n_items


def test_a_true_law_is_found_and_no_coefficient_is_negative() -> None:
    found = fit_law(GRID, [cost(case) for case in GRID], TERMS)
    assert found == pytest.approx(COEFFICIENTS, rel=1e-6)
    assert min(fit_law(GRID, [10.0 / case.n_users for case in GRID], TERMS)) >= 0


def test_a_law_is_tested_on_the_point_left_out() -> None:
    stage = Stage("demo", None, (), TERMS, ("1",), "a demo")
    points = [{"case": case, "seconds": cost(case), "bytes": 1000} for case in GRID]
    outside = Case(5000, 5000)
    fitted = law(stage, [*points, {"case": outside, "seconds": cost(outside), "bytes": 2000}], None)
    assert fitted["seconds"]["held_out_error"] < 1e-3
    assert fitted["seconds"]["worst_fitted_error"] < 1e-3
    # a constant cannot know that the point left out has twice as much
    assert fitted["bytes"]["held_out_error"] == pytest.approx(0.5)
    assert fitted["note"] == "a demo"


def demo_model(efficiency: float | None) -> CostModel:
    seconds = {"terms": TERMS, "coefficients": COEFFICIENTS}
    memory = {"terms": ["K*items"], "coefficients": [4.0]}
    return CostModel({"demo": {"seconds": seconds, "bytes": memory, "efficiency": efficiency}})


def test_a_prediction_is_the_sum_of_the_terms() -> None:
    found = demo_model(None).predict("demo", Case(1000, 2000, K=10))
    assert found.seconds == pytest.approx(2 + 3 + 10)
    assert found.bytes == pytest.approx(4 * 10 * 2000)
    # processes share the time but not the memory
    one, three = (demo_model(0.8).predict("demo", Case(1000, 2000), n) for n in (1, 3))
    assert three.seconds == pytest.approx(one.seconds / 2.6)
    assert three.bytes == one.bytes


def test_what_is_impossible_to_predict_is_refused(tmp_path: Path) -> None:
    for efficiency, stage, n, complaint in (
        (None, "other", 1, "no law for 'other'; there are: demo"),
        (None, "demo", 2, "one process only"), (0.9, "demo", 0, "n_processes=0"),
    ):  # fmt: skip
        with pytest.raises(ConfigError, match=complaint):
            demo_model(efficiency).predict(stage, Case(1, 1), n)
    with pytest.raises(ConfigError, match=r"python -m benchmarks\.cost_model"):
        CostModel.read(tmp_path / "cost_model.json")


@pytest.mark.parametrize("stage", [stage for stage in STAGES if stage.name != "embedding"])
def test_every_stage_can_be_measured(stage: Stage) -> None:
    small = {"data filtering": (60, 40), "EM epoch": (30, 40, 4), "k-means": (20, 4)}
    point = measure_point(stage, small.get(stage.name, (30, 60)))
    assert point["seconds"] > 0
    assert len(stage.grid) > max(len(stage.seconds), 2) or stage.name == "data filtering"
    names = {part for term in (*stage.seconds, *stage.memory) for part in term.split("*")}
    assert names <= set(point["case"].sizes())


def test_the_record_predicts_what_it_measured() -> None:
    record = json.loads(RECORD.read_text(encoding="utf-8"))
    model = CostModel.read()
    assert set(model.laws) == {stage.name for stage in STAGES}
    for row in record["measured"]:
        case = Case(**{field.name: row[field.name] for field in fields(Case)})
        found = model.predict(row["stage"], case).seconds
        law = record["laws"][row["stage"]]["seconds"]
        worst = max(law["worst_fitted_error"], law["held_out_error"])
        assert abs(found - row["seconds"]) <= (worst + 0.01) * row["seconds"]
    small = model.predict("EM epoch", Case(1000, 1000, 64))
    for larger in ((2000, 1000, 64), (1000, 2000, 64), (1000, 1000, 128)):
        assert model.predict("EM epoch", Case(*larger)).seconds > small.seconds
