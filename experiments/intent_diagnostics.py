"""Where intents may be useful: new users, calibrated probabilities, varied lists, known wishes.

Those measures take fitted systems and the same test cases, and train nothing. `recovery` fits the
systems to a world whose intents are known: do the anchors, q and p find them?
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np
import polars as pl
import torch
from sklearn.metrics import adjusted_rand_score
from torch import Tensor

import latentcrs_utils as lc
from experiments.variants import scores_of
from latentcrs_utils import Backbone, Dataset, Language, LatentCRS
from latentcrs_utils.config import SimulatorConfig
from latentcrs_utils.data.synthetic import synthetic_world
from latentcrs_utils.em.instances import Instances, instances_of, rows_of
from latentcrs_utils.evaluation.metrics import mean_and_interval
from latentcrs_utils.evaluation.one_turn import LEVELS, EvalSet, fit_all, genre_table
from latentcrs_utils.intents import training_cuts

LENGTHS = (0, 1, 2, 5, 10)
LIST = 20
TEMPERATURES = tuple(float(t) for t in np.geomspace(0.5, 3.0, 19))
TOLD = ("plain", "paraphrased")  # levels at which a wish is put into words
# Few sentences, said for many films: embedding is what costs here.
SIMULATOR = SimulatorConfig(n_cuts=1, n_reused_cuts=14)


def cold_start_cases(cases: EvalSet, backbone: Backbone, length: int) -> EvalSet:
    """The same cases as if only the last `length` items of each history were known; the whole one
    stays masked in the ranking, so that all lengths rank the same items.
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
    """Mean distance of what is promised, [N], and comes true, 0 or 1, [N], in equally full bins."""
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
    coverage = len(top.unique()) / data.n_items
    return {"distance": distance.numpy().astype(float), "coverage": coverage}


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
) -> Iterator[tuple[str, str, np.ndarray]]:
    """Does a system know which genre was asked for, before it names a single item?

    All models are judged by the genres that their probabilities add up to, those with intents also
    by their beliefs over intents alone. Yields level, name and `tells_the_genre` of the n cases
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
    for level, (name, mass) in product(TOLD, masses.items()):
        chosen = [i for i, at in enumerate(cases.frame["level"]) if at == level and asked[i]]
        yield level, name, tells_the_genre(mass[chosen], [asked[case] for case in chosen])


def synthetic_language(data: Dataset) -> Language:
    """Utterances of the generated world, embedded; every second user is tested, at two levels."""
    frame = lc.simulate_utterances(data, seed=0, config=SIMULATOR).frame
    split, level = pl.col("split"), pl.col("level")
    tested = (pl.col("phrasing") == "test") & level.is_in(TOLD) & (pl.col("user") % 2 == 0)
    kept = split.is_in(["train", "valid"]) | ((split == "test") & tested)
    return lc.embed(lc.Utterances(frame.filter(kept)))


def mass_of_truths(item_probability: Tensor, truth_of_items: Tensor, n_truths: int) -> Tensor:
    """Probability of each true intent, [B, T], from that of the items [B, V + 1]."""
    member = torch.nn.functional.one_hot(truth_of_items.clamp_min(0), n_truths).float()
    member[0] = 0.0
    return item_probability @ member


def beliefs_in_truths(
    model: LatentCRS, cases: Instances, truth_of_items: Tensor, n_truths: int
) -> dict[str, Tensor]:
    """Three beliefs over the learned intents, translated into the n_truths = T true ones, [B, T]:
    what one means is read off its own films, by the true intents [V + 1] of p(v | m_j).
    """
    likes = torch.softmax(model.generative.item_table(), dim=1)  # [K, V + 1]
    meaning = mass_of_truths(likes, truth_of_items, n_truths)  # [K, T]
    beliefs = {
        "q(m|S), history alone": model.amortised_posterior(cases.S),
        "p(m|S,x), history and words": model.intent_prior(cases.S, cases.x),
        "p(m|v,S,x), and the choice": model.exact_posterior(cases.targets, cases.S, cases.x),
    }
    return {f"{model.name}: {name}": belief @ meaning for name, belief in beliefs.items()}


def recovery(seeds: Sequence[int]) -> dict[str, Any]:
    """Fit the systems to the generated world and ask each for the true intent of the next choice.

    `chance` is the share of the most frequent true intent, `anchor_agreement` the Adjusted Rand
    Index of the anchors and the true intents of the users' moments, by seed; rows tell who guesses,
    at which level, and the share of right guesses with its interval over cases.
    """
    world = synthetic_world()
    data = lc.load_dataset("synthetic")
    language = synthetic_language(data)
    options, n_truths = lc.preset("synthetic"), world.config.n_intents
    truth_of_items = torch.from_numpy(world.intents_of_items(data))
    steps = world.intents_of_steps(data)
    rows = rows_of(language, "test")
    frame = language.utterances.frame[rows]
    users, cuts = frame["user"].to_numpy(), frame["cut"].to_numpy()
    truth = torch.from_numpy(steps[data.interactions.offsets[users] + cuts])
    right: dict[str, list[np.ndarray]] = {}
    agreement = []
    for seed in seeds:
        fitted = fit_all(data, language, seed=seed)
        backbone, fusion, anchors = fitted.backbone, fitted.fusion, fitted.anchors
        of_users, ends = training_cuts(data, options.anchors.n_cuts, seed)
        moments = data.interactions.prefixes(of_users, ends)
        nearest = torch.cdist(backbone.encode(moments), anchors.centroids).argmin(1)
        now = steps[data.interactions.offsets[of_users] + ends - 1]
        agreement.append(float(adjusted_rand_score(now, nearest)))
        cases = instances_of(data, backbone, language, rows)
        guesses = {
            "backbone, behavior only": torch.softmax(backbone.scores(cases.S), 1),
            "fusion without intents": torch.softmax(fusion.scores(cases.S, cases.x), 1),
        }
        beliefs = {name: mass_of_truths(p, truth_of_items, n_truths) for name, p in guesses.items()}
        for model in (fitted.latentcrs, fitted.latentcrs_plus):
            beliefs |= beliefs_in_truths(model, cases, truth_of_items, n_truths)
        for name, belief in beliefs.items():
            hits = (belief.argmax(1) == truth).numpy().astype(float)
            right.setdefault(name, []).append(hits)
    rows_by_level = []
    for name, level in product(right, TOLD):
        found = mean_and_interval(np.mean(right[name], axis=0)[frame["level"].to_numpy() == level])
        rows_by_level.append({"system": name, "level": level, "right": found.pop("mean"), **found})
    chance = float(truth.bincount().max() / len(truth))
    content = {"n_intents": n_truths, "n_cases": len(truth), "chance": chance}
    return {**content, "anchor_agreement": agreement, "rows": rows_by_level}
