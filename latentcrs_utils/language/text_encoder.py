"""What all text encoders have in common, and the cache of vectors that they share."""

import hashlib
import sqlite3
import threading
import time
from collections.abc import Iterable, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from latentcrs_utils.errors import ConfigError, MessageError
from latentcrs_utils.language import models
from latentcrs_utils.support.artifacts import cache_dir
from latentcrs_utils.support.processes import Processes, join
from latentcrs_utils.support.progress import note, track

Rows = dict[bytes, tuple[int, np.ndarray]]  # key -> number of tokens, float32 vector [d]

_PATIENCE_SECONDS = 60


@dataclass
class EmbeddingUsage:
    """What embedding has cost so far; the first three are the same with a warm cache."""

    texts: int = 0  # asked for
    distinct: int = 0  # distinct ones among those of a call
    tokens: int = 0  # of the distinct texts, prompt included: what one pass reads
    computed_texts: int = 0  # distinct ones that really went through the model
    computed_tokens: int = 0
    seconds: float = 0.0  # wall-clock time spent in ``embed``


class TextEncoder:
    """Texts to vectors x^u with a transformer on this machine, each distinct text once.

    Weights are loaded only for a text that is not in the cache. Equal texts get equal vectors
    within a cache; computed in other company they differ by rounding.
    """

    language_model: str | Path = models.DEFAULT_MODEL  # the one that words replies in a chat

    def __init__(
        self, model: str | Path, kind: models.Kind, dtype: models.DTypeName, batch_size: int,
        reuse: bool,
    ):  # fmt: skip
        if batch_size < 1:
            raise ConfigError(f"batch_size={batch_size}: at least one text a batch is needed.")
        self._source = models.find_model(model, kind)
        self._store = VectorStore() if reuse else None
        self.model, self.name = model, self._source.name  # what was asked for; what is shown
        self.dtype, self.batch_size = models.choose_dtype(dtype), batch_size
        self.tokens = EmbeddingUsage()  # what all calls so far have cost
        self._counting = threading.Lock()

    @property
    def identity(self) -> str:
        """What the vectors depend on besides the text; part of every key of the cache."""
        raise NotImplementedError

    def token_ids(self, text: str) -> list[int]:
        """Token ids of all that is read for one text."""
        raise NotImplementedError

    def _vectors(self, model: models.LanguageModel, batch: Sequence[list[int]]) -> np.ndarray:
        """B lists of token ids -> float32 ``[B, d]``."""
        raise NotImplementedError

    def embed(self, texts: Sequence[str], progress: bool | None = None) -> torch.Tensor:
        """Return the vector of every text, from the cache where it is known.

        N texts -> float32 ``[N, d]`` on the CPU, not standardised; repetitions cost nothing. In
        several processes all call this with the same texts, and get the vectors of a single one.
        MessageError: something that is no text, or an empty one.
        """
        started = time.perf_counter()
        if isinstance(texts, str):
            raise MessageError("embed() takes a list of texts: put the single text into a list.")
        keys = [self._key(text, place) for place, text in enumerate(texts)]
        wanted = dict(zip(keys, texts, strict=True))
        processes = join()
        known = self._store.read(wanted) if self._store and processes.is_main else {}
        # what the main process misses: another may see the store a moment later
        present = processes.broadcast(set(known))
        missing = {name: text for name, text in wanted.items() if name not in present}
        if missing:
            known |= self._compute(missing, progress, processes)
        known = processes.broadcast(known)
        if not keys:
            return torch.zeros(0, self._language_model().model.config.get_text_config().hidden_size)
        with self._counting:
            self.tokens.texts += len(keys)
            self.tokens.distinct += len(wanted)
            self.tokens.tokens += sum(known[name][0] for name in wanted)
            self.tokens.computed_texts += len(missing)
            self.tokens.computed_tokens += sum(known[name][0] for name in missing)
            self.tokens.seconds += time.perf_counter() - started
        return torch.from_numpy(np.stack([known[name][1] for name in keys]))

    def _key(self, text: str, place: int) -> bytes:
        if not isinstance(text, str) or not text.strip():
            raise MessageError(f"Text {place} of the list is empty: there is nothing to embed.")
        try:
            return hashlib.sha256(f"{self.identity}|{text}".encode()).digest()
        except UnicodeEncodeError:
            raise MessageError(f"Text {place} of the list holds half a character.") from None

    def _language_model(self) -> models.LanguageModel:
        return models.load_language_model(self._source, self.dtype)

    def _compute(
        self, missing: dict[bytes, str], progress: bool | None, processes: Processes
    ) -> Rows:
        """Embed batches, longest text first, and store each; kills and processes change nothing."""
        language_model = processes.main_first(self._language_model)
        ids = {name: self.token_ids(text) for name, text in missing.items()}
        order = sorted(ids, key=lambda name: -len(ids[name]))
        starts = range(0, len(order), self.batch_size * processes.count)
        computed: Rows = {}
        shown = progress if processes.is_main else False
        for start in track(starts, f"Embedding with {self.name}", progress=shown):
            first = start + processes.number * self.batch_size
            rows: Rows = {}
            if names := order[first : first + self.batch_size]:
                vectors = self._vectors(language_model, [ids[name] for name in names])
                rows = {n: (len(ids[n]), v) for n, v in zip(names, vectors, strict=True)}
            rows = processes.merge(rows)
            if self._store and processes.is_main:
                self._store.write(rows)
                # where another process was first, its vectors are the ones that are kept
                rows |= self._store.read(rows)
            computed |= rows
        return computed


