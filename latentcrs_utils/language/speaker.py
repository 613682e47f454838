"""One simulated user: what to say about the target (conditions), and how (phrasings)."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache, partial
from itertools import islice
from typing import Literal, get_args

import numpy as np

from ..config import SimulatorConfig
from ..errors import DataError
from .conditions import MOODS, Film, overlap, relations, shared
from .titles import leaks, spoken_title
from .wording import Pool, genre_names, genre_phrase, phrase_book, pick, sentence, time_phrase

Level = Literal["plain", "paraphrased", "by example", "vague"]
LEVELS: tuple[Level, ...] = get_args(Level)

# genres that people do refuse; "no film noir" is hardly ever said
REFUSED = (
    "Action", "Animation", "Children's", "Comedy", "Crime", "Drama", "Horror", "Musical",
    "Romance", "Sci-Fi", "Thriller", "War", "Western",
)  # fmt: skip
_ATTEMPTS = 300
_N_EXAMPLES = 10


@dataclass(frozen=True)
class Situation:
    """What the user has in mind: the target, and the films liked before, oldest first."""

    target: Film
    history: Sequence[Film]

    @cached_property
    def examples(self) -> list[Film]:
        """Return the (at most ten) earlier films to be named, the likest to the target first.

        Likeness: number of shared attributes, then overlap of genres, then recency. A film
        whose title shares a distinctive word with the target's is never named (a sequel would
        give the target away), nor is one about which nothing is known.
        """
        ranked = sorted(
            range(len(self.history)),
            key=lambda i: (
                len(shared(self.history[i], self.target)),
                overlap(self.history[i], self.target),
                i,
            ),
            reverse=True,
        )
        known = (self.history[i] for i in ranked if self.history[i].genres)
        safe = (f for f in known if not leaks(spoken_title(f.title), self.target.title))
        return list(islice(safe, _N_EXAMPLES))


@dataclass(frozen=True)
class Turn:
    """One message to be worded: its use in the phrase book and its new conditions."""

    use: str
    conditions: tuple[str, ...] = ()
    restated: str | None = None


@lru_cache(maxsize=4096)
def _sayable_genres(target: Film) -> tuple[str, ...]:
    """Return the target's genres whose plain names do not give its title away."""
    names = {genre: " ".join(genre_names(genre)) for genre in sorted(target.genres)}
    return tuple(genre for genre, words in names.items() if not leaks(words, target.title))


def _time_condition(rng: np.random.Generator, target: Film, config: SimulatorConfig) -> list[str]:
    """Return a decade, or a span of the nineties, as a list of one (none if unknown)."""
    if target.era is not None and rng.random() < config.era_share:
        return [f"era={target.era}"]
    known = target.decade is not None and str(target.decade) in phrase_book()["eras"]
    return [f"decade={target.decade}"] if known else []


def _refusal(rng: np.random.Generator, target: Film) -> str:
    absent = [genre for genre in REFUSED if genre not in target.genres]
    return f"not genre={rng.choice(absent)}"


def choose_attributes(
    rng: np.random.Generator, situation: Situation, config: SimulatorConfig
) -> tuple[str, ...]:
    """Choose one or two conditions among the target's genres, its time, and a refusal."""
    target = situation.target
    genres = list(rng.permutation(_sayable_genres(target)))
    time = _time_condition(rng, target, config)
    if not genres:
        return tuple(time)
    options = [(config.genre_weight, [f"genre={genre}" for genre in genres[1:2]])]
    options += [(config.time_weight, time)]
    if target.genres:
        options += [(config.refusal_weight, [_refusal(rng, target)])]
    options = [(weight, second) for weight, second in options if second]
    weights = np.array([config.single_weight, *(weight for weight, _ in options)])
    drawn = rng.choice(len(weights), p=weights / weights.sum())
    second = [] if drawn == 0 else options[drawn - 1][1]
    return (f"genre={genres[0]}", *second)


def choose_example(
    rng: np.random.Generator, situation: Situation, config: SimulatorConfig
) -> tuple[str, ...]:
    """Choose the likest earlier film, and perhaps a true relation to it or a second film."""
    target, examples = situation.target, situation.examples
    if not examples:
        return choose_attributes(rng, situation, config)
    first = examples[0]
    like = f"like={first.item}"
    gained = [f"genre={genre}" for genre in sorted(target.genres - first.genres)]
    if not first.genres & target.genres:
        # no genre in common: naming the film alone would mislead, so a genre is said with it
        return (f"liked={first.item}", *([str(rng.choice(gained))] if gained else []))
    draw = rng.random()
    if draw < config.two_examples_share:
        said = shared(first, target)
        rest = [film for film in examples[1:] if film.genres & target.genres]
        if rest:
            second = max(rest, key=lambda film: len(shared(film, target) - said))
            return like, f"like={second.item}"
    if draw > 1 - config.relation_share:
        lost = [f"not genre={genre}" for genre in sorted(first.genres - target.genres)]
        true = relations(first, target) + gained + (lost if target.genres else [])
        if true:
            return like, str(rng.choice(true))
    return (like,)


