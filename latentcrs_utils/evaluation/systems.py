"""The rows of the tables: every system, fitted from one seed, as a function that scores cases."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from latentcrs_utils.baselines.direct import DirectModel, fit_fusion, fit_text_alone
from latentcrs_utils.baselines.item_knn import item_knn
from latentcrs_utils.baselines.lexicon_filter import lexicon_mask
from latentcrs_utils.baselines.popularity import popularity
from latentcrs_utils.behavior.pretraining import Backbone, pretrain
from latentcrs_utils.data.sequences import Dataset
from latentcrs_utils.em.model import LatentCRS, fit_em
from latentcrs_utils.evaluation.one_turn import Cases, Scorer
from latentcrs_utils.intents import Anchors, find_anchors
from latentcrs_utils.language.encoding import Language


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
    """Fit (or load) every system of the one-turn table.

    Args:
        data: the data set; language: its embedded utterances, the same for all seeds.
        seed: of the backbone, the anchors and all fits.
        say: is told what comes next, one line each.
    """
    say("ICLRec backbone")
    backbone = pretrain(data, seed=seed)
    say("Intent anchors")
    anchors = find_anchors(backbone, data, seed=seed)
    say("Rivals without intents: text alone, fusion")
    text_alone = fit_text_alone(data, backbone, language, seed=seed)
    fusion = fit_fusion(data, backbone, language, seed=seed)
    say("LatentCRS (Algorithm 1)")
    paper = fit_em(data, backbone, anchors, language, residual=False, seed=seed)
    say("LatentCRS+ (Algorithm 1 with the residual)")
    plus = fit_em(data, backbone, anchors, language, residual=True, seed=seed)
    return Fitted(data, language, backbone, anchors, text_alone, fusion, paper, plus)


def scorers(fitted: Fitted) -> dict[str, Scorer]:
    """Name -> scores [N, V + 1] of the cases, in the order of the table.

    Of as many cases as the caller can hold scores of (`evaluate` asks for some at a time).
    """
    data, backbone = fitted.data, fitted.backbone
    popular = popularity(data)

    def by_popularity(cases: Cases) -> Tensor:
        return popular.expand(len(cases), -1)

    def by_backbone(cases: Cases) -> Tensor:
        return backbone.scores(cases.instances.S)

    def by_filter(cases: Cases) -> Tensor:
        allowed = torch.as_tensor(lexicon_mask(data, cases.texts))
        # What the filter removes stays below everything kept, in the backbone's own order.
        scores = by_backbone(cases)
        floor = scores[:, 1:].amin(1, keepdim=True) - scores[:, 1:].amax(1, keepdim=True) - 1
        return torch.where(allowed, scores, scores + floor)

    def by_model(model: DirectModel | LatentCRS) -> Scorer:
        return lambda cases: model.scores(cases.instances.S, cases.instances.x)

    return {
        "popularity": by_popularity,
        "item-kNN": lambda cases: item_knn(data, cases.instances.histories),
        "backbone alone": by_backbone,
        "text alone": by_model(fitted.text_alone),
        "backbone + lexicon filter": by_filter,
        "fusion without intents": by_model(fitted.fusion),
        "LatentCRS": by_model(fitted.latentcrs),
        "LatentCRS+": by_model(fitted.latentcrs_plus),
    }
