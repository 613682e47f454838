"""Data sets made by hand: what all small worlds of the tests are built with."""

from collections.abc import Sequence
from typing import Any

import polars as pl

from latentcrs_utils.data.sequences import Dataset, Sequences


def made(name: str, rows: Sequence, users: Sequence[str] = (), **columns: Any) -> Dataset:
    """A data set of these sequences, whose items have these columns; it is its own fingerprint."""
    ids = range(1, len(next(iter(columns.values()))) + 1)
    types = {"item": pl.Int32, "year": pl.Int32, "creator": pl.String, "price": pl.Float64}
    table = {"item": ids, "raw_item": [str(item) for item in ids]} | columns
    items = pl.DataFrame(table, schema_overrides={n: t for n, t in types.items() if n in table})
    people = {"user": range(len(rows)), "raw_user": users or [str(n) for n in range(len(rows))]}
    of_users = pl.DataFrame(people, schema_overrides={"user": pl.Int32})
    return Dataset(name, items, of_users, Sequences.from_lists(rows), {}, f"{name} by hand")
