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
from latentcrs_utils.constraints.constraint import Constraint
from latentcrs_utils.simulation.items import MOODS_OF, Item, alike, spoken_title
from latentcrs_utils.simulation.planner import (
    REFUSED_OF,
    Level,
    TestCase,
    Turn,
    can_be_named,
    choose_first,
    expressible,
    facts_of,
    genres_of,
    later_turns,
    one,
    sayable_genres,
    time_constraint,
    weighted,
)

Difficulty = Literal["vague", "normal", "picky", "changes its mind"]
DIFFICULTIES: tuple[Difficulty, ...] = get_args(Difficulty)
Kind = Literal["first", "wish", "refuse", "repeat", "change"]
MOST_NEW = 2
"""New constraints of a message at most ("less than 3 conditions", Appendix D)."""
N_PLACES = 5
SEVERAL = 0
LATEST_CHANGE = 3
"""Number of the message, from 1, by which a mistake is taken back."""


@dataclass(frozen=True)
class UserProfile:
    """How forthcoming a user is.

    Attributes:
        first: constraints of the first message at most.
        reason: how often a refusal says why.
        new_reason: how often the reason is one not given yet, where there is such a one.
        reasons: reasons of one message at most.
        wish: how often a later message tells another wish.
        most: new constraints of a later message at most.
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

    def sayable(self, constraints: Sequence[Constraint]) -> list[Constraint]:
        """Keep the constraints that can be said at this level."""
        return expressible(constraints, self.test_case.domain, plain=self.level == "plain")


@dataclass(frozen=True)
class DialogueAct:
    """One sentence to be said.

    Attributes:
        kind: first message, wish, refusal for a new reason, repeated wish, change of mind.
        turn: its use in the phrase book and its new constraints; ``restated``: what it repeats.
        place: of the refused item in the list, from 1; ``SEVERAL`` for more than half of them.
        withdrawn: the constraint that no longer counts.
    """

    kind: Kind
    turn: Turn
    place: int = SEVERAL
    withdrawn: Constraint | None = None


NOTHING = DialogueAct("wish", Turn("nothing"))


@dataclass(frozen=True)
class DialogueState:
    """What the user has said so far.

    Attributes:
        known: constraints that count, in the order in which they were said.
        mistaken: the one among them that is not true, or None.
        changes_at: number of the message that takes it back, from 1.
    """

    known: tuple[Constraint, ...] = ()
    mistaken: Constraint | None = None
    changes_at: int = 0

    def after(self, acts: Sequence[DialogueAct]) -> DialogueState:
        """Return the memory after a later message."""
        gone = {act.withdrawn for act in acts}
        new = (constraint for act in acts for constraint in act.turn.constraints)
        kept = [constraint for constraint in self.known if constraint not in gone]
        mistaken = None if self.mistaken in gone else self.mistaken
        return DialogueState(tuple(dict.fromkeys([*kept, *new])), mistaken, self.changes_at)


def opening(rng: np.random.Generator, mind: UserGoal) -> tuple[DialogueAct, DialogueState]:
    """Choose the first message, and what the user remembers of it."""
    test_case, manner, config = mind.test_case, mind.manner, mind.config
    constraints = choose_first(rng, mind.level, test_case, config)
    # an earlier item that has nothing in common with the target would mislead alone
    if not any(c.slot == "liked" for c in constraints):
        constraints = constraints[: manner.first]
    mistaken = _mistake(rng, mind) if manner.changes else None
    if mistaken is not None:
        extra = time_constraint(rng, test_case, config) if mistaken.slot == "genre" else []
        constraints = (mistaken, *(extra if rng.random() < 0.5 else []))
    changes_at = int(rng.integers(2, LATEST_CHANGE + 1))
    return DialogueAct("first", Turn("first", constraints)), DialogueState(
        constraints, mistaken, changes_at
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
    new = [constraint for act in acts for constraint in act.turn.constraints]
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
    rng: np.random.Generator,
    mind: UserGoal,
    known: Sequence[Constraint],
    mistaken: Constraint | None,
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


def _touches(mistaken: Constraint | None, turn: Turn) -> bool:
    """Say whether a turn would contradict or repeat what the user is mistaken about."""
    if mistaken is None:
        return False
    rival = mistaken.slot == turn.use == "mood"
    return rival or turn.restated == mistaken or mistaken.opposite in turn.constraints


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
    constraints = list[Constraint]()
    if target.genres:
        strange = set().union(*(film.genres for film in offered)) - target.genres
        refused = (g for g in REFUSED_OF[test_case.domain] if g in strange)
        constraints = genres_of(refused, negated=True)
    if not any(c.attribute == "years" for c in memory.known):
        constraints += time_constraint(rng, test_case, mind.config)
    constraints += [fact for fact in facts_of(target) if fact.slot in ("platform", "price")]
    denied = None if memory.mistaken is None else memory.mistaken.opposite
    return [
        DialogueAct("refuse", Turn(_use(constraint), (constraint,)), _place(guilty, len(offered)))
        for constraint in mind.sayable(constraints)
        if constraint not in memory.known and constraint != denied
        if (guilty := _guilty(constraint, offered, test_case))
    ]


def _old_reasons(
    memory: DialogueState, offered: Sequence[Item], test_case: TestCase
) -> list[DialogueAct]:
    """Return the wishes told before that an item on offer does not fulfil."""
    return [
        DialogueAct(
            "repeat", Turn(_use(constraint), restated=constraint), _place(guilty, len(offered))
        )
        for constraint in memory.known
        if constraint != memory.mistaken
        if constraint.hard or constraint.slot in ("like", "mood")
        if (guilty := _guilty(constraint, offered, test_case))
    ]


def _use(constraint: Constraint) -> str:
    """Return the use of a constraint in the phrase book."""
    if constraint.negated:
        return "not"
    return "time" if constraint.attribute == "years" else constraint.slot


def _guilty(constraint: Constraint, offered: Sequence[Item], test_case: TestCase) -> list[int]:
    """Return the places, from 1, of the offered items that are known to break a constraint."""
    known = {
        "years": "year", "platform": "platform", "creator": "creator", "price": "price",
    }.get(constraint.attribute or "", "genres")  # fmt: skip
    return [
        place
        for place, film in enumerate(offered[:N_PLACES], start=1)
        if getattr(film, known) and not constraint.satisfies(film, test_case.catalogue.films)
    ]


def _mistake(rng: np.random.Generator, mind: UserGoal) -> Constraint | None:
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
            return Constraint("like", str(one(rng, sorted(others))))
    moods = MOODS_OF[test_case.domain]
    if mind.level == "vague" and any(rule(target) for rule in moods.values()):
        false = [mood for mood, rule in moods.items() if not rule(target)]
        if false:
            return Constraint("mood", one(rng, false))
    genres = sorted(set().union(*(film.genres for film in liked)) - target.genres)
    wrong = mind.sayable(genres_of(genres))
    return one(rng, wrong) if wrong and _true_genres(mind) else None


def _alike(test_case: TestCase) -> list[Constraint]:
    """Return the earlier items that the target is like, as constraints, the likest first."""
    liked = (f.item for f in test_case.examples if alike(f, test_case.target))
    return [Constraint("like", str(item)) for item in liked]


def _true_genres(mind: UserGoal) -> list[Constraint]:
    test_case = mind.test_case
    return mind.sayable(genres_of(sayable_genres(test_case.target, test_case.domain)))


def _change(rng: np.random.Generator, mind: UserGoal, memory: DialogueState) -> DialogueAct:
    """Take the mistake back and put something true in its place."""
    mistaken = memory.mistaken
    assert mistaken is not None
    if mistaken.slot == "genre":
        options, denied = _true_genres(mind), [mistaken.opposite]
    elif mistaken.slot == "like":
        options, denied = _alike(mind.test_case)[:1], []
    else:
        moods, target = MOODS_OF[mind.test_case.domain], mind.test_case.target
        options = [Constraint("mood", m) for m, rule in moods.items() if rule(target)]
        denied = []
    true = one(rng, [o for o in options if o not in memory.known] or options)
    new = tuple(c for c in (*denied, true) if c not in memory.known)
    return DialogueAct("change", Turn(mistaken.slot, new, restated=true), withdrawn=mistaken)
