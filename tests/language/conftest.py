"""Fixtures of the language tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from .tiny_model import make_tiny_model


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a tiny random language model."""
    return make_tiny_model(tmp_path_factory.mktemp("tiny-llama"))
