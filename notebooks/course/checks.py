"""What the notebooks check: their claims, and the environment they run in.

Verdicts stand after each block: ``claim: ok`` or ``claim: NO``.

A verdict says in the same words on every machine whether something holds that must hold, also where
the numbers behind it move a little from machine to machine. It never raises: a reader who changed a
parameter goes on and sees what became of the claim; the recording tool refuses a ``NO``.
"""

from __future__ import annotations

import importlib.metadata
import sys
import tempfile
from typing import Any

import numpy as np

from latentcrs_utils.errors import LatentCRSError


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


def environment() -> list[str]:
    """Check what the course needs, one line each: ``[OK] ...`` or ``[FAIL] ... -> what to do``.

    The lines are the same on every machine where all is well. The two assets are fetched if they
    are not here yet.
    """
    return [_python(), *_packages(), *_assets(), _cache()]


def _line(good: bool, subject: str, remedy: str) -> str:
    return f"[OK] {subject}" if good else f"[FAIL] {subject} -> {remedy}"


def _python() -> str:
    good = sys.version_info >= (3, 11)
    found = ".".join(map(str, sys.version_info[:2]))
    return _line(good, "Python is 3.11 or newer", f"this is {found}; install a newer one")


def _packages() -> list[str]:
    """One line for each package that is pinned for every reader (no extras)."""
    lines = []
    for requirement in importlib.metadata.requires("latentcrs-utils") or []:
        name, _, wanted = requirement.partition("==")
        if ";" in requirement:
            continue
        try:
            found = importlib.metadata.version(name).split("+")[0]
        except importlib.metadata.PackageNotFoundError:
            found = "missing"
        remedy = f"it is {found}; run `make setup`"
        lines.append(_line(found == wanted, f"{name} {wanted}", remedy))
    return lines


def _assets() -> list[str]:
    """One line for each of the embedded assets, fetched and verified."""
    from latentcrs_utils.support import assets

    lines = []
    for asset in assets.EMBEDDED:
        try:
            assets.fetch(asset)
            lines.append(_line(True, f"{asset.title}, hash verified", ""))
        except LatentCRSError as error:
            lines.append(_line(False, asset.title, str(error)))
    return lines


def _cache() -> str:
    from latentcrs_utils.support.artifacts import cache_dir

    try:
        with tempfile.TemporaryFile(dir=cache_dir()):
            pass
    except OSError as error:
        return _line(False, "the cache folder takes files", f"{error}; set LATENTCRS_CACHE")
    return _line(True, "the cache folder takes files", "")
