"""The learning curve of phrasings: which phrases are left, and what the linear reader is worth."""

import numpy as np
import polars as pl
import pytest

from experiments.phrasings import genres_f1, thinned
from latentcrs_utils.simulation.phrase_book import pool

PATHS = (("genres", "Horror", "film"), ("moods", "light"), ("eras", "1980"))


def test_what_the_simulator_reads_is_thinned_and_comes_back() -> None:
    whole = [list(pool("train", *path)) for path in PATHS]
    kept = {}
    for share in (0.125, 0.5):
        with thinned(share, draw=1):
            kept[share] = [list(pool("train", *path)) for path in PATHS]
            assert pool("test", "moods", "light")
            assert len(pool("train", "plain", "Horror", "film")) > 1
    for few, half, phrases in zip(kept[0.125], kept[0.5], whole, strict=True):
        assert len(few) == round(len(phrases) / 8) and len(half) == round(len(phrases) / 2)
        assert set(few) < set(half) < set(phrases)
    with pytest.raises(RuntimeError), thinned(0.5, draw=0):
        raise RuntimeError
    assert [pool("train", *path) for path in PATHS] == whole


def test_f1_is_one_where_the_vectors_tell_the_genres_and_low_where_they_do_not() -> None:
    rng = np.random.default_rng(0)
    asked = rng.integers(0, 2, (300, 3)).astype(bool)
    names = np.array(["genre=Horror", "genre=War", "not genre=Crime"])
    splits = ["train"] * 100 + ["valid"] * 100 + ["test"] * 100
    columns = {"split": splits, "level": ["paraphrased"] * 300}
    said = {"conditions": [[*names[row], "decade=1980"] for row in asked]}
    frame = pl.DataFrame(columns | said | {"text": [str(number) for number in range(300)]})
    assert genres_f1(frame, 40.0 * asked) > 0.99
    assert genres_f1(frame, rng.normal(size=(300, 3))) < 0.75
