"""What the words cost: tokens and seconds of every system, by purpose (Table 6).

Tokens are counted by the tokenizer of the language model that does the work. An embedding pass
reads its whole prompt and counts as one new token, as the paper counts it. Seconds are wall-clock
time, those of a batch shared equally among its dialogues; vectors that come from the cache cost
tokens (the bill is that of a cold cache) but hardly any seconds.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

import polars as pl

if TYPE_CHECKING:
    from latentcrs_utils.evaluation.dialogues import Dialogue

Purpose = Literal["embedding", "extraction", "re-ranking", "scoring", "wording", "user"]
PURPOSES: tuple[Purpose, ...] = get_args(Purpose)
RECOMMENDING: tuple[Purpose, ...] = ("embedding", "extraction", "re-ranking", "scoring")
"""What choosing the items takes; wording the reply and playing the user are no part of it."""


@dataclass(frozen=True)
class Spent:
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

    def __add__(self, other: Spent) -> Spent:
        """Add what was spent for the same purpose.

        Raises:
            ValueError: the purposes differ.
        """
        if self.purpose != other.purpose:
            raise ValueError(f"What {self.purpose} and {other.purpose} cost is kept apart.")
        return Spent(
            self.purpose,
            self.prompt_tokens + other.prompt_tokens,
            self.completion_tokens + other.completion_tokens,
            self.seconds + other.seconds,
        )


def total(spent: Iterable[Spent]) -> dict[Purpose, Spent]:
    """Return the sum of each purpose that occurs, in the order of `PURPOSES`."""
    sums: dict[Purpose, Spent] = {}
    for part in spent:
        sums[part.purpose] = sums.get(part.purpose, Spent(part.purpose)) + part
    return {purpose: sums[purpose] for purpose in PURPOSES if purpose in sums}


def ledger(dialogues: Sequence[Dialogue]) -> pl.DataFrame:
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
        sums = total(part for exchange in turns for part in exchange.spent)
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
