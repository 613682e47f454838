"""What a language model answered in a measurement, kept so that no question is asked twice."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from latentcrs_utils.errors import DataError, MessageError
from latentcrs_utils.language.chat_model import Reply, Usage
from latentcrs_utils.support.progress import note


class Answers:
    """A talker that is asked every question once; its answers, and its failures, are kept.

    So all ways to use an answer are measured on the same answer, and a measurement that was killed
    goes on where it was.

    Args:
        talker: answers; `score` is asked only of one that can.
        file: where answers are kept, a JSON object a line; None: in memory alone.

    Attributes:
        name: of the talker.
        usage: the bill of all answers that were used here, those from the file included.
        seconds: spent on all answers that are kept.
        n_asked, n_failed: distinct questions so far, and those that the talker failed on.

    Raises:
        DataError: the file holds answers of another model, or a line before its last is damaged.
    """

    def __init__(self, talker: Any, file: Path | None = None):
        self._talker, self._file = talker, file
        self.name: str = talker.name
        self.usage = Usage()
        self._known = _read(file, self.name) if file is not None and file.exists() else {}

    @property
    def seconds(self) -> float:
        """Time that the answers took."""
        return sum(entry["seconds"] for entry in self._known.values())

    @property
    def n_asked(self) -> int:
        """Distinct questions so far."""
        return len(self._known)

    @property
    def n_failed(self) -> int:
        """Questions without an answer."""
        return sum("error" in entry for entry in self._known.values())

    def generate(self, messages: Sequence[Mapping[str, str]], **options: Any) -> Reply:
        """Answer as before, or ask the talker.

        Raises:
            MessageError: the talker fails, or failed, on this question.
        """

        def ask() -> dict[str, Any]:
            reply = self._talker.generate(messages, **options)
            return {
                "text": reply.text,
                "prompt_tokens": reply.prompt_tokens,
                "completion_tokens": reply.completion_tokens,
            }

        entry = self._entry([list(messages), options.get("schema")], ask)
        tokens = entry["prompt_tokens"], entry["completion_tokens"]
        return Reply(entry["text"], *tokens, entry["seconds"], self.name)

    def score(self, prompt: str, continuations: Sequence[str]) -> list[float]:
        """Log-likelihoods as before, or ask the talker; see `Scorer`.

        Raises:
            MessageError: the talker fails, or failed, on this question.
        """

        def ask() -> dict[str, Any]:
            before = self._talker.usage.prompt_tokens
            scores = [float(score) for score in self._talker.score(prompt, continuations)]
            n_read = self._talker.usage.prompt_tokens - before
            return {"scores": scores, "prompt_tokens": n_read, "completion_tokens": 0}

        return list(self._entry([prompt, list(continuations)], ask)["scores"])

    def _entry(self, question: list[Any], ask: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """The kept answer to a question, after asking it if it is new."""
        asked = json.dumps(question, ensure_ascii=False)
        entry = self._known.get(asked) or self._ask(asked, ask)
        if "error" in entry:
            raise MessageError(entry["error"])
        self.usage.add(entry["prompt_tokens"], entry["completion_tokens"], entry["seconds"])
        return entry

    def _ask(self, question: str, ask: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        started = time.perf_counter()
        entry: dict[str, Any] = {"model": self.name, "question": question}
        try:
            entry |= ask()
        except Exception as error:  # a failure is a result, too
            entry["error"] = f"{type(error).__name__}: {error}"
        entry["seconds"] = round(time.perf_counter() - started, 3)
        self._known[question] = entry
        if self._file is not None:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            with self._file.open("ab", buffering=0) as file:
                file.write((json.dumps(entry, ensure_ascii=False) + "\n").encode())
        return entry


def _read(file: Path, model: str) -> dict[str, dict[str, Any]]:
    """The answers of a file by question; a last line that a kill cut short is cut off."""
    known: dict[str, dict[str, Any]] = {}
    lines = file.read_bytes().splitlines(keepends=True)
    n_good = 0
    for number, line in enumerate(lines, start=1):
        try:
            if not line.endswith(b"\n"):
                raise ValueError("cut short")
            entry = json.loads(line)
            known[entry["question"]] = entry
            found = entry["model"]
        except (ValueError, KeyError, TypeError) as error:
            if number < len(lines):
                raise DataError(
                    f"Line {number} of {file} is damaged ({error}): remove it, or the file."
                ) from error
            note(f"{file.name}: its last line is damaged and is asked again.")
            os.truncate(file, n_good)
            break
        if found != model:
            raise DataError(f"{file} holds answers of {found}, not {model}: choose another file.")
        n_good += len(line)
    return known
