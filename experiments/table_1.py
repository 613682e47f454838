"""Table 1 of the paper, counted again on one's own copies of the data, under both filters."""

from collections.abc import Sequence
from dataclasses import asdict
from itertools import product
from typing import Any, get_args

import numpy as np

from experiments import program
from latentcrs_utils import Dataset, load_dataset
from latentcrs_utils.config import Filter
from latentcrs_utils.evaluation.published import PAPER_TABLE_1
from latentcrs_utils.evaluation.recording import Command

RECORDED = ("ml-1m", "ml-latest-small", "ml-100k")


def row(data: Dataset, filter: Filter) -> dict[str, Any]:
    """Describe one data set: Table 1's numbers, the passes of the filter, items by part (since the
    paper's item count of MovieLens-1M is none of those that the whole sequences give).
    """
    counts = data.statistics
    training = data.histories("train")
    return {
        "data": data.name,
        "filter": filter,
        **asdict(counts),
        "average_length": round(counts.average_length, 2),
        "sparsity_percent": round(100 * counts.sparsity, 2),
        "passes": [[p.users, p.items, p.actions] for p in data.counts["passes"]],
        "items_of_training_parts": len(np.unique(training.flat)),
        "items_of_training_histories": len(np.unique(training.without_last(1).flat)),
    }


@program
def main(arguments: Sequence[str] | None = None) -> None:
    """Load every data set under both filters, record and print its row."""
    command = Command("experiments.table_1", __doc__, data=False)
    command.parser.add_argument("--datasets", nargs="+", default=RECORDED)
    options = command.read(arguments)
    pairs = product(options.datasets, get_args(Filter))
    rows = [row(load_dataset(name, filter=filter), filter) for name, filter in pairs]
    command.record(options.record, {"rows": rows}, ("polars", "numpy"))
    line = "{data}, {filter}: {users:,} users, {items:,} items, {actions:,} actions"
    for one in rows:
        print(line.format(**one))
    for name in [name for name in PAPER_TABLE_1 if name in options.datasets]:
        paper = asdict(PAPER_TABLE_1[name].counts)
        print(line.format(data=name, filter="as printed in the paper", **paper))
