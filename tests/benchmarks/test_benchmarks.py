"""The benchmarks' arithmetic, on a clock that the test sets; and that the rivals do the same."""

import contextlib
import json
from dataclasses import replace
from functools import partial
from pathlib import Path
from unittest.mock import Mock

import pytest
import torch
import torch.nn.functional as F

from benchmarks import __main__ as command
from benchmarks import against_recbole as recbole
from benchmarks import measure, naive_em
from benchmarks.measure import Measurement
from benchmarks.products import extent, products_of, replay
from benchmarks.training import em_instances, em_trainer, n_targets
from benchmarks.worlds import generated_data
from latentcrs_utils.behavior.sasrec import SASRec
from latentcrs_utils.config import BackboneConfig
from latentcrs_utils.errors import AssetError


class Clock:
    """A clock that only moves when a function says how long it took."""

    now = 0.0

    def __init__(self) -> None:
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
    monkeypatch.setattr(measure, "clock", lambda: ("the test's", lambda: clock.now))
    return clock


@pytest.mark.parametrize(("warm", "medians"), [(False, (6.0, 3.0)), (True, (48.0, 26.5))])
def test_compare_takes_turns_and_reports_medians(clock: Clock, warm: bool, medians: tuple) -> None:
    stage = clock.taking("stage", [100.0, 6.0, 90.0, 5.0])
    floor = clock.taking("floor", [50.0, 2.0, 3.0, 70.0])
    # what is not warm is called once before it is timed
    assert measure.compare(stage, floor, repeats=3 + warm, warm=warm) == medians
    assert clock.calls == ["stage", "floor"] * 4


def flops_of(function) -> int:
    return sum(product.flops for product in products_of(function))


def test_flops_of_matrix_products_are_counted_backward_included() -> None:
    left, right = (torch.ones(n, n + 1, requires_grad=True) for n in (3, 4))
    assert flops_of(lambda: left @ right) == 2 * 3 * 4 * 5
    assert flops_of(lambda: (left @ right).sum().backward()) == 3 * 2 * 3 * 4 * 5
    assert flops_of(lambda: left.exp().sum()) == 0
    layer, x = torch.nn.Linear(4, 5), torch.ones(2, 3, 4)
    for mode in (contextlib.nullcontext(), torch.inference_mode()):
        with mode:
            assert flops_of(lambda: layer(x)) == 2 * 6 * 4 * 5
    # attention: its two products, fused or not
    q, k, v = (torch.randn(2, 3, 7, 8, requires_grad=True) for _ in range(3))
    for dropout in (0.0, 0.5):
        attend = partial(F.scaled_dot_product_attention, q, k, v, dropout_p=dropout)
        assert flops_of(attend) == 2 * 2 * (2 * 3) * 7 * 7 * 8
        assert flops_of(lambda attend=attend: attend().sum().backward()) == 3 * flops_of(attend)


def test_the_floor_does_the_same_products_again() -> None:
    left, right = torch.randn(3, 4, requires_grad=True), torch.randn(5, 4, requires_grad=True)
    batched = torch.randn(2, 3, 4)

    def work() -> None:
        ((left @ right.T).sum() + (batched @ right.T).sum()).backward()
        batched.bmm(batched.transpose(1, 2))

    def layouts(found) -> list:
        return [(x.shape, x.stride(), x.dtype) for p in found for x in (p.left, p.right)]

    products = products_of(work)
    assert layouts(products_of(replay(products))) == layouts(products) != []
    # an operand reaches to its last number
    assert extent(torch.ones(3, 4)) == extent(torch.ones(3, 4).T) == 12
    assert extent(torch.ones(1).expand(5, 6)) == 1


