"""The assets that the course names, and where they are looked for: cache, own folder, network."""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import pytest

from latentcrs_utils.errors import AssetError
from latentcrs_utils.support import artifacts, assets
from latentcrs_utils.support.assets import Asset, fetch, in_user_folder, own_files
from tests.support import demo_site as demo
from tests.support.demo_site import ARCHIVE, CONTENT, EXPECTED, Site, contents, fail, left_in, send


@pytest.mark.parametrize("damage", [lambda data: data[:-1], lambda data: b"X" + data[1:]])
def test_what_is_verified_is_not_hashed_again_and_what_is_damaged_is_fetched_again(
    site: Site, damage: Callable[[bytes], bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    asset = site.asset(first=[send(ARCHIVE)])
    fetch(asset)
    file = fetch(asset)["ratings.csv"]
    with monkeypatch.context() as patch:
        patch.delattr(artifacts, "sha256")
        assert fetch(asset)["ratings.csv"] == file
    file.write_bytes(damage(file.read_bytes()))
    # the clock of some file systems is coarse: make sure that the time of change differs
    os.utime(file, ns=(1, 1))
    assert contents(fetch(asset)) == EXPECTED
    assert site.asked() == ["first", "first"]


def test_a_cache_that_cannot_be_written(site: Site, empty_cache: Path) -> None:
    empty_cache.mkdir()
    # a file where the folder should be: refused for every user, root too
    (empty_cache / "assets").write_text("in the way")
    with pytest.raises(AssetError, match=r"Demo could not be written to.*LATENTCRS_CACHE"):
        fetch(site.asset(first=[send(ARCHIVE)]))


def test_two_at_once_both_get_the_whole_files(site: Site, empty_cache: Path) -> None:
    asset = site.asset(first=[send(ARCHIVE)])
    with ThreadPoolExecutor(2) as pool:
        both = [pool.submit(fetch, asset) for _ in range(2)]
        assert [contents(future.result()) for future in both] == [EXPECTED, EXPECTED]
    assert left_in(empty_cache) == EXPECTED.keys()


@pytest.fixture
def mine(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The reader's own folder; the network has nothing."""
    folder = tmp_path / "mine"
    folder.mkdir()
    monkeypatch.setenv("LATENTCRS_DATA", str(folder))
    return folder


@pytest.fixture
def asset(site: Site) -> Asset:
    return site.asset(first=[fail(404)])


def write_bare(folder: Path, content: dict[str, bytes] = CONTENT) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for path, data in content.items():
        (folder / Path(path).name).write_bytes(data)
    return folder


@pytest.mark.parametrize("below", [".", "demo", "whatever"])
def test_the_readers_own_files_are_read_where_they_are(
    asset: Asset, mine: Path, empty_cache: Path, below: str
) -> None:
    if below == "demo":
        # the folder of the asset's name comes first
        write_bare(mine / "another", dict.fromkeys(CONTENT, b"of another data set"))
    folder = write_bare(mine / below)
    files = fetch(asset)
    assert contents(files) == EXPECTED
    assert {file.parent.resolve() for file in files.values()} == {folder.resolve()}
    assert left_in(folder) == EXPECTED.keys() and left_in(empty_cache) == set()


def test_the_readers_own_archive_is_unpacked_into_the_cache_once(
    asset: Asset, mine: Path, site: Site, empty_cache: Path
) -> None:
    (mine / "demo.zip").write_bytes(ARCHIVE)
    files = in_user_folder(asset)
    assert files is not None and contents(files) == EXPECTED
    assert left_in(empty_cache) == EXPECTED.keys()
    assert in_user_folder(asset) == fetch(asset) == files
    assert left_in(mine) == {"demo.zip"} and site.asked() == []


@pytest.mark.parametrize(
    ("name", "content"), [("demo.zip", demo.ANOTHER), ("ratings.csv", b"damaged")]
)
def test_what_is_not_the_known_file_is_named_not_used(
    asset: Asset, mine: Path, empty_cache: Path, name: str, content: bytes
) -> None:
    if name != "demo.zip":
        write_bare(mine)
    (mine / name).write_bytes(content)
    with pytest.raises(AssetError, match=rf"{name} is damaged or not the .* get demo\.zip from ex"):
        fetch(asset)
    assert left_in(empty_cache) == set()
    # another edition of a changing set is read, but not an archive that may be anything
    changing = replace(asset, fixed=False)
    with pytest.raises(AssetError) if name == "demo.zip" else nullcontext():
        assert fetch(changing)[name].read_bytes() == content


def test_another_models_files_of_common_names_are_left_alone(asset: Asset, mine: Path) -> None:
    write_bare(mine / "another")
    common = replace(asset, common_names=True)
    assert in_user_folder(common) is None
    assert in_user_folder(asset) is not None
    write_bare(mine / asset.folder)
    assert in_user_folder(common) is not None


def test_nothing_in_own_folder(asset: Asset, mine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert in_user_folder(asset) is None
    # one of two files is not the data set
    (mine / "movies.csv").write_bytes(CONTENT["demo/movies.csv"])
    assert in_user_folder(asset) is None
    monkeypatch.delenv("LATENTCRS_DATA")
    assert in_user_folder(asset) is None
    monkeypatch.setenv("LATENTCRS_DATA", str(mine / "nowhere"))
    with pytest.raises(AssetError, match="not a folder"):
        in_user_folder(asset)


OWN = ("Demo", ("https://a.org/rows.jsonl.gz", "https://a.org/meta.jsonl.gz"), "https://a.org/")


@pytest.mark.parametrize("folder", [".", "demo"])
@pytest.mark.parametrize("second", ["meta.jsonl.gz", "meta.jsonl"])
def test_files_of_ones_own_are_found_plain_or_compressed(
    mine: Path, folder: str, second: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = [mine / folder / "rows.jsonl", mine / folder / second]
    files[0].parent.mkdir(exist_ok=True)
    files[0].touch()
    route = r"Download https://a.org/rows.jsonl.gz and .* set LATENTCRS_DATA to that folder\."
    with pytest.raises(AssetError, match=rf"Demo: there is no meta\.jsonl\.gz in .*mine.*{route}"):
        own_files(*OWN)
    files[1].touch()
    assert own_files(*OWN) == files
    monkeypatch.delenv("LATENTCRS_DATA")
    with pytest.raises(AssetError, match=f"Demo is not downloaded by the course. {route}"):
        own_files(*OWN)


ZIPS = (assets.ML_100K, assets.ML_1M, assets.ML_LATEST_SMALL)


@pytest.mark.parametrize("asset", [*ZIPS, *assets.EMBEDDED], ids=lambda asset: asset.folder)
def test_the_readme_has_the_facts_of_every_asset(asset: Asset) -> None:
    readme = (Path(__file__).resolve().parents[2] / "data" / "README.md").read_text("utf-8")
    if asset in ZIPS:
        # the data sets have two independent sources
        assert len({url.split("/")[2] for url in asset.sources}) == len(asset.sources) >= 2
        assert f"| `{asset.archive}` | {asset.size:,} | `{asset.sha256}` |" in readme
        rows = [(member.path, member.sha256) for member in asset.members]
    else:
        rows = [(asset.archive, asset.sha256), *((m.name, m.sha256) for m in asset.members)]
    assert all(f"| `{name}` | `{digest}` |" in readme for name, digest in rows)
