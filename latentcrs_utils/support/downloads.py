"""Zip archives of data providers: from the reader's own folder, the cache, or the network.

``pooch`` downloads with hash and retries, from the provider first and then from independent
copies. Everything is verified before it counts, so any copy of the same bytes will do.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import time
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath
from urllib.parse import urlsplit

from latentcrs_utils.errors import AssetError
from latentcrs_utils.support.artifacts import cache_dir, sha256
from latentcrs_utils.support.files import atomic_path
from latentcrs_utils.support.progress import bytes_bar, note

_ABANDONED = 300.0  # seconds without a new byte, after which a download folder is nobody's


@dataclass(frozen=True)
class Member:
    """One file inside an archive: its path there, sha256 and size in bytes."""

    path: str
    sha256: str
    size: int

    @property
    def name(self) -> str:
        """File name without folders; also its name in the cache."""
        return PurePosixPath(self.path).name


def is_verified(file: Path, member: Member) -> bool:
    """Tell whether ``file`` is the member, bit for bit.

    The hash is computed once; a stamp with size and modification time saves the next time.
    """
    try:
        status = file.stat()
    except OSError:
        return False
    if status.st_size != member.size:
        return False
    expected = {"sha256": member.sha256, "size": status.st_size, "mtime_ns": status.st_mtime_ns}
    stamp = file.with_name(f"{file.name}.verified")
    try:
        if json.loads(stamp.read_text(encoding="utf-8")) == expected:
            return True
    except (OSError, ValueError):
        pass
    if sha256(file) != member.sha256:
        return False
    try:
        with atomic_path(stamp) as temporary:
            temporary.write_text(json.dumps(expected), encoding="utf-8")
    except OSError:
        # a read-only cache works too, it is only hashed each time
        pass
    return True


def user_folder() -> Path | None:
    """Return the folder that ``LATENTCRS_DATA`` names, ``None`` if it is not set.

    Raises:
        AssetError: it names something that is not a folder.
    """
    chosen = os.environ.get("LATENTCRS_DATA")
    if not chosen:
        return None
    root = Path(chosen).expanduser()
    if not root.is_dir():
        raise AssetError(f"LATENTCRS_DATA names {root}, which is not a folder; mend or unset it.")
    return root


@contextmanager
def written_to(folder: Path, title: str) -> Iterator[None]:
    """Make ``folder``; say what to do when it, or a file in it, cannot be written.

    Raises:
        AssetError: in place of an ``OSError`` of the block.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        yield
    except AssetError:
        raise
    except OSError as error:
        raise AssetError(
            f"{title} could not be written to {folder} ({error.strerror or error}); "
            f"free some disk space there, or set LATENTCRS_CACHE to a folder that can be written."
        ) from error


@contextmanager
def download_folder(folder: Path) -> Iterator[Path]:
    """Give a temporary folder in ``folder``; what killed downloads left there goes first."""
    for left in folder.glob("download-*"):
        if time.time() - _last_change(left) > _ABANDONED:
            shutil.rmtree(left, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix="download-", dir=folder) as temporary:
        yield Path(temporary)


def _last_change(folder: Path) -> float:
    """Return when ``folder`` or anything in it was last written; its owner may be removing it."""
    latest = 0.0
    # os.walk passes over folders that vanish while it looks; Path.rglob raises
    for place, _, names in os.walk(folder):
        for entry in (Path(place), *(Path(place, name) for name in names)):
            with suppress(OSError):
                latest = max(latest, entry.stat().st_mtime)
    return latest


def find(root: Path, name: str) -> Path | None:
    """Find a file in ``root`` or in one of its direct subfolders."""
    candidates = [root / name, *sorted(root.glob(f"*/{name}"))]
    return next((file for file in candidates if file.is_file()), None)


