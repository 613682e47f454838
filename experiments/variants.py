"""The variants of the ablations: what is changed, one thing at a time, and the reference of each.

`groups` is the plan; `fit_variant` trains one variant from one seed, or loads it.
"""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal, NamedTuple

import numpy as np
import polars as pl
import torch
from torch import Tensor

from latentcrs_utils import Backbone, Dataset, Language, Utterances, find_anchors, fit_em, pretrain
from latentcrs_utils.baselines.direct import fit_fusion, fit_text_alone
from latentcrs_utils.config import ICLREC_AS_PUBLISHED as PUBLISHED
from latentcrs_utils.config import BackboneConfig, EMConfig, Preset, TermWeights, preset
from latentcrs_utils.em.terms import ScoreTerms
from latentcrs_utils.evaluation import metrics
from latentcrs_utils.evaluation.metrics import METRIC, metric_values
from latentcrs_utils.evaluation.one_turn import LEVELS, UNSEEN, EvalSet
from latentcrs_utils.ranking import rank_of_target

PAPER, PLUS = "LatentCRS", "LatentCRS+"
FUSION, BEHAVIOR = "fusion without intents", "behavior only"
SMALLEST_BATCH = 32
_PLAN = tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))
_SWEEPS = _PLAN.pop("sweeps")


@dataclass(frozen=True)
class Variant:
    """One line of an ablation, named as in the tables; K and backbone default to the preset's."""

    name: str
    # what is fitted; "em" is Algorithm 1 with `em`
    system: Literal["em", "fusion", "text alone", "backbone"] = "em"
    em: EMConfig | None = None  # None for the systems without intents
    K: int | None = None
    backbone: BackboneConfig | None = None
    share: float = 1.0  # of the distinct training texts that are kept, in (0, 1]
    value: float | None = None  # of the one hyper-parameter that a sweep changes
    reference: str | None = PAPER  # what it is compared with; None for the reference itself
    one_seed: bool = False
    terms: TermWeights | None = None  # of what is added to the score; None, the preset's
    reader: int | None = None  # number of the one encoder that reads
    history_dropout: bool = True  # some training histories are cut short


class FittedVariant(NamedTuple):
    """What one seed of a variant gives."""

    backbone: Backbone
    model: Any  # has `scores(S [B, d], x [B, d_x], texts) -> [B, V + 1]`
    valid: float | None  # best valid NDCG@10; None where nothing but the backbone is trained


def planned(group: str, options: Preset) -> list[Variant]:
    """The variants of a group of `variants.toml`, the first of them the reference of the others."""
    found: list[Variant] = []
    for name, row in _PLAN[group].items():
        made: dict[str, Any] = {"reference": found and found[0].name, **row}
        if "em" in row:
            made["em"] = replace(getattr(options, row["em"]), **made.pop("changes", {}))
        if "terms" in row:
            made["terms"] = replace(options.terms_plus, **row["terms"])
        if "only_terms" in row:
            made["terms"] = TermWeights(**made.pop("only_terms"))
        if "backbone" in row:
            made["backbone"] = PUBLISHED
        found.append(Variant(name, **made | {"reference": made["reference"] or None}))
    return found


def sweep(symbol: str, own: float, variants: Mapping[float, Variant]) -> list[Variant]:
    """Variants by the value of one hyper-parameter, compared with its `own` value."""
    name = f"{symbol} = {{:g}}".format
    return [
        replace(variant, name=name(v), value=v, reference=name(own) if v != own else None)
        for v, variant in variants.items()
    ]


def groups(data: Dataset) -> dict[str, list[Variant]]:
    """All groups of variants by name: the plan, Figure 3's K, the losses' weights."""
    options = preset(data.name, data.n_users)
    found = {group: planned(group, options) for group in _PLAN}
    once = Variant("", one_seed=True)
    patient = replace(options.em, n_epochs_generative=60, n_epochs_alternate=30, patience=8)
    of_k = {K: replace(once, em=patient, K=K) for K in _SWEEPS["K"] if data.n_users >= K}
    found["K"] = sweep("K", options.anchors.K if options.anchors.K in of_k else 256, of_k)
    for field, values in _SWEEPS["weights"].items():
        own = getattr(options.em, field)
        ems = {v: replace(options.em, **{field: v}) for v in sorted({*values, own})}
        changed = {v: replace(once, em=em) for v, em in ems.items()}
        found[field.rstrip("_")] = sweep(field.rstrip("_"), own, changed)
    return found


def fewer_texts(language: Language, share: float, seed: int) -> Language:
    """The same utterances with a share of the distinct training texts, drawn by `seed`, and their
    instances; vectors are centred and scaled anew.
    """
    if share == 1:
        return language
    frame = language.utterances.frame.with_row_index("row")
    training = pl.col("split") == "train"
    texts = frame.filter(training)["text"].unique(maintain_order=True)
    kept = texts.sample(max(2, round(share * len(texts))), seed=seed)
    left = frame.filter(~training | pl.col("text").is_in(kept.implode()))
    raw = language.x * language.scale + language.mean
    own = raw[left.filter(training).unique("text")["row"].sort().to_list()]
    mean, scale = own.mean(0), own.std(0).clamp(min=1e-3)
    x = (raw[left["row"].to_list()] - mean) / scale
    return Language(Utterances(left.drop("row")), x, mean, scale, language.embedder)


