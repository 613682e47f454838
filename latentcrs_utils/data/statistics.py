"""The numbers that describe a data set, and those that the paper prints (Table 1)."""

from __future__ import annotations

from dataclasses import dataclass

from latentcrs_utils.data.sequences import Dataset


@dataclass(frozen=True)
class Statistics:
    """Users, items and actions, and what follows from the three."""

    users: int
    items: int
    actions: int

    @property
    def average_length(self) -> float:
        """Actions per user."""
        return self.actions / self.users

    @property
    def sparsity(self) -> float:
        """Share of the cells of the user-item matrix that are empty, 0 to 1."""
        return 1 - self.actions / (self.users * self.items)


@dataclass(frozen=True)
class PrintedColumn:
    """One column of the paper's Table 1: its heading, counts, and derived numbers as printed."""

    title: str
    counts: Statistics
    average_length: float
    sparsity_percent: float


PAPER_TABLE_1: dict[str, PrintedColumn] = {
    "ml-1m": PrintedColumn("Movielens-1M", Statistics(6_034, 3_522, 575_272), 95.34, 97.30),
    "amazon-video-games": PrintedColumn(
        "Video Games", Statistics(15_582, 7_233, 122_179), 7.84, 99.89
    ),
    "amazon-cds": PrintedColumn(
        "CDs and Vinyl", Statistics(104_544, 76_616, 1_259_069), 12.04, 99.98
    ),
}


def statistics(data: Dataset) -> Statistics:
    """Count the users, items and actions of a prepared data set."""
    return Statistics(data.n_users, data.n_items, len(data.interactions.flat))
