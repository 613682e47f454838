"""Progress for people: bars and notes on stderr, silent when ``LATENTCRS_PROGRESS=0``.

Recorded notebooks compare stderr, so recording and checking switch everything here off.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from tqdm import tqdm

T = TypeVar("T")

logger = logging.getLogger("latentcrs_utils")


def enabled(progress: bool | None = None) -> bool:
    """Tell whether progress is shown: the argument if given, else the environment."""
    return os.environ.get("LATENTCRS_PROGRESS", "1") != "0" if progress is None else progress


def track(
    iterable: Iterable[T], description: str, total: int | None = None, progress: bool | None = None
) -> Iterator[T]:
    """Iterate with a bar on stderr; `total` steps, where `len` does not tell."""
    yield from _bar(description, progress, iterable=iterable, total=total, dynamic_ncols=True)


def bytes_bar(description: str, size: int) -> tqdm[Any]:
    """Return a bar on stderr for ``size`` bytes on their way; its user updates and closes it."""
    return _bar(description, None, total=size, unit="B", unit_scale=True)


def _bar(description: str, progress: bool | None, **options: Any) -> tqdm[Any]:
    from tqdm import tqdm

    shown = enabled(progress)
    return tqdm(desc=description, disable=not shown, file=sys.stderr, leave=False, **options)


def note(message: str, progress: bool | None = None) -> None:
    """Say one line on stderr (never on stdout), and to the ``latentcrs_utils`` logger."""
    logger.info(message)
    if enabled(progress):
        from tqdm import tqdm

        tqdm.write(message, file=sys.stderr)
