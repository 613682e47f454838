"""The ablations of notebook 09: Table 5, Figure 3, the parts, and where intents are useful.

Choices are made on the validation users; the test users are ranked once for each variant, with
phrasings that training never saw, and every difference is taken user by user. What is fitted is
kept in the artifact cache, so a run that is stopped goes on where it was; the record is written
after each group.
"""

import json
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from typing import Any

import numpy as np

from experiments import intent_diagnostics as diagnostics
from experiments import program, variants
from experiments.variants import BEHAVIOR, FUSION, PAPER, PLUS, Variant, fit_variant, scores_of
from latentcrs_utils import DataError, Dataset, Language, preset
from latentcrs_utils.evaluation.metrics import METRIC, mean_and_interval, metric_values
from latentcrs_utils.evaluation.one_turn import LEVELS, EvalSet, evaluate, one_turn_cases
from latentcrs_utils.evaluation.real_people import describe_people, real_people_cases
from latentcrs_utils.evaluation.recording import Command, sizes
from latentcrs_utils.run import prepare

COMPARED = (BEHAVIOR, FUSION, PAPER, PLUS)
Models = dict[str, Any]
Say = Callable[[str], None]
# of each system at one place of the table: place, name, values [U], further facts
Measured = Iterator[tuple[dict[str, Any], str, np.ndarray, dict[str, float]]]
Measure = Callable[["Bench", Any, EvalSet, Models], Measured]


class Bench:
    """The data set, its sentences and the test cases of each backbone: what all variants share."""

    def __init__(self, data: Dataset, language: Language, seeds: list[int], say: Say):
        self.data, self.language, self.seeds, self.say = data, language, seeds, say
        self._cases: dict[int, tuple[EvalSet, EvalSet | None]] = {}

    def cases(self, backbone: Any) -> tuple[EvalSet, EvalSet | None]:
        """The unseen test cases as a backbone encodes them, and the reported half of the real
        requests, None where none is for an item of the data.
        """
        if id(backbone) not in self._cases:
            people = None
            with suppress(DataError):
                people = real_people_cases(self.data, backbone, self.language, "report")
            unseen = variants.unseen_cases(self.data, backbone, self.language)
            self._cases[id(backbone)] = unseen, people
        return self._cases[id(backbone)]

    def fits(self, what: str) -> Iterator[tuple[Any, EvalSet, dict[str, Any]]]:
        """Yield backbone, unseen cases and the models of `COMPARED`, fitted from each seed."""
        options = preset(self.data.name, self.data.n_users)
        chosen = {variant.name: variant for variant in variants.planned("parts", options)}
        for seed in self.seeds:
            fits = {n: fit_variant(chosen[n], self.data, self.language, seed) for n in COMPARED}
            backbone = fits[FUSION].backbone
            yield backbone, self.cases(backbone)[0], {name: fit.model for name, fit in fits.items()}
            self.say(f"{what}, seed {seed}")


def run_variants(chosen: Sequence[Variant], bench: Bench) -> list[dict[str, Any]]:
    """Fit, rank and describe every variant; one row each, with the difference to its reference."""
    ranks: dict[str, dict[int, np.ndarray]] = {}
    rows = []
    for variant in chosen:
        mine = ranks[variant.name] = {}
        unmasked, fits, people = [], [], []
        for seed in bench.seeds[:1] if variant.one_seed else bench.seeds:
            fitted = fit_variant(variant, bench.data, bench.language, seed)
            cases, said = bench.cases(fitted.backbone)
            scores = scores_of(fitted.model, cases)
            mine[seed] = variants.ranks_by_level(cases, scores)
            bare = variants.ranks_by_level(cases, scores, masked=False)
            unmasked.append(metric_values(bare, METRIC))
            fits.append(fitted)
            if said:
                people.append(evaluate(said, {variant.name: partial(scores_of, fitted.model)}))
        valid = [fitted.valid for fitted in fits if fitted.valid is not None]
        rows.append({
            "variant": variant.name, "value": variant.value, **variants.describe(mine),
            "unmasked": float(np.mean(unmasked)),
            "valid_ndcg10": float(np.mean(valid)) if valid else None,
            "reference": variant.reference,
            "people": said and describe_people(said, people, variant.name).to_dicts(),
        })  # fmt: skip
        bench.say(f"{variant.name}: NDCG@20 {rows[-1][METRIC]:.4f}, seeds {list(mine)}")
    for row in rows:
        if row["reference"]:
            row["difference"] = variants.difference(ranks[row["variant"]], ranks[row["reference"]])
    return rows


