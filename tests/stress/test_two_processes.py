"""Two processes end cleanly every time, beside others that keep the machine busy."""

import ast
import os
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.browser.servers import free_port
from tests.notebooks.conftest import ROOT, code_of
from tests.stress.conftest import figures, scaled

pytestmark = pytest.mark.stress
TABLE = tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))
SCRIPTS = TABLE["scripts"]


@pytest.fixture(scope="module", autouse=True)
def busy() -> Iterator[None]:
    """Two loops that do nothing, as fast as they can."""
    loops = [subprocess.Popen([sys.executable, "-c", SCRIPTS["busy"]]) for _ in range(2)]
    yield
    for loop in loops:
        loop.kill()
        loop.wait()


@pytest.mark.parametrize("way", TABLE["ways"])
def test_two_processes_end_cleanly(way: str, tiny_model: Path, tmp_path: Path) -> None:
    twins = {getattr(node, "name", ""): node for node in code_of("11_paper_scale", "twin")}
    together = f"{ast.unparse(twins['train_together'])}\n{SCRIPTS['together']}"
    (tmp_path / "together.py").write_text(together, encoding="utf-8")
    (tmp_path / "own.py").write_text(SCRIPTS["own"], encoding="utf-8")
    (tmp_path / "model").symlink_to(tiny_model)
    fixed = {**os.environ, **TABLE["env"], "PYTHONPATH": str(ROOT)}
    n, arguments = TABLE["ways"][way]
    n, results = scaled(n), set()
    for run in range(n):
        cache, where = tmp_path / str(run), f"{way}, run {run}"
        cache.mkdir()
        given = arguments.format(**TABLE["words"], port=free_port()).split()
        done = subprocess.run(
            [sys.executable, *given], cwd=tmp_path, capture_output=True, text=True, timeout=600,
            env={**fixed, "LATENTCRS_CACHE": str(cache)},
        )  # fmt: skip
        assert (done.returncode, done.stderr) == (0, ""), where
        said = "".join(file.read_text(encoding="utf-8") for file in cache.rglob("*.json"))
        assert '"processes": 2' in said or "2 processes" in done.stdout, where
        results.add(b"".join(file.read_bytes() for file in cache.rglob("*.safetensors")) or said)
    assert len(results) == 1, f"{way}: {len(results)} results of {n} runs"
    figures["two processes"].append(f"{way} {n}, 0 failed")
