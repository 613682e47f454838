"""The table of simulated utterances."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from latentcrs_utils.data.sequences import Dataset, Sequences
from latentcrs_utils.errors import DataError


@dataclass(frozen=True, eq=False)
class Utterances:
    """What simulated users say, one row per utterance history x^u.

    Attributes:
        frame: instance (int, row number), split ("train", "valid", "test", "test_turns"),
            user, cut (the history is ``interactions[user][:cut]``), target (= the item at the
            cut), level, phrasing (pool: "train", "valid", "test"), turns (the messages), text
            (the messages joined by a space: x^u), conditions (what the text expresses).
    """

    frame: pl.DataFrame

    def __len__(self) -> int:
        return len(self.frame)

    @property
    def texts(self) -> list[str]:
        """x^u of every row."""
        return self.frame["text"].to_list()

    @property
    def targets(self) -> np.ndarray:
        """Target item of every row, int64 [N]."""
        return self.frame["target"].to_numpy().astype(np.int64)

    def histories(self, data: Dataset) -> Sequences:
        """Return the history S^u of every row: the items before the cut."""
        return data.interactions.prefixes(self.frame["user"], self.frame["cut"])

    def select(
        self,
        *,
        split: str | None = None,
        level: str | None = None,
        phrasing: str | None = None,
    ) -> Utterances:
        """Return the rows of one split, level and phrasing (None: any).

        Raises:
            DataError: there is no such split, level or phrasing; the message lists them.
        """
        frame = self.frame
        for column, wanted in (("split", split), ("level", level), ("phrasing", phrasing)):
            if wanted is None:
                continue
            known = sorted(self.frame[column].unique())
            if wanted not in known:
                raise DataError(f"There is no {column} {wanted!r}. Known: {', '.join(known)}.")
            frame = frame.filter(pl.col(column) == wanted)
        return Utterances(frame)

    def verbatim_overlap(self) -> pl.DataFrame:
        """Return, by split, level and phrasing, the share of texts that stand in training.

        Columns: split, level, phrasing, utterances, distinct, overlap (share in [0, 1]).
        """
        seen = set(self.frame.filter(pl.col("split") == "train")["text"])
        return (
            self.frame.filter(pl.col("split") != "train")
            .group_by("split", "level", "phrasing", maintain_order=True)
            .agg(
                pl.len().alias("utterances"),
                pl.col("text").n_unique().alias("distinct"),
                pl.col("text").is_in(list(seen)).mean().alias("overlap"),
            )
        )
