"""What has left the screen is closed."""

import ipywidgets as w

from .hands import app_with, ask, press


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
