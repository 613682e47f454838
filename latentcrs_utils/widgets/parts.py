"""Small things that all parts of the chat are made with."""

import threading
from collections.abc import Callable, Sequence
from typing import Any

import ipywidgets as w

# Enter arrives before the text that it confirms, on a busy machine long before; when no new text
# follows, none was typed. A box that tells each letter at once needs less.
_SECONDS_FOR_TEXT, _SECONDS_FOR_LETTER = 1.0, 0.25


def box(kind: type[w.Box], children: Sequence[w.Widget], *classes: str) -> w.Box:
    """A container with style classes."""
    container = kind(children)
    for name in classes:
        container.add_class(name)
    return container


def button(name: str, tip: str, act: Callable[[], Any]) -> w.Button:
    """A button with words on it, a tip, and what it does.

    None of the chat is ever disabled: a button that goes dead under the finger takes the keyboard
    focus along.
    """
    made = w.Button(description=name, tooltip=tip)
    made.on_click(lambda _: act())
    return made


def switch(widget: w.DOMWidget, name: str, on: bool) -> None:
    """Give a widget a style class, or take it away."""
    (widget.add_class if on else widget.remove_class)(name)


def show(widget: w.DOMWidget, shown: bool) -> None:
    """Show a widget, or take it off the screen; hidden, Tab passes it over."""
    switch(widget, "lcrs-hidden", not shown)


def close(widget: w.Widget) -> None:
    """Close a widget and all below it, so that long sessions do not pile up."""
    for child in getattr(widget, "children", ()):
        close(child)
    widget.close()


class EnterKey:
    """Calls `submit` when Enter is pressed in a text box, and only then.

    The box reports its text on Enter and also when it loses the focus, so the text alone cannot
    tell; the key alone comes too early, before the text.

    Args:
        box: a text box.
        submit: called once for each Enter, when the text is there.
    """

    def __init__(self, box: w.Text, submit: Callable[[], Any]):
        self._lock, self._pressed, self._submit = threading.Lock(), False, submit
        self._seconds = _SECONDS_FOR_LETTER if box.continuous_update else _SECONDS_FOR_TEXT
        box.on_msg(self._on_message)
        box.observe(lambda _: self._act(), "value")

    def _on_message(self, _: w.Widget, content: dict[str, Any], __: Any) -> None:
        if content.get("event") == "submit":
            self._pressed = True
            timer = threading.Timer(self._seconds, self._act)
            timer.daemon = True
            timer.start()

    def _act(self) -> None:
        with self._lock:
            pressed, self._pressed = self._pressed, False
        if pressed:
            self._submit()
