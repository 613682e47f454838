"""Intent anchors: k-means in the space of behavior, in a canonical order, named from items."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from latentcrs_utils.config import AnchorConfig, preset
from latentcrs_utils.data.preprocess import random_cuts
from latentcrs_utils.errors import ConfigError
from latentcrs_utils.support.artifacts import fingerprint, train_or_load

if TYPE_CHECKING:
    import polars as pl

    from latentcrs_utils.behavior.pretraining import Backbone
    from latentcrs_utils.data.sequences import Dataset, Sequences

# Pseudo-counts that draw a small cluster's shares to those of everybody.
_SHRINKAGE = 10.0
_MIN_LIFT = 1.2
_N_TITLES = 2
# How much a title counts for a name if it does not fit the name's genre and decade.
_MISFIT = 0.4
_NARROWER = 1.1


@dataclass(frozen=True)
class Anchors:
    """K intents m_1..m_K, each a point in the space of user representations.

    A *state* is the representation S of a user at some time of the training part.

    Attributes:
        centroids: [K, hidden] float32, largest cluster first (ties by coordinates).
        sizes: [K] int64, states nearest to each centroid.
        names: K different ones, made of what such users had just chosen unusually often.
        assignments: [U] int64, the anchor of each user's whole training history.
        item_counts: [K, V+1] int64, states of each cluster with an item among the last few.
        inertia: sum of squared distances of the states to their centroids.
    """

    centroids: Tensor = field(repr=False)
    sizes: Tensor = field(repr=False)
    names: tuple[str, ...]
    assignments: Tensor = field(repr=False)
    item_counts: Tensor = field(repr=False)
    inertia: float

    @property
    def K(self) -> int:  # noqa: N802 - the paper's symbol
        """Number of intents."""
        return len(self.centroids)


def find_anchors(
    backbone: Backbone,
    data: Dataset,
    *,
    K: int | None = None,
    config: AnchorConfig | None = None,
    seed: int = 0,
    reuse: bool = True,
) -> Anchors:
    """Cluster the representations S of users along their training histories (Equation 3).

    Validation and test items are not read.

    Args:
        backbone, data: the pretrained encoder, and what it was trained on.
        K: number of intents; None takes the one of `config`.
        config: cuts, starts and iterations; None takes the preset of the data set.
        seed: of the cuts and of the k-means starts.
        reuse: False clusters again even if a result is on disk.

    Raises:
        ConfigError: fewer users than intents.
    """
    config = preset(data.name, data.n_users).anchors if config is None else config
    K = config.K if K is None else K
    if not 2 <= K <= data.n_users:
        raise ConfigError(
            f"K={K} intents cannot be found among {data.n_users} users: choose fewer, at least 2."
        )
    weights = fingerprint(*backbone.encoder.state_dict().values())
    parts = {"data": data.fingerprint, "backbone": weights, "config": config, "K": K, "seed": seed}
    tensors, facts = train_or_load(
        "anchors", parts, lambda _: _cluster(backbone, data, K, config, seed), reuse=reuse
    )
    return Anchors(names=tuple(facts["names"]), inertia=facts["inertia"], **tensors)


def training_cuts(data: Dataset, n_cuts: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw the moments that are clustered: each user's training part, then `n_cuts` parts of it.

    Returns users and numbers of items, both [N] int64: first the U users in order with their whole
    training parts, after them the earlier moments.
    """
    users = np.arange(data.n_users)
    cuts = data.histories("train").lengths
    if n_cuts:
        more_users, more_cuts = random_cuts(data, n_cuts, seed, min_history=3)
        earlier = more_cuts > 0
        users = np.concatenate([users, more_users[earlier]])
        cuts = np.concatenate([cuts, more_cuts[earlier]])
    return users, cuts


def training_states(data: Dataset, n_cuts: int, seed: int) -> Sequences:
    """The N histories at the moments of `training_cuts`, which has the same arguments."""
    return data.interactions.prefixes(*training_cuts(data, n_cuts, seed))


