"""From a name to a prepared data set: numbering, order, counts, and what a wrong request says."""

from random import Random

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

import latentcrs_utils as lc
from latentcrs_utils.config import DataConfig
from latentcrs_utils.data.loading import DATASETS, prepare
from latentcrs_utils.data.source import ITEM_SCHEMA, Source
from latentcrs_utils.errors import ConfigError, DataError


def toy_source() -> Source:
    """Users and items whose numbers sort otherwise as text; 10 and 7 tie at time 1."""
    own = ("2", 5.0, 3), ("10", 5.0, 1), ("7", 5.0, 1), ("1", 5.0, 2)
    rows = [(user, *rating) for user in ("10", "9", "100") for rating in own]
    rows += [("9", "no metadata", 5.0, 0), ("9", "3", 2.0, 0)]
    ratings = pl.DataFrame(rows, schema=["user", "item", "rating", "timestamp"], orient="row")
    names = ("1", "2", "3", "7", "10", "never rated")
    items = [(name, f"Film {name}", 1990, ["Drama"]) for name in names]
    columns = ["raw_item", "title", "year", "genres"]
    return Source(ratings, pl.DataFrame(items, schema=columns, orient="row"))


def test_prepare_numbers_orders_and_counts() -> None:
    data = prepare("toy", toy_source(), DataConfig(k_core=3))
    assert data.users["raw_user"].to_list() == ["9", "10", "100"]
    assert data.items["raw_item"].to_list() == ["1", "2", "7", "10"]
    assert data.items["item"].to_list() == [1, 2, 3, 4]
    assert [sequence.tolist() for sequence in data.interactions] == [[4, 3, 1, 2]] * 3
    counts = {name: data.counts[name] for name in ("ratings", "positives", "with_metadata")}
    assert counts == {"ratings": 14, "positives": 13, "with_metadata": 12}


IDS = st.from_regex(r"0{0,3}[01]{1,2}|a?[1A]", fullmatch=True)


@given(st.sets(IDS, min_size=3), st.randoms())
def test_ids_have_one_order_whatever_the_order_of_the_file(ids: set[str], random: Random) -> None:
    """Equal numbers (001, 1) are ordered as text, and other ids than numbers make all text."""
    prints = set()
    for order in (random.sample(sorted(ids), len(ids)) for _ in range(3)):
        rows = [(user, item, 5.0, time) for user in "uvw" for time, item in enumerate(sorted(ids))]
        ratings = pl.DataFrame(rows, ["user", "item", "rating", "timestamp"], orient="row")
        shuffled = ratings.sample(fraction=1, shuffle=True)
        source = Source(
            shuffled,
            pl.DataFrame([(raw, raw, None, []) for raw in order], ITEM_SCHEMA, orient="row"),
        )
        data = prepare("toy", source, DataConfig(k_core=3))
        prints.add(data.fingerprint)
    numbers = all(raw.isdigit() for raw in ids)
    expected = sorted(ids, key=lambda raw: (int(raw) if numbers else 0, raw))
    assert data.items["raw_item"].to_list() == expected and len(prints) == 1


def test_prepare_says_when_ratings_are_absent() -> None:
    source = Source(toy_source().ratings, toy_source().items, complete_from=4)
    with pytest.raises(DataError, match=r"lacks some ratings below 4.*use min_rating=4"):
        prepare("toy", source, DataConfig(k_core=3, min_rating=3))


def test_fingerprint_follows_the_content() -> None:
    source, config = toy_source(), DataConfig(k_core=3, filter="official")
    other_titles = source.items.with_columns(title=pl.col("title") + "!")
    other_order = source.ratings.with_columns(timestamp=-pl.col("timestamp"))
    sources = [source, Source(source.ratings, other_titles), Source(other_order, source.items)]
    assert len({prepare("toy", one, config).fingerprint for one in sources}) == 3
    assert prepare("toy", source, config).fingerprint == prepare("a", source, config).fingerprint


def test_an_unknown_name_is_answered_with_what_exists() -> None:
    closest = {"ml100k": "ml-100k", "ML-100K": "ml-100k", "ml-latest": "ml-latest-small"}
    for name, close in {**closest, "ml-1M": "ml-1m", "netflix": None}.items():
        answer = rf"; did you mean '{close}'\?" if close else r"\."
        known = f"Known: {', '.join(DATASETS)}."
        with pytest.raises(DataError, match=f"^There is no data set '{name}'{answer} {known}$"):
            lc.load_dataset(name)
    with pytest.raises(ConfigError, match="'ml-1m' is taken"):
        lc.load_csv("a.csv", "b.csv", name="ml-1m")
