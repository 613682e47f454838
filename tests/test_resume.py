"""Killed and run again: the same result, bit by bit, and nothing half-written left behind."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from language.tiny_model import make_tiny_model
from resume_jobs import JOBS, Outcome, Run

TRAININGS = [job for job in JOBS if job != "embedding"]


@pytest.fixture(scope="module")
def options(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict]:
    """Options of the jobs that need some."""
    return {"embedding": {"folder": make_tiny_model(tmp_path_factory.mktemp("model") / "tiny")}}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, options: dict) -> dict[str, Outcome]:
    """Every job, run once to its end."""
    runs = {job: Run(job, tmp_path_factory.mktemp("whole"), **options.get(job, {})) for job in JOBS}
    return {job: run.until() for job, run in runs.items()}


def left(cache: Path) -> set[str]:
    """Suffixes of the files in a cache, hashes of model folders aside."""
    files = [file for file in cache.rglob("*") if file.is_file()]
    return {file.suffix for file in files if not file.name.endswith(".sha256.json")}


def same(one: Outcome, other: Outcome) -> bool:
    return one.digest == other.digest and one.curve == other.curve


@pytest.mark.parametrize("job", JOBS)
def test_killed_at_random_until_it_ends_with_the_same_result(
    job: str, undisturbed: dict, options: dict, tmp_path: Path
) -> None:
    rng = random.Random(job)
    whole, done, n_killed = undisturbed[job], None, 0
    while done is None:
        run = Run(job, tmp_path, **options.get(job, {}))
        done = run.until(rng.randint(1, whole.n_steps // 2))
        if done is None:
            run.kill(delay=rng.choice([0, rng.uniform(0, 0.03)]))
            n_killed += 1
    assert same(done, whole)
    # at least the first run died, as it may do half of the steps; and its work was not lost
    assert n_killed >= 1
    assert done.n_steps < whole.n_steps
    assert left(tmp_path) == ({".sqlite"} if job == "embedding" else {".safetensors", ".json"})
