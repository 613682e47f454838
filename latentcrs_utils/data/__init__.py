"""From raw ratings to sequences: sources, preprocessing, splits."""

from .loading import DATASETS, load_csv, load_dataset, prepare
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
from .synthetic import SyntheticWorld, synthetic_world

__all__ = [
    "DATASETS",
    "Dataset",
    "KCorePass",
    "Sequences",
    "Split",
    "SyntheticWorld",
    "chronological",
    "k_core",
    "leave_one_out",
    "load_csv",
    "load_dataset",
    "official_filter",
    "positives",
    "prepare",
    "random_cuts",
    "synthetic_world",
]
