"""Who chooses, who speaks, and choosing between them: the variants, one line each."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import ipywidgets as w

from latentcrs_utils.config import RerankConfig
from latentcrs_utils.conversation.turn import VariantName
from latentcrs_utils.conversation.wording import thing

if TYPE_CHECKING:
    from latentcrs_utils.em import LatentCRS

EXPLAINED: dict[VariantName, str] = {
    "B": "B · the recommender's best",
    "F": "F · must meet your requirements",
    "V": f"V · LLM re-orders the best {RerankConfig().n_candidates}",
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


class VariantChooser:
    """Three variants, one of them chosen.

    Args:
        value: the one that is chosen at first.
        chosen: called with the name of a newly chosen one.
    """

    def __init__(
        self,
        value: VariantName,
        chosen: Callable[[VariantName], Any],
    ):
        options = [(words, name) for name, words in EXPLAINED.items()]
        self.radio = w.RadioButtons(options=options, value=value, description="How to choose")
        self.radio.add_class("lcrs-variants")
        self.radio.observe(lambda change: chosen(change["new"]), "value")
        self.widget = self.radio

    @property
    def value(self) -> VariantName:
        """The chosen one."""
        return self.radio.value

    @value.setter
    def value(self, name: VariantName) -> None:
        self.radio.value = name
