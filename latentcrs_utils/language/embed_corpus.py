"""Embed all utterances of a data set into the cache, in one process or several.

python -m latentcrs_utils.language.embedder --data ml-1m
torchrun --nproc_per_node 2 -m latentcrs_utils.language.embedder --data ml-1m
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from latentcrs_utils.language.models import DEFAULT_MODEL
from latentcrs_utils.support.processes import Processes, run_command


def run(options: argparse.Namespace, processes: Processes) -> None:
    """Simulate the utterances and embed each distinct one that the cache does not have."""
    from latentcrs_utils.data.loading import load_dataset
    from latentcrs_utils.language.embedder import Embedder
    from latentcrs_utils.simulation.utterances import simulate_utterances

    # one downloads and prepares, the others then find it done
    data = processes.main_first(lambda: load_dataset(options.data))
    texts = simulate_utterances(data, seed=options.seed).texts
    if processes.is_main:
        distinct, plural = len(set(texts)), "es" if processes.count > 1 else ""
        print(f"{distinct:,} distinct texts of {data.name}, {processes.count} process{plural}")
    embedder = Embedder(options.model, dtype=options.dtype, batch_size=options.batch_size)
    embedder.embed(texts)
    bill = embedder.last_tokens
    if processes.is_main:
        print(
            f"{embedder.name}: {bill.computed_texts:,} texts computed ({bill.computed_tokens:,} "
            f"tokens), {bill.distinct - bill.computed_texts:,} were known; {bill.seconds:.1f} s"
        )


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    made = argparse.ArgumentParser(
        prog="python -m latentcrs_utils.language.embedder",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("--data", default="ml-100k", help="name of a data set; default: ml-100k")
    made.add_argument("--model", default=DEFAULT_MODEL, help=f"default: {DEFAULT_MODEL}")
    made.add_argument("--dtype", default="auto", help="auto, float32 or bfloat16; default: auto")
    made.add_argument("--batch-size", type=int, default=32, help="texts a pass; default: 32")
    made.add_argument("--seed", type=int, default=0, help="of the utterances; default: 0")
    made.add_argument("--expect-processes", type=int, metavar="N", help="stop unless there are N")
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit status."""
    options = parser().parse_args(arguments)
    return run_command(
        lambda processes: run(options, processes),
        expected=options.expect_processes,
    )


if __name__ == "__main__":
    sys.exit(main())
