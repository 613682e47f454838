"""The most popular items for everybody: the least that a recommender must beat."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

if TYPE_CHECKING:
    from latentcrs_utils.data.sequences import Dataset


def popularity(data: Dataset) -> Tensor:
    """Score items by how many training actions they have.

    Args:
        data: the data set; validation and test items are not counted.

    Returns:
        [V+1] float32, the same scores for every user; column 0 is -inf.
    """
    flat = data.histories("train").flat.astype(np.int64)
    counts = torch.from_numpy(np.bincount(flat, minlength=data.n_items + 1)).float()
    counts[0] = float("-inf")
    return counts
