"""A fitted model with real networks whose few weights are set by hand, over the films of `fakes`.

x is the sum of the vectors of a text's words and p(m | S, x) = softmax(2 (S + x)), so it is known
which word, and which film of the history, moves which of the four intents (one a genre).
"""

from types import SimpleNamespace

import polars as pl
import torch
from torch import Tensor, nn

from latentcrs_utils.config import EMConfig
from latentcrs_utils.em.model import LatentCRS
from latentcrs_utils.em.networks import GenerativeModel, InferenceModel
from latentcrs_utils.simulation.utterances import Utterances
from tests.conversation.fakes import GENRES, FakeBackbone, fake_dataset

WORDS = {"funny": (0, 1.0), "hilarious": (0, 2.0), "sad": (1, 1.0), "scary": (2, 1.5)}
TRAINING = ("a funny film", "a sad film", "something scary please", "a funny film")


class SummedWords:
    """x is the sum of the vectors of the known words; it counts its calls."""

    mean = torch.zeros(len(GENRES))
    embedder = SimpleNamespace(model="fake", name="FakeLM")

    def __init__(self):
        self.read: list[list[str]] = []
        frame = {"split": ["train"] * 4 + ["test"], "text": [*TRAINING, "a scary film"]}
        self.utterances = Utterances(pl.DataFrame(frame))
        self.x = self._sum(frame["text"])

    def encode(self, texts: list[str], progress: bool | None = None) -> Tensor:
        assert all(text.strip() for text in texts)
        self.read.append(list(texts))
        return self._sum(texts)

    def _sum(self, texts: list[str]) -> Tensor:
        rows = torch.zeros(len(texts), len(GENRES))
        for row, text in zip(rows, texts, strict=True):
            for word in text.lower().split():
                genre, size = WORDS.get(word.strip(".,!"), (0, 0.0))
                row[genre] += size
        return rows


class Sum(nn.Module):
    """Logits of the prior: 2 (S + x) for anchors on the axes."""

    def forward(self, S: Tensor, x: Tensor, anchors: Tensor) -> Tensor:
        return (S + x) @ anchors.T


class Words(nn.Module):
    """Of [S; x], x."""

    def forward(self, both: Tensor) -> Tensor:
        return both[:, len(GENRES) :]


def genres_of_items(n_items: int) -> Tensor:
    """[V + 1, 4]; film v has genre v mod 4, and a smaller id is a little more of it."""
    ids = torch.arange(n_items + 1)
    v = nn.functional.one_hot(ids % 4, len(GENRES)).float() * (1 - ids[:, None] / 100)
    v[0] = 0
    return v


def known_model(residual: bool = True) -> LatentCRS:
    """The model; its residual adds S . v / 2 and x . v to the score of film v."""
    data, n = fake_dataset(), len(GENRES)
    v = genres_of_items(data.n_items)
    generative = GenerativeModel(2 * torch.eye(n), v, v, n, residual=residual)
    generative.f = Sum()
    if generative.residual is not None:
        generative.residual.a.data.fill_(0.5)
        generative.residual.T = Words()
        generative.residual.U.weight.data.copy_(torch.eye(n))
    generative.eval().requires_grad_(False)
    names = tuple(f"{genre} lovers" for genre in GENRES)
    return LatentCRS(
        data,
        FakeBackbone(),
        SimpleNamespace(names=names),
        SummedWords(),
        EMConfig(residual=residual),
        generative,
        InferenceModel(n).eval(),
        [],
    )
