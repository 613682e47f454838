"""One-turn recommendation (Tables 2 and 3): every system ranks the catalogue for the same texts."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import polars as pl
import torch
from torch import Tensor

from latentcrs_utils.baselines.direct import DirectModel, fit_fusion, fit_text_alone
from latentcrs_utils.baselines.item_knn import item_knn
from latentcrs_utils.baselines.popularity import popularity
from latentcrs_utils.behavior.pretraining import Backbone, pretrain
from latentcrs_utils.constraints.lexicon_filter import lexicon_mask
from latentcrs_utils.data.sequences import Dataset
from latentcrs_utils.em.instances import Instances, instances_of, rows_of
from latentcrs_utils.em.model import LatentCRS, fit_em
from latentcrs_utils.evaluation.metrics import METRIC, describe_ranks, mean_and_interval
from latentcrs_utils.intents import Anchors, find_anchors
from latentcrs_utils.language.encoding import Language
from latentcrs_utils.ranking import MEMORY, rank_of_target, rows_at_once
from latentcrs_utils.simulation.agenda import LEVELS as LEVELS

UNSEEN, SEEN = "test", "train"


@dataclass(frozen=True)
class EvalSet:
    """What all systems are asked: N instances, x^u as words, and user, level, phrasing of each."""

    instances: Instances
    texts: list[str]
    frame: pl.DataFrame

    @classmethod
    def of_rows(
        cls, data: Dataset, backbone: Backbone, language: Language, rows: np.ndarray, *columns: Any
    ) -> "EvalSet":
        """The utterances of some rows, with further columns of their table in `frame`."""
        frame = language.utterances.frame[rows]
        instances = instances_of(data, backbone, language, rows)
        columns = columns or ("level",)
        return cls(instances, frame["text"].to_list(), frame.select("user", *columns, "phrasing"))

    def __len__(self) -> int:
        return len(self.texts)

    def take(self, rows: slice | np.ndarray) -> "EvalSet":
        """The cases of some rows, in their order."""
        numbers = np.arange(len(self))[rows]
        texts = [self.texts[number] for number in numbers]
        return EvalSet(self.instances.take(torch.from_numpy(numbers)), texts, self.frame[numbers])


Scorer = Callable[[EvalSet], Tensor]


def one_turn_cases(
    data: Dataset, backbone: Backbone, language: Language, split: str = "test"
) -> EvalSet:
    """All test users at every level, in seen and unseen phrasing; of "valid" each at one level."""
    return EvalSet.of_rows(data, backbone, language, rows_of(language, split))


def dialogue_cases(data: Dataset, backbone: Backbone, language: Language) -> EvalSet:
    """All test users after one to five messages, whose number is the level in `frame`."""
    rows = rows_of(language, "test_turns")
    n_turns = language.utterances.frame[rows]["turns"].list.len().to_numpy()
    rows = rows[np.argsort(n_turns, kind="stable")]
    level = pl.col("turns").list.len().cast(pl.String).alias("level")
    return EvalSet.of_rows(data, backbone, language, rows, level)


def evaluate(
    cases: EvalSet, systems: Mapping[str, Scorer], *, masked: bool = True, memory: int = MEMORY
) -> dict[str, np.ndarray]:
    """Name -> ranks [N] of the targets under each system, 1 is best.

    Masked, the items of the history are left out of the ranking (ICLRec's convention). A system is
    asked for so many bytes of scores at once at most; all for the same cases in turn.
    """
    ranks = {name: np.zeros(len(cases), dtype=np.int64) for name in systems}
    start, step = 0, 1  # one case tells how many items there are
    while start < len(cases):
        part = cases.take(slice(start, start + step))
        seen = part.instances.histories if masked else None
        for name, scorer in systems.items():
            scores = scorer(part)
            ranks[name][start : start + step] = rank_of_target(scores, part.instances.targets, seen)
        start, step = start + step, rows_at_once(scores.shape[1] - 1, memory)
    return ranks


def summarise(cases: EvalSet, ranks_by_seed: Sequence[Mapping[str, np.ndarray]]) -> pl.DataFrame:
    """One row per phrasing, level and system: n and `describe_ranks` of what `evaluate` gave."""
    rows: list[dict[str, Any]] = []
    groups = cases.frame.with_row_index("row").group_by("phrasing", "level", maintain_order=True)
    for (phrasing, level), group in groups:
        chosen = group["row"].to_numpy()
        for system in ranks_by_seed[0]:
            row = {"phrasing": phrasing, "level": level, "system": system, "n": len(chosen)}
            rows.append(row | describe_ranks([ranks[system][chosen] for ranks in ranks_by_seed]))
    return pl.DataFrame(rows)


def level_table(summary: pl.DataFrame, *, phrasing: str) -> pl.DataFrame:
    """NDCG@20, one row a system, one column a level: as the README and `make run` print it."""
    wanted = summary.filter(phrasing=phrasing)
    return wanted.pivot("level", index="system", values=METRIC, maintain_order=True)


@dataclass(frozen=True)
class Fitted:
    """Everything that one seed trains on one data set and one set of utterances."""

    data: Dataset
    language: Language
    backbone: Backbone
    anchors: Anchors
    text_alone: DirectModel
    fusion: DirectModel
    latentcrs: LatentCRS
    latentcrs_plus: LatentCRS


def fit_all(
    data: Dataset, language: Language, *, seed: int = 0, say: Callable[[str], None] = lambda _: None
) -> Fitted:
    """Fit (or load) every system of the one-turn table; `say` is told what comes next."""
    say("SASRec backbone")
    backbone = pretrain(data, seed=seed)
    say("Intent anchors")
    anchors = find_anchors(backbone, data, seed=seed)
    say("Baselines without intents: text alone, fusion")
    text_alone = fit_text_alone(data, backbone, language, seed=seed)
    fusion = fit_fusion(data, backbone, language, seed=seed)
    say("LatentCRS (Algorithm 1)")
    paper = fit_em(data, backbone, anchors, language, residual=False, seed=seed)
    say("LatentCRS+ (Algorithm 1 with the residual)")
    plus = fit_em(data, backbone, anchors, language, residual=True, seed=seed)
    return Fitted(data, language, backbone, anchors, text_alone, fusion, paper, plus)


def scorers(fitted: Fitted) -> dict[str, Scorer]:
    """Name -> scores [N, V + 1] of the cases, in the order of the table."""
    data, backbone = fitted.data, fitted.backbone
    popular = popularity(data)
    # three rows ask for the same mask
    mask_of = lru_cache(maxsize=8)(lambda texts: torch.as_tensor(lexicon_mask(data, texts)))

    def filtered(scorer: Scorer) -> Scorer:
        def by_filter(cases: EvalSet) -> Tensor:
            allowed = mask_of(tuple(cases.texts))
            # What the filter removes stays below everything kept, in the scorer's own order.
            scores = scorer(cases)
            floor = scores[:, 1:].amin(1, keepdim=True) - scores[:, 1:].amax(1, keepdim=True) - 1
            return torch.where(allowed, scores, scores + floor)

        return by_filter

    def by_model(model: DirectModel | LatentCRS) -> Scorer:
        return lambda cases: model.scores(cases.instances.S, cases.instances.x, cases.texts)

    found: dict[str, Scorer] = {
        "popularity": lambda cases: popular.expand(len(cases), -1),
        "item-kNN": lambda cases: item_knn(data, cases.instances.histories),
        "backbone alone": lambda cases: backbone.scores(cases.instances.S),
        "text alone": by_model(fitted.text_alone),
    }
    return found | {
        "popularity + lexicon filter": filtered(found["popularity"]),
        "backbone + lexicon filter": filtered(found["backbone alone"]),
        "fusion without intents": by_model(fitted.fusion),
        "LatentCRS": by_model(fitted.latentcrs),
        "LatentCRS+": by_model(fitted.latentcrs_plus),
        "LatentCRS+ F": filtered(by_model(fitted.latentcrs_plus)),
    }


def target_popularity(data: Dataset) -> np.ndarray:
    """How often each user's test item occurs in the training parts of all users, int [U]."""
    return popularity(data).numpy()[data.targets("test")].astype(np.int64)


def genre_table(data: Dataset) -> tuple[np.ndarray, list[str]]:
    """Which item has which genre, bool [V + 1, G], and the G names in alphabetical order."""
    of_items = [(), *data.items["genres"]]
    names = sorted({genre for genres in of_items for genre in genres})
    return np.array([[name in genres for name in names] for genres in of_items]), names


def history_similarity(data: Dataset, n_last: int = 10) -> np.ndarray:
    """How similar each user's test item is to the latest items, float [U] in [0, 1].

    The mean over the ``n_last`` latest items of the Jaccard overlap of genres; 0 without any.
    """
    has, last = genre_table(data)[0], data.histories("test").last(n_last)
    ours, theirs = has[last.flat], has[data.targets("test")[last.rows()]]
    both, either = (ours & theirs).sum(1), (ours | theirs).sum(1)
    return np.bincount(last.rows(), both / np.maximum(either, 1), len(last)) / last.lengths


def parts_of_equal_size(values: np.ndarray, n: int = 4) -> np.ndarray:
    """Number 0 (lowest) to n - 1 of the part, between quantiles, that each value is in, int [N]."""
    borders = np.quantile(values, np.linspace(0, 1, n + 1)[1:-1])
    return np.searchsorted(borders, values, side="right")


def by_part(values: np.ndarray, parts: np.ndarray, names: Sequence[str]) -> pl.DataFrame:
    """Mean of the values [N] in each part, 0 to len(names) - 1, with its 95 % bootstrap interval.

    Columns part, n, mean, low, high; one row a part that has instances. ValueError: sizes differ.
    """
    values, parts = np.asarray(values), np.asarray(parts)
    if len(values) != len(parts) or parts.max(initial=-1) >= len(names):
        sizes = f"{len(values)} values, {len(parts)} parts and {len(names)} names"
        raise ValueError(f"{sizes} do not fit.")
    of_each = [(name, values[parts == number]) for number, name in enumerate(names)]
    return pl.DataFrame(
        [{"part": name, "n": len(v), **mean_and_interval(v)} for name, v in of_each if len(v)]
    )


def means_by_part(
    values: Mapping[str, np.ndarray], parts: np.ndarray, names: Sequence[str]
) -> tuple[dict[str, dict[str, float]], dict[str, dict[str, tuple[float, float]]]]:
    """`by_part` of several systems: system -> part -> mean, and system -> part -> (low, high)."""
    tables = {name: by_part(v, parts, names).to_dicts() for name, v in values.items()}
    means = {name: {r["part"]: r["mean"] for r in rows} for name, rows in tables.items()}
    ends = {name: {r["part"]: (r["low"], r["high"]) for r in rows} for name, rows in tables.items()}
    return means, ends
