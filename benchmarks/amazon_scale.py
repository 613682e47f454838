"""Reading Amazon's 2023 files at full size: time and peak memory, each in a process of its own.

    python -m benchmarks.amazon_scale --kind games --record results/amazon_scale.json
    python -m benchmarks.amazon_scale --kind cds --record results/amazon_scale.json

Writes generated files (benchmarks/generated_amazon.py), since nobody may ship the real ones, reads
them with ``load_dataset``, and removes them. Beside it: what ``polars.scan_ndjson`` needs to
collect the same four columns of the reviews, which is what one would write without thinking of
memory. A record keeps what it says of other kinds and of the other form (``--plain``).
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from latentcrs_utils.evaluation.recording import provenance, write_record

from .generated_amazon import SIZES, Kind, scaled, write

_NAMES: dict[Kind, str] = {"games": "amazon-video-games", "cds": "amazon-cds"}


def peak_megabytes() -> float:
    """Return the most memory that this process ever held resident, in MB."""
    status = Path("/proc/self/status")
    if status.exists():
        line = next(
            one for one in status.read_text("utf-8").splitlines() if one.startswith("VmHWM")
        )
        return int(line.split()[1]) * 1024 / 1e6
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


def read_whole(name: str) -> dict[str, Any]:
    """Load a data set; say how long it took and what came out."""
    from latentcrs_utils.data.loading import load_dataset

    begun, before = time.perf_counter(), peak_megabytes()
    data = load_dataset(name)
    seconds = time.perf_counter() - begun
    return {
        "seconds": round(seconds, 1),
        "processor_seconds": round(time.process_time(), 1),
        "peak_megabytes": round(peak_megabytes()),
        "megabytes_before": round(before),
        "users": data.n_users,
        "items": data.n_items,
        "actions": len(data.interactions.flat),
        "reviews": data.counts["ratings"],
        "repeated": data.counts["repeated"],
        "positives": data.counts["positives"],
        "passes": len(data.counts["passes"]) - 1,
    }


def scan(path: Path) -> dict[str, Any]:
    """Collect the four columns with the library's lazy reader."""
    import polars as pl

    columns = {"user_id": pl.String, "parent_asin": pl.String, "rating": pl.Float64}
    begun = time.perf_counter()
    frame = pl.scan_ndjson(path, schema={**columns, "timestamp": pl.Int64}).collect(
        engine="streaming"
    )
    seconds = time.perf_counter() - begun
    return {
        "seconds": round(seconds, 1),
        "processor_seconds": round(time.process_time(), 1),
        "peak_megabytes": round(peak_megabytes()),
        "reviews": len(frame),
    }


def _fresh(folder: Path, *arguments: str) -> dict[str, Any]:
    """Run one measurement in a new process, with the data found in ``folder``."""
    command = [sys.executable, "-m", "benchmarks.amazon_scale", *arguments]
    environment = {**os.environ, "LATENTCRS_DATA": str(folder), "LATENTCRS_PROGRESS": "0"}
    done = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True)
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def measure(kind: Kind, n_reviews: int, seed: int, *, compressed: bool) -> dict[str, Any]:
    """Generate one category, read it in both ways, remove it."""
    size = scaled(kind, n_reviews)
    with tempfile.TemporaryDirectory(prefix="amazon-") as name:
        begun = time.perf_counter()
        written = write(Path(name), size, seed, compressed=compressed)
        generated = time.perf_counter() - begun
        return {
            "generated": {
                **dataclasses.asdict(size),
                "seed": seed,
                "users": written.n_users,
                "compressed": compressed,
                "megabytes": {file: round(n / 1e6) for file, n in written.sizes.items()},
                "seconds": round(generated, 1),
            },
            "load_dataset": _fresh(Path(name), "--load", _NAMES[kind]),
            "scan_ndjson": _fresh(Path(name), "--scan", str(written.reviews)),
        }


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and record; or, with ``--load`` or ``--scan``, be one of the processes measured."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.amazon_scale", description=__doc__)
    parser.add_argument("--rows", type=int, default=4_800_000, help="reviews in the file")
    parser.add_argument("--kind", choices=list(SIZES), default="games")
    parser.add_argument("--plain", action="store_true", help="files that are not compressed")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--record", type=Path, help="JSON file to write")
    parser.add_argument("--load", help=argparse.SUPPRESS)
    parser.add_argument("--scan", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.load or options.scan:
        print(json.dumps(read_whole(options.load) if options.load else scan(options.scan)))
        return
    result = measure(options.kind, options.rows, options.seed, compressed=not options.plain)
    print(json.dumps(result, indent=1))
    if options.record:
        command = f"python -m benchmarks.amazon_scale --kind {options.kind} --rows {options.rows}"
        command += f" --seed {options.seed}{' --plain' * options.plain}"
        command += f" --record {options.record.as_posix()}"
        key = f"{_NAMES[options.kind]}, {'plain' if options.plain else 'gzip'}"
        old = json.loads(options.record.read_text("utf-8")) if options.record.exists() else {}
        write_record(
            options.record, {**old, key: {**provenance(command, ("polars", "numpy")), **result}}
        )


if __name__ == "__main__":
    main()
