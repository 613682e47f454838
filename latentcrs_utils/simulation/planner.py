"""What one simulated user says about the target: constraints, turn by turn, all of them true."""

from __future__ import annotations

import zlib
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import accumulate, islice
from typing import Literal, TypeVar, get_args

import numpy as np

from latentcrs_utils.config import SimulatorConfig
from latentcrs_utils.constraints.constraint import Constraint
from latentcrs_utils.simulation.items import (
    MOODS_OF,
    Catalogue,
    Item,
    alike,
    distinctive_words,
    relations,
    shared,
    spoken_title,
)
from latentcrs_utils.simulation.phrasings import Domain, genre_names, has_other_words, phrase_book

Level = Literal["plain", "paraphrased", "by example", "vague"]
LEVELS: tuple[Level, ...] = get_args(Level)

# genres that people do refuse; "no film noir" is hardly ever said
REFUSED_OF: dict[Domain, tuple[str, ...]] = {
    "films": (
        "Action", "Animation", "Children's", "Comedy", "Crime", "Drama", "Horror", "Musical",
        "Romance", "Sci-Fi", "Thriller", "War", "Western",
    ),
    "games": (
        "Action", "Educational", "Fighting", "Horror", "Puzzle", "Racing", "Role-Playing",
        "Shooter", "Simulation", "Sports", "Strategy",
    ),
    "albums": (
        "Christmas", "Christian", "Classical", "Country", "Dance & Electronic", "Jazz", "Metal",
        "Rap & Hip-Hop", "Hardcore & Punk", "New Age", "Pop",
    ),
}  # fmt: skip
REFUSED = REFUSED_OF["films"]
_N_EXAMPLES = 10
# How often a fact of a shop's catalogue stands beside the genre (cf. SimulatorConfig's weights).
_FACT_WEIGHTS = {"platform": 2.0, "creator": 1.5, "price": 1.0}
_T = TypeVar("_T")


def generator(seed: int, *parts: int | str) -> np.random.Generator:
    """Return a generator of its own for ``parts``, so that no text depends on another."""
    numbers = [zlib.crc32(part.encode()) if isinstance(part, str) else part for part in parts]
    return np.random.default_rng([seed, *numbers])


def one(rng: np.random.Generator, options: Sequence[_T]) -> _T:
    """Draw one of the options; the same draw as ``rng.choice``, which is slower."""
    return options[int(rng.integers(len(options)))]


def weighted(rng: np.random.Generator, weights: Sequence[float]) -> int:
    """Draw an index with these weights; the same draw as ``rng.choice(n, p=...)``."""
    total = sum(weights)
    sums = list(accumulate(weight / total for weight in weights))
    return bisect_right([s / sums[-1] for s in sums], rng.random())


@dataclass(frozen=True, eq=False)
class TestCase:
    """What the user has in mind: the target, and the items liked before.

    Attributes:
        catalogue: of all items.
        target: the item to ask for.
        history: ids of the items liked before, oldest first, int [n].
    """

    catalogue: Catalogue
    target: Item
    history: np.ndarray

    @property
    def domain(self) -> Domain:
        """What the items are."""
        return self.catalogue.domain

    @cached_property
    def examples(self) -> list[Item]:
        """Return the (at most ten) earlier items to be named, the likest to the target first.

        An item whose title shares a distinctive word with the target's is never named (a sequel
        would give the target away), nor one about which nothing is known, nor one whose title
        says nothing ("Greatest Hits").
        """
        ranked = self.catalogue.nearest_items(self.history, self.target.item)
        named = (f for f in (self.catalogue[int(i)] for i in ranked) if can_be_named(f))
        safe = (f for f in named if not self.target.leaks_title(spoken_title(f.title)))
        return list(islice(safe, _N_EXAMPLES))


def can_be_named(film: Item) -> bool:
    """Say whether naming an item tells anything: its title does, and something is known of it."""
    if film.title_keywords is not None and not distinctive_words(film.title_keywords):
        return False
    return bool(film.genres or film.creator or film.platform)


@dataclass(frozen=True)
class Turn:
    """One message to be worded: its use in the phrase book and its new constraints."""

    use: str
    constraints: tuple[Constraint, ...] = ()
    restated: Constraint | None = None


