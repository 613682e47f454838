"""The exercises of notebook 04: a prompt, a batch, a mean, a bill and a learning curve."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from course.exercises.marking import mark
from latentcrs_utils.language.embedder import PROMPT


def prompt_of(answer: Callable[..., Any]) -> None:
    """Mark the prompt of a dialogue (Sections 3.1, 4.2.1): ``(messages, oldest first) -> text``."""

    def reference(messages: list[str]) -> str:
        return PROMPT.format(text=" ".join(messages))

    dialogue = ["something funny", "but not too silly, please"]
    cases = [(["a western"],), (dialogue,), (["like {that}, you know"],)]
    advice = "All messages, joined by a space; and every quote of the prompt matters."
    mark("Exercise 1", answer, reference, cases, advice=advice)


def last_token(answer: Callable[..., Any]) -> None:
    """Mark the column of each row's last real token: ``(mask [N, L] of 0 and 1) -> [N]``."""

    def reference(mask: Tensor) -> list[int]:
        return [max(column for column, real in enumerate(row) if real) for row in mask.tolist()]

    left = torch.tensor([[0, 0, 1, 1, 1], [1, 1, 1, 1, 1]])
    right = left.flip(1)
    cases = [(left,), (right,), (torch.cat([left, right, torch.eye(5, dtype=torch.long)]),)]
    advice = "Padding may stand on the left, on the right, or on both sides."
    mark("Exercise 2", answer, reference, cases, advice=advice)


def standardised(answer: Callable[..., Any]) -> None:
    """Mark the scaling by distinct training texts: ``(raw [N, d], texts, splits) -> [N, d]``."""

    def reference(raw: Tensor, texts: list[str], splits: list[str]) -> Tensor:
        rows = {text: row for row, text in enumerate(texts) if splits[row] == "train"}
        training = raw[list(rows.values())]
        return (raw - training.mean(dim=0)) / training.std(dim=0)

    noise = torch.Generator().manual_seed(0)
    distinct = torch.randn(5, 2, generator=noise) + 3
    texts = ["a comedy", "a comedy", "a comedy", "a drama", "a western", "aliens", "a rose"]
    raw = distinct[[0, 0, 0, 1, 2, 3, 4]]
    splits = ["train"] * 5 + ["valid", "test"]
    cases = [(raw[2:], texts[2:], splits[2:]), (raw, texts, splits)]
    # the test has a training text before it, and another one behind it
    row_of = [1, 0, 0, 1, 2, 3, 2, 4]
    texts = [["a comedy", "a drama", "a western", "aliens", "a rose"][row] for row in row_of]
    cases.append((distinct[row_of], texts, ["test", *["train"] * 5, "test", "valid"]))
    advice = "Mean and scale know neither validation nor test, and count no text twice."
    mark("Exercise 3", answer, reference, cases, advice=advice)


def token_bill(answer: Callable[..., Any]) -> None:
    """Mark how many tokens the language model still has to read.

    Args:
        answer: ``(texts, words, frame, cached) -> tokens``: the texts asked for, the tokens of each
            text without its prompt, the tokens of the prompt's frame, the texts in the cache.
    """

    def reference(texts: list[str], words: dict[str, int], frame: int, cached: set[str]) -> int:
        return sum(words[text] + frame for text in set(texts) - cached)

    words = {"a comedy": 2, "a drama": 2, "something to cry to": 5}
    texts = ["a comedy", "something to cry to", "a comedy", "a drama"]
    cases = [
        (texts[:2], words, 10, set()),
        (texts, words, 10, set()),
        (texts, words, 7, {"a drama"}),
    ]
    advice = "Equal texts get equal vectors, so each is read once or, from the cache, never."
    mark("Exercise 4", answer, reference, cases, advice=advice)


def doubling(answer: Callable[..., Any]) -> None:
    """Mark what a doubling is worth, by the best line: ``(phrases [n], quality [n]) -> growth``."""

    def reference(phrases: np.ndarray, quality: np.ndarray) -> float:
        return float(np.polyfit(np.log2(phrases), quality, 1)[0])

    phrases = np.array([100, 200, 400, 1600])
    straight, bent = np.array([0.2, 0.3, 0.4, 0.6]), np.array([0.2, 0.35, 0.4, 0.45])
    cases = [(phrases, straight), (phrases, bent), (phrases[::-1], bent)]
    advice = "A doubling is a step of one in log2, and the best line weighs all points."
    mark("Exercise 5", answer, reference, cases, advice=advice)
