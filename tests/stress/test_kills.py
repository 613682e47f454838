"""Killed at random moments, every stage gives the bits of an undisturbed run when it runs again.

Of twenty kills of a stage ten are by the clock; five fall before a random operation on the file
system, and five into the midst of a file, after a random number of bytes, by the system's limit.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import random
import resource
import shutil
import signal
import sqlite3
import sys
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from latentcrs_utils.support import artifacts
from latentcrs_utils.support.downloads import Asset
from tests.stress.stages import INPUTS, Course
from tests.support.demo_site import ARCHIVE, CONTENT, Site, announce
from tests.support.resume_jobs import context

pytestmark = pytest.mark.stress
N_KILLS = 20
DEADLY = {-signal.SIGKILL, -signal.SIGXFSZ}
CHANGES = {
    "os.rename", "os.remove", "os.mkdir", "os.rmdir", "shutil.rmtree", "sqlite3.connect", "open",
}  # fmt: skip
Moment = tuple[float, int, int]  # seconds, operations, bytes; 0: not so


def slowly(handler: BaseHTTPRequestHandler) -> None:
    """Send the archive piece by piece."""
    announce(handler, len(ARCHIVE))
    for start in range(0, len(ARCHIVE), 20_000):
        time.sleep(0.02)
        handler.wfile.write(ARCHIVE[start : start + 20_000])


@pytest.fixture
def asset() -> Iterator[Asset]:
    site = Site()
    yield site.asset(slow=[slowly])
    site.server.shutdown()
    site.server.server_close()


def work(course: Course, stage: str, cache: str, line: Connection, moment: Moment) -> None:
    """Do a stage in this process, which dies at the moment; send the bits, and what was counted."""
    os.environ |= {"LATENTCRS_CACHE": cache, "LATENTCRS_PROGRESS": "0"}
    os.environ.pop("LATENTCRS_DATA", None)
    torch.set_num_threads(1)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
    for needed in INPUTS[stage]:
        getattr(course, needed)
    _, at, n_bytes = moment
    done = 0

    def count(event: str, given: tuple[Any, ...]) -> None:
        nonlocal done
        if event in CHANGES and cache in str(given[0]) and (event != "open" or given[2] & 3):
            done += 1
            if done == at and n_bytes:
                resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, n_bytes))
            elif done == at:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(count)
    line.send("begins")
    getattr(course, stage)
    line.send(done)
    line.send(course.bits(stage))


def run(course: Course, stage: str, cache: Path, moment: Moment = (0, 0, 0)) -> tuple | None:
    """Operations, seconds and bits of a stage in a process of its own; None where it was killed."""
    line, other = context.Pipe()
    process = context.Process(target=work, args=(course, stage, str(cache), other, moment))
    process.start()
    other.close()
    with contextlib.suppress(EOFError):
        assert line.recv() == "begins"
        started = time.monotonic()
        if moment[0] and not line.poll(moment[0]):
            process.kill()
        done, seconds, bits = line.recv(), time.monotonic() - started, line.recv()
        process.join()
        return done, seconds, bits
    process.join()
    assert process.exitcode in DEADLY, f"{stage} {moment}: ended with {process.exitcode}"
    return None


def files(cache: Path) -> list[Path]:
    """All files that have their final names."""
    found = [file for file in cache.rglob("*") if file.is_file()]
    return [file for file in found if not any(part.endswith(".part") for part in file.parts)]


def names(cache: Path) -> set[str]:
    """Names of all files and scratch folders; those of remembered hashes depend on the folder."""
    found = {path for path in cache.glob("*/**/*") if path.is_file() or path.suffix == ".part"}
    return {path.name for path in found if "hashes" not in path.relative_to(cache).parts}


def assert_whole(file: Path) -> None:
    """Nothing with a final name is half written."""
    if file.name in (members := {Path(path).name: content for path, content in CONTENT.items()}):
        assert file.read_bytes() == members[file.name]
    elif file.suffix == ".json":
        digest = json.loads(file.read_text(encoding="utf-8"))["sha256"]
        if (tensors := file.with_suffix(".safetensors")).exists():
            assert hashlib.sha256(tensors.read_bytes()).hexdigest() == digest
    elif file.suffix == ".checkpoint":
        digest, record, content = file.read_bytes().split(b"\n", 2)
        assert digest == artifacts._digest(file, record, content)
    elif file.suffix == ".safetensors":
        load_file(file)
    else:
        assert file.name.startswith("vectors-1.sqlite"), f"an unknown file: {file.name}"


@pytest.mark.parametrize("stage", INPUTS)
def test_killed_at_twenty_moments(
    stage: str, seed: int, report: Callable, tiny_model: Path, asset: Asset, tmp_path: Path
) -> None:
    course, before = Course(tiny_model, asset), tmp_path / "before"
    before.mkdir()
    for needed in INPUTS[stage]:
        if needed != "data":
            run(course, needed, before)
    whole = tmp_path / "whole"
    shutil.copytree(before, whole)
    n_changes, seconds, bits = run(course, stage, whole)
    largest = max((file.stat().st_size for file in files(whole)), default=0)
    rng, tries, kills = random.Random(f"{seed} {stage}"), 0, 0
    while kills < N_KILLS:
        tries += 1
        assert tries < 10 * N_KILLS, f"{stage} outlives its kills"
        moment: Moment = (rng.uniform(0.0, seconds) + 1e-6, 0, 0)
        if n_changes and kills % 2:
            n_bytes = int(largest ** rng.random()) if kills % 4 == 1 else 0
            moment = (0, rng.randint(1, n_changes), n_bytes)
        cache, where = tmp_path / str(tries), f"seed {seed}, {stage}, kill {kills}: {moment}"
        shutil.copytree(before, cache)
        if run(course, stage, cache, moment) is not None:
            continue
        kills += 1
        for file in files(cache):
            assert_whole(file)
        again = run(course, stage, cache)
        assert again is not None and again[2] == bits, where
        # what the killed one left is gone: no lock holds it, and it does not pile up
        assert names(cache) == names(whole), where
        for file in cache.rglob("*.sqlite"):
            with contextlib.closing(sqlite3.connect(file)) as store:
                assert store.execute("PRAGMA integrity_check").fetchone() == ("ok",), where
        shutil.rmtree(cache)
    report("kills", **{stage: kills}, lost=0)
