"""The chat as a widget: a view of a `Conversation` for JupyterLab and Voilà.

Nothing slow runs in a callback: a message is answered in a thread, which only assigns traits.
"""

import json
import threading
from collections.abc import Callable, Sequence
from functools import partial, wraps
from typing import Any

from latentcrs_utils.config import RerankConfig
from latentcrs_utils.constraints.constraint import Constraint
from latentcrs_utils.constraints.extraction import WITH_MODEL
from latentcrs_utils.conversation.guards import clean_message
from latentcrs_utils.conversation.session import Conversation, StoppedError, Wording
from latentcrs_utils.conversation.turn import Feedback, PolicyName, Push, Turn, more_like
from latentcrs_utils.em.model import LatentCRS
from latentcrs_utils.errors import DataError, LatentCRSError
from latentcrs_utils.language.models import find_model
from latentcrs_utils.widgets import html
from latentcrs_utils.widgets.controls import WORDS, close
from latentcrs_utils.widgets.views import ChatView, Choice, StatusKind, TurnView

_SAID = WORDS["status"]


def _when_free(act: Callable[..., bool]) -> Callable[..., bool]:
    """Refuse an action while an answer is under way; what else speaks against it is said, too."""

    @wraps(act)
    def guarded(app: "ChatApp", *args: Any, **kwargs: Any) -> bool:
        with app._gate:
            if app.busy:
                return app.view.say(_SAID["busy"], "problem")
            try:
                return act(app, *args, **kwargs)
            except LatentCRSError as error:
                return app.view.say(str(error), "problem")

    return guarded


