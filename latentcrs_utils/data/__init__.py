"""From raw ratings to sequences: sources, preprocessing, splits."""

from .loading import DATASETS, load_dataset
from .preprocess import (
    KCorePass,
    chronological,
    k_core,
    leave_one_out,
    official_filter,
    positives,
    random_cuts,
)
from .structures import Dataset, Sequences, Split

__all__ = [
    "DATASETS",
    "Dataset",
    "KCorePass",
    "Sequences",
    "Split",
    "chronological",
    "k_core",
    "leave_one_out",
    "load_dataset",
    "official_filter",
    "positives",
    "random_cuts",
]
