"""The numbers that the paper prints (Tables 1 to 6), and what they say about each other.

Utterances, users of the sample and language models are the paper's: a row says how far its authors
came with their simulator, not what the same system would reach with ours.
"""

import math
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from latentcrs_utils.data.source import Statistics
from latentcrs_utils.evaluation.metrics import METRICS

_TABLES = tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))
DATA_SETS = tuple(_TABLES["columns"])


@dataclass(frozen=True)
class PrintedColumn:
    """One column of the paper's Table 1: its heading, counts, and derived numbers as printed."""

    title: str
    counts: Statistics
    average_length: float
    sparsity_percent: float


PAPER_TABLE_1: dict[str, PrintedColumn] = {
    name: PrintedColumn(title, Statistics(*counts), average_length, sparsity)
    for name, (title, counts, average_length, sparsity) in _TABLES["columns"].items()
}


@dataclass(frozen=True)
class Printed:
    """One row of a table; half_units are half a unit of the last printed digits."""

    table: int
    data: str
    system: str
    metrics: dict[str, float]
    half_units: dict[str, float]


def _cells(table: int) -> Iterator[tuple[tuple[str, str], list[str]]]:
    for line in _TABLES["systems"][str(table)].strip().splitlines():
        system, *blocks = line.split("|")
        for data, block in zip(DATA_SETS, blocks, strict=True):
            yield (data, system.strip()), block.split()


def _row(table: int, data: str, system: str, cells: list[str]) -> Printed:
    metrics = dict(zip(METRICS, map(float, cells), strict=True))
    halves = (0.5 * 10.0 ** -len(cell.partition(".")[2]) for cell in cells)
    return Printed(table, data, system, metrics, dict(zip(METRICS, halves, strict=True)))


ROWS = tuple(_row(table, *place, cells) for table in (2, 3, 5) for place, cells in _cells(table))


def printed(table: int, data: str, system: str) -> Printed:
    """Return one row of a table; KeyError, which lists what there is, if it has no such row."""
    there = {f"Table {row.table}, {row.data}, {row.system}": row for row in ROWS}
    wanted = f"Table {table}, {data}, {system}"
    if wanted not in there:
        raise KeyError(f"No {wanted}. There is: {'; '.join(sorted(there))}.")
    return there[wanted]


def dialogue_rows() -> dict[tuple[str, str], dict[str, float]]:
    """Return Table 4 (500 users): (data set, system) -> S@3, S@5 and AT, if not left blank."""
    names = ("S@3", "S@5", "AT")
    return {
        place: {name: float(v) for name, v in zip(names, values, strict=True) if v != "-"}
        for place, values in _cells(4)
    }


def token_rows() -> dict[tuple[str, str], tuple[float, float]]:
    """Return Table 6: (data set, system) -> tokens read and tokens written."""
    return {place: (float(read), float(written)) for place, (read, written) in _cells(6)}


def gain(rank: int) -> float:
    """What a target at ``rank`` (1 is best) adds to NDCG: 1 / log2(1 + rank)."""
    return 1 / math.log2(1 + rank)


def ndcg_bounds(recall_5: float, ndcg_5: float, recall_20: float) -> tuple[float, float]:
    """Lowest and highest NDCG@20, given the other three metrics of the same rankings.

    A share Recall@20 - Recall@5 of the instances has its one target at a rank from 6 to 20, which
    adds ``gain(20)`` to ``gain(6)``. The bounds are linear, so means over runs obey them too.
    """
    later = recall_20 - recall_5
    return ndcg_5 + later * gain(20), ndcg_5 + later * gain(6)


def turns_bounds(s3: float, s5: float) -> tuple[float, float]:
    """Lowest and highest AT over five turns (a failure counts 5), given S@3 and S@5.

    AT is 5 - (S@1 + S@2 + S@3 + S@4), and S@k never falls: S@1 and S@2 lie between 0 and S@3, S@4
    between S@3 and S@5. The bounds are linear, so means over runs obey them too.
    """
    return 5 - 3 * s3 - s5, 5 - 2 * s3


def contradictions(
    metrics: Mapping[str, float], half_units: Mapping[str, float] | None = None
) -> list[str]:
    """Say what in a row of the four metrics is impossible for one ranking, one sentence each.

    Every bound is widened by the `half_units` of the printed digits: rounding is never reported.
    """
    r5, n5, r20, n20 = (metrics[name] for name in METRICS)
    e_r5, e_n5, e_r20, e_n20 = ((half_units or {}).get(name, 0.0) for name in METRICS)
    low, _ = ndcg_bounds(r5 + e_r5, n5 - e_n5, r20 - e_r20)
    _, high = ndcg_bounds(r5 - e_r5, n5 + e_n5, r20 + e_r20)
    # by how much each bound is left, and what to say of it
    beyond = {
        f"Recall@20 {r20} is below Recall@5 {r5}": r5 - e_r5 - e_r20 - r20,
        f"NDCG@5 {n5} is above Recall@5 {r5}": n5 - r5 - e_r5 - e_n5,
        f"NDCG@5 {n5} is below Recall@5 x {gain(5):.4f}": (r5 - e_r5) * gain(5) - e_n5 - n5,
        f"NDCG@20 {n20} is outside {low:.4f} to {high:.4f}": max(low - n20, n20 - high) - e_n20,
    }
    return [sentence for sentence, distance in beyond.items() if distance > 1e-9]
