"""The providers' own files, where this machine has them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[2]


@pytest.fixture
def provider_data(monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of original MovieLens files, named to the package as a reader would name it.

    ``LATENTCRS_DATA`` if set, else ``../shared/data`` beside the checkout. Nobody may put these
    files into the repository, so on most machines the tests that need them are skipped.
    """
    chosen = os.environ.get("LATENTCRS_DATA")
    folder = Path(chosen) if chosen else CHECKOUT.parent / "shared" / "data"
    if not all((folder / name).is_dir() for name in ("ml-100k", "ml-1m", "ml-latest-small")):
        pytest.skip("no original MovieLens files: set LATENTCRS_DATA to a folder that holds them")
    monkeypatch.setenv("LATENTCRS_DATA", str(folder))
    return folder


@pytest.fixture
def amazon_2018() -> Path:
    """A folder with slices of Amazon's 2018 edition: real titles, users and sequences."""
    chosen = os.environ.get("LATENTCRS_DATA")
    folder = Path(chosen) if chosen else CHECKOUT.parent / "shared" / "data"
    if not all((folder / name).is_dir() for name in ("video-games-2018", "cds-2018")):
        pytest.skip("no slices of Amazon's 2018 edition beside this checkout")
    return folder
