"""The chat as a widget: a view of a `Conversation` for JupyterLab and Voilà.

Nothing slow runs in a callback: a worker thread asks the conversation and only assigns traits.
"""

import threading
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from latentcrs_utils.constraints.constraint import Constraint
from latentcrs_utils.conversation.guards import clean_message
from latentcrs_utils.conversation.reply import thing
from latentcrs_utils.conversation.session import Conversation, StoppedError
from latentcrs_utils.conversation.turn import Feedback, PolicyName, Turn, Withdrawal, more_like
from latentcrs_utils.errors import LatentCRSError, MessageError
from latentcrs_utils.widgets import html as render
from latentcrs_utils.widgets.controls import WHO, close, facts, in_full, speaker_of, switch
from latentcrs_utils.widgets.views import ChatView, Choice, Kind, Layout, Streamer, TurnView

if TYPE_CHECKING:
    from latentcrs_utils.constraints.extraction import Extractor, How
    from latentcrs_utils.conversation.autopilot import Autopilot
    from latentcrs_utils.em.model import LatentCRS
    from latentcrs_utils.language.chat_model import ChatModel
    from latentcrs_utils.widgets.controls import Driver


class Worker:
    """Does one slow thing at a time; it may be asked to stop.

    Attributes:
        gate: held while the state of the chat changes, here and in the callbacks.
        stopped: set when the user wants an end; what is slow looks at it.
    """

    def __init__(self) -> None:
        self.gate = threading.RLock()
        self.stopped = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def busy(self) -> bool:
        """Whether something is under way."""
        return self._thread is not None and self._thread.is_alive()

    def start(self, job: Callable[[], None], after: Callable[[], None]) -> None:
        """Do something slow.

        Args:
            job: runs in a thread of its own.
            after: runs in that thread when the job has ended, well or not; the worker no longer
                counts as busy then.
        """

        def work() -> None:
            try:
                job()
            finally:
                with self.gate:
                    self._thread = None
                    after()

        self.stopped.clear()
        self._thread = threading.Thread(target=work, daemon=True)
        self._thread.start()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until nothing is under way; whether that is so.

        Args:
            timeout: seconds; None for as long as it takes.
        """
        thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join(timeout)
        with self.gate:
            return not self.busy


_STAGES = {
    "reading": "Reading your message",
    "choosing": "Choosing {noun}s",
    "writing": "Writing",
}


class Answers:
    """Gets answers from the conversation on a board.

    Args:
        board: shows them.
        worker: does the asking.
    """

    def __init__(self, board: ChatView, worker: Worker):
        self.board, self.worker = board, worker
        self._clicks: list[tuple[Choice, int]] = []
        self._end: tuple[str, Kind] = ("Ready", "idle")
        self._is_awake = False

    def start(self, views: Sequence[TurnView], job: Callable[[], None]) -> None:
        """Show these turns and begin to answer.

        Args:
            views: the turns, that of the coming answer among them.
            job: asks for it, see `answer`.
        """
        self.board.screen.heard.value = ""
        self.board.screen.exporter.clear()
        self.board.screen.picker.close()
        self.board.show(views)
        self._end = ("Ready", "idle")
        switch(self.board.screen.stop, "lcrs-off", False)
        self.board.say("Reading your message", "busy")
        self.worker.start(job, self._finish)

    def answer(
        self,
        view: TurnView,
        ask: Callable[..., Turn | None],
        back: Callable[[], None],
        kept: str,
        done: str = "Ready",
    ) -> Turn | None:
        """Ask for one turn and show it; in the worker's thread.

        Args:
            view: where it is shown.
            ask: `Conversation.say` and the like, but for `stream`, `stop` and `watch`.
            back: makes the screen what it was, if there is no answer.
            kept: how a sentence ends that says what became of the message then.
            done: what the status line says at the end.

        Returns:
            The turn; None if there is no answer.
        """
        try:
            turn = ask(
                stream=Streamer(view),
                stop=self.worker.stopped,
                watch=lambda stage, turn: self._watch(stage, turn, view),
            )
        except StoppedError:
            back()
            self._end = (f"Stopped; {kept}", "idle")
        except LatentCRSError as error:
            back()
            self._end = (str(error), "problem")
        except Exception as error:
            back()
            what = f"{type(error).__name__}: {error}"
            self._end = (f"That failed ({what}); {kept} Try again, or choose policy B.", "problem")
        else:
            if turn is not None:
                self._end = ("Stopped" if self.worker.stopped.is_set() else done, "idle")
                view.show_reply(turn)
                self.board.screen.heard.value = render.heard(turn)
                view.show_items(turn, self.board.conversation.why(turn))
            return turn
        return None

    def drive(self, driver: "Driver", views: Sequence[TurnView]) -> None:
        """Let a simulated user talk until it is content, stopped, or there are no more views."""
        pilot = driver.autopilot
        assert pilot is not None
        spare = list(views)
        while spare and not pilot.outcome and not self.worker.stopped.is_set():
            view = spare.pop(0)
            self.board.show([*self.board.views, view])
            ask, back = partial(_next_step, pilot, view), partial(self.board.drop, view)
            turn = self.answer(view, ask, back, "the next step says it again.")
            driver.report()
            if turn is None:
                break
            self.board.update()
        for view in spare:
            close(view.widget)

    def later(self, choice: Choice, item: int) -> None:
        """Note a click that counts when the answer is there."""
        self._clicks.append((choice, item))
        for view in self.board.views:
            view.mark(item, choice)

    def apply(self, choice: Choice, item: int) -> None:
        """Tell the conversation of a like or a refusal."""
        conversation = self.board.conversation
        (conversation.accept if choice == "accept" else conversation.reject)(item)

    def _watch(self, stage: str, turn: Turn | None, view: TurnView) -> None:
        if not self.worker.stopped.is_set():
            first = "" if self._is_awake else ": the first one wakes the language model"
            self.board.say(_STAGES[stage].format(noun=self.board.noun) + first, "busy")
        self._is_awake = self._is_awake or stage == "writing"
        if turn is not None:
            self.board.preview(view, turn)

    def _finish(self) -> None:
        """The answer has ended, well or not; the worker counts as free, its gate is held."""
        for choice, item in self._clicks:
            self.apply(choice, item)
        self._clicks.clear()
        self.board.update()
        switch(self.board.screen.stop, "lcrs-off", True)
        self.board.say(*self._end)


def _next_step(pilot: "Autopilot", view: TurnView, **how: Any) -> Turn | None:
    """Show what a simulated user says next, and have it answered."""
    view.show_message(pilot.next_message() or "")
    return pilot.step(**how)


IDEAS = (
    "something funny from the eighties",
    "a tense thriller, but nothing bloody",
    "for a rainy Sunday with the kids",
)
_BUSY = "Still answering: press Stop first."
_GIVEN_BACK = "your message is in the box again."


class ChatApp:
    """A chat with a fitted model; let it be the last expression of a cell to see it.

    Args:
        model: what `fit_em` returned.
        user: user id of the data's provider to start as; None for a stranger.
        chat_model: who words the replies, as in `Conversation`.
        n_items: how many items a turn offers.
        policy: how items are chosen at first: "B", "F" or "V".
        extractor: who reads the requirements of F. The word list alone takes no time, and a small
            language model beside it takes seconds and adds next to nothing.
        ideas: messages to start with, offered as buttons.

    Raises:
        DataError: an unknown user.
        ConfigError: no such policy or extractor, or `n_items` below 1.
    """

    def __init__(
        self,
        model: "LatentCRS",
        *,
        user: int | str | None = None,
        chat_model: "ChatModel | Literal['local'] | None" = "local",
        n_items: int = 5,
        policy: PolicyName = "B",
        extractor: "Extractor | How" = "lexicon",
        ideas: Sequence[str] = IDEAS,
    ):
        self.model = model
        self._setting: dict[str, Any] = {"chat_model": chat_model, "n_items": n_items}
        self._setting["extractor"] = extractor
        self._start: tuple[int | str | None, list[int] | None] = (user, None)
        self._earlier: tuple[Any, ...] | None = None
        conversation = self._fresh(user, None, policy)
        self._worker = Worker()
        self.noun = thing(model.data.name)
        self._speaker = speaker_of(model, chat_model)
        self._reader = extractor if isinstance(extractor, str) else "own"
        self.screen = Layout(self, facts(model, self._speaker), policy, ideas)
        self.board = ChatView(self.screen, conversation, self.noun, self.click)
        self._answers = Answers(self.board, self._worker)
        self.widget = self.screen.widget

    # What a user can do

    def submit(self, text: str | None = None) -> bool:
        """Send a message: the one place through which all messages go.

        Args:
            text: the message; None takes it from the message box.

        Returns:
            Whether it was taken; if not, the status line says why and the box keeps its text.
        """
        with self._worker.gate:
            if self.busy:
                return self._say("Still answering: wait a moment, or press Stop.", "problem")
            from_box = text is None
            try:
                message = clean_message(self.screen.message.value if text is None else text)
            except MessageError as error:
                return self._say(str(error), "problem")
            if from_box:
                self.screen.message.value = ""
            self.screen.driver.leave()
            view = self.board.new_view(message)

            def ask(**how: Any) -> Turn:
                return self.conversation.say(message, **how)

            def back() -> None:
                self.board.give_back(message)
                self.board.drop(view)

            def job() -> None:
                self._answers.answer(view, ask, back, _GIVEN_BACK)

            self._answers.start([*self.board.views, view], job)
        return True

    def retry(self) -> bool:
        """Answer the last message again, as things are chosen now; whether that began."""
        with self._worker.gate:
            if self.busy:
                return self._say(_BUSY, "problem")
            if not self.board.views:
                return self._say("There is no message to answer again: write one below.")
            self.screen.driver.leave()
            *others, old = self.board.views
            view = self.board.new_view(old.message, old.who)

            def back() -> None:
                self.board.show([*others, old])
                close(view.widget)

            def job() -> None:
                kept, done = "the earlier answer stays.", "Answered again"
                if self._answers.answer(view, self.conversation.retry, back, kept, done):
                    close(old.widget)

            self._answers.start([*others, view], job)
        return True

    def drive(self, *, to_the_end: bool = False) -> bool:
        """Let a simulated user say its next message, or all of them; whether that began.

        If nobody is on the way, somebody new begins, in a conversation of their own.
        """
        with self._worker.gate:
            if self.busy:
                return self._say(_BUSY, "problem")
            driver = self.screen.driver
            if not driver.drives(self.conversation):
                if self.board.views or self.conversation.feedback:
                    self.clear()
                try:
                    driver.begin(self.conversation)
                except LatentCRSError as error:
                    return self._say(str(error), "problem")
            n = driver.steps_left if to_the_end else 1
            views = [self.board.new_view("", WHO) for _ in range(n)]
            self._answers.start(self.board.views, lambda: self._answers.drive(driver, views))
        return True

    def stop(self) -> None:
        """Stop the answer: the message comes back, or the reply ends where it is."""
        if self.busy:
            self._worker.stopped.set()
            self._say("Stopping", "busy")
        else:
            self._say("There is nothing to stop.")

    def undo(self) -> None:
        """Take back the last message, click or withdrawal, or the last Clear."""
        with self._worker.gate:
            if self.busy:
                self._say(_BUSY, "problem")
                return
            self.screen.driver.leave()
            event = self.conversation.undo()
            if isinstance(event, Feedback):
                words = f"Taken back: your click on {self.conversation.label(event.item)}."
            elif isinstance(event, Withdrawal):
                words = f"Taken back: {event.constraint.label} is required again."
            elif isinstance(event, Turn):
                self.board.give_back(event.message)
                self.board.drop(self.board.views[-1])
                words = "Taken back: your last message is in the box again."
            else:
                self._undo_beginning()
                return
            self.board.update()
            self._say(words)

    def clear(self) -> None:
        """Start again with the same person."""
        self._begin(*self._start, "Cleared. Undo brings the conversation back.")

    def start_as(self, user: int | str | None) -> None:
        """Start a conversation as another user (None: without a history)."""
        name = "a stranger" if user is None else f"user {user}"
        words = f"A new conversation as {name}. Undo brings the earlier one back."
        self._begin(user, None, words)

    def build_history(self) -> None:
        """Start a conversation as yourself, and show items to click."""
        words = f"A new conversation as you: click {self.noun}s that you like, or just write."
        if self._begin(None, [], words):
            self.screen.picker.open()
            self.screen.picker.search.focus()

    def pick(self, items: Sequence[int]) -> bool:
        """Make these items, oldest first, your history; whether that was done.

        Only before the first message: later a "Like" adds to the history.
        """
        with self._worker.gate:
            if self.busy or self.board.views:
                return self._say("The conversation has begun: use Like, or Build a history anew.")
            self._start = (None, list(items))
            self.board.replace(self._fresh(*self._start, self.conversation.policy))
            n = len(items)
            self._say(f"Your history has {n or 'no'} {self.noun}{'' if n == 1 else 's'}.")
        return True

    def use(self, policy: PolicyName) -> None:
        """Choose items in another way from the next message on: "B", "F" or "V".

        Raises:
            ConfigError: there is no such policy.
        """
        if policy == self.conversation.policy:
            return
        self.conversation.use(policy)
        self.screen.policies.value = policy
        if not self.busy:
            self.board.show_requirements()
            reader = self._reader if self._speaker else "lexicon"
            again = " Retry answers the last one again so." if self.board.views else ""
            what = in_full(policy, self._speaker, reader)
            self._say(f"From the next message on: policy {policy}. {what}.{again}")

    def withdraw(self, written: str) -> None:
        """Take back a requirement, as its chip does; the next message does without it."""
        with self._worker.gate:
            if self.busy:
                self._say(_BUSY, "problem")
                return
            constraint = Constraint.parse(written)
            self.conversation.withdraw(constraint)
            self.board.update()
            self._say(f"No longer required: {constraint.label}. The next message does without it.")

    def click(self, choice: Choice, item: int) -> None:
        """Like ("accept"), refuse ("reject") or ask for "more" like an item, as its buttons do.

        While a reply is being written a like or a refusal counts as soon as that is done.
        """
        if choice == "more":
            self.submit(more_like(self.conversation.label(item)))
            return
        with self._worker.gate:
            if self.busy:
                self._answers.later(choice, item)
                return
            self._answers.apply(choice, item)
            self.board.update()
            noted = "It joins your history." if choice == "accept" else "It is not offered again."
            self._say(f"Noted: {self.conversation.label(item)}. {noted}")

    def export(self) -> bool:
        """Make the conversation files to keep, whose links appear below the buttons.

        Returns:
            Whether that began.
        """
        with self._worker.gate:
            if self.busy:
                return self._say(_BUSY, "problem")
            if not self.board.views:
                return self._say("There is nothing to export yet: write a message first.")
            exporter = self.screen.exporter

            def after() -> None:
                if exporter.links:
                    self._say("Two files are ready: their links stand below the buttons.")
                else:
                    self._say("The files could not be made; the conversation is as it was.")

            self._say("Making the files", "busy")
            self._worker.start(lambda: exporter.offer(self.conversation), after)
        return True

    def send_idea(self, idea: str) -> None:
        """Send an idea; its button leaves the screen, so the keyboard focus moves on."""
        if self.submit(idea):
            self.screen.message.focus()

    # What a program can ask

    def wait(self, timeout: float | None = None) -> bool:
        """Wait for the answer (for tests and programs); whether it is there.

        Args:
            timeout: seconds; None for as long as it takes.
        """
        return self._worker.wait(timeout)

    @property
    def busy(self) -> bool:
        """Whether an answer is under way."""
        return self._worker.busy

    @property
    def conversation(self) -> Conversation:
        """The conversation that is shown."""
        return self.board.conversation

    def state(self) -> dict[str, Any]:
        """What is on the screen, as plain values."""
        views = self.board.views
        return {
            "status": self.board.status,
            "user": self.conversation.user,
            "history": len(self.conversation.history),
            "policy": self.screen.policies.value,
            "box": self.screen.message.value,
            "messages": [view.message for view in views],
            "cards": [
                [(card.item.title, card.choice) for card in view.cards if card.item is not None]
                for view in views
            ],
            "required": [chip.words for chip in self.screen.requirements.chips],
            "intents": self.board.leading_intents(),
            "driver": self.screen.driver.words,
            "busy": self.busy,
        }

    def _repr_mimebundle_(self, **options: Any) -> Any:
        return self.widget._repr_mimebundle_(**options)

    # What happens then

    def _fresh(
        self, user: int | str | None, history: list[int] | None, policy: PolicyName
    ) -> Conversation:
        return Conversation(self.model, user, history=history, policy=policy, **self._setting)

    def _begin(self, user: int | str | None, history: list[int] | None, words: str) -> bool:
        """A new conversation; the old one stays within reach of Undo."""
        with self._worker.gate:
            if self.busy:
                return self._say(_BUSY, "problem")
            try:
                fresh = self._fresh(user, history, self.conversation.policy)
            except LatentCRSError as error:
                return self._say(str(error), "problem")
            earlier = self._earlier
            if self.board.views or self.conversation.feedback:
                for view in earlier[1] if earlier else ():
                    close(view.widget)
                earlier = (self.conversation, self.board.views, self._start)
            self._earlier, self._start = earlier, (user, history)
            self.screen.driver.leave()
            self.screen.picker.close()
            self.board.restart(fresh, [])
            self._say(words)
        return True

    def _undo_beginning(self) -> None:
        """Take back the last pick of a history, or the beginning of the conversation."""
        picker = self.screen.picker
        if picker.is_open and picker.picked:
            picker.toggle(picker.picked[-1])
        elif self._earlier is not None:
            conversation, views, self._start = self._earlier
            self._earlier = None
            picker.close()
            self.board.restart(conversation, views)
            self._say("The earlier conversation is back.")
        else:
            self._say("There is nothing to take back.")

    def _say(self, words: str, kind: Literal["idle", "busy", "problem"] = "idle") -> Literal[False]:
        return self.board.say(words, kind)
