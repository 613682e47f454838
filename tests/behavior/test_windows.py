"""Training windows: every pair of neighbours once, or the last ones."""

import itertools

import numpy as np
import pytest
import torch

from latentcrs_utils.behavior.windows import next_item_windows
from latentcrs_utils.data.sequences import Sequences


def test_last_windows_and_none_of_nothing() -> None:
    rows = Sequences.from_lists([[1, 2, 3, 4, 5, 6], [7, 8], [9], []])
    inputs, targets = next_item_windows(rows, 3)
    assert inputs.tolist() == [[3, 4, 5], [0, 0, 7]]
    assert targets.tolist() == [[4, 5, 6], [0, 0, 8]]
    inputs, targets = next_item_windows(rows.select([2, 3]), 4, np.array([1, 2]))
    assert inputs.shape == targets.shape == (0, 4)


@pytest.mark.parametrize("seed", range(5))
def test_all_windows_hold_every_pair_once(seed: int) -> None:
    rng = np.random.default_rng(seed)
    lists = [rng.integers(1, 100, rng.integers(0, 14)).tolist() for _ in range(20)]
    rows = Sequences.from_lists(lists)
    inputs, targets = next_item_windows(rows, 4, rng.integers(0, 4, 20))
    real = inputs > 0
    assert torch.equal(real, targets > 0)
    assert real.any(1).all()
    assert torch.equal(real, real.cummax(1).values), "padding stands on the left"
    found = sorted(zip(inputs[real].tolist(), targets[real].tolist(), strict=True))
    expected = sorted(pair for row in lists for pair in itertools.pairwise(row))
    assert found == expected
