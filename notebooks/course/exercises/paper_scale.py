"""Marking functions of the exercises of notebook 11."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from course.exercises.marking import mark


def rows_that_fit(answer: Callable[..., Any]) -> None:
    """Mark how many rows of V + 1 scores fit, ``(memory, n_items, n_copies) -> whole number``."""

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
    """Mark logits after the log-q correction, ``(logits [n], share [n]) -> [n]``; share is q."""

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


def processes_needed(answer: Callable[..., Any]) -> None:
    """Mark the fewest processes in time, ``(serial, parallel, limit) in seconds -> number``."""

    def reference(serial: float, parallel: float, limit: float) -> int:
        return math.ceil(parallel / (limit - serial)) if limit > serial else 0

    cases = [(40.0, 120.0, 50.0), (10.0, 100.0, 45.0), (30.0, 120.0, 25.0), (0.0, 30.0, 60.0)]
    advice = (
        "Only the parallel part is divided; the time that is left for it is the limit less "
        "the serial part."
    )
    mark("Exercise 3", answer, reference, cases, advice=advice)
