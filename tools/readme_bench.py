"""The part of README.md about speed, written from results/bench.json."""

from __future__ import annotations

from typing import Any


def bench_part(recorded: dict[str, Any]) -> str:
    """Two tables: every stage beside its floor, and beside what a reader would pick instead.

    Args:
        recorded: what `python -m benchmarks` wrote.
    """
    threads = recorded["threads"]
    lines = [
        "| stage | measured on | one call | memory | beside its floor | aim |",
        "|---|---|---:|---:|---:|---:|",
        *(stage_row(row) for row in recorded["measurements"] if row["aim"] is not None),
        "",
        "The floor is the stage's own matrix products, done alone, at the same shapes and in the "
        "same precision, in the same run: 1 would be perfect. Seconds belong to the machine, "
        "ratios travel. Memory is what one call adds at its highest.",
        "",
    ]
    if recorded["against"]:
        lines += [
            "| instead of | what | theirs | ours | faster by | aim |",
            "|---|---|---:|---:|---:|---:|",
            *(rival_row(row) for row in recorded["against"]),
            "",
        ]
    if any("predictions" in row for row in recorded["against"]):
        lines += [
            "RecBole makes a sample of every prefix of a history, with one prediction; the course "
            "predicts at every position of a window at once. Both meet the same targets once an "
            "epoch; width, layers, heads, length, loss, dropout and threads are alike, and "
            "RecBole's default batch is measured beside ours.",
            "",
        ]
    lines.append(
        f"{recorded['machine']}, {counted(threads, 'thread')}, {recorded['clock']}, "
        f"{recorded['date']}, "
        f"`{recorded['command']}` (`make bench`); all of it is in `results/bench.json`."
    )
    return "\n".join(lines)


def stage_row(row: dict[str, Any]) -> str:
    """One stage as a row of the first table."""
    peak = "" if row["peak_bytes"] is None else f"{row['peak_bytes'] / 1e6:,.0f} MB"
    return (
        f"| {row['stage']} | {row['scale']} | {duration(row['seconds'])} | {peak} "
        f"| {row['ratio']:.1f} x | {row['aim']:g} x |"
    )


def rival_row(row: dict[str, Any]) -> str:
    """One rival as a row of the second table."""
    batch = f", its batch {row['rival_batch']:,}" if "rival_batch" in row else ""
    return (
        f"| {row['rival']}{batch} | {row['what']} | {duration(row['rival_seconds'])} "
        f"| {duration(row['seconds'])} | {row['ratio']:,.0f} x | {row['aim']:g} x |"
    )


def duration(seconds: float) -> str:
    """Seconds in the unit that suits them."""
    return f"{seconds * 1e3:.1f} ms" if seconds < 1 else f"{seconds:.1f} s"


def counted(number: int, what: str) -> str:
    """``1 thread``, ``2 threads``."""
    return f"{number} {what}" + ("" if number == 1 else "s")
