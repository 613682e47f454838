"""The files of ``assets.toml``: from the cache, from the reader's own folder, or downloaded.

Two come from the package index, real ratings and a real language model, so a lab that has only a
mirror of it can run the course.
"""

import os
import tomllib
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from latentcrs_utils.errors import AssetError
from latentcrs_utils.support.artifacts import cache_dir, known_sha256, sha256
from latentcrs_utils.support.downloads import Asset, Member, download, extract
from latentcrs_utils.support.files import remove_abandoned, scratch_folder
from latentcrs_utils.support.progress import note


def _asset(members: list[Any], sources: Sequence[str] = (), **facts: Any) -> Asset:
    return Asset(members=tuple(Member(*m) for m in members), sources=tuple(sources), **facts)


_KNOWN = tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))
MOVIELENS_100K = _asset(**_KNOWN["MOVIELENS_100K"])  # RecBole's copy, in its own format
SMOLLM2 = _asset(**_KNOWN["SMOLLM2"])
ML_1M = _asset(**_KNOWN["ML_1M"])
ML_1M_POSITIVES = _asset(**_KNOWN["ML_1M_POSITIVES"])
ML_100K = _asset(**_KNOWN["ML_100K"])
ML_LATEST_SMALL = _asset(**_KNOWN["ML_LATEST_SMALL"])


def fetch(asset: Asset) -> dict[str, Path]:
    """Return the asset's verified files, by name: from the cache, ``LATENTCRS_DATA``, a source.

    AssetError if they can be had from nowhere, are not the expected ones, or cannot be written.
    """
    if (found := cached(asset) or in_user_folder(asset)) is not None:
        return found
    if any(file.exists() for file in _files(asset).values()):
        note(f"{asset.title}: a file in the cache is incomplete or damaged; getting it again.")
    return _unpack(asset)


def cached(asset: Asset) -> dict[str, Path] | None:
    """Return the asset's verified files in the cache, by name; ``None`` unless all are there."""
    files = _files(asset)
    for member in asset.members:
        if not (file := files[member.name]).is_file() or known_sha256(file) != member.sha256:
            return None
    # a process that was killed at its end left the archive
    for target in (*files.values(), cache_dir() / "assets" / asset.folder / "download"):
        remove_abandoned(target)
    return files


def _files(asset: Asset, folder: Path | None = None) -> dict[str, Path]:
    """Where the members are, or would be, by name; without a folder, in the cache."""
    folder = folder or cache_dir() / "assets" / asset.folder
    return {member.name: folder / member.name for member in asset.members}


def _unpack(asset: Asset, archive: Path | None = None) -> dict[str, Path]:
    """Extract the files into the cache, from the archive at hand or a downloaded one."""
    folder = cache_dir() / "assets" / asset.folder
    try:
        with scratch_folder(folder / "download") as scratch:
            extract(archive or download(asset, scratch), asset.members, folder)
    except AssetError:
        raise
    except OSError as error:
        raise AssetError(
            f"{asset.title} could not be written to {folder} ({error.strerror or error}); "
            f"free some disk space there, or set LATENTCRS_CACHE to a folder that can be written."
        ) from error
    return _files(asset)


def in_user_folder(asset: Asset) -> dict[str, Path] | None:
    """Return the asset's files from ``LATENTCRS_DATA``, by name; ``None`` if they are not there.

    They are read where they are: in a subfolder of the asset's name, else in the folder itself,
    else in another subfolder. Without them the archive, if it is there, is unpacked into the cache.
    AssetError if a file is there, but not the expected one.
    """
    if (root := _user_folder()) is None:
        return None
    for folder in (root / asset.folder, root, *sorted(root.glob("*/"))):
        files = _files(asset, folder)
        if all(file.is_file() for file in files.values()):
            for member in asset.members:
                _check(files[member.name], member.sha256, asset)
            return files
    if not asset.archive or (archive := _find(root, asset.archive)) is None:
        return None
    if (found := cached(asset)) is not None:
        return found
    _check(archive, asset.sha256, asset)
    return _unpack(asset, archive)


def _check(file: Path, digest: str, asset: Asset) -> None:
    """Refuse a file that is not the known one; of a changing set, only say so."""
    if sha256(file) == digest:
        return
    if asset.fixed or file.name == asset.archive:
        raise AssetError(
            f"{file} is damaged or not the expected {asset.title} file (its sha256 differs); "
            f"replace or remove it. {asset.manual_route}"
        )
    note(f"{file} is not of {asset.title}: results will differ from the recorded ones.")


def _user_folder() -> Path | None:
    """Return the folder that ``LATENTCRS_DATA`` names, ``None`` if it is not set."""
    if not (chosen := os.environ.get("LATENTCRS_DATA")):
        return None
    root = Path(chosen).expanduser()
    if not root.is_dir():
        raise AssetError(f"LATENTCRS_DATA names {root}, which is not a folder; mend or unset it.")
    return root


def _find(root: Path, name: str) -> Path | None:
    """Find a file in ``root`` or in one of its direct subfolders."""
    return next(filter(Path.is_file, [root / name, *sorted(root.glob(f"*/{name}"))]), None)


def own_files(title: str, urls: Sequence[str], page: str) -> list[Path]:
    """Return files that every reader downloads by hand: they are large, and have no known hash.

    They are in ``LATENTCRS_DATA`` or a direct subfolder, plain or compressed as at ``urls``
    (``.gz``). AssetError for one that is not: which it is, where to get it, where to put it.
    """
    route = (
        f"Download {' and '.join(urls)} ({page}), put the files, compressed or not, "
        f"into a folder, and set LATENTCRS_DATA to that folder."
    )
    if (root := _user_folder()) is None:
        raise AssetError(f"{title} is not downloaded by the course. {route}")
    files = []
    for name in (PurePosixPath(url).name for url in urls):
        if (file := _find(root, name.removesuffix(".gz")) or _find(root, name)) is None:
            where = f"{root} (LATENTCRS_DATA) or a folder in it"
            raise AssetError(f"{title}: there is no {name} in {where}. {route}")
        files.append(file)
    return files
