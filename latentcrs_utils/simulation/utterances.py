"""The table of simulated utterances: seeded, and free of any language model.

The paper lets a large language model play the user (Appendix D). By the same rules (`.users`) a
phrase book and a seed take its place: thousands of texts cost seconds, and test phrasings are new.

Levels: ``plain`` uses the catalogue's own words ("a comedy from the 1980s"); ``paraphrased``
says the same without them; ``by example`` names items that the user liked before; ``vague``
only hints at a mood or an occasion.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from itertools import compress, groupby
from typing import Any, Self

import numpy as np
import polars as pl

from latentcrs_utils.config import SimulatorConfig, preset
from latentcrs_utils.constraints.constraint import PERSONAL, Constraint, Matcher
from latentcrs_utils.data.preprocess import random_cuts
from latentcrs_utils.data.sequences import Dataset, Sequences
from latentcrs_utils.errors import DataError
from latentcrs_utils.simulation import agenda
from latentcrs_utils.simulation.items import Catalogue
from latentcrs_utils.simulation.phrase_book import Pool
from latentcrs_utils.simulation.realization import Realizer, UnsayableError, first_clean

Row = dict[str, Any]
_SCHEMA = pl.Schema({
    "split": pl.String(), "user": pl.Int64(), "cut": pl.Int64(), "target": pl.Int64(),
    "level": pl.String(), "phrasing": pl.String(), "turns": pl.List(pl.String),
    "text": pl.String(), "conditions": pl.List(pl.String),
})  # fmt: skip

SHORT = (0, 0, 1, 2, 3, 5)  # last items that history dropout leaves of a history, equally often


@dataclass(frozen=True, eq=False)
class Utterances:
    """What simulated users say, one row per utterance history x^u.

    Columns: instance (int, row number), split ("train", "valid", "test", "test_turns"), user, cut
    (the history is ``interactions[user][:cut]``), target (the item at the cut), level, phrasing
    (pool), turns (the messages), text (x^u: the messages joined by a space), conditions (the
    constraints that the text expresses, as strings). With history dropout there is also kept: how
    many last items of its history a training instance is given; null are all.
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
        self, *, split: str | None = None, level: str | None = None, phrasing: str | None = None
    ) -> Self:
        """Return the rows of a split, level and phrasing (None: any). DataError: an unknown one."""
        wanted = {"split": split, "level": level, "phrasing": phrasing}
        wanted = {column: value for column, value in wanted.items() if value is not None}
        for column, value in wanted.items():
            known = sorted(self.frame[column].unique())
            if value not in known:
                raise DataError(f"There is no {column} {value!r}. Known: {', '.join(known)}.")
        return replace(self, frame=self.frame.filter(**wanted))

    def verbatim_overlap(self) -> pl.DataFrame:
        """Return, by split, level and phrasing, the share of texts that also occur in training.

        Columns: split, level, phrasing, utterances, distinct, overlap (share in [0, 1]).
        """
        text, seen = pl.col("text"), self.frame.filter(split="train")["text"].unique().to_list()
        held_out = self.frame.filter(pl.col("split") != "train")
        groups = held_out.group_by("split", "level", "phrasing", maintain_order=True)
        overlap = text.is_in(seen).mean()
        return groups.agg(utterances=pl.len(), distinct=text.n_unique(), overlap=overlap)


def simulate_utterances(
    data: Dataset, *, seed: int = 0, config: SimulatorConfig | None = None
) -> Utterances:
    """Simulate what users say on the way to their targets; equal seeds give equal tables.

    - ``train``: the last training item and ``n_cuts`` earlier ones of every user, all four levels
      equally often, one to five turns; ``n_reused_cuts`` more with a sentence said before.
      The config's share ``history_dropout`` of these instances is for a near stranger (`SHORT`).
    - ``valid``: every user, one turn, one level each.
    - ``test``: every user at every level, one turn, in unseen phrasings (``test``) and in those of
      the training texts (``train``), with the same constraints.
    - ``test_turns``: every user, one to five turns, unseen phrasings.

    Shares and weights are those of the data set's preset, if `config` is None. A title that leaves
    no word to speak of it is an `UnsayableError`.
    """
    config = config or preset(data.name, data.n_users).simulator
    simulation = _Simulation(data, seed, config)
    train = pl.DataFrame(list(simulation.train()), schema=_SCHEMA)
    held_out = pl.DataFrame(list(simulation.held_out()), schema=_SCHEMA)
    train = pl.concat([train, simulation.reused(train)])
    parts = [simulation.with_short_histories(train), held_out]
    frame = pl.concat(parts, how="diagonal").with_row_index("instance")
    return Utterances(frame.cast({"instance": pl.Int64}))


