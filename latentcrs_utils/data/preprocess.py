"""Preprocessing as in the paper (Appendix B): positives, k-core, order, splits, windows."""

import numpy as np
import polars as pl

from latentcrs_utils.data.sequences import Dataset, Sequences
from latentcrs_utils.data.source import Statistics
from latentcrs_utils.errors import DataError

Filtered = tuple[pl.DataFrame, list[Statistics]]  # ratings, counts before and after every pass


def positives(ratings: pl.DataFrame, min_rating: float = 4.0) -> pl.DataFrame:
    """Keep the ratings >= ``min_rating``, in the order given."""
    return ratings.filter(pl.col("rating") >= min_rating)


def k_core(ratings: pl.DataFrame, k: int = 5, max_passes: int | None = None) -> Filtered:
    """Drop users and items with fewer than ``k`` rows until none is left, in the order given.

    Without ``max_passes`` the result is the fixed point, the unique largest such subset. Returns
    also the counts before the first and after every pass; at a fixed point the last two are equal.
    """
    passes = [Statistics.of(ratings)]
    while max_passes is None or len(passes) <= max_passes:
        ratings = ratings.filter((pl.len().over("user") >= k) & (pl.len().over("item") >= k))
        passes.append(Statistics.of(ratings))
        if passes[-1] == passes[-2]:
            break
    return ratings, passes


def official_filter(ratings: pl.DataFrame, k: int = 5, passes: int | None = None) -> Filtered:
    """Filter as the official release: ten ``passes`` of `k_core` (Amazon), or None: users alone."""
    if passes is not None:
        return k_core(ratings, k, passes)
    kept = ratings.filter(pl.len().over("user") >= k)
    return kept, [Statistics.of(ratings), Statistics.of(kept)]


def chronological(ratings: pl.DataFrame) -> pl.DataFrame:
    """Sort by user and time, stably: rows with the same time stay in the order of the file.

    42 % of the ml-100k positives have the time of the one before, so the last item of about a
    third of the users depends on this rule.
    """
    return ratings.sort("user", "timestamp", maintain_order=True)


def leave_one_out(sequences: Sequences) -> tuple[Sequences, np.ndarray, np.ndarray]:
    """Split into training parts (all but two), validation items int64 [N] (last but one) and test
    items int64 [N] (last); DataError if a sequence has fewer than three items.
    """
    if len(sequences) and sequences.lengths.min() < 3:
        raise DataError("Leave-one-out needs at least three items in every sequence.")
    ends = sequences.offsets[1:]
    valid, test = (sequences.flat[ends - n].astype(np.int64) for n in (2, 1))
    return sequences.without_last(2), valid, test


def random_cuts(
    data: Dataset, n_cuts: int, seed: int, *, min_history: int = 1
) -> tuple[np.ndarray, np.ndarray]:
    """Draw training instances: the last training item of every user and random earlier ones.

    Instance (user, cut) predicts item ``interactions[user][cut]`` from the ``cut`` items before
    it. Validation and test items are never a target or in a history. Besides the last training
    item every user gives ``n_cuts`` different random cuts, or all there are, with at least
    ``min_history`` items before. Returns user and cut, int64 [M] each, sorted by user, then cut.
    """
    last = data.interactions.lengths - 3
    available = np.maximum(last - min_history, 0)
    user = np.repeat(np.arange(data.n_users), available)
    position = np.arange(len(user)) - np.repeat(np.cumsum(available) - available, available)
    order = np.lexsort((np.random.default_rng(seed).random(len(user)), user))
    # after the shuffle within each user, the first n_cuts of a user are its draw
    drawn = order[position < n_cuts]
    users = np.concatenate([np.arange(data.n_users), user[drawn]])
    cuts = np.concatenate([last, position[drawn] + min_history])
    result = np.lexsort((cuts, users))
    return users[result], cuts[result]
