"""A model over forty films and four intents, one a genre, whose numbers are known by hand.

It has the real networks, few weights of which are set: S is the share of each genre in the history,
x the sum of the vectors of a text's words, and p(m | S, x) = softmax(2 (S + x)). Film v has genre
v mod 4, and within a genre the smaller id scores higher.
"""

import tomllib
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import polars as pl
import torch
from torch import Tensor, nn

from latentcrs_utils.config import EMConfig
from latentcrs_utils.conversation.session import Conversation
from latentcrs_utils.data.sequences import Dataset, Sequences
from latentcrs_utils.em.model import LatentCRS
from latentcrs_utils.em.networks import GenerativeModel, InferenceModel
from latentcrs_utils.language.chat_model import Reply
from latentcrs_utils.simulation.utterances import Utterances
from tests.made import made

MESSAGES = tomllib.loads((Path(__file__).parent / "messages.toml").read_text("utf-8"))
GENRES = ("Comedy", "Drama", "Horror", "Western")
INTENTS = tuple(f"{genre} lovers" for genre in GENRES)
N_ITEMS = 40
TITLES = {1: "The Quiet Harbour", 2: "Night of the Moth", 3: "Dust & Thunder", 4: "Heat"}
WORDS = {genre.lower(): (place, 2.0) for place, genre in enumerate(GENRES)} | {
    "funny": (0, 1.0), "hilarious": (0, 2.0), "sad": (1, 1.0), "scary": (2, 1.5),
}  # fmt: skip
TRAINING = ("a funny film", "a sad film", "something scary please", "a funny film")


def fake_dataset(n_items: int = N_ITEMS) -> Dataset:
    """Three users with the raw ids 7, 42 and 99; user 42 has six films, the last one kept aside."""
    ids = [*range(1, n_items + 1)]
    titles = [TITLES.get(i, f"Film Number {i}") for i in ids]
    years = [None if i == 5 else 1950 + i for i in ids]
    genres = [[] if i == 6 else [GENRES[i % 4]] for i in ids]
    rows = [9, 10, 11], [12, 16, 20, 24, 28, 32], [1, 2, 3, 4, 5, 6]
    data = made("ml-fake", rows, ["7", "42", "99"], title=titles, year=years, genres=genres)
    return replace(data, fingerprint=f"fingerprint of {n_items} films")


class FakeLanguage:
    """x is the sum of the vectors of the known words; `read` has what was embedded, in order."""

    mean = torch.zeros(len(GENRES))
    embedder = SimpleNamespace(language_model="smollm2", name="FakeLM")

    def __init__(self):
        self.read: list[str] = []
        frame = {"split": ["train"] * 4 + ["test"], "text": [*TRAINING, "a scary film"]}
        self.utterances = Utterances(pl.DataFrame(frame))
        self.x = summed(frame["text"])

    def encode(self, texts: list[str], progress: bool | None = None) -> Tensor:
        assert all(text.strip() for text in texts)
        self.read += texts
        return summed(texts)


def summed(texts: list[str]) -> Tensor:
    """The sum of the vectors of the known words of each text, [B, 4]."""
    rows = torch.zeros(len(texts), len(GENRES))
    for row, text in zip(rows, texts, strict=True):
        for word, (genre, size) in WORDS.items():
            row[genre] += size * text.lower().count(word)
    return rows


class FakeBackbone:
    """S is the share of each genre in the history."""

    def encode(self, sequences: Sequences) -> Tensor:
        rows = [np.bincount(row % 4, minlength=4) / max(len(row), 1) for row in sequences]
        return torch.tensor(np.array(rows), dtype=torch.float32)


class Sum(nn.Module):
    """Logits of the prior: 2 (S + x) for anchors on the axes."""

    def forward(self, S: Tensor, x: Tensor, anchors: Tensor) -> Tensor:
        return (S + x) @ anchors.T


class Words(nn.Module):
    """Of [S; x], x."""

    def forward(self, both: Tensor) -> Tensor:
        return both[:, len(GENRES) :]


def fake_model(n_items: int = N_ITEMS, *, residual: bool = True) -> LatentCRS:
    """The model; its residual adds S . v / 2 and x . v to the score of film v."""
    n, films = len(GENRES), torch.arange(n_items + 1)
    # [V + 1, 4]: a smaller id is a little more of its genre
    v = nn.functional.one_hot(films % 4, n).float() * (1 - films[:, None] / 100)
    v[0] = 0
    generative = GenerativeModel(2 * torch.eye(n), v, v, n, residual=residual)
    generative.f = Sum()
    if generative.residual is not None:
        generative.residual.a.data.fill_(0.5)
        generative.residual.T = Words()
        generative.residual.U.weight.data.copy_(torch.eye(n))
    generative.eval().requires_grad_(False)
    fitted = EMConfig(residual=residual), generative, InferenceModel(n).eval(), []
    counts = torch.arange(len(INTENTS) * (n_items + 1)).view(len(INTENTS), -1) % 7
    anchors = SimpleNamespace(names=INTENTS, item_counts=counts, sizes=counts.sum(1))
    return LatentCRS(fake_dataset(n_items), FakeBackbone(), anchors, FakeLanguage(), *fitted)


class FakeChatModel:
    """Speaks prepared replies, whatever the schema, in pieces of a few characters.

    With `counts` false, nobody reports its tokens.
    """

    name = "Scripted"
    counts = True
    score = None

    def __init__(self, *replies: str | Exception, before_piece=None):
        self.replies = list(replies)
        self.before_piece = before_piece or (lambda: None)
        self.asked: list[list[dict[str, str]]] = []
        self.schemas: list[dict | None] = []
        self.usage = SimpleNamespace(prompt_tokens=0)

    def generate(self, messages, *, max_new_tokens, schema=None, stream=None, stop=None):
        self.asked.append(messages)
        self.schemas.append(schema)
        reply = self.replies.pop(0)
        if isinstance(reply, Exception):
            raise reply
        said = ""
        for start in range(0, len(reply), 4):
            self.before_piece()
            if stop is not None and stop.is_set():
                break
            said += reply[start : start + 4]
            if stream is not None:
                stream(reply[start : start + 4])
        n_read, n_written = (50, len(said) // 4) if self.counts else (0, 0)
        return Reply(said, n_read, n_written, 0.0, self.name, counted=self.counts)


class FakeScorer(FakeChatModel):
    """log p(text) is minus the text's length; a context adds `nats` for each of `words` in it."""

    def __init__(self, *replies: str | Exception, words: tuple[str, ...] = (), nats: float = 10.0):
        super().__init__(*replies)
        self.words, self.nats = words, nats
        self.scored: list[tuple[str, list[str]]] = []

    def score(self, prompt, continuations):
        self.scored.append((prompt, list(continuations)))
        self.usage.prompt_tokens += 100
        if "What do you recommend?" in prompt:
            return [-float(len(text)) for text in continuations]
        gains = [sum(word in text for word in self.words) for text in continuations]
        return [self.nats * n - len(text) for n, text in zip(gains, continuations, strict=True)]


def chat(policy="B", chat_model=None, user=None, **more) -> Conversation:
    """A conversation in which a given chat model words the replies."""
    more = {"wording": "template" if chat_model is None else "model"} | more
    return Conversation(fake_model(), user, chat_model=chat_model, policy=policy, **more)


def ids(turn) -> list[int]:
    return [item.item for item in turn.items]
