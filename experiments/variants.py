"""The variants of the ablations: what is changed, one thing at a time, and the reference of each.

`groups` is the plan; `fit_variant` trains one variant from one seed, or loads it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from types import SimpleNamespace
from typing import Any, Literal

import numpy as np
import polars as pl
import torch
from torch import Tensor

from latentcrs_utils.baselines.direct import fit_fusion, fit_text_alone
from latentcrs_utils.behavior.pretraining import Backbone, pretrain
from latentcrs_utils.config import (
    ICLREC_AS_PUBLISHED,
    BackboneConfig,
    EMConfig,
    Preset,
    TermWeights,
    preset,
)  # fmt: skip
from latentcrs_utils.data.sequences import Dataset
from latentcrs_utils.em.instances import rows_of
from latentcrs_utils.em.model import fit_em
from latentcrs_utils.em.terms import ScoreTerms
from latentcrs_utils.errors import ConfigError
from latentcrs_utils.evaluation.metrics import (
    METRIC,
    describe_ranks,
    mean_and_interval,
    metric_values,
)
from latentcrs_utils.evaluation.one_turn import LEVELS, UNSEEN, EvalSet
from latentcrs_utils.intents import find_anchors
from latentcrs_utils.language.encoding import Language
from latentcrs_utils.ranking import rank_of_target
from latentcrs_utils.simulation.utterances import Utterances

System = Literal["em", "fusion", "text alone", "backbone"]

PAPER, PLUS, FUSION, BEHAVIOR, TEXT = (
    "LatentCRS", "LatentCRS+", "fusion without intents", "behavior only", "text only",
)  # fmt: skip
SHARES = (0.05, 0.1, 0.25)
SMALLEST_BATCH = 32
N_SAMPLED = 20


@dataclass(frozen=True)
class Variant:
    """One line of an ablation, named as in the tables; K and backbone default to the preset's."""

    name: str
    system: System = "em"  # what is fitted; "em" is Algorithm 1 with `em`
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


@dataclass(frozen=True)
class FittedVariant:
    """A fitted variant."""

    backbone: Backbone
    model: Any  # has `scores(S [B, d], x [B, d_x], texts) -> [B, V + 1]`
    valid: float | None  # best valid NDCG@10; None where nothing but the backbone is trained
    epochs: int  # passes over the instances until training stopped


def parts(options: Preset) -> list[Variant]:
    """With and without residual, intents, words, behavior."""
    return [
        Variant(PLUS, em=options.em_plus, reference=None),
        Variant(PAPER, em=options.em, reference=PLUS),
        Variant(FUSION, "fusion", reference=PLUS),
        Variant(TEXT, "text alone", reference=PLUS),
        Variant(BEHAVIOR, "backbone", reference=PLUS),
    ]


def intents_sweep(options: Preset, n_users: int) -> list[Variant]:
    """Figure 3's K, trained until the validation users see no more progress; one seed."""
    patient = replace(options.em, n_epochs_generative=60, n_epochs_alternate=30, patience=8)
    numbers = [K for K in (16, 64, 256, 512, 1024) if n_users >= K]
    own = options.anchors.K if options.anchors.K in numbers else 256
    return [
        Variant(
            f"K = {K}", em=patient, K=K, value=K, one_seed=True,
            reference=None if own == K else f"K = {own}",
        )
        for K in numbers
    ]  # fmt: skip


def weights_sweep(options: Preset, field: str, values: Sequence[float]) -> list[Variant]:
    """One weight of the losses around the preset's; one seed."""
    own, symbol = getattr(options.em, field), field.rstrip("_")
    return [
        Variant(
            f"{symbol} = {value:g}", em=replace(options.em, **{field: value}), value=value,
            one_seed=True, reference=None if value == own else f"{symbol} = {own:g}",
        )
        for value in sorted({*values, own})
    ]  # fmt: skip


