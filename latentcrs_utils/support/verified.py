"""Files of known content: found, verified and extracted, never trusted by name alone."""

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

from latentcrs_utils.errors import AssetError
from latentcrs_utils.support.artifacts import sha256
from latentcrs_utils.support.files import atomic_path

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
