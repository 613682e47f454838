"""Training dialogues with refusals: true, secretive, and nothing else changes."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Collection, Sequence

import numpy as np
import polars as pl
import pytest

from latentcrs_utils.config import SimulatorConfig
from latentcrs_utils.data.sequences import Dataset, Sequences
from latentcrs_utils.errors import ConfigError
from latentcrs_utils.simulation.items import Catalogue, holds
from latentcrs_utils.simulation.phrasings import POOLS, all_pools
from latentcrs_utils.simulation.planner import LEVELS, Level, TestCase
from latentcrs_utils.simulation.refusing import PULL, Offers, refusing_dialogue
from latentcrs_utils.simulation.utterances import simulate_utterances
from tests.simulation.shops import invented
from tests.simulation.test_simulator import bare_dataset, first_users

CONFIG = SimulatorConfig(n_cuts=3, n_reused_cuts=3)
BOOK = "replies", "place"
OWN = ("split", "user", "cut", "target", "level", "phrasing")


def with_refusals(data: Dataset, share: float) -> pl.DataFrame:
    config = dataclasses.replace(CONFIG, refusing_share=share)
    return simulate_utterances(data, config=config).frame


def own_rows(frame: pl.DataFrame, n: int) -> pl.DataFrame:
    """The rows whose sentences were simulated for their own film."""
    return frame.filter(split="train")[:n]


@pytest.fixture(scope="module", params=["films", "games", "albums"])
def world(request: pytest.FixtureRequest) -> Dataset:
    if request.param == "films":
        return first_users(request.getfixturevalue("data"), 150)
    return invented({"games": "amazon-video-games", "albums": "amazon-cds"}[request.param])


def test_only_dialogues_of_several_turns_change(world: Dataset) -> None:
    frames = {share: with_refusals(world, share) for share in (0.0, 0.5, 1.0)}
    held_out = [f.filter(pl.col("split") != "train").drop("instance") for f in frames.values()]
    assert held_out[0].equals(held_out[1]) and held_out[0].equals(held_out[2])
    none = dataclasses.replace(CONFIG, n_reused_cuts=0)
    n = simulate_utterances(world, config=none).frame.filter(split="train").height
    without, half, every = (own_rows(frame, n) for frame in frames.values())
    n_turns = without["turns"].list.len()
    for frame in (half, every):
        assert frame.select(OWN).equals(without.select(OWN))
        assert frame["turns"].list.len().equals(n_turns)
    several = n_turns > 1
    changed = without["text"] != every["text"]
    assert not (changed & ~several).any()
    assert (changed & several).sum() > 0.95 * several.sum()
    # what has refusals in half of them has the same ones in all of them
    some = without["text"] != half["text"]
    assert (half["text"] == every["text"]).filter(some).all()
    assert 0.3 < some.sum() / several.sum() < 0.7


def test_what_they_say_is_true_and_keeps_the_title(world: Dataset) -> None:
    frame, catalogue = with_refusals(world, 1.0).filter(split="train"), Catalogue(world)
    for row in frame.iter_rows(named=True):
        target = catalogue[row["target"]]
        assert not target.leaks_title(row["text"])
        assert row["text"] == " ".join(row["turns"])
        assert all(holds(c, target, catalogue.films) for c in row["conditions"]), row
        assert len(row["conditions"]) == len(set(row["conditions"]))
    # their words are those of the training pool, and sentences about one user's films stay theirs
    text = " ".join(frame["text"])
    assert not any(place in text for name in POOLS if name != "train" for place in places(name))
    pairs = frame.select("user", "cut").rows()
    assert len(pairs) == len(set(pairs))


def places(pool: str) -> list[str]:
    """How a pool refers to the items on offer."""
    return [w for path, entry in all_pools().items() if path[:2] == BOOK for w in entry[pool]]


def test_most_of_them_refuse_something(data: Dataset) -> None:
    small = first_users(data, 200)
    said = re.compile("|".join(map(re.escape, places("train"))), re.IGNORECASE)
    shares = {}
    for share in (0.0, 1.0):
        train = with_refusals(small, share).filter(split="train")
        several = train.filter(pl.col("turns").list.len() > 1)["text"]
        shares[share] = np.mean([bool(said.search(text)) for text in several])
    assert shares[0.0] == 0 and shares[1.0] > 0.5


class Watched(Offers):
    """Notes what was wanted, barred and drawn."""

    def __init__(self, data: Dataset, catalogue: Catalogue) -> None:
        super().__init__(data, catalogue)
        self.drawn: list[tuple[tuple[str, ...], set[int], list[int]]] = []

    def draw(
        self, rng: np.random.Generator, wanted: Sequence[str], barred: Collection[int], n: int = 5
    ) -> list[int]:
        items = super().draw(rng, wanted, barred, n)
        self.drawn.append((tuple(wanted), set(barred), items))
        return items


@pytest.mark.parametrize("level", LEVELS)
def test_offers_are_new_and_never_the_target(data: Dataset, level: Level) -> None:
    catalogue = Catalogue(data)
    for user in range(20):
        items = data.interactions[user]
        cut = len(items) - 3
        test_case = TestCase(catalogue, catalogue[int(items[cut])], items[:cut])
        offers = Watched(data, catalogue)
        speaker = refusing_dialogue(
            test_case, offers, 4, user=user, seed=0, level=level, phrasing="train", config=CONFIG
        )
        assert len(speaker.messages) == 4
        shown = [item for _, _, drawn in offers.drawn for item in drawn]
        assert len(shown) == len(set(shown)) == 20
        assert not set(shown) & {0, test_case.target.item, *test_case.history.tolist()}
        assert offers.drawn[-1][0] == speaker.standing


def test_offers_follow_popularity_in_training_and_the_wishes() -> None:
    # items 5 and 6 are nobody's training item; 3 is a comedy; 1 is three times as popular
    data = bare_dataset()
    rows = [[1, 1, 2, 1, 3, 4, 5, 6]]
    data = dataclasses.replace(data, interactions=Sequences.from_lists(rows))
    offers, rng = Offers(data, Catalogue(data)), np.random.default_rng(0)
    assert sorted(offers.draw(rng, (), {0})) == [1, 2, 3, 4]
    assert sorted(offers.draw(rng, (), {0, 1, 4})) == [2, 3]
    assert offers.draw(rng, (), range(7)) == []

    def first(*wanted: str) -> np.ndarray:
        drawn = [offers.draw(rng, wanted, {0}, 1)[0] for _ in range(4000)]
        return np.bincount(drawn, minlength=7) / 4000

    assert first() == pytest.approx([0, 3 / 6, 1 / 6, 1 / 6, 1 / 6, 0, 0], abs=0.03)
    total = 5 + PULL
    expected = [0, 3 / total, 1 / total, PULL / total, 1 / total, 0, 0]
    assert first("genre=Comedy") == pytest.approx(expected, abs=0.03)
    # an example stands for its genres
    assert first("like=3") == pytest.approx(expected, abs=0.03)


def test_who_speaks_by_example_lends_no_sentence(data: Dataset) -> None:
    train = with_refusals(first_users(data, 300), 1.0).filter(split="train")
    own = train.unique("text", keep="first", maintain_order=True)
    reused = train.join(own.select("instance"), on="instance", how="anti")
    assert len(reused) > 300 and set(reused["level"]) == {"plain", "paraphrased", "vague"}


def test_equal_seeds_give_equal_dialogues(data: Dataset) -> None:
    small = first_users(data, 30)
    assert with_refusals(small, 1.0).equals(with_refusals(small, 1.0))
    config = dataclasses.replace(CONFIG, refusing_share=1.0)
    other = simulate_utterances(small, seed=1, config=config).frame
    assert not set(with_refusals(small, 1.0).filter(pl.col("turns").list.len() > 2)["text"]) & set(
        other.filter(split="train")["text"]
    )


def test_the_share_is_checked() -> None:
    with pytest.raises(ConfigError, match=r"refusing_share=-0.1 is not in \[0, 1\]"):
        SimulatorConfig(refusing_share=-0.1)
