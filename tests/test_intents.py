"""Anchors: canonical order, names, assignments."""

import dataclasses
from itertools import permutations
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch

from latentcrs_utils.behavior.pretraining import Backbone
from latentcrs_utils.behavior.sasrec import SASRec
from latentcrs_utils.config import AnchorConfig, BackboneConfig
from latentcrs_utils.data.sequences import Dataset, Sequences
from latentcrs_utils.intents import (
    canonical_order,
    count_items,
    describe_anchor,
    find_anchors,
    k_means,
    lifts,
    name_anchors,
    name_holds,
    name_table,
    naming_moments,
    training_cuts,
    training_states,
)
from tests.made import made

CONFIG = AnchorConfig(K=3, n_cuts=0, n_init=2)
GENRES = ["Western", "Horror", "Comedy"]
DECADES = [1950, 1980, 1990]
SIZES = [5, 20, 10]


@pytest.fixture(scope="module")
def world() -> Dataset:
    """35 users of three tastes; each has 8 of the 12 items of its own genre and decade."""
    rng = np.random.default_rng(0)
    rows = [
        (rng.permutation(12)[:8] + 12 * taste + 1).tolist()
        for taste, size in enumerate(SIZES)
        for _ in range(size)
    ]
    tastes = [*enumerate(np.repeat(range(3), 12))]
    titles = [f"{GENRES[t]} tale {n % 12} (again)" for n, t in tastes]
    years = [None if n == 0 else DECADES[t] + 3 for n, t in tastes]
    genres = [[GENRES[t], "Drama"][: 1 + n % 2] for n, t in tastes]
    return made("world", rows, title=titles, year=years, genres=genres)


class MeanOfTaste(Backbone):
    """Represents a history by the mean of a vector per item: separable without training."""

    def encode(self, sequences: Sequences) -> torch.Tensor:
        vectors = np.zeros((37, 3), dtype=np.float32)
        vectors[np.arange(1, 37), np.repeat(range(3), 12)] = 1 + 0.01 * np.arange(36)
        return torch.from_numpy(np.stack([vectors[row].mean(0) for row in sequences]))


@pytest.fixture
def backbone(empty_cache: Path) -> Backbone:
    config = BackboneConfig(hidden=4, n_heads=1, n_layers=1)
    return MeanOfTaste(config, SASRec(36, config), [])


def test_anchors_find_tastes_and_names_come_from_items(world: Dataset, backbone: Backbone) -> None:
    anchors = find_anchors(backbone, world, config=CONFIG)
    assert anchors.K == 3
    assert anchors.sizes.tolist() == [20, 10, 5]
    assert anchors.assignments.tolist() == [2] * 5 + [0] * 20 + [1] * 10
    S = backbone.encode(world.histories("train"))
    for m in range(3):
        torch.testing.assert_close(anchors.centroids[m], S[anchors.assignments == m].mean(0))
    squared = (S - anchors.centroids[anchors.assignments]).square().sum().item()
    assert anchors.inertia == pytest.approx(squared, rel=1e-4)
    labels = [name.split(" · ")[0] for name in anchors.names]
    assert labels == ["Horror", "Comedy", "Western"]
    assert all(name.count("tale") == 2 and "(again)" not in name for name in anchors.names)
    # the seed does not matter where groups are clear
    other = find_anchors(backbone, world, config=CONFIG, seed=1)
    torch.testing.assert_close(anchors.centroids, other.centroids)
    assert torch.equal(anchors.assignments, other.assignments)
    assert anchors.names == other.names
    table = name_table(anchors)
    assert table["name"].to_list() == [*anchors.names]
    assert [name.startswith("mixed") for name in anchors.names] == (~table["holds"]).to_list()


