"""The panel that lets a simulated user drive, and the one who drives."""

from collections.abc import Callable

import ipywidgets as w

from latentcrs_utils.conversation.autopilot import Autopilot, make_autopilot
from latentcrs_utils.conversation.session import Conversation
from latentcrs_utils.simulation.agenda import DIFFICULTIES, Difficulty
from latentcrs_utils.simulation.planner import LEVELS, Level
from latentcrs_utils.widgets import html as render
from latentcrs_utils.widgets.controls import OneOf, box, button

WHO = "Simulated user"


class Driver:
    """Who drives at the moment, if anybody, and the widgets to begin and follow it.

    Args:
        noun: what an item is called.
        drive: called to go on, with whether to the end.

    Attributes:
        autopilot: the one who drives, or drove last; None if nobody did, or left.
        words: what the panel says of that.
    """

    def __init__(self, noun: str, drive: Callable[[bool], object]):
        self.noun = noun
        self.autopilot: Autopilot | None = None
        self.words = ""
        self._shows_goal = False
        self._n_begun = 0
        self.difficulty: OneOf[Difficulty] = OneOf(
            "Difficulty", {name: name for name in DIFFICULTIES}, "normal"
        )
        self.level: OneOf[Level] = OneOf("Wording", {name: name for name in LEVELS}, "paraphrased")
        self.step_button = button(
            "One step", "Let the simulated user say its next message", lambda: drive(False)
        )
        self.run_button = button(
            "Run to the end", "Until it accepts or gives up; Stop ends it", lambda: drive(True)
        )
        self.goal_button = button(
            "Show the goal", f"The {noun} that the simulated user has in mind", self.show_goal
        )
        self._line = w.HTML()
        told = (
            f"Somebody who has one {noun} in mind and never names it talks in your place: a phrase "
            "book, no language model."
        )
        buttons = [self.step_button, self.run_button, self.goal_button]
        self.widget = box(
            w.VBox,
            [
                w.HTML(render.panel("Let a simulated user drive", told)),
                box(w.VBox, [self.difficulty.widget, self.level.widget], "lcrs-settings"),
                box(w.HBox, buttons, "lcrs-actions"),
                self._line,
            ],
            "lcrs-drive",
        )

    def drives(self, conversation: Conversation) -> bool:
        """Whether somebody is on the way in this conversation."""
        pilot = self.autopilot
        return pilot is not None and pilot.conversation is conversation and not pilot.outcome

    @property
    def steps_left(self) -> int:
        """How many messages the one who drives has left; 0 if nobody drives."""
        pilot = self.autopilot
        return 0 if pilot is None or pilot.outcome else pilot.max_turns - pilot.n_turns

    def begin(self, conversation: Conversation) -> Autopilot:
        """Let a new simulated user, of the chosen kind, take over a conversation.

        Raises:
            LatentCRSError: nobody can be simulated for it.
        """
        self.autopilot = make_autopilot(
            conversation,
            difficulty=self.difficulty.value,
            level=self.level.value,
            seed=self._n_begun,
        )
        self._n_begun += 1
        self._shows_goal = False
        self.report()
        return self.autopilot

    def leave(self) -> None:
        """The simulated user goes, because somebody else speaks."""
        if self.autopilot is not None and not self.autopilot.outcome:
            self.autopilot = None
            self._tell("The simulated user has left, for you took over.")

    def show_goal(self) -> None:
        """Tell what the simulated user looks for."""
        self._shows_goal = True
        if self.autopilot is None:
            self._tell("Nobody is driving: press One step first.")
        else:
            self.report()

    def report(self) -> None:
        """Say how far the simulated user is; at the end, what it looked for."""
        pilot = self.autopilot
        if pilot is None:
            return
        turns = f"{pilot.n_turns} turn{'' if pilot.n_turns == 1 else 's'}"
        if pilot.outcome is None:
            goal = f" It has {pilot.goal} in mind." if self._shows_goal else ""
            self._tell(f"It has talked for {turns} of at most {pilot.max_turns}.{goal}")
        else:
            after = f" after {turns}" if pilot.outcome == "accepted" else ""
            self._tell(f"It {pilot.outcome}{after}. It had {pilot.goal} in mind.")

    def _tell(self, words: str) -> None:
        self.words = words
        self._line.value = render.drive(words)
