"""Values that no change of the code may move: the data, what is said in them, and its vectors.

All that is trained rests on them. A change that means to move one puts the new value here.
"""

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
import torch

from latentcrs_utils.data.loading import load_csv, load_dataset
from latentcrs_utils.data.preprocess import random_cuts
from latentcrs_utils.data.sequences import Dataset
from latentcrs_utils.language.embedder import Embedder
from latentcrs_utils.simulation.utterances import simulate_utterances

EXAMPLE = Path(__file__).parents[1] / "data" / "example"
SPLITS = "train", "valid", "test"
# data set -> digests of its splits and of its table of utterances
GOLDENS = {
    "ml-100k": ("d89b9c89acbe9079", "db8f25907dfcd7c4"),
    "example": ("7224abba16e7495c", "af64f9791e92b881"),
    "synthetic": ("4a16171375241a3c", None),
}
VECTORS = {
    "a comedy from the 1980s": [-1.799, 1.793, -0.439, -0.71, 1.573, 0.791, 0.229, 1.383],
    "no horror, please": [-1.103, 0.892, -0.895, -1.199, 1.094, 0.058, 0.267, 0.739],
    "très drôle ☂": [-1.225, -0.557, -1.524, -1.132, 1.088, 0.618, 0.243, -0.495],
}


def load(name: str) -> Dataset:
    if name == "example":
        return load_csv(EXAMPLE / "interactions.csv", EXAMPLE / "items.csv", name=name, k_core=3)
    return load_dataset(name)


def digest(value: Any) -> str:
    text = json.dumps(value, default=lambda array: array.tolist())
    return hashlib.sha256(text.encode()).hexdigest()[:16]


@pytest.mark.parametrize("name", GOLDENS)
def test_data_and_utterances(name: str) -> None:
    data = load(name)
    splits = [(data.histories(s).offsets, data.histories(s).flat, data.targets(s)) for s in SPLITS]
    tables = data.items.rows(), data.users.rows(), random_cuts(data, 3, seed=0)
    said = None
    if GOLDENS[name][1] is not None:
        said = digest(simulate_utterances(data, seed=0).frame.rows())
    assert (digest([data.fingerprint, splits, tables]), said) == GOLDENS[name]


def test_vectors(model_dir: Path) -> None:
    torch.set_num_threads(1)
    vectors = Embedder(dtype="float32", reuse=False).embed(list(VECTORS), progress=False)
    some = {
        text: [round(float(x), 3) for x in v[::72]]
        for text, v in zip(VECTORS, vectors, strict=True)
    }
    assert some == {text: pytest.approx(v, abs=0.0015) for text, v in VECTORS.items()}
