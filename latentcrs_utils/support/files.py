"""Files and folders that are whole or absent: made beside their place, then renamed.

A killed writer leaves something temporary that no reader looks at; the next writer of the same
target removes it. Several processes may write the same target at once.
"""

from __future__ import annotations

import glob
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

try:
    import fcntl
except ImportError:
    # Windows: there, only its age tells what a killed process left
    fcntl = None  # type: ignore[assignment]

_ABANDONED_SECONDS = 24 * 3600


@contextmanager
def atomic_path(target: Path) -> Iterator[Path]:
    """Give a temporary file beside ``target`` that replaces it only if the block succeeds.

    Of several processes that write the same target, the last one to finish wins.
    """
    with _temporary(target, _make_file) as temporary:
        yield temporary
        # temporary files are private; what is kept gets the ordinary permissions
        temporary.chmod(0o644)
        temporary.replace(target)


@contextmanager
def atomic_folder(target: Path) -> Iterator[Path]:
    """Give a temporary folder beside ``target`` that becomes it only if the block succeeds.

    Of several processes that make the same folder, the first one to finish wins.
    """
    with _temporary(target, tempfile.mkdtemp) as temporary:
        yield temporary
        temporary.chmod(0o755)
        try:
            temporary.rename(target)
        except OSError:
            if not target.is_dir():
                raise


def remove_abandoned(target: Path) -> None:
    """Remove what killed writers of ``target`` left.

    A living writer holds a lock on its temporary file or folder, and the system drops the lock
    with the process. Where there are no such locks, what is untouched for a day is abandoned.
    """
    for part in target.parent.glob(f".{glob.escape(target.name)}.*.part"):
        with suppress(OSError):
            if fcntl is None:
                _remove_if_old(part)
                continue
            handle = os.open(part, os.O_RDONLY)
            try:
                locked = _lock(handle)
                if locked:
                    _remove(part)
                elif locked is None:
                    _remove_if_old(part)
            finally:
                os.close(handle)


@contextmanager
def _temporary(target: Path, make: Callable[..., str]) -> Iterator[Path]:
    """Give what ``make`` makes beside ``target``, locked, and remove it where it stays behind."""
    target.parent.mkdir(parents=True, exist_ok=True)
    remove_abandoned(target)
    temporary, handle = _make_locked(target, make)
    try:
        yield temporary
    finally:
        _remove(temporary)
        if handle is not None:
            os.close(handle)


def _make_locked(target: Path, make: Callable[..., str]) -> tuple[Path, int | None]:
    while True:
        made = Path(make(dir=target.parent, prefix=f".{target.name}.", suffix=".part"))
        if fcntl is None:
            return made, None
        # before it is locked, another writer may take it for abandoned: then make another
        with suppress(FileNotFoundError):
            handle = os.open(made, os.O_RDONLY)
            if _lock(handle) is not False and made.exists():
                return made, handle
            os.close(handle)


def _make_file(**place: object) -> str:
    handle, name = tempfile.mkstemp(**place)  # type: ignore[call-overload]
    os.close(handle)
    return name


def _lock(handle: int) -> bool | None:
    """Lock what is open: ``False`` if another has it, ``None`` if the file system has no locks."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _remove_if_old(path: Path) -> None:
    if time.time() - path.stat().st_mtime > _ABANDONED_SECONDS:
        _remove(path)
