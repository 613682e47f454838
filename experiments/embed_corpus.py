"""``python -m experiments.embed_corpus``: embed what the simulated users of a data set say.

In several processes: ``torchrun --nproc_per_node 2 -m experiments.embed_corpus --data ml-1m``.
"""

import sys
from collections.abc import Sequence

from experiments.processes import run_command
from latentcrs_utils import Embedder, load_dataset, simulate_utterances
from latentcrs_utils.evaluation.recording import Command
from latentcrs_utils.language.models import DEFAULT_MODEL
from latentcrs_utils.support.processes import Processes


def main(arguments: Sequence[str] | None = None) -> int:
    """Simulate the utterances and embed each distinct one that the cache does not have.

    Returns the exit status.
    """
    command = Command("experiments.embed_corpus", __doc__, record=None)
    add = command.parser.add_argument
    add("--model", default=DEFAULT_MODEL, help=f"default: {DEFAULT_MODEL}")
    add("--expect-processes", type=int, metavar="N", help="stop unless there are N")
    options = command.read(arguments)

    def work(processes: Processes) -> None:
        # one downloads and prepares, the others then find it done
        data = processes.main_first(lambda: load_dataset(options.data))
        texts, embedder = simulate_utterances(data, seed=0).texts, Embedder(options.model)
        if processes.is_main:
            n_distinct = len(set(texts))
            print(f"{n_distinct:,} distinct texts of {data.name}, processes: {processes.count}")
        embedder.embed(texts)
        usage = embedder.tokens
        if processes.is_main:
            print(
                f"{embedder.name}: {usage.computed_texts:,} texts computed "
                f"({usage.computed_tokens:,} tokens), {usage.distinct - usage.computed_texts:,} "
                f"were known; {usage.seconds:.1f} s"
            )

    return run_command(work, expected=options.expect_processes)


if __name__ == "__main__":
    sys.exit(main())
