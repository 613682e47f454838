"""The ablations of notebook 09: Table 5, Figure 3, the parts, and where intents are useful.

Choices are made on the validation users; the test users are ranked once for each variant, with
phrasings that training never saw, and every difference is taken user by user. What is fitted is
kept in the artifact cache, so a run that is stopped goes on where it was; the record is written
after each group.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

import numpy as np

from experiments import intent_diagnostics as diagnostics
from experiments.intent_recovery import recovery
from experiments.variants import (
    BEHAVIOR,
    FUSION,
    PAPER,
    PLUS,
    Variant,
    describe,
    difference,
    fit_variant,
    groups,
    parts,
    ranks_by_level,
    scores_of,
    unseen_cases,
)
from latentcrs_utils.config import preset
from latentcrs_utils.data.loading import load_dataset
from latentcrs_utils.data.sequences import Dataset
from latentcrs_utils.errors import DataError
from latentcrs_utils.evaluation.metrics import METRIC, mean_and_interval, metric_values
from latentcrs_utils.evaluation.one_turn import LEVELS, EvalSet, evaluate, one_turn_cases
from latentcrs_utils.evaluation.real_people import describe_people, real_people_cases
from latentcrs_utils.evaluation.recording import Command, sizes
from latentcrs_utils.language.encoding import Language, embed
from latentcrs_utils.simulation.utterances import simulate_utterances

Values = dict[str, list[Any]]
COMPARED = (BEHAVIOR, FUSION, PAPER, PLUS)
Say = Callable[[str], None]


class Bench:
    """The data set, its sentences and the test cases of each backbone: what all variants share."""

    def __init__(self, data: Dataset, language: Language, seeds: Sequence[int], say: Say):
        self.data, self.language, self.seeds, self.say = data, language, list(seeds), say
        self._cases: dict[int, EvalSet] = {}
        self._people: dict[int, EvalSet | None] = {}

    def cases(self, backbone: Any) -> EvalSet:
        """The unseen test cases as this backbone encodes them."""
        if id(backbone) not in self._cases:
            self._cases[id(backbone)] = unseen_cases(self.data, backbone, self.language)
        return self._cases[id(backbone)]

    def people(self, backbone: Any) -> EvalSet | None:
        """The reported half of the real requests, None where none is for an item of the data."""
        if id(backbone) not in self._people:
            self._people[id(backbone)] = None
            with suppress(DataError):
                cases = real_people_cases(self.data, backbone, self.language, "report")
                self._people[id(backbone)] = cases
        return self._people[id(backbone)]

    def fits(self, what: str) -> Iterator[tuple[Any, EvalSet, dict[str, Any]]]:
        """Yield backbone, unseen cases and the models of `COMPARED`, fitted from each seed."""
        plan = parts(preset(self.data.name, self.data.n_users))
        chosen = [variant for variant in plan if variant.name in COMPARED]
        for seed in self.seeds:
            fits = {v.name: fit_variant(v, self.data, self.language, seed) for v in chosen}
            backbone = next(iter(fits.values())).backbone
            yield backbone, self.cases(backbone), {name: fits[name].model for name in COMPARED}
            self.say(f"{what}, seed {seed}")


def run_variants(variants: Sequence[Variant], bench: Bench) -> list[dict[str, Any]]:
    """Fit, rank and describe every variant; one row each, with the difference to its reference."""
    ranks: dict[str, dict[int, np.ndarray]] = {}
    rows = []
    for variant in variants:
        mine = ranks[variant.name] = {}
        unmasked, fits, people = [], [], []
        for seed in bench.seeds[:1] if variant.one_seed else bench.seeds:
            fitted = fit_variant(variant, bench.data, bench.language, seed)
            cases = bench.cases(fitted.backbone)
            scores = scores_of(fitted.model, cases)
            mine[seed] = ranks_by_level(cases, scores)
            unmasked.append(metric_values(ranks_by_level(cases, scores, masked=False), METRIC))
            fits.append(fitted)
            if said := bench.people(fitted.backbone):
                people.append(evaluate(said, {variant.name: partial(scores_of, fitted.model)}))
        valid = [fitted.valid for fitted in fits if fitted.valid is not None]
        rows.append({
            "variant": variant.name, "value": variant.value, **describe(mine),
            "unmasked": float(np.mean(unmasked)),
            "valid_ndcg10": float(np.mean(valid)) if valid else None,
            "epochs": [fitted.epochs for fitted in fits], "reference": variant.reference,
            "people": said and describe_people(said, people, variant.name).to_dicts(),
        })  # fmt: skip
        bench.say(f"{variant.name}: NDCG@20 {rows[-1][METRIC]:.4f}, seeds {list(mine)}")
    for row in rows:
        if row["reference"]:
            row["difference"] = difference(ranks[row["variant"]], ranks[row["reference"]])
    return rows


def _compared(name: str, values: Values, **more: Any) -> dict[str, Any]:
    """Mean and interval over users of one system's values, and the gap to the fusion."""
    mine = np.mean(values[name], axis=0)
    row = {"system": name, **more, **mean_and_interval(mine)}
    if name != FUSION:
        row["difference"] = mean_and_interval(mine - np.mean(values[FUSION], axis=0))
    return row


