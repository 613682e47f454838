"""Reading Amazon's 2023 files at full size: time and peak memory, each in a process of its own.

    python -m benchmarks.amazon_scale --kind games --record results/amazon_scale.json
    python -m benchmarks.amazon_scale --kind cds --record results/amazon_scale.json

Writes generated files (benchmarks/generated_amazon.py), since nobody may ship the real ones, reads
them with ``load_dataset`` and, to compare, four columns of the reviews with ``polars.scan_ndjson``,
and removes them. A record keeps what it says of the other kind and of the other form (``--plain``).
"""

import argparse
import dataclasses
import json
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import polars as pl
import torch

from latentcrs_utils.data.loading import load_dataset
from latentcrs_utils.evaluation.recording import Command, provenance, write_record
from latentcrs_utils.support.device import peak_memory

from .generated_amazon import SIZES, Kind, scaled, write
from .measure import in_a_process

_NAMES: dict[Kind, str] = {"games": "amazon-video-games", "cds": "amazon-cds"}


def measured(read: Callable[[Any], dict[str, Any]], what: Any) -> dict[str, Any]:
    """Seconds of a reading, the most MB that the process ever held, and what was found."""

    def peak_megabytes() -> int:
        return round(peak_memory(torch.device("cpu")) / 1e6)

    begun, before = time.perf_counter(), peak_megabytes()
    found = read(what)
    return {
        "seconds": round(time.perf_counter() - begun, 1),
        "processor_seconds": round(time.process_time(), 1),
        "peak_megabytes": peak_megabytes(),
        "megabytes_before": before,
        **found,
    }


def read_whole(name: str) -> dict[str, Any]:
    """Load a data set; say what came out."""
    data = load_dataset(name)
    counts = {key: data.counts[key] for key in ("repeated", "positives")}
    counts |= {"reviews": data.counts["ratings"], "passes": len(data.counts["passes"]) - 1}
    return dataclasses.asdict(data.statistics) | counts


def scan(path: Path) -> dict[str, Any]:
    """Collect the four columns with the library's lazy reader."""
    columns = {"user_id": pl.String, "parent_asin": pl.String}
    columns |= {"rating": pl.Float64, "timestamp": pl.Int64}
    return {"reviews": len(pl.scan_ndjson(path, schema=columns).collect(engine="streaming"))}


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and record; or, with ``--load`` or ``--scan``, be one of the processes measured."""
    command = Command("benchmarks.amazon_scale", __doc__, data=None, record=False)
    add = command.parser.add_argument
    add("--rows", type=int, default=4_800_000, help="reviews in the file")
    add("--kind", choices=list(SIZES), default="games")
    add("--plain", action="store_true", help="files that are not compressed")
    add("--seed", type=int, default=0)
    add("--keep", type=Path, metavar="FOLDER", help="where the generated files are left")
    add("--load", help=argparse.SUPPRESS)
    add("--scan", type=Path, help=argparse.SUPPRESS)
    options = command.read(arguments)
    if what := options.load or options.scan:
        print(json.dumps(measured(read_whole if options.load else scan, what)))
        return
    name, begun = _NAMES[options.kind], time.perf_counter()
    size = scaled(options.kind, options.rows)
    with tempfile.TemporaryDirectory(prefix="amazon-") as temporary:
        folder = (options.keep or Path(temporary)).resolve()
        *files, n_users = write(folder, size, options.seed, compressed=not options.plain)
        generated = {
            **dataclasses.asdict(size),
            "seed": options.seed,
            "users": n_users,
            "compressed": not options.plain,
            "megabytes": {file.name: round(file.stat().st_size / 1e6) for file in files},
            "seconds": round(time.perf_counter() - begun, 1),
        }
        # each in a new process, whose memory is its own
        variables = {"LATENTCRS_DATA": str(folder), "LATENTCRS_PROGRESS": "0"}
        load, collect = (
            in_a_process("benchmarks.amazon_scale", option, what, **variables)
            for option, what in (("--load", name), ("--scan", str(files[0])))
        )
    result = {"generated": generated, "load_dataset": load, "scan_ndjson": collect}
    print(json.dumps(result, indent=1))
    if options.record:
        result = provenance(command.line, ("polars", "numpy")) | result
        key = f"{name}, {'plain' if options.plain else 'gzip'}"
        old = json.loads(options.record.read_text("utf-8")) if options.record.exists() else {}
        write_record(options.record, old | {key: result})


if __name__ == "__main__":
    main()
