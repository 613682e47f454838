"""Things that can be taken away one by one: requirements, items of a history."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import ipywidgets as w

from latentcrs_utils.widgets import html as render
from latentcrs_utils.widgets.controls import box, button, show

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
