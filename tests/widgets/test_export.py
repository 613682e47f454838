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
        for kind, coded, name, words in LINK.findall(app.view.downloads.value)
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


def test_the_files_go_as_soon_as_the_conversation_goes_on(slow):
    app = slow.app
    slow.go.set()
    ask(app, "horror")
    for act in (lambda: press(app, "Not this", 0), app.undo, app.clear, app.undo, slow.begin):
        press(app, "Export")
        assert len(exported(app)) == 2 or not app.view.turns
        act()
        assert exported(app) == {}


def test_a_file_that_cannot_be_made_is_said_to_be_missing(monkeypatch):
    app = app_with()
    ask(app, "horror")
    monkeypatch.setattr(threading, "excepthook", lambda failed: None)
    monkeypatch.setattr(app.conversation, "transcript", lambda: {"not": object()})
    state = press(app, "Export")
    assert "could not be made" in state["status"]
    assert exported(app) == {} and state["messages"] == ["horror"]


def test_a_stranger_s_files_have_a_name_and_a_hostile_one_no_path():
    app = app_with(user=None)
    ask(app, "horror")
    press(app, "Export")
    assert "latentcrs-stranger.json" in exported(app)
    app.conversation.user = '../a"b'
    press(app, "Export")
    assert "latentcrs-user--a-b.json" in exported(app)
