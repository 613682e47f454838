"""Training instances as tensors, their sampled candidates, and the vectors of the items."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from latentcrs_utils.behavior.pretraining import Backbone
from latentcrs_utils.data.sequences import Dataset, Sequences
from latentcrs_utils.errors import ConfigError
from latentcrs_utils.language.encoding import Language


@dataclass(frozen=True)
class Instances:
    """N training instances on one device.

    S [N, d] are the frozen embeddings of the `histories`, x [N, d_x] the standardised embeddings of
    the words, and `targets` [N] the observed items 1..V, which follow the histories.
    """

    S: Tensor
    x: Tensor
    targets: Tensor
    histories: Sequences

    def __len__(self) -> int:
        return len(self.targets)

    def take(self, rows: Tensor, *, with_histories: bool = True) -> "Instances":
        """The instances of the given rows; without their histories (none at all) where asked."""
        chosen = rows.cpu().numpy()[: None if with_histories else 0]
        histories = self.histories.select(chosen)
        return Instances(self.S[rows], self.x[rows], self.targets[rows], histories)

    def to(self, device: torch.device) -> "Instances":
        """The same instances with their tensors on the device."""
        S, x, targets = (part.to(device) for part in (self.S, self.x, self.targets))
        return Instances(S, x, targets, self.histories)


def rows_of(language: Language, split: str) -> np.ndarray:
    """Row numbers of the utterances of one split ("train", "valid", "test", "test_turns")."""
    return np.flatnonzero((language.utterances.frame["split"] == split).to_numpy())


def instances_of(
    data: Dataset, backbone: Backbone, language: Language, rows: np.ndarray
) -> Instances:
    """The instances of some `rows` [N] of `language.utterances`, in their order.

    A history are the items before the cut; of a row with a number `kept`, only its last so many.
    """
    frame = language.utterances.frame[rows]
    users, cuts = frame["user"].to_numpy(), frame["cut"].to_numpy()
    kept = frame["kept"].fill_null(cuts.max(initial=0)).to_numpy() if "kept" in frame else cuts
    distinct, inverse = np.unique([users, cuts, kept], axis=1, return_inverse=True)
    histories = data.interactions.prefixes(*distinct[:2]).last(distinct[2])
    return Instances(
        S=backbone.encode(histories)[torch.from_numpy(inverse)],
        x=language.x[torch.from_numpy(np.asarray(rows))],
        targets=torch.from_numpy(frame["target"].to_numpy().astype(np.int64)),
        histories=histories.select(inverse),
    )


def sample_candidates(
    batch: Instances, n_items: int, n_negatives: int, generator: torch.Generator
) -> Tensor:
    """The observed item (column 0) and n negatives outside history and target, [B, 1 + n].

    Drawn again where known or double: memory is that of the result. ConfigError: too few items.
    """
    # row * (V + 1) + item of every item in a row's history, and of its target; each once
    rows = np.concatenate([batch.histories.rows(), np.arange(len(batch))])
    items = np.concatenate([batch.histories.flat.astype(np.int64), batch.targets.cpu().numpy()])
    known = torch.from_numpy(np.unique(rows * (n_items + 1) + items)).to(batch.targets.device)
    fewest = n_items - int(torch.bincount(known // (n_items + 1), minlength=1).max())
    if n_negatives > fewest:
        raise ConfigError(
            f"n_negatives={n_negatives} cannot be drawn: after the longest history {fewest} of "
            f"{n_items} items are left. Choose at most {fewest}, or None for all items."
        )
    row = torch.arange(len(batch), device=known.device)[:, None] * (n_items + 1)
    drawn = torch.zeros(len(batch), n_negatives, dtype=torch.int64, device=known.device)
    wrong = torch.ones_like(drawn, dtype=torch.bool)
    while wrong.any():
        size = (int(wrong.sum()),)
        drawn[wrong] = torch.randint(1, n_items + 1, size, generator=generator, device=row.device)
        cells = row + drawn
        place = torch.searchsorted(known, cells).clamp_max(len(known) - 1)
        wrong = (known[place] == cells) | _repeated(drawn)
    return torch.cat([batch.targets[:, None], drawn], dim=1)


def _repeated(drawn: Tensor) -> Tensor:
    """Which entries of a row are further left already, bool [B, n]."""
    ordered, order = drawn.sort(dim=1, stable=True)
    again = torch.zeros_like(drawn, dtype=torch.bool)
    again[:, 1:] = ordered[:, 1:] == ordered[:, :-1]
    return torch.zeros_like(again).scatter_(1, order, again)


# Most films of the catalogue are from the nineties, so the periods are narrow there.
PERIOD_STARTS = (0, 1940, 1950, 1960, 1970, 1980, 1985, 1990, 1993, 1994, 1995, 1996, 1997, 1998)
# Games and albums: the decades, and half of those in which most were made.
SHOP_PERIOD_STARTS = (0, 1960, 1970, 1980, 1985, 1990, 1995, 2000, 2005, 2010, 2015, 2020)
PRICE_STARTS = (0.0, 5.0, 10.0, 15.0, 20.0, 30.0, 50.0, 100.0)  # US dollars
CREATOR_COUNT = 20  # a creator of so many items has an indicator of its own
N_CREATORS = 256  # at most so many creators
GENRE_COUNT = 20  # likewise a genre, where a shop's catalogue has hundreds


def item_vectors(item_embeddings: Tensor, data: Dataset) -> Tensor:
    """c_v: the standardised backbone embedding v [V + 1, d] and the attributes, [V + 1, d_c].

    Standardised is to zero mean and unit variance over the items; row 0 (padding) is zero.
    """
    items = item_embeddings[1:]
    scaled = (items - items.mean(0)) / items.std(0).clamp_min(1e-6)
    scaled = torch.cat([torch.zeros_like(item_embeddings[:1]), scaled])
    return torch.cat([scaled, item_attributes(data)], dim=1)


def item_attributes(data: Dataset) -> Tensor:
    """What is known of every item, as indicators of 0 and 1, [V + 1, number of indicators].

    In this order genres, periods, and where the catalogue has them (Amazon) platforms, price bands
    and creators, names in alphabetical order; row 0 (padding) and what is not known are zero.
    """
    items, of_shop = data.items, "creator" in data.items.columns
    parts = [
        _indicators(items["genres"].to_list(), at_least=GENRE_COUNT if of_shop else 1),
        _bands(items["year"].to_numpy(), SHOP_PERIOD_STARTS if of_shop else PERIOD_STARTS),
    ]
    if "platform" in items.columns:
        parts.append(_indicators([[platform] for platform in items["platform"]], at_least=1))
    if of_shop:
        creators = [[creator] for creator in items["creator"]]
        parts.append(_bands(items["price"].to_numpy(), PRICE_STARTS))
        parts.append(_indicators(creators, at_least=CREATOR_COUNT, at_most=N_CREATORS))
    known = np.concatenate(parts, axis=1)
    return torch.from_numpy(np.concatenate([np.zeros_like(known[:1]), known]))


def _indicators(
    values: Sequence[Sequence[str | None]], *, at_least: int, at_most: int | None = None
) -> np.ndarray:
    """Which item has which value, float32 [V, values kept], in alphabetical order.

    Kept are the `at_most` most frequent values, of those that `at_least` so many items have.
    """
    counts = Counter(value for of_item in values for value in of_item if value is not None)
    frequent = sorted(counts, key=lambda value: (-counts[value], value))[:at_most]
    kept = sorted(value for value in frequent if counts[value] >= at_least)
    column = {value: place for place, value in enumerate(kept)}
    table = np.zeros((len(values), len(kept)), dtype=np.float32)
    for row, of_item in enumerate(values):
        table[row, [column[value] for value in of_item if value in column]] = 1.0
    return table


def _bands(numbers: np.ndarray, starts: Sequence[float]) -> np.ndarray:
    """Which item's number [V] is in which band (ascending `starts`), [V, bands]; NaN is in none."""
    place = np.searchsorted(starts, numbers, side="right")
    place[np.isnan(numbers.astype(float))] = 0
    return np.eye(len(starts) + 1, dtype=np.float32)[place, 1:]
