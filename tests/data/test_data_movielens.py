"""MovieLens-100k, the real files: counts, split, titles, and what a wrong request says."""

from __future__ import annotations

import hashlib

import numpy as np
import polars as pl
import pytest

import latentcrs_utils as lc
from latentcrs_utils.data import movielens
from latentcrs_utils.data.loading import DATASETS
from latentcrs_utils.data.movielens import read_movielens_100k
from latentcrs_utils.data.preprocess import leave_one_out
from latentcrs_utils.data.sequences import Dataset
from latentcrs_utils.data.source import mend_year, tidy_title
from latentcrs_utils.errors import ConfigError, DataError
from latentcrs_utils.support import assets

# sha256 of the 938 test items as little-endian int64; it moves if the order of ties moves
TEST_ITEMS = "05f6af64b93aa641e0277f83b7da88031b346bbb46834d9321698f89729aae20"
# the same of the validation items
VALID_ITEMS = "1889009caeb9e9baa61348302c774e4849c8376568def59bead83da238e29e46"


def digest(items: np.ndarray) -> str:
    return hashlib.sha256(items.astype("<i8").tobytes()).hexdigest()


def test_the_five_core_has_the_known_counts(data: Dataset) -> None:
    assert (data.n_users, data.n_items, len(data.interactions.flat)) == (938, 1008, 54_413)
    assert data.counts["ratings"] == 100_000
    assert data.counts["positives"] == 55_375
    last = data.counts["passes"][-1]
    assert (last.users, last.items, last.actions) == (938, 1008, 54_413)


def test_all_ratings_have_the_known_counts() -> None:
    everything = lc.load_dataset("ml-100k", min_rating=0)
    actions = len(everything.interactions.flat)
    assert (everything.n_users, everything.n_items, actions) == (943, 1349, 99_287)


def test_the_official_filter_drops_users_only() -> None:
    official = lc.load_dataset("ml-100k", filter="official")
    per_item = np.bincount(official.interactions.flat, minlength=official.n_items + 1)[1:]
    assert official.interactions.lengths.min() >= 5
    assert per_item.min() == 1


def test_every_user_and_item_keeps_five(data: Dataset) -> None:
    per_item = np.bincount(data.interactions.flat, minlength=data.n_items + 1)
    assert per_item[0] == 0
    assert per_item[1:].min() >= 5
    assert data.interactions.lengths.min() >= 5


def test_the_held_out_items_are_pinned(data: Dataset) -> None:
    assert digest(data.targets("test")) == TEST_ITEMS
    assert digest(data.targets("valid")) == VALID_ITEMS


def test_no_user_likes_an_item_twice(data: Dataset) -> None:
    for sequence in data.interactions:
        assert len(set(sequence.tolist())) == len(sequence)


def test_histories_and_targets_fit_together(data: Dataset) -> None:
    train, valid, test = leave_one_out(data.interactions)
    assert np.array_equal(data.targets("valid"), valid)
    assert np.array_equal(data.targets("test"), test)
    for split in ("train", "valid"):
        assert np.array_equal(data.histories(split).flat, train.flat)
    assert data.targets("train").tolist() == [part[-1] for part in train]
    for history, target in zip(data.histories("test"), data.targets("test"), strict=True):
        assert target not in history
    last_known = [history[-1] for history in data.histories("test")]
    assert last_known == data.targets("valid").tolist()


def test_the_order_is_by_time_in_the_provider_s_file(data: Dataset) -> None:
    ratings = read_movielens_100k().ratings
    times = {(user, item): time for user, item, _, time in ratings.iter_rows()}
    raw_items = data.items["raw_item"].to_list()
    for raw_user, sequence in zip(data.users["raw_user"], data.interactions, strict=True):
        own = [times[raw_user, raw_items[item - 1]] for item in sequence]
        assert own == sorted(own)


def test_unknown_split(data: Dataset) -> None:
    with pytest.raises(DataError, match="'dev'"):
        data.targets("dev")


@pytest.mark.parametrize(
    ("raw", "title", "year", "genres"),
    [
        ("12", "The Usual Suspects", 1995, ["Crime", "Thriller"]),
        ("1", "Toy Story", 1995, ["Animation", "Children's", "Comedy"]),
        ("267", "Unknown title", None, []),
    ],
)
def test_items_have_titles_years_genres(
    data: Dataset, raw: str, title: str, year: int | None, genres: list[str]
) -> None:
    item = data.item_index(raw)
    found = data.item(item)
    assert (found["title"], found["year"], found["genres"]) == (title, year, genres)
    assert data.title(item) == data.titles[item] == title


def test_the_item_table_is_complete(data: Dataset) -> None:
    assert data.items["item"].to_list() == list(range(1, data.n_items + 1))
    assert data.titles[0] == ""
    assert len(data.titles) == data.n_items + 1
    assert data.items.schema["year"] == pl.Int32
    assert data.items["year"].null_count() == 1
    assert data.items["year"].drop_nulls().is_between(1920, 1998).all()
    genres = set(data.items["genres"].explode().drop_nulls())
    assert len(genres) == 18
    assert "unknown" not in genres


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


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("ml100k", "ml-100k"),
        ("ML-100K", "ml-100k"),
        ("ml-latest", "ml-latest-small"),
        ("ml-1M", "ml-1m"),
    ],
)
def test_a_typo_in_the_name_is_answered_with_what_exists(name: str, meant: str) -> None:
    with pytest.raises(DataError) as caught:
        lc.load_dataset(name)
    message = (
        f"There is no data set {name!r}; did you mean {meant!r}? Known: {', '.join(DATASETS)}."
    )
    assert str(caught.value) == message


def test_a_name_like_nothing_is_answered_with_what_exists() -> None:
    with pytest.raises(DataError, match=r"^There is no data set 'netflix'\. Known: ml-100k, "):
        lc.load_dataset("netflix")


def test_senseless_options_are_refused() -> None:
    with pytest.raises(ConfigError, match="at least 3"):
        lc.load_dataset("ml-100k", k_core=0)
    with pytest.raises(ConfigError, match="filter"):
        lc.load_dataset("ml-100k", filter="none")


def test_user_and_item_lookup(data: Dataset) -> None:
    assert data.users["raw_user"][data.user_index(42)] == "42"
    assert data.user_index("42") == data.user_index(42)
    with pytest.raises(DataError, match=r"no user '99999' in ml-100k.*938 users.*from 1 to 943"):
        data.user_index(99999)
    with pytest.raises(DataError, match="no item 'Toy Story' in ml-100k"):
        data.item_index("Toy Story")
    for item in (0, 1009, -1):
        with pytest.raises(DataError, match="item ids go from 1 to 1008"):
            data.title(item)


def test_a_file_that_is_no_table_is_named(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    # the provider's own files, where the reader has them, come before the embedded ones
    monkeypatch.delenv("LATENTCRS_DATA", raising=False)
    wrong = tmp_path / "ml-100k.inter"
    wrong.write_text("user_id:token\titem_id:token\n1\t2\n")
    monkeypatch.setattr(
        movielens,
        "movielens_100k_files",
        lambda: {**assets.movielens_100k_files(), "inter": wrong},
    )
    with pytest.raises(DataError, match=r"ml-100k\.inter, line 1: there is no column 'rating'"):
        lc.load_dataset("ml-100k")


def test_two_loads_are_the_same(data: Dataset) -> None:
    again = lc.load_dataset("ml-100k")
    assert again.fingerprint == data.fingerprint
    assert np.array_equal(again.interactions.flat, data.interactions.flat)
    assert repr(again) == "Dataset(ml-100k: 938 users, 1,008 items, 54,413 actions)"
