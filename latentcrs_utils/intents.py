"""Intent anchors: k-means in the space of behavior, in a canonical order, with checked names."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any

import numpy as np
import polars as pl
import torch
from torch import Tensor

from latentcrs_utils.behavior.pretraining import Backbone
from latentcrs_utils.config import AnchorConfig, preset
from latentcrs_utils.data.preprocess import random_cuts
from latentcrs_utils.data.sequences import Dataset, Sequences
from latentcrs_utils.errors import ConfigError
from latentcrs_utils.support.artifacts import fingerprint, train_or_load

# Pseudo-counts that draw a small cluster's shares to those of everybody.
_SHRINKAGE = 10.0
_N_TITLES = 2
# A description holds if it is true of this share of the next films and so many times more often
# than everywhere, and if enough states were there to check it.
HOLDS_SHARE = 0.6
HOLDS_LIFT = 1.5
_MIN_STATES = 10
_MIXED = "mixed"
_NAMING_STATES = 60_000
_MAX_GENRES = 24
_MAX_DESCRIPTION = 40
_MAX_TITLE = 30
Check = tuple[float, float, int]  # share of next films of which a name is true, lift, their number


@dataclass(frozen=True)
class Anchors:
    """K intents m_1..m_K, each a point in the space of user representations.

    A *state* is the representation S of a user at some time of the training part.
    """

    centroids: Tensor = field(repr=False)  # [K, hidden], largest cluster first
    sizes: Tensor = field(repr=False)  # [K] int64, states nearest to each centroid
    names: tuple[str, ...]  # K different ones, made by `name_anchors`
    assignments: Tensor = field(repr=False)  # [U] int64, of each user's whole training history
    item_counts: Tensor = field(repr=False)  # [K, V+1] int64, states with it among the last few
    inertia: float  # sum of squared distances of the states to their centroids
    checks: tuple[Check, ...] = field(default=(), repr=False)

    @property
    def K(self) -> int:  # noqa: N802 - the paper's symbol
        """Number of intents."""
        return len(self.centroids)


def find_anchors(
    backbone: Backbone, data: Dataset, *, K: int | None = None, config: AnchorConfig | None = None,
    seed: int = 0,
) -> Anchors:  # fmt: skip
    """Cluster the representations S of users along their training histories (Equation 3).

    Validation and test items are not read. Without a `config` it is the preset of the data set, K
    takes the place of its number of intents, and `seed` is that of the cuts and of the k-means
    starts. ConfigError: fewer users than intents.
    """
    config = preset(data.name, data.n_users).anchors if config is None else config
    K = config.K if K is None else K
    if not 2 <= K <= data.n_users:
        told = f"K={K} intents cannot be found among {data.n_users} users"
        raise ConfigError(f"{told}: choose fewer, at least 2.")
    weights = fingerprint(*backbone.encoder.state_dict().values())
    parts = {"data": data.fingerprint, "backbone": weights, "config": config, "K": K, "seed": seed}
    tensors, facts = train_or_load(
        "anchors", parts, lambda _: _cluster(backbone, data, K, config, seed)
    )
    parts["centroids"] = fingerprint(tensors["centroids"])

    def name(_: Any) -> tuple[dict[str, Tensor], dict[str, Any]]:
        moments = naming_moments(data, seed)
        S = backbone.encode(data.interactions.prefixes(*moments))
        nearest = torch.cdist(S, tensors["centroids"]).argmin(1)
        counts, sizes = tensors["item_counts"], tensors["sizes"]
        names, checks = name_anchors(data, counts, sizes, *moments, nearest)
        return {"assignments": nearest}, {"names": names, "checks": checks}

    _, named = train_or_load("anchor-names", parts, name)
    checks = tuple((share, lift, n) for share, lift, n in named["checks"])
    return Anchors(names=tuple(named["names"]), checks=checks, inertia=facts["inertia"], **tensors)


def training_cuts(data: Dataset, n_cuts: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw the moments that are clustered: each user's training part, then `n_cuts` parts of it.

    Returns users and numbers of items, both [N] int64: first the U users in order with their whole
    training parts, after them the earlier moments.
    """
    users, cuts = np.arange(data.n_users), data.histories("train").lengths
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
    distances of the points to their centroids. ConfigError: fewer points than clusters.
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
    return tensors, {"inertia": inertia}


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
    """Count the histories of each cluster, of `assignments` [N], that hold an item, [K, V+1]."""
    pairs = np.unique(np.stack([histories.rows(), histories.flat.astype(np.int64)]), axis=1)
    cells = assignments.numpy()[pairs[0]] * (n_items + 1) + pairs[1]
    counts = np.bincount(cells, minlength=K * (n_items + 1))
    return torch.from_numpy(counts.astype(np.int64)).view(K, n_items + 1)


