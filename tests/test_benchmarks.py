"""The benchmarks' own arithmetic, on a clock that the test sets."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from benchmarks import __main__ as command
from benchmarks import measure
from benchmarks.measure import Measurement
from benchmarks.stages import five_core
from latentcrs_utils.errors import AssetError


class Clock:
    """A clock that only moves when a function says how long it took."""

    def __init__(self) -> None:
        self.now = 0.0
        self.calls: list[str] = []

    def taking(self, name: str, seconds: list[float]):
        left = iter(seconds)

        def function() -> None:
            self.calls.append(name)
            self.now += next(left)

        return function


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(measure.time, "perf_counter", lambda: clock.now)
    return clock


def test_compare_takes_turns_forgets_the_first_and_reports_medians(clock: Clock) -> None:
    stage = clock.taking("stage", [100.0, 6.0, 90.0, 5.0])
    floor = clock.taking("floor", [50.0, 2.0, 3.0, 70.0])
    assert measure.compare(stage, floor, repeats=3) == (6.0, 3.0)
    assert clock.calls == ["stage", "floor"] * 4


def test_flops_of_matrix_products_are_counted_backward_included() -> None:
    left = torch.ones(3, 4, requires_grad=True)
    right = torch.ones(4, 5, requires_grad=True)
    assert measure.count_flops(lambda: left @ right) == 2 * 3 * 4 * 5
    assert measure.count_flops(lambda: (left @ right).sum().backward()) == 3 * 2 * 3 * 4 * 5


def test_a_stage_that_is_one_large_product_sits_on_its_floor(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    product = torch.ones(16, 16)

    def multiply() -> None:
        _ = product @ product
        clock.now += 0.5

    monkeypatch.setattr(measure, "matrix_product", lambda dtype: (multiply, 2 * 16**3))
    same = measure.against_matrix_products("same", multiply, torch.float32, "")
    assert same.ratio == pytest.approx(1.0)
    twice = measure.against_matrix_products(
        "idle half", lambda: (multiply(), clock.taking("idle", [0.5])()), torch.float32, ""
    )
    assert twice.ratio == pytest.approx(2.0)


def test_the_command_writes_what_it_prints(
    data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    measured = Measurement("demo", 0.006, "a floor", 0.002, "six by two")
    monkeypatch.setattr(command, "stages", lambda data: iter([measured]))
    output = tmp_path / "deep" / "bench.json"
    assert command.main(["--output", str(output)]) == 0
    (saved,) = json.loads(output.read_text())["measurements"]
    assert saved["ratio"] == pytest.approx(3.0)
    assert saved["stage"] == "demo"
    assert "6.00 ms     3.0 x  a floor   (six by two)" in capsys.readouterr().out


def test_the_command_says_what_is_missing(
    data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    def fail(data) -> None:
        raise AssetError("The model is not here.")

    monkeypatch.setattr(command, "stages", fail)
    assert command.main(["--output", str(tmp_path / "bench.json")]) == 1
    assert capsys.readouterr().err == "The model is not here.\n"
    assert not (tmp_path / "bench.json").exists()


def test_a_real_stage_is_measured_against_real_work() -> None:
    measurement = five_core()
    assert "55,375 ratings" in measurement.note
    assert measurement.seconds > 0
    assert measurement.floor_seconds > 0
