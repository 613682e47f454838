"""What the screen shows of a conversation, and how it is brought up to date."""

import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Literal

import ipywidgets as w

from latentcrs_utils.conversation.session import Conversation
from latentcrs_utils.conversation.turn import PolicyName, Recommendation, Turn
from latentcrs_utils.widgets import html as render
from latentcrs_utils.widgets.controls import (
    EXPLAINED,
    Chip,
    Chips,
    Driver,
    EnterKey,
    HistoryPicker,
    OneOf,
    box,
    button,
    close,
    switch,
)
from latentcrs_utils.widgets.export import Exporter
from latentcrs_utils.widgets.html import intent_bars, leading
from latentcrs_utils.widgets.style import STYLE

if TYPE_CHECKING:
    from latentcrs_utils.widgets.app import ChatApp


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


class Layout:
    """What is on the screen from the start.

    Args:
        app: whose buttons these are.
        facts: what the strip on top says.
        policy: the one that is chosen at first.
        ideas: messages to start with.
    """

    def __init__(
        self,
        app: "ChatApp",
        facts: Sequence[str],
        policy: PolicyName,
        ideas: Sequence[str],
    ):
        self.person = w.Combobox(
            description="Talk as user",
            placeholder="such as 42",
            options=app.model.data.users["raw_user"].to_list(),
            continuous_update=False,
        )
        self.message = w.Text(
            description="Your message",
            placeholder="What would you like to see?",
            continuous_update=False,
        )
        self.profile, self.status, self.bars, self.heard = (w.HTML() for _ in range(4))
        self.heard.add_class("lcrs-heard")
        self.picker = HistoryPicker(app.model.data, app.noun, app.pick)
        self.policies = OneOf("Policy", EXPLAINED, policy, app.use)
        self.requirements = Chips("Required:", app.withdraw, self.message)
        self.driver = Driver(app.noun, lambda to_the_end: app.drive(to_the_end=to_the_end))
        self.exporter = Exporter(app.export)
        self._make_buttons(app)
        self._ideas = [
            button(idea, "Send this message", lambda idea=idea: app.send_idea(idea))  # type: ignore[misc]
            for idea in ideas
        ]
        self._hello = box(
            w.VBox,
            [w.HTML(render.hello(app.noun)), box(w.HBox, self._ideas, "lcrs-ideas")],
        )
        self._log = box(w.VBox, [], "lcrs-log")
        self.widget = box(w.VBox, self._rows(facts), "lcrs")
        self.enter_keys = (
            EnterKey(self.message, app.submit),
            EnterKey(self.person, lambda: app.start_as(self.person.value)),
        )

    def show_turns(self, views: Sequence[TurnView]) -> None:
        """Show the conversation, or what stands there before it begins."""
        self._log.children = [view.widget for view in views] or [self._hello]

    def _make_buttons(self, app: "ChatApp") -> None:
        self.send = button("Send", "Send the message (Enter)", app.submit)
        self.send.add_class("lcrs-send")
        self.stop = button("Stop", "Stop the answer", app.stop)
        self.stop.add_class("lcrs-off")
        self.retry = button(
            "Retry", "Answer the last message again, as things are chosen now", app.retry
        )
        self.undo = button("Undo", "Take back the last message or click", app.undo)
        self.clear = button(
            "Clear", "Start again with the same person; Undo brings the talk back", app.clear
        )
        self.start = button(
            "Start as this user",
            "Start a conversation as the user with this number",
            lambda: app.start_as(self.person.value),
        )
        self.stranger = button(
            "Start without a history",
            "Start a conversation as a stranger",
            lambda: app.start_as(None),
        )
        self.build = button(
            "Build a history",
            "Start a conversation as yourself: click what you like",
            app.build_history,
        )

    def _rows(self, facts: Sequence[str]) -> list[w.Widget]:
        actions = [self.stop, self.retry, self.undo, self.clear, self.exporter.button]
        left = [
            box(w.Box, [self._log], "lcrs-scroll"),
            self.status,
            self.heard,
            self.policies.widget,
            self.requirements.widget,
            box(w.HBox, [self.message, self.send], "lcrs-compose"),
            box(w.HBox, actions, "lcrs-actions"),
            self.exporter.widget,
        ]
        right = [self.bars, self.driver.widget]
        main = [box(w.VBox, left, "lcrs-left"), box(w.VBox, right, "lcrs-right")]
        person = [self.person, self.start, self.stranger, self.build]
        return [
            w.HTML(STYLE),
            w.HTML(render.head("LatentCRS chat", facts)),
            box(w.HBox, person, "lcrs-person"),
            self.profile,
            self.picker.widget,
            box(w.HBox, main, "lcrs-main"),
        ]


