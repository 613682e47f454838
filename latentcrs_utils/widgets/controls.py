"""The controls of the chat: choices, chips, the history picker and the simulated user's panel."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache, partial
from typing import Any

import ipywidgets as w
from rapidfuzz.distance import OSA

from latentcrs_utils.baselines.popularity import popularity
from latentcrs_utils.constraints.constraint import matcher_for
from latentcrs_utils.constraints.vocabulary import vocabulary_for
from latentcrs_utils.conversation.autopilot import MAX_TURNS, Autopilot, make_autopilot
from latentcrs_utils.conversation.in_words import words_of
from latentcrs_utils.conversation.policies import best_items, untitled
from latentcrs_utils.conversation.session import Conversation
from latentcrs_utils.conversation.turn import describe, shown
from latentcrs_utils.data.sequences import Dataset
from latentcrs_utils.ranking import mask_items
from latentcrs_utils.simulation.agenda import DIFFICULTIES, LEVELS
from latentcrs_utils.simulation.titles import spoken_words
from latentcrs_utils.widgets import html

WORDS = words_of("chat", "widgets")
N_SUGGESTED = 12
_LONGEST_QUERY = 100  # longer than any title that somebody types
_PUSHES = {True: "more", False: "less"}
_N_READY = 6  # chips made before they are needed, in the thread of the callbacks


def box(kind: type[w.Box], children: Iterable[w.Widget], *styles: str) -> w.Box:
    """A container with style classes."""
    return kind(list(children), _dom_classes=styles)


def button(name: str, tip: str, act: Callable[[], object], style: str = "") -> w.Button:
    """A button, never disabled: one that goes dead under the finger takes the focus along."""
    made = w.Button(description=name, tooltip=tip, _dom_classes=(style,) * bool(style))
    made.on_click(lambda _: act())
    return made


def switch(widget: w.DOMWidget, style: str, on: bool) -> None:
    """Give a widget a style class, or take it away; with "lcrs-hidden" Tab passes it over."""
    (widget.add_class if on else widget.remove_class)(style)


def tick(made: w.Button, words: str, on: bool, tip_on: str, tip_off: str) -> None:
    """Label a button that is chosen or not."""
    made.description, made.tooltip = map(shown, (f"✓ {words}", tip_on) if on else (words, tip_off))
    switch(made, "lcrs-chosen", on)


def close(widget: w.Widget) -> None:
    """Close a widget and all below it, so that long sessions do not pile up."""
    for child in getattr(widget, "children", ()):
        close(child)
    widget.close()


class OneOf:
    """Some buttons (value -> words) of which one is chosen; `chosen` is told of each new choice.

    Radio buttons and lists would need a mouse: JupyterLab takes arrow keys and letters for itself.
    """

    def __init__(
        self, name: str, options: Mapping[Any, str], value: Any,
        chosen: Callable[[Any], object] = lambda _: None,
    ):  # fmt: skip
        self.options, self.value, self._chosen = options, value, chosen
        self._buttons = {name: button("", "", partial(self.choose, name)) for name in options}
        children = [w.HTML(html.small(name)), *self._buttons.values()]
        self.widget = box(w.HBox, children, "lcrs-one-of")
        self._mark(value)

    def choose(self, value: Any) -> None:
        """Choose a value, as its button does."""
        if value != self.value:
            self._mark(value)
            self._chosen(value)

    def _mark(self, chosen: Any) -> None:
        self.value = chosen
        for value, made in self._buttons.items():
            words = self.options[value]
            tick(made, words, value == chosen, f"{words}: chosen", f"Choose {words}")


class IntentBars:
    """The leading intents: each has its bar, some films, and buttons for more of it or for none.

    `push` is called with a name and whether more is wanted; `members` gives titles of an intent.
    """

    def __init__(self, push: Callable[[str, bool], object], members: html.Members):
        self._push, self._members, self._rest = push, members, w.HTML()
        self._rows = []
        for place in range(html.N_BARS):
            pair = {more: button("", "", partial(self._press, place, more)) for more in _PUSHES}
            bar, row = w.HTML(), box(w.HBox, pair.values(), "lcrs-push")
            self._rows.append((box(w.VBox, [bar, row], "lcrs-bar"), bar, pair))
        head = w.HTML(html.panel("panel", *WORDS["bars"].values()))
        self.widget = box(w.VBox, [head, *(row for row, *_ in self._rows), self._rest], "lcrs-bars")

    def show(self, after: html.Shares, before: html.Shares | None, n_intents: int,
             pushed: Mapping[str, bool]) -> None:  # fmt: skip
        """Show p(m | S, x) as it is and was, and which of the K intents are pushed."""
        self._names = html.leading(after)
        bars, self._rest.value = html.intent_bars(after, before, n_intents, self._members)
        for place, (row, _, _) in enumerate(self._rows):
            switch(row, "lcrs-hidden", place >= len(bars))
        for name, value, (_, bar, pair) in zip(self._names, bars, self._rows, strict=False):
            bar.value = value
            for more, made in pair.items():
                words, tip = WORDS["pushes"][_PUSHES[more]]
                tick(made, words, pushed.get(name) is more, *(tip.format(name),) * 2)

    def _press(self, place: int, more: bool) -> None:
        self._push(self._names[place], more)


class Chips:
    """Chips after a heading, with a `mark` behind the words; `click` gets the value of one."""

    def __init__(self, name: str, click: Callable[[Any], object], mark: str = " ✕"):
        self._clicked, self._mark = click, mark
        self._heading, self._pool = w.HTML(html.small(name)), list[w.Button]()
        self.widget = box(w.HBox, [], "lcrs-chips")
        self.show({})

    def show(self, chips: Mapping[Any, tuple[str, str]]) -> None:
        """Show these chips (value -> words and tip) and no others."""
        self.chips = chips
        for place in range(len(self._pool), max(_N_READY, len(chips))):
            self._pool.append(button("", "", partial(self._click, place), "lcrs-chip"))
        for made, (name, tip) in zip(self._pool, chips.values(), strict=False):
            made.description, made.tooltip = shown(f"{name}{self._mark}"), shown(tip)
        self.widget.children = [self._heading, *self._pool[: len(chips)]]
        switch(self.widget, "lcrs-hidden", not chips)

    def _click(self, place: int) -> None:
        if place < len(self.chips):
            self._clicked(list(self.chips)[place])


@lru_cache(maxsize=2)
def _spelled_titles(data: Dataset) -> dict[int, str]:
    """Title and year of the named items as words between spaces, the best known item first."""
    known, twins = mask_items(popularity(data), untitled(data)), matcher_for(data).catalogue.twins
    named = best_items(known, data.n_items, twins)
    return {item: f" {' '.join(spoken_words(describe(data, item).label))} " for item in named}


def find_titles(data: Dataset, query: str, n: int) -> tuple[list[int], int]:
    """The n most often liked items with a query's words in their titles, and the number of all.

    The last word may be a beginning; where nothing is found, words may be misspelt.
    """
    *whole, last = spoken_words(query[:_LONGEST_QUERY]) or [""]
    if query.strip() and not last:
        return [], 0
    parts, titles = [f" {last}", *(f" {word} " for word in whole)], _spelled_titles(data)
    found = [item for item, title in titles.items() if all(part in title for part in parts)]
    if not found:  # perhaps it is misspelt
        known, near = {word for title in titles.values() for word in title.split()}, []
        for word in (*whole, last):
            slips = 0 if len(word) < 4 or not word.isalpha() else 1 + (len(word) >= 8)
            near.append({other for other in known if OSA.distance(word, other) <= slips})
        linked = (v for title in vocabulary_for(data).titles.find(query) for v in title.items)
        alike = (v for v, title in titles.items() if all(w & {*title.split()} for w in near))
        found = [v for v in dict.fromkeys((*linked, *alike)) if v in titles]
    return found[:n], len(found)


class HistoryPicker:
    """A search for items to click; `pick` gets the wanted, oldest first, and shows those taken."""

    def __init__(self, data: Dataset, noun: str, pick: Callable[[list[int]], object]):
        self.data, self.noun, self._pick = data, noun, pick
        self._same = matcher_for(data).catalogue.same  # an item under all its ids
        self.picked, self.suggested = list[int](), list[int]()
        self.search = w.Text(description=f"Find a {noun}", placeholder="some words of its title")
        self._count = w.HTML()
        self._buttons = [button("", "", partial(self._click, n)) for n in range(N_SUGGESTED)]
        self._chips = Chips("Your history:", self.toggle)
        hello = WORDS["picker"]["hello"].format(noun=noun)
        find = box(w.HBox, [self.search, self._count], "lcrs-find")
        grid = box(w.HBox, self._buttons, "lcrs-grid")
        rows = [w.HTML(html.small(hello)), find, grid, self._chips.widget]
        self.widget = box(w.VBox, rows, "lcrs-picker")
        self.display(False)
        self.search.observe(lambda _: self._suggest(), "value")

    def display(self, is_open: bool) -> None:
        """Show it, with the best known items to begin with, or take it off the screen."""
        self.is_open = is_open
        switch(self.widget, "lcrs-hidden", not is_open)
        if is_open:
            self.search.value = ""
            self._suggest()
            self.search.focus()

    def toggle(self, item: int) -> None:
        """Pick an item, or take it out of the history again."""
        same = self._same([item])
        kept = [other for other in self.picked if other not in same]
        self._pick(kept if len(kept) < len(self.picked) else [*kept, item])

    def take(self, query: str) -> bool:
        """What Enter does in the search box: pick the first item that a query finds."""
        self.search.value = query
        taken = self._same(self.picked)
        new = [item for item in self.suggested if item not in taken]
        if query.strip() and new:
            self.toggle(new[0])
            self.search.value = ""
        return bool(new)

    def show(self, picked: Sequence[int]) -> None:
        """Show the items to click and those that were picked, oldest first."""
        self.picked, taken = list(picked), self._same(picked)
        for place, made in enumerate(self._buttons):
            switch(made, "lcrs-hidden", place >= len(self.suggested))
            if place < len(self.suggested):
                chosen = self.suggested[place] in taken
                label = describe(self.data, self.suggested[place]).label
                tick(made, label, chosen, f"Take {label} out again", f"You liked {label}")
        labels = {item: describe(self.data, item).label for item in self.picked}
        self._chips.show({i: (label, f"Take {label} out again") for i, label in labels.items()})

    def _click(self, place: int) -> None:
        if place < len(self.suggested):
            self.toggle(self.suggested[place])

    def _suggest(self) -> None:
        self.suggested, n = find_titles(self.data, self.search.value, N_SUGGESTED)
        found = "many" if n > N_SUGGESTED else "some" if n else "none"
        told = WORDS["picker"][found if self.search.value.strip() else "all"]
        told = told.format(n=n, noun=self.noun, n_suggested=N_SUGGESTED)
        self._count.value = html.small(told, role="status")
        self.show(self.picked)


class Driver:
    """The panel of the simulated user; `drive` is called to go on, with whether to the end."""

    def __init__(self, noun: str, drive: Callable[[bool], object]):
        # who drives, or drove last; None if nobody did or it left
        self.autopilot: Autopilot | None = None
        self.words, self._shows_goal, self._n_begun = "", False, 0
        self.asked: object = None  # the events of the conversation when it was pressed last
        self.difficulty = OneOf("Difficulty", {name: name for name in DIFFICULTIES}, "normal")
        self.level = OneOf("Wording", {name: name for name in LEVELS}, "paraphrased")
        words, acts = WORDS["driver"], {"one": lambda: drive(False), "all": lambda: drive(True)}
        acts["goal"] = lambda: self.report(True)
        buttons = [button(words[n][0], words[n][1].format(noun), act) for n, act in acts.items()]
        self._line = w.HTML()
        rows = [
            w.HTML(html.panel("panel", "Let a simulated user drive", words["hello"].format(noun))),
            box(w.VBox, [self.difficulty.widget, self.level.widget], "lcrs-settings"),
            self._line,  # above the buttons, so that it is seen with them
            box(w.HBox, buttons, "lcrs-actions"),
        ]
        self.widget = box(w.VBox, rows, "lcrs-drive")

    def steps_left(self, conversation: Conversation) -> int:
        """How many messages the one who drives this conversation has left; 0 if nobody does."""
        pilot = self.autopilot
        if pilot is None or pilot.outcome or pilot.conversation is not conversation:
            return 0
        return MAX_TURNS - pilot.n_turns

    def begin(self, conversation: Conversation) -> None:
        """Let a new simulated user, of the chosen kind, take over; `DataError` if nobody can."""
        difficulty, level, seed = self.difficulty.value, self.level.value, self._n_begun
        self.autopilot = make_autopilot(conversation, difficulty=difficulty, level=level, seed=seed)
        self._n_begun, self._shows_goal = self._n_begun + 1, False
        self.report()

    def leave(self) -> None:
        """The simulated user goes, because somebody else speaks."""
        if self.autopilot is not None and not self.autopilot.outcome:
            self.autopilot = None
            self._tell("The simulated user has left, for you took over.")

    def report(self, with_goal: bool = False) -> None:
        """Say how far the simulated user is; at the end, or from now on, also what it looks for."""
        pilot, self._shows_goal = self.autopilot, self._shows_goal or with_goal
        if pilot is None:
            return self._tell("Nobody is driving: press One step first.")
        goal = f" It has {pilot.goal} in mind." if self._shows_goal else ""
        done = f"It has talked for {pilot.turns} of at most {MAX_TURNS}.{goal}"
        self._tell(pilot.verdict if pilot.outcome else done)

    def _tell(self, words: str) -> None:
        self.words, self._line.value = words, html.small(words, role="status")