class ChatApp:
    """A chat with a fitted model; let it be the last expression of a cell to see it.

    What a user does is a method, which returns whether it was done or has begun; if not, the status
    line says why. `user` and `policy` are those of the first conversation, `setting` has
    `chat_model`, `n_items`, `extractor`, `rerank` and `wording`: all as of `Conversation`.
    """

    def __init__(
        self, model: LatentCRS, *, user: int | str | None = None, policy: PolicyName = "F",
        **setting: Any,
    ):  # fmt: skip
        self.model, self._setting = model, setting
        self._earlier: tuple[Conversation, Sequence[TurnView]] | None = None
        self._edited: TurnView | None = None
        self._clicks: list[tuple[Choice, int]] = []
        self._end: tuple[str, StatusKind] = ("Ready", "idle")
        self._is_awake = False
        # held while the state of the chat changes, in callbacks and in the thread of an answer
        self._gate, self._stopped = threading.RLock(), threading.Event()
        self._thread: threading.Thread | None = None
        chat_model = setting.get("chat_model", "local")
        if chat_model == "local":
            chat_model = find_model(model.language.embedder.language_model)
        self._speaker = getattr(chat_model, "name", None)
        self.view = ChatView(lambda name, *of: getattr(self, name)(*of), model, self._speaker)
        self.view.restart(Conversation(model, user, policy=policy, **setting))
        self.view.say(*self._end)
        self.widget = self.view.widget

    # What a user can do

    @_when_free
    def submit(self, text: str | None = None) -> bool:
        """Send a message, as all go; None takes it from the box, which keeps it if refused."""
        box = self.view.message
        message = clean_message(box.value if text is None else text)
        if text is None:
            box.value = ""
        self.view.driver.leave()
        earlier, kept, new = self.view.turns, self.view.turns, self._new_turn(message)
        ask = partial(self.conversation.say, message)
        if earlier and self._edited is earlier[-1]:
            kept, ask = earlier[:-1], partial(self.conversation.retry, message)
        words = "your message is in the box again."
        job = partial(self._answer, new, ask, earlier, words, given_back=message)
        return self._start_answer(job, [*kept, new])

    @_when_free
    def edit(self) -> bool:
        """Put the last message into the box; the next one that is sent takes its place."""
        if not self.view.turns:
            return not self.view.say(_SAID["nothing to edit"])
        self._edited = self.view.turns[-1]
        self.view.message.value = self._edited.message
        self.view.message.focus()
        return self.view.say(_SAID["edit"])

    @_when_free
    def retry(self) -> bool:
        """Answer the last message again, as things are chosen now."""
        if not self.view.turns:
            return not self.view.say(_SAID["nothing to retry"])
        self.view.driver.leave()
        *kept, last = earlier = self.view.turns
        new, ask = self._new_turn(last.message, last.who), self.conversation.retry
        job = partial(
            self._answer, new, ask, earlier, "the earlier answer stays.", "Answered again"
        )
        return self._start_answer(job, [*kept, new])

    @_when_free
    def drive(self, to_the_end: bool = False, sure: bool = False) -> bool:
        """Let the simulated user go on; if nobody drives, a new one in a new conversation.

        Where that takes a talk of yours off the screen, it wants to be pressed twice, or `sure`.
        """
        driver = self.view.driver
        if not driver.steps_left(self.conversation):
            if self.view.turns or self.conversation.feedback:
                pilot, events = driver.autopilot, self.conversation.events
                is_own = pilot is not None and pilot.conversation is self.conversation
                asked, driver.asked = driver.asked, events
                if not (is_own or sure or asked is events):
                    return not self.view.say(_SAID["sure"])
                self.clear()
            driver.begin(self.conversation)
        n = driver.steps_left(self.conversation) if to_the_end else 1
        spare = [self._new_turn("", "Simulated user") for _ in range(n)]
        return self._start_answer(partial(self._drive, spare), self.view.turns)

    def stop(self) -> bool:
        """Stop the answer: the message comes back, or the reply ends where it is."""
        if not self.busy:
            return not self.view.say(_SAID["nothing to stop"])
        self._stopped.set()
        return self.view.say("Stopping", "busy")

    @_when_free
    def undo(self) -> bool:
        """Take back the last message, click, push, withdrawal or pick, or the last Clear."""
        if self.view.turns and self._edited is self.view.turns[-1]:
            self._edited, self.view.message.value = None, ""
            return self.view.say(_SAID["edit undone"])
        self.view.driver.leave()
        event, picker = self.conversation.undo(), self.view.picker
        if event is None:
            if picker.is_open and picker.picked:
                return self.pick(picker.picked[:-1])
            if self._earlier is None:
                return not self.view.say(_SAID["nothing to undo"])
            earlier, self._earlier = self._earlier, None
            self.view.restart(*earlier)
            return self.view.say(_SAID["clear undone"])
        if isinstance(event, Turn):
            *kept, last = self.view.turns
            self.view.give_back(event.message)
            self.view.show(kept)
            close(last.widget)
            words = "your last message is in the box again"
        elif isinstance(event, Feedback):
            words = f"your click on {self.conversation.label(event.item)}"
        elif isinstance(event, Push):
            words = f"your push on “{self.conversation.model.anchors.names[event.intent]}”"
        else:
            words = f"{event.constraint.label} is required again"
        self.view.update()
        return self.view.say(_SAID["undone"].format(words))

    def clear(self) -> bool:
        """Start again with the same person."""
        user, start = self.conversation.user, self.conversation.start
        fresh = partial(self._fresh, user, start if user is None else None)
        return self._begin(fresh, _SAID["cleared"])

    def start_as(self, user: int | str | None) -> bool:
        """Start a conversation as another user (None: without a history)."""
        name = "a stranger" if user is None else f"user {user}"
        return self._begin(partial(self._fresh, user, None), _SAID["begun"].format(name))

    def build_history(self) -> bool:
        """Start a conversation as yourself, and show items to click."""
        words = _SAID["history begun"].format(self.view.noun)
        if begun := self._begin(partial(self._fresh, None, []), words):
            self.view.picker.display(True)
        return begun

    @_when_free
    def pick(self, items: Sequence[int]) -> bool:
        """Make these items, oldest first, your history; after the first message "Like" does."""
        if self.view.turns:
            return not self.view.say(_SAID["too late to pick"])
        self.view.conversation = self._fresh(None, items)
        self.view.update()
        n, noun = len(items), self.view.noun
        return self.view.say(f"Your history has {n or 'no'} {noun}{'s' * (n != 1)}.")

    def use(self, policy: PolicyName) -> None:
        """Choose items by another policy from the next message on (unknown: `ConfigError`)."""
        if policy != self.conversation.policy:
            self.conversation.use(policy)
            self._say_of_next(f"policy {policy}. {self._in_full(policy)}")

    def use_wording(self, wording: Wording) -> None:
        """Let a "template" or the chat "model" word the replies from the next message on."""
        if wording != self.conversation.wording:
            self.conversation.use_wording(wording)
            self._say_of_next(WORDS["wordings"][wording].format(self._speaker))

    def _say_of_next(self, what: str) -> None:
        """Say what holds from the next message on, unless an answer is under way."""
        if not self.busy:
            self.view.update()
            self.view.say(_SAID["next"].format(what) + _SAID["again"] * bool(self.view.turns))

    @_when_free
    def withdraw(self, constraint: Constraint | str) -> bool:
        """Take back a requirement, as its chip does; the next message does without it."""
        self.conversation.withdraw(constraint)
        self.view.update()
        return self.view.say(_SAID["withdrawn"].format(Constraint.parse(str(constraint)).label))

    @_when_free
    def push(self, name: str, more: bool = True) -> bool:
        """Push one of the leading intents, as the buttons below its bar do."""
        self.conversation.push(name, more)
        self.view.update()
        words = _SAID["more" if more else "less"].format(name)
        return self.view.say(words + _SAID["again"] * bool(self.view.turns))

    def click(self, choice: Choice, item: int) -> bool:
        """Like ("accept"), refuse ("reject") or ask for "more" like an item, as its buttons do.

        While a reply is being written a like or a refusal counts as soon as that is done.
        """
        if choice == "more":
            return self.submit(more_like(self.conversation.label(item)))
        with self._gate:
            self._clicks.append((choice, item))
            if self.busy:
                clicked = {item: choice for choice, item in self._clicks}
                self.view.mark({**self.conversation.feedback, **clicked})
                return True
            self._apply_clicks()
            self.view.update()
            return self.view.say(_SAID[choice].format(self.conversation.label(item)))

    @_when_free
    def export(self) -> bool:
        """Make the conversation files to keep, whose links appear below the buttons."""
        if not self.view.turns:
            return not self.view.say(_SAID["nothing to export"])
        talk = self.conversation
        self.view.downloads.value = html.downloads(talk.user, talk.transcript(), talk.markdown())
        return self.view.say(_SAID["exported"])

    @_when_free
    def load(self, text: str) -> bool:
        """Go on with a conversation, given the text of the JSON file that `export` made of it."""
        try:
            here = {"n_items": self.conversation.n_items, "wording": self.conversation.wording}
            values = json.loads(text)
            talk = Conversation.from_transcript(self.model, values, **self._setting | here)
            shown = [TurnView(turn.message, len(turn.items), self.click) for turn in talk.answers]
            for view, turn in zip(shown, talk.answers, strict=True):
                view.show(turn, talk.why(turn))
        except LatentCRSError:
            raise
        except Exception as error:  # whatever somebody's file holds
            raise DataError(_SAID["no talk"].format(type(error).__name__)) from error
        return self._begin(lambda: talk, _SAID["loaded"].format(len(shown)), shown)

    def hear(self, told: str) -> bool:
        """Do what the page reports as JSON, such as a message that Enter sends."""
        acts = {"send": self.submit, "load": self.load, "start": self.start_as,
                "take": self.view.picker.take}  # fmt: skip
        try:
            ((name, text),) = ((k, str(v)) for k, v in json.loads(told).items() if k in acts)
        except (ValueError, AttributeError, RecursionError):
            return False
        if not (done := acts[name](text)) and name == "send":
            self.view.give_back(text)
        return done

    # What a program can ask

    @property
    def busy(self) -> bool:
        """Whether an answer is under way."""
        return self._thread is not None and self._thread.is_alive()

    @property
    def conversation(self) -> Conversation:
        """The conversation that is shown."""
        return self.view.conversation

    def wait(self, timeout: float | None = None) -> bool:
        """Wait for the answer, at most so many seconds; whether it is there."""
        if (thread := self._thread) is not None:
            thread.join(timeout)
        with self._gate:
            return not self.busy

    def state(self) -> dict[str, Any]:
        """What is on the screen, as plain values."""
        view, talk = self.view, self.conversation
        cards = [[(c.item.title, c.choice) for c in turn.cards if c.item] for turn in view.turns]
        return {
            "status": view.status, "user": talk.user, "history": len(talk.history),
            "policy": view.policies.value, "box": view.message.value, "cards": cards,
            "messages": [turn.message for turn in view.turns], "busy": self.busy,
            "required": [words for words, _ in view.requirements.chips.values()],
            "intents": html.leading(view.belief), "driver": view.driver.words,
        }  # fmt: skip

    def _repr_mimebundle_(self, **options: Any) -> Any:
        return self.widget._repr_mimebundle_(**options)

    # What happens then

    def _start_answer(self, job: Callable[[], object], turns: Sequence[TurnView]) -> bool:
        """Show these turns, and answer in a thread of its own."""

        def work() -> None:
            try:
                job()
            finally:
                with self._gate:
                    self._thread = None
                    self._apply_clicks()
                    self.view.update()
                    self.view.show_busy(False)
                    self.view.say(*self._end)

        self.view.downloads.value = ""
        self.view.picker.display(False)
        self.view.show(turns)
        self.view.show_busy(True)
        self.view.say(WORDS["stages"]["reading"], "busy")
        self._stopped.clear()
        self._thread = threading.Thread(target=work, daemon=True)
        self._thread.start()
        return True

    def _answer(
        self, view: TurnView, ask: Callable[..., Turn | None], earlier: Sequence[TurnView],
        kept: str, done: str = "Ready", given_back: str = "",
    ) -> bool:  # fmt: skip
        """Ask for a turn and show it; else show the `earlier` ones and say what was `kept`."""
        try:
            turn = ask(stream=view.stream, stop=self._stopped, watch=partial(self._watch, view))
            assert turn is not None, "whoever is asked has a message"
        except Exception as error:
            if isinstance(error, StoppedError):
                self._end = (f"Stopped; {kept}", "idle")
            elif isinstance(error, LatentCRSError):
                self._end = (str(error), "problem")
            else:
                what = f"{type(error).__name__}: {error}"
                self._end = (_SAID["failed"].format(error=what, kept=kept), "problem")
            self.view.show(earlier)
            self.view.give_back(given_back)
            close(view.widget)
            return False
        self._end = ("Stopped" if self._stopped.is_set() else done, "idle")
        view.show(turn)
        view.show(turn, self.conversation.why(turn))
        for old in set(earlier) - set(self.view.turns):
            close(old.widget)
        return True

    def _drive(self, spare: list[TurnView]) -> None:
        """Let the simulated user talk until it is content, stopped, or no view is left."""
        pilot, answered = self.view.driver.autopilot, True
        assert pilot is not None
        while answered and spare and not pilot.outcome and not self._stopped.is_set():
            view, earlier = spare.pop(0), self.view.turns
            view.show_message(pilot.next_message() or "")
            self.view.show([*earlier, view])
            answered = self._answer(view, pilot.step, earlier, "the next step says it again.")
            view.remark.value = html.small(pilot.verdict)
            self.view.driver.report()
            self.view.update()
        for view in spare:
            close(view.widget)

    def _watch(self, view: TurnView, stage: str, turn: Turn | None) -> None:
        """Show how far the conversation is with an answer."""
        if not self._stopped.is_set():
            first = "" if self._is_awake else ": the first one wakes the language model"
            self.view.say(WORDS["stages"][stage] + first, "busy")
        self._is_awake = self._is_awake or stage == "writing"
        if turn is not None:
            view.show(turn)
            self.view.draw(turn.intents_after, turn.intents_before)

    def _apply_clicks(self) -> None:
        """Tell the conversation of the likes and refusals that it does not know yet."""
        clicks, self._clicks = self._clicks, []
        for choice, item in clicks:
            (self.conversation.accept if choice == "accept" else self.conversation.reject)(item)

    def _new_turn(self, message: str, who: str = "You") -> TurnView:
        return TurnView(message, self.conversation.n_items, self.click, who)

    def _fresh(self, user: int | str | None, history: Sequence[int] | None) -> Conversation:
        now = {"policy": self.conversation.policy, "wording": self.conversation.wording}
        return Conversation(self.model, user, history=history, **self._setting | now)

    @_when_free
    def _begin(
        self, make: Callable[[], Conversation], words: str, turns: Sequence[TurnView] = ()
    ) -> bool:
        """Another conversation; the old one stays within reach of Undo."""
        fresh = make()
        if self.view.turns or self.conversation.feedback:
            for turn in self._earlier[1] if self._earlier else ():
                close(turn.widget)
            self._earlier = (self.conversation, self.view.turns)
        self.view.driver.leave()
        self.view.restart(fresh, turns)
        return self.view.say(words)

    def _in_full(self, policy: PolicyName) -> str:
        """What a policy does, who speaks and who reads the requirements, in a sentence."""
        speaker, how = self._speaker, self._setting.get("extractor", "lexicon")
        # without a language model the lexicon reads alone
        name = "lexicon" if speaker is None and how in WITH_MODEL else how
        reader = WORDS["readers"].get(name, "a reader of yours").format(speaker)
        n = (self._setting.get("rerank") or RerankConfig()).n_candidates
        n = max(n, self.conversation.n_items)
        chooses = WORDS["chooses"]["nobody" if policy == "V" and speaker is None else policy]
        return chooses.format(reader=reader, speaker=speaker, n=n)
