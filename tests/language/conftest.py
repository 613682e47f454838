"""Fixtures of the language tests."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from .chat_server import KEY, ChatServer, chat_server
from .tiny_model import make_tiny_model


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a tiny random language model."""
    return make_tiny_model(tmp_path_factory.mktemp("tiny-llama"))


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[ChatServer]:
    """A chat server of the test's own; pauses are a tenth of the real ones."""
    monkeypatch.setattr("openai._base_client.INITIAL_RETRY_DELAY", 0.05)
    monkeypatch.setenv("TEST_KEY", KEY)
    with chat_server() as running:
        yield running
