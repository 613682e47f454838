"""Whole dialogues: what was said, offered and spent, and the log that a killed run goes on with."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from operator import itemgetter
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import polars as pl

from latentcrs_utils.constraints.constraint import Constraint
from latentcrs_utils.errors import DataError, MessageError
from latentcrs_utils.language.chat_model import ChatModel, Message, Reply, Usage
from latentcrs_utils.support.progress import note

Purpose = Literal["embedding", "extraction", "re-ranking", "scoring", "wording", "user"]
PURPOSES: tuple[Purpose, ...] = get_args(Purpose)
RECOMMENDING: tuple[Purpose, ...] = ("embedding", "extraction", "re-ranking", "scoring")
"""What choosing the items takes; wording the reply and playing the user are no part of it."""


@dataclass(frozen=True)
class TokenUsage:
    """What one purpose has cost.

    Attributes:
        purpose: embedding (variant B), extraction (F), re-ranking (V), scoring (no language
            model), wording of the reply, playing the user.
        prompt_tokens: read by the language model.
        completion_tokens: written by it; 1 for an embedding pass.
        seconds: wall-clock time.
    """

    purpose: Purpose
    prompt_tokens: int = 0
    completion_tokens: int = 0
    seconds: float = 0.0

    def __add__(self, other: TokenUsage) -> TokenUsage:
        """Add what was spent for the same purpose.

        Raises:
            ValueError: the purposes differ.
        """
        if self.purpose != other.purpose:
            raise ValueError(f"What {self.purpose} and {other.purpose} cost is kept apart.")
        return TokenUsage(
            self.purpose,
            self.prompt_tokens + other.prompt_tokens,
            self.completion_tokens + other.completion_tokens,
            self.seconds + other.seconds,
        )


@dataclass(frozen=True)
class Exchange:
    """One turn of a dialogue.

    Attributes:
        message: what the user said.
        constraints: what that said for the first time.
        withdrawn: what it took back.
        source: who worded it, "template" or the name of a language model.
        offered: ids of the items that the system offered then, best first.
        usage: what the turn cost, on both sides.
    """

    message: str
    constraints: tuple[Constraint, ...]
    withdrawn: tuple[Constraint, ...]
    source: str
    offered: tuple[int, ...]
    usage: tuple[TokenUsage, ...] = ()


@dataclass(frozen=True)
class Dialogue:
    """A dialogue between a simulated user and a system.

    Attributes:
        system: name of the system.
        user: user index, 0..U-1.
        target: id of the item that the user had in mind.
        seed: of the user.
        success: the turn in which the target was offered, from 1; None: never.
        exchanges: the turns.
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
    def from_dict(cls, values: dict[str, Any]) -> Dialogue:
        """The dialogue that `to_dict` wrote, perhaps after a journey through JSON.

        Raises:
            KeyError, TypeError, ValueError: a field is missing, unknown or of the wrong type.
        """
        exchanges = tuple(
            Exchange(
                **{
                    **{name: part for name, part in exchange.items() if name != "conditions"},
                    "constraints": tuple(map(Constraint.parse, exchange["conditions"])),
                    "withdrawn": tuple(map(Constraint.parse, exchange["withdrawn"])),
                    "offered": tuple(map(int, exchange["offered"])),
                    "usage": tuple(TokenUsage(**part) for part in exchange["usage"]),
                }
            )
            for exchange in values["exchanges"]
        )
        fields = {name: value for name, value in values.items() if name != "run"}
        return cls(**{**fields, "exchanges": exchanges})


def success_by(dialogues: Sequence[Dialogue], k: int) -> np.ndarray:
    """S@k of each dialogue, [N]: 1 if the target was offered within k turns, else 0."""
    return np.array([float(d.success is not None and d.success <= k) for d in dialogues])


def turns_taken(dialogues: Sequence[Dialogue], n_turns: int = 5) -> np.ndarray:
    """AT of each dialogue, [N]: the turn of the success, or `n_turns` where there was none."""
    return np.array([float(d.success or n_turns) for d in dialogues])


