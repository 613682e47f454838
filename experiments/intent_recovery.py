"""A world whose intents are known: do the anchors, q and p find them?"""

from collections.abc import Sequence
from itertools import product
from typing import Any

import numpy as np
import polars as pl
import torch
from sklearn.metrics import adjusted_rand_score
from torch import Tensor

from latentcrs_utils import Dataset, Language, LatentCRS, Utterances, embed, load_dataset, preset
from latentcrs_utils.config import SimulatorConfig
from latentcrs_utils.data.synthetic import synthetic_world
from latentcrs_utils.em.instances import Instances, instances_of, rows_of
from latentcrs_utils.evaluation.metrics import mean_and_interval
from latentcrs_utils.evaluation.one_turn import fit_all
from latentcrs_utils.intents import training_cuts
from latentcrs_utils.simulation.utterances import simulate_utterances

# Few sentences, said for many films: embedding is what costs here.
SIMULATOR = SimulatorConfig(n_cuts=1, n_reused_cuts=14)
LEVELS = ("plain", "paraphrased")


def synthetic_language(data: Dataset) -> Language:
    """Utterances of the generated world, embedded: training, validation, two levels of the test.

    Every second user is tested, in unseen phrasing.
    """
    frame = simulate_utterances(data, seed=0, config=SIMULATOR).frame
    split, level = pl.col("split"), pl.col("level")
    tested = (pl.col("phrasing") == "test") & level.is_in(LEVELS) & (pl.col("user") % 2 == 0)
    kept = split.is_in(["train", "valid"]) | ((split == "test") & tested)
    return embed(Utterances(frame.filter(kept)))


def mass_of_truths(item_probability: Tensor, truth_of_items: Tensor, n_truths: int) -> Tensor:
    """Probability of each true intent, [B, T], from that of the items [B, V + 1]."""
    member = torch.nn.functional.one_hot(truth_of_items.clamp_min(0), n_truths).float()
    member[0] = 0.0
    return item_probability @ member


def beliefs_in_truths(
    model: LatentCRS, cases: Instances, truth_of_items: Tensor, n_truths: int
) -> dict[str, Tensor]:
    """Three beliefs over the learned intents, translated into the n_truths = T true ones, [B, T].

    What a learned intent means is read off its own films: the true intents [V + 1] of p(v | m_j).
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
    data = load_dataset("synthetic")
    language = synthetic_language(data)
    options, n_truths = preset("synthetic"), world.config.n_intents
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
    for name, level in product(right, LEVELS):
        found = mean_and_interval(np.mean(right[name], axis=0)[frame["level"].to_numpy() == level])
        rows_by_level.append({"system": name, "level": level, "right": found.pop("mean"), **found})
    chance = float(truth.bincount().max() / len(truth))
    content = {"n_intents": n_truths, "n_cases": len(truth), "chance": chance}
    return {**content, "anchor_agreement": agreement, "rows": rows_by_level}
