"""Where intents may be useful: new users, calibrated probabilities, varied lists, known wishes.

Every measure takes fitted systems and the same test cases, and trains nothing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from experiments.variants import scores_of
from latentcrs_utils import Backbone, Dataset, LatentCRS
from latentcrs_utils.evaluation.one_turn import LEVELS, EvalSet, genre_table

LENGTHS = (0, 1, 2, 5, 10)
LIST = 20
TEMPERATURES = tuple(float(t) for t in np.geomspace(0.5, 3.0, 19))


def cold_start_cases(cases: EvalSet, backbone: Backbone, length: int) -> EvalSet:
    """The same cases as if only the last `length` items of each history were known.

    The whole history stays masked in the ranking, so that all lengths rank the same items.
    """
    n_users = len(cases.instances) // len(LEVELS)
    histories = cases.instances.histories.select(np.arange(n_users)).last(length)
    S = backbone.encode(histories).repeat(len(LEVELS), 1)
    return replace(cases, instances=replace(cases.instances, S=S))


def candidate_log_probability(scores: Tensor, cases: EvalSet) -> Tensor:
    """log of the softmax over what is not in the history, [B, V + 1]; the rest is -infinity."""
    histories, targets = cases.instances.histories, cases.instances.targets[:, None]
    hidden = torch.zeros(scores.shape, dtype=torch.bool)
    hidden[histories.rows(), histories.flat] = True
    hidden.scatter_(1, targets, False)
    hidden[:, 0] = True
    return scores.masked_fill(hidden, -torch.inf).log_softmax(1)


def expected_calibration_error(
    confidence: np.ndarray, correct: np.ndarray, n_bins: int = 10
) -> float:
    """Mean distance between what is promised, [N], and what comes true, 0 or 1, [N].

    It is taken over `n_bins` equally full bins.
    """
    parts = np.array_split(np.argsort(confidence, kind="stable"), n_bins)
    gaps = [abs(confidence[part].mean() - correct[part].mean()) * len(part) for part in parts]
    return float(np.sum(gaps) / len(confidence))


def best_temperature(scores: Tensor, cases: EvalSet) -> float:
    """The divisor of the scores that makes the targets of `cases` (validation) most likely."""

    def likelihood(temperature: float) -> float:
        log_p = candidate_log_probability(scores / temperature, cases)
        return float(log_p.gather(1, cases.instances.targets[:, None]).mean())

    return max(TEMPERATURES, key=likelihood)


def calibration(scores: Tensor, cases: EvalSet) -> dict[str, np.ndarray]:
    """What a system promises and what comes true, [N] each: `log_likelihood` of the target (nats),
    `promised`, the probability of the 20 items of its list, and `kept`, whether it is among them.
    """
    log_p = candidate_log_probability(scores, cases)
    targets = cases.instances.targets[:, None]
    top = log_p.topk(LIST, dim=1)
    return {
        "log_likelihood": log_p.gather(1, targets)[:, 0].numpy().astype(float),
        "promised": top.values.exp().sum(1).numpy().astype(float),
        "kept": (top.indices == targets).any(1).numpy().astype(float),
    }


def genre_overlap(data: Dataset) -> Tensor:
    """|both| / |either| of the genres of any two items, [V + 1, V + 1]; 0 where neither has one."""
    has = torch.from_numpy(genre_table(data)[0]).float()
    both, size = has @ has.T, has.sum(1)
    return both / (size[:, None] + size - both).clamp_min(1)


def diversity(scores: Tensor, cases: EvalSet, data: Dataset) -> dict[str, Any]:
    """How varied the lists of 20 are: `distance`, the mean Jaccard distance of the genres of two
    items of a list, [N], and `coverage`, the share of the catalogue that is in at least one list.
    """
    top = candidate_log_probability(scores, cases).topk(LIST, dim=1).indices
    first, second = torch.triu_indices(LIST, LIST, 1)
    distance = (1 - genre_overlap(data)[top[:, first], top[:, second]]).mean(1)
    return {
        "distance": distance.numpy().astype(float),
        "coverage": len(top.unique()) / data.n_items,
    }


def asked_genres(conditions: Sequence[Sequence[str]], names: Sequence[str]) -> list[list[int]]:
    """The columns of the genres that each case asks for (`genre=...`), in order."""
    column = {f"genre={name}": place for place, name in enumerate(names)}
    return [[column[c] for c in of_case if c in column] for of_case in conditions]


def tells_the_genre(mass: Tensor, asked: Sequence[Sequence[int]]) -> np.ndarray:
    """How surely each case is known by its wish, [N], 0 to 1; whoever knows nothing has 0.5.

    For each genre that the case asks for (`asked` has one or more columns of each case): the share
    of the cases without that wish that give the genre less `mass` [N, G] (equal mass counts half).
    Its mean over the cases of a genre is the area under the ROC curve, so frequent genres have no
    advantage.
    """
    wanted = torch.zeros(mass.shape, dtype=torch.bool)
    for case, columns in enumerate(asked):
        wanted[case, list(columns)] = True
    known = torch.full(mass.shape, torch.nan)
    for genre in wanted.any(0).nonzero()[:, 0].tolist():
        asking = wanted[:, genre]
        with_wish, without = mass[asking, genre], mass[~asking, genre]
        gap = with_wish[:, None] - without
        known[asking, genre] = ((gap > 0).float() + 0.5 * (gap == 0).float()).mean(1)
    return known.nanmean(1).numpy().astype(float)


def wishes(
    cases: EvalSet, data: Dataset, models: Mapping[str, Any]
) -> dict[str, dict[str, np.ndarray]]:
    """Does a system know which genre was asked for, before it names a single item?

    All models are judged by the genres that their probabilities add up to, those with intents also
    by their beliefs over intents alone. Returns level -> name -> `tells_the_genre` of the n cases
    that ask for a genre, [n].
    """
    has, names = genre_table(data)
    table = torch.from_numpy(has).float()
    asked = asked_genres(cases.frame["conditions"].to_list(), names)
    masses = {
        name: candidate_log_probability(scores_of(model, cases), cases).exp() @ table
        for name, model in models.items()
    }
    for name, model in models.items():
        if isinstance(model, LatentCRS):  # by p(v | m) alone: the residual is left out
            likes = torch.softmax(model.generative.item_table(), dim=1) @ table  # [K, G]
            prior = model.intent_prior(cases.instances.S, cases.instances.x)
            masses[f"p(m|S,x) of {name}"] = prior @ likes
            masses[f"q(m|S) of {name}"] = model.amortised_posterior(cases.instances.S) @ likes
    found: dict[str, dict[str, np.ndarray]] = {}
    for level in ("plain", "paraphrased"):
        chosen = [i for i, at in enumerate(cases.frame["level"]) if at == level and asked[i]]
        of_level = [asked[case] for case in chosen]
        found[level] = {n: tells_the_genre(mass[chosen], of_level) for n, mass in masses.items()}
    return found
