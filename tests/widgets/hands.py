"""Hands and eyes for the view: make an app, press its buttons, read what is on its screen."""

import json
import threading

from latentcrs_utils.widgets.app import ChatApp
from tests.conversation.fakes import FakeChatModel, fake_model

GOOD = "Night of the Moth may be the one."


def app_with(*replies, user=42, before_piece=None, policy="B", **more) -> ChatApp:
    chat_model = FakeChatModel(*replies, before_piece=before_piece) if replies else None
    wording = "model" if replies else "template"
    setting = {"user": user, "policy": policy, "chat_model": chat_model, "wording": wording}
    return ChatApp(fake_model(), **setting, **more)


class Slow:
    """An app whose language model waits until it is told to go on."""

    def __init__(self):
        self.begun, self.go = threading.Event(), threading.Event()
        self.app = app_with(GOOD, GOOD, before_piece=self._pause)

    def _pause(self) -> None:
        self.begun.set()
        assert self.go.wait(120)

    def begin(self) -> None:
        """Send a message and wait until its reply is being written."""
        self.go.clear()
        self.begun.clear()
        assert self.app.submit("horror") and self.begun.wait(120)

    def finish(self) -> dict:
        self.go.set()
        assert self.app.wait(120)
        return self.app.state()


def ask(app: ChatApp, text: str) -> dict:
    assert app.submit(text), app.state()["status"]
    assert app.wait(120)
    return app.state()


def html(widget) -> str:
    """All HTML on the screen but the style sheet."""
    own = getattr(widget, "value", "") if type(widget).__name__ == "HTML" else ""
    own = own.rpartition("</style>")[2]
    return own + "".join(html(child) for child in getattr(widget, "children", ()))


def buttons(widget, name: str) -> list:
    own = [widget] if getattr(widget, "description", None) == name else []
    return own + [b for child in getattr(widget, "children", ()) for b in buttons(child, name)]


def press(app: ChatApp, name: str, place: int = 0) -> dict:
    """Press a button by its words, and wait for what it does."""
    buttons(app.widget, name)[place].click()
    assert app.wait(120)
    return app.state()


def tell(app: ChatApp, **what: str) -> bool:
    """Report something as the page does."""
    return app.hear(json.dumps({"at": 1, **what}))


def sent(widget) -> list:
    """Collect the custom messages of a widget to the browser."""
    messages: list = []
    widget.send = lambda content, buffers=None: messages.append(content)
    return messages


def shown(widget, off: str = "lcrs-hidden") -> bool:
    """Whether a widget is on the screen, as far as it is up to itself."""
    return off not in widget._dom_classes