class _Simulation:
    """One run: the data set, its catalogue, the seed."""

    def __init__(self, data: Dataset, seed: int, config: SimulatorConfig) -> None:
        self.data, self.seed, self.config = data, seed, config
        self.catalogue = Catalogue(data)

    def train(self) -> Iterator[Row]:
        """Yield the training rows: last training item and random cuts of every user."""
        users, cuts = random_cuts(self.data, self.config.n_cuts, self.seed)
        rng = agenda.generator(self.seed, "turns", "train")
        several = rng.random(len(users)) >= self.config.one_turn_share
        n_turns = np.where(several, rng.integers(2, self.config.max_turns + 1, len(users)), 1)
        levels = self._levels("train", len(users))
        for user, cut, level, n in zip(users, cuts, levels, n_turns, strict=True):
            yield from self._rows("train", int(user), int(cut), [(level, "train")], int(n))

    def held_out(self) -> Iterator[Row]:
        """Yield validation, test and multi-turn test rows."""
        last, n_users = self.data.interactions.lengths - 1, self.data.n_users
        for user, level in enumerate(self._levels("valid", n_users)):
            yield from self._rows("valid", user, int(last[user]) - 1, [(level, "valid")])
        pools: tuple[Pool, ...] = ("test", "train")
        ways = [(level, phrasing) for level in agenda.LEVELS for phrasing in pools]
        by_user = [self._rows("test", user, int(last[user]), ways) for user in range(n_users)]
        for of_one_way in zip(*by_user, strict=True):
            yield from of_one_way
        rng = agenda.generator(self.seed, "turns", "test")
        n_turns = rng.permutation(np.arange(n_users) % self.config.max_turns + 1)
        for user, level in enumerate(self._levels("test_turns", n_users)):
            where = "test_turns", user, int(last[user])
            yield from self._rows(*where, [(level, "test")], int(n_turns[user]))

    def with_short_histories(self, train: pl.DataFrame) -> pl.DataFrame:
        """Add the column kept: history dropout, drawn once and for every system alike."""
        if not self.config.history_dropout:
            return train
        rng = agenda.generator(self.seed, "history", "train")
        cut = rng.random(len(train)) < self.config.history_dropout
        kept = rng.choice(SHORT, len(train)).tolist()
        short = [n if is_cut else None for n, is_cut in zip(kept, cut, strict=True)]
        return train.with_columns(kept=pl.Series(short, dtype=pl.Int64))

    def _levels(self, split: str, n: int) -> list[agenda.Level]:
        """Return ``n`` levels, each equally often, in a random order."""
        order = agenda.generator(self.seed, "levels", split).permutation(n)
        return [agenda.LEVELS[i % len(agenda.LEVELS)] for i in order]

    def _rows(
        self, split: str, user: int, cut: int, ways: Sequence[tuple[agenda.Level, Pool]],
        n_turns: int = 1,
    ) -> list[Row]:  # fmt: skip
        """Return rows about one target, one for each way of speaking.

        What is said depends neither on the phrasing nor, for plain and paraphrased, on the level.
        Where it cannot be worded without the title (who could refuse war without a word of "Star
        Wars"?), all is drawn anew; if no plan can be worded, nothing in particular is said.
        """
        items, where = self.data.interactions[user], (split, user, cut)
        case = agenda.TestCase(self.catalogue, self.catalogue[int(items[cut])], items[:cut])

        def plan(level: agenda.Level, again: Sequence[int]) -> list[agenda.DialogueAct]:
            content = "attributes" if level in ("plain", "paraphrased") else level
            rng = agenda.generator(self.seed, "what", *where, content, *again)
            return agenda.Agenda(case, level, self.config, rng).plan(n_turns)

        def row(level: agenda.Level, phrasing: Pool, acts: Sequence[agenda.DialogueAct]) -> Row:
            rng = agenda.generator(self.seed, "how", *where, level, phrasing)
            realizer = Realizer(rng, phrasing, self.catalogue, level)
            said: list[str] = []
            for act in acts:
                said.append(first_clean(partial(realizer.realize, act), said, case.target))
            return {
                "split": split, "user": user, "cut": cut, "target": case.target.item,
                "level": level, "phrasing": phrasing, "turns": said, "text": " ".join(said),
                "conditions": [str(constraint) for act in acts for constraint in act.constraints],
            }  # fmt: skip

        for again in ([], *([attempt] for attempt in range(1, agenda.N_PLANS))):
            plans = {level: plan(level, again) for level in dict.fromkeys(lv for lv, _ in ways)}
            with suppress(UnsayableError):
                return [row(level, phrasing, plans[level]) for level, phrasing in ways]
        nothing = [agenda.DialogueAct("first"), *[agenda.NOTHING] * (n_turns - 1)]
        return [row(level, phrasing, nothing) for level, phrasing in ways]

    def reused(self, train: pl.DataFrame) -> pl.DataFrame:
        """Return training rows for further random cuts of every user, with sentences of `train`.

        For each new cut a level is drawn, then a sentence of that level whose constraints all hold
        for the target; the fewer items it suits the larger its weight (as if its constraints had
        been drawn from what is true of the item). Sentences about the speaker's own items stay.
        """
        said = [frozenset(map(Constraint.parse, row)) for row in train["conditions"].to_list()]
        general = [all(c.slot not in PERSONAL for c in row) for row in said]
        shared = train.filter(pl.Series(general, dtype=pl.Boolean))
        level_of, texts = shared["level"].to_numpy(), shared["text"].to_list()
        levels = sorted(set(level_of))
        if not levels:
            return train.clear()
        users, cuts = random_cuts(self.data, self.config.n_reused_cuts, self.seed + 1)
        taken, items = set(train.select("user", "cut").iter_rows()), self.data.interactions
        rng = np.random.default_rng([self.seed, self.config.n_reused_cuts])
        # target, level, number in [0, 1), user, cut
        wanted = [
            (int(items[u][c]), levels[rng.integers(len(levels))], rng.random(), u, c)
            for u, c in zip(users.tolist(), cuts.tolist(), strict=True)
            if (u, c) not in taken
        ]
        suiting, weight = _suiting(Matcher(self.catalogue), list(compress(said, general)))
        chosen: list[tuple[int, int, int, int, int]] = []
        # one target after the other, so that the sentences of one only are held at a time
        in_order = sorted(enumerate(wanted), key=lambda entry: entry[1][0])
        for target, entries in groupby(in_order, key=lambda entry: entry[1][0]):
            rows = suiting(target)
            for place, (_, level, number, user, cut) in entries:
                sums = np.cumsum(weight[rows] * (level_of[rows] == level))
                if len(sums) and sums[-1] > 0:
                    row = int(rows[np.searchsorted(sums, number * sums[-1], side="right")])
                    # a sentence that keeps its own title may hold a word of another one
                    if not self.catalogue[target].leaks_title(texts[row]):
                        chosen.append((place, row, user, cut, target))
        columns = np.array(sorted(chosen), dtype=np.int64).reshape(-1, 5).T
        return shared[columns[1]].with_columns(
            pl.Series(name, values).cast(train.schema[name])
            for name, values in zip(("user", "cut", "target"), columns[2:], strict=True)
        )


