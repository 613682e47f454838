"""``python -m experiments.embed_corpus``: embed what the simulated users of a data set say.

In several processes: ``torchrun --nproc_per_node 2 -m experiments.embed_corpus --data ml-1m``.
"""

import argparse
import sys
from collections.abc import Sequence

from experiments.processes import run_command
from latentcrs_utils import Embedder, load_dataset, simulate_utterances
from latentcrs_utils.evaluation.recording import Command
from latentcrs_utils.language.models import DEFAULT_MODEL
from latentcrs_utils.support.processes import Processes


def run(options: argparse.Namespace, processes: Processes) -> None:
    """Simulate the utterances and embed each distinct one that the cache does not have."""
    # one downloads and prepares, the others then find it done
    data = processes.main_first(lambda: load_dataset(options.data))
    texts = simulate_utterances(data, seed=0).texts
    if processes.is_main:
        print(f"{len(set(texts)):,} distinct texts of {data.name}, processes: {processes.count}")
    embedder = Embedder(options.model)
    embedder.embed(texts)
    usage = embedder.tokens
    if processes.is_main:
        print(
            f"{embedder.name}: {usage.computed_texts:,} texts computed ({usage.computed_tokens:,} "
            f"tokens), {usage.distinct - usage.computed_texts:,} were known; {usage.seconds:.1f} s"
        )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit status."""
    command = Command("experiments.embed_corpus", __doc__, record=None)
    add = command.parser.add_argument
    add("--model", default=DEFAULT_MODEL, help=f"default: {DEFAULT_MODEL}")
    add("--expect-processes", type=int, metavar="N", help="stop unless there are N")
    options = command.read(arguments)
    return run_command(lambda processes: run(options, processes), expected=options.expect_processes)


if __name__ == "__main__":
    sys.exit(main())
