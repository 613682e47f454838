"""The benchmarks' arithmetic, on a clock that the test sets; and that the rivals do the same."""

from __future__ import annotations

import contextlib
import json
import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from benchmarks import __main__ as command
from benchmarks import against_recbole as recbole
from benchmarks import measure, naive_em
from benchmarks.measure import Measurement
from benchmarks.products import extent, products_of, replay
from benchmarks.stages import five_core, full_ranking
from benchmarks.training import em_instances, em_trainer, n_targets
from benchmarks.worlds import generated_data, random
from latentcrs_utils.behavior.sasrec import SASRec
from latentcrs_utils.config import BackboneConfig
from latentcrs_utils.data.sequences import Sequences
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


@pytest.mark.parametrize(("threads", "least", "most"), [(1, 0, 0.1), (2, 0.19, 99)])
def test_one_thread_is_measured_by_its_own_time(monkeypatch, threads, least, most) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    name, now = measure.clock()
    assert ("processor" in name) == (threads == 1)
    started = now()
    time.sleep(0.2)
    assert least <= now() - started < most


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


def test_a_stage_that_is_one_large_product_sits_on_its_floors(clock: Clock, monkeypatch) -> None:
    product = torch.ones(16, 16)

    def multiply() -> None:
        _ = product @ product
        clock.now += 0.5

    def again(products) -> object:
        assert [p.flops for p in products] == [2 * 16**3]
        return clock.taking("floor", [0.5] * 8)

    monkeypatch.setattr(measure, "replay", again)
    monkeypatch.setattr(measure, "matrix_product", lambda dtype: (multiply, 2 * 16**3))
    same = measure.against_matrix_products("same", "here", multiply, "")
    assert (same.ratio, same.ratio_at_best_rate) == pytest.approx((1, 1))
    assert same.gflop == pytest.approx(2 * 16**3 / 1e9)
    idle = clock.taking("idle", [0.5] * 10)
    half = measure.against_matrix_products("idle half", "here", lambda: (multiply(), idle()), "")
    assert half.ratio == pytest.approx(2.0)


def test_the_peak_of_memory_is_that_of_the_call() -> None:
    if measure.peak_bytes(lambda: None) is None:
        pytest.skip("this system does not tell a process's highest memory")
    n_bytes = 200_000_000
    held = measure.peak_bytes(lambda: np.ones(n_bytes, dtype=np.uint8))
    assert n_bytes * 0.95 < held < n_bytes * 1.5
    assert measure.peak_bytes(lambda: None) < n_bytes / 4


def test_generated_data_have_the_size_asked_for() -> None:
    made, again = (generated_data("made", 300, 200, 12) for _ in range(2))
    lengths = made.interactions.lengths
    assert (made.n_users, made.n_items) == (300, 200)
    assert lengths.min() >= 3 and 10 < lengths.mean() < 15
    assert all(len(set(items.tolist())) == len(items) for items in made.interactions)
    assert np.array_equal(again.interactions.flat, made.interactions.flat)


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


def test_a_naive_batch_moves_both_models() -> None:
    trainer, encoder, padded, batch = small_batch(residual=True)
    both = torch.nn.ModuleList([trainer.generative, trainer.inference])
    before = {name: value.clone() for name, value in both.named_parameters()}
    naive_em.naive_batch(trainer, encoder, padded, batch.x, batch.targets)
    for name in ("0.anchors", "0.residual.a", "1.W_q.weight", "1.W_e.weight"):
        assert not torch.equal(both.get_parameter(name), before[name]), name


def test_real_stages_are_measured_against_real_work() -> None:
    filtering = five_core()
    assert "55,375 ratings" in filtering.note
    assert min(filtering.seconds, filtering.floor_seconds) > 0
    seen = Sequences.from_lists([[1, 2], [3], []])
    parts = random(3, 64), random(6, 64), np.array([3, 1, 5]), seen
    measured = full_ranking("tiny", *parts, repeats=1)
    assert measured.gflop == pytest.approx(2 * 3 * 64 * 6 / 1e9)
    assert (measured.aim, measured.floor) == (1.5, "its product of scores")


