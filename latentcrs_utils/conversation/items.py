"""Items of the catalogue as a conversation needs them."""

import operator

from latentcrs_utils.conversation.turn import Recommendation
from latentcrs_utils.data import Dataset
from latentcrs_utils.errors import DataError


def describe(data: Dataset, item: int, score: float = 0.0) -> Recommendation:
    """What the catalogue says of an item, with its log p(v | S, x)."""
    row = data.item(item)
    return Recommendation(item, row["title"], row["year"], tuple(row["genres"] or ()), score)


def known_item(data: Dataset, item: int) -> int:
    """The item id as an int, if the catalogue has it.

    Raises:
        DataError: it has not.
    """
    try:
        number = operator.index(item)
    except TypeError:
        number = 0
    if not 1 <= number <= data.n_items:
        raise DataError(
            f"There is no item {repr(item)[:40]} in {data.name}: "
            f"item ids go from 1 to {data.n_items:,}."
        )
    return number
