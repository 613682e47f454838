"""Measure every stage and the rivals, print a table, write JSON.

``make bench`` writes ``results/bench.json``, from which the tables and the notebooks take their
numbers. ``--quick`` measures what is small, once, into ``build/``.
"""

import dataclasses
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from latentcrs_utils.data.loading import load_dataset
from latentcrs_utils.data.sequences import Dataset
from latentcrs_utils.errors import LatentCRSError
from latentcrs_utils.evaluation.recording import PACKAGES, Command, provenance, write_record

from .against_recbole import UnavailableError, against_recbole
from .measure import ROOT, Measurement, clock
from .naive_em import against_naive_em
from .stages import STAGES


def rounded(row: dict[str, Any]) -> dict[str, Any]:
    """The same row, its numbers to four significant digits."""
    return row | {key: float(f"{x:.4g}") for key, x in row.items() if isinstance(x, float)}


def line(measurement: Measurement) -> str:
    """Put one measurement into a line of the table."""
    m, best, peak = measurement, measurement.ratio_at_best_rate, measurement.peak_bytes
    return (
        f"{m.stage:21} {m.scale:14} {m.seconds * 1e3:10.2f} ms {m.ratio:6.2f} x "
        f"{f'{best:6.2f} x' if best else '      - ':8} "
        f"{'-' if peak is None else f'{peak / 1e6:.0f} MB':>6}  {m.floor} ({m.note})"
    )


def against_naive(data: Dataset, quick: bool) -> Iterator[dict[str, Any]]:
    """Both systems compared with the naive EM loop."""
    for residual in (False, True):
        yield against_naive_em(data, residual=residual, batch_size=24 if quick else 480)


def against_library(data: Dataset, quick: bool) -> Iterator[dict[str, Any]]:
    """The backbone compared with RecBole's, where RecBole's environment can be had."""
    try:
        yield from () if quick else against_recbole(data)
    except UnavailableError as reason:
        print(f"RecBole is left out: {reason}.")


RIVALS = {"naive": against_naive, "recbole": against_library}


def rows_of_part(part: str, data: Dataset, quick: bool) -> Iterator[tuple[str, dict[str, Any]]]:
    """Measure one part, printing each line; under which name each row is kept, and the row."""
    if part in STAGES:
        for found in STAGES[part](data, quick):
            print(line(found), flush=True)
            ratios = {"ratio": found.ratio, "ratio_at_best_rate": found.ratio_at_best_rate}
            yield "measurements", {"part": part, **rounded(dataclasses.asdict(found) | ratios)}
        return
    for row in RIVALS[part](data, quick):
        print(
            f"{row['rival']}: {row['rival_seconds']:.2f} s, ours {row['seconds']:.3f} s, "
            f"{row['ratio']:.0f} x ({row['what']}; {row['note']})",
            flush=True,
        )
        yield "against", {"part": part, **rounded(row)}


def measure(output: Path, *, quick: bool) -> None:
    """Measure all parts; after each one the record holds what is known."""
    described = provenance("python -m benchmarks" + " --quick" * quick, PACKAGES) | {
        "processor": torch.backends.cpu.get_cpu_capability(),
        "threads": torch.get_num_threads(),
        "clock": clock()[0],
    }
    print(f"{described['machine']}, {described['processor']}, {described['threads']} threads")
    names = f"{'stage':21} {'at':14} {'one call':>13} {'ratio':>8} {'strict':>8} {'memory':>6}"
    print(f"{names}  floor")
    data = load_dataset("ml-100k")
    rows: dict[str, list[dict[str, Any]]] = {"measurements": [], "against": []}
    for part in (*STAGES, *RIVALS):
        for name, row in rows_of_part(part, data, quick):
            rows[name].append(row)
        write_record(output, described | rows)


def main(arguments: list[str] | None = None) -> int:
    """Run the benchmarks; return the exit status."""
    command = Command("benchmarks", __doc__, data=None, record=False)
    small = "small shapes, once, no RecBole"
    command.parser.add_argument("--quick", action="store_true", help=small)
    options = command.read(arguments)
    output = options.record or ROOT / ("build" if options.quick else "results") / "bench.json"
    try:
        measure(output, quick=options.quick)
    except LatentCRSError as error:
        print(error, file=sys.stderr)
        return 1
    print(f"Written to {output.relative_to(ROOT) if output.is_relative_to(ROOT) else output}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
