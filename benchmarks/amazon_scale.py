"""Reading Amazon's 2023 files at full size: time and peak memory, each in a process of its own.

    python -m benchmarks.amazon_scale --kind games --record results/amazon_scale.json
    python -m benchmarks.amazon_scale --kind cds --record results/amazon_scale.json

Writes generated files (benchmarks/generated_amazon.py), since nobody may ship the real ones, reads
them with ``load_dataset``, and removes them (``--keep FOLDER``: leaves them there). Compared with
what ``polars.scan_ndjson`` needs to collect the same four columns of the reviews. A record keeps
what it says of the other kind and of the other form (``--plain``).
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
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


def measured(read: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Seconds of a reading, the most MB that the process ever held, and what was found."""

    def peak_megabytes() -> int:
        return round(peak_memory(torch.device("cpu")) / 1e6)

    begun, before = time.perf_counter(), peak_megabytes()
    found = read()
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


def measure(
    folder: Path, kind: Kind, n_reviews: int, seed: int, *, compressed: bool
) -> dict[str, Any]:
    """Generate one category in a folder, and read it in both ways, each in a new process."""
    size, begun = scaled(kind, n_reviews), time.perf_counter()
    *files, n_users = write(folder, size, seed, compressed=compressed)
    variables = {"LATENTCRS_DATA": str(folder), "LATENTCRS_PROGRESS": "0"}
    read = partial(in_a_process, "benchmarks.amazon_scale", **variables)
    return {
        "generated": {
            **dataclasses.asdict(size),
            "seed": seed,
            "users": n_users,
            "compressed": compressed,
            "megabytes": {file.name: round(file.stat().st_size / 1e6) for file in files},
            "seconds": round(time.perf_counter() - begun, 1),
        },
        "load_dataset": read("--load", _NAMES[kind]),
        "scan_ndjson": read("--scan", str(files[0])),
    }


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
    if options.load or options.scan:
        read = (lambda: read_whole(options.load)) if options.load else (lambda: scan(options.scan))
        print(json.dumps(measured(read)))
        return
    with tempfile.TemporaryDirectory(prefix="amazon-") as name:
        folder, plain = (options.keep or Path(name)).resolve(), options.plain
        result = measure(folder, options.kind, options.rows, options.seed, compressed=not plain)
    print(json.dumps(result, indent=1))
    if options.record:
        made = provenance(command.line, ("polars", "numpy"))
        key = f"{_NAMES[options.kind]}, {'plain' if options.plain else 'gzip'}"
        old = json.loads(options.record.read_text("utf-8")) if options.record.exists() else {}
        write_record(options.record, {**old, key: {**made, **result}})


if __name__ == "__main__":
    main()
