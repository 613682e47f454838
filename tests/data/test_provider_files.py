"""The data sets in their providers' own formats, and the paper's Table 1."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import latentcrs_utils as lc
from latentcrs_utils.data import movielens
from latentcrs_utils.data.sequences import Dataset
from latentcrs_utils.errors import AssetError, DataError
from latentcrs_utils.support.downloads import ML_100K, ArchiveAsset


def raw_sequences(data: Dataset) -> list[str]:
    """One line per user: the provider's user id, a tab, the provider's item ids."""
    raw = ["", *data.items["raw_item"]]
    users = data.users["raw_user"]
    return [
        f"{user}\t{' '.join(raw[item] for item in sequence)}"
        for user, sequence in zip(users, data.interactions, strict=True)
    ]


def test_the_official_filter_gives_the_papers_sequences(provider_data: Path) -> None:
    official = lc.load_dataset("ml-1m", filter="official")
    published = (provider_data / "ml-1m" / "sequences.tsv").read_text(encoding="utf-8")
    assert raw_sequences(official) == published.splitlines()
    actions = len(official.interactions.flat)
    assert (official.n_users, official.n_items, actions) == (6034, 3533, 575_272)


def test_the_five_core_of_ml_1m(provider_data: Path) -> None:
    data = lc.load_dataset("ml-1m")
    assert (data.n_users, data.n_items, len(data.interactions.flat)) == (6034, 3125, 574_376)
    assert data.counts["positives"] == 575_281
    assert data.counts["with_metadata"] == 575_281


@pytest.mark.parametrize("options", [{}, {"min_rating": 0}, {"filter": "official"}])
def test_ml_100k_is_the_same_from_both_sources(
    provider_data: Path, monkeypatch: pytest.MonkeyPatch, options: dict
) -> None:
    raw = lc.load_dataset("ml-100k", **options)
    monkeypatch.delenv("LATENTCRS_DATA")
    embedded = lc.load_dataset("ml-100k", **options)
    assert raw.fingerprint == embedded.fingerprint
    assert raw.items.equals(embedded.items)
    assert raw.users.equals(embedded.users)
    assert raw.counts == embedded.counts


@pytest.mark.parametrize(
    ("raw", "title", "year", "genres"),
    [
        ("73", "Les Misérables", 1995, ["Drama", "Musical"]),
        ("1", "Toy Story", 1995, ["Animation", "Children's", "Comedy"]),
        ("260", "Star Wars: Episode IV - A New Hope", 1977, None),
    ],
)
def test_films_of_ml_1m(
    provider_data: Path, raw: str, title: str, year: int, genres: list[str] | None
) -> None:
    data = lc.load_dataset("ml-1m", filter="official")
    found = data.item(data.item_index(raw))
    assert (found["title"], found["year"]) == (title, year)
    assert genres is None or found["genres"] == genres
    assert len(set(data.items["genres"].explode().drop_nulls())) == 18


def test_ml_latest_small(provider_data: Path) -> None:
    data = lc.load_dataset("ml-latest-small")
    assert (data.n_users, data.n_items, len(data.interactions.flat)) == (601, 1955, 41_227)
    assert data.counts["ratings"] == 100_836
    films = lc.load_dataset("ml-latest-small", filter="official")
    quoted = films.item(films.item_index("11"))
    assert (quoted["title"], quoted["year"]) == ("The American President", 1995)
    moonlight = films.item(films.item_index("162414"))
    assert (moonlight["title"], moonlight["year"]) == ("Moonlight", None)
    genres = set(films.items["genres"].explode().drop_nulls())
    assert "Children's" in genres
    assert not genres & {"Children", "(no genres listed)"}


def test_low_thresholds_need_the_whole_file(provider_data: Path) -> None:
    if any(provider_data.glob("ml-1m/ratings.dat")):
        pytest.skip("the whole MovieLens-1M is here, so every threshold can be served")
    with pytest.raises(DataError, match=r"lacks some ratings below 4.*use min_rating=4"):
        lc.load_dataset("ml-1m", min_rating=3)


def test_a_damaged_file_of_a_fixed_set_is_named(
    provider_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("u.data", "u.item", "u.genre"):
        shutil.copy(provider_data / "ml-100k" / name, tmp_path / name)
    damaged = tmp_path / "u.data"
    damaged.chmod(0o644)
    damaged.write_bytes(damaged.read_bytes()[:-1000])
    monkeypatch.setenv("LATENTCRS_DATA", str(tmp_path))
    with pytest.raises(
        AssetError, match=r"u\.data is not the expected MovieLens-100k file"
    ) as caught:
        lc.load_dataset("ml-100k")
    assert "get ml-100k.zip from https://grouplens.org" in str(caught.value)


def test_another_edition_of_a_changing_set_is_read_and_named(
    provider_data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name in ("movies.csv", "ratings.csv"):
        shutil.copy(provider_data / "ml-latest-small" / name, tmp_path / name)
    ratings = tmp_path / "ratings.csv"
    ratings.chmod(0o644)
    with ratings.open("a", encoding="utf-8") as file:
        file.write("610,1,4.0,1600000000\n")
    monkeypatch.setenv("LATENTCRS_DATA", str(tmp_path))
    monkeypatch.setenv("LATENTCRS_PROGRESS", "1")
    data = lc.load_dataset("ml-latest-small")
    assert data.counts["ratings"] == 100_837
    assert (
        "ratings.csv is not of MovieLens latest-small (September 2018)" in capsys.readouterr().err
    )


def test_the_provider_is_the_second_source_of_ml_100k(
    provider_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("LATENTCRS_DATA")
    embedded = lc.load_dataset("ml-100k")
    asked = []

    def no_package_index() -> dict[str, Path]:
        raise AssetError("The package index is away.")

    def provider(asset: ArchiveAsset) -> dict[str, Path]:
        asked.append(asset)
        return {member.name: provider_data / member.path for member in asset.members}

    monkeypatch.setattr(movielens, "movielens_100k_files", no_package_index)
    monkeypatch.setattr(movielens, "fetch", provider)
    assert lc.load_dataset("ml-100k").fingerprint == embedded.fingerprint
    assert asked == [ML_100K]


def test_ml_100k_from_nowhere_names_both_ways(monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*asset: ArchiveAsset) -> dict[str, Path]:
        raise AssetError(f"{asset[0].title if asset else 'The package index'} is away.")

    monkeypatch.delenv("LATENTCRS_DATA", raising=False)
    monkeypatch.setattr(movielens, "movielens_100k_files", away)
    monkeypatch.setattr(movielens, "fetch", away)
    with pytest.raises(AssetError, match=r"^The package index is away. Or: MovieLens-100k is away"):
        lc.load_dataset("ml-100k")