@lru_cache(maxsize=1 << 17)
def sayable_genres(target: Item, domain: Domain) -> tuple[str, ...]:
    """Return the target's genres whose plain names do not give its title away."""
    names = {genre: " ".join(genre_names(genre, domain)) for genre in sorted(target.genres)}
    return tuple(genre for genre, words in names.items() if not target.leaks_title(words))


@lru_cache(maxsize=1 << 17)
def facts_of(target: Item) -> tuple[Constraint, ...]:
    """Return platform, creator and price as constraints, where known and no give-away."""
    facts = (("platform", target.platform), ("creator", target.creator), ("price", target.below))
    return tuple(
        Constraint(slot, str(value))
        for slot, value in facts
        if value is not None and not target.leaks_title(str(value))
    )


def expressible(
    constraints: Iterable[Constraint], domain: Domain, *, plain: bool
) -> list[Constraint]:
    """Keep the constraints that can be said at this level: nicknames are fewer than names."""
    return [c for c in constraints if plain or has_other_words(c.slot, c.value, domain)]


def genres_of(names: Iterable[str], *, negated: bool = False) -> list[Constraint]:
    """Return the constraints that ask for some genres, or refuse them."""
    return [Constraint("genre", name, negated) for name in names]


def time_constraint(
    rng: np.random.Generator, test_case: TestCase, config: SimulatorConfig
) -> list[Constraint]:
    """Return a decade, or a span of the nineties, as a list of one (none if unknown)."""
    target, domain = test_case.target, test_case.domain
    if domain == "films" and target.era is not None and rng.random() < config.era_share:
        return [Constraint("era", target.era)]
    known = target.decade is not None and str(target.decade) in phrase_book(domain)["eras"]
    return [Constraint("decade", str(target.decade))] if known else []


def _refusal(rng: np.random.Generator, test_case: TestCase) -> Constraint | None:
    """Draw a genre that the target does not have, unless refusing one would be odd.

    Who asks for a controller does not refuse puzzle games.
    """
    refused, genres = REFUSED_OF[test_case.domain], test_case.target.genres
    if test_case.domain != "films" and not genres & set(refused):
        return None
    return one(rng, genres_of((g for g in refused if g not in genres), negated=True))


def choose_attributes(
    rng: np.random.Generator, test_case: TestCase, config: SimulatorConfig, *, plain: bool
) -> tuple[Constraint, ...]:
    """Choose one or two constraints: genres, time, a refusal; platform, creator, price.

    The draws do not depend on ``plain``; what has no other words than the catalogue's is dropped
    where those are not to be used.
    """
    target, domain = test_case.target, test_case.domain
    sayable = sayable_genres(target, domain)
    genres = genres_of(sayable[i] for i in rng.permutation(len(sayable)))
    genres.sort(key=lambda genre: not has_other_words("genre", genre.value, domain))
    time, facts = time_constraint(rng, test_case, config), list(facts_of(target))
    if not genres and not facts:
        return tuple(time)
    first = (
        genres[0] if genres else facts.pop(weighted(rng, [_FACT_WEIGHTS[f.slot] for f in facts]))
    )
    options = [(config.genre_weight, genres[1:2]), (config.time_weight, time)]
    refusal = _refusal(rng, test_case) if target.genres else None
    options += [(config.refusal_weight, [refusal])] if refusal else []
    options += [(_FACT_WEIGHTS[fact.slot], [fact]) for fact in facts]
    options = [(weight, second) for weight, second in options if second]
    drawn = weighted(rng, [config.single_weight, *(weight for weight, _ in options)])
    second = [] if drawn == 0 else options[drawn - 1][1]
    return tuple(expressible([first, *second], domain, plain=plain))


