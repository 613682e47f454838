"""Table 1 of the paper, counted again on one's own copies of the data, under both filters.

Amazon's files are each reader's own download: where they are absent, a line says so instead.
"""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, get_args

import numpy as np

from latentcrs_utils import AssetError, Dataset, load_dataset
from latentcrs_utils.config import Filter
from latentcrs_utils.evaluation.published import PAPER_TABLE_1
from latentcrs_utils.evaluation.recording import Command

RECORDED = ("ml-1m", "ml-latest-small", "ml-100k")
WHERE_THERE = ("amazon-video-games", "amazon-cds")


def row(data: Dataset, filter: Filter) -> dict[str, Any]:
    """Describe one data set: Table 1's numbers, the passes of the filter, items by part.

    The paper's item count of MovieLens-1M is none of those that the whole sequences give, so the
    distinct items of the training parts, and of the histories in them, are counted too.
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


def main(arguments: Sequence[str] | None = None) -> None:
    """Load every data set under both filters, record and print its row."""
    command = Command("experiments.table_1", __doc__, data=False)
    command.parser.add_argument("--datasets", nargs="+", help="default: all that there are")
    options = command.read(arguments)
    names = list(options.datasets or RECORDED)
    rows = [both for name in names for both in _both(name)]
    for name in WHERE_THERE if options.datasets is None else ():
        try:
            rows += _both(name)
        except AssetError as absent:
            print(f"{name}: no row. {absent}")
        else:
            names.append(name)
    if options.datasets is None:  # those that were there
        command.line += f" --datasets {' '.join(names)}"
    command.record(options.record, {"rows": rows}, ("polars", "numpy"))
    line = "{data}, {filter}: {users:,} users, {items:,} items, {actions:,} actions"
    for one in rows:
        print(line.format(**one))
    for name in [name for name in PAPER_TABLE_1 if name in names]:
        paper = asdict(PAPER_TABLE_1[name].counts)
        print(line.format(data=name, filter="as printed in the paper", **paper))


def _both(name: str) -> list[dict[str, Any]]:
    """Return the rows of one data set, under each filter."""
    return [row(load_dataset(name, filter=filter), filter) for filter in get_args(Filter)]


if __name__ == "__main__":
    main()
