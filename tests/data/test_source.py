"""Titles and years made readable, and the three counts of a data set."""

from __future__ import annotations

import polars as pl
import pytest

from latentcrs_utils.data.source import Statistics, mend_year, tidy_title

TITLES = {
    "Usual Suspects, The": "The Usual Suspects",
    "American in Paris, An": "An American in Paris",
    "Tin Drum, The (Blechtrommel, Die)": "The Tin Drum (Die Blechtrommel)",
    "Enfer, L'": "L'Enfer",
    "Good, The Bad and The Ugly, The": "The Good, The Bad and The Ugly",
    " Heat ": "Heat",
    **{same: same for same in ("Bye Bye, Love", "Paris, France", "Truth or Consequences, N.M.")},
}
# title and cell of the year -> what they make; of several years the first counts
YEARS = {
    ("Heat", "1995"): ("Heat", 1995),
    ("The Great Giving (1995)", "V"): ("The Great Giving", 1995),
    ("Unknown title", "unkonwn"): ("Unknown title", None),
    ("Heat (Blu-ray)", ""): ("Heat (Blu-ray)", None),
    ("1984", "?"): ("1984", None),
    **{(f"Lost {years}", ""): ("Lost", 2006) for years in (
        "(2006)", "(2006-)", "(2006–)", "(2006- )", "(2006–2007)", "(2006-2007)", "(2006—07)",
        "(2006/2007)", "(2006 - 2007)", "(2006-Present)", "(2006?)", "( 2006 )", "(2006−2007)")},
    **{(title, ""): (title, None) for title in (
        "Lost (-2006)", "Lost (2006-x)", "Lost (1206)", "Lost (20061)", "(2006) Lost", "Lost 2006",
        "Lost (2006-07-08)", "Lost (2006", "Lost (2006, 2007)")},
}  # fmt: skip


def test_titles_become_readable_and_years_are_never_guessed() -> None:
    assert {title: tidy_title(title) for title in TITLES} == TITLES
    assert {given: mend_year(*given) for given in YEARS} == YEARS


def test_statistics_by_hand() -> None:
    ratings = pl.DataFrame({"user": list("aab"), "item": list("xyx")})
    assert Statistics.of(ratings) == Statistics(users=2, items=2, actions=3)
    assert Statistics(2, 5, 3).average_length == 1.5
    assert Statistics(2, 5, 3).sparsity == pytest.approx(0.7)
    assert Statistics(3, 4, 12).sparsity == 0
