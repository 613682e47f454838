"""Two processes on the CPU beside one: there are two, they share the work, the result is one's.

The two are started by torchrun, and once as a notebook starts them.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from latentcrs_utils.errors import ConfigError
from latentcrs_utils.support.processes import SINGLE, join
from tests.language.tiny_model import make_tiny_model

ROOT = Path(__file__).resolve().parents[2]
JOBS = Path(__file__).with_name("process_jobs.py")
Runs = dict[int, dict[str, Any]]  # what one process and two wrote
TORCHRUN = (sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node")


def launch(folder: Path, model: Path, *start: str, options: tuple[str, ...] = ()) -> dict[str, Any]:
    """Run the jobs in a cache of their own; returns what the main process wrote."""
    out, cache = folder / "out.json", folder / "cache"
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "LATENTCRS_CACHE": str(cache), "PYTHONPATH": path}
    done = subprocess.run(
        [*start, str(JOBS), str(out), str(model), *options],
        env=environment | {"LATENTCRS_DEVICE": "cpu", "OMP_NUM_THREADS": "1"},
        capture_output=True, text=True, timeout=900,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    # only the main process wrote, and what it wrote is whole
    kinds = {file.suffix for file in cache.rglob("*") if file.is_file()}
    assert kinds <= {".safetensors", ".json", ".sqlite"}, kinds
    return json.loads(out.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Runs:
    model = make_tiny_model(tmp_path_factory.mktemp("model"))
    starts = {1: (sys.executable,), 2: (*TORCHRUN, "2")}
    return {
        n: launch(tmp_path_factory.mktemp(str(n)), model, *start, options=(str(n),))
        for n, start in starts.items()
    }


def test_there_were_two(runs: Runs) -> None:
    for count, run in runs.items():
        assert run["processes"] == run["pids"] == count
        assert run["numbers"] == list(range(count))
        assert run["ce"]["processes"] == count


def column(run: dict[str, Any], training: str, name: str) -> list[float]:
    return [row[name] for row in run[training]["curve"]]


@pytest.mark.parametrize("training", ["ce", "sampled", "bce, contrasts"])
def test_two_processes_learn_what_one_does(runs: Runs, training: str) -> None:
    one, two = (column(run, training, "loss") for run in runs.values())
    assert two == pytest.approx(one, rel=1e-4) and one[2] < 0.97 * one[0]
    one, two = (column(run, training, "valid NDCG@20") for run in runs.values())
    assert two == pytest.approx(one, abs=2e-3)


def test_bfloat16_learns_as_float32_does(runs: Runs) -> None:
    for run in runs.values():
        low, full = (column(run, name, "loss") for name in ("bfloat16", "ce"))
        assert low == pytest.approx(full, rel=0.01) and low != full


def test_dropout_differs_but_learns_as_much_interrupted_or_not(runs: Runs) -> None:
    one, two = (column(run, "dropout", "loss") for run in runs.values())
    assert two == pytest.approx(one, rel=0.05) and one != two
    assert all(run["interrupted"] == run["dropout"] for run in runs.values())


def test_two_processes_embed_to_the_bits_of_one(runs: Runs) -> None:
    for name in ("embedding", "from the cache", "afresh"):
        assert len(runs[2][name]) == 1, "all processes have all vectors"
        assert runs[1]["embedding"] == runs[2][name]


def test_a_notebook_starts_two(runs: Runs, tmp_path: Path) -> None:
    model = make_tiny_model(tmp_path / "model")
    run = launch(tmp_path, model, sys.executable)
    assert run["processes"] == run["pids"] == 2
    assert run["ce"] == runs[2]["ce"]
    assert run["embedding"] == runs[1]["embedding"]


def test_fewer_processes_than_expected_are_refused() -> None:
    with pytest.raises(ConfigError, match="torchrun --nproc_per_node 3"):
        join(expected=3)
    assert join(expected=1) is join() is SINGLE
