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

import itertools
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from latentcrs_utils.config import SimulatorConfig, preset
from latentcrs_utils.constraints.constraint import PERSONAL, Constraint, Matcher
from latentcrs_utils.data.preprocess import random_cuts
from latentcrs_utils.data.sequences import Dataset, Sequences
from latentcrs_utils.errors import DataError
from latentcrs_utils.simulation.items import Catalogue
from latentcrs_utils.simulation.phrasings import Pool
from latentcrs_utils.simulation.planner import LEVELS, Level, TestCase, Turn, generator, plan
from latentcrs_utils.simulation.realization import UnsayableError, word


@dataclass(frozen=True, eq=False)
class Utterances:
    """What simulated users say, one row per utterance history x^u.

    Attributes:
        frame: instance (int, row number), split ("train", "valid", "test", "test_turns"),
            user, cut (the history is ``interactions[user][:cut]``), target (= the item at the
            cut), level, phrasing (pool: "train", "valid", "test"), turns (the messages), text
            (the messages joined by a space: x^u), conditions (what the text expresses).
    """

    frame: pl.DataFrame

    def __len__(self) -> int:
        return len(self.frame)

    @property
    def texts(self) -> list[str]:
        """x^u of every row."""
        return self.frame["text"].to_list()

    @property
    def targets(self) -> np.ndarray:
        """Target item of every row, int64 [N]."""
        return self.frame["target"].to_numpy().astype(np.int64)

    def histories(self, data: Dataset) -> Sequences:
        """Return the history S^u of every row: the items before the cut."""
        return data.interactions.prefixes(self.frame["user"], self.frame["cut"])

    def select(
        self,
        *,
        split: str | None = None,
        level: str | None = None,
        phrasing: str | None = None,
    ) -> Utterances:
        """Return the rows of one split, level and phrasing (None: any).

        Raises:
            DataError: there is no such split, level or phrasing; the message lists them.
        """
        frame = self.frame
        for column, wanted in (("split", split), ("level", level), ("phrasing", phrasing)):
            if wanted is None:
                continue
            known = sorted(self.frame[column].unique())
            if wanted not in known:
                raise DataError(f"There is no {column} {wanted!r}. Known: {', '.join(known)}.")
            frame = frame.filter(pl.col(column) == wanted)
        return Utterances(frame)

    def verbatim_overlap(self) -> pl.DataFrame:
        """Return, by split, level and phrasing, the share of texts that stand in training.

        Columns: split, level, phrasing, utterances, distinct, overlap (share in [0, 1]).
        """
        seen = set(self.frame.filter(pl.col("split") == "train")["text"])
        return (
            self.frame.filter(pl.col("split") != "train")
            .group_by("split", "level", "phrasing", maintain_order=True)
            .agg(
                pl.len().alias("utterances"),
                pl.col("text").n_unique().alias("distinct"),
                pl.col("text").is_in(list(seen)).mean().alias("overlap"),
            )
        )


def reused_rows(
    data: Dataset, train: pl.DataFrame, n_cuts: int, seed: int, catalogue: Catalogue | None = None
) -> pl.DataFrame:
    """Training rows for further random cuts of every user, with sentences of the given rows.

    For each cut a level is drawn, then a sentence of that level whose conditions all hold for the
    target, one that suits few films with more weight than one that suits many (as if its
    conditions had been drawn from what is true of the film).  Sentences about the speaker's own
    films are not reused.

    Args:
        data: the data set.
        train: rows of the simulator with split "train".
        n_cuts: further cuts a user, at most; cuts that `train` has already are left out.
        seed: of the cuts and of the draws.
        catalogue: of the same data set, if there is one already.

    Returns:
        Rows with the columns of `train`; `instance` is left for the caller to number.
    """
    catalogue = catalogue or Catalogue(data)
    shared = train.filter(
        ~pl.col("conditions")
        .list.eval(pl.element().str.split("=").list[0].is_in(PERSONAL))
        .list.any()
    )
    level_of, texts = shared["level"].to_numpy(), shared["text"].to_list()
    levels = sorted(set(level_of))
    if not levels:
        return train.clear()
    users, cuts = random_cuts(data, n_cuts, seed + 1)
    taken = set(zip(train["user"].to_list(), train["cut"].to_list(), strict=True))
    generator = np.random.default_rng([seed, n_cuts])
    wanted = [
        (
            *(user, cut, int(data.interactions[user][cut])),
            levels[generator.integers(len(levels))],
            generator.random(),
        )
        for user, cut in zip(users.tolist(), cuts.tolist(), strict=True)
        if (user, cut) not in taken
    ]
    choices = _Choices(catalogue, shared["conditions"].to_list())
    drawn = _draw(choices, level_of, wanted)
    # A sentence that is innocent of its own film may hold a word of another one's title.
    rows = [
        (user, cut, target, row)
        for (user, cut, target, *_), row in zip(wanted, drawn, strict=True)
        if row >= 0 and not catalogue[target].leaks_title(texts[row])
    ]
    columns = np.array(rows, dtype=np.int64).reshape(-1, 4).T
    return shared[columns[3]].with_columns(
        pl.Series(name, values).cast(train.schema[name])
        for name, values in zip(("user", "cut", "target"), columns[:3], strict=True)
    )


