"""Vectors on disk: one SQLite file that survives kills and is shared by processes.

A batch of rows is one transaction, so a killed run loses at most the batch that was running; the
next connection takes up its journal (the files ``-wal`` and ``-shm``).
Keys are hashes: the file does not hold the texts themselves.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from pathlib import Path
from typing import TypeVar

import numpy as np

from latentcrs_utils.support.progress import note

Result = TypeVar("Result")

_QUERY_SIZE = 500
_PATIENCE_SECONDS = 60
_SCHEMA = (
    "CREATE TABLE IF NOT EXISTS vectors"
    " (key BLOB PRIMARY KEY, tokens INTEGER NOT NULL, vector BLOB NOT NULL)"
)


class VectorStore:
    """A map from 32-byte keys to (number of tokens, float32 vector).

    A cache, never a reason to fail: a damaged file is set aside and begun anew, and where
    nothing can be kept the vectors are computed each time.
    """

    def __init__(self, file: Path):
        self.file = file
        self._complained = False

    def read(self, keys: Sequence[bytes]) -> dict[bytes, tuple[int, np.ndarray]]:
        """Return what is known of ``keys``; vectors are float32 ``[d]``."""

        def select(connection: sqlite3.Connection) -> dict[bytes, tuple[int, np.ndarray]]:
            found = {}
            for start in range(0, len(keys), _QUERY_SIZE):
                part = keys[start : start + _QUERY_SIZE]
                marks = ",".join("?" * len(part))
                question = f"SELECT key, tokens, vector FROM vectors WHERE key IN ({marks})"
                for name, tokens, blob in connection.execute(question, part):
                    found[name] = (tokens, np.frombuffer(blob, dtype="<f4"))
            return found

        return self._run(select) or {} if self.file.exists() else {}

    def write(self, rows: Iterable[tuple[bytes, int, np.ndarray]]) -> None:
        """Add rows in one transaction; a key that is there already keeps its vector."""
        packed = [(k, int(n), np.asarray(v, dtype="<f4").tobytes()) for k, n, v in rows]

        def insert(connection: sqlite3.Connection) -> None:
            with connection:
                connection.executemany("INSERT OR IGNORE INTO vectors VALUES (?, ?, ?)", packed)

        self._run(insert)

    def _run(self, action: Callable[[sqlite3.Connection], Result]) -> Result | None:
        """Do ``action`` on a connection of its own (threads never share one)."""
        try:
            try:
                return self._attempt(action)
            except sqlite3.OperationalError:
                # locked, full, read-only: not a damaged file, so it stays where it is
                raise
            except sqlite3.DatabaseError:
                self._set_aside()
                return self._attempt(action)
        except (sqlite3.Error, OSError) as error:
            if not self._complained:
                note(f"Embeddings are not kept in {self.file} ({error}); going on without.")
                self._complained = True
            return None

    def _attempt(self, action: Callable[[sqlite3.Connection], Result]) -> Result:
        self.file.parent.mkdir(parents=True, exist_ok=True)
        with closing(sqlite3.connect(self.file, timeout=_PATIENCE_SECONDS)) as connection:
            # readers and one writer at a time, without waiting for each other
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA synchronous=NORMAL")
            connection.execute(_SCHEMA)
            return action(connection)

    def _set_aside(self) -> None:
        """Rename a damaged file (and its journal) out of the way."""
        note(f"{self.file} is damaged: set aside as {self.file.name}.damaged and begun anew.")
        for suffix in ("-wal", "-shm"):
            self.file.with_name(self.file.name + suffix).unlink(missing_ok=True)
        self.file.replace(self.file.with_name(f"{self.file.name}.damaged"))
