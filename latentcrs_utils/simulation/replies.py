"""How a simulated user says an act of its agenda: the words of refusals and changes of mind."""

from __future__ import annotations

from latentcrs_utils.simulation.agenda import N_PLACES, Act
from latentcrs_utils.simulation.items import Catalogue, spoken_title
from latentcrs_utils.simulation.phrasings import Voice, sentence
from latentcrs_utils.simulation.realization import slots_of, word_first, word_later


def word_act(voice: Voice, act: Act, catalogue: Catalogue) -> str:
    """Word one act as a sentence (a first message may take two)."""
    if act.kind == "first":
        return word_first(voice, act.turn.conditions, catalogue)
    if act.kind == "wish":
        return word_later(voice, act.turn, catalogue)
    slots = _slots(voice, act, catalogue)
    said = sentence(voice.pick("replies", act.kind, act.turn.use).format(**slots))
    if act.turn.use != "mood":
        return said
    return f"{said} {voice.pick('moods', str(act.turn.restated).partition('=')[2])}"


def word_accept(voice: Voice) -> str:
    """Word the joy of a user whose item is on offer."""
    return voice.pick("replies", "accept", "any")


def _slots(voice: Voice, act: Act, catalogue: Catalogue) -> dict[str, str]:
    """Return the words for every slot that a frame of this act may have."""
    condition = act.turn.restated or "".join(act.turn.conditions[:1])
    place = str(act.place) if 1 <= act.place <= N_PLACES else "several"
    slots = {"which": voice.pick("replies", "place", place)}
    use = act.turn.use
    if use == "like":
        slots["title"] = _title(condition, catalogue)
    elif use == "genre":
        slots["film"] = voice.genre(condition.partition("=")[2], "film")
    elif use not in ("mood", "any"):
        slots |= slots_of(voice, condition)[1]
    if act.withdrawn is not None and use == "genre":
        slots["old"] = voice.genre(act.withdrawn.partition("=")[2], "touch")
    elif act.withdrawn is not None and use == "like":
        slots["old"] = _title(act.withdrawn, catalogue)
    return slots


def _title(condition: str, catalogue: Catalogue) -> str:
    return spoken_title(catalogue[int(condition.partition("=")[2])].title)