def check_archive(archive: Path, digest: str, size: int, advice: str) -> None:
    """Raise ``AssetError`` unless ``archive`` is the expected file, bit for bit."""
    found = sha256(archive)
    if found != digest:
        raise AssetError(
            f"{archive.name} is damaged or not the expected file: {archive.stat().st_size:,} bytes "
            f"with sha256 {found[:12]}…, expected {size:,} bytes with {digest[:12]}…. {advice}"
        )


def extract(archive: Path, members: Sequence[Member], folder: Path) -> list[Path]:
    """Extract ``members`` into ``folder``, each atomically, checking size and hash first.

    Only the bare name of a member is used on disk, and an archive that holds any path leading
    out of its own folder is refused as a whole.

    Raises:
        AssetError: no zip archive, an unsafe path, or a member that is absent or not as known.
    """
    try:
        with zipfile.ZipFile(archive) as opened:
            _refuse_unsafe_paths(archive, opened.namelist())
            return [_extract_one(archive, opened, member, folder) for member in members]
    except (zipfile.BadZipFile, EOFError) as error:
        raise AssetError(f"{archive.name} is no intact zip archive ({error}).") from None


def _refuse_unsafe_paths(archive: Path, names: Sequence[str]) -> None:
    for name in names:
        # read as Windows would: both kinds of slash, and drives
        path = PureWindowsPath(name)
        if path.drive or path.root or ".." in path.parts:
            raise AssetError(
                f"{archive.name} holds {name!r}, a path that leads out of the archive; "
                f"nothing was extracted. Remove the file and get it from its provider."
            )


def _extract_one(archive: Path, opened: zipfile.ZipFile, member: Member, folder: Path) -> Path:
    try:
        declared = opened.getinfo(member.path).file_size
    except KeyError:
        raise AssetError(f"{archive.name} holds no {member.path}.") from None
    if declared != member.size:
        raise AssetError(
            f"{member.path} in {archive.name} has {declared:,} bytes, expected {member.size:,}."
        )
    target = folder / member.name
    with atomic_path(target) as temporary:
        with opened.open(member.path) as source, temporary.open("wb") as sink:
            shutil.copyfileobj(source, sink)
        if sha256(temporary) != member.sha256:
            raise AssetError(f"{member.path} in {archive.name} has an unexpected sha256.")
    if not is_verified(target, member):
        raise AssetError(f"{target} changed while it was being written; run again.")
    return target


_RETRIES = 2  # of one source; pooch waits 1 s before the first, 2 s before the second
_CHUNK = 1 << 16


@dataclass(frozen=True)
class ArchiveAsset:
    """A provider's zip archive and the files in it that the course uses.

    Attributes:
        title: for people.
        archive: name of the file; without ``.zip`` also the folder's in the cache.
        sha256: of the archive.
        size: of the archive, in bytes.
        members: the files used.
        urls: where it can be had, the provider first; none if it is not to be downloaded.
        page: where a person gets it.
        fixed: whether the provider promised never to change it.
    """

    title: str
    archive: str
    sha256: str
    size: int
    members: tuple[Member, ...]
    urls: tuple[str, ...]
    page: str
    fixed: bool = True

    @property
    def folder(self) -> str:
        """Name of the folder that holds its files."""
        return self.archive.removesuffix(".zip")

    @property
    def manual_route(self) -> str:
        """How to get the archive without this program."""
        return (
            f"With a browser, get {self.archive} from {self.page}, put it into a folder, "
            f"unpacked or not, and set LATENTCRS_DATA to that folder."
        )


_PROVIDER = "https://files.grouplens.org/datasets/movielens"
# byte-identical copies that the Recommenders project keeps as its own second source
_MIRROR = "https://huggingface.co/datasets/Recommenders/MovieLens/resolve/main"
# "id_" asks the Internet Archive for the bytes as they were, from the capture nearest to 2020
_ARCHIVED = f"https://web.archive.org/web/2020id_/{_PROVIDER}"