def test_anchors_are_loaded_the_second_time(
    world: Dataset, backbone: Backbone, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = find_anchors(backbone, world, config=CONFIG)
    monkeypatch.setattr("latentcrs_utils.intents._cluster", None)
    loaded = find_anchors(backbone, world, config=CONFIG)
    for name, value in vars(made).items():
        same = torch.equal if isinstance(value, torch.Tensor) else type(value).__eq__
        assert same(value, getattr(loaded, name))
    with pytest.raises(TypeError):
        find_anchors(backbone, world, config=CONFIG, K=4)


def test_an_impossible_number_is_refused(world: Dataset, backbone: Backbone) -> None:
    for K in (1, 36):
        with pytest.raises(ValueError, match="among 35 users"):
            find_anchors(backbone, world, config=CONFIG, K=K)
    with pytest.raises(ValueError, match="among 400 points"):
        k_means(torch.zeros(400, 5), 401)


def test_canonical_order_ignores_the_labels() -> None:
    # Sizes 4, 2, 2, 1: two clusters tie and are told apart by their coordinates.
    assignments = torch.tensor([0, 0, 0, 0, 1, 1, 2, 2, 3])
    centroids = torch.tensor([[5.0, 1.0], [3.0, 3.0], [2.0, 9.0], [0.0, 0.0]])
    ordered, renumbered = canonical_order(centroids, assignments)
    assert ordered.tolist() == [[5.0, 1.0], [2.0, 9.0], [3.0, 3.0], [0.0, 0.0]]
    assert renumbered.tolist() == [0, 0, 0, 0, 2, 2, 1, 1, 3]
    for relabel in map(torch.tensor, permutations(range(4))):
        again = canonical_order(centroids[relabel.argsort()], relabel[assignments])
        assert all(map(torch.equal, again, (ordered, renumbered)))


def test_states_are_the_training_parts_and_earlier_moments_of_them(data: Dataset) -> None:
    users, cuts = training_cuts(data, 2, seed=0)
    states, lengths = training_states(data, 2, seed=0), data.histories("train").lengths
    U = data.n_users
    assert len(states) > 3 * U
    assert users[:U].tolist() == list(range(U))
    assert (cuts[:U] == lengths).all() and (cuts[U:] < lengths[users[U:]]).all()
    assert (states.lengths == cuts).all() and cuts.min() >= 1
    for number in range(0, len(states), 97):
        whole = data.interactions[int(users[number])]
        assert np.array_equal(states[number], whole[: cuts[number]])
    assert len(training_states(data, 0, seed=0)) == U


def test_k_means_is_at_a_fixed_point_in_canonical_order() -> None:
    noise = torch.Generator().manual_seed(0)
    S = torch.randn(400, 5, generator=noise)
    centroids, assignments, inertia = k_means(S, 7, seed=3)
    assert torch.equal(torch.cdist(S, centroids).argmin(1), assignments)
    for m in range(7):
        torch.testing.assert_close(centroids[m], S[assignments == m].mean(0))
    assert inertia == pytest.approx((S - centroids[assignments]).square().sum().item(), rel=1e-5)
    sizes = torch.bincount(assignments)
    assert (sizes[:-1] >= sizes[1:]).all()
    # more starts can only lower the inertia
    assert k_means(S, 7, n_init=5, seed=3)[2] <= inertia


def test_counts_and_lift_by_hand() -> None:
    histories = Sequences.from_lists([[1, 2, 2], [2], [3], []])
    counts = count_items(histories, torch.tensor([0, 0, 1, 1]), 2, 3)
    assert counts.tolist() == [[0, 1, 2, 0], [0, 0, 0, 1]]
    share, lift = lifts(np.array([[8, 0], [1, 0]]), np.array([10, 20]))
    # Overall share 9 / 30 = 0.3; ten pseudo-cases draw each cluster to it.
    assert share[:, 0].tolist() == pytest.approx([(8 + 3) / 20, (1 + 3) / 30])
    assert lift[:, 0].tolist() == pytest.approx([0.55 / 0.3, 4 / 9])
    assert lift[:, 1].tolist() == [1.0, 1.0]


def test_description_lists_what_the_users_have(world: Dataset, backbone: Backbone) -> None:
    table = describe_anchor(find_anchors(backbone, world, config=CONFIG), world, 2, n=4)
    assert table.columns == ["item", "title", "year", "genres", "share", "lift"]
    assert [genres[0] for genres in table["genres"]] == ["Western"] * 4
    assert (table["lift"] > 1).all()
    # The first five users are the Westerns' own; each training part has six of the twelve.
    western = world.histories("train").flat[:30].tolist()
    held = np.array([western.count(item) for item in table["item"]])
    overall = held / world.n_users
    assert table["share"].to_list() == pytest.approx(((held + 10 * overall) / 15).tolist())


@pytest.mark.parametrize("K", [16, 64, 256])
def test_names_on_real_films_are_different_and_never_an_index(data: Dataset, K: int) -> None:
    assignments = torch.from_numpy(np.random.default_rng(K).permutation(data.n_users) % K)
    counts = count_items(data.histories("train"), assignments, K, data.n_items)
    users, cuts = naming_moments(data, 0)
    sizes = torch.bincount(assignments)
    names, _ = name_anchors(data, counts, sizes, users, cuts, assignments[users])
    assert len(set(names)) == K
    assert all(len(name.split(" · ")[0]) <= 40 for name in names if " · " in name)
    assert all(len(name) <= 100 for name in names)
    beginnings = {title.split(" (")[0].split(": ")[0][:12] for title in data.titles[1:]}
    for name in names:
        titles = name.split(" · ")[-1]
        assert any(titles.startswith(beginning) for beginning in beginnings), name


def test_states_along_the_way_count_and_no_validation_or_test_item_is_read(
    world: Dataset, backbone: Backbone
) -> None:
    flat = world.interactions.flat.copy()
    ends = world.interactions.offsets[1:]
    flat[ends - 1] = flat[ends - 2] = 1
    interactions = Sequences(world.interactions.offsets, flat)
    changed = dataclasses.replace(world, interactions=interactions, fingerprint="changed")
    config = AnchorConfig(K=3, n_cuts=2, n_init=2)
    one, other = (find_anchors(backbone, d, config=config) for d in (world, changed))
    assert one.sizes.sum() == len(training_states(world, 2, seed=0))
    nearest = torch.cdist(backbone.encode(world.histories("train")), one.centroids).argmin(1)
    assert torch.equal(one.assignments, nearest)
    assert one.names == other.names
    assert torch.equal(one.centroids, other.centroids)


def test_names_stay_different_where_users_hardly_differ(world: Dataset) -> None:
    assignments = torch.arange(35) % 7
    counts = count_items(world.histories("train"), assignments, 7, world.n_items)
    users, cuts = naming_moments(world, 0)
    for data in (world, dataclasses.replace(world, items=world.items.with_columns(
        pl.lit(None, pl.Int32).alias("year"), genres=pl.lit([], pl.List(pl.String))
    ))):  # fmt: skip
        same = counts.sum(0, keepdim=True).expand(7, -1)
        names, _ = name_anchors(data, same, torch.full((7,), 35), users, cuts, assignments[users])
        assert len(set(names)) == 7
        assert ("mixed" in names[0]) == (data is world)


@pytest.fixture(scope="module")
def planted() -> Dataset:
    """60 users: a third choose horror, a third romance, a third both; most films are dramas."""
    rng = np.random.default_rng(1)
    genres = ["Horror"] * 50 + ["Romance"] * 50
    first, last = np.array([[1, 101], [1, 51], [51, 101]])[np.arange(60) // 2 % 3].T
    rows = rng.integers(first[:, None], last[:, None], (60, 30)).tolist()
    titles = [f"{genre} {n}" for n, genre in enumerate(genres)]
    both = [[genre, "Drama"][: 1 + (n % 5 > 0)] for n, genre in enumerate(genres)]
    return made("planted", rows, title=titles, year=[None] * 100, genres=both)


def names_of(data: Dataset) -> tuple[tuple[str, ...], tuple[tuple[float, float, int], ...]]:
    users, cuts = naming_moments(data, 0)
    cluster = torch.arange(60) // 2 % 3
    counts = count_items(data.histories("train"), cluster, 3, data.n_items)
    sizes = torch.bincount(cluster)
    return name_anchors(data, counts, sizes, users, cuts, cluster[users])


def test_a_name_is_true_of_next_films_of_users_who_did_not_choose_it(planted: Dataset) -> None:
    names, checks = names_of(planted)
    assert names[1].startswith("Horror · Horror")
    assert checks[1][0] == 1.0 and checks[1][1] == pytest.approx(2, rel=0.1)
    assert names[2].startswith("Romance · Romance")
    # Four of five next films are dramas here as everywhere, which is no name.
    assert names[0].startswith("mixed")
    # If the users who check have other films, the description stays and fails.
    flat = planted.interactions.flat.copy()
    rows = planted.interactions.rows()
    flat[(rows % 2 == 1) & (rows // 2 % 3 == 1)] = 60
    changed = dataclasses.replace(
        planted, interactions=Sequences(planted.interactions.offsets, flat)
    )
    names, checks = names_of(changed)
    assert names[1].startswith("mixed: Horror · ") and checks[1][0] == 0.0


def test_what_holds() -> None:
    assert name_holds(0.6, 1.5, 10)
    assert not any([name_holds(0.59, 9, 99), name_holds(0.99, 1.4, 99), name_holds(1, 3, 9)])
