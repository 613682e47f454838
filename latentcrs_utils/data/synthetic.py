"""A generated world whose intents are known, so that one may ask whether EM found them.

Each of the K true intents is a taste: one or two genres and a range of years. Every item belongs
to one intent. A user has a home intent and wanders: at each step the user stays with the current
intent or leaves it, mostly for the home intent, else for a neighbour, and then takes an item of
that intent (or, by noise, any item), popular ones more often, none twice.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import polars as pl

from latentcrs_utils.config import SyntheticConfig
from latentcrs_utils.data.sequences import Dataset
from latentcrs_utils.data.source import Source, item_frame
from latentcrs_utils.errors import ConfigError, DataError

# (genres, first year, last year): no two alike, every genre from MovieLens' own vocabulary
TASTES: tuple[tuple[tuple[str, ...], int, int], ...] = (
    (("Comedy",), 1985, 1998),
    (("Horror",), 1974, 1989),
    (("Sci-Fi", "Action"), 1982, 1998),
    (("Romance", "Drama"), 1990, 1998),
    (("Western",), 1948, 1969),
    (("Children's", "Animation"), 1989, 1998),
    (("Film-Noir", "Crime"), 1940, 1958),
    (("War", "Drama"), 1957, 1989),
    (("Musical",), 1935, 1965),
    (("Thriller", "Mystery"), 1990, 1998),
    (("Documentary",), 1985, 1998),
    (("Adventure", "Fantasy"), 1975, 1990),
    (("Comedy", "Romance"), 1934, 1963),
    (("Crime", "Drama"), 1990, 1998),
    (("Action", "Thriller"), 1987, 1998),
    (("Sci-Fi", "Horror"), 1950, 1968),
    (("Drama",), 1960, 1980),
    (("Adventure", "Children's"), 1948, 1972),
)
_GENRES = sorted(set(itertools.chain(*(genres for genres, _, _ in TASTES))))
# words that no genre, decade or mood of the phrase book is made of
_FIRST = (
    "Amber", "Broken", "Cobalt", "Crooked", "Distant", "Drifting", "Empty", "Fallen", "Hollow",
    "Ivory", "Lost", "Marble", "Northern", "Painted", "Paper", "Quiet", "Restless", "Rusted",
    "Scarlet", "Silver", "Sleeping", "Southern", "Stolen", "Tangled", "Velvet", "Wandering",
)  # fmt: skip
_SECOND = (
    "Anchor", "Avenue", "Balcony", "Bridge", "Candle", "Canyon", "Compass", "Corridor", "Feather",
    "Garden", "Harbour", "Kettle", "Ladder", "Lantern", "Meadow", "Mirror", "Orchard", "Parlour",
    "Pepper", "Pocket", "Postcard", "Ribbon", "River", "Saddle", "Shutter", "Staircase",
    "Sundial", "Teapot", "Thimble", "Tunnel", "Umbrella", "Valley", "Veranda", "Window",
)  # fmt: skip
_FORMS = ("The {}", "Beyond the {}", "Return to the {}")
_STEP = dict(
    user=pl.String, item=pl.String, rating=pl.Float64, timestamp=pl.Float64, intent=pl.Int64
)
_DAY = 86_400
_BEGINNING = 1_700_000_000  # seconds since 1970


@dataclass(frozen=True, eq=False)
class SyntheticWorld:
    """The data and the truth about them.

    Attributes:
        config: what the world was made of.
        source: ratings and items, as a reader of files would return them.
        item_intents: raw_item (str) and intent (0..K-1) of every item.
        steps: user, item, intent of every liked item: the intent that the user then had. After
            a step of noise it is not the intent of the item.
    """

    config: SyntheticConfig
    source: Source
    item_intents: pl.DataFrame
    steps: pl.DataFrame

    @property
    def names(self) -> list[str]:
        """What each intent likes, K short texts."""
        tastes = TASTES[: self.config.n_intents]
        return [f"{' and '.join(genres)}, {first}-{last}" for genres, first, last in tastes]

    def intents_of_items(self, data: Dataset) -> np.ndarray:
        """True intent of every item id of a data set made of this world.

        Returns:
            int64 [V + 1]; entry 0, the padding, is -1.
        """
        found = data.items.select("raw_item").join(
            self.item_intents, on="raw_item", how="left", maintain_order="left"
        )
        return np.concatenate([[-1], _complete(found, data)])

    def intents_of_steps(self, data: Dataset) -> np.ndarray:
        """True intent of the user at every action, int64, like ``data.interactions.flat``."""
        raw_users = data.users["raw_user"].gather(data.interactions.rows())
        raw_items = data.items["raw_item"].gather(data.interactions.flat - 1)
        steps = pl.DataFrame({"user": raw_users, "item": raw_items})
        found = steps.join(self.steps, on=["user", "item"], how="left", maintain_order="left")
        return _complete(found, data)

    def intents_of_users(self, data: Dataset) -> np.ndarray:
        """The intent that each user had most often, int64 [U]; of equals the smaller number."""
        counts = np.zeros((data.n_users, self.config.n_intents), dtype=np.int64)
        np.add.at(counts, (data.interactions.rows(), self.intents_of_steps(data)), 1)
        return counts.argmax(1)


def _complete(found: pl.DataFrame, data: Dataset) -> np.ndarray:
    if found["intent"].null_count():
        raise DataError(f"{data.name} was not made of this synthetic world (config and seed).")
    return found["intent"].to_numpy().astype(np.int64)


def synthetic_world(config: SyntheticConfig | None = None, seed: int = 0) -> SyntheticWorld:
    """Generate a world; equal arguments give equal worlds.

    Args:
        config: sizes and behavior.
        seed: of every draw.

    Raises:
        ConfigError: more intents than there are tastes to tell apart.
    """
    config = config or SyntheticConfig()
    if config.n_intents > len(TASTES):
        raise ConfigError(
            f"n_intents={config.n_intents}: there are {len(TASTES)} tastes to tell apart."
        )
    rng = np.random.default_rng(seed)
    walk = _Walk(config, rng)
    rows = [row for user in range(config.n_users) for row in walk.user(user)]
    ratings = pl.DataFrame(rows, schema=_STEP, orient="row")
    items = _items(config, walk.item_intent, rng)
    return SyntheticWorld(
        config,
        Source(ratings.drop("intent"), items),
        pl.DataFrame({"raw_item": items["raw_item"], "intent": walk.item_intent}),
        ratings.drop_nulls("intent").select("user", "item", "intent"),
    )


class _Walk:
    """How the users of one world wander between intents and what they take there."""

    def __init__(self, config: SyntheticConfig, rng: np.random.Generator) -> None:
        self.config, self.rng = config, rng
        K = config.n_intents
        # every intent has items; the sizes differ by chance only
        self.item_intent = rng.permutation(np.arange(config.n_items) % K)
        self.popularity = rng.permutation(np.arange(1, config.n_items + 1)) ** -config.popularity
        # some intents are the home of many users, some of few
        self.home_share = rng.dirichlet(np.full(K, 5.0))
        self.neighbours = (np.arange(K)[:, None] + rng.integers(1, K, (K, 2))) % K

    @cached_property
    def _weights(self) -> np.ndarray:
        """How often items are taken, [K + 1, items]: by intent, and in the last row by noise."""
        of_intent = self.item_intent == np.arange(self.config.n_intents)[:, None]
        return np.vstack([of_intent, np.ones_like(self.popularity)]) * self.popularity

    def user(self, user: int) -> list[tuple[str, str, float, float, int | None]]:
        """Return the rows of one user, oldest first; a disliked item has no intent."""
        config, rng = self.config, self.rng
        home = current = int(rng.choice(config.n_intents, p=self.home_share))
        left = np.ones(config.n_items)
        time = float(_BEGINNING + rng.integers(300) * _DAY)
        rows: list[tuple[str, str, float, float, int | None]] = []
        for _ in range(rng.integers(config.shortest, config.longest + 1)):
            disliked = rng.random() < config.disliked
            current = self._next_intent(current, home)
            by_noise = disliked or rng.random() < config.noise
            weights = self._weights[-1 if by_noise else current] * left
            if not weights.any():
                # the intent has nothing new left for this user
                weights = self._weights[-1] * left
            cumulative = weights.cumsum()
            item = int(cumulative.searchsorted(rng.random() * cumulative[-1], side="right"))
            left[item] = 0
            time += float(rng.integers(1, 7 * _DAY))
            rating = float(rng.integers(1, 4) if disliked else rng.integers(4, 6))
            rows.append((str(user + 1), str(item + 1), rating, time, None if disliked else current))
        return rows

    def _next_intent(self, current: int, home: int) -> int:
        """Stay, go home, or go to a neighbour."""
        if self.rng.random() < self.config.stay:
            return current
        if self.rng.random() < self.config.homing:
            return home
        return int(self.rng.choice(self.neighbours[current]))


def _items(
    config: SyntheticConfig, item_intent: np.ndarray, rng: np.random.Generator
) -> pl.DataFrame:
    """Give every item a title of its own, and year and genres by its intent."""
    names = [f"{first} {second}" for first in _FIRST for second in _SECOND]
    # a name serves twice only when all have served once
    titles = [form.format(name) for form in _FORMS for name in rng.permutation(names)]
    rows = []
    for item, (intent, title) in enumerate(zip(item_intent, titles, strict=False), start=1):
        genres, first, last = TASTES[intent]
        own = list(genres)
        if rng.random() < config.genre_noise:
            own.append(str(rng.choice([genre for genre in _GENRES if genre not in own])))
        rows.append((str(item), title, int(rng.integers(first, last + 1)), sorted(own)))
    return item_frame(rows)