def measured(bench: Bench, what: str) -> dict[str, Any]:
    """A row of every place and system: mean and interval over users, and the gap to the fusion."""
    measure, about = MEASURES[what]
    found: dict[tuple[Any, str], list[tuple[np.ndarray, dict[str, float]]]] = defaultdict(list)
    for backbone, cases, models in bench.fits(what):
        for place, system, of_users, more in measure(bench, backbone, cases, models):
            found[tuple(place.items()), system].append((of_users, more))
    rows = []
    for (place, system), of_seeds in found.items():
        mine, fusion = (np.mean([v for v, _ in found[place, n]], axis=0) for n in (system, FUSION))
        more = {key: float(np.mean([fact[key] for _, fact in of_seeds])) for key in of_seeds[0][1]}
        row = {"system": system, **dict(place), **more, **mean_and_interval(mine)}
        if system != FUSION:
            row["difference"] = mean_and_interval(mine - fusion)
        rows.append(row)
    return {"reference": FUSION, **about, "rows": rows}


def by_user(values: np.ndarray) -> np.ndarray:
    """Mean over the levels, [4 U] -> [U]: a user's four sentences are not independent."""
    return values.reshape(len(LEVELS), -1).mean(0)


def cold_start(bench: Bench, backbone: Any, cases: EvalSet, models: Models) -> Measured:
    """NDCG@20 when only the last few items of a history are known."""
    for length in diagnostics.LENGTHS:
        cut = diagnostics.cold_start_cases(cases, backbone, length)
        for name, model in models.items():
            ranks = variants.ranks_by_level(cut, scores_of(model, cut))
            yield {"known_items": length}, name, metric_values(ranks, METRIC).mean(0), {}


def calibration(bench: Bench, backbone: Any, cases: EvalSet, models: Models) -> Measured:
    """Log-likelihood of the target and calibration error of the list, raw and at the temperature of
    the validation cases.
    """
    valid = one_turn_cases(bench.data, backbone, bench.language, "valid")
    for name, model in models.items():
        scores = scores_of(model, cases)
        temperature = diagnostics.best_temperature(scores_of(model, valid), valid)
        for way, divisor in (("raw", 1.0), ("tempered", temperature)):
            found = diagnostics.calibration(scores / divisor, cases)
            error = diagnostics.expected_calibration_error(found["promised"], found["kept"])
            means = {key: float(found[key].mean()) for key in ("promised", "kept")}
            facts = {"calibration_error": error, **means, "temperature": divisor}
            yield {"way": way}, name, by_user(found["log_likelihood"]), facts


def diversity(bench: Bench, backbone: Any, cases: EvalSet, models: Models) -> Measured:
    """How varied the lists of 20 are, and how much of the catalogue they reach."""
    for name, model in models.items():
        found = diagnostics.diversity(scores_of(model, cases), cases, bench.data)
        yield {}, name, by_user(found["distance"]), {"coverage": found["coverage"]}


def wishes(bench: Bench, backbone: Any, cases: EvalSet, models: Models) -> Measured:
    """Who knows the genre that was asked for, by its probabilities alone."""
    for level, name, hits in diagnostics.wishes(cases, bench.data, models):
        yield {"level": level, "n": len(hits)}, name, hits, {}


MEASURES: dict[str, tuple[Measure, dict[str, str]]] = {
    "cold start": (cold_start, {}),
    "calibration": (calibration, {"quantity": "log-likelihood of the target, nats"}),
    "diversity": (diversity, {"quantity": "mean genre distance within a list"}),
    "wishes": (wishes, {"quantity": "how surely the wished genre is told (0.5: not)"}),
}


@program
def main(arguments: list[str] | None = None) -> None:
    """Run all groups, or the one named by `--only`, and record each when it is done."""
    command = Command("experiments.ablations", __doc__, seeds=True)
    command.parser.add_argument("--only", metavar="GROUP", help="renew one group of the record")
    options = command.read(arguments)
    data, language = prepare(command.say, options.data, "all")
    bench = Bench(data, language, options.seeds, command.say)
    found = json.loads(options.record.read_text("utf-8"))["groups"] if options.only else {}
    record = {
        "data": sizes(data), "language_model": language.embedder.name, "phrasing": "unseen",
        "masked": True, "seeds": bench.seeds, "groups": found,
    }  # fmt: skip
    plan = variants.groups(data)
    for name in [options.only] if options.only else (*plan, *MEASURES, "synthetic"):
        command.say(f"group {name!r}")
        if name in plan:
            found[name] = {"rows": run_variants(plan[name], bench)}
        else:
            found[name] = (
                measured(bench, name) if name in MEASURES else diagnostics.recovery(bench.seeds)
            )
        found[name]["date"] = datetime.now(UTC).date().isoformat()
        command.record(options.record, record)
