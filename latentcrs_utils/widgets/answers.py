"""How an answer comes to the screen: asked for in a thread of its own, shown as it grows."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from latentcrs_utils.conversation.explanation import why
from latentcrs_utils.conversation.session import StoppedError
from latentcrs_utils.conversation.turn import Turn
from latentcrs_utils.errors import LatentCRSError
from latentcrs_utils.widgets import html as render
from latentcrs_utils.widgets.app import Worker
from latentcrs_utils.widgets.controls import close, switch
from latentcrs_utils.widgets.views import Board, Choice, Kind, Streamer, TurnView

if TYPE_CHECKING:
    from latentcrs_utils.conversation.autopilot import Autopilot
    from latentcrs_utils.widgets.controls import Driver

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

    def __init__(self, board: Board, worker: Worker):
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
            self._end = (f"That failed ({what}); {kept} Try again, or choose variant B.", "problem")
        else:
            if turn is not None:
                self._end = ("Stopped" if self.worker.stopped.is_set() else done, "idle")
                view.show_reply(turn)
                self.board.screen.heard.value = render.heard(turn)
                view.show_items(turn, why(self.board.conversation, turn))
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
