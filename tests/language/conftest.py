"""Fixtures of the language tests."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from latentcrs_utils.language.models import find_model, load_language_model
from latentcrs_utils.support.artifacts import cache_dir
from tests.browser.servers import free_port, serving

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


@pytest.fixture(scope="session")
def served_smollm2(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """The embedded model behind `transformers serve`: its name there, and the address."""
    from transformers.utils import import_utils

    if not import_utils.is_serve_available():
        pytest.skip("transformers serve needs fastapi and uvicorn (the extra `test`)")
    source = find_model()
    folder = cache_dir() / "models" / f"{source.name}-{source.identity[:12]}"
    if not folder.is_dir():
        load_language_model(source)  # unpacks the weights into that folder
    command = [sys.executable, "-m", "transformers.cli.transformers", "serve", str(folder)]
    command += ["--host", "127.0.0.1", "--port", str(free_port()), "--device", "cpu"]
    command += ["--dtype", "float32"]
    with serving(command, tmp_path_factory.mktemp("serve")) as running:
        yield str(folder), f"{running.url}/v1"
