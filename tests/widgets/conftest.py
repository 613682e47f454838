"""What all tests of the view share: sentences on why that need no fitted model."""

import threading

import pytest

from latentcrs_utils.conversation.session import Conversation

from .hands import GOOD, Slow, app_with


@pytest.fixture(autouse=True)
def reasons(monkeypatch):
    """Each item's reason names it; the real ones need a model with weights."""

    def why(self, turn):
        return tuple(f"Because it is {item.label}." for item in turn.items)

    monkeypatch.setattr(Conversation, "why", why)


@pytest.fixture
def slow():
    """An app whose language model waits until it is told to go on."""
    begun, go = threading.Event(), threading.Event()

    def pause():
        begun.set()
        assert go.wait(10)

    slow = Slow(app_with(GOOD, GOOD, before_piece=pause), begun, go)
    yield slow
    slow.finish()
