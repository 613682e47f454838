"""What a second process adds: one backbone epoch in one process and in two, each with one thread.

``torchrun --nproc_per_node N -m benchmarks.processes OUTPUT.json`` is one of the two runs.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch

from latentcrs_utils.behavior.pretraining import train_epoch
from latentcrs_utils.behavior.sasrec import SASRec
from latentcrs_utils.config import BackboneConfig
from latentcrs_utils.support.processes import expect, join

from .measure import compare
from .worlds import generated_data

ROOT = Path(__file__).resolve().parent.parent
USERS, ITEMS, LENGTH = 800, 3000, 40


def efficiency_of_two() -> dict[str, Any] | None:
    """Seconds of an epoch in one and in two processes, or None where torchrun fails.

    ``efficiency`` is what the second process adds, in processes: 1 halves the time, 0 is no gain.
    """
    seconds = [seconds_of_epoch(n) for n in (1, 2)]
    if None in seconds:
        print("Two processes are left out: torchrun failed.")
        return None
    one, two = seconds
    return {
        "what": f"one backbone epoch, {USERS} users, {ITEMS:,} items, one thread a process",
        "cores": os.cpu_count(),
        "seconds_1": round(one, 3),
        "seconds_2": round(two, 3),
        "efficiency": round(max(0.0, one / two - 1), 3),
    }


def seconds_of_epoch(n_processes: int) -> float | None:
    """Seconds of an epoch under torchrun, or None where that fails."""
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "seconds.json"
        command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
        command += ["--nproc_per_node", str(n_processes), "-m", "benchmarks.processes"]
        done = subprocess.run(
            [*command, str(output), str(n_processes)],
            cwd=ROOT,
            env=os.environ | {"OMP_NUM_THREADS": "1", "LATENTCRS_DEVICE": "cpu"},
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            print(done.stderr.strip()[-500:], file=sys.stderr)
            return None
        return json.loads(output.read_text(encoding="utf-8"))


def main() -> None:
    """Train with the other processes; the main one writes the seconds of an epoch."""
    processes = join(torch.device("cpu"))
    expect(processes, int(sys.argv[2]))
    data = generated_data("processes", USERS, ITEMS, LENGTH)
    config = BackboneConfig()
    encoder = SASRec(data.n_items, config)
    optimizer = torch.optim.Adam(encoder.parameters(), lr=config.learning_rate, fused=True)
    generator = torch.Generator()

    def epoch() -> None:
        generator.manual_seed(0)
        train_epoch(encoder, optimizer, data, config, 0, generator, processes)

    (seconds,) = compare(epoch, repeats=3)
    if processes.is_main:
        Path(sys.argv[1]).write_text(json.dumps(seconds), encoding="utf-8")
    if processes.accelerator is not None:
        processes.accelerator.end_training()


if __name__ == "__main__":
    main()
