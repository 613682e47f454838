"""Experience replay that draws what surprised most more often (Schaul et al. 2016).

Transition i is drawn with probability p_i^alpha / sum_j p_j^alpha, where p_i is its last absolute
error plus a floor. The weights of importance sampling, (n P_i)^-beta, undo that in the mean; they
belong to each sample's own loss, before the average.
"""

from collections.abc import Sequence

import torch
from torch import Tensor


class PrioritisedReplay:
    """The last `capacity` transitions; a new one counts as the most surprising so far."""

    def __init__(self, capacity: int, alpha: float = 0.6, floor: float = 0.01):
        self.capacity, self.alpha, self.floor = capacity, alpha, floor
        self._priorities = torch.zeros(capacity, dtype=torch.float64)
        self._columns: list[Tensor] = []
        self._n_added, self._highest = 0, 1.0

    def __len__(self) -> int:
        return min(self._n_added, self.capacity)

    def add(self, columns: Sequence[Tensor]) -> None:
        """Add n <= capacity transitions, [n, ...] in each column; the oldest make room."""
        n = len(columns[0])
        if not self._columns:
            self._columns = [c.new_zeros(self.capacity, *c.shape[1:]) for c in columns]
        places = torch.arange(self._n_added, self._n_added + n) % self.capacity
        for kept, new in zip(self._columns, columns, strict=True):
            kept[places] = new
        self._priorities[places] = self._highest
        self._n_added += n

    def draw(
        self, n: int, beta: float, generator: torch.Generator
    ) -> tuple[Tensor, list[Tensor], Tensor]:
        """Draw n transitions, one from each n-th of the sum of priorities: their places [n], their
        columns, and their weights [n], of which the largest is 1.
        """
        sums = self._priorities[: len(self)].cumsum(0)
        drawn = torch.rand(n, generator=generator, dtype=torch.float64)
        points = (torch.arange(n) + drawn) / n * sums[-1]
        places = torch.searchsorted(sums, points, right=True).clamp_max(len(self) - 1)
        weights = (len(self) * self._priorities[places] / sums[-1]) ** -beta
        return places, [c[places] for c in self._columns], (weights / weights.max()).float()

    def update(self, places: Tensor, errors: Tensor) -> None:
        """Set the priorities of drawn transitions by their errors, both [n]."""
        self._priorities[places] = (errors.abs().double() + self.floor) ** self.alpha
        self._highest = max(self._highest, float(self._priorities[places].max()))
