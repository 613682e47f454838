"""Pretraining from the command line: on a CPU, on a GPU, or on several of either.

python -m latentcrs_utils.behavior.pretraining --data ml-1m
torchrun --nproc_per_node 2 -m latentcrs_utils.behavior.pretraining --data ml-1m --expect-processes 2
accelerate launch --multi_gpu --num_processes 4 -m latentcrs_utils.behavior.pretraining --data ml-1m
"""

from __future__ import annotations

import argparse
import ast
import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from latentcrs_utils.config import BackboneConfig, preset
from latentcrs_utils.errors import ConfigError
from latentcrs_utils.support.device import choose_device
from latentcrs_utils.support.files import atomic_path
from latentcrs_utils.support.processes import Processes, run_command

if TYPE_CHECKING:
    from latentcrs_utils.behavior.pretraining import Backbone
    from latentcrs_utils.data.sequences import Dataset


def changed(config: BackboneConfig, changes: Sequence[str]) -> BackboneConfig:
    """Return the configuration with fields changed as "name=value" says.

    Raises:
        ConfigError: no such field, no "=", or a value that makes no sense there.
    """
    values = {}
    for change in changes:
        name, _, text = change.partition("=")
        if name not in {field.name for field in dataclasses.fields(config)} or not text:
            known = ", ".join(field.name for field in dataclasses.fields(config))
            raise ConfigError(f"--set {change}: give NAME=VALUE, with one of the names {known}.")
        try:
            values[name] = ast.literal_eval(text)
        except (ValueError, SyntaxError):
            values[name] = text
        if not isinstance(values[name], type(getattr(config, name))):
            wanted = type(getattr(config, name)).__name__
            if not (wanted == "float" and isinstance(values[name], int)):
                raise ConfigError(f"--set {change}: {name} is a {wanted}.")
    return dataclasses.replace(config, **values)


def record(backbone: Backbone, data: Dataset, seed: int, file: Path) -> None:
    """Write the learning curve, the configuration and how it was trained as JSON."""
    import json

    content = {
        "data": {"name": data.name, "users": data.n_users, "items": data.n_items},
        "config": dataclasses.asdict(backbone.config),
        "seed": seed,
        "facts": backbone.facts,
        "curve": backbone.curve,
    }
    with atomic_path(file) as temporary:
        temporary.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def run(options: argparse.Namespace, processes: Processes) -> None:
    """Load the data, pretrain or load, and say what came out."""
    from latentcrs_utils.behavior.pretraining import pretrain
    from latentcrs_utils.data.loading import load_csv, load_dataset

    def load() -> Dataset:
        return load_csv(*options.csv) if options.csv else load_dataset(options.data)

    # one downloads and prepares, the others then find it done
    data = processes.main_first(load)
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


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    made = argparse.ArgumentParser(
        prog="python -m latentcrs_utils.behavior.pretraining",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("--data", default="ml-100k", help="name of a data set; default: ml-100k")
    made.add_argument("--csv", nargs=2, metavar=("RATINGS", "ITEMS"), help="two files of your own")
    made.add_argument("--seed", type=int, default=0, help="default: 0")
    made.add_argument(
        "--set",
        nargs="+",
        default=[],
        metavar="NAME=VALUE",
        help="hyper-parameters beside the preset, e.g. loss=sampled precision=bfloat16",
    )
    made.add_argument("--device", help="cpu, cuda or cuda:1; default: a GPU where there is one")
    made.add_argument("--compile", action="store_true", help="use torch.compile")
    made.add_argument("--afresh", action="store_true", help="train even if that was done before")
    made.add_argument("--expect-processes", type=int, metavar="N", help="stop unless there are N")
    made.add_argument("--record", type=Path, metavar="FILE", help="write the learning curve (JSON)")
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit status."""
    options = parser().parse_args(arguments)
    return run_command(
        lambda processes: run(options, processes),
        device=options.device,
        expected=options.expect_processes,
    )


if __name__ == "__main__":
    sys.exit(main())
