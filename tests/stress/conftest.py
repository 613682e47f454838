"""What the parts share: a seed, a scale, a small fitted model, and the figures at the end."""

import os
import random
from collections import defaultdict
from pathlib import Path

import pytest

from tests.language.tiny_model import make_tiny_model
from tests.stress.stages import STAGES, course

SEED = int(os.environ.get("STRESS_SEED") or random.SystemRandom().randrange(10**6))
SCALE = float(os.environ.get("STRESS_SCALE") or 1)
figures: dict[str, list[str]] = defaultdict(list)


def scaled(n: int) -> int:
    """How many of the n of a full run this run does."""
    return max(2, round(n * SCALE))


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a language model of random weights."""
    return make_tiny_model(tmp_path_factory.mktemp("model") / "tiny")


@pytest.fixture(scope="session")
def world(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> dict:
    """The data and the results of the stages, by name."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LATENTCRS_CACHE", str(tmp_path_factory.mktemp("cache")))
        results = course(tiny_model)
        return {stage: next(results)[0] for stage in ("data", *STAGES[:-1])}


def pytest_terminal_summary(terminalreporter) -> None:
    if figures:
        terminalreporter.section(f"what was done (STRESS_SEED={SEED} STRESS_SCALE={SCALE:g})")
    for part, found in figures.items():
        terminalreporter.write_line(f"{part}: {'; '.join(found)}")
