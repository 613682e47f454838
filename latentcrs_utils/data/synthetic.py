"""A generated world whose intents are known, so that one may ask whether EM found them.

Each of the K true intents is a taste, one or two genres and a range of years; every item belongs
to one. Before each step a user stays with the current intent or leaves it, mostly for the home
intent, and then takes an item of it (or, by noise, any), popular ones more often, none twice.
"""

import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from latentcrs_utils.config import SyntheticConfig
from latentcrs_utils.data.sequences import Dataset
from latentcrs_utils.data.source import ITEM_SCHEMA, Source
from latentcrs_utils.errors import ConfigError, DataError

_WORDS = tomllib.loads(Path(__file__).with_name("synthetic.toml").read_text(encoding="utf-8"))
TASTES: list[tuple[list[str], int, int]] = _WORDS["tastes"]  # genres, first and last year
_STEP = dict(
    user=pl.String, item=pl.String, rating=pl.Float64, timestamp=pl.Float64, intent=pl.Int64
)
_DAY = 86_400
_BEGINNING = 1_700_000_000  # seconds since 1970


@dataclass(frozen=True, eq=False)
class SyntheticWorld:
    """The data, as a reader of files would return them, and the truth about them."""

    config: SyntheticConfig
    source: Source
    item_intents: pl.DataFrame  # raw_item (str) and intent (0..K-1) of every item
    # user, item and intent of every liked item: the user's then, after noise not the item's
    steps: pl.DataFrame

    @property
    def names(self) -> list[str]:
        """What each intent likes, K short texts."""
        tastes = TASTES[: self.config.n_intents]
        return [f"{' and '.join(genres)}, {first}-{last}" for genres, first, last in tastes]

    def intents_of_items(self, data: Dataset) -> np.ndarray:
        """True intent of every item of a data set made of this world, int64 [V + 1]; -1 of 0."""
        return np.insert(_looked_up(data.items.select("raw_item"), self.item_intents, data), 0, -1)

    def intents_of_steps(self, data: Dataset) -> np.ndarray:
        """True intent of the user at every action, int64, like ``data.interactions.flat``."""
        raw_users = data.users["raw_user"].gather(data.interactions.rows())
        raw_items = data.items["raw_item"].gather(data.interactions.flat - 1)
        steps = pl.DataFrame({"user": raw_users, "item": raw_items})
        return _looked_up(steps, self.steps, data)


def _looked_up(rows: pl.DataFrame, truth: pl.DataFrame, data: Dataset) -> np.ndarray:
    intents = rows.join(truth, on=rows.columns, how="left", maintain_order="left")["intent"]
    if intents.null_count():
        raise DataError(f"{data.name} was not made of this synthetic world (config and seed).")
    return intents.to_numpy().astype(np.int64)


def synthetic_world(config: SyntheticConfig | None = None, seed: int = 0) -> SyntheticWorld:
    """Generate a world; equal arguments give equal ones. ConfigError: more intents than tastes."""
    config = config or SyntheticConfig()
    rng, K = np.random.default_rng(seed), config.n_intents
    if len(TASTES) < K:
        raise ConfigError(f"n_intents={K}: there are {len(TASTES)} tastes to tell apart.")
    # every intent has items; the sizes differ by chance only
    item_intent = rng.permutation(np.arange(config.n_items) % K)
    ratings = pl.DataFrame(list(_steps(config, item_intent, rng)), schema=_STEP, orient="row")
    items = _items(config, item_intent, rng)
    item_intents = pl.DataFrame({"raw_item": items["raw_item"], "intent": item_intent})
    steps = ratings.drop_nulls("intent").select("user", "item", "intent")
    return SyntheticWorld(config, Source(ratings.drop("intent"), items), item_intents, steps)


def _steps(
    config: SyntheticConfig, item_intent: np.ndarray, rng: np.random.Generator
) -> Iterator[tuple[str, str, float, float, int | None]]:
    """Let all users wander, each from the oldest step on; a disliked item has no intent."""
    K, n_items = config.n_intents, config.n_items
    popularity = rng.permutation(np.arange(1, n_items + 1)) ** -config.popularity
    # some intents are the home of many users, some of few
    home_share = rng.dirichlet(np.full(K, 5.0))
    neighbours = (np.arange(K)[:, None] + rng.integers(1, K, (K, 2))) % K
    # how often items are taken, [K + 1, items]: by intent, and in the last row by noise
    of_intent = item_intent == np.arange(K)[:, None]
    weights = np.vstack([of_intent, np.ones_like(popularity)]) * popularity
    for user in range(1, config.n_users + 1):
        home = current = int(rng.choice(K, p=home_share))
        left = np.ones(n_items)
        time = float(_BEGINNING + rng.integers(300) * _DAY)
        for _ in range(rng.integers(config.shortest, config.longest + 1)):
            disliked = rng.random() < config.disliked
            if rng.random() >= config.stay:
                goes_home = rng.random() < config.homing
                current = home if goes_home else int(rng.choice(neighbours[current]))
            by_noise = disliked or rng.random() < config.noise
            taken = weights[-1 if by_noise else current] * left
            if not taken.any():
                # the intent has nothing new left for this user
                taken = weights[-1] * left
            cumulative = taken.cumsum()
            item = int(cumulative.searchsorted(rng.random() * cumulative[-1], side="right"))
            left[item] = 0
            time += float(rng.integers(1, 7 * _DAY))
            rating = float(rng.integers(1, 4) if disliked else rng.integers(4, 6))
            yield str(user), str(item + 1), rating, time, None if disliked else current


def _items(
    config: SyntheticConfig, item_intent: np.ndarray, rng: np.random.Generator
) -> pl.DataFrame:
    """Give every item a title of its own, and year and genres by its intent."""
    names = [f"{first} {second}" for first in _WORDS["first"] for second in _WORDS["second"]]
    genres_of_all = sorted({genre for genres, _, _ in TASTES for genre in genres})
    # a name serves twice only when all have served once
    titles = [form.format(name) for form in _WORDS["forms"] for name in rng.permutation(names)]
    rows = []
    for item, (intent, title) in enumerate(zip(item_intent, titles, strict=False), start=1):
        genres, first, last = TASTES[intent]
        own = list(genres)
        if rng.random() < config.genre_noise:
            own.append(str(rng.choice([genre for genre in genres_of_all if genre not in own])))
        rows.append((str(item), title, int(rng.integers(first, last + 1)), sorted(own)))
    return pl.DataFrame(rows, ITEM_SCHEMA, orient="row")
