"""Choose the weights of the score terms, on validation users and the choice half of real people.

Every system of `SYSTEMS` is fitted without terms; of all combinations of the weights tried, the
best has the highest mean of two values, averaged over seeds: NDCG@20 of the validation users (four
levels, equally) and NDCG@20 of the real requests of the half "choice". Popularity is a prior: it
counts once at most. The simulator finds examples by common attributes, so its validation users
would take any weight of that term: it has a limit.
"""

from dataclasses import asdict, fields, replace
from itertools import product
from typing import Any, cast

import numpy as np
from torch import Tensor

from experiments import program
from latentcrs_utils.config import TermWeights
from latentcrs_utils.em.terms import ScoreTerms, combine
from latentcrs_utils.evaluation.metrics import METRIC, metric_values
from latentcrs_utils.evaluation.one_turn import EvalSet, fit_all, one_turn_cases
from latentcrs_utils.evaluation.real_people import real_people_cases
from latentcrs_utils.evaluation.recording import Command, sizes
from latentcrs_utils.ranking import rank_of_target
from latentcrs_utils.run import prepare

# preset -> attribute of `Fitted`
SYSTEMS = {"terms_plus": "latentcrs_plus", "terms_fusion": "fusion", "terms_text": "text_alone"}
TRIED = {
    "behavior": (0.0, 0.5, 1.0, 2.0),
    "popularity": (0.0, 0.5, 1.0),
    "content": (0.0, 5.0, 10.0),
    "examples": (0.0, 2.0, 4.0, 6.0),
    "requirements": (0.0, 1.0, 3.0, 5.0),
}
ALL = TermWeights(*[1.0] * len(fields(TermWeights)))


def quality(parts: dict[str, Tensor], cases: EvalSet, weights: TermWeights) -> float:
    """NDCG@20 of some cases, levels equally, from their terms as `ScoreTerms.parts` gives them."""
    used = {name: part for name, part in parts.items() if getattr(weights, name)}
    scores, asked = combine(used, weights), cases.instances
    ranks = rank_of_target(scores, asked.targets, asked.histories)
    values, levels = metric_values(ranks.numpy(), METRIC), cases.frame["level"].to_numpy()
    return float(np.mean([values[levels == level].mean() for level in np.unique(levels)]))


def choose(asked: list[list[tuple[dict[str, Tensor], EvalSet]]]) -> list[dict[str, Any]]:
    """All combinations of `TRIED`, the best first, with both values; `asked`: seed -> the two."""
    rows = []
    for values in product(*TRIED.values()):
        weights = replace(TermWeights(), **dict(zip(TRIED, values, strict=True)))
        found = np.mean([[quality(*pair, weights) for pair in of] for of in asked], axis=0)
        rows.append(asdict(weights) | {"valid": found[0], "choice": found[1], "mean": found.mean()})
    return sorted(rows, key=lambda row: -row["mean"])


@program
def main(arguments: list[str] | None = None) -> None:
    """Choose for every system and record the ten best of each; presets.toml takes the first."""
    command = Command("experiments.terms", __doc__, seeds=True)
    options = command.read(arguments)
    data, language = prepare(command.say, options.data, "all")
    asked: dict[str, list[list[tuple[dict[str, Tensor], EvalSet]]]] = {name: [] for name in SYSTEMS}
    for seed in options.seeds:
        fitted = fit_all(data, language, seed=seed, say=command.say)
        valid = one_turn_cases(data, fitted.backbone, language, "valid")
        people = real_people_cases(data, fitted.backbone, language, "choice")
        for name, attribute in SYSTEMS.items():
            model, pairs = replace(getattr(fitted, attribute), terms=None), []
            terms = cast(ScoreTerms, ScoreTerms.of_data(data, fitted.backbone, ALL))
            for cases in (valid, people):
                S, x = cases.instances.S, cases.instances.x
                pairs.append((terms.parts(model.scores(S, x), S, cases.texts), cases))
            asked[name].append(pairs)
    found = {}
    for name, of_seeds in asked.items():
        command.say(f"Choosing {name}")
        rows = choose(of_seeds)
        if name == "terms_text":  # it reads no history
            rows = [row for row in rows if not row["behavior"]]
        found[name] = rows[:10]
        print("          ", {key: round(float(value), 4) for key, value in found[name][0].items()})
    command.record(options.record, {"seeds": options.seeds, "data": sizes(data), **found})
