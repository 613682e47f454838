"""Who chooses, who speaks, and choosing between them: the policies, one line each."""

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import ipywidgets as w

from latentcrs_utils.baselines.popularity import popularity
from latentcrs_utils.config import RerankConfig
from latentcrs_utils.conversation.autopilot import Autopilot, make_autopilot
from latentcrs_utils.conversation.guards import words
from latentcrs_utils.conversation.reply import thing
from latentcrs_utils.conversation.session import Conversation
from latentcrs_utils.conversation.turn import PolicyName, describe
from latentcrs_utils.data.sequences import Dataset
from latentcrs_utils.data.source import UNKNOWN_TITLE
from latentcrs_utils.simulation.agenda import DIFFICULTIES, Difficulty
from latentcrs_utils.simulation.planner import LEVELS, Level
from latentcrs_utils.widgets import html as render

if TYPE_CHECKING:
    from latentcrs_utils.em.model import LatentCRS


# longer than any title that somebody types
_LONGEST_QUERY = 100


class TitleSearch:
    """Finds items by words of their titles, the best known first.

    Args:
        data: the catalogue; how often an item was liked says how well known it is.
    """

    def __init__(self, data: Dataset):
        self.data = data
        order = popularity(data).argsort(descending=True, stable=True).tolist()
        named = [item for item in order if item and data.titles[item] != UNKNOWN_TITLE]
        self._known_first = named
        self._spelled = {item: " " + " ".join(words(self.label(item))) for item in named}

    def label(self, item: int) -> str:
        """Title and year of an item."""
        return describe(self.data, item).label

    def find(self, query: str, n: int) -> tuple[Sequence[int], int]:
        """Items that have all words of a query in their titles; of the last word the beginning.

        Args:
            query: some words; accents and capitals do not matter.
            n: how many at most.

        Returns:
            Item ids, the best known first, and how many there are in all. Without a word in the
            query these are the best known items.
        """
        wanted = words(query[:_LONGEST_QUERY])
        if not wanted:
            found = [] if query.strip() else self._known_first
        else:
            found = [i for i in self._known_first if self._fits(self._spelled[i], wanted)]
        return found[:n], len(found)

    @staticmethod
    def _fits(spelled: str, wanted: Sequence[str]) -> bool:
        *whole, last = wanted
        return f" {last}" in spelled and all(f" {word} " in f"{spelled} " for word in whole)


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


T = TypeVar("T", bound=str)

EXPLAINED: dict[PolicyName, str] = {
    "B": "B · the recommender's best",
    "F": "F · must meet your requirements",
    "V": "V · re-ordered by an LLM",
}
"""One line for each policy."""


def speaker_of(model: "LatentCRS", chat_model: object) -> str | None:
    """Name of the language model that speaks; None without one.

    Args:
        model: what `fit_em` returned.
        chat_model: as in `Conversation`.
    """
    return (
        model.language.embedder.name if chat_model == "local" else getattr(chat_model, "name", None)
    )


def facts(model: "LatentCRS", speaker: str | None) -> list[str]:
    """Who chooses among what, and who words the replies, in a sentence each."""
    data, noun = model.data, thing(model.data.name)
    chooses = f"{model.name} chooses among {data.n_items:,} {noun}s of {data.name}"
    words = f"{speaker}, checked; else a template." if speaker else "a template."
    return [f"{chooses} through {len(model.anchors.names)} intents.", f"Words: {words}"]


def in_full(policy: PolicyName, speaker: str | None, reader: str) -> str:
    """A sentence on what a policy does.

    Args:
        policy: which one.
        speaker: name of the language model; None without one.
        reader: who reads the requirements: "lexicon", "model" or "both", or another one.
    """
    if policy == "B":
        return "The recommender alone chooses"
    if policy == "V":
        n = RerankConfig().n_candidates
        if speaker is None:
            return "Without a language model its order is that of B"
        return f"{speaker} re-orders the recommender's best {n}, which takes some seconds"
    readers = {"lexicon": "a word list", "model": speaker, "both": f"a word list and {speaker}"}
    return f"What you require is read by {readers.get(reader, 'a reader of yours')}, and holds"


class OneOf(Generic[T]):
    """Some buttons of which one is chosen.

    Neither radio buttons nor a list: JupyterLab takes arrow keys and letters for itself, so that
    these could not be used there without a mouse. Buttons need Tab and Space alone.

    Args:
        heading: what is chosen, in words before the buttons.
        options: the words on each button, by value.
        value: the one that is chosen at first.
        chosen: called with a newly chosen value.
    """

    def __init__(
        self,
        heading: str,
        options: Mapping[T, str],
        value: T,
        chosen: Callable[[T], Any] = lambda _: None,
    ):
        self.options = dict(options)
        self._value, self._chosen = value, chosen
        self._buttons = {name: self._make(name) for name in options}
        self._heading = w.HTML(render.label(heading))
        self.widget = box(w.HBox, [self._heading, *self._buttons.values()], "lcrs-one-of")
        self._mark()

    @property
    def value(self) -> T:
        """The chosen one."""
        return self._value

    @value.setter
    def value(self, value: T) -> None:
        if value != self._value:
            self._value = value
            self._mark()
            self._chosen(value)

    def _make(self, value: T) -> w.Button:
        def choose() -> None:
            self.value = value

        return button("", "", choose)

    def _mark(self) -> None:
        for value, made in self._buttons.items():
            words, on = self.options[value], value == self._value
            made.description = f"✓ {words}" if on else words
            made.tooltip = f"{words}: chosen" if on else f"Choose {words}"
            switch(made, "lcrs-chosen", on)


