"""The lexicon as a hard filter."""

import dataclasses

import numpy as np
import pytest

from latentcrs_utils.constraints.lexicon_filter import lexicon_mask
from latentcrs_utils.data.sequences import Dataset
from latentcrs_utils.simulation.utterances import simulate_utterances
from tests.made import made


@pytest.fixture
def tiny() -> Dataset:
    years = [1985, 1994, 1997, None, 1955, 1998]
    genres = [["Comedy"], ["Comedy", "Horror"], ["Drama"], ["War"], ["War", "IMAX"], []]
    return made("tiny", [[1, 2, 3, 4, 5]], title=list("ABCDEF"), year=years, genres=genres)


@pytest.mark.parametrize(
    ("text", "allowed"),
    [
        ("a comedy", [1, 2]), ("a scary comedy", [2]), ("a comedy, no horror", [1]),
        ("no horror", [1, 3, 4, 5, 6]), ("no horror and no war", [1, 3, 6]),
        ("from the eighties", [1]), ("a comedy from the mid-nineties", [2]),
        ("a war film", [4, 5]),  # a year that is not known bars nothing but a time
        ("a war film from the fifties", [5]),
        ("either the eighties or the fifties", [1, 5]),
        # no film is both: one of the genres is enough
        ("a war comedy", [1, 2, 4, 5]),
        # no film is left: the filter stands aside
        *((text, [1, 2, 3, 4, 5, 6]) for text in (
            "a western", "a drama from the thirties", "something that will have me in stitches",
        )),
    ],
)  # fmt: skip
def test_allowed_items(tiny: Dataset, text: str, allowed: list[int]) -> None:
    mask = lexicon_mask(tiny, ["a drama", text, "a drama"])  # rows follow the texts
    assert mask.shape == (3, 7) and mask.dtype == bool
    assert [np.flatnonzero(row).tolist() for row in mask] == [[3], allowed, [3]]
    assert lexicon_mask(tiny, []).shape == (0, 7)


def test_on_real_requests_no_row_is_empty_and_plain_words_keep_the_target(data: Dataset) -> None:
    some_users = dataclasses.replace(data, interactions=data.interactions.select(range(100)))
    test = simulate_utterances(some_users).select(split="test", phrasing="test")
    mask = lexicon_mask(data, test.texts)
    assert mask.shape == (len(test), data.n_items + 1)
    assert mask.any(1).all() and not mask[:, 0].any()
    kept = mask[np.arange(len(test)), test.targets]
    plain = (test.frame["level"] == "plain").to_numpy()
    assert kept[plain].mean() >= 0.95
    assert mask[plain].sum(1).mean() < data.n_items / 4  # it does filter
