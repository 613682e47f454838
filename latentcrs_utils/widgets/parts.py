"""Pieces of the chat that hold widgets: one card, one turn."""

import threading
import time
from collections.abc import Callable
from typing import Any, Literal

import ipywidgets as w

from latentcrs_utils.conversation.turn import Recommendation, Turn
from latentcrs_utils.widgets import render

# Faster updates are not seen, and each one is a message to the browser.
_SECONDS_BETWEEN_UPDATES = 0.05
# Enter arrives before the text that it confirms; when no new text follows, none was typed.
_SECONDS_FOR_TEXT = 0.25

Click = Callable[[Literal["accept", "reject"], int], None]


def box(kind: type[w.Box], children: list[w.Widget], *classes: str) -> w.Box:
    """A container with style classes."""
    container = kind(children)
    for name in classes:
        container.add_class(name)
    return container


def switch(widget: w.DOMWidget, name: str, on: bool) -> None:
    """Give a widget a style class, or take it away."""
    (widget.add_class if on else widget.remove_class)(name)


def close(widget: w.Widget) -> None:
    """Close a widget and all below it, so that long sessions do not pile up."""
    for child in getattr(widget, "children", ()):
        close(child)
    widget.close()


class Card:
    """An offered item with its two buttons.

    Args:
        click: called with "accept" or "reject" and the item id.
    """

    def __init__(self, click: Click):
        self.item: Recommendation | None = None
        self.choice: str | None = None
        self._facts = w.HTML()
        self._like, self._refuse = w.Button(), w.Button()
        self._like.on_click(lambda _: self.item and click("accept", self.item.item))
        self._refuse.on_click(lambda _: self.item and click("reject", self.item.item))
        buttons = box(w.HBox, [self._like, self._refuse], "lcrs-choice")
        self.widget = box(w.VBox, [self._facts, buttons], "lcrs-card")
        self.widget.layout.display = "none"

    def show(self, item: Recommendation) -> None:
        """Fill the card."""
        self.item = item
        self._facts.value = render.card(item)
        self._like.tooltip = f"Like {item.label}: it joins your history"
        self._refuse.tooltip = f"Not {item.label}: it is not offered again"
        self.mark(self.choice)
        self.widget.layout.display = "flex"

    def mark(self, choice: str | None) -> None:
        """Show what the user chose: "accept", "reject" or nothing yet."""
        self.choice = choice
        self._like.description = "Liked" if choice == "accept" else "Like this"
        self._refuse.description = "Refused" if choice == "reject" else "Not this"
        # Never disabled: a button that goes dead under the finger takes the keyboard focus along.
        switch(self._like, "lcrs-chosen", choice == "accept")
        switch(self._refuse, "lcrs-chosen", choice == "reject")
        switch(self.widget, "lcrs-liked", choice == "accept")
        switch(self.widget, "lcrs-refused", choice == "reject")


class TurnView:
    """A message, the reply and the cards below it.

    All widgets are made at once, in the thread of the callback; later only traits change.

    Args:
        message: what the user said.
        n_items: how many cards to keep ready.
        click: passed to the cards.
    """

    def __init__(self, message: str, n_items: int, click: Click):
        self.message = message
        self.turn: Turn | None = None
        self.cards = [Card(click) for _ in range(n_items)]
        self._reply = w.HTML(render.reply(None))
        cards = box(w.HBox, [card.widget for card in self.cards], "lcrs-cards")
        self.widget = box(
            w.VBox, [w.HTML(render.message(message)), self._reply, cards], "lcrs-turn"
        )

    def show_items(self, turn: Turn) -> None:
        """Show the chosen items while the reply is being written."""
        self.turn = turn
        for card, item in zip(self.cards, turn.items, strict=False):
            card.show(item)

    def show_partial(self, text: str) -> None:
        """Show the reply as far as it is written."""
        self._reply.value = render.reply(None, text)

    def show_reply(self, turn: Turn) -> None:
        """Show the finished turn."""
        self.show_items(turn)
        self._reply.value = render.reply(turn)

    def mark(self, item: int, choice: str | None) -> None:
        """Mark the card of an item, if it is here."""
        for card in self.cards:
            if card.item is not None and card.item.item == item:
                card.mark(choice)


class Streamer:
    """Shows a growing reply, no more often than the eye can follow.

    Args:
        view: where the reply is shown.
    """

    def __init__(self, view: TurnView):
        self._view, self._text, self._last = view, "", 0.0

    def __call__(self, piece: str) -> None:
        """Take the next piece."""
        self._text += piece
        if time.monotonic() - self._last >= _SECONDS_BETWEEN_UPDATES:
            self._last = time.monotonic()
            self._view.show_partial(self._text)


class EnterKey:
    """Calls `submit` when Enter is pressed in a text box, and only then.

    The box reports its text on Enter and also when it loses the focus, so the text alone cannot
    tell; the key alone comes too early, before the text.

    Args:
        box: a text box with `continuous_update=False`.
        submit: called once for each Enter, when the text is there.
    """

    def __init__(self, box: w.Text, submit: Callable[[], Any]):
        self._lock, self._pressed, self._submit = threading.Lock(), False, submit
        box.on_msg(self._on_message)
        box.observe(lambda _: self._act(), "value")

    def _on_message(self, _: w.Widget, content: dict[str, Any], __: Any) -> None:
        if content.get("event") == "submit":
            self._pressed = True
            timer = threading.Timer(_SECONDS_FOR_TEXT, self._act)
            timer.daemon = True
            timer.start()

    def _act(self) -> None:
        with self._lock:
            pressed, self._pressed = self._pressed, False
        if pressed:
            self._submit()
