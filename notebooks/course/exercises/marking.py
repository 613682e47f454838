"""How an answer is marked: on inputs of our own, against the package's own function.

An answer that does what a typical mistake does is told which one it is. The mistakes of the
exercises of a module are in the TOML file of its name: number of the exercise, then sentence and
body of a function that is nearly right.
"""

import copy
import inspect
import re
import sys
import textwrap
import tomllib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

_WIDTH = 300
_MISSING = (None, ...)


def mark(
    label: str, answer: Callable[..., Any], reference: Callable[..., Any],
    cases: Sequence[tuple[Any, ...]], *,
    advice: str = "", tolerance: float = 1e-4, read: Callable[[Any], Any] = lambda given: given,
) -> None:  # fmt: skip
    """Print whether ``answer`` gives what ``reference`` gives on every case.

    An answer that returns ``None`` or ``...`` or raises ``NotImplementedError`` is not answered
    yet. Any other error is shown as part of the verdict, never raised: the notebook goes on.

    Args:
        label: e.g. ``"Exercise 2"``.
        answer: the reader's function.
        reference: the function that is right.
        cases: arguments of one call each; they are given to both functions.
        advice: one sentence for a wrong answer that is no typical mistake.
        tolerance: relative and absolute, for numbers.
        read: what of an answer's result is compared.
    """
    module = sys._getframe(1).f_globals
    file = Path(module["__file__"]).with_suffix(".toml")
    results, wrong = list[Any](), ""
    for arguments in cases:
        try:
            # copies: an answer may change its arguments in place
            given = answer(*copy.deepcopy(arguments))
        except NotImplementedError:
            given = None
        except Exception as error:
            wrong = wrong or _told(arguments, f"it raised {type(error).__name__}: {error}")
            break
        # a stub gives nothing on every case; an answer may forget one
        missing = any(given is nothing for nothing in _MISSING)
        if missing and not results:
            print(f"{label}: not answered yet.")
            return
        results.append(None if missing else read(given))
        expected = reference(*arguments)
        if not wrong and not _same(results[-1], expected, tolerance):
            found = f"it gave {_short(results[-1])}, expected {_short(expected)}"
            wrong = _told(arguments, found)
            if _same(_plain(results[-1]), _plain(expected), tolerance):
                wrong += f" Only the type is wrong: return {type(expected).__name__}."
                break
    if not wrong:
        print(f"{label}: right.")
        return
    number = re.sub(r"\D", "", label)
    mistakes = tomllib.loads(file.read_text("utf-8")).get(number, {}) if file.exists() else {}
    tried = cases[: len(results)], results, read, tolerance, module
    same = (why for why, body in mistakes.items() if _does(answer, body, *tried))
    why = next((f"Typical mistake: {why}." for why in same), advice) if results else advice
    print(f"{label}: not yet. {wrong} {why}".rstrip())


def _told(arguments: tuple[Any, ...], found: str) -> str:
    return f"For ({', '.join(_short(argument) for argument in arguments)}) {found}."


def _does(
    answer: Callable[..., Any], body: str, cases: Sequence[tuple[Any, ...]],
    results: Sequence[Any], read: Callable[[Any], Any], tolerance: float, module: dict[str, Any],
) -> bool:  # fmt: skip
    """Whether an answer gave on all cases what another body of it gives."""
    space = {**module, **answer.__globals__}
    head = f"def mistaken({', '.join(inspect.signature(answer).parameters)}):\n"
    try:
        exec(head + textwrap.indent(body.strip(), "    "), space)
        again = [read(space["mistaken"](*copy.deepcopy(arguments))) for arguments in cases]
        return all(_same(a, b, tolerance) for a, b in zip(again, results, strict=True))
    except Exception:  # a mistake may fail where the answer did not
        return False


def _same(given: Any, expected: Any, tolerance: float) -> bool:
    """Compare numbers and arrays within the tolerance, sets and dicts by content, texts exactly."""
    if isinstance(expected, str):
        return isinstance(given, str) and given == expected
    if isinstance(expected, (set, frozenset)):
        return isinstance(given, (set, frozenset)) and given == expected
    if isinstance(expected, dict):
        return (
            isinstance(given, dict)
            and given.keys() == expected.keys()
            and all(_same(given[name], expected[name], tolerance) for name in expected)
        )
    try:
        ours, theirs = np.asarray(given), np.asarray(expected)
        if (ours.dtype == bool) != (theirs.dtype == bool):
            return False
        ours, theirs = ours.astype(float).squeeze(), theirs.astype(float).squeeze()
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


def _plain(value: Any) -> Any:
    """A value without its type: sets as sorted lists, truth values as numbers."""
    if isinstance(value, (set, frozenset)):
        return sorted(map(str, value))
    if isinstance(value, (list, tuple)) and all(isinstance(part, str) for part in value):
        return sorted(value)
    if isinstance(value, bool) or "bool" in str(getattr(value, "dtype", "")):
        return np.asarray(value).astype(float)
    return value


def _short(value: Any) -> str:
    """Show a value on one line."""
    text = " ".join(repr(value).split())
    return text if len(text) <= _WIDTH else text[: _WIDTH - 1] + "…"
