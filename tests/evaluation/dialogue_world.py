"""A world of forty films and thirty users, with systems that are easy to foresee."""

import dataclasses
import itertools
import os
import signal
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch
from torch import Tensor

from latentcrs_utils.conversation.policies import Policy
from latentcrs_utils.data.sequences import Dataset
from latentcrs_utils.evaluation.dialogues import Dialogue, Exchange
from latentcrs_utils.evaluation.multi_turn import Setting, System, converse
from latentcrs_utils.evaluation.one_turn import EvalSet, Scorer
from tests.conversation.fakes import FakeBackbone, FakeLanguage, fake_dataset, fake_model
from tests.made import made

N_USERS, N_ITEMS, LENGTH = 30, 40, 12


def dataset() -> Dataset:
    """Thirty users with twelve films each; the last one is the target."""
    rng = np.random.default_rng(0)
    rows = [rng.permutation(N_ITEMS)[:LENGTH] + 1 for _ in range(N_USERS)]
    data = made("ml-fake", rows, title=range(N_ITEMS))
    return dataclasses.replace(data, items=fake_dataset(N_ITEMS).items)


class Language(FakeLanguage):
    """Counts genre names; a word is a token, and the prompt has seven."""

    fingerprint = "words"
    embedder = SimpleNamespace(
        name="FakeLM", token_ids=lambda text: [0] * 7 + [1] * len(text.split())
    )


class Backbone(FakeBackbone):
    """Scores an item by its genre's share of the history."""

    encoder = torch.nn.Linear(1, 1)

    def scores(self, S: Tensor) -> Tensor:
        scores = S[:, torch.arange(N_ITEMS + 1) % 4].clone()
        scores[:, 0] = -torch.inf
        return scores


def fitted_to(data: Dataset, language: object = None, model: object = None) -> SimpleNamespace:
    """What `fit_all` gives, without training."""
    model = model or fake_model(N_ITEMS)
    return SimpleNamespace(
        data=data, backbone=Backbone(), language=language or Language(), text_alone=model,
        fusion=model, latentcrs=model, latentcrs_plus=model,
    )  # fmt: skip


def system(scorer: Scorer, data: Dataset | None = None, *, reads: bool = False) -> System:
    """A scorer whose best items are offered (policy B)."""
    return System(scorer, Policy(data or dataset()), Backbone(), Language(), reads)


def listening_to(model) -> Scorer:
    return lambda cases: model.scores(cases.instances.S, cases.instances.x)


def reader() -> System:
    """A system that listens: genre names in the words, then the history."""
    return system(listening_to(fake_model(N_ITEMS)), reads=True)


def noise(seed: int, data: Dataset | None = None) -> System:
    """Scores that depend on the user and the turn alone."""

    def scorer(cases: EvalSet) -> Tensor:
        places = cases.frame.select("user", "turn").rows()
        rows = [np.random.default_rng([seed, *at]).normal(size=N_ITEMS + 1) for at in places]
        return torch.tensor(np.array(rows), dtype=torch.float32)

    return system(scorer, data)


def falling(cases: EvalSet) -> Tensor:
    """The smaller the id the better, one nat apart; the padding would be best."""
    return -torch.arange(N_ITEMS + 1.0).expand(len(cases), -1)


def oracle(data: Dataset, turn: int) -> System:
    """Offers the target in one turn and its worst enemies in all others."""

    def scorer(cases: EvalSet) -> Tensor:
        scores = np.zeros((len(cases), N_ITEMS + 1))
        targets = data.targets("test")[cases.frame["user"]]
        scores[np.arange(len(cases)), targets] = np.where(cases.frame["turn"] == turn, 1.0, -1.0)
        return torch.from_numpy(scores)

    return system(scorer, data)


def without_seconds(dialogues: list[Dialogue]) -> list[Dialogue]:
    """The same dialogues, times aside."""

    def timeless(exchange: Exchange) -> Exchange:
        usage = tuple(dataclasses.replace(part, seconds=0.0) for part in exchange.usage)
        return dataclasses.replace(exchange, usage=usage)

    return [dataclasses.replace(d, exchanges=tuple(map(timeless, d.exchanges))) for d in dialogues]


def run_until_killed(log: str, n: int) -> None:
    """A job for a process of its own: dialogues until the n-th question to the system."""
    calls = itertools.count(1)

    def deadly(cases: EvalSet) -> Tensor:
        if next(calls) == n:
            os.kill(os.getpid(), signal.SIGKILL)
        return noise(1).scorer(cases)

    converse(dataset(), "any", system(deadly), range(N_USERS), SMALL_BATCHES, log=Path(log))


SMALL_BATCHES = Setting(level="plain", batch_size=8)
