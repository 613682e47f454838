"""Files and folders that are whole or absent: made in a scratch folder beside them, then moved.

A killed writer leaves its scratch folder, which no reader looks at; the next writer of the same
target removes it. Several processes may write the same target at once.
"""

import glob
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from filelock import lock_descriptor

_ABANDONED_SECONDS = 24 * 3600


@contextmanager
def atomic_path(target: Path) -> Iterator[Path]:
    """Give the path of a new file or folder, which becomes ``target`` only if the block succeeds.

    Of several writers of the same file the last one wins; of the same folder, the first.
    """
    with scratch_folder(target) as scratch:
        made = scratch / target.name
        yield made
        try:
            made.replace(target)
        except OSError:
            if not (made.is_dir() and target.is_dir()):
                raise


@contextmanager
def scratch_folder(target: Path) -> Iterator[Path]:
    """Give a folder beside ``target`` that is this writer's alone and is removed at the end."""
    target.parent.mkdir(parents=True, exist_ok=True)
    remove_abandoned(target)
    with ExitStack() as held:
        while True:
            folder = Path(tempfile.mkdtemp(".part", f".{target.name}.", target.parent))
            # before it is locked, another writer may take it for abandoned: then make another
            if _lock(folder, held) is not False and folder.exists():
                break
        held.callback(shutil.rmtree, folder, ignore_errors=True)
        yield folder


def remove_abandoned(target: Path) -> None:
    """Remove what killed writers left: what nobody locks, or what is a day old, without locks."""
    for folder in target.parent.glob(f".{glob.escape(target.name)}.*.part"):
        with suppress(OSError), ExitStack() as held:
            ours = _lock(folder, held)
            old = time.time() - folder.stat().st_mtime > _ABANDONED_SECONDS
            if ours or (ours is None and old):
                shutil.rmtree(folder, ignore_errors=True)


def _lock(folder: Path, held: ExitStack) -> bool | None:
    """Lock a folder until ``held`` ends; tells whether it is ours, None without locks."""
    with suppress(OSError):  # Windows opens no folder, and some file systems have no locks
        handle = os.open(folder, os.O_RDONLY)
        held.callback(os.close, handle)
        return lock_descriptor(handle, blocking=False)
    return None