def k_means(
    S: Tensor, K: int, *, n_init: int = 1, max_iterations: int = 300, seed: int = 0
) -> tuple[Tensor, Tensor, float]:
    """Cluster points S [N, h] with scikit-learn's k-means, and number the clusters canonically.

    Of `n_init` starts, each drawn by k-means++, the one of lowest inertia is kept. Returns the
    centroids [K, h] float32, the assignments [N] int64, and the inertia, the sum of the squared
    distances of the points to their centroids.

    Raises:
        ConfigError: fewer points than clusters.
    """
    from sklearn.cluster import KMeans

    if len(S) < K:
        raise ConfigError(f"K={K} clusters cannot be found among {len(S)} points: choose fewer.")
    kmeans = KMeans(K, n_init=n_init, max_iter=max_iterations, random_state=seed)
    labels = kmeans.fit_predict(S.numpy())
    centroids, assignments = canonical_order(
        torch.from_numpy(kmeans.cluster_centers_).float(), torch.from_numpy(labels).long()
    )
    return centroids, assignments, float(kmeans.inertia_)


def _cluster(
    backbone: Backbone, data: Dataset, K: int, config: AnchorConfig, seed: int
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    states = training_states(data, config.n_cuts, seed)
    centroids, assignments, inertia = k_means(
        backbone.encode(states), K,
        n_init=config.n_init, max_iterations=config.max_iterations, seed=seed,
    )  # fmt: skip
    sizes = torch.bincount(assignments, minlength=K)
    item_counts = count_items(states.last(config.n_recent), assignments, K, data.n_items)
    tensors = {"centroids": centroids, "sizes": sizes, "item_counts": item_counts}
    tensors["assignments"] = assignments[: data.n_users].clone()
    return tensors, {"inertia": inertia, "names": name_anchors(data, item_counts, sizes)}


def canonical_order(centroids: Tensor, assignments: Tensor) -> tuple[Tensor, Tensor]:
    """Renumber clusters so that their numbers do not depend on how k-means happened to start.

    Larger clusters come first, equal ones in the order of their coordinates. Centroids are [K, h];
    the assignments [N] have the cluster of each point.
    """
    sizes = torch.bincount(assignments, minlength=len(centroids)).numpy()
    # lexsort sorts by its last key first: size, then coordinate 0, 1, 2 ...
    order = np.lexsort((*centroids.numpy().T[::-1], -sizes))
    new_number = np.empty_like(order)
    new_number[order] = np.arange(len(order))
    return centroids[torch.from_numpy(order)], torch.from_numpy(new_number)[assignments]


def count_items(histories: Sequences, assignments: Tensor, K: int, n_items: int) -> Tensor:
    """Count, for each cluster and item, the cluster's histories that hold it, int64 [K, V+1].

    The N histories belong to the clusters `assignments` [N].
    """
    pairs = np.unique(np.stack([histories.rows(), histories.flat.astype(np.int64)]), axis=1)
    cells = assignments.numpy()[pairs[0]] * (n_items + 1) + pairs[1]
    counts = np.bincount(cells, minlength=K * (n_items + 1))
    return torch.from_numpy(counts.astype(np.int64)).view(K, n_items + 1)


def describe_anchor(anchors: Anchors, data: Dataset, anchor: int, n: int = 8) -> pl.DataFrame:
    """List the n items that users near an anchor, 0..K-1, had just chosen unusually often.

    Columns: `item`, `title`, `year`, `genres`, `share` of the anchor's states that hold the item,
    and `lift`, that share over the one of all states; the most typical item comes first.
    """
    import polars as pl

    share, lift = lifts(anchors.item_counts.numpy(), anchors.sizes.numpy())
    best = np.argsort(-_typicality(share, lift)[anchor, 1:], kind="stable")[:n] + 1
    described = data.items.select("item", "title", "year", "genres")[best - 1]
    return described.with_columns(
        pl.Series("share", share[anchor, best]), pl.Series("lift", lift[anchor, best])
    )


def lifts(counts: np.ndarray, sizes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Shares within each cluster, and how they compare with the shares everywhere, both [K, A].

    From how many of the `sizes` [K] cases of a cluster have an attribute, `counts` [K, A]. A share
    is drawn to the overall share where a cluster is small; lift is share / overall share (1 where
    an attribute occurs nowhere).
    """
    overall = counts.sum(0) / max(sizes.sum(), 1)
    share = (counts + _SHRINKAGE * overall) / (sizes[:, None] + _SHRINKAGE)
    lift = np.divide(share, overall, out=np.ones_like(share), where=overall > 0)
    return share, lift


def _typicality(share: np.ndarray, lift: np.ndarray) -> np.ndarray:
    """share · log(lift), a term of a Kullback-Leibler divergence: frequent here, rare elsewhere."""
    return share * np.log(lift)


def name_anchors(data: Dataset, item_counts: Tensor, sizes: Tensor) -> tuple[str, ...]:
    """Name each cluster by what its users chose more often than everybody.

    A name has the decade and genre that stand out together, if any do, and two signature titles,
    e.g. "80s Action · Die Hard, Aliens". A title that names a larger cluster counts half for the
    next; where two names would still be the same, the later one takes more titles. The counts
    [K, V+1] are those of `count_items`, the sizes [K] the cases of each cluster.
    """
    labels, fits = _labels(data, item_counts.numpy())
    share, lift = lifts(item_counts.numpy(), sizes.numpy())
    typicality = _typicality(share, lift)
    typicality[:, 0] = -np.inf
    weight = np.where(typicality > 0, typicality * np.where(fits, 1.0, _MISFIT), typicality)
    names: list[str] = []
    for m, label in enumerate(labels):
        best = np.argsort(-weight[m], kind="stable")[:-1]
        names.append(_unique_name(label, [data.title(int(i)) for i in best], names))
        weight[m + 1 :, best[:_N_TITLES]] *= 0.5
    return tuple(names)


def _unique_name(label: str, titles: Sequence[str], taken: Sequence[str]) -> str:
    for n_titles in range(_N_TITLES, len(titles) + 1):
        chosen = ", ".join(_short(title) for title in titles[:n_titles])
        name = f"{label} · {chosen}" if label else chosen
        if name not in taken:
            return name
    raise ValueError("Two clusters have the same typical items in the same order.")


def _short(title: str, limit: int = 30) -> str:
    """Drop what stands in brackets, the subtitle of a long title, and what is still too much."""
    title = title.split(" (")[0]
    if len(title) > limit and ": " in title:
        title = title.split(": ")[0].removesuffix(" or")
    cut = title[: limit - 1].rsplit(" ", 1)[0].rstrip(" ,&-")
    return title if len(title) <= limit else f"{cut}…"


def _labels(data: Dataset, item_counts: np.ndarray) -> tuple[list[str], np.ndarray]:
    """Each cluster's genre or genre of a decade, "" if none stands out; who has it, [K, V+1]."""
    attributes: dict[str, list[int]] = {}
    for item, year, genres in data.items.select("item", "year", "genres").iter_rows():
        for genre in genres:
            attributes.setdefault(genre, []).append(item)
            if year is not None:
                attributes.setdefault(f"{year // 10 % 10}0s {genre}", []).append(item)
    if not attributes:  # a catalogue without any genre
        return [""] * len(item_counts), np.ones(item_counts.shape, dtype=bool)
    words = sorted(attributes)
    has = np.zeros((len(words), item_counts.shape[1]), dtype=bool)
    for row, word in enumerate(words):
        has[row, attributes[word]] = True
    # Cases are choices here, not states: a cluster's choices by attribute, over all its choices.
    share, lift = lifts(item_counts @ has.T, item_counts.sum(1))
    strength = np.where(lift >= _MIN_LIFT, _typicality(share, lift), 0.0)
    # Of two that say nearly the same, the narrower: "80s Action" before "Action".
    strength *= [_NARROWER if word[0].isdigit() else 1.0 for word in words]
    best = strength.argmax(1)
    stands_out = strength.max(1) > 0
    labels = [words[a] if clear else "" for a, clear in zip(best, stands_out, strict=True)]
    return labels, has[best] | ~stands_out[:, None]
