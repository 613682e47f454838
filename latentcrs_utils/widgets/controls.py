"""Who chooses, who speaks, and choosing between them: the variants, one line each."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import ipywidgets as w

from latentcrs_utils.config import RerankConfig
from latentcrs_utils.conversation.reply import thing
from latentcrs_utils.conversation.turn import VariantName
from latentcrs_utils.widgets import html as render
from latentcrs_utils.widgets.controls import box, button, switch

if TYPE_CHECKING:
    from latentcrs_utils.em.model import LatentCRS

T = TypeVar("T", bound=str)

EXPLAINED: dict[VariantName, str] = {
    "B": "B · the recommender's best",
    "F": "F · must meet your requirements",
    "V": "V · re-ordered by an LLM",
}
"""One line for each variant."""


def speaker_of(model: "LatentCRS", talker: object) -> str | None:
    """Name of the language model that speaks; None without one.

    Args:
        model: what `fit_em` returned.
        talker: as in `Conversation`.
    """
    return model.language.embedder.name if talker == "local" else getattr(talker, "name", None)


def facts(model: "LatentCRS", speaker: str | None) -> list[str]:
    """Who chooses among what, and who words the replies, in a sentence each."""
    data, noun = model.data, thing(model.data.name)
    chooses = f"{model.name} chooses among {data.n_items:,} {noun}s of {data.name}"
    words = f"{speaker}, checked; else a template." if speaker else "a template."
    return [f"{chooses} through {len(model.anchors.names)} intents.", f"Words: {words}"]


def in_full(variant: VariantName, speaker: str | None, reader: str) -> str:
    """A sentence on what a variant does.

    Args:
        variant: which one.
        speaker: name of the language model; None without one.
        reader: who reads the requirements: "lexicon", "model" or "both", or another one.
    """
    if variant == "B":
        return "The recommender alone chooses"
    if variant == "V":
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
