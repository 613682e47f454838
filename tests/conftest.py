"""Fixtures shared by all tests; the real assets are fetched once into the cache."""

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
    return next(iter(assets.fetch(assets.SMOLLM2).values())).parent


@pytest.fixture(scope="session")
def small_world(tmp_path_factory: pytest.TempPathFactory) -> tuple:
    """Data set, backbone, anchors and language of `tests.em.small_world`."""
    from tests.em.small_world import world

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LATENTCRS_CACHE", str(tmp_path_factory.mktemp("cache")))
        return world()


@pytest.fixture(scope="session")
def world() -> Dataset:
    """The thirty users and forty films of `tests.evaluation.dialogue_world`."""
    from tests.evaluation.dialogue_world import dataset

    return dataset()


@pytest.fixture
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache folder of this test's own, with nothing in it."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("LATENTCRS_CACHE", str(folder))
    return folder


def folder_with(*names: str) -> Path | None:
    """Return the folder that holds all these subfolders, or None.

    ``LATENTCRS_DATA`` if set, else ``../shared/data`` beside the checkout. Nobody may put these
    files into the repository, so on most machines the tests that need them are skipped.
    """
    chosen = os.environ.get("LATENTCRS_DATA")
    folder = Path(chosen) if chosen else Path(__file__).resolve().parents[2] / "shared" / "data"
    return folder if all((folder / name).is_dir() for name in names) else None


@pytest.fixture
def provider_data(monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of original MovieLens files, named to the package as a reader would name it."""
    folder = folder_with("ml-100k", "ml-1m", "ml-latest-small")
    if folder is None:
        pytest.skip("no original MovieLens files: set LATENTCRS_DATA to a folder that holds them")
    monkeypatch.setenv("LATENTCRS_DATA", str(folder))
    return folder


@pytest.fixture
def amazon_2018() -> Path:
    """A folder with slices of Amazon's 2018 edition: real titles, users and sequences."""
    folder = folder_with("video-games-2018", "cds-2018")
    if folder is None:
        pytest.skip("no slices of Amazon's 2018 edition beside this checkout")
    return folder


def raw_sequences(data: Dataset) -> dict[str, list[str]]:
    """The provider's user ids, and of each the provider's item ids, oldest first."""
    raw = ["", *data.items["raw_item"]]
    users = data.users["raw_user"]
    return {u: [raw[i] for i in row] for u, row in zip(users, data.interactions, strict=True)}
