"""Whole dialogues and their log: JSON lines, one dialogue a line, whole or not there.

A killed run leaves whole lines and at most one damaged last line, which is cut off when the log is
opened again.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import polars as pl

from latentcrs_utils.constraints.constraint import Constraint
from latentcrs_utils.errors import DataError
from latentcrs_utils.support.progress import note


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
        return cls(**{**values, "exchanges": exchanges})


def success_by(dialogues: Sequence[Dialogue], k: int) -> np.ndarray:
    """S@k of each dialogue, [N]: 1 if the target was offered within k turns, else 0."""
    return np.array([float(d.success is not None and d.success <= k) for d in dialogues])


def turns_taken(dialogues: Sequence[Dialogue], n_turns: int = 5) -> np.ndarray:
    """AT of each dialogue, [N]: the turn of the success, or `n_turns` where there was none."""
    return np.array([float(d.success or n_turns) for d in dialogues])


def read_dialogues(path: Path) -> list[Dialogue]:
    """Read a log, without its last line if that is damaged.

    Raises:
        DataError: another line is damaged.
    """
    return [dialogue for _, dialogue in _read(path)[0]]


class DialogueLog:
    """The log of one run, opened to be gone on with; the folder is made if absent.

    Args:
        path: the file; what is there is read, and a damaged last line is cut off.
        run: names everything that the dialogues depend on; each line holds it.

    Attributes:
        path: the file.
        by_user: the dialogues that are whole, by user index.

    Raises:
        DataError: a line before the last is damaged, or the file belongs to another run.
    """

    def __init__(self, path: Path, run: str):
        self.path, self.run = path, run
        path.parent.mkdir(parents=True, exist_ok=True)
        lines, n_good = _read(path) if path.exists() else ([], 0)
        if any(name != run for name, _ in lines):
            raise DataError(
                f"{path} holds dialogues of another run (other model, users or setting): "
                "choose another folder, or remove the file to begin anew."
            )
        if path.exists() and path.stat().st_size > n_good:
            note(f"{path.name}: its last line is damaged and is done again.")
            os.truncate(path, n_good)
        self.by_user = {dialogue.user: dialogue for _, dialogue in lines}

    def append(self, dialogues: Iterable[Dialogue]) -> None:
        """Add the dialogues that are not there yet, all in one piece, and wait for the disk."""
        new = [dialogue for dialogue in dialogues if dialogue.user not in self.by_user]
        lines = (json.dumps({"run": self.run, **dialogue.to_dict()}) + "\n" for dialogue in new)
        with self.path.open("ab", buffering=0) as stream:
            stream.write("".join(lines).encode())
            os.fsync(stream.fileno())
        self.by_user |= {dialogue.user: dialogue for dialogue in new}


def _read(path: Path) -> tuple[list[tuple[str, Dialogue]], int]:
    """Return the whole lines of a log as (run, dialogue), and how many bytes they take."""
    lines, n_good = [], 0
    raw = path.read_bytes().splitlines(keepends=True)
    for number, line in enumerate(raw, start=1):
        try:
            if not line.endswith(b"\n"):
                raise ValueError("cut short")
            values = json.loads(line)
            lines.append((values.pop("run"), Dialogue.from_dict(values)))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            if number == len(raw):
                break
            raise DataError(
                f"Line {number} of {path} is damaged ({error}): remove it, or the file."
            ) from error
        n_good += len(line)
    return lines, n_good


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


def total(usage: Iterable[TokenUsage]) -> dict[Purpose, TokenUsage]:
    """Return the sum of each purpose that occurs, in the order of `PURPOSES`."""
    sums: dict[Purpose, TokenUsage] = {}
    for part in usage:
        sums[part.purpose] = sums.get(part.purpose, TokenUsage(part.purpose)) + part
    return {purpose: sums[purpose] for purpose in PURPOSES if purpose in sums}


def usage_table(dialogues: Sequence[Dialogue]) -> pl.DataFrame:
    """Return the bill of some dialogues, system by system.

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
