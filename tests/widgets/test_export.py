"""The transcript as two files that the page itself holds."""

import base64
import json
import re
import threading

from latentcrs_utils.conversation.session import Conversation

from .hands import app_with, ask, press

LINK = re.compile(
    r'<a href="data:([\w/]+);charset=utf-8;base64,([^"]+)" download="([^"]+)">([^<]+)'
)


def exported(app) -> dict[str, tuple[str, str, str]]:
    """By file name: kind, what the link says, the file's text."""
    return {
        name: (kind, words, base64.b64decode(coded).decode("utf-8"))
        for kind, coded, name, words in LINK.findall(app.screen.exporter.links)
    }


def test_both_files_hold_the_conversation():
    app = app_with()
    ask(app, "horror 🍿 <b>")
    press(app, "Like", 0)
    press(app, "Export")
    files = exported(app)
    assert list(files) == ["latentcrs-user-42.json", "latentcrs-user-42.md"]
    kind, words, text = files["latentcrs-user-42.json"]
    assert (kind, words) == ("application/json", "Download JSON")
    again = Conversation.from_transcript(app.model, json.loads(text), chat_model=None)
    assert again.turns == app.conversation.turns and again.feedback == app.conversation.feedback
    kind, words, text = files["latentcrs-user-42.md"]
    assert (kind, words) == ("text/markdown", "Download Markdown")
    assert "Night of the Moth" in text and "<b>" not in text


def test_the_files_go_when_the_conversation_goes_on():
    app = app_with()
    ask(app, "horror")
    for act in (
        lambda: press(app, "Not this", 0),
        lambda: ask(app, "western"),
        app.undo,
        lambda: press(app, "Retry"),
    ):
        press(app, "Export")
        assert len(exported(app)) == 2
        act()
        assert exported(app) == {}


def test_the_files_go_as_soon_as_a_message_is_sent(slow):
    slow.go.set()
    ask(slow, "horror")
    press(slow, "Export")
    slow.go.clear()
    slow.begun.clear()
    slow.submit("western")
    assert slow.begun.wait(10) and exported(slow) == {}


def test_a_file_that_cannot_be_made_is_said_to_be_missing(monkeypatch):
    app = app_with()
    ask(app, "horror")
    monkeypatch.setattr(threading, "excepthook", lambda failed: None)
    monkeypatch.setattr(app.conversation, "transcript", lambda: {"not": object()})
    state = press(app, "Export")
    assert state["status"] == "The files could not be made; the conversation is as it was."
    assert exported(app) == {} and state["messages"] == ["horror"]


def test_nothing_said_is_nothing_to_export(slow):
    app = app_with()
    assert press(app, "Export")["status"].startswith("There is nothing to export yet")
    assert exported(app) == {}
    slow.submit("horror")
    assert slow.begun.wait(10)
    slow.export()
    assert slow.state()["status"] == "Still answering: press Stop first." and exported(slow) == {}


def test_a_stranger_s_files_have_a_name_and_a_hostile_one_no_path():
    app = app_with(user=None)
    ask(app, "horror")
    press(app, "Export")
    assert "latentcrs-stranger.json" in exported(app)
    app.conversation.user = '../a"b'
    press(app, "Export")
    assert "latentcrs-user--a-b.json" in exported(app)
