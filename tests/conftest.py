"""Fixtures shared by all tests; the real assets are fetched once into the cache."""

from __future__ import annotations

import os
from pathlib import Path

# set before torch or a tokenizer is imported anywhere; the same values as when recording
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("LATENTCRS_PROGRESS", "0")

import pytest
from hypothesis import HealthCheck, settings

from latentcrs_utils.data.loading import load_dataset
from latentcrs_utils.data.sequences import Dataset
from latentcrs_utils.support import assets

# no deadline: a shared machine may be slow, and no test here is about time
settings.register_profile("course", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("course")


@pytest.fixture(scope="session")
def data() -> Dataset:
    """MovieLens-100k, prepared with the default options."""
    return load_dataset("ml-100k")


@pytest.fixture(scope="session")
def model_dir() -> Path:
    """Folder that holds the GGUF file of SmolLM2-135M-Instruct."""
    return assets.smollm2_gguf().parent


@pytest.fixture
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache folder of this test's own, with nothing in it."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("LATENTCRS_CACHE", str(folder))
    return folder