def backbones(options: Preset) -> list[Variant]:
    """Ours (softmax) and ICLRec as published (one negative) under the same systems."""
    found, own = [], {variant.name: variant for variant in parts(options)}
    for system in (BEHAVIOR, PAPER, FUSION, PLUS):
        ours = replace(own[system], name=f"{system}, ours", reference=None, one_seed=True)
        name = f"{system}, ICLRec as published"
        published = replace(ours, name=name, backbone=ICLREC_AS_PUBLISHED, reference=ours.name)
        found += [ours, published]
    return found


def few_texts(options: Preset) -> list[Variant]:
    """`LatentCRS`, `LatentCRS+` and fusion with a share of the training texts."""
    found = []
    for share in (*SHARES, 1.0):
        few = Variant("", share=share, value=share, reference=f"{FUSION}, {share:.0%}")
        found.append(replace(few, name=f"{FUSION}, {share:.0%}", system="fusion", reference=None))
        for name, em in ((PAPER, options.em), (PLUS, options.em_plus)):
            found.append(replace(few, name=f"{name}, {share:.0%}", em=em))
    return found


def terms(options: Preset) -> list[Variant]:
    """What is added to the score, taken away one by one; who reads the words; history dropout."""
    plus, own = Variant(PLUS, em=options.em_plus, reference=None), options.terms_plus
    without = {
        f"{PLUS} without {name}": replace(plus, terms=replace(own, **{name: 0.0}))
        for name in ("behavior", "popularity", "content", "requirements")
    }
    changed = without | {
        f"{PLUS} without terms": replace(plus, terms=TermWeights()),
        f"{PLUS}, PromptEOL reads": replace(plus, reader=0),
        f"{PLUS}, MiniLM reads": replace(plus, reader=1),
        f"{PLUS} without history dropout": replace(plus, history_dropout=False),
        FUSION: Variant(FUSION, "fusion"),
        f"{FUSION} without terms": Variant(FUSION, "fusion", terms=TermWeights()),
        f"{FUSION} without history dropout": Variant(FUSION, "fusion", history_dropout=False),
        TEXT: Variant(TEXT, "text alone"),
        f"{TEXT} without terms": Variant(TEXT, "text alone", terms=TermWeights()),
        PAPER: Variant(PAPER, em=options.em),
        f"{PAPER} + popularity": Variant(PAPER, em=options.em, terms=TermWeights(popularity=1.0)),
    }
    return [plus, *(replace(v, name=name, reference=PLUS) for name, v in changed.items())]


def groups(data: Dataset) -> dict[str, list[Variant]]:
    """All groups of fitted variants for one data set, by name, in the order of notebook 09.

    "table 5" has the paper's three ablations and `LatentCRS+`; "readings" the logit form, the
    exact E-step and InfoNCE, each compared with the mixture form; "negatives" the mixture and the
    product with sampled negatives: the product form is trained with these only.
    """
    options = preset(data.name, data.n_users)
    paper = Variant(PAPER, em=options.em, reference=None)

    def but(name: str, reference: str | None = PAPER, **changes: Any) -> Variant:
        return Variant(name, em=replace(options.em, **changes), reference=reference)

    mixture = but(f"mixture, {N_SAMPLED} negatives", None, n_negatives=N_SAMPLED)
    product = but(
        f"product, {N_SAMPLED} negatives", mixture.name, n_negatives=N_SAMPLED, form="product"
    )
    return {
        "table 5": [
            paper,
            but("without inference model", n_epochs_q=0, infonce_weight=0.0, lambda_=0.0),
            but("direct KL alignment", schedule="joint"),
            but("without recommendation loss", n_epochs_q=0, alpha_E=0.0, alpha_M=0.0),
            Variant(PLUS, em=options.em_plus),
        ],
        "parts": parts(options),
        "terms": terms(options),
        "readings": [
            paper,
            but("logit form", form="logit"),
            but("exact E-step", e_step="exact"),
            but("without InfoNCE", infonce_weight=0.0),
        ],
        "negatives": [replace(variant, one_seed=True) for variant in (mixture, product)],
        "texts": few_texts(options),
        "K": intents_sweep(options, data.n_users),
        "lambda": weights_sweep(options, "lambda_", (0.0, 0.01, 1.0, 10.0)),
        "alpha_M": weights_sweep(options, "alpha_M", (0.0, 1.0, 20.0)),
        "alpha_E": weights_sweep(options, "alpha_E", (0.0, 1.0, 20.0)),
        "backbone": backbones(options),
    }


