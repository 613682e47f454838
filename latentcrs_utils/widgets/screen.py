"""All widgets of the chat that stay, put together; what they do is the app's."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import ipywidgets as w

from latentcrs_utils.conversation.turn import VariantName
from latentcrs_utils.widgets import html as render
from latentcrs_utils.widgets.controls import (
    EXPLAINED,
    Chips,
    Driver,
    EnterKey,
    HistoryPicker,
    OneOf,
    box,
    button,
)
from latentcrs_utils.widgets.export import Exporter
from latentcrs_utils.widgets.style import STYLE
from latentcrs_utils.widgets.views import TurnView

if TYPE_CHECKING:
    from latentcrs_utils.widgets.app import ChatApp


class Screen:
    """What is on the screen from the start.

    Args:
        app: whose buttons these are.
        facts: what the strip on top says.
        variant: the one that is chosen at first.
        ideas: messages to start with.
    """

    def __init__(
        self,
        app: "ChatApp",
        facts: Sequence[str],
        variant: VariantName,
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
        self.glimpse, self.status, self.bars, self.heard = (w.HTML() for _ in range(4))
        self.heard.add_class("lcrs-heard")
        self.picker = HistoryPicker(app.model.data, app.noun, app.pick)
        self.variants = OneOf("Variant", EXPLAINED, variant, app.use)
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
            self.variants.widget,
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
            self.glimpse,
            self.picker.widget,
            box(w.HBox, main, "lcrs-main"),
        ]
