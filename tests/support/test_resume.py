"""Killed and run again: the same result, bit by bit, and nothing half-written left behind."""

import random
import signal
from pathlib import Path

import pytest
import torch

from tests.language.tiny_model import make_tiny_model
from tests.support import resume_jobs
from tests.support.resume_jobs import JOBS, Outcome, Run, digest, interrupted_at, without_seconds


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
    """Suffixes of what is in the folders of a cache, hashes of model folders aside."""
    found = cache.glob("*/*")
    return {path.suffix for path in found if not path.name.endswith(".sha256.json")}


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
    assert done == whole
    # at least the first run died, as it may do half of the steps; and its work was not lost
    assert n_killed >= 1
    assert done.n_steps < whole.n_steps
    assert left(tmp_path) == ({".sqlite"} if job == "embedding" else {".safetensors", ".json"})


MOMENTS = [
    (".checkpoint", 1), (".checkpoint", 7), (".safetensors", 1), (".safetensors", 2), (".json", 2),
    ("discard", 2),
]  # fmt: skip
OVER_AND_OVER = ("LatentCRS+, sampled candidates", [(".checkpoint", n) for n in (2, 1, 3, 2)])


@pytest.mark.parametrize(
    ("job", "moments"), [*(("LatentCRS", [moment]) for moment in MOMENTS), OVER_AND_OVER], ids=str
)
def test_killed_in_the_midst_of_writing(
    job: str, moments: list[tuple[str, int]], undisturbed: dict, tmp_path: Path
) -> None:
    # the job makes two artifacts: the first of each kind of file is the backbone's
    for moment in moments:
        killed = Run(job, tmp_path, die_at=moment)
        assert killed.until() is None and killed.process.exitcode == -signal.SIGKILL
    assert (".part" in left(tmp_path)) == (moment[0] != "discard")
    # what a killed writer left goes with the next writing of the same file
    assert len(list(tmp_path.rglob("*.part"))) <= 2
    done = Run(job, tmp_path).until()
    assert done == undisturbed[job]
    assert left(tmp_path) == {".safetensors", ".json"}
    if moment[1] > 1:
        assert done.n_steps < undisturbed[job].n_steps
        assert any("goes on after" in said or "loaded" in said for said in done.notes)


def test_two_at_once_and_one_is_killed(undisturbed: dict, tmp_path: Path) -> None:
    job = "backbone"
    n_steps = undisturbed[job].n_steps
    slow, fast = Run(job, tmp_path), Run(job, tmp_path)
    assert fast.until(n_steps // 2) is None
    assert slow.until(n_steps // 3) is None
    slow.kill()
    third = Run(job, tmp_path)
    assert third.until(2) is None
    fast.line.send("go on")
    assert fast.until() == undisturbed[job]
    # the result is there; the third goes on writing checkpoints for a while, and dies: what it left
    # goes with the next call, which trains nothing
    assert third.process.is_alive()
    third.kill(delay=0.01)
    last = Run(job, tmp_path).until()
    assert last == undisturbed[job] and last.n_steps == 0
    assert left(tmp_path) == {".safetensors", ".json"}


@pytest.mark.parametrize("job", JOBS)
def test_in_a_notebook(job: str, undisturbed: dict, options: dict, empty_cache: Path) -> None:
    whole = undisturbed[job]
    before = torch.get_rng_state()
    for share in (0.3, 0.4):
        with interrupted_at(int(share * whole.n_steps) + 1):
            JOBS[job](**options.get(job, {}))
        assert torch.equal(torch.get_rng_state(), before)
        # other random draws between the attempts do not matter
        torch.rand(3)
        before = torch.get_rng_state()
    steps: list[int] = []
    with resume_jobs.each_step(steps.append):
        state, curve = JOBS[job](**options.get(job, {}))
    # an embedding loses the running batch only: 4 and 6 of its 15 batches were done
    assert len(steps) == 5 if job == "embedding" else len(steps) < whole.n_steps
    assert (digest(state), without_seconds(curve)) == (whole.digest, whole.curve)
