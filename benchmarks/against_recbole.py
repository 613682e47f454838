"""Training throughput compared with what a reader would pick instead: RecBole's SASRec.

Same data and targets, width, layers, heads, length, full softmax, dropout and number of threads.
RecBole makes a sample of every prefix of a history, with one prediction; the course predicts the
next item at every position of a window at once. Both see each training target once in an epoch.
"""

import json
import os
import subprocess
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from latentcrs_utils.config import BackboneConfig
from latentcrs_utils.data.sequences import Dataset

from .measure import ROOT, compare
from .training import backbone_epoch, n_targets

REQUIREMENTS = ROOT / "benchmarks" / "requirements-recbole.txt"
ENVIRONMENT = ROOT / "build" / "recbole"
AIM, REPEATS = 3.0, 2
# ours, and RecBole's default; how many batches of each are timed
BATCH_SIZES = {128: 24, 2048: 3}


class UnavailableError(Exception):
    """RecBole cannot be measured here; the message says why."""


def environment(folder: Path = ENVIRONMENT) -> Path:
    """Return the Python of RecBole's virtual environment, which is built once if it can be."""
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    complete = folder / ".complete"
    wanted = REQUIREMENTS.read_text(encoding="utf-8")
    if python.exists() and complete.exists() and complete.read_text(encoding="utf-8") == wanted:
        return python
    print(f"Building {folder.name}'s own environment in {folder.parent.name}/ (once).", flush=True)
    pip = [str(python), "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
    _run([sys.executable, "-m", "venv", str(folder)], "its environment cannot be built")
    _run([*pip, "--requirement", str(REQUIREMENTS)], "its environment cannot be built")
    complete.write_text(wanted, encoding="utf-8")
    return python


def _run(command: list[str], failure: str, **options: Any) -> None:
    """Run a command; if it fails, raise UnavailableError with the last line that it says."""
    done = subprocess.run(command, capture_output=True, text=True, check=False, **options)
    if done.returncode:
        said = (done.stderr.strip() or done.stdout.strip()).splitlines()[-1:]
        raise UnavailableError(f"{failure}: {''.join(said)}")


def write_atomic_file(data: Dataset, folder: Path) -> None:
    """Write all interactions as RecBole's ``course/course.inter``; time is the order."""
    lines = ["user_id:token\titem_id:token\ttimestamp:float"]
    for user, items in enumerate(data.interactions):
        lines += [f"{user}\t{item}\t{place}" for place, item in enumerate(items)]
    path = folder / "course" / "course.inter"
    path.parent.mkdir(parents=True)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def run_recbole(data: Dataset, config: BackboneConfig, python: Path) -> list[dict[str, Any]]:
    """Train RecBole's SASRec for a few batches of every size; what its script measured of each."""
    threads = torch.get_num_threads()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_atomic_file(data, folder)
        settings = asdict(config) | {
            "folder": str(folder), "output": str(folder / "measured.json"),
            "n_batches": BATCH_SIZES, "repeats": REPEATS, "threads": threads,
        }  # fmt: skip
        path = folder / "settings.json"
        path.write_text(json.dumps(settings), encoding="utf-8")
        _run(
            [str(python), str(REQUIREMENTS.with_name("recbole_sasrec.py")), str(path)],
            "RecBole's SASRec failed",
            cwd=name,
            env=os.environ | {"OMP_NUM_THREADS": str(threads)},
        )
        return json.loads((folder / "measured.json").read_text(encoding="utf-8"))["runs"]


def comparison(
    ours_seconds: float, n_predictions: int, run: dict[str, Any], batch_size: int
) -> dict[str, Any]:
    """One row: our epoch (its seconds, targets, windows a batch), and what RecBole's run took."""
    if run["samples_per_epoch"] != n_predictions:
        raise ValueError(
            f"RecBole trains on {run['samples_per_epoch']} targets, the course on {n_predictions}."
        )
    theirs = run["seconds_per_batch"] * run["batches_per_epoch"]
    return {
        "rival": "RecBole 1.2.1 SASRec",
        "what": "one training epoch of SASRec, ml-100k",
        "rival_batch": run["batch_size"],
        "our_batch": batch_size,
        "predictions": n_predictions,
        "seconds": ours_seconds,
        "rival_seconds": theirs,
        "ratio": theirs / ours_seconds,
        "aim": AIM,
        "note": (
            f"theirs: {run['timed_batches']} of {run['batches_per_epoch']} batches of "
            f"{run['batch_size']} prefixes timed (RecBole's trainer, median), one target a prefix; "
            f"ours: whole epochs, batches of {batch_size} windows, a target at every position"
        ),
    }


def against_recbole(data: Dataset) -> list[dict[str, Any]]:
    """Measure our epoch before and after RecBole's batches, if they can be had; one row a size."""
    python = environment()
    config = BackboneConfig(windows="all")
    epoch = backbone_epoch(data, config)
    (before,) = compare(epoch, repeats=REPEATS)
    measured = run_recbole(data, config, python)
    (after,) = compare(epoch, repeats=REPEATS)
    ours = (before + after) / 2
    return [comparison(ours, n_targets(data), run, config.batch_size) for run in measured]
