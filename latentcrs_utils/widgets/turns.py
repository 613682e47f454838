"""One exchange on the screen: the message, the reply, and the offered items as cards."""

import time
from collections.abc import Callable, Sequence
from typing import Literal

import ipywidgets as w

from latentcrs_utils.conversation.turn import Recommendation, Turn
from latentcrs_utils.widgets import html as render
from latentcrs_utils.widgets.controls import box, button, switch

# Faster updates are not seen, and each one is a message to the browser.
_SECONDS_BETWEEN_UPDATES = 0.05

Choice = Literal["accept", "reject", "more"]
Click = Callable[[Choice, int], None]


class Card:
    """An offered item with its three buttons.

    Args:
        click: called with "accept", "reject" or "more" and the item id.
    """

    def __init__(self, click: Click):
        self.item: Recommendation | None = None
        self.choice: str | None = None
        self.why = ""
        self._facts = w.HTML()

        def press(choice: Choice) -> None:
            if self.item is not None:
                click(choice, self.item.item)

        self._like = button("", "", lambda: press("accept"))
        self._refuse = button("", "", lambda: press("reject"))
        self._more = button("More like this", "", lambda: press("more"))
        buttons = box(w.HBox, [self._like, self._refuse, self._more], "lcrs-choice")
        self.widget = box(w.VBox, [self._facts, buttons], "lcrs-card", "lcrs-hidden")

    def show(self, item: Recommendation, why: str = "") -> None:
        """Fill the card.

        Args:
            item: what is offered.
            why: a sentence on why; "" as long as it is not known.
        """
        self.item, self.why = item, why
        self._facts.value = render.card(item, why)
        self._like.tooltip = f"Like {item.label}: it joins your history"
        self._refuse.tooltip = f"Not {item.label}: it is not offered again"
        self._more.tooltip = f"Ask for more like {item.label}"
        self.mark(self.choice)
        switch(self.widget, "lcrs-hidden", False)

    def mark(self, choice: str | None) -> None:
        """Show what the user chose: "accept", "reject" or nothing yet."""
        self.choice = choice
        self._like.description = "Liked" if choice == "accept" else "Like"
        self._refuse.description = "Refused" if choice == "reject" else "Not this"
        switch(self._like, "lcrs-chosen", choice == "accept")
        switch(self._refuse, "lcrs-chosen", choice == "reject")
        switch(self.widget, "lcrs-liked", choice == "accept")
        switch(self.widget, "lcrs-refused", choice == "reject")


class TurnView:
    """A message, the reply and the cards below it.

    All widgets are made at once, in the thread of the callback; later only traits change.

    Args:
        message: what the user said; "" where that shows later.
        n_items: how many cards to keep ready.
        click: passed to the cards.
        who: who says it.
    """

    def __init__(self, message: str, n_items: int, click: Click, who: str = "You"):
        self.message, self.who = message, who
        self.turn: Turn | None = None
        self.cards = [Card(click) for _ in range(n_items)]
        self._said, self._reply = w.HTML(), w.HTML(render.reply(None))
        cards = box(w.HBox, [card.widget for card in self.cards], "lcrs-cards")
        self.widget = box(w.VBox, [self._said, self._reply, cards], "lcrs-turn")
        self.show_message(message)

    def show_message(self, message: str) -> None:
        """Show what was said."""
        self.message = message
        self._said.value = render.message(message, self.who)

    def show_items(self, turn: Turn, whys: Sequence[str] = ()) -> None:
        """Show the chosen items, while the reply is being written.

        Args:
            turn: as far as it is known.
            whys: a sentence for each item.
        """
        self.turn = turn
        told = [*whys, *[""] * (len(turn.items) - len(whys))]
        for card, item, why in zip(self.cards, turn.items, told, strict=False):
            card.show(item, why)

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
