"""Two processes end cleanly every time, beside others that keep the machine busy.

`train_together` of notebook 11, and the other ways in which the README starts two processes.
"""

from __future__ import annotations

import ast
import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from tests.browser.servers import free_port
from tests.notebooks.conftest import code_of

pytestmark = pytest.mark.stress
ROOT = Path(__file__).resolve().parents[2]
N_RUNS = {"notebook 11": 40, "pretrain": 8, "embed_corpus": 8, "own script": 8, "a notebook's": 8}
TORCHRUN = (sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2")
BUSY = "import os; parent = os.getppid()\nwhile os.getppid() == parent: pass"
SMALL = "n_epochs=1, hidden=8, n_layers=1, n_heads=1"
OWN = f"""
import sys, latentcrs_utils as lc
from accelerate import notebook_launcher
from latentcrs_utils.config import BackboneConfig
data, config = lc.load_dataset("synthetic"), BackboneConfig({SMALL})
if sys.argv[1:]:
    notebook_launcher(lc.pretrain, (data, config), num_processes=2, use_port=sys.argv[1])
backbone = lc.pretrain(data, config)
print(backbone.facts["processes"], [row["loss"] for row in backbone.curve])
"""


@pytest.fixture(scope="module", autouse=True)
def busy() -> Iterator[None]:
    """Two loops that do nothing, as fast as they can."""
    with contextlib.ExitStack() as ending:
        for _ in range(2):
            loop = subprocess.Popen([sys.executable, "-c", BUSY])
            ending.callback(loop.wait)
            ending.callback(loop.kill)
        yield


def train_together() -> str:
    """The function of notebook 11, and a call of it."""
    (function,) = (
        ast.unparse(node)
        for node in code_of("11_paper_scale", "twin")
        if getattr(node, "name", "") == "train_together"
    )
    call = "train_together(*torch.load('task.pt'), 23, 3, pathlib.Path('curve.json'))"
    return "\n".join(["import json, pathlib, torch", function, call])


@pytest.mark.parametrize("way", N_RUNS)
def test_two_processes_end_cleanly(
    way: str, report: Callable, tiny_model: Path, tmp_path: Path
) -> None:
    noise = torch.Generator().manual_seed(0)
    torch.save((torch.randn(130, 8, generator=noise), torch.arange(130) % 23 + 1), "task.pt")
    Path("task.pt").replace(tmp_path / "task.pt")
    (tmp_path / "together.py").write_text(train_together(), encoding="utf-8")
    (tmp_path / "own.py").write_text(OWN, encoding="utf-8")
    module, synthetic = (*TORCHRUN, "-m"), ("--data", "synthetic", "--expect-processes", "2")
    command = {
        "notebook 11": lambda: (*TORCHRUN, "together.py"),
        "pretrain": lambda: (
            *module, "experiments.pretrain", *synthetic, "--set", *SMALL.split(", ")
        ),
        "embed_corpus": lambda: (
            *module, "experiments.embed_corpus", *synthetic, "--model", str(tiny_model)
        ),
        "own script": lambda: (*TORCHRUN, "own.py"),
        "a notebook's": lambda: (sys.executable, "own.py", str(free_port())),
    }[way]  # fmt: skip
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    found = set()
    for run in range(N_RUNS[way]):
        cache = tmp_path / f"cache {run}"
        done = subprocess.run(
            command(), cwd=tmp_path, capture_output=True, text=True, timeout=600,
            env={**os.environ, "PYTHONPATH": path, "LATENTCRS_CACHE": str(cache),
                 "LATENTCRS_DEVICE": "cpu", "OMP_NUM_THREADS": "1"},
        )  # fmt: skip
        assert (done.returncode, done.stderr) == (0, ""), f"{way}, run {run}"
        if way == "notebook 11":
            result = (tmp_path / "curve.json").read_text(encoding="utf-8")
            assert json.loads(result)["processes"] == 2
            (tmp_path / "curve.json").unlink()
        else:
            (result,) = {file.read_bytes() for file in cache.glob("*/*.safetensors")} or {b""}
        found.add(result)
    assert len(found) == 1, f"{way}: {len(found)} results of {N_RUNS[way]} runs"
    report("two processes", **{way: N_RUNS[way]}, failures=0)
