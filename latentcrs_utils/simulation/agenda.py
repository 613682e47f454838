"""The agenda of one simulated user: what is said of the target, message by message.

An `Agenda` plans a dialogue in advance or answers the items on offer. A message is a list of acts,
one sentence each, that say at most two new things, all true of the target; only a user who changes
their mind begins with a mistake and takes it back by the third message.
"""

import zlib
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import accumulate, islice
from typing import Any, Literal, Self, TypeVar, get_args

import numpy as np

from latentcrs_utils.config import SimulatorConfig
from latentcrs_utils.constraints.constraint import Constraint
from latentcrs_utils.simulation.items import PRICE_STEPS, Catalogue, Item, shares_attribute
from latentcrs_utils.simulation.phrase_book import FACTS, genre_names, has_other_words, phrase_book
from latentcrs_utils.simulation.titles import distinctive_words, spoken_title

Level = Literal["plain", "paraphrased", "by example", "vague"]
LEVELS: tuple[Level, ...] = get_args(Level)
Difficulty = Literal["vague", "normal", "picky", "changes its mind"]
DIFFICULTIES: tuple[Difficulty, ...] = get_args(Difficulty)
MOST_NEW = 2  # new constraints of a message at most ("less than 3 conditions", Appendix D)
LATEST_CHANGE = 3  # number of the message, from 1, by which a mistake is taken back
_EXTRA_SHARE = 0.5
N_PLANS = 20  # tried at most; the second or third can nearly always be worded without the title
N_PLACES = 5  # places of the list of offers that a user points at
SEVERAL = 0
_N_EXAMPLES = 10
_N_UNNAMED = 3
# How often a fact of a shop's catalogue is said beside the genre (cf. SimulatorConfig's weights).
_FACT_WEIGHTS = {"platform": 2.0, "creator": 1.5, "price": 1.0}
_T = TypeVar("_T")


def generator(seed: int, *parts: int | str) -> np.random.Generator:
    """Return a generator of its own for ``parts``, so that no text depends on another."""
    numbers = [zlib.crc32(part.encode()) if isinstance(part, str) else part for part in parts]
    return np.random.default_rng([seed, *numbers])


def one(rng: np.random.Generator, options: Sequence[_T]) -> _T:
    """Draw one of the options; the same draw as ``rng.choice``, which is slower."""
    return options[int(rng.integers(len(options)))]


def weighted(rng: np.random.Generator, options: Sequence[tuple[float, _T]]) -> _T:
    """Draw one of the (weight, option) pairs; the same draw as ``rng.choice(n, p=...)``."""
    total = sum(weight for weight, _ in options)
    sums = list(accumulate(weight / total for weight, _ in options))
    return options[bisect_right([s / sums[-1] for s in sums], rng.random())][1]


@dataclass(frozen=True)
class DialogueAct:
    """One sentence to be said: a wish, a refusal with its reason, or a change of mind."""

    use: str  # entry in the phrase book, such as "first", "genre", "not", "nothing"
    constraints: tuple[Constraint, ...] = ()  # what was not said before
    restated: Constraint | None = None
    # "refuse" gives a new reason, "repeat" an earlier wish as the reason
    kind: Literal["wish", "refuse", "repeat", "change"] = "wish"
    place: int = SEVERAL  # of the refused item in the list, from 1; SEVERAL: of more than half
    withdrawn: Constraint | None = None  # counts no longer


NOTHING = DialogueAct("nothing")


def use_of(constraint: Constraint) -> str:
    """Return the entry of the phrase book that words a constraint."""
    if constraint.negated:
        return "not"
    return "time" if constraint.attribute == "years" else constraint.slot


def genres_of(names: Iterable[str], *, negated: bool = False) -> list[Constraint]:
    """Return the constraints that ask for some genres, or refuse them."""
    return [Constraint("genre", name, negated) for name in names]


def can_be_named(item: Item) -> bool:
    """Say whether a title tells anything ("Greatest Hits" does not) and its item is known."""
    telling = item.title_keywords is None or distinctive_words(item.title_keywords)
    return bool(telling and (item.genres or item.creator or item.platform))


def facts_of(item: Item) -> list[Constraint]:
    """Return platform, creator and the round sum above the price, where no give-away."""
    above = next((step for step in PRICE_STEPS if item.price and item.price < step), None)
    values = zip(FACTS, (item.platform, item.creator, above), strict=True)
    known = [Constraint(slot, str(value)) for slot, value in values if value is not None]
    return [fact for fact in known if not item.leaks_title(fact.value)]


