"""What all tests of the view share: sentences on why that need no fitted model."""

import pytest

from latentcrs_utils.conversation.session import Conversation

from .hands import Slow, app_with, ask


@pytest.fixture(autouse=True)
def reasons(monkeypatch):
    """Each item's reason names it; the real ones need a model with weights."""

    def why(self, turn):
        return tuple(f"Because it is {item.label}." for item in turn.items)

    monkeypatch.setattr(Conversation, "why", why)


@pytest.fixture
def app():
    """An app for user 42 that has answered "horror" by a plain template."""
    app = app_with()
    ask(app, "horror")
    return app


@pytest.fixture
def slow():
    slow = Slow()
    yield slow
    slow.finish()
