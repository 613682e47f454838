"""The agenda of one simulated user: wishes to tell, reasons to refuse, and a mind that may change.

Each message is a list of acts, one sentence each, that together say at most two new things. All of
them are true of the target, but for the one mistake that a user who changes its mind begins with
and takes back two or three messages later.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from latentcrs_utils.config import SimulatorConfig
from latentcrs_utils.simulation.items import MOODS_OF, Item, alike, holds, spoken_title
from latentcrs_utils.simulation.planner import (
    REFUSED_OF,
    Level,
    TestCase,
    Turn,
    can_be_named,
    choose_first,
    expressible,
    facts_of,
    later_turns,
    one,
    sayable_genres,
    time_condition,
    weighted,
)

Difficulty = Literal["vague", "normal", "picky", "changes its mind"]
DIFFICULTIES: tuple[Difficulty, ...] = get_args(Difficulty)
Kind = Literal["first", "wish", "refuse", "repeat", "change"]
MOST_NEW = 2
"""New conditions of a message at most ("less than 3 conditions", Appendix D)."""
N_PLACES = 5
SEVERAL = 0
_TIMES = ("decade", "era")
LATEST_CHANGE = 3
"""Number of the message, from 1, by which a mistake is taken back."""


@dataclass(frozen=True)
class UserProfile:
    """How forthcoming a user is.

    Attributes:
        first: conditions of the first message at most.
        reason: how often a refusal says why.
        new_reason: how often the reason is one not given yet, where there is such a one.
        reasons: reasons of one message at most.
        wish: how often a later message tells another wish.
        most: new conditions of a later message at most.
        insists: tells a wish rather than nothing.
        changes: begins with a mistake.
    """

    first: int = MOST_NEW
    reason: float = 0.6
    new_reason: float = 0.6
    reasons: int = 1
    wish: float = 0.6
    most: int = MOST_NEW
    insists: bool = False
    changes: bool = False


USER_PROFILES: dict[Difficulty, UserProfile] = {
    "vague": UserProfile(first=1, reason=0.3, wish=0.4, most=1),
    "normal": UserProfile(),
    "picky": UserProfile(first=1, reason=1.0, new_reason=0.8, reasons=2, wish=0.0, insists=True),
    "changes its mind": UserProfile(changes=True),
}
"""Difficulties: ``vague`` says little and seldom why not; ``picky`` says what is wrong with the
items on offer rather than what would be right."""


@dataclass(frozen=True)
class UserGoal:
    """What does not change during a dialogue.

    Attributes:
        test_case: target and history.
        level: of the language.
        manner: how forthcoming the user is.
        config: weights of the wishes.
    """

    test_case: TestCase
    level: Level
    manner: UserProfile
    config: SimulatorConfig

    def sayable(self, conditions: Sequence[str]) -> list[str]:
        """Keep the conditions that can be said at this level."""
        return expressible(conditions, self.test_case.domain, plain=self.level == "plain")


@dataclass(frozen=True)
class DialogueAct:
    """One sentence to be said.

    Attributes:
        kind: first message, wish, refusal for a new reason, repeated wish, change of mind.
        turn: its use in the phrase book and its new conditions; ``restated``: what it repeats.
        place: of the refused item in the list, from 1; ``SEVERAL`` for more than half of them.
        withdrawn: the condition that no longer counts.
    """

    kind: Kind
    turn: Turn
    place: int = SEVERAL
    withdrawn: str | None = None


NOTHING = DialogueAct("wish", Turn("nothing"))


@dataclass(frozen=True)
class DialogueState:
    """What the user has said so far.

    Attributes:
        known: conditions that count, in the order in which they were said.
        mistaken: the one among them that is not true, or None.
        changes_at: number of the message that takes it back, from 1.
    """

    known: tuple[str, ...] = ()
    mistaken: str | None = None
    changes_at: int = 0

    def after(self, acts: Sequence[DialogueAct]) -> DialogueState:
        """Return the memory after a later message."""
        gone = {act.withdrawn for act in acts}
        new = (condition for act in acts for condition in act.turn.conditions)
        kept = [condition for condition in self.known if condition not in gone]
        mistaken = None if self.mistaken in gone else self.mistaken
        return DialogueState(tuple(dict.fromkeys([*kept, *new])), mistaken, self.changes_at)


def opening(rng: np.random.Generator, mind: UserGoal) -> tuple[DialogueAct, DialogueState]:
    """Choose the first message, and what the user remembers of it."""
    test_case, manner, config = mind.test_case, mind.manner, mind.config
    conditions = choose_first(rng, mind.level, test_case, config)
    # an earlier item that has nothing in common with the target would mislead alone
    if not any(c.startswith("liked=") for c in conditions):
        conditions = conditions[: manner.first]
    mistaken = _mistake(rng, mind) if manner.changes else None
    if mistaken is not None:
        extra = time_condition(rng, test_case, config) if mistaken.startswith("genre=") else []
        conditions = (mistaken, *(extra if rng.random() < 0.5 else []))
    changes_at = int(rng.integers(2, LATEST_CHANGE + 1))
    return DialogueAct("first", Turn("first", conditions)), DialogueState(
        conditions, mistaken, changes_at
    )


def answer(
    rng: np.random.Generator,
    mind: UserGoal,
    number: int,
    memory: DialogueState,
    offered: Sequence[Item],
) -> list[DialogueAct]:
    """Choose a later message, the target not being on offer.

    Args:
        rng: of every choice.
        mind: what the user wants, and its manner.
        number: of the message, from 2.
        memory: what was said so far.
        offered: the items on offer, best first.
    """
    if memory.mistaken is not None and number >= memory.changes_at:
        return [_change(rng, mind, memory)]
    manner = mind.manner
    acts = _reasons(rng, mind, memory, offered) if rng.random() < manner.reason else []
    new = [condition for act in acts for condition in act.turn.conditions]
    wishes = rng.random() < manner.wish or (manner.insists and not acts)
    if wishes and len(new) < manner.most:
        acts += _wish(rng, mind, (*memory.known, *new), memory.mistaken)
    return acts or [NOTHING]


def least(number: int, memory: DialogueState) -> DialogueAct:
    """Choose what can be said when no other words keep the title secret: next to nothing."""
    if number == 1:
        return DialogueAct("first", Turn("first"))
    if memory.mistaken is not None and number >= memory.changes_at:
        return DialogueAct("change", Turn("any"), withdrawn=memory.mistaken)
    return NOTHING


def _wish(
    rng: np.random.Generator, mind: UserGoal, known: Sequence[str], mistaken: str | None
) -> list[DialogueAct]:
    """Draw one more wish, as a list of one; none where all is said."""
    options = [
        (weight, turn)
        for weight, turn in later_turns(rng, mind.level, known, mind.test_case, mind.config)
        if turn.use != "nothing" and not _touches(mistaken, turn)
    ]
    if not options:
        return []
    return [DialogueAct("wish", options[weighted(rng, [weight for weight, _ in options])][1])]


def _touches(mistaken: str | None, turn: Turn) -> bool:
    """Say whether a turn would contradict or repeat what the user is mistaken about."""
    if mistaken is None:
        return False
    rival = mistaken.startswith("mood=") and turn.use == "mood"
    return rival or turn.restated == mistaken or f"not {mistaken}" in turn.conditions


def _reasons(
    rng: np.random.Generator, mind: UserGoal, memory: DialogueState, offered: Sequence[Item]
) -> list[DialogueAct]:
    """Draw reasons to refuse, each true of an item on offer, no item twice."""
    manner = mind.manner
    new = _new_reasons(rng, mind, memory, offered)
    old = _old_reasons(memory, offered, mind.test_case)
    chosen: list[DialogueAct] = []
    while len(chosen) < manner.reasons and (new or old):
        first, other = (new, old) if rng.random() < manner.new_reason else (old, new)
        chosen.append(one(rng, first or other))
        last = chosen[-1]
        new, old = ([act for act in acts if not _clash(act, last)] for acts in (new, old))
    return chosen


def _clash(act: DialogueAct, other: DialogueAct) -> bool:
    """Say whether two reasons are about the same item, or both about its time."""
    return act.place == other.place or act.turn.use == other.turn.use == "time"


def _place(guilty: Sequence[int], n_offered: int) -> int:
    """Return how the guilty items are referred to: one by its place, or most of them."""
    return SEVERAL if 2 * len(guilty) > n_offered > 1 else guilty[0]


def _new_reasons(
    rng: np.random.Generator, mind: UserGoal, memory: DialogueState, offered: Sequence[Item]
) -> list[DialogueAct]:
    """Return the refusals that say something new: a genre, a time, a platform, a price."""
    test_case, target = mind.test_case, mind.test_case.target
    conditions = []
    if target.genres:
        strange = set().union(*(film.genres for film in offered)) - target.genres
        conditions = [f"not genre={g}" for g in REFUSED_OF[test_case.domain] if g in strange]
    if not any(c.partition("=")[0] in _TIMES for c in memory.known):
        conditions += time_condition(rng, test_case, mind.config)
    conditions += [fact for fact in facts_of(target) if fact.startswith(("platform=", "price="))]
    return [
        DialogueAct("refuse", Turn(_use(condition), (condition,)), _place(guilty, len(offered)))
        for condition in mind.sayable(conditions)
        if condition not in memory.known and condition != f"not {memory.mistaken}"
        if (guilty := _guilty(condition, offered, test_case))
    ]


def _old_reasons(
    memory: DialogueState, offered: Sequence[Item], test_case: TestCase
) -> list[DialogueAct]:
    """Return the wishes told before that an item on offer does not fulfil."""
    repeated = ("genre", "not genre", *_TIMES, "platform", "creator", "price", "like", "mood")
    return [
        DialogueAct(
            "repeat", Turn(_use(condition), restated=condition), _place(guilty, len(offered))
        )
        for condition in memory.known
        if condition != memory.mistaken and condition.partition("=")[0] in repeated
        if (guilty := _guilty(condition, offered, test_case))
    ]


def _use(condition: str) -> str:
    """Return the use of a condition in the phrase book."""
    kind = condition.partition("=")[0]
    return {"not genre": "not", "decade": "time", "era": "time"}.get(kind, kind)


def _guilty(condition: str, offered: Sequence[Item], test_case: TestCase) -> list[int]:
    """Return the places, from 1, of the offered items that are known to break a condition."""
    kind = condition.partition("=")[0]
    known = {
        "decade": "year", "era": "year", "platform": "platform", "creator": "creator",
        "price": "price",
    }.get(kind, "genres")  # fmt: skip
    return [
        place
        for place, film in enumerate(offered[:N_PLACES], start=1)
        if getattr(film, known) and not holds(condition, film, test_case.catalogue.films)
    ]


def _mistake(rng: np.random.Generator, mind: UserGoal) -> str | None:
    """Draw what the user wrongly begins with, where something true can take its place."""
    test_case, target = mind.test_case, mind.test_case.target
    liked = [test_case.catalogue[int(item)] for item in test_case.history]
    if mind.level == "by example" and _alike(test_case):
        others = {
            f.item
            for f in liked
            if can_be_named(f) and f.genres and not alike(f, target)
            if not target.leaks_title(spoken_title(f.title))
        }
        if others:
            return f"like={one(rng, sorted(others))}"
    moods = MOODS_OF[test_case.domain]
    if mind.level == "vague" and any(rule(target) for rule in moods.values()):
        false = [mood for mood, rule in moods.items() if not rule(target)]
        if false:
            return f"mood={one(rng, false)}"
    genres = sorted(set().union(*(film.genres for film in liked)) - target.genres)
    wrong = mind.sayable([f"genre={g}" for g in genres])
    return one(rng, wrong) if wrong and _true_genres(mind) else None


def _alike(test_case: TestCase) -> list[str]:
    """Return the earlier items that the target is like, as conditions, the likest first."""
    return [f"like={f.item}" for f in test_case.examples if alike(f, test_case.target)]


def _true_genres(mind: UserGoal) -> list[str]:
    test_case = mind.test_case
    genres = sayable_genres(test_case.target, test_case.domain)
    return mind.sayable([f"genre={g}" for g in genres])


def _change(rng: np.random.Generator, mind: UserGoal, memory: DialogueState) -> DialogueAct:
    """Take the mistake back and put something true in its place."""
    mistaken = str(memory.mistaken)
    kind = mistaken.partition("=")[0]
    if kind == "genre":
        options, denied = _true_genres(mind), [f"not {mistaken}"]
    elif kind == "like":
        options, denied = _alike(mind.test_case)[:1], []
    else:
        moods, target = MOODS_OF[mind.test_case.domain], mind.test_case.target
        options, denied = [f"mood={m}" for m, rule in moods.items() if rule(target)], []
    true = one(rng, [o for o in options if o not in memory.known] or options)
    new = tuple(c for c in (*denied, true) if c not in memory.known)
    return DialogueAct("change", Turn(kind, new, restated=true), withdrawn=mistaken)
