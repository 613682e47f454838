"""``python -m experiments.pretrain``: pretrain the backbone of a data set, alone or in processes.

In several processes: ``torchrun --nproc_per_node 2 -m experiments.pretrain --data ml-1m``.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path

from latentcrs_utils.behavior.pretraining import Backbone, pretrain
from latentcrs_utils.config import BackboneConfig, preset
from latentcrs_utils.data.loading import load_csv, load_dataset
from latentcrs_utils.data.sequences import Dataset
from latentcrs_utils.errors import ConfigError
from latentcrs_utils.evaluation.recording import sizes, write_record
from latentcrs_utils.support.device import choose_device
from latentcrs_utils.support.processes import Processes, run_command


def changed(config: BackboneConfig, changes: Sequence[str]) -> BackboneConfig:
    """Return the configuration with fields changed as "name=value" says.

    Raises:
        ConfigError: no such field, no "=", or a value that makes no sense there.
    """
    known = [field.name for field in dataclasses.fields(config)]
    values = {}
    for change in changes:
        name, _, text = change.partition("=")
        if name not in known or not text:
            names = ", ".join(known)
            raise ConfigError(f"--set {change}: give NAME=VALUE, with one of the names {names}.")
        kind = type(getattr(config, name))
        try:
            values[name] = kind(text)
        except ValueError:
            raise ConfigError(f"--set {change}: {name} is a {kind.__name__}.") from None
    return dataclasses.replace(config, **values)


def record(backbone: Backbone, data: Dataset, seed: int, file: Path) -> None:
    """Write the learning curve, the configuration and how it was trained as JSON."""
    content = {
        "data": sizes(data),
        "config": dataclasses.asdict(backbone.config),
        "seed": seed,
        "facts": backbone.facts,
        "curve": backbone.curve,
    }
    write_record(file, content)


def run(options: argparse.Namespace, processes: Processes) -> None:
    """Load the data, pretrain or load, and say what came out."""
    # one downloads and prepares, the others then find it done
    data = processes.main_first(
        lambda: load_csv(*options.csv) if options.csv else load_dataset(options.data)
    )
    config = changed(preset(data.name, data.n_users).backbone, options.set)
    if processes.is_main:
        plural = "es" if processes.count > 1 else ""
        print(f"{data!r}, {processes.count} process{plural} on {choose_device(options.device)}")
    backbone = pretrain(
        data,
        config,
        seed=options.seed,
        device=options.device,
        compile=options.compile,
        reuse=not options.afresh,
        progress=None if processes.is_main else False,
    )
    if processes.is_main:
        best = max(backbone.curve, key=lambda row: row["valid NDCG@20"])
        print(
            f"best epoch {best['epoch']:.0f} of {len(backbone.curve)}: valid NDCG@20 "
            f"{best['valid NDCG@20']:.4f}, {best['seconds']:.1f} s an epoch, trained by "
            f"{backbone.facts.get('processes', 1)} on {backbone.facts.get('device', 'cpu')}"
        )
        if options.record:
            record(backbone, data, options.seed, options.record)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m experiments.pretrain",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--data", default="ml-100k", help="name of a data set; default: ml-100k")
    add("--csv", nargs=2, metavar=("RATINGS", "ITEMS"), help="two files of your own")
    add("--seed", type=int, default=0, help="default: 0")
    add(
        "--set",
        nargs="+",
        default=[],
        metavar="NAME=VALUE",
        help="other hyper-parameters than the preset's, e.g. loss=sampled precision=bfloat16",
    )
    add("--device", help="cpu, cuda or cuda:1; default: a GPU where there is one")
    add("--compile", action="store_true", help="use torch.compile")
    add("--afresh", action="store_true", help="train even if that was done before")
    add("--expect-processes", type=int, metavar="N", help="stop unless there are N")
    add("--record", type=Path, metavar="FILE", help="write the learning curve (JSON)")  # fmt: skip
    options = parser.parse_args(arguments)
    return run_command(
        lambda processes: run(options, processes),
        device=options.device,
        expected=options.expect_processes,
    )


if __name__ == "__main__":
    sys.exit(main())
