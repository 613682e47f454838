"""Building a history by clicking items, for somebody whom the data does not know."""

from collections.abc import Callable, Sequence
from functools import cached_property

import ipywidgets as w

from latentcrs_utils.data.sequences import Dataset
from latentcrs_utils.widgets import html as render
from latentcrs_utils.widgets.controls import (
    Chip,
    Chips,
    EnterKey,
    TitleSearch,
    box,
    button,
    show,
    switch,
)

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