class JsonLog:
    """Entries in a file of JSON lines, one a line, whole or not there; a killed run goes on.

    At most the last line is damaged then; it is cut off when the log is opened again.

    Args:
        path: the file, its folder is made if absent; None: in memory alone.
        run: names everything that the entries depend on; each line holds it.
        by: the field that tells entries apart.

    Attributes:
        entries: those that are whole, by that field.

    Raises:
        DataError: a line before the last is damaged, or the file belongs to another run.
    """

    def __init__(self, path: Path | None, run: str, by: str):
        self.path, self.run, self.by = path, run, by
        self.entries: dict[Any, dict[str, Any]] = {}
        if path is None:
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        needed = itemgetter("run", by)
        lines, n_good = read_log(path, needed) if path.exists() else ([], 0)
        if any(entry["run"] != run for entry in lines):
            raise DataError(
                f"{path} is of another run (other model, users or setting, not {run[:40]}): "
                "choose another file, or remove it to begin anew."
            )
        if path.exists() and path.stat().st_size > n_good:
            note(f"{path.name}: its last line is damaged and is done again.")
            os.truncate(path, n_good)
        self.entries = {entry[by]: entry for entry in lines}

    def append(self, entries: Iterable[Mapping[str, Any]]) -> None:
        """Add the entries that are not there yet, all in one piece, and wait for the disk."""
        new = [
            {"run": self.run, **entry} for entry in entries if entry[self.by] not in self.entries
        ]
        self.entries |= {entry[self.by]: entry for entry in new}
        if self.path is not None:
            with self.path.open("ab", buffering=0) as stream:
                lines = (json.dumps(entry, ensure_ascii=False) + "\n" for entry in new)
                stream.write("".join(lines).encode())
                os.fsync(stream.fileno())


def read_log(
    path: Path, check: Callable[[dict[str, Any]], Any]
) -> tuple[list[dict[str, Any]], int]:
    """Return the whole lines of a log, and how many bytes they take.

    Args:
        path: of a `JsonLog`.
        check: what fails on an entry that is not whole.

    Raises:
        DataError: a line before the last is damaged.
    """
    entries: list[dict[str, Any]] = []
    n_good, raw = 0, path.read_bytes().splitlines(keepends=True)
    for number, line in enumerate(raw, start=1):
        try:
            if not line.endswith(b"\n"):
                raise ValueError("cut short")
            entry = json.loads(line)
            check(entry)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            if number == len(raw):
                break
            raise DataError(
                f"Line {number} of {path} is damaged ({error}): remove it, or the file."
            ) from error
        entries.append(entry)
        n_good += len(line)
    return entries, n_good


def read_dialogues(path: Path) -> list[Dialogue]:
    """Read the dialogues of a log, without its last line if that is damaged.

    Raises:
        DataError: another line is damaged.
    """
    return [Dialogue.from_dict(entry) for entry in read_log(path, Dialogue.from_dict)[0]]


