"""Whole dialogues: what was said, offered and spent, and the log that a killed run goes on with."""

import json
import os
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from operator import itemgetter
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import polars as pl

from latentcrs_utils.constraints.constraint import Constraint
from latentcrs_utils.errors import DataError, MessageError, WordlessError
from latentcrs_utils.language.chat_model import ChatModel, Reply, Usage
from latentcrs_utils.support.progress import note

Purpose = Literal["embedding", "extraction", "re-ranking", "prompting", "scoring", "user"]
PURPOSES: tuple[Purpose, ...] = get_args(Purpose)
RECOMMENDING = PURPOSES[:-1]  # what choosing the items takes; playing the user is no part of it


@dataclass(frozen=True)
class TokenUsage:
    """What one purpose has cost in a turn: tokens read and written, wall-clock seconds.

    Extraction is F's, re-ranking V's, prompting the rivals'; scoring takes no language model.
    """

    purpose: Purpose
    prompt_tokens: int = 0
    completion_tokens: int = 0
    seconds: float = 0.0


@dataclass(frozen=True)
class Exchange:
    """One turn: the user's message, the ids of the items offered then, best first, and the cost.

    Constraints are new ones; the source is "template" or a language model; usage is of both sides.
    """

    message: str
    constraints: tuple[Constraint, ...]
    withdrawn: tuple[Constraint, ...]
    source: str
    offered: tuple[int, ...]
    usage: tuple[TokenUsage, ...] = ()


@dataclass(frozen=True)
class Dialogue:
    """A dialogue between a simulated user, 0..U-1 and drawn by a seed, and the system of a name.

    The target is the id of the item in mind; success the turn of its offer, from 1, None for never.
    """

    system: str
    user: int
    target: int
    seed: int
    success: int | None
    exchanges: tuple[Exchange, ...]

    @property
    def messages(self) -> list[str]:
        """What the user said, turn by turn."""
        return [exchange.message for exchange in self.exchanges]

    @property
    def offered(self) -> list[int]:
        """All items offered, in the order in which they were."""
        return [item for exchange in self.exchanges for item in exchange.offered]

    def to_dict(self) -> dict[str, Any]:
        """The dialogue as JSON types, constraints in their written form as "conditions"."""
        values = asdict(self)
        for exchange, written in zip(self.exchanges, values["exchanges"], strict=True):
            del written["constraints"]
            written["conditions"] = tuple(map(str, exchange.constraints))
            written["withdrawn"] = tuple(map(str, exchange.withdrawn))
        return values

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Dialogue":
        """The dialogue that `to_dict` wrote; KeyError, TypeError, ValueError: a field is wrong."""
        fields = {name: value for name, value in values.items() if name != "run"}  # of a log's line
        exchanges = []
        for said in values["exchanges"]:
            new, gone = (map(Constraint.parse, said[name]) for name in ("conditions", "withdrawn"))
            usage = tuple(TokenUsage(**part) for part in said["usage"])
            words = said["message"], tuple(new), tuple(gone), said["source"]
            exchanges.append(Exchange(*words, tuple(said["offered"]), usage))
        return cls(**{**fields, "exchanges": tuple(exchanges)})


def success_by(dialogues: Sequence[Dialogue], k: int) -> np.ndarray:
    """S@k of each dialogue, [N]: 1 if the target was offered within k turns, else 0."""
    return np.array([float(d.success is not None and d.success <= k) for d in dialogues])


def turns_taken(dialogues: Sequence[Dialogue], n_turns: int = 5) -> np.ndarray:
    """AT of each dialogue, [N]: the turn of the success, or `n_turns` where there was none."""
    return np.array([float(d.success or n_turns) for d in dialogues])


class JsonLog:
    """Entries in a file of JSON lines, one a line, whole or not there; a killed run goes on.

    At most the last line is damaged then; it is cut off when the log is opened again. Each line
    holds `run`, which names all that the entries depend on; the field `by` tells them apart and is
    the key of `entries`. `check` raises on what is no entry. The folder is made if absent; without
    a path all is in memory. DataError: another line is damaged, or the file is of another run.
    """

    def __init__(
        self, path: Path | None, run: str, by: str, check: Callable[[Any], object] | None = None
    ):
        self.path, self.run, self.by = path, run, by
        self.entries: dict[Any, dict[str, Any]] = {}
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
        if path is None or not path.exists():
            return
        lines, n_good = _whole_lines(path, by, check)
        if any(entry["run"] != run for entry in lines):
            raise DataError(
                f"{path} is of another run (other model, users or setting, not {run[:40]}): "
                "choose another file, or remove it to begin anew."
            )
        if path.stat().st_size > n_good:
            note(f"{path.name}: its last line is damaged and is done again.")
            os.truncate(path, n_good)
        self.entries = {entry[by]: entry for entry in lines}

    def append(self, entries: Iterable[Mapping[str, Any]]) -> None:
        """Add the entries that are not there yet, all in one piece, and wait for the disk."""
        given = {entry[self.by]: {"run": self.run, **entry} for entry in entries}
        new = {which: entry for which, entry in given.items() if which not in self.entries}
        self.entries |= new
        if self.path is not None:
            with self.path.open("ab", buffering=0) as stream:
                lines = (json.dumps(entry) + "\n" for entry in new.values())
                stream.write("".join(lines).encode())
                os.fsync(stream.fileno())


