"""Simulated users: seeded, free, and honest about what a text can tell.

The paper lets a large language model play the user (Appendix D). Its rules are kept here: say
what leads to the target, at most two new conditions a turn, never the target's title. A phrase
book and a seed take the place of the language model, so that thousands of texts cost seconds,
and so that phrasings can be kept apart: what the tests say, the training never said.

Levels: ``plain`` uses the catalogue's own words ("a comedy from the 1980s"); ``paraphrased``
says the same without them; ``by example`` names films that the user liked before; ``vague``
only hints at a mood or an occasion.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import polars as pl

from ..config import SimulatorConfig
from ..data import Dataset, random_cuts
from .conditions import films
from .reuse import reused_rows
from .speaker import LEVELS, Level, Situation, Turn, plan, word
from .utterances import Utterances
from .wording import Pool

__all__ = ["LEVELS", "Utterances", "simulate_utterances"]

_SCHEMA = pl.Schema({
    "instance": pl.Int64(), "split": pl.String(), "user": pl.Int64(), "cut": pl.Int64(),
    "target": pl.Int64(), "level": pl.String(), "phrasing": pl.String(),
    "turns": pl.List(pl.String), "text": pl.String(), "conditions": pl.List(pl.String),
})  # fmt: skip


class _Simulation:
    """One run: the data set, its films, the seed."""

    def __init__(self, data: Dataset, seed: int, config: SimulatorConfig) -> None:
        self.data, self.seed, self.config = data, seed, config
        self.catalogue = films(data)

    def generator(self, *parts: int | str) -> np.random.Generator:
        """Return a generator of its own for ``parts``, so that no text depends on another."""
        numbers = [zlib.crc32(part.encode()) if isinstance(part, str) else part for part in parts]
        return np.random.default_rng([self.seed, *numbers])

    def plan(self, split: str, user: int, cut: int, level: Level, n_turns: int) -> list[Turn]:
        """Choose what is said; the same for every phrasing, and for plain and paraphrased."""
        items = self.data.interactions[user]
        situation = Situation(
            self.catalogue[int(items[cut])], [self.catalogue[int(i)] for i in items[:cut]]
        )
        content = "attributes" if level in ("plain", "paraphrased") else level
        rng = self.generator("what", split, user, cut, content)
        return plan(rng, level, n_turns, situation, self.config)

    def row(
        self, split: str, user: int, cut: int, level: Level, phrasing: Pool, n_turns: int = 1
    ) -> dict[str, Any]:
        """Return one row of the table (without its number)."""
        turns = self.plan(split, user, cut, level, n_turns)
        target = int(self.data.interactions[user][cut])
        rng = self.generator("how", split, user, cut, level, phrasing)
        said = word(rng, level, turns, phrasing, self.catalogue[target], self.catalogue)
        return {
            "split": split, "user": user, "cut": cut, "target": target, "level": level,
            "phrasing": phrasing, "turns": said, "text": " ".join(said),
            "conditions": [c for turn in turns for c in turn.conditions],
        }  # fmt: skip

    def levels(self, split: str, n: int) -> list[Level]:
        """Return ``n`` levels, each equally often, in a random order."""
        order = self.generator("levels", split).permutation(n)
        return [LEVELS[i % len(LEVELS)] for i in order]

    def train(self) -> Iterator[dict[str, Any]]:
        """Yield the training rows: last training item and random cuts of every user."""
        users, cuts = random_cuts(self.data, self.config.n_cuts, self.seed)
        rng = self.generator("turns", "train")
        several = rng.random(len(users)) >= self.config.one_turn_share
        n_turns = np.where(several, rng.integers(2, self.config.max_turns + 1, len(users)), 1)
        for user, cut, level, n in zip(
            users, cuts, self.levels("train", len(users)), n_turns, strict=True
        ):
            yield self.row("train", int(user), int(cut), level, "train", int(n))

    def held_out(self) -> Iterator[dict[str, Any]]:
        """Yield validation, test and multi-turn test rows."""
        last = self.data.interactions.lengths - 1
        users = range(self.data.n_users)
        for user, level in zip(users, self.levels("valid", len(users)), strict=True):
            yield self.row("valid", user, int(last[user]) - 1, level, "valid")
        for level in LEVELS:
            for phrasing in ("test", "train"):
                for user in users:
                    yield self.row("test", user, int(last[user]), level, phrasing)
        rng = self.generator("turns", "test")
        n_turns = rng.permutation(np.arange(len(users)) % self.config.max_turns + 1)
        for user, level in zip(users, self.levels("test_turns", len(users)), strict=True):
            n = int(n_turns[user])
            yield self.row("test_turns", user, int(last[user]), level, "test", n)


def simulate_utterances(
    data: Dataset, *, seed: int = 0, config: SimulatorConfig | None = None
) -> Utterances:
    """Simulate what users say on the way to their targets.

    Splits: ``train``, the last training item and ``n_cuts`` random earlier ones of every user,
    the four levels equally often, one to five turns, and ``n_reused_cuts`` further cuts with a
    sentence that was said for another film (no new text to embed); ``valid``, every user, one
    turn, one level each; ``test``, every user at every level, one turn, worded once with the
    phrasings of the pool ``test`` (unseen) and once with those of ``train`` (seen), the
    conditions being the same; ``test_turns``, every user, one to five turns, unseen phrasing.

    Args:
        data: the data set.
        seed: of every draw; equal seeds give equal tables.
        config: shares and weights.

    Returns:
        The table of utterances.
    """
    config = config or SimulatorConfig()
    simulation = _Simulation(data, seed, config)
    columns = {name: dtype for name, dtype in _SCHEMA.items() if name != "instance"}
    train, held_out = (
        pl.DataFrame(list(rows), schema=columns)
        for rows in (simulation.train(), simulation.held_out())
    )
    reused = reused_rows(data, train, config.n_reused_cuts, seed)
    frame = pl.concat([train, reused, held_out]).with_row_index("instance")
    return Utterances(frame.cast({"instance": _SCHEMA["instance"]}))