def small_batch(residual: bool):
    """Both models, a backbone and a batch, small enough for [B, K, V + 1]."""
    data = generated_data("small", 30, 40, 12)
    instances = em_instances(data, 2).take(torch.arange(0, 60, 5))
    encoder = SASRec(data.n_items, BackboneConfig()).eval().requires_grad_(False)
    padded = torch.from_numpy(instances.histories.pad(50))
    batch = replace(instances, S=naive_em.encode_again(encoder, padded))
    trainer = em_trainer(data, batch, 7, residual=residual)
    if residual:
        # at its start the residual is silent, which would prove nothing
        with torch.no_grad():
            trainer.generative.residual.a.fill_(0.7)
            for parameter in trainer.generative.residual.parameters():
                parameter.add_(0.1 * torch.randn(parameter.shape))
    return trainer, encoder, padded, batch


@pytest.mark.parametrize("residual", [False, True])
def test_the_naive_em_has_the_losses_and_gradients_of_the_package(residual: bool) -> None:
    torch.manual_seed(0)
    trainer, encoder, padded, batch = small_batch(residual)
    trainer.generative.eval()
    trainer.inference.eval()
    rest = (trainer, encoder, padded, batch.x, batch.targets)
    e_loss = trainer.e_loss(batch, trainer.generative.catalogue())
    for trained, ours, naive in (
        (trainer.generative, trainer.m_loss(batch), naive_em.naive_m_loss(*rest)),
        (trainer.inference, e_loss, naive_em.naive_e_loss(*rest)),
    ):
        assert naive.item() == pytest.approx(ours.item(), rel=1e-5)
        parameters = [p for p in trained.parameters() if p.requires_grad]
        gradients = partial(torch.autograd.grad, inputs=parameters, materialize_grads=True)
        torch.testing.assert_close(gradients(naive), gradients(ours), rtol=1e-3, atol=1e-5)


def test_recbole_is_compared_over_the_same_targets(data) -> None:
    run = {"batch_size": 100, "timed_batches": 3, "seconds_per_batch": 2.0}
    run |= {"batches_per_epoch": 10, "samples_per_epoch": 1000}
    row = recbole.comparison(4.0, 1000, run, 128)
    assert (row["ratio"], row["seconds"], row["rival_seconds"]) == pytest.approx((5, 4, 20))
    with pytest.raises(ValueError, match="1000 targets, the course on 999"):
        recbole.comparison(4.0, 999, run, 128)
    # all but the first of every user, as RecBole's leave-one-out counts them
    assert n_targets(data) == 54_413 - 3 * 938


def test_the_command_writes_what_it_measured(data, tmp_path: Path, monkeypatch, capsys) -> None:
    output = tmp_path / "deep" / "bench.json"
    numbers = 3.0, 1.0, 0.001, 5_000_000
    measured = Measurement("demo", "here", 0.006, "a floor", 0.002, "six by two", *numbers)
    rival = {"rival": "somebody", "what": "a thing", "seconds": 0.5, "note": "so"}
    rival |= {"rival_seconds": 2.00001, "ratio": 4.00002}
    for table, row in {"STAGES": measured, "RIVALS": rival}.items():
        monkeypatch.setattr(command, table, {table: lambda *_, row=row: iter([row])})
    assert command.main(["--record", str(output)]) == 0
    record = json.loads(output.read_text())
    (saved,) = record["measurements"]
    assert (saved["ratio"], saved["ratio_at_best_rate"]) == pytest.approx((3, 6))
    assert (saved["part"], saved["stage"], saved["aim"]) == ("STAGES", "demo", 3.0)
    assert record["against"] == [rival | {"part": "RIVALS", "rival_seconds": 2.0, "ratio": 4.0}]
    # where something is missing, that is said and nothing is written
    fail = Mock(side_effect=AssetError("The model is not here."))
    monkeypatch.setattr(command, "STAGES", {"data": fail})
    assert command.main(["--record", str(tmp_path / "none.json")]) == 1
    assert capsys.readouterr().err == "The model is not here.\n"
    assert not (tmp_path / "none.json").exists()
