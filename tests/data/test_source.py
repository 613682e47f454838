"""Titles and years made readable, and the three counts of a data set."""

import tomllib
from pathlib import Path

import polars as pl
import pytest

from latentcrs_utils.data.source import Statistics, mend_year, tidy_title

TABLES = tomllib.loads(Path(__file__).with_name("tables.toml").read_text("utf-8"))
TITLES, TABLE = TABLES["titles"], TABLES["years"]
# title and cell of the year -> what they make
YEARS = {(title, cell): (left, year or None) for title, cell, left, year in TABLE["cells"]}
YEARS |= {(f"Lost {years}", ""): ("Lost", 2006) for years in TABLE["2006"]}
YEARS |= {(title, ""): (title, None) for title in TABLE["none"]}


def test_titles_become_readable_and_years_are_never_guessed() -> None:
    assert {title: tidy_title(title) for title in TITLES} == TITLES
    assert {given: mend_year(*given) for given in YEARS} == YEARS


def test_statistics_by_hand() -> None:
    ratings = pl.DataFrame({"user": list("aab"), "item": list("xyx")})
    assert Statistics.of(ratings) == Statistics(users=2, items=2, actions=3)
    assert Statistics(2, 5, 3).average_length == 1.5
    assert Statistics(2, 5, 3).sparsity == pytest.approx(0.7)
    assert Statistics(3, 4, 12).sparsity == 0