# made before they are needed, in the thread of the callbacks
_N_READY = 6


@dataclass(frozen=True)
class Chip:
    """What one chip stands for, the words on it, and its tip."""

    value: str
    words: str
    tip: str


class Chips:
    """A row of chips; a click on one takes it away.

    Args:
        heading: what they are, in words before the first.
        remove: called with the value of the chip that was clicked; it shows what is left.
        home: takes the keyboard focus when the last chip is gone.
    """

    def __init__(self, heading: str, remove: Callable[[str], None], home: w.DOMWidget):
        self.chips: tuple[Chip, ...] = ()
        self._remove, self._home = remove, home
        self._heading = w.HTML(render.label(heading))
        self._pool: list[w.Button] = []
        self.widget = box(w.HBox, [], "lcrs-chips")
        self._grow(_N_READY)
        self.show([])

    def show(self, chips: Sequence[Chip]) -> None:
        """Show these chips and no others."""
        self.chips = tuple(chips)
        self._grow(len(chips))
        for made, chip in zip(self._pool, chips, strict=False):
            made.description, made.tooltip = f"{chip.words} ✕", chip.tip
        self.widget.children = [self._heading, *self._pool[: len(chips)]]
        show(self.widget, bool(chips))

    def _grow(self, n: int) -> None:
        while len(self._pool) < n:
            place = len(self._pool)
            made = button("", "", lambda place=place: self._click(place))  # type: ignore[misc]
            made.add_class("lcrs-chip")
            self._pool.append(made)

    def _click(self, place: int) -> None:
        if place >= len(self.chips):
            return
        self._remove(self.chips[place].value)
        # the next chip moves up into this button; behind the last one there is none
        if place >= len(self.chips):
            (self._pool[place - 1] if self.chips else self._home).focus()


N_SUGGESTED = 12


class HistoryPicker:
    """A search box, items to click, and what was picked so far.

    Args:
        data: the catalogue.
        noun: what an item is called.
        changed: called with the picked item ids, oldest first, after each click; whether they were
            taken (else the click changes nothing).
    """

    def __init__(self, data: Dataset, noun: str, changed: Callable[[Sequence[int]], bool]):
        self.data, self.noun = data, noun
        self.picked: list[int] = []
        self.suggested: list[int] = []
        self._changed = changed
        self.search = w.Text(description=f"Find a {noun}", placeholder="some words of its title")
        self._count = w.HTML()
        self._buttons = [
            button("", "", lambda place=place: self._click(place))  # type: ignore[misc]
            for place in range(N_SUGGESTED)
        ]
        self._chips = Chips("Your history:", lambda item: self.toggle(int(item)), self.search)
        grid = box(w.HBox, self._buttons, "lcrs-grid")
        self.widget = box(
            w.VBox,
            [
                w.HTML(render.picker_hello(noun)),
                box(w.HBox, [self.search, self._count], "lcrs-find"),
                grid,
                self._chips.widget,
            ],
            "lcrs-picker",
            "lcrs-hidden",
        )
        self.search.observe(lambda _: self._suggest(), "value")
        self.enter_key = EnterKey(self.search, self.take_first)

    @cached_property
    def _titles(self) -> TitleSearch:
        return TitleSearch(self.data)

    @property
    def is_open(self) -> bool:
        """Whether it is on the screen."""
        return "lcrs-hidden" not in self.widget._dom_classes

    def open(self, picked: Sequence[int] = ()) -> None:
        """Show it, with a history to start from."""
        self.picked, self.search.value = list(picked), ""
        self._suggest()
        show(self.widget, True)

    def close(self) -> None:
        """Take it off the screen."""
        show(self.widget, False)

    def toggle(self, item: int) -> None:
        """Pick an item, or take it out of the history again."""
        kept = [other for other in self.picked if other != item]
        wanted = kept if item in self.picked else [*kept, item]
        if self._changed(wanted):
            self.picked = wanted
            self._show()

    def take_first(self) -> None:
        """What Enter does in the search box: pick the first item that was found."""
        new = [item for item in self.suggested if item not in self.picked]
        if self.search.value.strip() and new:
            self.toggle(new[0])
            self.search.value = ""

    def _click(self, place: int) -> None:
        if place < len(self.suggested):
            self.toggle(self.suggested[place])

    def _suggest(self) -> None:
        found, n = self._titles.find(self.search.value, N_SUGGESTED)
        self.suggested = list(found)
        self._count.value = render.found(len(found), n, self.noun, bool(self.search.value.strip()))
        self._show()

    def _show(self) -> None:
        for place, made in enumerate(self._buttons):
            show(made, place < len(self.suggested))
            if place < len(self.suggested):
                item = self.suggested[place]
                label, picked = self._titles.label(item), item in self.picked
                made.description = f"✓ {label}" if picked else label
                made.tooltip = f"Take {label} out again" if picked else f"You liked {label}"
                switch(made, "lcrs-chosen", picked)
        labels = [(item, self._titles.label(item)) for item in self.picked]
        self._chips.show([Chip(str(i), label, f"Take {label} out again") for i, label in labels])


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
