"""The most popular items for everybody: the least that a recommender must beat."""

import numpy as np
import torch
from torch import Tensor

from latentcrs_utils.data.sequences import Dataset


def popularity(data: Dataset) -> Tensor:
    """How many training actions each item has, float32 [V+1], column 0 -inf; the same for all."""
    flat = data.histories("train").flat.astype(np.int64)
    counts = torch.from_numpy(np.bincount(flat, minlength=data.n_items + 1)).float()
    counts[0] = float("-inf")
    return counts