_MOVIES_1M = Member(
    "ml-1m/movies.dat", "0140fc2356357c1a851d0f52e893a1e4d3696df632c4141cea8d5bc3d621f0b9", 171_308
)
ML_1M = ArchiveAsset(
    title="MovieLens-1M",
    archive="ml-1m.zip",
    sha256="a6898adb50b9ca05aa231689da44c217cb524e7ebd39d264c56e2832f2c54e20",
    size=5_917_549,
    members=(
        _MOVIES_1M,
        Member(
            "ml-1m/ratings.dat",
            "506d64ca44484487c11dc2d9a28de5c54948213e6b96285e298afe28d6ea4e0f",
            24_594_131,
        ),
    ),
    urls=(f"{_PROVIDER}/ml-1m.zip", f"{_MIRROR}/ml-1m.zip", f"{_ARCHIVED}/ml-1m.zip"),
    page="https://grouplens.org/datasets/movielens/1m/",
)
# all ratings of 4 and 5, and some lower ones: enough for the paper's preprocessing
ML_1M_POSITIVES = ArchiveAsset(
    title="MovieLens-1M, ratings with known time",
    archive="ml-1m.zip",
    sha256="",
    size=0,
    members=(
        _MOVIES_1M,
        Member(
            "ml-1m/ratings_known_timestamp.dat",
            "8d557753da3fbc99797f78cb6631e75b73b7bca41f56857ab67d2b113b9af2f6",
            16_279_003,
        ),
    ),
    urls=(),
    page=ML_1M.page,
)
ML_100K = ArchiveAsset(
    title="MovieLens-100k",
    archive="ml-100k.zip",
    sha256="50d2a982c66986937beb9ffb3aa76efe955bf3d5c6b761f4e3a7cd717c6a3229",
    size=4_924_029,
    members=(
        Member(
            "ml-100k/u.data",
            "06416e597f82b7342361e41163890c81036900f418ad91315590814211dca490",
            1_979_173,
        ),
        Member(
            "ml-100k/u.item",
            "553841ebc7de3a0fd0d6b62a204ea30c1e651aacfb2814c7a6584ac52f2c5701",
            236_344,
        ),
        Member(
            "ml-100k/u.genre",
            "9757e0d3e6b298159a80dd48eaf938114690e911e39af97a76949ef1663610bb",
            202,
        ),
    ),
    urls=(f"{_PROVIDER}/ml-100k.zip", f"{_MIRROR}/ml-100k.zip", f"{_ARCHIVED}/ml-100k.zip"),
    page="https://grouplens.org/datasets/movielens/100k/",
)
ML_LATEST_SMALL = ArchiveAsset(
    title="MovieLens latest-small (September 2018)",
    archive="ml-latest-small.zip",
    sha256="696d65a3dfceac7c45750ad32df2c259311949efec81f0f144fdfb91ebc9e436",
    size=978_202,
    members=(
        Member(
            "ml-latest-small/movies.csv",
            "5a5f32dd9bb3797b8e728a1b98958789d2b13f294a69fdfbc5727f8a9611aa07",
            494_431,
        ),
        Member(
            "ml-latest-small/ratings.csv",
            "aa289ca83157595d0df6aea1be6a4ded676ddc4385472e8313a8ed9805352646",
            2_483_723,
        ),
    ),
    # not among the mirror's; the archived capture outlives a new edition at the provider
    urls=(f"{_PROVIDER}/ml-latest-small.zip", f"{_ARCHIVED}/ml-latest-small.zip"),
    page="https://grouplens.org/datasets/movielens/latest/",
    fixed=False,
)


