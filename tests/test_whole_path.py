"""From files to a conversation, on data sets that nobody tuned anything for.

Everything is real but the embedder, which hashes words instead of running a language model.
"""

import functools
import zlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from sklearn.metrics import adjusted_rand_score

import latentcrs_utils as lc
from latentcrs_utils import config
from latentcrs_utils.config import BackboneConfig, SyntheticConfig, preset
from latentcrs_utils.data.loading import prepare
from latentcrs_utils.data.sequences import Dataset
from latentcrs_utils.data.synthetic import synthetic_world
from latentcrs_utils.em.instances import instances_of, rows_of
from latentcrs_utils.errors import LatentCRSError

EXAMPLE = Path(__file__).resolve().parents[1] / "data" / "example"
# what the phrase book has no words for
OTHER_GENRES = {"Comedy": "Slice of Life", "Horror": "IMAX", "Western": "Épopée", "Drama": ""}


# everything in a preset that only makes it slow, made short
SHORT = {
    "backbone": {"hidden": 16, "n_layers": 1, "n_heads": 1, "max_length": 20, "n_epochs": 1},
    "anchors": {"n_cuts": 1, "n_init": 1, "max_iterations": 5},
    "simulator": {"n_cuts": 1, "n_reused_cuts": 1},
    "em_plus": {"n_epochs_q": 1, "n_epochs_generative": 1, "n_epochs_alternate": 1,
                "text_hidden": 16},
}  # fmt: skip


@functools.cache
def direction(word: str) -> torch.Tensor:
    return torch.randn(32, generator=torch.Generator().manual_seed(zlib.crc32(word.encode())))


class HashedWords:
    """Every word has a random direction; a text is the sum of its words."""

    name = identity = "hashed words"

    def embed(self, texts: Sequence[str], progress: bool | None = None) -> torch.Tensor:
        return torch.stack([sum(map(direction, text.lower().split())) for text in texts])


def talk(data: Dataset) -> str:
    """Go the whole way and say one thing; return the answer."""
    own = preset(data.name, data.n_users)
    short = {part: replace(getattr(own, part), **values) for part, values in SHORT.items()}
    options = replace(own, **short)
    backbone = lc.pretrain(data, options.backbone)
    anchors = lc.find_anchors(backbone, data, config=options.anchors)
    assert len(anchors.names) == options.anchors.K <= data.n_users
    utterances = lc.simulate_utterances(data, seed=0, config=options.simulator)
    assert min(map(len, utterances.texts)) > 5
    language = lc.embed(utterances, embedder=HashedWords())
    model = lc.fit_em(data, backbone, anchors, language, options.em_plus)
    chat = lc.Conversation(model, user=data.users["raw_user"][0], chat_model=None)
    return str(chat.say("something funny from the eighties"))


def names_a_title(data: Dataset) -> bool:
    answer = talk(data)
    return any(title in answer for title in data.titles[1:])


@pytest.fixture(autouse=True)
def own_cache(empty_cache: Path) -> None:
    """What is trained here is of no use to anybody."""


def test_ml_latest_small(provider_data: Path) -> None:
    assert talk(lc.load_dataset("ml-latest-small"))


def test_the_synthetic_world() -> None:
    assert names_a_title(lc.load_dataset("synthetic"))


def test_a_lesson_can_ask_whether_em_found_the_true_intents() -> None:
    world = synthetic_world(SyntheticConfig(n_users=300, n_items=120, n_intents=6, longest=40))
    data = prepare("synthetic", world.source, config.DataConfig())
    size = {"hidden": 32, "n_layers": 1, "n_heads": 1, "max_length": 20}
    backbone = lc.pretrain(data, BackboneConfig(**size, n_epochs=8, batch_size=64))
    anchors = lc.find_anchors(backbone, data, config=config.AnchorConfig(K=6))
    steps = world.intents_of_steps(data)
    last_of_training = steps[data.interactions.offsets[1:] - 3]
    assert adjusted_rand_score(last_of_training, anchors.assignments) > 0.25

    few = config.SimulatorConfig(n_cuts=2, n_reused_cuts=2)
    said = lc.simulate_utterances(data, config=few)
    language = lc.embed(said, embedder=HashedWords())
    epochs = {"n_epochs_q": 3, "n_epochs_generative": 8, "n_epochs_alternate": 6}
    em = config.EMConfig(learning_rate=3e-3, lambda_=0.1, text_hidden=32, **epochs)
    model = lc.fit_em(data, backbone, anchors, language, em)
    rows = rows_of(language, "test")
    instances = instances_of(data, backbone, language, rows)
    posterior = model.exact_posterior(instances.targets, instances.S, instances.x)
    asked = said.frame[rows]
    begin = data.interactions.offsets[:-1]
    truth = steps[begin[asked["user"].to_numpy()] + asked["cut"].to_numpy()]
    assert adjusted_rand_score(truth, posterior.argmax(1)) > 0.25
    by_chance = np.random.default_rng(0).permutation(truth)
    assert abs(adjusted_rand_score(by_chance, posterior.argmax(1))) < 0.05


def write_csv(folder: Path, **world: int) -> tuple[Path, Path]:
    """Write a world as somebody's own data: other genres, some items without genre or year."""
    source = synthetic_world(SyntheticConfig(**world)).source
    items = source.items.rename({"raw_item": "item"}).with_columns(
        genres=pl.col("genres").list.eval(pl.element().replace(OTHER_GENRES)).list.join("|"),
        year=pl.when(pl.col("year") % 10 == 0).then(None).otherwise(pl.col("year")),
    )
    items.write_csv(folder / "items.csv")
    source.ratings.write_csv(folder / "interactions.csv")
    return folder / "interactions.csv", folder / "items.csv"


def test_data_of_ones_own_with_genres_that_no_phrase_is_made_for(tmp_path: Path) -> None:
    files = write_csv(tmp_path, n_users=150, n_items=120, n_intents=8)
    data = lc.load_csv(*files, name="books")
    utterances = lc.simulate_utterances(data, seed=0)
    for genre in OTHER_GENRES.values():
        asks = pl.col("conditions").list.contains(f"genre={genre}")
        about = utterances.frame.filter(asks, level="plain")["text"]
        words = genre if genre.isupper() else genre.lower()
        assert not genre or (len(about) > 5 and about.str.contains(words, literal=True).all())
    assert "an IMAX" in " ".join(utterances.texts)
    assert names_a_title(data)


def test_items_without_any_genre_or_year(tmp_path: Path) -> None:
    files = write_csv(tmp_path, n_users=60, n_items=80, n_intents=4)
    pl.read_csv(files[1]).with_columns(genres=pl.lit(""), year=pl.lit("")).write_csv(files[1])
    assert talk(lc.load_csv(*files, name="bare"))


def test_the_tiny_example_gives_an_answer_or_one_clear_sentence() -> None:
    files = (EXAMPLE / "interactions.csv", EXAMPLE / "items.csv")
    with pytest.raises(LatentCRSError, match="lower min_rating or k_core"):
        lc.load_csv(*files)
    assert talk(lc.load_csv(*files, k_core=3))


@pytest.mark.parametrize(("n_users", "K"), [(1, 2), (6, 2), (100, 25), (943, 235), (90_000, 256)])
def test_the_preset_of_unknown_data_follows_the_number_of_users(n_users: int, K: int) -> None:
    assert preset("mine", n_users).anchors.K == K
    paper = preset("ml-1m", n_users)
    assert paper.anchors.K == 512
    assert (paper.em.alpha_E, paper.em.alpha_M) == (5, 5) and paper.em_plus.residual
