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

from latentcrs_utils.config import BackboneConfig
from latentcrs_utils.support.processes import join

from .measure import compare
from .training import backbone_epoch
from .worlds import generated_data

ROOT = Path(__file__).resolve().parent.parent
USERS, ITEMS, LENGTH = 800, 3000, 40


def efficiency_of_two() -> dict[str, Any] | None:
    """Seconds of an epoch in one and in two processes, or None where torchrun fails.

    ``efficiency`` is what the second process adds, in processes: 1 halves the time, 0 is no gain.
    """
    one, two = (seconds_of_epoch(n) for n in (1, 2))
    if one is None or two is None:
        print("Two processes are left out: torchrun failed.")
        return None
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
        command += [str(output), str(n_processes)]
        environment = os.environ | {"OMP_NUM_THREADS": "1", "LATENTCRS_DEVICE": "cpu"}
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
        if done.returncode:
            print(done.stderr.strip()[-500:], file=sys.stderr)
            return None
        seconds: float = json.loads(output.read_text(encoding="utf-8"))
        return seconds


def main() -> None:
    """Train with the other processes; the main one writes the seconds of an epoch."""
    processes = join(torch.device("cpu"), expected=int(sys.argv[2]))
    data = generated_data("processes", USERS, ITEMS, LENGTH)
    (seconds,) = compare(backbone_epoch(data, BackboneConfig(), processes), repeats=3)
    if processes.is_main:
        Path(sys.argv[1]).write_text(json.dumps(seconds), encoding="utf-8")
    if processes.accelerator is not None:
        processes.accelerator.end_training()


if __name__ == "__main__":
    main()