class VectorStore:
    """A map from 32-byte keys to (number of tokens, float32 vector) in an SQLite file.

    A damaged file is begun anew; where none can be kept, the vectors are computed each time.
    """

    def __init__(self) -> None:
        self.file = cache_dir() / "embeddings" / "vectors-1.sqlite"
        self._complained = False

    def read(self, keys: Iterable[bytes]) -> Rows:
        """Return what is known of ``keys``."""
        if not self.file.exists():
            return {}
        question = "SELECT key, tokens, vector FROM vectors WHERE key = ?"
        found = self._run(question, [(key,) for key in keys])
        return {row[0]: (row[1], np.frombuffer(row[2], "<f4")) for row in found if row}

    def write(self, rows: Rows) -> None:
        """Add rows in one transaction; a key that is there already keeps its vector."""
        packed = [(key, n, vector.astype("<f4").tobytes()) for key, (n, vector) in rows.items()]
        self._run("INSERT OR IGNORE INTO vectors VALUES (?, ?, ?)", packed)

    def forget(self) -> None:
        """Delete all vectors, also those that an earlier version set aside as damaged."""
        for file in self.file.parent.glob(self.file.name + "*"):
            file.unlink(missing_ok=True)

    def _run(self, statement: str, rows: list[tuple[Any, ...]]) -> list[Any]:
        """Execute a statement for each row, on a connection of its own: threads never share one."""
        for may_mend in (True, False):
            try:
                self.file.parent.mkdir(0o700, parents=True, exist_ok=True)
                with suppress(OSError):  # a cache of somebody else, or one to read only
                    # vectors give away what people typed: for their owner alone
                    self.file.touch(0o600)
                    self.file.chmod(0o600)
                    self.file.parent.chmod(0o700)
                with closing(sqlite3.connect(self.file, timeout=_PATIENCE_SECONDS)) as connection:
                    # readers and one writer at a time, without waiting for each other
                    connection.execute("PRAGMA journal_mode=WAL")
                    connection.execute("PRAGMA synchronous=NORMAL")
                    connection.execute(
                        "CREATE TABLE IF NOT EXISTS vectors"
                        " (key BLOB PRIMARY KEY, tokens INTEGER NOT NULL, vector BLOB NOT NULL)"
                    )
                    with connection:
                        return [connection.execute(statement, row).fetchone() for row in rows]
            except (sqlite3.Error, OSError) as error:
                # a file that is locked, full or read-only raises another kind: it is not damaged
                if may_mend and type(error) is sqlite3.DatabaseError:
                    note(f"{self.file} is damaged: its vectors are computed again.")
                    with suppress(OSError):
                        self.forget()
                    continue
                if not self._complained:
                    note(f"Embeddings are not kept in {self.file} ({error}); going on without.")
                self._complained = True
                break
        return []
