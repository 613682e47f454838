"""The exercises of notebook 01: counting, filtering and splitting interactions.

Users and items are short texts or numbers; ``pairs`` is a list of (user, item), each at most once.
"""

from collections.abc import Callable
from typing import Any

import polars as pl

from course.exercises.marking import mark
from latentcrs_utils.data.preprocess import k_core
from latentcrs_utils.data.source import Statistics

Pairs = list[tuple[str, str]]


def _pairs(**films_of: str) -> Pairs:
    """``_pairs(ann="AB")`` is ``[("ann", "A"), ("ann", "B")]``."""
    return [(user, film) for user, films in films_of.items() for film in films]


def _frame(pairs: Pairs) -> pl.DataFrame:
    return pl.DataFrame(pairs, schema=["user", "item"], orient="row")


_NOTHING_IS_RARE = _pairs(ann="AB", bob="AB")
# C has one fan; without C, cleo is left with one film: the second pass would take her
_SPREADS = _pairs(ann="AB", bob="AB", cleo="AC")
_CHAIN = _pairs(ann="ABC", bob="ABCD", cleo="ABCE", dan="ABD", eve="ADE", finn="CEF")
# a dense centre with a thin border, and a pair of friends with a taste of their own
_LAYERS = _pairs(ann="ABC", bob="ABC", cleo="ABCD", dan="AD", eve="E", gil="XY", hal="XY", ida="Y")


def sparsity_from_length(answer: Callable[..., Any]) -> None:
    """Mark the sparsity: ``(average_length, items) -> percent``."""

    def from_counts(average_length: float, items: int) -> float:
        users = 1_000
        return 100 * Statistics(users, items, round(average_length * users)).sparsity

    cases = [(1.5, 5), (58.01, 1_008), (12.0, 76_616), (3.0, 3)]
    advice = "Write actions as users times average length; what cancels?"
    mark("Exercise 1", answer, from_counts, cases, advice=advice)


def left_too_early(answer: Callable[..., Any]) -> None:
    """Mark how many users n passes keep and the k-core does not: ``(pairs, k, n) -> number``."""

    def standing(pairs: Pairs, k: int, n: int) -> int:
        _, passes = k_core(_frame(pairs), k)
        return passes[min(n, len(passes) - 1)].users - passes[-1].users

    cases = [
        (_NOTHING_IS_RARE, 2, 1),
        (_SPREADS, 2, 1),
        (_CHAIN, 3, 3),
        (_CHAIN, 3, 10),
        (_CHAIN, 4, 1),
    ]
    advice = "Count everyone who leaves after pass n, not only those who leave next."
    mark("Exercise 2", answer, standing, cases, advice=advice)


def undecided(answer: Callable[..., Any]) -> None:
    """Mark the number of users whose test item depends on how ties are ordered.

    Args:
        answer: ``(times) -> number``; ``times[u]`` are the times of user u, in file order.
    """

    def ties_at_the_end(times: list[list[int]]) -> int:
        return sum(own.count(max(own)) > 1 for own in times)

    cases = [
        ([[1, 2, 3], [1, 2, 2]],),
        # a tie in the middle is harmless, and the file is not in order of time
        ([[5, 5, 9], [9, 1, 9], [4, 7, 4], [2, 2, 2], [3, 8, 1, 2]],),
    ]
    advice = "Only a tie for the latest time matters, and rows need not come in order of time."
    mark("Exercise 3", answer, ties_at_the_end, cases, advice=advice)


def leaking_users(answer: Callable[..., Any]) -> None:
    """Mark who can read his own validation or test item in the training instances.

    Args:
        answer: ``(instances, held_out) -> set of users``; an instance is (user, history, target),
            ``held_out[user]`` is (validation item, test item).
    """

    def leaks(instances: list[tuple[int, list[int], int]], held_out: dict[int, Any]) -> set[int]:
        return {
            user for user, history, target in instances if set(held_out[user]) & {*history, target}
        }

    clean = [(0, [1, 2], 3), (1, [4], 5), (1, [4, 5], 1)]
    # 0 and 4 in a history (the test item, the validation item), 1 and 2 in a target, 3 not at all
    dirty = [(0, [1, 9], 3), (1, [4], 7), (4, [6, 1], 2), (2, [3], 8), (3, [9, 7], 6), (3, [8], 1)]
    cases = [
        (clean, {0: (4, 5), 1: (2, 3)}),
        (dirty, {0: (5, 9), 1: (7, 4_000), 2: (8, 5), 3: (2, 4), 4: (6, 3)}),
    ]
    advice = "Look at histories and targets, at both held-out items, and only at one's own."
    mark("Exercise 4", answer, leaks, cases, advice=advice)


def core_numbers(answer: Callable[..., Any]) -> None:
    """Mark the largest k whose k-core holds a user: ``(pairs) -> {user: core number}``."""

    def numbers(pairs: Pairs) -> dict[str, int]:
        frame = _frame(pairs)
        found: dict[str, int] = {}
        k = 1
        while len(frame):
            found |= dict.fromkeys(frame["user"], k)
            k += 1
            frame, _ = k_core(frame, k)
        return found

    cases = [(_NOTHING_IS_RARE,), (_SPREADS,), (_CHAIN,), (_LAYERS,)]
    advice = "The number of films that a user has is only a bound; the core may be lower."
    mark("Exercise 5", answer, numbers, cases, advice=advice)
