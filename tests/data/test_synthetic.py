"""The generated world: its truth, and whether that truth can be found again."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.sparse import csr_matrix
from sklearn.cluster import KMeans
from sklearn.metrics import adjusted_rand_score

import latentcrs_utils as lc
from latentcrs_utils.config import DataConfig, SyntheticConfig
from latentcrs_utils.constraints.lexicon import lexicon_of
from latentcrs_utils.data.loading import prepare
from latentcrs_utils.data.sequences import Dataset
from latentcrs_utils.data.synthetic import TASTES, SyntheticWorld, synthetic_world
from latentcrs_utils.errors import ConfigError, DataError

SMALL = SyntheticConfig(n_users=200, n_items=90, n_intents=6, longest=40)


@pytest.fixture(scope="module")
def world() -> SyntheticWorld:
    return synthetic_world()


@pytest.fixture(scope="module")
def made(world: SyntheticWorld) -> Dataset:
    return prepare("synthetic", world.source, DataConfig())


def small(seed: int = 0, **changes: float) -> tuple[SyntheticWorld, Dataset]:
    world = synthetic_world(replace(SMALL, **changes), seed)
    return world, prepare("synthetic", world.source, DataConfig())


def seen(data: Dataset) -> csr_matrix:
    """1 where a user has an item, [U, V]."""
    ones = np.ones(len(data.interactions.flat))
    places = (data.interactions.rows(), data.interactions.flat - 1)
    return csr_matrix((ones, places), shape=(data.n_users, data.n_items))


def item_vectors(data: Dataset, width: int) -> np.ndarray:
    """Directions of the items' co-occurrence within users, float [V, width]."""
    together = (seen(data).T @ seen(data)).toarray()
    np.fill_diagonal(together, 0)
    degree = np.maximum(together.sum(0), 1)
    left, values, _ = np.linalg.svd(together / np.sqrt(np.outer(degree, degree)))
    vectors = left[:, :width] * values[:width]
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9)


def test_it_loads_like_any_other(world: SyntheticWorld, made: Dataset) -> None:
    assert lc.load_dataset("synthetic").fingerprint == made.fingerprint
    assert (made.n_users, made.n_items) == (world.config.n_users, world.config.n_items)
    assert made.interactions.lengths.min() >= 5
    # equal arguments give equal worlds
    worlds = small(), small(), small(seed=1), small(noise=0.0)
    first, again, *others = (data.fingerprint for _, data in worlds)
    assert first == again and first not in others


def test_items_look_like_films(made: Dataset) -> None:
    titles = made.items["title"].to_list()
    assert len(set(titles)) == len(titles)
    assert made.items["year"].is_between(1930, 1998).all()
    # no two tastes alike, every taste of the real vocabulary
    assert len(set(map(str, TASTES))) == len(TASTES)
    real = {genre for genres, _, _ in TASTES for genre in genres}
    assert set(made.items["genres"].explode()) <= real == set(lexicon_of("films").genres)


def test_an_item_has_the_genres_and_the_time_of_its_intent(world, made) -> None:
    intents = world.intents_of_items(made)
    assert intents[0] == -1
    assert np.bincount(intents[1:], minlength=world.config.n_intents).min() > 0
    extra = []
    for intent, item in zip(intents[1:], made.items.to_dicts(), strict=True):
        own, first, last = TASTES[intent]
        assert set(own) <= set(item["genres"]) and first <= item["year"] <= last
        extra.append(len(item["genres"]) - len(own))
    assert np.mean(extra) == pytest.approx(world.config.genre_noise, abs=0.06)


def test_noise_is_the_share_of_steps_that_ignore_the_intent(world, made) -> None:
    # a random item is of the current intent once in K times
    expected = world.config.noise * (1 - 1 / world.config.n_intents)
    quiet = small(noise=0.0, n_items=400, disliked=0.0)
    for truth, data, share in ((world, made, pytest.approx(expected, abs=0.03)), (*quiet, 0)):
        of_items = truth.intents_of_items(data)[data.interactions.flat]
        assert np.mean(of_items != truth.intents_of_steps(data)) == share


def test_users_stay_with_an_intent_and_have_a_home(world: SyntheticWorld, made: Dataset) -> None:
    steps = world.intents_of_steps(made)
    within = np.diff(made.interactions.rows()) == 0
    stays = np.mean(np.diff(steps)[within] == 0)
    assert world.config.stay - 0.03 < stays < 1
    assert np.mean(homes(steps, made)[made.interactions.rows()] == steps) > 0.5


def homes(steps: np.ndarray, made: Dataset) -> np.ndarray:
    """The intent that each user had most often, [U]."""
    own = np.split(steps, made.interactions.offsets[1:-1])
    return np.array([np.bincount(part).argmax() for part in own])


def test_disliked_items_are_no_positives(world: SyntheticWorld) -> None:
    ratings = world.source.ratings
    low = ratings["rating"] < 4
    assert low.mean() == pytest.approx(world.config.disliked, abs=0.02)
    assert len(world.steps) == len(ratings) - low.sum()
    assert not ratings.select("user", "item").is_duplicated().any()


def test_k_means_finds_the_intents_in_co_occurrence(world: SyntheticWorld, made: Dataset) -> None:
    K = world.config.n_intents
    vectors = item_vectors(made, K)
    found = KMeans(K, n_init=10, random_state=0).fit_predict(vectors)
    truth = world.intents_of_items(made)[1:]
    assert adjusted_rand_score(truth, found) > 0.8
    shuffled = np.random.default_rng(0).permutation(truth)
    assert abs(adjusted_rand_score(shuffled, found)) < 0.05

    mixed = seen(made) @ vectors
    mixed /= np.linalg.norm(mixed, axis=1, keepdims=True)
    found = KMeans(K, n_init=10, random_state=0).fit_predict(mixed)
    assert adjusted_rand_score(homes(world.intents_of_steps(made), made), found) > 0.6


def test_where_everything_is_noise_nothing_is_found() -> None:
    world, data = small(noise=1.0)
    found = KMeans(6, n_init=10, random_state=0).fit_predict(item_vectors(data, 6))
    assert adjusted_rand_score(world.intents_of_items(data)[1:], found) < 0.1


def test_the_truth_fits_its_world_only_and_has_names(world: SyntheticWorld, made: Dataset) -> None:
    with pytest.raises(DataError, match="synthetic was not made of this synthetic world"):
        synthetic_world(seed=1).intents_of_steps(made)
    assert len(set(world.names)) == world.config.n_intents
    assert world.names[2] == "Sci-Fi and Action, 1982-1998"


def test_senseless_worlds_are_refused() -> None:
    for change, message in (
        ({"n_intents": 40}, "tastes to tell apart"),
        ({"n_intents": 1}, "at least 2"),
        ({"longest": 1000}, "longest <= n_items"),
        ({"n_items": 5000}, "at most 2000"),
    ):
        with pytest.raises(ConfigError, match=message):
            synthetic_world(SyntheticConfig(**change))
