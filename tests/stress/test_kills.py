"""Killed at random moments, every stage gives the bits of an undisturbed run when it runs again.

Half by the clock, a quarter before an operation on the file system, a quarter within a file.
"""

import contextlib
import json
import os
import random
import resource
import shutil
import signal
import sqlite3
import sys
import time
from pathlib import Path

import pytest
import torch

from latentcrs_utils.support import artifacts
from tests.stress.conftest import SEED, figures, scaled
from tests.stress.stages import STAGES, course
from tests.support.demo_site import ARCHIVE, Site, left_in, send
from tests.support.resume_jobs import context, digest

pytestmark = pytest.mark.stress
CHANGES = {"open", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "sqlite3.connect"}


def work(given: tuple, stage: str, cache: str, line, at: int, n_bytes: int) -> None:
    """Do a stage and send operations and bits, or die at an operation or within a file after it."""
    os.environ |= {"LATENTCRS_CACHE": cache, "LATENTCRS_PROGRESS": "0"}
    torch.set_num_threads(1)
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
    results, done = course(*given), 0
    for _ in STAGES[: STAGES.index(stage) + 1]:
        next(results)

    def count(event: str, given: tuple) -> None:
        nonlocal done
        reads = event == "open" and not given[2] & (os.O_WRONLY | os.O_RDWR)
        if event in CHANGES and not reads and cache in str(given[0]):
            done += 1
            if done == at and n_bytes:
                resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, n_bytes))
            elif done == at:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(count)
    line.send("begins")
    started = time.monotonic()
    _, tensors, rest = next(results)
    line.send((time.monotonic() - started, done, (digest(tensors), rest)))


def run(given: tuple, stage: str, cache: Path, seconds=0.0, at=0, n_bytes=0) -> tuple | None:
    """Seconds, operations and bits of a stage in a process of its own; None if it was killed."""
    line, other = context.Pipe()
    process = context.Process(target=work, args=(given, stage, str(cache), other, at, n_bytes))
    process.start()
    other.close()
    counted = None
    with contextlib.suppress(EOFError):
        assert line.recv() == "begins"
        if seconds and not line.poll(seconds):
            process.kill()
        counted = line.recv()
    process.join()
    assert process.exitcode in {0, -signal.SIGKILL, -signal.SIGXFSZ}, (
        f"{stage} ended with {process.exitcode}"
    )
    return counted


def assert_whole(cache: Path, undisturbed: Path) -> None:
    """No file with its final name is half written."""
    for file in (path for path in cache.rglob("*") if path.is_file() and ".part" not in str(path)):
        content = file.read_bytes()
        if file.suffix == ".checkpoint":
            hashed, record, tensors = content.split(b"\n", 2)
            assert hashed == artifacts._digest(file, record, tensors), file
        elif file.suffix == ".json":
            assert json.loads(content)["sha256"], file
        elif ".sqlite" not in file.name:
            assert content == (undisturbed / file.relative_to(cache)).read_bytes(), file


@pytest.fixture(scope="module")
def undisturbed(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> dict:
    """Stage -> what it is given, the cache before it and after it, and what `run` counted."""
    found, before = {}, tmp_path_factory.mktemp("before")
    given = tiny_model, Site().asset(whole=[send(ARCHIVE)])
    for stage in STAGES:
        after = Path(shutil.copytree(before, before.with_name(stage)))
        found[stage] = given, before, after, *run(given, stage, after)
        before = after
    return found


@pytest.mark.parametrize("stage", STAGES)
def test_killed_at_random_moments(stage: str, undisturbed: dict, tmp_path: Path) -> None:
    given, before, after, seconds, n_operations, bits = undisturbed[stage]
    largest = max(path.stat().st_size for path in after.rglob("*"))
    rng, kills, n_kills, n_tries = random.Random(SEED), [], scaled(20), 0
    while len(kills) < n_kills:
        moment = {"seconds": rng.uniform(1e-6, seconds)}
        if n_operations and len(kills) % 2:
            n_bytes = int(largest ** rng.random()) if len(kills) % 4 == 1 else 0
            moment = {"at": rng.randint(1, n_operations), "n_bytes": n_bytes}
        n_tries += 1
        assert n_tries < 10 * n_kills, f"{stage} outlives its kills"
        cache = Path(shutil.copytree(before, tmp_path / str(n_tries)))
        if run(given, stage, cache, **moment) is None:
            kills.append(moment)
            where = f"seed {SEED}, kills {kills}"
            assert_whole(cache, after)
            assert run(given, stage, cache)[2] == bits, where
            # what the killed one left is gone: no lock holds it, and it does not pile up
            assert left_in(cache) == left_in(after), where
            for file in cache.rglob("*.sqlite"):
                with contextlib.closing(sqlite3.connect(file)) as store:
                    assert store.execute("PRAGMA integrity_check").fetchone() == ("ok",), where
        shutil.rmtree(cache)
    in_files = sum(moment.get("n_bytes", 0) > 0 for moment in kills)
    figures["kills"].append(f"{stage} {n_kills}, {in_files} of them within a file, 0 lost")
