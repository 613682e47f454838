"""What the measured parts of README.md share: tables, intervals, names."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

OURS = ("LatentCRS", "LatentCRS+", "LatentCRS+ F", "LatentCRS+ V")


def table(head: Sequence[str], rows: Iterable[Sequence[str]], left: int = 1) -> list[str]:
    """Lines of a Markdown table; the first `left` columns are words, the others numbers."""
    marks = "---|" * left + "---:|" * (len(head) - left)
    return [line(head), f"|{marks}", *map(line, rows)]


def line(cells: Sequence[str]) -> str:
    """One row of a table."""
    return "| " + " | ".join(cells) + " |"


def named(system: str) -> str:
    """A system's name, ours in bold."""
    return f"**{system}**" if system in OURS else system


def strong(value: float, best: float) -> str:
    """A value with three digits, the best in bold."""
    return f"**{value:.3f}**" if value == best else f"{value:.3f}"


def interval(mean: float, low: float, high: float) -> str:
    """A difference with its 95 % interval."""
    return f"{mean:+.3f} ({low:+.3f} to {high:+.3f})"


def made(record: dict[str, Any]) -> str:
    """Which command made a record, and when."""
    return f"`{record['command']}`, {record['date']}."
