"""Titles and years made readable, and the three counts of a data set."""

from __future__ import annotations

import polars as pl
import pytest

from latentcrs_utils.data.source import Statistics, mend_year, tidy_title


@pytest.mark.parametrize(
    ("title", "tidy"),
    [
        ("Usual Suspects, The", "The Usual Suspects"),
        ("American in Paris, An", "An American in Paris"),
        ("Tin Drum, The (Blechtrommel, Die)", "The Tin Drum (Die Blechtrommel)"),
        ("Enfer, L'", "L'Enfer"),
        ("Good, The Bad and The Ugly, The", "The Good, The Bad and The Ugly"),
        ("Bye Bye, Love", "Bye Bye, Love"),
        ("Paris, France", "Paris, France"),
        ("Truth or Consequences, N.M.", "Truth or Consequences, N.M."),
        (" Heat ", "Heat"),
    ],
)
def test_tidy_title(title: str, tidy: str) -> None:
    assert tidy_title(title) == tidy


@pytest.mark.parametrize(
    ("title", "cell", "expected"),
    [
        ("Heat", "1995", ("Heat", 1995)),
        ("The Great Giving (1995)", "V", ("The Great Giving", 1995)),
        ("Unknown title", "unkonwn", ("Unknown title", None)),
        ("Heat (Blu-ray)", "", ("Heat (Blu-ray)", None)),
        ("1984", "?", ("1984", None)),
    ],
)
def test_mend_year_never_guesses(title: str, cell: str, expected: tuple) -> None:
    assert mend_year(title, cell) == expected


def test_statistics_by_hand() -> None:
    ratings = pl.DataFrame({"user": list("aab"), "item": list("xyx")})
    assert Statistics.of(ratings) == Statistics(users=2, items=2, actions=3)
    assert Statistics(2, 5, 3).average_length == 1.5
    assert Statistics(2, 5, 3).sparsity == pytest.approx(0.7)
    assert Statistics(3, 4, 12).sparsity == 0
