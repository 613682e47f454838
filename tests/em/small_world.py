"""A world so small that every stage runs in a second: 24 films of three genres, 40 users.

Every user says exactly the genre of the next film, so that whoever reads the words must win. And
models and instances of random numbers, for what needs no world.
"""

from types import SimpleNamespace

import numpy as np
import polars as pl
import torch

from latentcrs_utils.behavior.pretraining import Backbone, pretrain
from latentcrs_utils.config import BackboneConfig
from latentcrs_utils.data.sequences import Dataset, Sequences
from latentcrs_utils.em.instances import Instances
from latentcrs_utils.em.networks import GenerativeModel
from latentcrs_utils.intents import Anchors
from latentcrs_utils.simulation.utterances import Utterances
from tests.made import made

GENRES = ("Comedy", "Drama", "Horror")
N_ITEMS, N_USERS, LENGTH = 24, 40, 8
N_INTENTS, WIDTH, TEXT, N_RANDOM = 5, 4, 6, 7


def dataset() -> Dataset:
    """Users draw films without repetition, half of them of their favourite genre."""
    generator = np.random.default_rng(0)
    ids = np.arange(1, N_ITEMS + 1)
    rows = []
    for user in range(N_USERS):
        weight = np.where(ids % 3 == user % 3, 4.0, 1.0)
        rows.append(generator.choice(ids, LENGTH, replace=False, p=weight / weight.sum()))
    titles, genres = [f"Film {i}" for i in ids], [[GENRES[i % 3]] for i in ids]
    return made("small", rows, title=titles, year=1970 + ids, genres=genres)


class Language:
    """x is the one-hot genre that the text names; rows as `Utterances` has them."""

    fingerprint, mean = "small language", torch.zeros(len(GENRES))
    embedder = SimpleNamespace(name="one-hot")

    def __init__(self, data: Dataset):
        rows = []
        for user, sequence in enumerate(data.interactions):
            cuts = {"train": range(2, LENGTH - 2), "valid": [LENGTH - 2], "test": [LENGTH - 1]}
            for split, of_split in cuts.items():
                for cut in of_split:
                    target = int(sequence[cut])
                    rows.append((split, user, cut, target, [GENRES[target % 3]]))
            # even users say it once, odd users twice
            said = [GENRES[int(sequence[-1]) % 3]] * (1 + user % 2)
            rows.append(("test_turns", user, LENGTH - 1, int(sequence[-1]), said))
        columns = ("split", "user", "cut", "target", "turns")
        frame = pl.DataFrame(rows, schema=columns, orient="row")
        frame = frame.with_columns(
            level=pl.lit("plain"), phrasing=pl.lit("test"), text=pl.col("turns").list.first()
        )
        self.utterances = Utterances(frame)
        genres = torch.tensor([GENRES.index(text) for text in frame["text"]])
        self.x = torch.nn.functional.one_hot(genres, len(GENRES)).float()

    def of_encoder(self, number: int = 0) -> "Language":
        """There is one."""
        return self


def backbone(data: Dataset) -> Backbone:
    """Three epochs of a very small encoder."""
    config = BackboneConfig(hidden=8, n_layers=1, n_heads=1, max_length=LENGTH, n_epochs=3)
    return pretrain(data, config, progress=False)


def anchors(S: torch.Tensor) -> Anchors:
    """The first four histories stand for four intents."""
    names = tuple(f"taste {letter}" for letter in "abcd")
    assignments = torch.zeros(len(S), dtype=torch.int64)
    sizes = torch.bincount(assignments, minlength=4)
    item_counts = torch.zeros(4, N_ITEMS + 1, dtype=torch.int64)
    return Anchors(S[:4].clone(), sizes, names, assignments, item_counts, inertia=0.0)


def world() -> tuple[Dataset, Backbone, Anchors, Language]:
    """What `fit_em` takes."""
    data = dataset()
    encoder = backbone(data)
    return data, encoder, anchors(encoder.encode(data.histories("train"))), Language(data)


def random_model(form: str = "mixture", residual: bool = False, seed: int = 0) -> GenerativeModel:
    """A generative model in float64, without dropout, of random vectors."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        v = torch.randn(N_RANDOM + 1, WIDTH)
        v[0] = 0
        c = torch.cat([v, torch.randn(N_RANDOM + 1, 3)], dim=1)
        anchors = torch.randn(N_INTENTS, WIDTH)
        model = GenerativeModel(anchors, v, c, TEXT, form=form, residual=residual, text_hidden=8)
    return model.eval().double()


def random_instances(n: int = 9, seed: int = 1) -> Instances:
    """n instances in float64, with two items in each history."""
    noise = torch.Generator().manual_seed(seed)
    rows = [[1 + i % N_RANDOM, 1 + (i + 1) % N_RANDOM] for i in range(n)]
    targets = torch.tensor([1 + (i + 3) % N_RANDOM for i in range(n)])
    S, x = (torch.randn(n, width, generator=noise).double() for width in (WIDTH, TEXT))
    return Instances(S, x, targets, Sequences.from_lists(rows))