def choose_mood(
    rng: np.random.Generator, situation: Situation, config: SimulatorConfig
) -> tuple[str, ...]:
    """Choose one mood that is true of the target, or none at all."""
    true = [mood for mood, rule in MOODS.items() if rule(situation.target)]
    if not true or rng.random() < config.empty_vague_share:
        return ()
    return (f"mood={rng.choice(true)}",)


def choose_first(
    rng: np.random.Generator, level: Level, situation: Situation, config: SimulatorConfig
) -> tuple[str, ...]:
    """Choose the conditions of a first message: at most two, all true of the target."""
    chooser = {
        "plain": choose_attributes,
        "paraphrased": choose_attributes,
        "by example": choose_example,
        "vague": choose_mood,
    }[level]
    return chooser(rng, situation, config)


def _word_attributes(
    rng: np.random.Generator, conditions: Sequence[str], phrasing: Pool, level: Level
) -> str:
    plain = level == "plain"
    frame = pick(rng, phrasing, "frames", level, "ask")
    genres = [c for c in conditions if c.startswith("genre=")]
    film = "a film" if plain else "something"
    if genres:
        film = genre_phrase(rng, phrasing, genres[0].partition("=")[2], "film", plain=plain)
    tail = ""
    for condition in conditions:
        if genres and condition == genres[0]:
            continue
        use, slots = _slots(rng, condition, phrasing, plain=plain)
        inline = re.search(r"\{film\}[.?!]", frame) and rng.random() < 0.6
        form = pick(rng, phrasing, "frames", level, use, "inline" if inline else "after")
        if inline:
            film += form.format(**slots)
        else:
            tail += " " + sentence(form.format(**slots))
    return sentence(frame.format(film=film)) + tail


def _slots(
    rng: np.random.Generator, condition: str, phrasing: Pool, *, plain: bool
) -> tuple[str, dict[str, str]]:
    """Return the use ("genre", "not", "time") of a condition and the words for its slot."""
    kind, _, value = condition.partition("=")
    if kind in ("decade", "era"):
        return "time", {"era": time_phrase(rng, phrasing, condition, plain=plain)}
    use = "not" if kind == "not genre" else "genre"
    return use, {"touch": genre_phrase(rng, phrasing, value, "touch", plain=plain)}


def _word_example(
    rng: np.random.Generator,
    conditions: Sequence[str],
    phrasing: Pool,
    catalogue: Sequence[Film],
) -> str:
    titles = [
        spoken_title(catalogue[int(c.partition("=")[2])].title)
        for c in conditions
        if c.startswith(("like=", "liked="))
    ]
    if len(titles) == 2:
        frame = pick(rng, phrasing, "frames", "by example", "two")
        return sentence(frame.format(title=titles[0], other=titles[1]))
    relation = ""
    for condition in conditions[1:]:
        kind = condition.partition("=")[0]
        use, slots = kind, dict[str, str]()
        if kind in ("genre", "not genre"):
            use, slots = _slots(rng, condition, phrasing, plain=False)
        relation += pick(rng, phrasing, "frames", "by example", use).format(**slots)
    frame = pick(rng, phrasing, "frames", "by example", "ask")
    return sentence(frame.format(title=titles[0], rel=relation))


def _word_mood(rng: np.random.Generator, conditions: Sequence[str], phrasing: Pool) -> str:
    mood = conditions[0].partition("=")[2] if conditions else "any"
    ask = pick(rng, phrasing, "frames", "vague", "ask")
    return sentence(f"{pick(rng, phrasing, 'moods', mood)} {ask}")


def _word_first(
    rng: np.random.Generator,
    level: Level,
    conditions: Sequence[str],
    phrasing: Pool,
    catalogue: Sequence[Film],
) -> str:
    if any(c.startswith(("like=", "liked=")) for c in conditions):
        return _word_example(rng, conditions, phrasing, catalogue)
    if level == "vague" or not conditions:
        return _word_mood(rng, conditions, phrasing)
    return _word_attributes(
        rng, conditions, phrasing, "plain" if level == "plain" else "paraphrased"
    )


