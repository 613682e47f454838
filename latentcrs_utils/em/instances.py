"""Training instances as tensors, and the candidates that are drawn for them."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from latentcrs_utils.data.sequences import Sequences
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
