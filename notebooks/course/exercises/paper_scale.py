"""The exercises of notebook 11: memory, sampling, several processes, and what takes over."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from course.exercises.marking import mark


def rows_that_fit(answer: Callable[..., Any]) -> None:
    """Mark how many users' scores of all items fit into a number of bytes, at least one user's.

    A row has V + 1 float32 numbers, padding included, and is held ``n_copies`` times.

    Args:
        answer: ``(memory, n_items, n_copies) -> a whole number``.
    """

    def reference(memory: int, n_items: int, n_copies: int) -> int:
        return max(1, memory // (4 * n_copies * (n_items + 1)))

    # 7 rows of 999 numbers held twice, and a byte: with the padding column only 6 fit
    cases = [(2 * 10**9, 76_616, 3), (55_945, 999, 2), (1_000, 76_616, 1), (16_000, 999, 1)]
    advice = (
        "A row has a padding column, is held n_copies times, 4 bytes a number; a part of a "
        "row is of no use, and without any row nothing is ever ranked."
    )
    mark("Exercise 1", answer, reference, cases, advice=advice)


def corrected(answer: Callable[..., Any]) -> None:
    """Mark the logits of sampled items after the log-q correction, draws with replacement.

    Args:
        answer: ``(logits [n], share [n]) -> [n]``; ``share`` is q, the probability that one draw
            gives that item.
    """

    def reference(logits: Tensor, share: Tensor) -> Tensor:
        return logits - (len(logits) * share).log()

    cases = [
        (torch.tensor([1.0, 0.2, -0.5]), torch.tensor([0.5, 0.1, 0.1])),
        (torch.tensor([2.0, 2.0]), torch.tensor([0.25, 0.01])),
    ]
    advice = (
        "An item that is expected c times among the n draws stands for 1 / c items: its "
        "exponentiated logit is divided by c."
    )
    mark("Exercise 2", answer, reference, cases, advice=advice)


def loss_factor(answer: Callable[..., Any]) -> None:
    """Mark the factor of each process's mean loss that makes the plain average of gradients right.

    Args:
        answer: ``(counts [P]) -> [P]``; ``counts`` is how many rows each process has.
    """

    def reference(counts: Tensor) -> Tensor:
        return len(counts) * counts / counts.sum()

    cases = [(torch.tensor([3.0, 1.0]),), (torch.tensor([5.0, 5.0, 2.0]),)]
    advice = (
        "After the average over P processes each row of the whole batch must count 1 / N; "
        "where all have equally many rows, nothing changes."
    )
    mark("Exercise 3", answer, reference, cases, advice=advice)


def processes_needed(answer: Callable[..., Any]) -> None:
    """Mark the fewest processes that finish in time, 0 where no number of them does.

    Args:
        answer: ``(serial, parallel, limit) -> a whole number``, all arguments in seconds.
    """

    def reference(serial: float, parallel: float, limit: float) -> int:
        return math.ceil(parallel / (limit - serial)) if limit > serial else 0

    cases = [(40.0, 120.0, 50.0), (10.0, 100.0, 45.0), (30.0, 120.0, 25.0), (0.0, 30.0, 60.0)]
    advice = (
        "Only the parallel part is divided; the time that is left for it is the limit less "
        "the serial part."
    )
    mark("Exercise 4", answer, reference, cases, advice=advice)


def best_n_lists(answer: Callable[..., Any]) -> None:
    """Mark the number of lists for which a query of a coarse index makes fewest products.

    Args:
        answer: ``(n_items, n_probes) -> a number``, need not be whole.
    """

    def reference(n_items: int, n_probes: int) -> float:
        return math.sqrt(n_probes * n_items)

    cases = [(10_000, 1), (76_616, 8), (1_000_000, 16)]
    advice = (
        "Write down the products with the centroids plus those in the probed lists; at the "
        "minimum, one more list saves as much as it costs."
    )
    mark("Exercise 5", answer, reference, cases, advice=advice)
