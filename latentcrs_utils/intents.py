"""Intent anchors: k-means in the space of behavior, in a canonical order, named from items."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from .artifacts import train_or_load
from .config import AnchorConfig, preset

if TYPE_CHECKING:
    import polars as pl

    from .behavior.pretraining import Backbone
    from .data import Dataset

# An attribute seen this often everywhere is added to each count, so that rare ones do not win.
_SMOOTHING = 5.0
_MIN_LIFT = 1.15
_N_TITLES = 2


@dataclass(frozen=True)
class Anchors:
    """K intents m_1..m_K, each a point in the space of user representations.

    Attributes:
        centroids: [K, hidden] float32, largest cluster first (ties by coordinates).
        sizes: [K] int64, training histories nearest to each centroid.
        names: K different names, made of what the cluster's users chose unusually often.
        assignments: [U] int64, the anchor of each user's training history.
        inertia: sum of squared distances to the nearest centroid.
    """

    centroids: Tensor = field(repr=False)
    sizes: Tensor = field(repr=False)
    names: tuple[str, ...]
    assignments: Tensor = field(repr=False)
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
    progress: bool | None = None,
    reuse: bool = True,
) -> Anchors:
    """Cluster the representations S of all training histories into K intents.

    Args:
        backbone: the pretrained encoder.
        data: the data set that it was trained on.
        K: number of intents; None takes the one of `config`.
        config: starts and iterations; None takes the preset of the data set.
        seed: seed of the k-means starts.
        progress: say what happens; None lets the environment decide.
        reuse: False clusters again even if a result is on disk.

    Returns:
        The anchors, in canonical order.

    Raises:
        ValueError: if there are fewer users than intents.
    """
    config = preset(data.name).anchors if config is None else config
    K = config.K if K is None else K
    if not 2 <= K <= data.n_users:
        raise ValueError(f"K={K} intents cannot be found among {data.n_users} users.")
    S = backbone.encode(data.histories("train"))
    tensors, meta, _ = train_or_load(
        "anchors",
        {"data": data.fingerprint, "S": _digest(S), "config": config, "K": K, "seed": seed},
        lambda: _cluster(S, K, config, seed),
        reuse=reuse,
    )
    assignments = tensors["assignments"]
    return Anchors(
        centroids=tensors["centroids"],
        sizes=torch.bincount(assignments, minlength=K),
        names=name_anchors(data, assignments, K),
        assignments=assignments,
        inertia=meta["inertia"],
    )


def _digest(S: Tensor) -> str:
    """Hash of the representations: another backbone gives other anchors."""
    import hashlib

    return hashlib.sha256(S.numpy().tobytes()).hexdigest()


def _cluster(
    S: Tensor, K: int, config: AnchorConfig, seed: int
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    from sklearn.cluster import KMeans

    kmeans = KMeans(K, n_init=config.n_init, max_iter=config.max_iterations, random_state=seed)
    labels = kmeans.fit_predict(S.numpy())
    centroids, assignments = canonical_order(
        torch.from_numpy(kmeans.cluster_centers_).float(), torch.from_numpy(labels).long()
    )
    tensors = {"centroids": centroids, "assignments": assignments}
    return tensors, {"inertia": float(kmeans.inertia_)}


def canonical_order(centroids: Tensor, assignments: Tensor) -> tuple[Tensor, Tensor]:
    """Renumber clusters so that their numbers do not depend on how k-means happened to start.

    Larger clusters come first; equal ones in the order of their coordinates.

    Args:
        centroids: [K, h].
        assignments: [N] cluster of each point.

    Returns:
        The same two, renumbered.
    """
    sizes = torch.bincount(assignments, minlength=len(centroids)).numpy()
    # lexsort sorts by its last key first: size, then coordinate 0, 1, 2 ...
    order = np.lexsort((*centroids.numpy().T[::-1], -sizes))
    new_number = np.empty_like(order)
    new_number[order] = np.arange(len(order))
    return centroids[torch.from_numpy(order)], torch.from_numpy(new_number)[assignments]


def describe_anchor(anchors: Anchors, data: Dataset, anchor: int, n: int = 8) -> pl.DataFrame:
    """List the items that an anchor's users chose unusually often.

    Args:
        anchors: the anchors.
        data: the data set.
        anchor: which one, 0..K-1.
        n: number of items.

    Returns:
        n rows: `item`, `title`, `year`, `genres`, `lift` (share of the anchor's users that have
        it, over the share of all users, smoothed), `users`; the most typical first.
    """
    import polars as pl

    shares, everyone = _user_counts(data, anchors.assignments, anchors.K)
    typical, lift = _typical_items(shares[anchor], everyone, int(anchors.sizes[anchor]), n)
    table = pl.DataFrame(
        {"item": typical.astype(np.int32), "lift": lift, "users": shares[anchor][typical]}
    )
    described = data.items.select("item", "title", "year", "genres")
    return table.join(described, on="item", how="left", maintain_order="left").select(
        "item", "title", "year", "genres", "lift", "users"
    )


def name_anchors(data: Dataset, assignments: Tensor, K: int) -> tuple[str, ...]:
    """Name each cluster of users by what they chose more often than everybody.

    A name has the genre and the decade with the highest lift (where one stands out) and two
    signature titles, e.g. "80s Action · Die Hard, Aliens". Where two clusters would share a
    name, the smaller one takes its next titles.

    Args:
        data: the data set; only training histories are read.
        assignments: [U] cluster of each user.
        K: number of clusters.

    Returns:
        K different names.
    """
    counts, everyone = _user_counts(data, assignments, K)
    sizes = np.bincount(assignments.numpy(), minlength=K)
    labels = _attribute_labels(data, assignments, K)
    names: list[str] = []
    used_titles: Counter[int] = Counter()
    for m in range(K):
        typical, _ = _typical_items(counts[m], everyone, int(sizes[m]), 12)
        # Titles that already name a larger cluster say little about this one.
        titles = sorted(typical.tolist(), key=lambda item: used_titles[item])
        names.append(_unique_name(labels[m], [data.title(i) for i in titles], names))
        used_titles.update(titles[:_N_TITLES])
    return tuple(names)


def _unique_name(label: str, titles: list[str], taken: list[str]) -> str:
    for n_titles in range(_N_TITLES, len(titles) + 1):
        chosen = ", ".join(_short(title) for title in titles[:n_titles])
        name = f"{label} · {chosen}" if label else chosen
        if name not in taken:
            return name
    raise ValueError("Two clusters of users have the same typical items; use fewer intents.")


def _short(title: str, limit: int = 28) -> str:
    """Drop what stands in brackets and cut long titles at a word."""
    title = title.split(" (")[0]
    if len(title) <= limit:
        return title
    return title[: limit - 1].rsplit(" ", 1)[0].rstrip(",:") + "…"


def _user_counts(data: Dataset, assignments: Tensor, K: int) -> tuple[np.ndarray, np.ndarray]:
    """How many users of each cluster have each item [K, V+1], and how many users at all [V+1]."""
    histories = data.histories("train")
    user = np.repeat(np.arange(len(histories)), np.diff(histories.offsets))
    pairs = np.unique(np.stack([user, histories.flat.astype(np.int64)]), axis=1)
    counts = np.zeros((K, data.n_items + 1))
    np.add.at(counts, (assignments.numpy()[pairs[0]], pairs[1]), 1)
    return counts, counts.sum(0)


def _typical_items(
    counts: np.ndarray, everyone: np.ndarray, n_users: int, n: int
) -> tuple[np.ndarray, np.ndarray]:
    """Items by how much more often the cluster's users have them than chance would say.

    The order is that of the pointwise Kullback-Leibler term, share · log(lift): a typical item
    is both frequent here and rarer elsewhere.
    """
    total = everyone.sum() / max(counts.sum(), 1e-9)
    expected = everyone / total
    lift = (counts + 1.0) / (expected + 1.0)
    weight = counts / max(n_users, 1) * np.log(lift)
    weight[0] = -np.inf
    best = np.argsort(-weight, kind="stable")[:n]
    best = best[counts[best] > 0] if (counts > 0).any() else best
    return best, lift[best]


def _attribute_labels(data: Dataset, assignments: Tensor, K: int) -> list[str]:
    """A few words for each cluster, e.g. "80s Action": decade and genre where they stand out."""
    histories = data.histories("train")
    user = np.repeat(np.arange(len(histories)), np.diff(histories.offsets))
    cluster = assignments.numpy()[user]
    genres = dict(zip(data.items["item"], data.items["genres"], strict=True))
    years = dict(zip(data.items["item"], data.items["year"], strict=True))
    genre_counts = [Counter[str]() for _ in range(K)]
    decade_counts = [Counter[str]() for _ in range(K)]
    for m, item in zip(cluster.tolist(), histories.flat.tolist(), strict=True):
        genre_counts[m].update(genres[item])
        if years[item] is not None:
            decade_counts[m][_decade(years[item])] += 1
    decades = _standing_out(decade_counts)
    kinds = _standing_out(genre_counts)
    return [" ".join(part for part in (d, g) if part) for d, g in zip(decades, kinds, strict=True)]


def _decade(year: int) -> str:
    return f"{year // 10 % 10}0s" if year >= 1930 else "early"


def _standing_out(counts: list[Counter[str]]) -> list[str]:
    """For each cluster the attribute of most over-represented actions, or "" if none stands out."""
    everywhere = sum(counts, Counter[str]())
    total = sum(everywhere.values())
    chosen = []
    for count in counts:
        here = sum(count.values())
        best, best_weight = "", 0.0
        for attribute in sorted(count):
            expected = everywhere[attribute] * here / max(total, 1)
            lift = (count[attribute] + _SMOOTHING) / (expected + _SMOOTHING)
            weight = count[attribute] * np.log(lift)
            if lift >= _MIN_LIFT and weight > best_weight:
                best, best_weight = attribute, weight
        chosen.append(best)
    return chosen