def _suiting(
    matcher: Matcher, said: Sequence[frozenset[Constraint]]
) -> tuple[Callable[[int], np.ndarray], np.ndarray]:
    """Return which sentences suit an item, and 1 / (number of items that each suits), float [N].

    Sentences times items would be a table of gigabytes; kept are bits for constraints and items.
    """
    numbers = {c: i for i, c in enumerate(sorted(frozenset().union(*said), key=str))}
    sets = {of_set: i for i, of_set in enumerate(dict.fromkeys(said))}
    width = 1 + max(map(len, sets))
    # filled up with the last row of bits, which is true of every item
    members = np.array([
        [*(numbers[c] for c in of_set), *[-1] * (width - len(of_set))] for of_set in sets
    ])  # fmt: skip
    masks = *map(matcher.satisfying, numbers), matcher.items
    bits = np.stack([np.packbits(mask) for mask in masks])
    suited = (np.bitwise_and.reduce(bits[rows]) for rows in members)
    n_items = np.array([np.bitwise_count(of_set).sum(dtype=np.int64) for of_set in suited])
    set_of = np.array([sets[of_set] for of_set in said])

    def suiting(item: int) -> np.ndarray:
        true = (bits[:, item // 8] >> (7 - item % 8)) & 1
        return np.flatnonzero(true[members].all(axis=1)[set_of])

    return suiting, 1 / np.maximum(n_items, 1)[set_of]
