"""What the notebooks check: their claims, and the environment they run in.

A check says nothing where its claim holds, ``claim: NO`` at once where it does not, and each
section ends with one `verdict` on all of them: ``5 checks: ok``.

A verdict says in the same words on every machine whether something holds that must hold, also where
the numbers behind it move a little from machine to machine. Nothing here raises: a reader who
changed a parameter goes on and sees what became of the claim; the recording tool refuses a ``NO``.
"""

import importlib.metadata
import sys
import tempfile
from typing import Any

import numpy as np

from latentcrs_utils.errors import LatentCRSError

_since: list[bool] = []  # what the checks since the last verdict found


def holds(claim: str, condition: Any, why: str = "") -> None:
    """Check ``condition``, a truth value or an array that must be all true."""
    _since.append(bool(np.all(np.asarray(condition))))
    if not _since[-1]:
        print(f"{claim}: NO{why and f' ({why})'}")


def equal(claim: str, ours: Any, theirs: Any, *, tolerance: float = 1e-5) -> None:
    """Check that two arrays of the same shape differ by at most ``tolerance`` anywhere.

    Infinities are equal to themselves; a NaN is equal to nothing.
    """
    a, b = np.asarray(ours, dtype=float), np.asarray(theirs, dtype=float)
    if a.shape != b.shape:
        holds(claim, False, f"shapes {a.shape} and {b.shape}")
        return
    good = bool(np.allclose(a, b, rtol=tolerance, atol=tolerance))
    holds(claim, good, "" if good else f"they differ by up to {np.max(np.abs(a - b)):.2g}")


def within(name: str, value: float, low: float, high: float) -> None:
    """Print a measured number, and check that it lies in the band that we expect it in."""
    print(f"{name}: {value:.3g} (expected: {low:g} to {high:g})")
    holds(f"{name} from {low:g} to {high:g}", low <= value <= high)


def verdict() -> None:
    """Print one verdict on all checks since the last one; where there was none, it is a NO."""
    n, n_wrong = len(_since), _since.count(False)
    _since.clear()
    what = f"{n} check{'s' * (n != 1)}"
    print(f"{n_wrong} of {what}: NO" if n_wrong else f"{what}: {'ok' if n else 'NO'}")


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
