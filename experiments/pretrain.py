"""``python -m experiments.pretrain``: pretrain the backbone of a data set, alone or in processes.

In several processes: ``torchrun --nproc_per_node 2 -m experiments.pretrain --data ml-1m``.
"""

import dataclasses
import sys
from collections.abc import Sequence

from experiments.processes import run_command
from latentcrs_utils import ConfigError, load_dataset, preset, pretrain
from latentcrs_utils.config import BackboneConfig
from latentcrs_utils.evaluation.recording import Command, sizes, write_record
from latentcrs_utils.support.device import choose_device
from latentcrs_utils.support.processes import Processes


def changed(config: BackboneConfig, changes: Sequence[str]) -> BackboneConfig:
    """Return the configuration with fields changed as "name=value" says.

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


def main(arguments: Sequence[str] | None = None) -> int:
    """Load the data, pretrain or load, and say what came out; returns the exit status."""
    command = Command("experiments.pretrain", __doc__, record=False)
    add = command.parser.add_argument
    add("--seed", type=int, default=0, help="default: 0")
    other = "other hyper-parameters than the preset's, e.g. loss=sampled precision=bfloat16"
    add("--set", nargs="+", default=[], metavar="NAME=VALUE", help=other)
    add("--device", help="cpu, cuda or cuda:1; default: a GPU where there is one")
    add("--compile", action="store_true", help="use torch.compile")
    add("--expect-processes", type=int, metavar="N", help="stop unless there are N")
    options = command.read(arguments)

    def work(processes: Processes) -> None:
        # one downloads and prepares, the others then find it done
        data = processes.main_first(lambda: load_dataset(options.data))
        config = changed(preset(data.name, data.n_users).backbone, options.set)
        if processes.is_main:
            print(f"{data!r}, processes: {processes.count}, on {choose_device(options.device)}")
        backbone = pretrain(
            data, config, seed=options.seed, device=options.device, compile=options.compile,
            progress=None if processes.is_main else False,
        )  # fmt: skip
        if processes.is_main:
            best = max(backbone.curve, key=lambda row: row["valid NDCG@20"])
            print(
                f"best epoch {best['epoch']:.0f} of {len(backbone.curve)}: valid NDCG@20 "
                f"{best['valid NDCG@20']:.4f}, {best['seconds']:.1f} s an epoch, trained by "
                f"{backbone.facts.get('processes', 1)} on {backbone.facts.get('device', 'cpu')}"
            )
            if options.record:
                content = {"config": dataclasses.asdict(backbone.config), "seed": options.seed}
                curve = {"facts": backbone.facts, "curve": backbone.curve}
                write_record(options.record, {"data": sizes(data), **content, **curve})

    return run_command(work, device=options.device, expected=options.expect_processes)


if __name__ == "__main__":
    sys.exit(main())