@dataclass(frozen=True, eq=False)
class TestCase:
    """What a user has in mind, and what is true of it."""

    __test__ = False  # the name misleads pytest

    catalogue: Catalogue
    target: Item
    history: np.ndarray  # ids of the items liked before, oldest first, int [n]

    @cached_property
    def book(self) -> dict[str, Any]:
        """The phrase book of the domain."""
        return phrase_book(self.catalogue.domain)

    @cached_property
    def examples(self) -> list[Item]:
        """The (at most ten) items to name: by shared attributes, genres (Jaccard), recency."""
        target = self.target

        def likeness(item: Item) -> tuple[int, float]:
            common, either = item.genres & target.genres, item.genres | target.genres
            return len(item.attributes & target.attributes), len(common) / max(len(either), 1)

        # the sort is stable, so that of equally like items the most recent one comes first
        recent_first = [self.catalogue[int(item)] for item in self.history[::-1]]
        ranked = sorted(recent_first, key=likeness, reverse=True)
        return list(islice(filter(self.may_be_named, ranked), _N_EXAMPLES))

    def may_be_named(self, item: Item) -> bool:
        """Say whether naming an item tells something, but not the target's title, as a sequel's."""
        return can_be_named(item) and not self.target.leaks_title(spoken_title(item.title))

    @cached_property
    def genres(self) -> list[Constraint]:
        """The target's genres whose plain names do not give its title away."""
        domain = self.catalogue.domain
        words = {g: " ".join(genre_names(g, domain)) for g in sorted(self.target.genres)}
        return genres_of(g for g, said in words.items() if not self.target.leaks_title(said))

    @cached_property
    def moods(self) -> list[Constraint]:
        """The moods that suit the target."""
        moods = self.book["items"]["moods"]
        return [Constraint("mood", mood) for mood in moods if self.target.suits(mood)]

    @cached_property
    def likes(self) -> list[Constraint]:
        """The examples that share an attribute with the target, the likest first."""
        alike = (item for item in self.examples if shares_attribute(item, self.target))
        return [Constraint("like", str(item.item)) for item in alike]


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
class Agenda:
    """What one user wants and says next; every choice is drawn from ``rng``."""

    test_case: TestCase
    level: Level
    config: SimulatorConfig
    rng: np.random.Generator
    profile: UserProfile = UserProfile()

    def expressible(self, constraints: Iterable[Constraint]) -> list[Constraint]:
        """Keep the constraints that can be said at this level: nicknames are fewer than names."""
        plain, domain = self.level == "plain", self.test_case.catalogue.domain
        return [c for c in constraints if plain or has_other_words(c.slot, c.value, domain)]

    def time(self) -> list[Constraint]:
        """Draw a decade, or a span of the nineties, as a list of one (none if unknown)."""
        target, eras = self.test_case.target, self.test_case.book["eras"]
        if target.era in eras and self.rng.random() < self.config.era_share:
            return [Constraint("era", str(target.era))]
        decade = str(target.decade)
        return [Constraint("decade", decade)] if decade in eras else []

    def refusal(self) -> list[Constraint]:
        """Draw a genre that people refuse and the target does not have, as a list of one."""
        # who asks for a controller does not refuse puzzle games
        about, genres = self.test_case.book["items"], self.test_case.target.genres
        odd = about.get("refused_among_themselves") and genres.isdisjoint(about["refused"])
        options = [g for g in about["refused"] if g not in genres and not odd]
        return genres_of([one(self.rng, options)], negated=True) if options else []

    def first(self) -> tuple[Constraint, ...]:
        """Choose the constraints of a first message: at most two, all true of the target."""
        if self.level == "by example":
            return self._first_example()
        if self.level != "vague":
            return self._first_attributes()
        moods = self.test_case.moods
        nothing = not moods or self.rng.random() < self.config.empty_vague_share
        return () if nothing else (one(self.rng, moods),)

    def _first_attributes(self) -> tuple[Constraint, ...]:
        """Choose one or two constraints, by the same draws at every level."""
        case, config = self.test_case, self.config
        genres = [case.genres[i] for i in self.rng.permutation(len(case.genres))]
        genres.sort(key=lambda g: not has_other_words(g.slot, g.value, case.catalogue.domain))
        time = self.time()
        facts = [(_FACT_WEIGHTS[fact.slot], fact) for fact in facts_of(case.target)]
        if not genres and not facts:
            return tuple(time)
        first = genres[0] if genres else weighted(self.rng, facts)
        options = [
            (config.single_weight, list[Constraint]()),
            (config.genre_weight, genres[1:2]),
            (config.time_weight, time),
            (config.refusal_weight, self.refusal() if case.target.genres else []),
            *((weight, [fact]) for weight, fact in facts if fact != first),
        ]
        second = weighted(self.rng, [options[0], *(option for option in options if option[1])])
        return tuple(self.expressible([first, *second]))

    def _first_example(self) -> tuple[Constraint, ...]:
        """Choose the likest earlier item, and perhaps a true relation to it or a second item."""
        case, target = self.test_case, self.test_case.target
        if not case.examples:
            return self._first_attributes()
        first, *others = case.examples
        facts = [fact for fact in facts_of(target) if fact not in facts_of(first)]
        gained = self.expressible([*genres_of(sorted(target.genres - first.genres)), *facts])
        if not shares_attribute(first, target):
            # nothing in common: naming the item alone would mislead, so a genre is said with it
            liked = Constraint("liked", str(first.item))
            return (liked, *([one(self.rng, gained)] if gained else []))
        like, draw = Constraint("like", str(first.item)), self.rng.random()
        others = [item for item in others if shares_attribute(item, target)]
        if others and draw < self.config.two_examples_share:
            missing = target.attributes - first.attributes
            second = max(others, key=lambda item: len(item.attributes & missing))
            return like, Constraint("like", str(second.item))
        if draw > 1 - self.config.relation_share:
            lost = genres_of(sorted(first.genres - target.genres), negated=True)
            lost = self.expressible(lost if target.genres else [])
            compared = [Constraint(slot, str(first.item)) for slot in target.relations_to(first)]
            if true := [*compared, *gained, *lost]:
                return like, one(self.rng, true)
        return (like,)

    def later(self, known: Sequence[Constraint]) -> list[tuple[float, DialogueAct]]:
        """Return what may be said next, with weights: nothing, or what is true and not said yet."""
        case, options = self.test_case, [(1.0, NOTHING)]

        def add(weight: float, constraints: Iterable[Constraint]) -> None:
            options.extend((weight, DialogueAct(use_of(c), (c,))) for c in constraints)

        if fresh := [genre for genre in self.expressible(case.genres) if genre not in known]:
            add(2.0, [one(self.rng, fresh)])
        time = self.time()
        if not any(c.attribute == "years" for c in known):
            add(1.5, time)
        refusal = self.refusal()
        if case.target.genres and sum(c.negated for c in known) < 2:
            add(1.5, [c for c in refusal if c not in known])
        for fact in self.expressible(facts_of(case.target)):
            add(_FACT_WEIGHTS[fact.slot], [fact] if fact not in known else [])
        if self.level != "plain":
            named = [str(item.item) for item in case.examples[:_N_UNNAMED]]
            add(1.0, [c for c in case.likes if c.value in named and c not in known][:1])
        if self.level == "vague":
            add(2.0, [mood for mood in case.moods if mood not in known][:1])
        if stated := [c for c in known if c.slot == "genre" and not c.negated]:
            options.append((1.0, DialogueAct("restate", restated=one(self.rng, stated))))
        return options

    def plan(self, n_turns: int) -> list[DialogueAct]:
        """Plan a dialogue: a first message, then turns that add, refuse, restate or say no."""
        acts = [DialogueAct("first", self.first())]
        known = list(acts[0].constraints)
        for _ in range(n_turns - 1):
            acts.append(weighted(self.rng, self.later(known)))
            known += acts[-1].constraints
        return acts

    def message(
        self, number: int, state: DialogueState, offered: Sequence[Item]
    ) -> tuple[list[DialogueAct], DialogueState]:
        """Choose a message, by number from 1, and the state after it; the target is not offered."""
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
        return [DialogueAct("first", constraints)], DialogueState(constraints, mistaken, changes_at)

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
            if (c.attribute or c.slot in ("like", "mood")) and c != state.mistaken
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
        """Return the first place (from 1) of an item known to break a constraint, or `SEVERAL`."""
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
        false = [mood for mood in case.book["items"]["moods"] if not target.suits(mood)]
        if self.level == "vague" and case.moods and false:
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
