"""How one simulated user says it: from constraints to messages that keep the title secret."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from latentcrs_utils.constraints.constraint import Constraint
from latentcrs_utils.errors import DataError
from latentcrs_utils.simulation.agenda import N_PLACES, DialogueAct
from latentcrs_utils.simulation.items import Catalogue, Item, spoken_title
from latentcrs_utils.simulation.phrasings import Pool, Voice, sentence
from latentcrs_utils.simulation.planner import Level, Turn

_ATTEMPTS = 300
_IN_SLOT = re.compile(r"\{film\}[.?!]")
_FACTS = ("platform", "creator", "price")


class UnsayableError(DataError):
    """A turn for which every phrasing that was tried gives the target's title away."""


def _word_attributes(voice: Voice, constraints: Sequence[Constraint]) -> str:
    level = "plain" if voice.plain else "paraphrased"
    frame = voice.pick("frames", level, "ask")
    genres = [c for c in constraints if c.slot == "genre" and not c.negated]
    film = voice.genre(genres[0].value, "film") if genres else voice.thing
    tail = ""
    for constraint in constraints:
        if genres and constraint == genres[0]:
            continue
        use, slots = slots_of(voice, constraint)
        inline = _IN_SLOT.search(frame) and voice.rng.random() < 0.6
        form = voice.pick("frames", level, use, "inline" if inline else "after")
        if inline:
            film += form.format(**slots)
        else:
            tail += " " + sentence(form.format(**slots))
    return sentence(frame.format(film=film)) + tail


def slots_of(voice: Voice, constraint: Constraint) -> tuple[str, dict[str, str]]:
    """Return the use of a constraint ("genre", "not", "time" ...) and the words for its slot."""
    slot, value = constraint.slot, constraint.value
    if constraint.attribute == "years":
        return "time", {"era": voice.time(slot, value)}
    if slot in _FACTS:
        return slot, {"fact": voice.fact(slot, value)}
    return "not" if constraint.negated else "genre", {"touch": voice.genre(value, "touch")}


def _word_example(voice: Voice, constraints: Sequence[Constraint], catalogue: Catalogue) -> str:
    titles = [
        spoken_title(catalogue[c.item].title) for c in constraints if c.slot in ("like", "liked")
    ]
    if len(titles) == 2:
        frame = voice.pick("frames", "by example", "two")
        return sentence(frame.format(title=titles[0], other=titles[1]))
    relation = ""
    for constraint in constraints[1:]:
        use, slots = constraint.slot, dict[str, str]()
        if use in ("genre", *_FACTS):
            use, slots = slots_of(voice, constraint)
        relation += voice.pick("frames", "by example", use).format(**slots)
    frame = voice.pick("frames", "by example", "ask")
    return sentence(frame.format(title=titles[0], rel=relation))


def _word_mood(voice: Voice, constraints: Sequence[Constraint]) -> str:
    mood = constraints[0].value if constraints else "any"
    ask = voice.pick("frames", "vague", "ask")
    return sentence(f"{voice.pick('moods', mood)} {ask}")


def word_first(voice: Voice, constraints: Sequence[Constraint], catalogue: Catalogue) -> str:
    """Word a first message: an example, a mood (or none), or attributes."""
    if any(c.slot in ("like", "liked") for c in constraints):
        return _word_example(voice, constraints, catalogue)
    if not constraints or constraints[0].slot == "mood":
        return _word_mood(voice, constraints)
    return _word_attributes(voice, constraints)


def word_later(voice: Voice, turn: Turn, catalogue: Catalogue) -> str:
    """Word a later message that adds, refuses, restates, names an example or merely says no."""
    if turn.use == "mood":
        return voice.pick("moods", turn.constraints[0].value)
    slots: dict[str, str] = {}
    if turn.use in ("genre", "not", "time", *_FACTS):
        _, slots = slots_of(voice, turn.constraints[0])
    elif turn.use == "like":
        slots = {"title": spoken_title(catalogue[turn.constraints[0].item].title)}
    elif turn.restated is not None:
        slots = {"film": voice.genre(turn.restated.value, "film")}
    return sentence(voice.pick("frames", "later", turn.use).format(**slots))


def word(
    rng: np.random.Generator,
    level: Level,
    turns: Sequence[Turn],
    phrasing: Pool,
    target: Item,
    catalogue: Catalogue,
) -> list[str]:
    """Word the turns of a dialogue, none of which gives the target's title away.

    Raises:
        UnsayableError: no wording of some turn avoids the title; plan another dialogue.
    """
    voice = Voice(rng, phrasing, catalogue.domain, plain=level == "plain")
    said: list[str] = []
    for turn in turns:
        if turn.use == "first":
            write = partial(word_first, voice, turn.constraints, catalogue)
        else:
            write = partial(word_later, voice, turn, catalogue)
        message = first_clean(write, said, target)
        if message is None:
            said_of = ", ".join(map(str, turn.constraints))
            raise UnsayableError(
                f"No phrasing of {said_of!r} avoids the title {target.title!r}: add "
                "phrases to simulation/phrase_books."
            )
        said.append(message)
    return said


def first_clean(write: Callable[[], str], said: Sequence[str], target: Item) -> str | None:
    """Return a message that keeps the title secret and, if it can, opens unlike those before."""
    openings = {text.split()[0] for text in said}
    before = " ".join(said)
    fallback = None
    for attempt in range(_ATTEMPTS):
        text = write()
        if text in said or target.leaks_title(f"{before} {text}"):
            continue
        if text.split()[0] not in openings:
            return text
        fallback = fallback or text
        if attempt >= 5:
            break
    return fallback


def word_act(voice: Voice, act: DialogueAct, catalogue: Catalogue) -> str:
    """Word one act as a sentence (a first message may take two)."""
    if act.kind == "first":
        return word_first(voice, act.turn.constraints, catalogue)
    if act.kind == "wish":
        return word_later(voice, act.turn, catalogue)
    slots = _slots(voice, act, catalogue)
    said = sentence(voice.pick("replies", act.kind, act.turn.use).format(**slots))
    if act.turn.use != "mood" or act.turn.restated is None:
        return said
    return f"{said} {voice.pick('moods', act.turn.restated.value)}"


def word_accept(voice: Voice) -> str:
    """Word the joy of a user whose item is on offer."""
    return voice.pick("replies", "accept", "any")


def _slots(voice: Voice, act: DialogueAct, catalogue: Catalogue) -> dict[str, str]:
    """Return the words for every slot that a frame of this act may have."""
    said = [act.turn.restated] if act.turn.restated else [*act.turn.constraints[:1]]
    place = str(act.place) if 1 <= act.place <= N_PLACES else "several"
    slots = {"which": voice.pick("replies", "place", place)}
    use = act.turn.use
    for constraint in said:
        if use == "like":
            slots["title"] = spoken_title(catalogue[constraint.item].title)
        elif use == "genre":
            slots["film"] = voice.genre(constraint.value, "film")
        elif use != "mood":
            slots |= slots_of(voice, constraint)[1]
    if act.withdrawn is not None and use == "genre":
        slots["old"] = voice.genre(act.withdrawn.value, "touch")
    elif act.withdrawn is not None and use == "like":
        slots["old"] = spoken_title(catalogue[act.withdrawn.item].title)
    return slots