def _whole_lines(
    path: Path, by: str, check: Callable[[Any], object] | None
) -> tuple[list[dict[str, Any]], int]:
    """The entries of a log and the bytes of their lines, without the last one if it is damaged."""
    entries: list[dict[str, Any]] = []
    n_good, raw = 0, path.read_bytes().splitlines(keepends=True)
    for number, line in enumerate(raw, start=1):
        try:
            if not line.endswith(b"\n"):
                raise ValueError("cut short")
            entry = json.loads(line)
            itemgetter("run", by)(entry)
            if check is not None:
                check(entry)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            if number == len(raw):
                break
            problem = f"Line {number} of {path} is damaged ({error}): remove it, or the file."
            raise DataError(problem) from error
        entries.append(entry)
        n_good += len(line)
    return entries, n_good


def read_dialogues(path: Path) -> list[Dialogue]:
    """The dialogues of a log, without its last line if that is damaged; DataError: another is."""
    lines, _ = _whole_lines(path, "user", Dialogue.from_dict)
    return [Dialogue.from_dict(entry) for entry in lines]


class Answers(ChatModel):
    """A chat model that is asked every question once; its answers, and its failures, are kept.

    Not kept is what says nothing of the model: an endpoint that cannot be reached or refuses (any
    `OSError`, which is raised) and a reply that was stopped or cut, so the next run asks again.
    So all ways to use an answer are measured on the same answer, and a measurement that was killed
    goes on where it was. `score` is asked only of a model that can; the file is that of a `JsonLog`
    (None: in memory alone), and `usage` counts its answers, too, when they are used.
    """

    def __init__(self, chat_model: Any, file: Path | None = None):
        self._chat_model, self.usage = chat_model, Usage()
        self.name: str = chat_model.name
        self._log = JsonLog(file, self.name, by="question")

    @property
    def counts(self) -> dict[str, Any]:
        """Of all questions that are kept: asked, failed (how many) and seconds_each."""
        kept = self._log.entries.values()
        seconds = sum(entry["seconds"] for entry in kept)
        failed = sum("error" in entry for entry in kept)
        return {"asked": len(kept), "failed": failed, "seconds_each": seconds / max(len(kept), 1)}

    def generate(self, messages: Sequence[Mapping[str, str]], **options: Any) -> Reply:
        """Answer as before, or ask; MessageError: the model fails, or failed, on this question."""

        def ask() -> dict[str, Any]:
            reply = self._chat_model.generate(messages, **options)
            parts = ("text", "prompt_tokens", "completion_tokens", "finish")
            return {name: getattr(reply, name) for name in parts}

        stop = options.get("stop")
        entry = self._entry([list(messages), options.get("schema")], ask, stop)
        tokens = entry["prompt_tokens"], entry["completion_tokens"]
        finish = entry.get("finish", "end")
        return Reply(entry["text"], *tokens, entry["seconds"], self.name, finish)

    def score(self, prompt: str, continuations: Sequence[str]) -> list[float]:
        """Log-likelihoods as before, or ask; MessageError: as of `generate`."""

        def ask() -> dict[str, Any]:
            before = self._chat_model.usage.prompt_tokens
            scores = [float(score) for score in self._chat_model.score(prompt, continuations)]
            n_read = self._chat_model.usage.prompt_tokens - before
            return {"scores": scores, "prompt_tokens": n_read, "completion_tokens": 0}

        return list(self._entry([prompt, list(continuations)], ask)["scores"])

    def _entry(
        self, question: list[Any], ask: Callable[[], dict[str, Any]],
        stop: threading.Event | None = None,
    ) -> dict[str, Any]:  # fmt: skip
        """The kept answer to a question, after asking it if it is new."""
        asked, begun = json.dumps(question, ensure_ascii=False), time.perf_counter()
        if (entry := self._log.entries.get(asked)) is None:
            try:
                answer = ask()
            except Exception as error:  # a failure is a result, too
                if isinstance(error, OSError) and not isinstance(error, WordlessError):
                    raise
                answer = {"error": f"{type(error).__name__}: {error}"}
            entry = {**answer, "seconds": round(time.perf_counter() - begun, 3)}
            stopped = stop is not None and stop.is_set()
            if not stopped and answer.get("finish") not in ("stopped", "cut"):
                self._log.append([{"question": asked, **entry}])
        if "error" in entry:
            raise MessageError(entry["error"])
        self.usage.add(entry["prompt_tokens"], entry["completion_tokens"], entry["seconds"])
        return entry


def usage_table(dialogues: Sequence[Dialogue]) -> pl.DataFrame:
    """What some dialogues cost: a row a system and purpose, and "recommending" (`RECOMMENDING`).

    Columns: system, purpose, turns and dialogues (how many), then prompt_tokens, completion_tokens
    and seconds, each as mean over turns (``..._a_turn``: what Table 6 prints) and over dialogues.
    """
    rows = []
    for system in dict.fromkeys(dialogue.system for dialogue in dialogues):
        own = [dialogue for dialogue in dialogues if dialogue.system == system]
        turns = [exchange for dialogue in own for exchange in dialogue.exchanges]
        parts = [part for exchange in turns for part in exchange.usage]
        sums = {p: (p,) for p in PURPOSES if any(part.purpose == p for part in parts)}
        for name, purposes in (sums | {"recommending": RECOMMENDING}).items():
            row = {"system": system, "purpose": name, "turns": len(turns), "dialogues": len(own)}
            for amount in ("prompt_tokens", "completion_tokens", "seconds"):
                whole = sum(getattr(part, amount) for part in parts if part.purpose in purposes)
                row[f"{amount}_a_turn"] = whole / len(turns)
                row[f"{amount}_a_dialogue"] = whole / len(own)
            rows.append(row)
    return pl.DataFrame(rows)