def test_recbole_is_given_every_interaction_in_order(tmp_path: Path) -> None:
    made = generated_data("made", 20, 30, 6)
    recbole.write_atomic_file(made, tmp_path)
    header, *rows = (tmp_path / "course" / "course.inter").read_text().splitlines()
    assert header == "user_id:token\titem_id:token\ttimestamp:float"
    assert len(rows) == len(made.interactions.flat)
    third = [row.split("\t")[1:] for row in rows if row.startswith("2\t")]
    assert third == [[str(i), str(time)] for time, i in enumerate(made.interactions[2])]


def test_recbole_is_compared_over_the_same_targets(data) -> None:
    run = {"batch_size": 100, "timed_batches": 3, "seconds_per_batch": 2.0}
    run |= {"batches_per_epoch": 10, "samples_per_epoch": 1000}
    row = recbole.comparison(4.0, 1000, run, 128)
    assert (row["ratio"], row["seconds"], row["rival_seconds"]) == pytest.approx((5, 4, 20))
    with pytest.raises(ValueError, match="1000 targets, the course on 999"):
        recbole.comparison(4.0, 999, run, 128)
    # all but the first of every user, as RecBole's leave-one-out counts them
    assert n_targets(data) == 54_413 - 3 * 938


def test_recbole_that_cannot_be_had_says_why(data, tmp_path: Path, monkeypatch, capsys) -> None:
    impossible = tmp_path / "requirements.txt"
    impossible.write_text("./there-is-no-such-folder\n")
    monkeypatch.setattr(recbole, "REQUIREMENTS", impossible)
    with pytest.raises(recbole.UnavailableError, match=r"cannot be built: .*no-such-folder"):
        recbole.environment(tmp_path / "environment")
    assert not (tmp_path / "environment" / ".complete").exists()
    # make bench goes on without it
    absent = Mock(side_effect=recbole.UnavailableError("no network"))
    monkeypatch.setattr(command, "against_recbole", absent)
    assert list(command.against_library(data, quick=False)) == []
    assert "RecBole is left out: no network.\n" in capsys.readouterr().out


def test_the_command_writes_what_it_prints(data, tmp_path: Path, monkeypatch, capsys) -> None:
    output = tmp_path / "deep" / "bench.json"
    numbers = 3.0, 1.0, 0.001, 5_000_000
    measured = Measurement("demo", "here", 0.006, "a floor", 0.002, "six by two", *numbers)
    rival = {"rival": "somebody", "what": "a thing", "seconds": 0.5, "note": "so"}
    rival |= {"rival_seconds": 2.00001, "ratio": 4.00002}
    rows = {"STAGES": {"em": measured, "ranking": replace(measured, seconds=0.004)}}
    for table, parts in (rows | {"RIVALS": {"naive": rival}}).items():
        one_row = {part: lambda data, quick, row=row: iter([row]) for part, row in parts.items()}
        monkeypatch.setattr(command, table, one_row)
    assert command.main(["--record", str(output)]) == 0
    record = json.loads(output.read_text())
    assert record["command"] == "python -m benchmarks"
    assert record["threads"] == torch.get_num_threads()
    saved, ranking = record["measurements"]
    assert (ranking["part"], ranking["ratio"]) == ("ranking", pytest.approx(2))
    assert (saved["ratio"], saved["ratio_at_best_rate"]) == pytest.approx((3, 6))
    assert (saved["stage"], saved["scale"], saved["aim"]) == ("demo", "here", 3.0)
    assert record["against"] == [rival | {"part": "naive", "rival_seconds": 2.0, "ratio": 4.0}]
    printed = capsys.readouterr().out
    assert "6.00 ms   3.00 x   6.00 x   5 MB  a floor (six by two)" in printed
    assert "somebody: 2.00 s, ours 0.500 s, 4 x (a thing; so)" in printed
    assert saved["part"] == "em"
    # where something is missing, that is said and nothing is written
    fail = Mock(side_effect=AssetError("The model is not here."))
    monkeypatch.setattr(command, "STAGES", {"data": fail})
    assert command.main(["--record", str(tmp_path / "none.json")]) == 1
    assert capsys.readouterr().err == "The model is not here.\n"
    assert not (tmp_path / "none.json").exists()
