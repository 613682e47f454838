"""``python -m benchmarks``: measure every stage, print a table, write ``build/bench.json``."""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import platform
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from latentcrs_utils.data import load_dataset
from latentcrs_utils.errors import LatentCRSError
from latentcrs_utils.files import atomic_path

from .measure import Measurement
from .stages import stages

OUTPUT = Path(__file__).resolve().parent.parent / "build" / "bench.json"


def machine() -> dict[str, Any]:
    """Describe what the figures were measured on."""
    return {
        "processor": torch.backends.cpu.get_cpu_capability(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "architecture": platform.machine(),
        "python": platform.python_version(),
        "torch": version("torch"),
        "polars": version("polars"),
        "transformers": version("transformers"),
    }


def line(measurement: Measurement) -> str:
    """Put one measurement into a line of the table."""
    return (
        f"{measurement.stage:14} {measurement.seconds * 1e3:10.2f} ms "
        f"{measurement.ratio:7.1f} x  {measurement.floor}   ({measurement.note})"
    )


def main(arguments: list[str] | None = None) -> int:
    """Run all benchmarks; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--output", type=Path, default=OUTPUT, help="where the JSON goes")
    options = parser.parse_args(arguments)
    described = machine()
    print(f"{described['threads']} threads, {described['processor']}, torch {described['torch']}")
    print(f"{'stage':14} {'one call':>13} {'ratio':>9}  floor")
    results = []
    try:
        for measurement in stages(load_dataset("ml-100k")):
            print(line(measurement), flush=True)
            results.append({**dataclasses.asdict(measurement), "ratio": measurement.ratio})
    except LatentCRSError as error:
        print(error, file=sys.stderr)
        return 1
    with atomic_path(options.output) as temporary:
        content = {"machine": described, "measurements": results}
        temporary.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    print(f"Written to {options.output}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