@dataclass(frozen=True)
class OwnAsset:
    """Files that every reader downloads by hand: hundreds of MB, and no hash is published.

    What cannot be checked is not downloaded here; the readers check every line instead.

    Attributes:
        title: for people.
        names: of the files, as they are called uncompressed.
        urls: where they are, in the same order.
        page: where a person reads about them.
    """

    title: str
    names: tuple[str, ...]
    urls: tuple[str, ...]
    page: str

    @property
    def manual_route(self) -> str:
        """How to get the files."""
        return (
            f"Download {' and '.join(self.urls)} ({self.page}), put the files, compressed or not, "
            f"into a folder, and set LATENTCRS_DATA to that folder."
        )


_AMAZON = "https://mcauleylab.ucsd.edu/public_datasets/data/amazon_2023/raw"


def _amazon(title: str, category: str) -> OwnAsset:
    return OwnAsset(
        title=f"{title} (Amazon Reviews 2023)",
        names=(f"{category}.jsonl", f"meta_{category}.jsonl"),
        urls=(
            f"{_AMAZON}/review_categories/{category}.jsonl.gz",
            f"{_AMAZON}/meta_categories/meta_{category}.jsonl.gz",
        ),
        page="https://amazon-reviews-2023.github.io/",
    )


AMAZON_VIDEO_GAMES = _amazon("Video Games", "Video_Games")
AMAZON_CDS = _amazon("CDs and Vinyl", "CDs_and_Vinyl")


def own_files(asset: OwnAsset) -> list[Path]:
    """Return the files of ``asset`` in ``LATENTCRS_DATA`` or a direct subfolder, plain or gzip.

    Raises:
        AssetError: one is absent; the message says which, where to get it, where to put it.
    """
    root = user_folder()
    if root is None:
        raise AssetError(f"{asset.title} is not downloaded by the course. {asset.manual_route}")
    files = []
    for name in asset.names:
        file = find(root, name) or find(root, f"{name}.gz")
        if file is None:
            raise AssetError(
                f"{asset.title}: there is no {name}.gz in {root} (LATENTCRS_DATA) or a folder in "
                f"it. {asset.manual_route}"
            )
        files.append(file)
    return files


def in_user_folder(asset: ArchiveAsset) -> dict[str, Path] | None:
    """Return the asset's files from ``LATENTCRS_DATA``, by name; ``None`` if they are not there.

    Looked for, in this order: the files in a subfolder of the asset's name, in the folder
    itself, in another subfolder; then the archive. The files are read where they are; only
    an archive is unpacked, into the cache.

    Raises:
        AssetError: a file is there, but not the expected one.
    """
    root = user_folder()
    if root is None:
        return None
    for folder in (root / asset.folder, root, *sorted(root.glob("*/"))):
        files = {member.name: folder / member.name for member in asset.members}
        if all(file.is_file() for file in files.values()):
            _check_bare(asset, files)
            return files
    archive = find(root, asset.archive) if asset.urls else None
    if archive is None:
        return None
    if (cached := _cached(asset)) is not None:
        return cached
    check_archive(archive, asset.sha256, asset.size, asset.manual_route)
    return _unpacked(asset, archive)


def fetch(asset: ArchiveAsset, *, timeout: float = 30.0) -> dict[str, Path]:
    """Return the asset's verified files in the cache, by name, downloading what is not there.

    Args:
        asset: the archive.
        timeout: seconds that a source may stay silent.

    Raises:
        AssetError: no source has it, or it cannot be written.
    """
    if (cached := _cached(asset)) is not None:
        return cached
    folder = _folder(asset)
    if any((folder / member.name).exists() for member in asset.members):
        note(f"{asset.title}: a file in {folder} is incomplete or damaged; getting it again.")
    with written_to(folder, asset.title), download_folder(folder) as temporary:
        return _unpacked(asset, _download(asset, temporary, timeout))


def _folder(asset: ArchiveAsset) -> Path:
    return cache_dir() / "assets" / asset.folder


def _cached(asset: ArchiveAsset) -> dict[str, Path] | None:
    files = {member.name: _folder(asset) / member.name for member in asset.members}
    checks = (is_verified(files[member.name], member) for member in asset.members)
    return files if all(checks) else None


