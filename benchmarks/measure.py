"""Timing things side by side, memory, and the floors that a stage is compared with."""

import ctypes
import gc
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from .products import Product, products_of, replay
from .worlds import random

ROOT = Path(__file__).resolve().parent.parent
_SIDE = 1024  # large enough for a processor's best rate, small enough for a few milliseconds
_STATUS, _CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


@dataclass(frozen=True)
class Measurement:
    """One stage at some data or shapes (``scale``) compared with its floor: medians of one call."""

    stage: str
    scale: str
    seconds: float
    floor: str
    floor_seconds: float
    note: str  # what one call does
    aim: float | None = None  # the largest ratio that is good enough
    gflop: float | None = None  # 10^9 operations of the stage's own matrix products
    # what these would take at this machine's best rate, that of a large square product: a stricter
    # floor, which small products cannot reach
    best_rate_seconds: float | None = None
    peak_bytes: int | None = None  # of resident memory above its start; None: not known

    @property
    def ratio(self) -> float:
        """How many times the floor the stage takes; 1 would be perfect."""
        return self.seconds / self.floor_seconds

    @property
    def ratio_at_best_rate(self) -> float | None:
        """The ratio to the stricter floor, where there is one."""
        return self.seconds / self.best_rate_seconds if self.best_rate_seconds else None


def clock() -> tuple[str, Callable[[], float]]:
    """Name and reading, in seconds, of the clock that measures."""
    # other work on the machine hardly touches it; of several threads the waiting counts, too
    if torch.get_num_threads() == 1:
        return "processor time of the one thread", time.process_time
    return "time on the wall", time.perf_counter


def compare(
    *functions: Callable[[], Any], repeats: int = 7, warm: bool = False
) -> tuple[float, ...]:
    """Median seconds of functions called in turn, each once more beforehand unless ``warm``."""
    _, now = clock()
    times: list[list[float]] = [[] for _ in functions]
    for repeat in range(repeats + (not warm)):
        for function, seconds in zip(functions, times, strict=True):
            started = now()
            function()
            elapsed = now() - started
            if repeat or warm:
                seconds.append(elapsed)
    return tuple(map(statistics.median, times))


def matrix_product(dtype: torch.dtype) -> tuple[Callable[[], Any], int]:
    """Return a large square matrix product in ``dtype``, and its floating-point operations."""
    left, right = (random(_SIDE, _SIDE, seed=seed).to(dtype) for seed in (0, 1))
    return (lambda: left @ right), 2 * _SIDE**3


def in_a_process(*arguments: str, **environment: str) -> Any:
    """Run ``python -m ARGUMENTS`` and return the JSON that it prints, or CalledProcessError."""
    command, variables = [sys.executable, "-m", *arguments], os.environ | environment
    done = subprocess.run(command, cwd=ROOT, env=variables, check=True, stdout=subprocess.PIPE)
    return json.loads(done.stdout)


def _resident(name: str) -> int:
    """Bytes of VmRSS (now) or VmHWM (at the highest) of this process."""
    for line in _STATUS.read_text(encoding="ascii").splitlines():
        if line.startswith(name):
            return int(line.split()[1]) * 1024
    raise OSError(f"{_STATUS} has no {name}")


def peak_bytes(function: Callable[[], Any]) -> int | None:
    """Return how far the resident memory rises above its start during a call (Linux), or None."""
    gc.collect()
    with suppress(OSError, AttributeError):
        # what earlier calls freed goes back to the system, so that this call's memory is new
        ctypes.CDLL(None).malloc_trim(0)
    try:
        _CLEAR.write_text("5", encoding="ascii")
        before = _resident("VmRSS")
        function()
        return max(0, _resident("VmHWM") - before)
    except OSError:
        return None


def against_matrix_products(
    stage: str,
    scale: str,
    function: Callable[[], Any],
    note: str,
    *,
    aim: float | None = None,
    repeats: int = 7,
    floor: tuple[str, Callable[[], Any]] | None = None,
) -> Measurement:
    """Compare a call with its own matrix products (or a ``floor``'s), and at the best rate."""
    products: list[Product] = []
    peak = peak_bytes(lambda: products.extend(products_of(function)))
    if floor is not None:
        products = products_of(floor[1])
    flops = sum(product.flops for product in products)
    square, flops_of_square = matrix_product(max(products, key=lambda p: p.flops).left.dtype)
    name, same = floor or (f"its own {len(products):,} matrix products", replay(products))
    same()
    square()
    seconds, floor_seconds, of_square = compare(function, same, square, repeats=repeats, warm=True)
    best = flops * of_square / flops_of_square
    return Measurement(
        stage, scale, seconds, name, floor_seconds, note, aim, flops / 1e9, best, peak
    )