class Answers(ChatModel):
    """A chat model that is asked every question once; its answers, and its failures, are kept.

    So all ways to use an answer are measured on the same answer, and a measurement that was killed
    goes on where it was.

    Args:
        chat_model: answers; `score` is asked only of one that can.
        file: where answers are kept, see `JsonLog`; None: in memory alone.

    Attributes:
        name: of the chat model.
        usage: of all answers that were used here, those from the file included.

    Raises:
        DataError: the file holds answers of another model, or a line before its last is damaged.
    """

    def __init__(self, chat_model: Any, file: Path | None = None):
        self._chat_model, self.usage = chat_model, Usage()
        self.name: str = chat_model.name
        self._log = JsonLog(file, self.name, by="question")

    @property
    def seconds(self) -> float:
        """Time that all answers took that are kept."""
        return sum(entry["seconds"] for entry in self._log.entries.values())

    @property
    def n_asked(self) -> int:
        """Distinct questions so far."""
        return len(self._log.entries)

    @property
    def n_failed(self) -> int:
        """Questions without an answer."""
        return sum("error" in entry for entry in self._log.entries.values())

    def generate(self, messages: Sequence[Mapping[str, str]], **options: Any) -> Reply:
        """Answer as before, or ask the chat model.

        Raises:
            MessageError: the chat model fails, or failed, on this question.
        """

        def ask() -> dict[str, Any]:
            reply = self._chat_model.generate(messages, **options)
            tokens = {n: getattr(reply, n) for n in ("prompt_tokens", "completion_tokens")}
            return {"text": reply.text, **tokens}

        entry = self._entry([list(messages), options.get("schema")], ask)
        tokens = entry["prompt_tokens"], entry["completion_tokens"]
        return Reply(entry["text"], *tokens, entry["seconds"], self.name)

    def score(self, prompt: str | Sequence[Message], continuations: Sequence[str]) -> list[float]:
        """Log-likelihoods as before, or ask the chat model.

        Raises:
            MessageError: the chat model fails, or failed, on this question.
        """

        def ask() -> dict[str, Any]:
            before = self._chat_model.usage.prompt_tokens
            scores = [float(score) for score in self._chat_model.score(prompt, continuations)]
            n_read = self._chat_model.usage.prompt_tokens - before
            return {"scores": scores, "prompt_tokens": n_read, "completion_tokens": 0}

        return list(self._entry([prompt, list(continuations)], ask)["scores"])

    def _entry(self, question: list[Any], ask: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """The kept answer to a question, after asking it if it is new."""
        asked, begun = json.dumps(question, ensure_ascii=False), time.perf_counter()
        if asked not in self._log.entries:
            try:
                answer = ask()
            except Exception as error:  # a failure is a result, too
                answer = {"error": f"{type(error).__name__}: {error}"}
            seconds = round(time.perf_counter() - begun, 3)
            self._log.append([{"question": asked, **answer, "seconds": seconds}])
        entry = self._log.entries[asked]
        if "error" in entry:
            raise MessageError(entry["error"])
        self.usage.add(entry["prompt_tokens"], entry["completion_tokens"], entry["seconds"])
        return entry


def total(usage: Iterable[TokenUsage]) -> dict[Purpose, TokenUsage]:
    """Return the sum of each purpose that occurs, in the order of `PURPOSES`."""
    sums: dict[Purpose, TokenUsage] = {}
    for part in usage:
        sums[part.purpose] = sums.get(part.purpose, TokenUsage(part.purpose)) + part
    return {purpose: sums[purpose] for purpose in PURPOSES if purpose in sums}


def usage_table(dialogues: Sequence[Dialogue]) -> pl.DataFrame:
    """Return what some dialogues cost, system by system.

    Returns:
        One row a system and purpose, and one row "recommending" that adds up `RECOMMENDING`:
        system, purpose, turns and dialogues (how many), then prompt_tokens, completion_tokens and
        seconds, each as mean over turns (``..._a_turn``: what Table 6 prints) and over dialogues.
    """
    by_system: dict[str, list[Dialogue]] = {}
    for dialogue in dialogues:
        by_system.setdefault(dialogue.system, []).append(dialogue)
    rows = []
    for system, own in by_system.items():
        turns = [exchange for dialogue in own for exchange in dialogue.exchanges]
        sums = total(part for exchange in turns for part in exchange.usage)
        bills = [(purpose, [part]) for purpose, part in sums.items()]
        choosing = [part for purpose, part in sums.items() if purpose in RECOMMENDING]
        for purpose, parts in [*bills, ("recommending", choosing)]:
            row = {"system": system, "purpose": purpose, "turns": len(turns), "dialogues": len(own)}
            for name in ("prompt_tokens", "completion_tokens", "seconds"):
                amount = float(sum(getattr(part, name) for part in parts))
                row |= {
                    f"{name}_a_turn": amount / len(turns),
                    f"{name}_a_dialogue": amount / len(own),
                }
            rows.append(row)
    return pl.DataFrame(rows)
