"""The agenda of one simulated user: wishes to tell, reasons to refuse, a mistake to take back.

Each message is a list of acts, one sentence each, that together say at most two new things. All of
them are true of the target, with one exception: a user who changes their mind begins with a mistake
and takes it back two or three messages later.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, Self, get_args

from latentcrs_utils.constraints.constraint import Constraint
from latentcrs_utils.simulation.items import Item, shares_attribute, suits
from latentcrs_utils.simulation.phrase_book import FACTS
from latentcrs_utils.simulation.planner import (
    N_PLACES,
    NOTHING,
    SEVERAL,
    DialogueAct,
    UserGoal,
    facts_of,
    genres_of,
    one,
    use_of,
    weighted,
)

Difficulty = Literal["vague", "normal", "picky", "changes its mind"]
DIFFICULTIES: tuple[Difficulty, ...] = get_args(Difficulty)
MOST_NEW = 2  # new constraints of a message at most ("less than 3 conditions", Appendix D)
LATEST_CHANGE = 3  # number of the message, from 1, by which a mistake is taken back
_EXTRA_SHARE = 0.5


@dataclass(frozen=True)
class UserProfile:
    """How forthcoming a user is; the shares lie in [0, 1]."""

    first: int = MOST_NEW  # constraints of the first message at most
    reason: float = 0.6  # share of refusals that say why
    new_reason: float = 0.6  # share of reasons that are new, where there is a new one
    reasons: int = 1  # of one message at most
    wish: float = 0.6  # share of later messages that tell another wish
    most: int = MOST_NEW  # new constraints of a later message at most
    insists: bool = False  # tells a wish rather than nothing
    changes: bool = False  # begins with a mistake


USER_PROFILES: dict[Difficulty, UserProfile] = {
    "vague": UserProfile(first=1, reason=0.3, wish=0.4, most=1),
    "normal": UserProfile(),
    "picky": UserProfile(first=1, reason=1.0, new_reason=0.8, reasons=2, wish=0.0, insists=True),
    "changes its mind": UserProfile(changes=True),
}
"""Difficulties: ``vague`` says little and seldom why not; ``picky`` says what is wrong with the
items on offer rather than what would be right."""


@dataclass(frozen=True)
class DialogueState:
    """What the user has said so far."""

    known: tuple[Constraint, ...] = ()  # those that count, in the order in which they were said
    mistaken: Constraint | None = None  # the one among them that is not true
    changes_at: int = 0  # number of the message that takes it back, from 1

    def after(self, acts: Sequence[DialogueAct]) -> Self:
        """Return the state after a later message."""
        gone = {act.withdrawn for act in acts}
        new = (constraint for act in acts for constraint in act.constraints)
        kept = (constraint for constraint in self.known if constraint not in gone)
        mistaken = None if self.mistaken in gone else self.mistaken
        return replace(self, known=tuple(dict.fromkeys([*kept, *new])), mistaken=mistaken)


@dataclass(frozen=True)
class Agenda(UserGoal):
    """Chooses what a user says next."""

    profile: UserProfile

    def message(
        self, number: int, state: DialogueState, offered: Sequence[Item]
    ) -> tuple[list[DialogueAct], DialogueState]:
        """Choose a message, by its number from 1, and return it and the state after it.

        ``offered``, best first, does not hold the target.
        """
        if number == 1:
            return self._opening()
        if state.mistaken is not None and number >= state.changes_at:
            acts = [self._change(state, state.mistaken)]
        else:
            acts = self._answer(state, offered)
        return acts, state.after(acts)

    def _opening(self) -> tuple[list[DialogueAct], DialogueState]:
        constraints = self.first()
        # an earlier item that has nothing in common with the target would mislead alone
        if not any(c.slot == "liked" for c in constraints):
            constraints = constraints[: self.profile.first]
        mistaken = self._mistake() if self.profile.changes else None
        if mistaken is not None:
            extra = self.time() if mistaken.slot == "genre" else []
            constraints = (mistaken, *(extra if self.rng.random() < _EXTRA_SHARE else []))
        changes_at = int(self.rng.integers(2, LATEST_CHANGE + 1))
        state = DialogueState(constraints, mistaken, changes_at)
        return [DialogueAct("first", constraints)], state

    def _answer(self, state: DialogueState, offered: Sequence[Item]) -> list[DialogueAct]:
        profile = self.profile
        acts = self._reasons(state, offered) if self.rng.random() < profile.reason else []
        new = [constraint for act in acts for constraint in act.constraints]
        wishes = self.rng.random() < profile.wish or (profile.insists and not acts)
        if wishes and len(new) < profile.most:
            options = [
                (weight, act)
                for weight, act in self.later((*state.known, *new))
                if act is not NOTHING and not _touches(state.mistaken, act)
            ]
            acts += [weighted(self.rng, options)] if options else []
        return acts or [NOTHING]

    def _reasons(self, state: DialogueState, offered: Sequence[Item]) -> list[DialogueAct]:
        """Draw reasons to refuse, new ones or wishes told before, no item on offer twice."""
        new = self._new_reasons(state, offered)
        old = [
            DialogueAct(use_of(c), restated=c, kind="repeat", place=place)
            for c in state.known
            if (c.hard or c.slot in ("like", "mood")) and c != state.mistaken
            for place in self._guilty(c, offered)
        ]
        chosen: list[DialogueAct] = []
        while len(chosen) < self.profile.reasons and (new or old):
            first, other = (new, old) if self.rng.random() < self.profile.new_reason else (old, new)
            chosen.append(one(self.rng, first or other))
            last = chosen[-1]
            new, old = (
                # not about the same item again, and only once about its time
                [a for a in acts if a.place != last.place and not a.use == last.use == "time"]
                for acts in (new, old)
            )
        return chosen

    def _new_reasons(self, state: DialogueState, offered: Sequence[Item]) -> list[DialogueAct]:
        """Return the refusals that say something new: a genre, a time, a platform, a price."""
        target, refused = self.test_case.target, self.test_case.book["items"]["refused"]
        strange = set().union(*(item.genres for item in offered)) - target.genres
        unwanted = [g for g in refused if g in strange and target.genres]
        constraints = genres_of(unwanted, negated=True)
        if not any(c.attribute == "years" for c in state.known):
            constraints += self.time()
        constraints += [fact for fact in facts_of(target) if fact.slot in ("platform", "price")]
        denied = None if state.mistaken is None else state.mistaken.opposite
        return [
            DialogueAct(use_of(c), (c,), kind="refuse", place=place)
            for c in self.expressible(constraints)
            if c not in state.known and c != denied
            for place in self._guilty(c, offered)
        ]

    def _guilty(self, constraint: Constraint, offered: Sequence[Item]) -> list[int]:
        """Return, in a list, the first place (from 1) of an item known to break a constraint.

        ``SEVERAL`` where most of those on offer break it; an empty list where none does.
        """
        about = "year" if constraint.attribute == "years" else constraint.slot
        known = about if about in ("year", *FACTS) else "genres"
        items = self.test_case.catalogue.items
        places = [
            place
            for place, item in enumerate(offered[:N_PLACES], start=1)
            if getattr(item, known) and not constraint.satisfies(item, items)
        ]
        return [SEVERAL] if 2 * len(places) > len(offered) > 1 else places[:1]

    def _mistake(self) -> Constraint | None:
        """Draw what the user wrongly begins with, where something true can take its place."""
        case, target = self.test_case, self.test_case.target
        liked = [case.catalogue[int(item)] for item in case.history]
        if self.level == "by example" and case.likes:
            unlike = {i for i in liked if i.genres and not shares_attribute(i, target)}
            if others := sorted(item.item for item in unlike if case.may_be_named(item)):
                return Constraint("like", str(one(self.rng, others)))
        if self.level == "vague" and case.moods:
            moods = case.book["items"]["moods"]
            if false := [mood for mood in moods if not suits(mood, target)]:
                return Constraint("mood", one(self.rng, false))
        genres = set().union(*(item.genres for item in liked)) - target.genres
        wrong = self.expressible(genres_of(sorted(genres)))
        return one(self.rng, wrong) if wrong and self.expressible(case.genres) else None

    def _change(self, state: DialogueState, mistaken: Constraint) -> DialogueAct:
        """Take the mistake back and put something true in its place."""
        case = self.test_case
        options, denied = case.moods, list[Constraint]()
        if mistaken.slot == "genre":
            options, denied = self.expressible(case.genres), [mistaken.opposite]
        elif mistaken.slot == "like":
            options = case.likes[:1]
        true = one(self.rng, [o for o in options if o not in state.known] or options)
        new = tuple(c for c in (*denied, true) if c not in state.known)
        return DialogueAct(mistaken.slot, new, true, kind="change", withdrawn=mistaken)


def least(number: int, state: DialogueState) -> DialogueAct:
    """Choose what can be said when no other words keep the title secret: next to nothing."""
    if number == 1:
        return DialogueAct("first")
    if state.mistaken is not None and number >= state.changes_at:
        return DialogueAct("any", kind="change", withdrawn=state.mistaken)
    return NOTHING


def _touches(mistaken: Constraint | None, act: DialogueAct) -> bool:
    """Say whether an act would contradict or repeat what the user is mistaken about."""
    if mistaken is None:
        return False
    rival = mistaken.slot == act.use == "mood"
    return rival or act.restated == mistaken or mistaken.opposite in act.constraints
