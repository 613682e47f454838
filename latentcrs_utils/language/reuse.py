"""More training instances for the same sentences: what one user said suits other films as well.

A sentence costs a pass of the language model, an instance costs nothing.  "A comedy from the
eighties" was simulated for one film, but a user on the way to any other comedy of the eighties
could have said it, so it serves as the utterance of further random cuts.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl

from ..data import Dataset, random_cuts
from .conditions import films as films_of
from .conditions import holds
from .titles import leaks

# Conditions about the films of one user's own history: true for that user alone.
_PERSONAL = ("like", "liked", "older", "newer", "lighter", "darker", "similar")


def reused_rows(data: Dataset, train: pl.DataFrame, n_cuts: int, seed: int) -> pl.DataFrame:
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

    Returns:
        Rows with the columns of `train`; `instance` is left for the caller to number.
    """
    shared = train.filter(
        ~pl.col("conditions")
        .list.eval(pl.element().str.split("=").list[0].is_in(_PERSONAL))
        .list.any()
    )
    weight = _suitability(data, shared["conditions"].to_list())
    level_of, texts = shared["level"].to_numpy(), shared["text"].to_list()
    levels = sorted(set(level_of))
    if not levels:
        return train.clear()
    # One column an item: the running sum of the weights of the sentences of one level.
    running = {level: np.cumsum(weight * (level_of == level)[:, None], axis=0) for level in levels}

    users, cuts = random_cuts(data, n_cuts, seed + 1)
    taken = set(zip(train["user"].to_list(), train["cut"].to_list(), strict=True))
    generator = np.random.default_rng([seed, n_cuts])
    rows = []
    for user, cut in zip(users.tolist(), cuts.tolist(), strict=True):
        if (user, cut) in taken:
            continue
        target = int(data.interactions[user][cut])
        sums = running[levels[generator.integers(len(levels))]][:, target]
        drawn = generator.random() * sums[-1]
        if sums[-1] > 0:
            row = int(np.searchsorted(sums, drawn, side="right"))
            # A sentence that is innocent of its own film may hold a word of another one's title.
            if not leaks(texts[row], data.title(target)):
                rows.append((user, cut, target, row))
    columns = np.array(rows, dtype=np.int64).reshape(-1, 4).T
    return shared[columns[3]].with_columns(
        pl.Series(name, values).cast(train.schema[name])
        for name, values in zip(("user", "cut", "target"), columns[:3], strict=True)
    )


def _suitability(data: Dataset, conditions: Sequence[Sequence[str]]) -> np.ndarray:
    """1 / (number of films that all conditions hold for), zero for the others, [N, V + 1]."""
    films = films_of(data)
    known: dict[str, np.ndarray] = {}

    def suits(condition: str) -> np.ndarray:
        if condition not in known:
            known[condition] = np.array(
                [film.item > 0 and holds(condition, film, films) for film in films]
            )
        return known[condition]

    everything = np.array([film.item > 0 for film in films])
    suitable = (
        np.stack(
            [np.logical_and.reduce([everything, *map(suits, of_row)]) for of_row in conditions]
        )
        if len(conditions)
        else np.zeros((0, len(films)), dtype=bool)
    )
    return suitable / np.maximum(suitable.sum(axis=1, keepdims=True), 1)