def fewer_texts(language: Language, share: float, seed: int) -> Language:
    """The same utterances with a share of the distinct training texts, drawn by `seed`.

    All training instances with a text that is left out go with it. Vectors are centred and scaled
    anew, with the texts that are left. ConfigError: the share is not in (0, 1].
    """
    if not 0 < share <= 1:
        raise ConfigError(f"share={share}: a share of the training texts lies in (0, 1].")
    if share == 1:
        return language
    frame = language.utterances.frame
    training = frame["split"] == "train"
    texts = frame.filter(training)["text"].unique(maintain_order=True)
    kept = texts.sample(max(2, round(share * len(texts))), seed=seed)
    rows = np.flatnonzero((~training | frame["text"].is_in(kept.implode())).to_numpy())
    left = frame[rows]
    raw = language.x[rows] * language.scale + language.mean
    first = left.with_row_index("row").filter(pl.col("split") == "train").unique("text")["row"]
    own = raw[np.sort(first.to_numpy())]
    mean, scale = own.mean(0), own.std(0).clamp(min=1e-3)
    return Language(Utterances(left), (raw - mean) / scale, mean, scale, language.embedder)


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
        return FittedVariant(backbone, model, None, 0)
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
    n_epochs = len(model.curve)
    if variant.terms is not None:
        model = replace(model, terms=ScoreTerms.of_data(data, backbone, variant.terms))
    if variant.reader:  # the second encoder's coordinates are the last ones
        d, read = len(language.mean), model.scores
        model = SimpleNamespace(scores=lambda S, x, texts: read(S, x[:, -d:], texts))
    return FittedVariant(backbone, model, max(values), n_epochs)


def unseen_cases(data: Dataset, backbone: Backbone, language: Language) -> EvalSet:
    """All test users at the four levels, phrasing not seen in training: 4 U cases, level by level.

    Level l of user u is case l U + u, so that ranks of these cases reshape to [4, U].
    """
    rows = rows_of(language, "test")
    frame = language.utterances.frame[rows].with_row_index("case")
    frame = frame.filter(frame["phrasing"] == UNSEEN)
    order = np.concatenate([frame.filter(level=level).sort("user")["case"] for level in LEVELS])
    return EvalSet.of_rows(data, backbone, language, rows[order], "level", "conditions")


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
    return {"seeds": list(ranks), **describe_ranks(stacked), "levels": levels}


def difference(ours: Mapping[int, np.ndarray], theirs: Mapping[int, np.ndarray]) -> dict[str, Any]:
    """Mean difference in NDCG@20, user by user, on the seeds (-> ranks [4, U]) that both have.

    It is mean, low, high of all levels together, and levels, the same for each; empty where no seed
    is shared.
    """
    gaps = mean_gaps(ours, theirs)
    if gaps is None:
        return {}
    return {**mean_and_interval(gaps.mean(0)), "levels": _by_level(gaps)}


def mean_gaps(
    ours: Mapping[int, np.ndarray], theirs: Mapping[int, np.ndarray]
) -> np.ndarray | None:
    """NDCG@20 of ours minus theirs in the shape of the ranks, averaged over the shared seeds.

    None where no seed is shared.
    """
    shared = [seed for seed in ours if seed in theirs]
    gaps = [metric_values(ours[s], METRIC) - metric_values(theirs[s], METRIC) for s in shared]
    return np.mean(gaps, axis=0) if gaps else None


def _by_level(values: np.ndarray) -> dict[str, dict[str, float]]:
    """Mean and interval of each level; values [4, U]."""
    return {level: mean_and_interval(v) for level, v in zip(LEVELS, values, strict=True)}