def _unpacked(asset: ArchiveAsset, archive: Path) -> dict[str, Path]:
    return {file.name: file for file in extract(archive, asset.members, _folder(asset))}


def _check_bare(asset: ArchiveAsset, files: dict[str, Path]) -> None:
    """Refuse a file that is not the known one; of a changing set, only say so."""
    for member in asset.members:
        file = files[member.name]
        if sha256(file) == member.sha256:
            continue
        if asset.fixed:
            raise AssetError(
                f"{file} is not the expected {asset.title} file (its sha256 differs); "
                f"replace or remove it. {asset.manual_route}"
            )
        note(f"{file} is not of {asset.title}: results will differ from the recorded ones.")


def _download(asset: ArchiveAsset, target: Path, timeout: float) -> Path:
    """Get the archive from the first source that has it, bit for bit."""
    import pooch
    from requests.exceptions import RequestException

    pooch.get_logger().setLevel("WARNING")
    failures = []
    for url in asset.urls:
        host = urlsplit(url).hostname
        note(f"{asset.title}: downloading {asset.archive} ({asset.size / 1e6:.0f} MB) from {host}.")
        store = pooch.create(
            path=target,
            base_url="",
            registry={asset.archive: f"sha256:{asset.sha256}"},
            urls={asset.archive: url},
            retry_if_failed=_RETRIES,
        )
        meter = _Meter(asset)
        downloader = pooch.HTTPDownloader(
            progressbar=meter,
            chunk_size=_CHUNK,
            timeout=timeout,
            headers={"Accept-Encoding": "identity"},
        )
        try:
            return Path(store.fetch(asset.archive, downloader=downloader))
        except (RequestException, ValueError) as error:
            failures.append(f"{host}: {_reason(error, timeout)}")
            note(f"{asset.title}: {failures[-1]}.")
        finally:
            meter.close()
    raise AssetError(
        f"{asset.title} could not be downloaded ({'; '.join(failures)}). "
        f"Check the network and run again. Or: {asset.manual_route}"
    )


class _Meter:
    """What pooch calls a progress bar: shows what has arrived, and ends a source that lies.

    A body longer than the archive cannot be the archive, so it is not read to its end.
    """

    def __init__(self, asset: ArchiveAsset) -> None:
        self._size, self._arrived = asset.size, 0
        self._bar = bytes_bar(asset.title, asset.size)

    @property
    def total(self) -> int:
        """Bytes announced; pooch assigns it at the start of every attempt."""
        return self._size

    @total.setter
    def total(self, announced: int) -> None:
        self.reset()
        if announced > self._size:
            raise ValueError(f"it announces {announced:,} bytes, expected {self._size:,}")

    def update(self, arrived: int) -> None:
        self._arrived += arrived
        # pooch counts whole chunks, the last one is shorter
        if self._arrived > self._size + _CHUNK:
            raise ValueError(f"it sends more than the expected {self._size:,} bytes")
        self._bar.update(min(self._arrived, self._size) - self._bar.n)

    def reset(self) -> None:
        self._arrived = 0
        self._bar.reset()

    def close(self) -> None:
        self._bar.close()


def _reason(error: Exception, timeout: float) -> str:
    """Reduce what went wrong with one source to one phrase."""
    from requests import exceptions

    if isinstance(error, exceptions.HTTPError) and error.response is not None:
        return f"it answers HTTP {error.response.status_code}"
    if isinstance(error, exceptions.SSLError):
        return "its certificate is not valid"
    if isinstance(error, exceptions.Timeout):
        return f"no answer within {timeout:g} s"
    if isinstance(error, exceptions.ChunkedEncodingError):
        return "the connection broke before the end of the file"
    if isinstance(error, exceptions.RequestException):
        return "no connection"
    if "hash" in str(error):
        return "it sent another file (its sha256 differs)"
    return str(error)