def describe_anchor(anchors: Anchors, data: Dataset, anchor: int, n: int = 8) -> pl.DataFrame:
    """List the n items that users near an anchor, 0..K-1, had just chosen unusually often.

    Columns: `item`, `title`, `year`, `genres`, `share` of the anchor's states that hold the item,
    and `lift`, that share over the one of all states; the most typical item comes first.
    """
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


def naming_moments(data: Dataset, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw about 60,000 moments of the training parts: users and numbers of items, [N] each.

    The *next film* of a moment is the item after it, also of the training part.
    """
    return random_cuts(data, max(8, _NAMING_STATES // data.n_users), seed)


def name_anchors(
    data: Dataset, item_counts: Tensor, sizes: Tensor,
    users: np.ndarray, cuts: np.ndarray, assignments: Tensor,
) -> tuple[tuple[str, ...], tuple[Check, ...]]:  # fmt: skip
    """Name each cluster by what its next films have in common against everybody's.

    Of all descriptions (a genre or one of two, a decade or a span of years, both) a cluster gets
    the one with the most information about its next films, times the chance that it holds. Users
    of even numbers choose it, those of odd numbers check it. Where it fails, the name begins with
    "mixed". Two typical films of which the description is true follow, e.g. "80s Action · Die
    Hard, Aliens"; a film that names a larger cluster counts half for the next. Where two names
    would still be the same, the later one takes more films. Without genres and years the films
    alone are the name.

    Recent films are counted as in `Anchors`, [K, V+1] and [K]; users, cuts and assignments are
    those of `naming_moments`, [N] each, with their clusters. Returns K names and their checks.
    """
    next_items = data.interactions.flat[data.interactions.offsets[users] + cuts]
    found = _describe(data, next_items, users % 2 == 0, assignments.numpy(), len(sizes))
    words, fits, checks = found
    typicality = _typicality(*lifts(item_counts.numpy(), sizes.numpy()))
    typicality[:, 0] = -np.inf
    names: list[str] = []
    for m, word in enumerate(words):
        # films of which the description is true, then, if two names are the same, the others
        best = np.lexsort((-typicality[m, 1:], ~fits[m, 1:])) + 1
        label = word if not word or name_holds(*checks[m]) else f"{_MIXED}: {word}"
        if not word and any(words):
            label = _MIXED
        names.append(_unique_name(label, [data.title(int(i)) for i in best], names))
        chosen = best[:_N_TITLES]
        typicality[m + 1 :, chosen] -= 0.5 * np.abs(typicality[m + 1 :, chosen])
    return tuple(names), tuple(checks)


def name_holds(share: float, lift: float, n: int) -> bool:
    """Whether a name is true of enough of the next films, and not of nearly all films anyway."""
    return share >= HOLDS_SHARE and lift >= HOLDS_LIFT and n >= _MIN_STATES


def name_table(anchors: Anchors) -> pl.DataFrame:
    """How true each name is on the checking half: `name`, `share`, `lift`, `n` and `holds`."""
    table = pl.DataFrame(anchors.checks, schema=["share", "lift", "n"], orient="row")
    holds = pl.Series("holds", [name_holds(*check) for check in anchors.checks], dtype=pl.Boolean)
    return table.insert_column(0, pl.Series("name", anchors.names)).with_columns(holds)


def _unique_name(label: str, titles: Sequence[str], taken: Sequence[str]) -> str:
    for n_titles in range(_N_TITLES, len(titles) + 1):
        chosen = ", ".join(_short(title) for title in titles[:n_titles])
        name = f"{label} · {chosen}" if label else chosen
        if name not in taken:
            return name
    raise ValueError("Two clusters have the same typical items in the same order.")


def _short(title: str) -> str:
    """Drop what stands in brackets, the subtitle of a long title, and what is still too much."""
    title = title.split(" (")[0]
    if len(title) > _MAX_TITLE and ": " in title:
        title = title.split(": ")[0].removesuffix(" or")
    cut = title[: _MAX_TITLE - 1].rsplit(" ", 1)[0].rstrip(" ,&-")
    return title if len(title) <= _MAX_TITLE else f"{cut}…"


def _describe(
    data: Dataset, next_items: np.ndarray, naming: np.ndarray, clusters: np.ndarray, K: int
) -> tuple[list[str], np.ndarray, list[Check]]:
    """Each cluster's description, "" if none stands out; who has it, [K, V+1]; and its checks."""
    from scipy.sparse import csr_array

    shape = K, data.n_items + 1
    halves = [
        csr_array((np.ones(half.sum()), (clusters[half], next_items[half])), shape)
        for half in (naming, ~naming)
    ]
    n, n_checked = (np.asarray(half.sum(1)) for half in halves)
    best, words, checks = np.zeros(K), [""] * K, [(0.0, 0.0, int(n)) for n in n_checked]
    fits = np.ones(shape, dtype=bool)
    for texts, has in _descriptions(data, next_items):
        share, lift = lifts(halves[0] @ has.T.astype(float), n)
        checked = halves[1] @ has.T.astype(float)
        p, base = share.clip(1e-9, 1 - 1e-9), (share / lift).clip(1e-9, 1 - 1e-9)
        information = p * np.log(p / base) + (1 - p) * np.log((1 - p) / (1 - base))
        spread = np.sqrt(p * (1 - p) / (n[:, None] + _SHRINKAGE))
        margin = (p - np.maximum(HOLDS_SHARE, HOLDS_LIFT * base)) / spread
        chance = torch.special.ndtr(torch.from_numpy(margin)).numpy()
        score = np.where(lift > 1, information * chance, 0.0)
        for m in np.flatnonzero(score.max(1) > best):
            d = score[m].argmax()
            best[m], words[m], fits[m] = score[m, d], texts[d], has[d]
            truth = checked[m, d] / max(n_checked[m], 1)
            everywhere = checked[:, d].sum() / max(n_checked.sum(), 1)
            lift_checked = float(truth / everywhere) if everywhere else 0.0
            checks[m] = (float(truth), lift_checked, int(n_checked[m]))
    return words, fits, checks


def _descriptions(data: Dataset, next_items: np.ndarray) -> Iterator[tuple[list[str], np.ndarray]]:
    """All descriptions, one span of years at a time: D texts, and who has them, bool [D, V+1].

    The spans begin and end at decades and at the tenths of the years of the next films.
    """
    held = [set(), *map(set, data.items["genres"].to_list())]
    frequency = {g: sum(g in of for of in held) for g in sorted(set().union(*held))}
    kept = sorted(sorted(frequency, key=lambda g: -frequency[g])[:_MAX_GENRES])
    genres = {g: np.array([g in of for of in held]) for g in kept}
    genres |= {f"{a} or {b}": genres[a] | genres[b] for a, b in combinations(kept, 2)}
    years = np.array([np.nan, *data.items["year"].cast(float)], dtype=float)
    known = years[next_items]
    known = known[~np.isnan(known)].astype(int)
    spans = {"": np.ones(len(years), dtype=bool)}
    if len(known):
        decades = range(known.min() // 10 * 10, known.max() + 10, 10)
        tenths = np.quantile(known, np.arange(1, 10) / 10, method="lower")
        edges = sorted({*decades, *tenths.tolist(), known.max() // 10 * 10 + 10})
        for a, b in combinations(edges, 2):
            if (a, b) != (edges[0], edges[-1]):
                spans[_span(a, b, edges)] = (years >= a) & (years < b)
    for span, inside in spans.items():
        form = "{1}" if not span else "{0} {1}" if span.endswith("0s") else "{1}, {0}"
        texts = {form.format(span, genre): has & inside for genre, has in genres.items()}
        texts |= {span: inside} if span else {}
        texts = {t: has for t, has in texts.items() if len(f"{_MIXED}: {t}") <= _MAX_DESCRIPTION}
        if texts:
            yield [*texts], np.stack([*texts.values()])


def _span(a: int, b: int, edges: Sequence[int]) -> str:
    """The years from a up to, and without, b."""
    if (a % 10, b) == (0, a + 10):
        return f"{a % 100:02}s"
    if b == a + 1:
        return str(a)
    if a == edges[0]:
        return f"before {b}"
    return f"{a} or later" if b == edges[-1] else f"{a}-{b - 1}"
