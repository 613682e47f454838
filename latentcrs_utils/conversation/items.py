"""Items of the catalogue as a conversation needs them."""

import operator
from functools import lru_cache

import torch
from torch import Tensor

from latentcrs_utils.conversation.turn import Recommendation
from latentcrs_utils.data.sequences import Dataset
from latentcrs_utils.data.source import UNKNOWN_TITLE
from latentcrs_utils.errors import DataError
from latentcrs_utils.simulation.items import spoken_title


def describe(data: Dataset, item: int, score: float = 0.0) -> Recommendation:
    """What the catalogue says of an item, with its log p(v | S, x)."""
    row = data.item(item)
    return Recommendation(item, row["title"], row["year"], tuple(row["genres"] or ()), score)


def best_items(data: Dataset, scores: Tensor, n: int) -> tuple[Recommendation, ...]:
    """The n best items of the scores [V + 1], best first; fewer if fewer scores are finite."""
    best = scores.topk(min(n, int(torch.isfinite(scores).sum())))
    return tuple(
        describe(data, item, score)
        for score, item in zip(best.values.tolist(), best.indices.tolist(), strict=True)
    )


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


@lru_cache(maxsize=4)
def nameless(data: Dataset) -> tuple[int, ...]:
    """Items without a title: an offer that nobody could take up."""
    return tuple(item for item, title in enumerate(data.titles) if title == UNKNOWN_TITLE)


def more_like(item: Recommendation | str) -> str:
    """The message that asks for more of a kind, as the simulated users of `by example` would.

    The year stays out: variant F would hold the next items to it.

    Args:
        item: an offered item, or its title, with or without the year in brackets.
    """
    return f"Something like {spoken_title(item if isinstance(item, str) else item.title)}."
