"""The chat as a widget: a view of a `Conversation` for JupyterLab and Voilà.

Nothing slow runs in a callback: a worker thread asks the conversation and only assigns traits.
"""

import threading
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Literal

import ipywidgets as w

from latentcrs_utils.conversation import Conversation, Feedback, StoppedError, Turn, clean_message
from latentcrs_utils.conversation.wording import thing
from latentcrs_utils.errors import LatentCRSError, MessageError
from latentcrs_utils.widgets import render
from latentcrs_utils.widgets.parts import EnterKey, Streamer, TurnView, box, close, switch
from latentcrs_utils.widgets.style import STYLE

if TYPE_CHECKING:
    from latentcrs_utils.em import LatentCRS
    from latentcrs_utils.language.talker import Talker

IDEAS = (
    "something funny from the eighties",
    "a tense thriller, but nothing bloody",
    "for a rainy Sunday with the kids",
)
_STAGES = {
    "reading": "Reading your message",
    "choosing": "Choosing {noun}s",
    "writing": "Writing",
}


class ChatApp:
    """A chat with a fitted model; let it be the last expression of a cell to see it.

    Args:
        model: what `fit_em` returned.
        user: user id of the data's provider to start as; None for a stranger.
        talker: who words the replies, as in `Conversation`.
        n_items: how many items a turn offers.
        ideas: messages to start with, offered as buttons.

    Raises:
        DataError: an unknown user.
    """

    def __init__(
        self,
        model: "LatentCRS",
        *,
        user: int | str | None = None,
        talker: "Talker | Literal['local'] | None" = "local",
        n_items: int = 5,
        ideas: Sequence[str] = IDEAS,
    ):
        self.model = model
        self.noun = thing(model.data.name)
        self._setting: dict[str, Any] = {"talker": talker, "n_items": n_items}
        self.conversation = Conversation(model, user, **self._setting)
        self._views: list[TurnView] = []
        self._before_clear: tuple[Conversation, list[TurnView]] | None = None
        self._worker: threading.Thread | None = None
        self._stop = threading.Event()
        self._gate = threading.RLock()
        self._clicks: list[tuple[str, int]] = []
        self._belief: dict[str, float] = {}
        self._status = ("Ready", "idle")
        self._build(ideas)
        self._restart(self.conversation, [])

    def _build(self, ideas: Iterable[str]) -> None:
        """Make the widgets that stay."""
        self.person = w.Combobox(
            description="Talk as user",
            placeholder="such as 42",
            options=self.model.data.users["raw_user"].to_list(),
            continuous_update=False,
        )
        self.message = w.Text(
            description="Your message",
            placeholder="What would you like to see?",
            continuous_update=False,
        )
        names = ("Send", "Stop", "Undo", "Clear", "Start as this user", "Start without a history")
        tips = (
            "Send the message (Enter)",
            "Stop the answer",
            "Take back the last message or click",
            "Start again with the same person; Undo brings the conversation back",
            "Start a conversation as the user with this number",
            "Start a conversation as a stranger",
        )
        buttons = [w.Button(description=n, tooltip=t) for n, t in zip(names, tips, strict=True)]
        self.send_button, self.stop_button, self.undo_button, self.clear_button, *_ = buttons
        self.send_button.add_class("lcrs-send")
        ideas = [w.Button(description=idea, tooltip="Send this message") for idea in ideas]
        self._glimpse, self._status_line, self._bars = w.HTML(), w.HTML(), w.HTML()
        self._heard = w.HTML()
        self._heard.add_class("lcrs-heard")
        hello = box(w.VBox, [w.HTML(render.hello(self.noun)), box(w.HBox, ideas, "lcrs-ideas")])
        self._hello = hello
        self._log = box(w.VBox, [], "lcrs-log")
        left = [
            box(w.Box, [self._log], "lcrs-scroll"),
            self._status_line,
            self._heard,
            box(w.HBox, [self.message, self.send_button], "lcrs-compose"),
            box(w.HBox, buttons[1:4], "lcrs-actions"),
        ]
        main = [box(w.VBox, left, "lcrs-left"), box(w.VBox, [self._bars], "lcrs-right")]
        self.widget = box(
            w.VBox,
            [
                w.HTML(STYLE),
                w.HTML(self._head()),
                box(w.HBox, [self.person, *buttons[4:]], "lcrs-person"),
                self._glimpse,
                box(w.HBox, main, "lcrs-main"),
            ],
            "lcrs",
        )
        self._connect(buttons, ideas)

    def _connect(self, buttons: Sequence[w.Button], ideas: Sequence[w.Button]) -> None:
        """Tie buttons and keys to what they do."""
        actions = (
            self.submit,
            self.stop,
            self.undo,
            self.clear,
            lambda: self.start_as(self.person.value),
            lambda: self.start_as(None),
        )
        for button, action in zip(buttons, actions, strict=True):
            button.on_click(lambda _, action=action: action())
        for idea in ideas:
            idea.on_click(lambda button: self._send_idea(button.description))
        self.enter_keys = (EnterKey(self.message, self.submit), EnterKey(self.person, actions[4]))

    def _head(self) -> str:
        data, talker = self.model.data, self._setting["talker"]
        local = talker == "local"
        speaker = self.model.language.embedder.name if local else getattr(talker, "name", None)
        chooses = f"{self.model.name} chooses among {data.n_items:,} {self.noun}s of {data.name}"
        through = f"through {len(self.model.anchors.names)} intents."
        words = f"Words: {speaker}, checked; else a template." if speaker else "Words: a template."
        return render.head("LatentCRS chat", [f"{chooses} {through}", words])

    # What a user can do

    def submit(self, text: str | None = None) -> bool:
        """Send a message: the one place through which all messages go.

        Args:
            text: the message; None takes it from the message box.

        Returns:
            Whether it was taken; if not, the status line says why and the box keeps its text.
        """
        with self._gate:
            if self.busy:
                return self._say("Still answering: wait a moment, or press Stop.", "problem")
            from_box = text is None
            try:
                message = clean_message(self.message.value if text is None else text)
            except MessageError as error:
                return self._say(str(error), "problem")
            if from_box:
                self.message.value = ""
            view = TurnView(message, self.conversation.n_items, self.click)
            self._heard.value = ""
            self._show([*self._views, view])
            self._stop.clear()
            self._say("Reading your message", "busy")
            self._worker = threading.Thread(target=self._answer, args=(message, view), daemon=True)
            switch(self.stop_button, "lcrs-off", False)
            self._worker.start()
        return True

    def stop(self) -> None:
        """Stop the answer: the message comes back, or the reply ends where it is."""
        if self.busy:
            self._stop.set()
            self._say("Stopping", "busy")
        else:
            self._say("There is nothing to stop.")

    def undo(self) -> None:
        """Take back the last message or click, or the last Clear."""
        with self._gate:
            if self.busy:
                self._say("Still answering: press Stop first.", "problem")
                return
            event = self.conversation.undo()
            if isinstance(event, Feedback):
                self._mark_all()
                self._update_bars()
                self._say(f"Taken back: your click on {self.conversation.label(event.item)}.")
            elif isinstance(event, Turn):
                self._give_back(event.message)
                gone = self._views[-1]
                self._show(self._views[:-1])
                close(gone.widget)
                self._update_bars()
                self._say("Taken back: your last message is in the box again.")
            elif self._before_clear is not None:
                self._restart(*self._before_clear)
                self._say("The earlier conversation is back.")
            else:
                self._say("There is nothing to take back.")

    def clear(self) -> None:
        """Start again with the same person."""
        self._begin(self.conversation.user, "Cleared. Undo brings the conversation back.")

    def start_as(self, user: int | str | None) -> None:
        """Start a conversation as another user (None: without a history)."""
        name = "a stranger" if user is None else f"user {user}"
        self._begin(user, f"A new conversation as {name}. Undo brings the earlier one back.")

    def click(self, choice: Literal["accept", "reject"], item: int) -> None:
        """Like ("accept") or refuse ("reject") an offered item, as its buttons do.

        While a reply is being written the click counts as soon as that is done.
        """
        with self._gate:
            if self.busy:
                self._clicks.append((choice, item))
                self._views[-1].mark(item, choice)
                return
            self._apply(choice, item)
            self._update_bars()
            noted = "It joins your history." if choice == "accept" else "It is not offered again."
            self._say(f"Noted: {self.conversation.label(item)}. {noted}")

    def wait(self, timeout: float | None = None) -> bool:
        """Wait for the answer (for tests and programs); whether it is there."""
        worker = self._worker
        if worker is not None and worker is not threading.current_thread():
            worker.join(timeout)
        with self._gate:
            return not self.busy

    @property
    def busy(self) -> bool:
        """Whether an answer is under way."""
        return self._worker is not None and self._worker.is_alive()

    def state(self) -> dict[str, Any]:
        """What is on the screen, as plain values."""
        return {
            "status": self._status[0],
            "user": self.conversation.user,
            "box": self.message.value,
            "messages": [view.message for view in self._views],
            "cards": [
                [(card.item.title, card.choice) for card in view.cards if card.item is not None]
                for view in self._views
            ],
            "intents": render.leading(self._belief),
            "busy": self.busy,
        }

    def _repr_mimebundle_(self, **options: Any) -> Any:
        return self.widget._repr_mimebundle_(**options)

    # What happens then

    def _send_idea(self, idea: str) -> None:
        """Send an idea; its button leaves the screen, so the keyboard focus moves on."""
        if self.submit(idea):
            self.message.focus()

    def _answer(self, message: str, view: TurnView) -> None:
        """Worker: one message through the conversation, the screen kept up to date."""
        kind, words = "idle", "Ready"
        try:
            turn = self.conversation.say(
                message,
                stream=Streamer(view),
                stop=self._stop,
                watch=lambda stage, turn: self._watch(stage, turn, view),
            )
            view.show_reply(turn)
            self._heard.value = render.heard(turn)
            words = "Stopped" if self._stop.is_set() else "Ready"
        except StoppedError:
            self._withdraw(message, view)
            words = "Stopped; your message is in the box again."
        except LatentCRSError as error:
            self._withdraw(message, view)
            kind, words = "problem", str(error)
        except Exception as error:
            self._withdraw(message, view)
            kind = "problem"
            words = f"That failed ({type(error).__name__}: {error}); your message is in the box."
        with self._gate:
            # From here on this thread no longer counts as busy: clicks go straight through.
            self._worker = None
            for choice, item in self._clicks:
                self._apply(choice, item)
            self._clicks.clear()
            self._update_bars()
            switch(self.stop_button, "lcrs-off", True)
            self._say(words, kind)

    def _watch(self, stage: str, turn: Turn | None, view: TurnView) -> None:
        if not self._stop.is_set():
            self._say(_STAGES[stage].format(noun=self.noun), "busy")
        if turn is not None:
            view.show_items(turn)
            self._bars.value = render.intent_bars(
                turn.intents_after, turn.intents_before, len(self.model.anchors.names)
            )

    def _withdraw(self, message: str, view: TurnView) -> None:
        """A message that was not taken leaves the screen and returns to the box."""
        self._give_back(message)
        self._show([other for other in self._views if other is not view])
        close(view.widget)

    def _give_back(self, message: str) -> None:
        if not self.message.value:
            self.message.value = message

    def _apply(self, choice: str, item: int) -> None:
        (self.conversation.accept if choice == "accept" else self.conversation.reject)(item)
        self._mark_all()

    def _mark_all(self) -> None:
        feedback = self.conversation.feedback
        for view in self._views:
            for card in view.cards:
                if card.item is not None and card.choice != feedback.get(card.item.item):
                    card.mark(feedback.get(card.item.item))

    def _begin(self, user: int | str | None, words: str) -> None:
        """A new conversation; the old one stays within reach of Undo."""
        with self._gate:
            if self.busy:
                self._say("Still answering: press Stop first.", "problem")
                return
            try:
                fresh = Conversation(self.model, user, **self._setting)
            except LatentCRSError as error:
                self._say(str(error), "problem")
                return
            earlier = self._before_clear
            if self.conversation.turns or self.conversation.feedback:
                for view in earlier[1] if earlier else ():
                    close(view.widget)
                earlier = (self.conversation, self._views)
            self._restart(fresh, [])
            self._before_clear = earlier
            self._say(words)

    def _restart(self, conversation: Conversation, views: list[TurnView]) -> None:
        """Show a conversation from its start or as it was left."""
        self.conversation, self._before_clear = conversation, None
        self.person.value = "" if conversation.user is None else str(conversation.user)
        self._glimpse.value = self._person()
        self._heard.value = ""
        self._show(views)
        self._belief = {}
        self._update_bars()
        switch(self.stop_button, "lcrs-off", True)
        self._say("Ready")

    def _person(self) -> str:
        """Who is talking, and what is known of them."""
        history, data = self.conversation.history, self.model.data
        genres = Counter(g for item in history for g in data.item(item)["genres"] or ())
        user = self.conversation.user
        return render.glimpse(
            "A stranger" if user is None else f"User {user}",
            len(history),
            self.noun,
            [name for name, _ in genres.most_common(3)],
            [self.conversation.label(item) for item in reversed(history[-5:])],
        )

    def _show(self, views: list[TurnView]) -> None:
        self._views = views
        self._log.children = [view.widget for view in views] or [self._hello]

    def _update_bars(self) -> None:
        """Draw the belief as it stands beside what it was at the last drawing."""
        before, self._belief = self._belief, self.conversation.intents()
        self._bars.value = render.intent_bars(self._belief, before or None, len(self._belief))

    def _say(self, words: str, kind: str = "idle") -> bool:
        """Write the status line; False, so that a refusal can return it."""
        self._status = (words, kind)
        self._status_line.value = render.status(words, kind)
        return False
