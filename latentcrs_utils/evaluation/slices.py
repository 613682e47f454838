"""Traits of a test case by which results are taken apart, and the results by part."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import polars as pl

from latentcrs_utils.data.sequences import Dataset
from latentcrs_utils.evaluation.metrics import bootstrap_interval


def target_popularity(data: Dataset) -> np.ndarray:
    """How often each user's test item stands in the training parts of all users, int [U]."""
    counts = np.bincount(data.histories("train").flat, minlength=data.n_items + 1)
    return counts[data.targets("test")]


def habit(data: Dataset, n_last: int = 10) -> np.ndarray:
    """How much each user's test item is like what came last, float [U] in [0, 1].

    The mean over the last ``n_last`` items of the history of the overlap of their genres with the
    target's: |both| / |either| (Jaccard), 0 where neither item has a genre.
    """
    names = sorted({genre for genres in data.items["genres"] for genre in genres})
    column = {genre: index for index, genre in enumerate(names)}
    has = np.zeros((data.n_items + 1, len(names)), dtype=bool)
    for item, genres in data.items.select("item", "genres").iter_rows():
        has[item, [column[genre] for genre in genres]] = True
    last, targets = data.histories("test").last(n_last), data.targets("test")
    ours, theirs = has[last.flat], has[targets[last.rows()]]
    both, either = (ours & theirs).sum(1), (ours | theirs).sum(1)
    return np.bincount(last.rows(), both / np.maximum(either, 1), len(last)) / last.lengths


def parts_of_equal_size(values: np.ndarray, n: int = 4) -> np.ndarray:
    """Number 0 (lowest) to n - 1 of the part that each value falls in, int [N].

    The borders are quantiles, so equal values are in the same part and the sizes differ a little.
    """
    borders = np.quantile(values, np.linspace(0, 1, n + 1)[1:-1])
    return np.searchsorted(borders, values, side="right")


def by_part(values: np.ndarray, parts: np.ndarray, names: Sequence[str]) -> pl.DataFrame:
    """Mean of ``values`` in each part with its 95 % bootstrap interval.

    Args:
        values: [N] one value an instance, such as a metric or a paired difference.
        parts: [N] number of the part, 0 to len(names) - 1.
        names: of the parts.

    Returns:
        Columns part, n, mean, low, high; one row a part that has instances.

    Raises:
        ValueError: lengths or numbers of parts do not fit.
    """
    if len(values) != len(parts) or (len(parts) and int(np.max(parts)) >= len(names)):
        raise ValueError(
            f"{len(values)} values, {len(parts)} parts and {len(names)} names do not fit."
        )
    rows = []
    for number, name in enumerate(names):
        chosen = np.asarray(values)[np.asarray(parts) == number]
        if len(chosen):
            low, high = bootstrap_interval(chosen)
            mean = float(chosen.mean())
            rows.append({"part": name, "n": len(chosen), "mean": mean, "low": low, "high": high})
    return pl.DataFrame(rows)


def means_by_part(
    values: Mapping[str, np.ndarray], parts: np.ndarray, names: Sequence[str]
) -> tuple[dict[str, dict[str, float]], dict[str, dict[str, tuple[float, float]]]]:
    """Run `by_part` on several systems and return what `plots.dots` draws.

    Args:
        values: system -> [N]; parts, names: as of `by_part`.

    Returns:
        system -> part -> mean, and system -> part -> (low, high).
    """
    tables = {system: by_part(v, parts, names).to_dicts() for system, v in values.items()}
    means = {system: {row["part"]: row["mean"] for row in t} for system, t in tables.items()}
    ends = {s: {row["part"]: (row["low"], row["high"]) for row in t} for s, t in tables.items()}
    return means, ends