@cache
def _backbone(data: Dataset, config: BackboneConfig, seed: int) -> Backbone:
    return pretrain(data, config, seed=seed)


def smaller_batches(config: Any, share: float) -> Any:
    """Batches in proportion to the instances, so that an epoch keeps its number of steps."""
    return replace(config, batch_size=max(SMALLEST_BATCH, round(config.batch_size * share)))


def fit_variant(variant: Variant, data: Dataset, language: Language, seed: int) -> FittedVariant:
    """Fit one variant from one seed, or load it; of the language it takes its share of texts."""
    options = preset(data.name, data.n_users)
    backbone = _backbone(data, variant.backbone or options.backbone, seed)
    model: Any
    if variant.system == "backbone":
        model = SimpleNamespace(scores=lambda S, x, texts: backbone.scores(S))
        return FittedVariant(backbone, model, None)
    language = fewer_texts(language, variant.share, seed)
    if not variant.history_dropout:
        frame = language.utterances.frame.drop("kept", strict=False)
        language = replace(language, utterances=Utterances(frame))
    if variant.reader is not None:
        language = language.of_encoder(variant.reader)
    if variant.em is not None:
        anchors = find_anchors(backbone, data, K=variant.K, seed=seed)
        config = smaller_batches(variant.em, variant.share)
        model = fit_em(data, backbone, anchors, language, config, seed=seed, progress=False)
    else:
        fit = fit_fusion if variant.system == "fusion" else fit_text_alone
        config = smaller_batches(options.direct, variant.share)
        model = fit(data, backbone, language, config=config, seed=seed, progress=False)
    values = [row["valid_ndcg10"] for row in model.curve if row.get("stage") != "q"]
    if variant.terms is not None:
        model = replace(model, terms=ScoreTerms.of_data(data, backbone, variant.terms))
    if variant.reader:  # the second encoder's coordinates are the last ones
        d, read = len(language.mean), model.scores
        model = SimpleNamespace(scores=lambda S, x, texts: read(S, x[:, -d:], texts))
    return FittedVariant(backbone, model, max(values))


def unseen_cases(data: Dataset, backbone: Backbone, language: Language) -> EvalSet:
    """All test users at the four levels, phrasing not seen in training: 4 U cases, level by level.

    Level l of user u is case l U + u, so that ranks of these cases reshape to [4, U].
    """
    frame = language.utterances.frame.with_row_index("row")
    unseen = frame.filter(split="test", phrasing=UNSEEN)
    ordered = unseen.sort(pl.col("level").cast(pl.Enum(LEVELS)), "user")
    rows = ordered["row"].to_numpy().astype(np.int64)
    return EvalSet.of_rows(data, backbone, language, rows, "level", "conditions")


def ranks_by_level(cases: EvalSet, scores: Tensor, *, masked: bool = True) -> np.ndarray:
    """Ranks of the targets [4, U] (levels, users), 1 is best; `cases` as from `unseen_cases`."""
    seen = cases.instances.histories if masked else None
    ranks = rank_of_target(scores, cases.instances.targets, seen)
    return ranks.numpy().reshape(len(LEVELS), -1)


@torch.no_grad()
def scores_of(model: Any, cases: EvalSet) -> Tensor:
    """Scores [N, V + 1] of a system with `scores(S, x, texts)`."""
    scores: Tensor = model.scores(cases.instances.S, cases.instances.x, cases.texts)
    return scores


def describe(ranks: Mapping[int, np.ndarray]) -> dict[str, Any]:
    """One variant's seeds (-> ranks [4, U]); what `describe_ranks` says, levels averaged; and
    levels, NDCG@20 of each with its interval.
    """
    stacked = np.stack(list(ranks.values()))
    levels = _by_level(metric_values(stacked, METRIC).mean(0))
    return {"seeds": list(ranks), **metrics.describe_ranks(stacked), "levels": levels}


def difference(ours: Mapping[int, np.ndarray], theirs: Mapping[int, np.ndarray]) -> dict[str, Any]:
    """Mean difference in NDCG@20, user by user, on the seeds (-> ranks [..., U]) that both have.

    It is mean, low, high of all levels together, and of ranks [4, U] levels, the same for each;
    empty where no seed is shared.
    """
    shared = [seed for seed in ours if seed in theirs]
    gaps = [metric_values(ours[s], METRIC) - metric_values(theirs[s], METRIC) for s in shared]
    if not gaps:
        return {}
    values = np.mean(gaps, axis=0)
    if values.ndim == 1:
        return metrics.mean_and_interval(values)
    return {**metrics.mean_and_interval(values.mean(0)), "levels": _by_level(values)}


def _by_level(values: np.ndarray) -> dict[str, dict[str, float]]:
    """Mean and interval of each level; values [4, U]."""
    return {level: metrics.mean_and_interval(v) for level, v in zip(LEVELS, values, strict=True)}
