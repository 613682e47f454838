"""The providers' own files, where this machine has them, and a plain view of what was read."""

from __future__ import annotations

from pathlib import Path

import pytest

from latentcrs_utils.data.sequences import Dataset
from tests.provider_files import folder_with


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
