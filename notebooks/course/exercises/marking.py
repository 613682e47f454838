"""How an answer is marked: on inputs of our own, against the package's own function."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

_WIDTH = 300


def mark(
    label: str,
    answer: Callable[..., Any],
    reference: Callable[..., Any],
    cases: Sequence[tuple[Any, ...]],
    *,
    advice: str = "",
    tolerance: float = 1e-4,
) -> None:
    """Print whether ``answer`` gives what ``reference`` gives on every case.

    An answer that returns ``None`` or ``...`` or raises ``NotImplementedError`` is not answered
    yet. Any other error is shown as part of the verdict, never raised: the notebook goes on.

    Args:
        label: e.g. ``"Exercise 2"``.
        answer: the reader's function.
        reference: the function that is right.
        cases: arguments of one call each; they are given to both functions.
        advice: one sentence for an answer that is not right, naming what is often overlooked.
        tolerance: relative and absolute, for numbers.
    """
    for arguments in cases:
        try:
            # copies: an answer may change its arguments in place
            given = answer(*copy.deepcopy(arguments))
        except NotImplementedError:
            given = None
        except Exception as error:
            _say_not_yet(label, arguments, f"it raised {type(error).__name__}: {error}", advice)
            return
        if given is None or given is ...:
            print(f"{label}: not answered yet.")
            return
        expected = reference(*arguments)
        if not _same(given, expected, tolerance):
            found = f"it gave {_short(given)}, expected {_short(expected)}"
            _say_not_yet(label, arguments, found, advice)
            return
    print(f"{label}: right.")


def _say_not_yet(label: str, arguments: tuple[Any, ...], found: str, advice: str) -> None:
    shown = ", ".join(_short(argument) for argument in arguments)
    print(" ".join(part for part in (f"{label}: not yet. For ({shown}) {found}.", advice) if part))


def _same(given: Any, expected: Any, tolerance: float) -> bool:
    """Compare numbers and arrays within the tolerance, sets and dicts by content, texts exactly."""
    if isinstance(expected, (str, bool, set, frozenset)):
        return type(given) is type(expected) and given == expected
    if isinstance(expected, dict):
        return (
            isinstance(given, dict)
            and given.keys() == expected.keys()
            and all(_same(given[name], expected[name], tolerance) for name in expected)
        )
    try:
        ours, theirs = np.asarray(given, dtype=float), np.asarray(expected, dtype=float)
    except (TypeError, ValueError):
        return (
            isinstance(given, (list, tuple))
            and isinstance(expected, (list, tuple))
            and len(given) == len(expected)
            and all(_same(a, b, tolerance) for a, b in zip(given, expected, strict=True))
        )
    return ours.shape == theirs.shape and bool(
        np.allclose(ours, theirs, rtol=tolerance, atol=tolerance, equal_nan=True)
    )


def _short(value: Any) -> str:
    """Show a value on one line."""
    text = " ".join(repr(value).split())
    return text if len(text) <= _WIDTH else text[: _WIDTH - 1] + "…"
