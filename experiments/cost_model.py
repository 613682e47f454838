"""What a stage costs at another size: laws fitted to measurements, and predictions from them.

`python -m benchmarks.cost_model` measures small generated data, fits the laws and writes them to
``results/cost_model.json``; each law names its error on a point that it was not fitted to. A
prediction holds for the machine and the number of threads of that record, and for sizes that are
not orders of magnitude beyond those measured.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from latentcrs_utils.errors import ConfigError

RECORD = Path(__file__).resolve().parents[1] / "results" / "cost_model.json"


@dataclass(frozen=True)
class Case:
    """The sizes that a cost depends on; K is the number of intents."""

    n_users: int
    n_items: int
    K: int = 256
    actions: int | None = None  # interactions in all; None, 95 a user, as on MovieLens-1M
    instances: int | None = None  # of the EM; None, six a user, as in the paper's code
    texts: int | None = None  # distinct sentences to embed; None, as many as instances

    def sizes(self) -> dict[str, float]:
        """Every size by the name that the laws use: of the whole, with which time grows, and of a
        batch, with which memory grows: 128 windows of 50 positions, 480 instances, 32 texts.
        """
        actions = 95 * self.n_users if self.actions is None else self.actions
        instances = 6 * self.n_users if self.instances is None else self.instances
        texts = instances if self.texts is None else self.texts
        whole = {"1": 1.0, "users": self.n_users, "items": self.n_items, "K": self.K}
        whole |= {"actions": actions, "instances": instances, "texts": texts}
        batch = {"positions": (actions, 6400), "instances": (instances, 480), "texts": (texts, 32)}
        return whole | {f"batch {name}": min(sizes) for name, sizes in batch.items()}


class Cost(NamedTuple):
    """A prediction: wall-clock seconds, and bytes of memory of each process at its peak."""

    seconds: float
    bytes: float


def terms_of(case: Case, names: Sequence[str]) -> np.ndarray:
    """The terms of a law for a case, such as ``"actions*items"``, [len(names)] float64."""
    sizes = case.sizes()
    return np.array([prod(sizes[part] for part in name.split("*")) for name in names])


def fit_law(cases: Sequence[Case], values: Sequence[float], names: Sequence[str]) -> list[float]:
    """Fit value = sum of coefficient * term, coefficients >= 0, by least *relative* squares."""
    from scipy.optimize import nnls

    table = np.stack([terms_of(case, names) for case in cases]) / np.asarray(values)[:, None]
    # columns of like size, since terms differ by many orders of magnitude
    scale = table.max(0)
    coefficients, _ = nnls(table / scale, np.ones(len(values)))
    return [float(value) for value in coefficients / scale]


@dataclass(frozen=True)
class CostModel:
    """The laws of one record: stage -> `seconds` and `bytes` (each `terms` and `coefficients`),
    what one call is (`note`), and `efficiency`: what a further process adds, in processes; null for
    a stage that runs in one.
    """

    laws: Mapping[str, Mapping[str, Any]]

    @classmethod
    def read(cls, path: Path = RECORD) -> CostModel:
        """Read a record; ConfigError: there is none."""
        if not path.exists():
            raise ConfigError(f"No {path.name}: `python -m benchmarks.cost_model` makes it.")
        return cls(json.loads(path.read_text(encoding="utf-8"))["laws"])

    def predict(self, stage: str, case: Case, n_processes: int = 1) -> Cost:
        """Predict what one call of a stage costs; processes share the time, not the memory.
        ConfigError: there is no such stage, or it does not run in several processes.
        """
        if stage not in self.laws:
            raise ConfigError(f"There is no law for {stage!r}; there are: {', '.join(self.laws)}.")
        law, efficiency = self.laws[stage], self.laws[stage]["efficiency"]
        if n_processes < 1 or (n_processes > 1 and efficiency is None):
            raise ConfigError(
                f"n_processes={n_processes}: {stage!r} was measured in one process only; use 1."
            )
        speed = 1.0 if n_processes == 1 else 1 + (n_processes - 1) * efficiency
        seconds, memory = (
            float(terms_of(case, law[what]["terms"]) @ np.array(law[what]["coefficients"]))
            for what in ("seconds", "bytes")
        )
        return Cost(seconds / speed, memory)