def choose_example(
    rng: np.random.Generator, test_case: TestCase, config: SimulatorConfig
) -> tuple[Constraint, ...]:
    """Choose the likest earlier film, and perhaps a true relation to it or a second film."""
    target, examples = test_case.target, test_case.examples
    if not examples:
        return choose_attributes(rng, test_case, config, plain=False)
    first = examples[0]
    like = Constraint("like", str(first.item))
    gained = genres_of(sorted(target.genres - first.genres))
    gained += [fact for fact in facts_of(target) if fact not in facts_of(first)]
    gained = expressible(gained, test_case.domain, plain=False)
    if not alike(first, target):
        # nothing in common: naming the film alone would mislead, so a genre is said with it
        return (Constraint("liked", str(first.item)), *([one(rng, gained)] if gained else []))
    draw = rng.random()
    if draw < config.two_examples_share:
        said = shared(first, target)
        rest = [film for film in examples[1:] if alike(film, target)]
        if rest:
            second = max(rest, key=lambda film: len(shared(film, target) - said))
            return like, Constraint("like", str(second.item))
    if draw > 1 - config.relation_share:
        lost = genres_of(sorted(first.genres - target.genres), negated=True)
        lost = expressible(lost if target.genres else [], test_case.domain, plain=False)
        compared = [Constraint(slot, str(first.item)) for slot in relations(first, target)]
        true = compared + gained + lost
        if true:
            return like, one(rng, true)
    return (like,)


def choose_mood(
    rng: np.random.Generator, test_case: TestCase, config: SimulatorConfig
) -> tuple[Constraint, ...]:
    """Choose one mood that is true of the target, or none at all."""
    moods = MOODS_OF[test_case.domain]
    true = [mood for mood, rule in moods.items() if rule(test_case.target)]
    if not true or rng.random() < config.empty_vague_share:
        return ()
    return (Constraint("mood", one(rng, true)),)


def choose_first(
    rng: np.random.Generator, level: Level, test_case: TestCase, config: SimulatorConfig
) -> tuple[Constraint, ...]:
    """Choose the constraints of a first message: at most two, all true of the target."""
    if level == "by example":
        return choose_example(rng, test_case, config)
    if level == "vague":
        return choose_mood(rng, test_case, config)
    return choose_attributes(rng, test_case, config, plain=level == "plain")


def plan(
    rng: np.random.Generator,
    level: Level,
    n_turns: int,
    test_case: TestCase,
    config: SimulatorConfig,
) -> list[Turn]:
    """Plan a dialogue: a first message, then turns that add, refuse, restate or say no."""
    first = choose_first(rng, level, test_case, config)
    turns = [Turn("first", first)]
    known = list(first)
    for _ in range(n_turns - 1):
        options = later_turns(rng, level, known, test_case, config)
        turn = options[weighted(rng, [weight for weight, _ in options])][1]
        turns.append(turn)
        known += turn.constraints
    return turns


def later_turns(
    rng: np.random.Generator,
    level: Level,
    known: Sequence[Constraint],
    test_case: TestCase,
    config: SimulatorConfig,
) -> list[tuple[float, Turn]]:
    """Return what may be said next, with weights: nothing, or what is true and not said yet."""
    target, domain, plain = test_case.target, test_case.domain, level == "plain"
    options: list[tuple[float, Turn]] = [(1.0, Turn("nothing"))]
    genres = genres_of(sayable_genres(target, domain))
    fresh = [genre for genre in expressible(genres, domain, plain=plain) if genre not in known]
    if fresh:
        options.append((2.0, Turn("genre", (one(rng, fresh),))))
    time = time_constraint(rng, test_case, config)
    if time and not any(c.attribute == "years" for c in known):
        options.append((1.5, Turn("time", tuple(time))))
    refusal = _refusal(rng, test_case)
    n_refusals = sum(c.negated for c in known)
    if target.genres and refusal and refusal not in known and n_refusals < 2:
        options.append((1.5, Turn("not", (refusal,))))
    for fact in expressible(facts_of(target), domain, plain=plain):
        if fact not in known:
            options.append((_FACT_WEIGHTS[fact.slot], Turn(fact.slot, (fact,))))
    if level != "plain":
        unnamed = _unnamed(test_case, known)
        options += [(1.0, Turn("like", (unnamed[0],)))] if unnamed else []
    if level == "vague":
        moods = [Constraint("mood", m) for m, rule in MOODS_OF[domain].items() if rule(target)]
        options += [(2.0, Turn("mood", (m,))) for m in moods if m not in known][:1]
    stated = [c for c in known if c.slot == "genre" and not c.negated]
    if stated:
        options.append((1.0, Turn("restate", restated=one(rng, stated))))
    return options


def _unnamed(test_case: TestCase, known: Sequence[Constraint]) -> list[Constraint]:
    """Return the likest earlier items that were not named yet, as constraints."""
    named = test_case.examples[:3]
    likes = [Constraint("like", str(film.item)) for film in named if alike(film, test_case.target)]
    return [like for like in likes if like not in known]
