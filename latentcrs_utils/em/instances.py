"""Training instances as tensors, and the candidates that are drawn for them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from latentcrs_utils.data.sequences import Dataset, Sequences
from latentcrs_utils.errors import ConfigError

# the histories of a batch that nobody asks for them
_NONE = Sequences(np.zeros(1, dtype=np.int64), np.zeros(0, dtype=np.int32))


@dataclass(frozen=True)
class Instances:
    """Training instances as tensors on one device.

    Attributes:
        S: frozen embeddings of the histories, [N, d].
        x: standardised language embeddings, [N, d_x].
        targets: observed items, [N], ids 1..V.
        histories: the items before the observed one, N sequences.
    """

    S: Tensor
    x: Tensor
    targets: Tensor
    histories: Sequences

    def __len__(self) -> int:
        return len(self.targets)

    def take(self, rows: Tensor, *, with_histories: bool = True) -> "Instances":
        """The instances of the given rows; without their histories (none at all) where asked."""
        histories = self.histories.select(rows.cpu().numpy()) if with_histories else _NONE
        return Instances(self.S[rows], self.x[rows], self.targets[rows], histories)

    def to(self, device: torch.device) -> "Instances":
        """The same instances with their tensors on the device."""
        S, x, targets = (part.to(device) for part in (self.S, self.x, self.targets))
        return Instances(S, x, targets, self.histories)


def sample_candidates(
    batch: Instances, n_items: int, n_negatives: int, generator: torch.Generator
) -> Tensor:
    """The observed item (column 0) and negatives outside history and target, [B, 1 + n].

    Negatives are drawn from all items and drawn again where they are known or double: memory is
    that of the result, whatever the catalogue.
    """
    known = _known_cells(batch, n_items)
    fewest = n_items - int(torch.bincount(known // (n_items + 1), minlength=1).max())
    if n_negatives > fewest:
        raise ConfigError(
            f"n_negatives={n_negatives} cannot be drawn: after the longest history {fewest} of "
            f"{n_items} items are left. Choose at most {fewest}, or None for all items."
        )
    device = batch.targets.device
    shape = (len(batch), n_negatives)
    row = torch.arange(len(batch), device=device)[:, None] * (n_items + 1)
    drawn = torch.zeros(shape, dtype=torch.int64, device=device)
    wrong = torch.ones(shape, dtype=torch.bool, device=device)
    while wrong.any():
        again = torch.randint(
            1, n_items + 1, (int(wrong.sum()),), generator=generator, device=device
        )
        drawn[wrong] = again
        cells = row + drawn
        place = torch.searchsorted(known, cells).clamp_max(len(known) - 1)
        wrong = (known[place] == cells) | _repeated(drawn)
    return torch.cat([batch.targets[:, None], drawn], dim=1)


def _known_cells(batch: Instances, n_items: int) -> Tensor:
    """row * (V + 1) + item of every item in a row's history, and of its target; each once."""
    targets = batch.targets.cpu().numpy()
    rows = np.concatenate([batch.histories.rows(), np.arange(len(batch))])
    items = np.concatenate([batch.histories.flat.astype(np.int64), targets])
    cells = np.unique(rows * (n_items + 1) + items)
    return torch.from_numpy(cells).to(batch.targets.device)


def _repeated(drawn: Tensor) -> Tensor:
    """Where an entry of a row stood further left already, bool [B, n]."""
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


def item_attributes(data: Dataset) -> Tensor:
    """What is known of every item, as indicators.

    Genres and period; and where the catalogue has these columns (Amazon), platform, price band and
    the creators of at least `CREATOR_COUNT` items (the `N_CREATORS` most frequent). A genre of such
    a catalogue counts from `GENRE_COUNT` items on.

    Args:
        data: the data set, whose items have `genres` (list) and `year` (or null), and perhaps
            `platform`, `creator` and `price` (each or null).

    Returns:
        [V + 1, number of indicators] of 0 and 1: genres, periods, platforms, price bands, creators,
        the names in alphabetical order. Row 0 (padding) is zero, and so is what is not known.
    """
    of_shop = "creator" in data.items.columns
    genres = data.items["genres"].to_list()
    starts = SHOP_PERIOD_STARTS if of_shop else PERIOD_STARTS
    parts = [
        _indicators(genres, at_least=GENRE_COUNT if of_shop else 1),
        _bands(data.items["year"].to_numpy().astype(float), starts),
    ]
    if of_shop:
        facts = {
            name: [[] if value is None else [value] for value in data.items[name].to_list()]
            for name in ("platform", "creator")
            if name in data.items.columns
        }
        parts += [_indicators(facts["platform"], at_least=1)] if "platform" in facts else []
        parts += [_bands(data.items["price"].to_numpy().astype(float), PRICE_STARTS)]
        parts += [_indicators(facts["creator"], at_least=CREATOR_COUNT, at_most=N_CREATORS)]
    known = np.concatenate(parts, axis=1)
    return torch.from_numpy(np.concatenate([np.zeros_like(known[:1]), known]))


def _indicators(
    values: Sequence[Sequence[str]], *, at_least: int, at_most: int | None = None
) -> np.ndarray:
    """Which item has which value, float32 [V, values kept], the values in alphabetical order.

    Args:
        values: those of each item.
        at_least: items that a value must have to be kept.
        at_most: values kept, the most frequent first (None: all).
    """
    names = np.array([value for of_item in values for value in of_item], dtype=object)
    rows = np.repeat(np.arange(len(values)), [len(of_item) for of_item in values])
    distinct, codes, counts = np.unique(names, return_inverse=True, return_counts=True)
    frequent = np.argsort(-counts, kind="stable")[:at_most]
    kept = np.sort(frequent[counts[frequent] >= at_least])
    column = np.full(len(distinct) + 1, -1)
    column[kept] = np.arange(len(kept))
    table = np.zeros((len(values), len(kept)), dtype=np.float32)
    columns = column[codes]
    table[rows[columns >= 0], columns[columns >= 0]] = 1.0
    return table


def _bands(numbers: np.ndarray, starts: Sequence[float]) -> np.ndarray:
    """Which item's number lies in which band, float32 [V, bands]; NaN is in none.

    Args:
        numbers: [V].
        starts: of the bands, ascending; the last one has no end.
    """
    table = np.zeros((len(numbers), len(starts)), dtype=np.float32)
    known = np.flatnonzero(~np.isnan(numbers))
    table[known, np.searchsorted(starts, numbers[known], side="right") - 1] = 1.0
    return table


def standardise_columns(table: Tensor) -> Tensor:
    """Zero mean and unit variance over the items 1..V, [V + 1, d]; row 0 (padding) is zero."""
    items = table[1:]
    scaled = (items - items.mean(0)) / items.std(0).clamp_min(1e-6)
    return torch.cat([torch.zeros_like(table[:1]), scaled])


def item_vectors(item_embeddings: Tensor, data: Dataset) -> Tensor:
    """c_v: the standardised backbone embedding beside the attributes, [V + 1, d_c].

    Args:
        item_embeddings: v, [V + 1, d]; data: the data set.
    """
    return torch.cat([standardise_columns(item_embeddings), item_attributes(data)], dim=1)
