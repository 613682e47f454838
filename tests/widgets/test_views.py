"""How often a growing reply is shown, and that what has left the screen is closed."""

import ipywidgets as w

from latentcrs_utils.widgets import views
from latentcrs_utils.widgets.views import TurnView

from .hands import app_with, ask, html, press


def test_a_reply_is_shown_no_more_often_than_the_eye_can_follow(monkeypatch):
    now, shown = [100.0], []
    monkeypatch.setattr(views.time, "monotonic", lambda: now[0])
    view = TurnView("hello", 1, print)
    view._reply.observe(lambda _: shown.append(html(view._reply)), "value")
    for piece, seconds in (("One ", 0.02), ("two ", 0.04), ("three ", 0.01), ("four", 0)):
        view.stream(piece)
        now[0] += seconds
    assert [page.count("One ") for page in shown] == [1, 1]
    assert "three" in shown[1] and "two" not in shown[0] and "four" not in shown[1]


def test_what_has_left_the_screen_is_closed():
    app = app_with()
    ask(app, "horror")
    gone = []

    def failing(texts, progress=None):
        gone.append(app.view.turns[-1].widget)
        raise RuntimeError

    for act in (lambda: press(app, "Retry"), app.undo):
        gone.append(app.view.turns[-1].widget)
        act()
    app.model.language.encode = failing
    app.submit("western")
    app.wait(10)
    assert len(gone) == 3 and all(isinstance(widget, w.VBox) for widget in gone)
    assert all(part.comm is None for widget in gone for part in (widget, *widget.children))