Kind = Literal["idle", "busy", "problem"]


class ChatView:
    """Shows a conversation on the widgets that are there.

    Args:
        screen: the widgets.
        conversation: what to show at first.
        noun: what an item is called.
        click: called with what was clicked on an offered item.
    """

    def __init__(self, screen: "Layout", conversation: Conversation, noun: str, click: Click):
        self.screen, self.noun = screen, noun
        self.conversation = conversation
        self.views: list[TurnView] = []
        self.status = "Ready"
        self._belief: dict[str, float] = {}
        self._before: dict[str, float] = {}
        self._click = click
        self.restart(conversation, [])

    def restart(self, conversation: Conversation, views: Sequence[TurnView]) -> None:
        """Show another conversation, from its start or as it was left."""
        self.conversation = conversation
        user = conversation.user
        self.screen.person.value = "" if user is None else str(user)
        self.screen.policies.value = conversation.policy
        self.screen.heard.value = ""
        self.show(views)
        self._belief, self._before = {}, {}
        self.update()
        self.say("Ready")

    def replace(self, conversation: Conversation) -> None:
        """Show a conversation that begins like this one, but with another history."""
        self.conversation = conversation
        self.update()

    def say(self, words: str, kind: Kind = "idle") -> Literal[False]:
        """Write the status line; False, so that a refusal can return it."""
        self.status = words
        self.screen.status.value = render.status(words, kind)
        return False

    def show(self, views: Sequence[TurnView]) -> None:
        """Show these turns and no others."""
        self.views = list(views)
        self.screen.show_turns(views)

    def new_view(self, message: str, who: str = "You") -> TurnView:
        """A view for one more turn; it is not shown yet."""
        return TurnView(message, self.conversation.n_items, self._click, who)

    def drop(self, view: TurnView) -> None:
        """Take a turn off the screen, for good."""
        self.show([other for other in self.views if other is not view])
        close(view.widget)

    def give_back(self, message: str) -> None:
        """Put a message that was not answered into the box, unless something is written there."""
        if not self.screen.message.value:
            self.screen.message.value = message

    def update(self) -> None:
        """Show what holds now: belief, requirements, history, clicks."""
        belief = self.conversation.intents()
        if belief != self._belief:
            self._before, self._belief = self._belief, belief
        self.screen.bars.value = intent_bars(belief, self._before or None, len(belief))
        self.show_requirements()
        self.screen.profile.value = self._person()
        self.screen.exporter.clear()
        self.mark_all()

    def show_requirements(self) -> None:
        """Show what holds for the next message; B and V ask for no requirements."""
        held = self.conversation.requirements if self.conversation.policy == "F" else ()
        self.screen.requirements.show(
            [
                Chip(str(c), c.label, f"Take back {c.label}; you said “{r.evidence}”")
                for r, c in ((r, r.constraint) for r in held)
            ]
        )

    def preview(self, view: TurnView, turn: Turn) -> None:
        """Show the items and the belief of a turn whose reply is still to be written."""
        view.show_items(turn)
        n_intents = len(self.conversation.model.anchors.names)
        self.screen.bars.value = intent_bars(turn.intents_after, turn.intents_before, n_intents)

    def mark_all(self) -> None:
        """Mark the cards of all turns by what the user thinks of their items."""
        feedback = self.conversation.feedback
        for view in self.views:
            for card in view.cards:
                if card.item is not None and card.choice != feedback.get(card.item.item):
                    card.mark(feedback.get(card.item.item))

    def leading_intents(self) -> list[str]:
        """Names of the intents that have a bar."""
        return leading(self._belief)

    def _person(self) -> str:
        """Who is talking, and what is known of them."""
        history, data = self.conversation.history, self.conversation.model.data
        genres = Counter(g for item in history for g in data.item(item)["genres"] or ())
        user = self.conversation.user
        stranger = "You" if history else "A stranger"
        return render.profile(
            stranger if user is None else f"User {user}",
            len(history),
            self.noun,
            [name for name, _ in genres.most_common(3)],
            [self.conversation.label(item) for item in reversed(history[-4:])],
        )
