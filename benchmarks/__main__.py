"""``python -m benchmarks``: measure every stage and the rivals, print a table, write JSON.

``make bench`` writes ``results/bench.json``, from which the README and the notebooks take their
numbers. ``--quick`` measures what is small, once, into ``build/``.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch

from latentcrs_utils.data.loading import load_dataset
from latentcrs_utils.data.sequences import Dataset
from latentcrs_utils.errors import LatentCRSError
from latentcrs_utils.evaluation.recording import provenance, write_record

from .against_naive import against_naive_em
from .against_recbole import UnavailableError, against_recbole
from .measure import Measurement, clock
from .stages import STAGES

ROOT = Path(__file__).resolve().parent.parent
RECORD, QUICK_RECORD = ROOT / "results" / "bench.json", ROOT / "build" / "bench.json"
PACKAGES = ("torch", "numpy", "polars", "transformers")


def as_record(measurement: Measurement) -> dict[str, Any]:
    """A measurement as JSON has it: its fields, rounded, and both ratios."""
    row = dataclasses.asdict(measurement) | {
        "ratio": measurement.ratio,
        "ratio_at_best_rate": measurement.ratio_at_best_rate,
    }
    return rounded(row)


def rounded(row: dict[str, Any]) -> dict[str, Any]:
    """The same row, its numbers to four significant digits."""
    return {
        key: float(f"{value:.4g}") if isinstance(value, float) else value
        for key, value in row.items()
    }


def line(measurement: Measurement) -> str:
    """Put one measurement into a line of the table."""
    best = measurement.ratio_at_best_rate
    return (
        f"{measurement.stage:21} {measurement.scale:14} {measurement.seconds * 1e3:10.2f} ms "
        f"{measurement.ratio:6.2f} x {f'{best:6.2f} x' if best else '      - ':8} "
        f"{megabytes(measurement.peak_bytes):>6}  {measurement.floor} ({measurement.note})"
    )


def megabytes(peak: int | None) -> str:
    """Bytes as whole megabytes, or a dash."""
    return "-" if peak is None else f"{peak / 1e6:.0f} MB"


def against_naive(data: Dataset, quick: bool) -> Iterator[dict[str, Any]]:
    """Both systems beside the naive EM loop."""
    sizes = {"batch_size": 24} if quick else {}
    for residual in (False, True):
        yield against_naive_em(data, residual=residual, **sizes)


def against_library(data: Dataset, quick: bool) -> Iterator[dict[str, Any]]:
    """The backbone beside RecBole's, where RecBole's environment can be had."""
    try:
        if not quick:
            yield from against_recbole(data, build=True)
    except UnavailableError as reason:
        print(f"RecBole is left out: {reason}.")


RIVALS = {"naive": against_naive, "recbole": against_library}


def rows_of_part(part: str, data: Dataset, quick: bool) -> Iterator[tuple[str, dict[str, Any]]]:
    """Measure one part, printing each line; under which name each row is kept, and the row."""
    if part in STAGES:
        for measurement in STAGES[part](data, quick):
            print(line(measurement), flush=True)
            yield "measurements", {"part": part, **as_record(measurement)}
        return
    for row in RIVALS[part](data, quick):
        print(
            f"{row['rival']}: {row['rival_seconds']:.2f} s, ours {row['seconds']:.3f} s, "
            f"{row['ratio']:.0f} x ({row['what']}; {row['note']})",
            flush=True,
        )
        yield "against", {"part": part, **rounded(row)}


def kept_rows(output: Path, part: str) -> dict[str, list[dict[str, Any]]]:
    """Rows of the record as it is, without those of one part."""
    earlier = json.loads(output.read_text(encoding="utf-8")) if output.exists() else {}
    return {
        name: [row for row in earlier.get(name, []) if row["part"] != part]
        for name in ("measurements", "against")
    }


def measure(output: Path, parts: Sequence[str], *, quick: bool) -> None:
    """Measure some parts; after each one the record holds what is known."""
    command = "python -m benchmarks" + (" --quick" if quick else "")
    described = provenance(command, PACKAGES) | {
        "processor": torch.backends.cpu.get_cpu_capability(),
        "threads": torch.get_num_threads(),
        "clock": clock()[0],
    }
    print(f"{described['machine']}, {described['processor']}, {described['threads']} threads")
    print(
        f"{'stage':21} {'at':14} {'one call':>13} {'ratio':>8} {'strict':>8} {'memory':>6}  floor"
    )
    data, order = load_dataset("ml-100k"), list(PARTS)
    for part in parts:
        measured = list(rows_of_part(part, data, quick))
        rows = kept_rows(output, part)
        for name, row in measured:
            rows[name].append(row)
        for of_name in rows.values():
            of_name.sort(key=lambda row: order.index(row["part"]))
        write_record(output, described | rows)


PARTS = (*STAGES, *RIVALS)


def main(arguments: list[str] | None = None) -> int:
    """Run the benchmarks; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small shapes, once, no RecBole")
    parser.add_argument("--output", type=Path, help="where the JSON goes")
    parser.add_argument(
        "--parts",
        nargs="+",
        choices=PARTS,
        default=PARTS,
        metavar="PART",
        help=f"measure these anew and keep the others of the record: {', '.join(PARTS)}",
    )
    options = parser.parse_args(arguments)
    output = options.output or (QUICK_RECORD if options.quick else RECORD)
    try:
        measure(output, options.parts, quick=options.quick)
    except LatentCRSError as error:
        print(error, file=sys.stderr)
        return 1
    print(f"Written to {output.relative_to(ROOT) if output.is_relative_to(ROOT) else output}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
