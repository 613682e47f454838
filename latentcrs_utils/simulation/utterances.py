"""Simulated users: seeded, free, and honest about what a text can tell.

The paper lets a large language model play the user (Appendix D). Its rules are kept here: say
what leads to the target, at most two new conditions a turn, never the target's title. A phrase
book and a seed take the place of the language model, so that thousands of texts cost seconds,
and so that phrasings can be kept apart: what the tests say, the training never said.

Levels: ``plain`` uses the catalogue's own words ("a comedy from the 1980s"); ``paraphrased``
says the same without them; ``by example`` names films that the user liked before; ``vague``
only hints at a mood or an occasion.

In a share of the training dialogues (``refusing_share`` of the configuration, by default none) the
users answer to offers, with refusals: see :mod:`.refusing`.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import cached_property
from typing import Any

import numpy as np
import polars as pl

from latentcrs_utils.config import SimulatorConfig, preset
from latentcrs_utils.data.preprocess import random_cuts
from latentcrs_utils.data.sequences import Dataset
from latentcrs_utils.errors import DataError
from latentcrs_utils.simulation.items import Catalogue
from latentcrs_utils.simulation.phrasings import Pool
from latentcrs_utils.simulation.planner import LEVELS, Level, Situation, Turn, generator, plan
from latentcrs_utils.simulation.realization import UnsayableError, word
from latentcrs_utils.simulation.refusing import Offers, refusing_dialogue
from latentcrs_utils.simulation.utterances import Utterances, reused_rows

# Plans for one dialogue, at most; the second or third one can nearly always be worded.
_PLANS = 20

__all__ = ["LEVELS", "Utterances", "simulate_utterances"]

_SCHEMA = pl.Schema({
    "instance": pl.Int64(), "split": pl.String(), "user": pl.Int64(), "cut": pl.Int64(),
    "target": pl.Int64(), "level": pl.String(), "phrasing": pl.String(),
    "turns": pl.List(pl.String), "text": pl.String(), "conditions": pl.List(pl.String),
})  # fmt: skip


class _Simulation:
    """One run: the data set, its catalogue, the seed."""

    def __init__(self, data: Dataset, seed: int, config: SimulatorConfig) -> None:
        self.data, self.seed, self.config = data, seed, config
        self.catalogue = Catalogue(data)

    def generator(self, *parts: int | str) -> np.random.Generator:
        """Return the generator of ``parts`` for this run's seed."""
        return generator(self.seed, *parts)

    @cached_property
    def offers(self) -> Offers:
        """What the users of `refusing` are offered."""
        return Offers(self.data, self.catalogue)

    def situation(self, user: int, cut: int) -> Situation:
        """Return what a user had in mind after ``cut`` items."""
        items = self.data.interactions[user]
        return Situation(self.catalogue, self.catalogue[int(items[cut])], items[:cut])

    def plan(
        self, split: str, situation: Situation, user: int, level: Level, n_turns: int, attempt: int
    ) -> list[Turn]:
        """Choose what is said; the same draws for every phrasing, and for plain and paraphrased."""
        content = "attributes" if level in ("plain", "paraphrased") else level
        again = [attempt] if attempt else []
        cut = len(situation.history)
        rng = self.generator("what", split, user, cut, content, *again)
        return plan(rng, level, n_turns, situation, self.config)

    def rows(
        self, split: str, user: int, cut: int, ways: Sequence[tuple[Level, Pool]], n_turns: int = 1
    ) -> list[dict[str, Any]]:
        """Return rows about one target (without their numbers), one for each way of speaking.

        Some conditions cannot be worded without the title (who could refuse war without a word
        of "Star Wars"?); then all of them are drawn anew, so that every way says the same. If no
        plan can be worded, the user says nothing in particular.
        """
        situation = self.situation(user, cut)
        levels = list(dict.fromkeys(level for level, _ in ways))
        plans = (
            {level: self.plan(split, situation, user, level, n_turns, a) for level in levels}
            for a in range(_PLANS)
        )
        silent = [Turn("first"), *[Turn("nothing")] * (n_turns - 1)]
        for planned in itertools.chain(plans, [dict.fromkeys(levels, silent)]):
            with suppress(UnsayableError):
                return [
                    self._planned(split, user, situation, level, phrasing, planned[level])
                    for level, phrasing in ways
                ]
        raise DataError(
            f"Nothing can be said about {situation.target.title!r} without a word of its title: "
            "add phrases to simulation/phrase_books."
        )

    def _planned(
        self,
        split: str,
        user: int,
        situation: Situation,
        level: Level,
        phrasing: Pool,
        turns: Sequence[Turn],
    ) -> dict[str, Any]:
        """Return the row of a planned dialogue."""
        cut, target = len(situation.history), situation.target
        rng = self.generator("how", split, user, cut, level, phrasing)
        said = word(rng, level, turns, phrasing, target, self.catalogue)
        conditions = [c for turn in turns for c in turn.conditions]
        return _row(split, user, situation, level, phrasing, said, conditions)

    def refusing(
        self, split: str, user: int, cut: int, way: tuple[Level, Pool], n_turns: int
    ) -> dict[str, Any]:
        """Return the row of a dialogue in which the user answers to offers."""
        (level, phrasing), situation = way, self.situation(user, cut)
        speaker = refusing_dialogue(
            situation, self.offers, n_turns, user=user, seed=self.seed, level=level,
            phrasing=phrasing, config=self.config,
        )  # fmt: skip
        said, conditions = speaker.messages, list(speaker.standing)
        return _row(split, user, situation, level, phrasing, said, conditions)

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
        drawn = self.generator("refusing", "train").random(len(users))
        refuses = several & (drawn < self.config.refusing_share)
        for user, cut, level, n, answers in zip(
            users, cuts, self.levels("train", len(users)), n_turns, refuses, strict=True
        ):
            where = "train", int(user), int(cut)
            if answers:
                yield self.refusing(*where, (level, "train"), int(n))
            else:
                yield from self.rows(*where, [(level, "train")], int(n))

    def held_out(self) -> Iterator[dict[str, Any]]:
        """Yield validation, test and multi-turn test rows."""
        last = self.data.interactions.lengths - 1
        users = range(self.data.n_users)
        for user, level in zip(users, self.levels("valid", len(users)), strict=True):
            yield from self.rows("valid", user, int(last[user]) - 1, [(level, "valid")])
        ways: list[tuple[Level, Pool]] = [
            (level, phrasing) for level in LEVELS for phrasing in ("test", "train")
        ]
        by_user = [self.rows("test", user, int(last[user]), ways) for user in users]
        for of_one_way in zip(*by_user, strict=True):
            yield from of_one_way
        rng = self.generator("turns", "test")
        n_turns = rng.permutation(np.arange(len(users)) % self.config.max_turns + 1)
        for user, level in zip(users, self.levels("test_turns", len(users)), strict=True):
            n = int(n_turns[user])
            yield from self.rows("test_turns", user, int(last[user]), [(level, "test")], n)


def _row(
    split: str,
    user: int,
    situation: Situation,
    level: Level,
    phrasing: Pool,
    said: Sequence[str],
    conditions: Sequence[str],
) -> dict[str, Any]:
    """Return one row of the table (without its number)."""
    return {
        "split": split, "user": user, "cut": len(situation.history),
        "target": situation.target.item, "level": level, "phrasing": phrasing,
        "turns": list(said), "text": " ".join(said), "conditions": list(conditions),
    }  # fmt: skip


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
        config: shares and weights; by default those of the data set's preset.

    Returns:
        The table of utterances.
    """
    config = config or preset(data.name, data.n_users).simulator
    simulation = _Simulation(data, seed, config)
    columns = {name: dtype for name, dtype in _SCHEMA.items() if name != "instance"}
    train, held_out = (
        pl.DataFrame(list(rows), schema=columns)
        for rows in (simulation.train(), simulation.held_out())
    )
    reused = reused_rows(data, train, config.n_reused_cuts, seed, simulation.catalogue)
    frame = pl.concat([train, reused, held_out]).with_row_index("instance")
    return Utterances(frame.cast({"instance": _SCHEMA["instance"]}))
