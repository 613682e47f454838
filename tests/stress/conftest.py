"""What the parts share: a seed, which is printed, a report at the end, a small fitted model."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.language.tiny_model import make_tiny_model
from tests.stress.stages import Course

SEED = int(os.environ.get("STRESS_SEED") or random.SystemRandom().randrange(10**6))
PARTS = ("two processes", "kills", "hostile messages", "sessions")
figures: dict[str, dict[str, Any]] = {part: {} for part in PARTS}


@pytest.fixture(scope="session")
def seed() -> int:
    """The seed of every random choice of this run."""
    return SEED


@pytest.fixture(scope="session")
def report() -> Callable[..., None]:
    """Add figures to a part of the report."""
    return lambda part, **more: figures[part].update(more)


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a language model of random weights."""
    return make_tiny_model(tmp_path_factory.mktemp("model") / "tiny")


@pytest.fixture(scope="session")
def course(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Course:
    """All stages over a small world, in a cache of their own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LATENTCRS_CACHE", str(tmp_path_factory.mktemp("cache")))
        course = Course(tiny_model)
        assert course.fit_em.name
        return course


def pytest_terminal_summary(terminalreporter: Any) -> None:
    if not any(figures.values()):
        return
    terminalreporter.section(f"what was done; the same again: STRESS_SEED={SEED} make stress")
    for part, found in figures.items():
        said = ", ".join(
            f"{what.replace('_', ' ')} {v:.3g}"
            if isinstance(v, float)
            else f"{what.replace('_', ' ')} {v}"
            for what, v in found.items()
        )
        terminalreporter.write_line(f"{part}: {said or 'not run'}")