def _draw(
    choices: _Choices, level_of: np.ndarray, wanted: Sequence[tuple[int, int, int, str, float]]
) -> np.ndarray:
    """Draw a row for each of the wanted (user, cut, target, level, number in [0, 1)).

    Returns:
        Int64 [number wanted], -1 where no sentence suits.
    """
    drawn = np.full(len(wanted), -1, dtype=np.int64)
    # One target after the other, so that the sentences of one only are held at a time.
    held: tuple[int, str] | None = None
    for index in sorted(range(len(wanted)), key=lambda i: wanted[i][2:4]):
        _, _, target, level, number = wanted[index]
        if held is None or held[0] != target:
            rows, weights = choices.suiting(target)
            levels_of_rows = level_of[rows]
        if held != (target, level):
            held = target, level
            of_level = np.flatnonzero(levels_of_rows == level)
            sums = np.cumsum(weights[of_level])
        if len(sums):
            place = np.searchsorted(sums, number * sums[-1], side="right")
            drawn[index] = rows[of_level[place]]
    return drawn


class _Choices:
    """Which sentences suit which item, by their distinct sets of conditions.

    Sentences times items would be a table of gigabytes; what is kept are one bit for each condition
    and item, and a number for each sentence.
    """

    def __init__(self, catalogue: Catalogue, conditions: Sequence[Sequence[str]]) -> None:
        number: dict[frozenset[str], int] = {}
        set_of = np.array([number.setdefault(frozenset(c), len(number)) for c in conditions])
        # condition 0 is true of every item; it pads short sets
        column = {c: i for i, c in enumerate(sorted(set().union(*number)), start=1)}
        self._members = np.zeros((len(number), max(1, *map(len, number))), dtype=np.int32)
        for row, of_set in enumerate(number):
            self._members[row, : len(of_set)] = [column[c] for c in of_set]
        masks = map(Matcher(catalogue).satisfying, map(Constraint.parse, column))
        everything = np.arange(len(catalogue.films)) > 0
        true = np.stack([np.packbits(mask) for mask in (everything, *masks)])
        self._weights = 1 / np.maximum(_n_suited(true, self._members), 1)
        # A set need be looked at only where the rarest of its conditions holds.
        n_items = np.bitwise_count(true).sum(axis=1, dtype=np.int64)
        rarest = self._members[np.arange(len(number)), n_items[self._members].argmin(axis=1)]
        self._sets_by_rarest = _grouped(rarest, len(column) + 1)
        self._rows_by_set = _grouped(set_of, len(number))
        self._true_by_item = np.ascontiguousarray(true.T)

    def suiting(self, item: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the rows that suit ``item``, in order, and 1 / (number of items they suit)."""
        byte, bit = divmod(item, 8)
        true = (self._true_by_item[byte] >> (7 - bit)) & 1 == 1
        sets = _gather(*self._sets_by_rarest, np.flatnonzero(true))
        sets = sets[true[self._members[sets]].all(axis=1)]
        order, offsets = self._rows_by_set
        rows = _gather(order, offsets, sets)
        weights = np.repeat(self._weights[sets], offsets[sets + 1] - offsets[sets])
        in_order = np.argsort(rows)
        return rows[in_order], weights[in_order]


def _n_suited(true: np.ndarray, members: np.ndarray) -> np.ndarray:
    """Number of items that every condition of a set is true of, int64 [sets].

    Args:
        true: packed bits [conditions, bytes]; members: condition numbers [sets, width].
    """
    counts = np.empty(len(members), dtype=np.int64)
    for row, of_set in enumerate(members):
        together = np.bitwise_and.reduce(true[of_set], axis=0)
        counts[row] = np.bitwise_count(together).sum(dtype=np.int64)
    return counts


def _grouped(group_of: np.ndarray, n_groups: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the members of all groups one after the other, and where each group starts."""
    offsets = np.concatenate([[0], np.cumsum(np.bincount(group_of, minlength=n_groups))])
    return np.argsort(group_of, kind="stable"), offsets


def _gather(order: np.ndarray, offsets: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Return the members of some groups, one group after the other."""
    starts, lengths = offsets[groups], offsets[groups + 1] - offsets[groups]
    ends = np.cumsum(lengths)
    return order[
        np.arange(ends[-1] if len(ends) else 0) + np.repeat(starts - ends + lengths, lengths)
    ]


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

    def test_case(self, user: int, cut: int) -> TestCase:
        """Return what a user had in mind after ``cut`` items."""
        items = self.data.interactions[user]
        return TestCase(self.catalogue, self.catalogue[int(items[cut])], items[:cut])

    def plan(
        self, split: str, test_case: TestCase, user: int, level: Level, n_turns: int, attempt: int
    ) -> list[Turn]:
        """Choose what is said; the same draws for every phrasing, and for plain and paraphrased."""
        content = "attributes" if level in ("plain", "paraphrased") else level
        again = [attempt] if attempt else []
        cut = len(test_case.history)
        rng = self.generator("what", split, user, cut, content, *again)
        return plan(rng, level, n_turns, test_case, self.config)

    def rows(
        self, split: str, user: int, cut: int, ways: Sequence[tuple[Level, Pool]], n_turns: int = 1
    ) -> list[dict[str, Any]]:
        """Return rows about one target (without their numbers), one for each way of speaking.

        Some conditions cannot be worded without the title (who could refuse war without a word
        of "Star Wars"?); then all of them are drawn anew, so that every way says the same. If no
        plan can be worded, the user says nothing in particular.
        """
        test_case = self.test_case(user, cut)
        levels = list(dict.fromkeys(level for level, _ in ways))
        plans = (
            {level: self.plan(split, test_case, user, level, n_turns, a) for level in levels}
            for a in range(_PLANS)
        )
        silent = [Turn("first"), *[Turn("nothing")] * (n_turns - 1)]
        for planned in itertools.chain(plans, [dict.fromkeys(levels, silent)]):
            with suppress(UnsayableError):
                return [
                    self._planned(split, user, test_case, level, phrasing, planned[level])
                    for level, phrasing in ways
                ]
        raise DataError(
            f"Nothing can be said about {test_case.target.title!r} without a word of its title: "
            "add phrases to simulation/phrase_books."
        )

    def _planned(
        self,
        split: str,
        user: int,
        test_case: TestCase,
        level: Level,
        phrasing: Pool,
        turns: Sequence[Turn],
    ) -> dict[str, Any]:
        """Return the row of a planned dialogue."""
        cut, target = len(test_case.history), test_case.target
        rng = self.generator("how", split, user, cut, level, phrasing)
        said = word(rng, level, turns, phrasing, target, self.catalogue)
        said_of = [c for turn in turns for c in turn.constraints]
        return _row(split, user, test_case, level, phrasing, said, said_of)

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
            yield from self.rows("train", int(user), int(cut), [(level, "train")], int(n))

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
    test_case: TestCase,
    level: Level,
    phrasing: Pool,
    said: Sequence[str],
    constraints: Sequence[Constraint],
) -> dict[str, Any]:
    """Return one row of the table (without its number)."""
    return {
        "split": split, "user": user, "cut": len(test_case.history),
        "target": test_case.target.item, "level": level, "phrasing": phrasing,
        "turns": list(said), "text": " ".join(said), "conditions": [*map(str, constraints)],
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
