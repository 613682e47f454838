"""Verdicts that the notebooks print after each block: ``claim: ok`` or ``claim: NO``.

A verdict says in the same words on every machine whether something holds that must hold, also where
the numbers behind it move a little from machine to machine. It never raises: a reader who changed a
parameter goes on and sees what became of the claim; the recording tool refuses a ``NO``.
"""

from __future__ import annotations

from typing import Any

import numpy as np


def holds(claim: str, condition: Any) -> None:
    """Print the verdict on ``condition``, a truth value or an array that must be all true."""
    good = bool(np.all(np.asarray(condition)))
    print(f"{claim}: {'ok' if good else 'NO'}")


def equal(claim: str, ours: Any, theirs: Any, *, tolerance: float = 1e-5) -> None:
    """Print whether two arrays of the same shape differ by at most ``tolerance`` anywhere.

    Infinities are equal to themselves; a NaN is equal to nothing.
    """
    a, b = np.asarray(ours, dtype=float), np.asarray(theirs, dtype=float)
    if a.shape != b.shape:
        print(f"{claim}: NO (shapes {a.shape} and {b.shape})")
        return
    good = bool(np.allclose(a, b, rtol=tolerance, atol=tolerance))
    gap = "" if good else f" (they differ by up to {np.max(np.abs(a - b)):.2g})"
    print(f"{claim}: {'ok' if good else 'NO'}{gap}")


def within(name: str, value: float, low: float, high: float) -> None:
    """Print whether a measured number lies in the band that we expect it in."""
    good = low <= value <= high
    verdict = "ok" if good else f"NO (it is {value:.4g})"
    print(f"{name} within {low:g} to {high:g}: {verdict}")