def by_user(values: np.ndarray) -> np.ndarray:
    """Mean over the levels, [4 U] -> [U]: a user's four sentences are not independent."""
    return values.reshape(len(LEVELS), -1).mean(0)


def run_cold_start(bench: Bench) -> dict[str, Any]:
    """NDCG@20 when only the last few items of a history are known."""
    values: dict[int, Values] = {length: defaultdict(list) for length in diagnostics.LENGTHS}
    for backbone, cases, models in bench.fits("cold start"):
        for length, of_length in values.items():
            cut = diagnostics.cold_start_cases(cases, backbone, length)
            for name, model in models.items():
                ranks = ranks_by_level(cut, scores_of(model, cut))
                of_length[name].append(metric_values(ranks, METRIC).mean(0))
    rows = [_compared(n, v, known_items=k) for k, v in values.items() for n in COMPARED]
    return {"reference": FUSION, "rows": rows}


def run_calibration(bench: Bench) -> dict[str, Any]:
    """Log-likelihood of the target and calibration error of the list, raw and with a temperature.

    The temperature is chosen on the validation cases.
    """
    values: dict[str, Values] = {"raw": defaultdict(list), "tempered": defaultdict(list)}
    facts: dict[tuple[str, str], list[dict[str, float]]] = {}
    for backbone, cases, models in bench.fits("calibration"):
        valid = one_turn_cases(bench.data, backbone, bench.language, "valid")
        for name, model in models.items():
            scores = scores_of(model, cases)
            temperature = diagnostics.best_temperature(scores_of(model, valid), valid)
            for way, divisor in (("raw", 1.0), ("tempered", temperature)):
                found = diagnostics.calibration(scores / divisor, cases)
                values[way][name].append(by_user(found["log_likelihood"]))
                error = diagnostics.expected_calibration_error(found["promised"], found["kept"])
                means = {key: float(found[key].mean()) for key in ("promised", "kept")}
                fact = {"calibration_error": error, **means, "temperature": divisor}
                facts.setdefault((way, name), []).append(fact)
    rows = []
    for (way, name), of_seeds in facts.items():
        means = {key: float(np.mean([fact[key] for fact in of_seeds])) for key in of_seeds[0]}
        rows.append(_compared(name, values[way], way=way, **means))
    return {"reference": FUSION, "quantity": "log-likelihood of the target, nats", "rows": rows}


def run_diversity(bench: Bench) -> dict[str, Any]:
    """How varied the lists of 20 are, and how much of the catalogue they reach."""
    values: Values = defaultdict(list)
    coverage: Values = defaultdict(list)
    for _, cases, models in bench.fits("diversity"):
        for name, model in models.items():
            found = diagnostics.diversity(scores_of(model, cases), cases, bench.data)
            values[name].append(by_user(found["distance"]))
            coverage[name].append(found["coverage"])
    rows = [_compared(n, values, coverage=float(np.mean(coverage[n]))) for n in COMPARED]
    return {"reference": FUSION, "quantity": "mean genre distance within a list", "rows": rows}


def run_wishes(bench: Bench) -> dict[str, Any]:
    """Who knows the genre that was asked for, by its probabilities alone."""
    values: dict[str, Values] = defaultdict(lambda: defaultdict(list))
    for _, cases, models in bench.fits("wishes"):
        intents = {name: models[name] for name in (PAPER, PLUS)}
        for level, hits_of in diagnostics.wishes(cases, bench.data, models, intents).items():
            for name, hits in hits_of.items():
                values[level][name].append(hits)
    rows = []
    for level, of_level in values.items():
        n = len(next(iter(of_level.values()))[0])
        rows += [_compared(name, of_level, level=level, n=n) for name in of_level]
    quantity = "how surely the wished genre is told (0.5: not)"
    return {"reference": FUSION, "quantity": quantity, "rows": rows}


MEASURES: dict[str, Callable[[Bench], dict[str, Any]]] = {
    "cold start": run_cold_start,
    "calibration": run_calibration,
    "diversity": run_diversity,
    "wishes": run_wishes,
    "synthetic": lambda bench: recovery(bench.seeds),
}


def main(arguments: list[str] | None = None) -> None:
    """Run all groups, or the one named by `--only`, and record each when it is done."""
    command = Command("experiments.ablations", __doc__, seeds=True)
    command.parser.add_argument("--only", metavar="GROUP", help="renew one group of the record")
    options = command.read(arguments)
    data = load_dataset(options.data)
    language = embed(simulate_utterances(data, seed=0))
    bench = Bench(data, language, options.seeds, command.say)
    found: dict[str, Any] = {}
    if options.only:
        found = json.loads(options.record.read_text("utf-8"))["groups"]
    record = {
        "data": sizes(data), "language_model": language.embedder.name, "phrasing": "unseen",
        "masked": True, "seeds": bench.seeds, "groups": found,
    }  # fmt: skip
    plan = groups(data)
    for name in [options.only] if options.only else (*plan, *MEASURES):
        command.say(f"group {name!r}")
        if name in plan:
            found[name] = {"rows": run_variants(plan[name], bench)}
        else:
            found[name] = MEASURES[name](bench)
        command.record(options.record, record)


if __name__ == "__main__":
    main()
