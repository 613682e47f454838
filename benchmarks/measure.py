"""Timing two things side by side, and counting what a computation must at least do."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

# large enough for a processor's best rate, small enough for a few milliseconds
_SIDE = 1024


@dataclass(frozen=True)
class Measurement:
    """One stage beside its floor.

    Attributes:
        stage: what was timed.
        seconds: median of one call.
        floor: what the stage is compared with.
        floor_seconds: median of the floor.
        note: what one call does.
    """

    stage: str
    seconds: float
    floor: str
    floor_seconds: float
    note: str

    @property
    def ratio(self) -> float:
        """How many times the floor the stage takes; 1 would be perfect."""
        return self.seconds / self.floor_seconds


def compare(
    stage: Callable[[], Any], floor: Callable[[], Any], repeats: int = 7
) -> tuple[float, float]:
    """Return the median seconds of ``stage`` and of ``floor``, called in turn.

    Taking turns spreads what others do on the machine evenly over both. One call of each
    before the clock starts warms caches and lazy imports.
    """
    times: tuple[list[float], list[float]] = ([], [])
    for repeat in range(repeats + 1):
        for function, seconds in zip((stage, floor), times, strict=True):
            started = time.perf_counter()
            function()
            elapsed = time.perf_counter() - started
            if repeat:
                seconds.append(elapsed)
    return statistics.median(times[0]), statistics.median(times[1])


def count_flops(function: Callable[[], Any]) -> int:
    """Return the floating-point operations of a call's matrix products, backward included."""
    with FlopCounterMode(display=False) as counter:
        function()
    return counter.get_total_flops()


def matrix_product(dtype: torch.dtype) -> tuple[Callable[[], Any], int]:
    """Return a large square matrix product in ``dtype``, and its floating-point operations."""
    generator = torch.Generator().manual_seed(0)
    left, right = (torch.randn(_SIDE, _SIDE, generator=generator).to(dtype) for _ in range(2))
    return (lambda: left @ right), 2 * _SIDE**3


def against_matrix_products(
    stage: str, function: Callable[[], Any], dtype: torch.dtype, note: str, repeats: int = 7
) -> Measurement:
    """Compare a call with its own matrix products, done at this machine's best rate."""
    product, flops_of_product = matrix_product(dtype)
    flops = count_flops(function)
    seconds, product_seconds = compare(function, product, repeats)
    rate = flops_of_product / product_seconds
    floor = f"its {flops / 1e9:.2f} GFLOP at {rate / 1e9:.0f} GFLOP/s"
    return Measurement(stage, seconds, floor, flops / rate, note)