def _word_later(
    rng: np.random.Generator,
    turn: Turn,
    phrasing: Pool,
    catalogue: Sequence[Film],
    plain: bool,
) -> str:
    if turn.use == "mood":
        return pick(rng, phrasing, "moods", turn.conditions[0].partition("=")[2])
    slots: dict[str, str] = {}
    if turn.use in ("genre", "not", "time"):
        _, slots = _slots(rng, turn.conditions[0], phrasing, plain=plain)
    elif turn.use == "like":
        named = catalogue[int(turn.conditions[0].partition("=")[2])]
        slots = {"title": spoken_title(named.title)}
    elif turn.use == "restate":
        genre = str(turn.restated).partition("=")[2]
        slots = {"film": genre_phrase(rng, phrasing, genre, "film", plain=plain)}
    return sentence(pick(rng, phrasing, "frames", "later", turn.use).format(**slots))


def word(
    rng: np.random.Generator,
    level: Level,
    turns: Sequence[Turn],
    phrasing: Pool,
    target: Film,
    catalogue: Sequence[Film],
) -> list[str]:
    """Word the turns of a dialogue, none of which gives the target's title away.

    Raises:
        DataError: no wording of some turn avoids the title (never seen on real data).
    """
    said: list[str] = []
    for turn in turns:
        if turn.use == "first":
            write = partial(_word_first, rng, level, turn.conditions, phrasing, catalogue)
        else:
            write = partial(_word_later, rng, turn, phrasing, catalogue, level == "plain")
        message = _first_clean(write, said, target)
        if message is None:
            raise DataError(
                f"No phrasing of {turn.conditions} avoids the title {target.title!r}: "
                "add phrases to language/phrasings."
            )
        said.append(message)
    return said


def _first_clean(write: Callable[[], str], said: Sequence[str], target: Film) -> str | None:
    """Return a message that keeps the title secret and, if it can, opens unlike those before."""
    openings = {text.split()[0] for text in said}
    fallback = None
    for attempt in range(_ATTEMPTS):
        text = write()
        if text in said or leaks(" ".join([*said, text]), target.title):
            continue
        if text.split()[0] not in openings:
            return text
        fallback = fallback or text
        if attempt >= 5:
            break
    return fallback


def plan(
    rng: np.random.Generator,
    level: Level,
    n_turns: int,
    situation: Situation,
    config: SimulatorConfig,
) -> list[Turn]:
    """Plan a dialogue: a first message, then turns that add, refuse, restate or say no."""
    first = choose_first(rng, level, situation, config)
    turns = [Turn("first", first)]
    known = list(first)
    for _ in range(n_turns - 1):
        turn = _next_turn(rng, level, known, situation, config)
        turns.append(turn)
        known += turn.conditions
    return turns


def _next_turn(
    rng: np.random.Generator,
    level: Level,
    known: Sequence[str],
    situation: Situation,
    config: SimulatorConfig,
) -> Turn:
    """Draw the next turn among those that are true and not said yet."""
    target = situation.target
    options: list[tuple[float, Turn]] = [(1.0, Turn("nothing"))]
    fresh = [f"genre={g}" for g in _sayable_genres(target) if f"genre={g}" not in known]
    if fresh:
        options.append((2.0, Turn("genre", (str(rng.choice(fresh)),))))
    time = _time_condition(rng, target, config)
    if time and not any(c.startswith(("decade=", "era=")) for c in known):
        options.append((1.5, Turn("time", tuple(time))))
    refusal = _refusal(rng, target)
    n_refusals = sum(c.startswith("not genre=") for c in known)
    if target.genres and refusal not in known and n_refusals < 2:
        options.append((1.5, Turn("not", (refusal,))))
    named = [f"like={film.item}" for film in situation.examples[:3] if film.genres & target.genres]
    unnamed = [like for like in named if like not in known]
    if unnamed and level != "plain":
        options.append((1.0, Turn("like", (unnamed[0],))))
    if level == "vague":
        moods = [f"mood={m}" for m, rule in MOODS.items() if rule(target)]
        options += [(2.0, Turn("mood", (m,))) for m in moods if m not in known][:1]
    stated = [c for c in known if c.startswith("genre=")]
    if stated:
        options.append((1.0, Turn("restate", restated=str(rng.choice(stated)))))
    weights = np.array([weight for weight, _ in options])
    return options[int(rng.choice(len(options), p=weights / weights.sum()))][1]
