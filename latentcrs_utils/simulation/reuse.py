"""More training instances for the same sentences: what one user said suits other films as well.

A sentence costs a pass of the language model, an instance costs nothing.  "A comedy from the
eighties" was simulated for one film, but a user on the way to any other comedy of the eighties
could have said it, so it serves as the utterance of further random cuts.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl

from latentcrs_utils.data.preprocess import random_cuts
from latentcrs_utils.data.sequences import Dataset
from latentcrs_utils.simulation.items import PERSONAL, Catalogue


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
        if row >= 0 and not catalogue[target].betrayed_by(texts[row])
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
        masks = (catalogue.true_of(condition) for condition in column)
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
