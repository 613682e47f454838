"""Level "real people": what people said in ReDial before they liked a film that was suggested.

The requests are `data/real_requests.jsonl`; data/README.md has source and licence. Nothing is
trained on them: the half "choice" may choose weights, the half "report" is only reported.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl
import torch

from latentcrs_utils.behavior.pretraining import Backbone
from latentcrs_utils.data.sequences import Dataset, Sequences
from latentcrs_utils.data.source import damaged
from latentcrs_utils.em.instances import Instances
from latentcrs_utils.errors import ConfigError, DataError
from latentcrs_utils.evaluation.metrics import mean_and_interval, metric_values
from latentcrs_utils.evaluation.one_turn import UNSEEN, EvalSet
from latentcrs_utils.language.encoding import Language
from latentcrs_utils.simulation.items import Catalogue
from latentcrs_utils.simulation.titles import Form, ways_to_say

LEVEL, REAL_REQUESTS = "real people", Path(__file__).parents[2] / "data" / "real_requests.jsonl"
HALVES, PEOPLE_METRICS = ("choice", "report"), ("Recall@5", "Recall@20", "NDCG@20")
Film = tuple[str, int | None]


class RealRequest(NamedTuple):
    """What a person had written so far, films (title, year) named by then, the one liked next."""

    dialogue: str
    text: str
    named: Sequence[Film]
    target: Film

    @property
    def half(self) -> str:
        """The half of its dialogue, by a hash: no other request and no order can change it."""
        return HALVES[hashlib.sha256(self.dialogue.encode()).digest()[0] % 2]


def read_requests(path: Path = REAL_REQUESTS) -> list[RealRequest]:
    """The requests of a file; a missing file or malformed line (it is named) is a DataError."""
    if not path.is_file():
        raise damaged(path, "is missing; it belongs to the repository, so run from a checkout")
    found = []
    for number, line in enumerate(path.read_bytes().splitlines(), start=1):
        try:
            match json.loads(line):
                case {"dialogue": str(d), "text": str(t), "named": list(n), "target": v} if t:
                    found.append(RealRequest(d, t, [_film(film) for film in n], _film(v)))
                case _:
                    raise ValueError("a key is missing, or its value of another kind")
        except ValueError as error:
            raise damaged(path, f"is no request ({error})", line=number) from error
    return found


def _film(value: Any) -> Film:
    match value:
        case [str(title), (int() | None) as year]:
            return title, year
    raise ValueError(f"{value!r:.60} is no title with a year or null")


class FilmFinder:
    """Finds the film of a catalogue that a title and a year of another source mean.

    Titles agree in any of the forms of `ways_to_say` but parts; the year may be off by one.
    """

    def __init__(self, catalogue: Catalogue):
        self._films: dict[Form, set[tuple[int, int]]] = {}  # of several ids of a film, the first
        for item in catalogue.items[1:]:
            for form in set().union(*ways_to_say(item.title)[:2]) if item.year else ():
                film = min(catalogue.same([item.item])), item.year or 0
                self._films.setdefault(form, set()).add(film)

    def __call__(self, title: str, year: int | None) -> int | None:
        """The item id, or None where no film fits or several do; the exact year comes first."""
        found = (self._films.get(form, ()) for form in set().union(*ways_to_say(title)[:2]))
        off = {film: abs(its - (year or its)) for films in found for film, its in films}
        nearest = [film for film in off if off[film] == min(off.values()) < 2]
        return nearest[0] if len(nearest) == 1 else None


def real_people_cases(data: Dataset, backbone: Backbone, language: Language, half: str) -> EvalSet:
    """The requests of one half whose target is an item of `data` that had not been named before.

    The history are the items named. In `frame` is no user but the dialogue, and whether the person
    is a stranger (has no history). ConfigError: an unknown half; DataError: no request fits.
    """
    if half not in HALVES:
        raise ConfigError(f"half={half!r} is unknown: choose one of {', '.join(HALVES)}.")
    find, rows, histories = FilmFinder(Catalogue(data)), [], []
    for request in read_requests():
        target, named = find(*request.target), [find(*film) for film in request.named]
        if request.half == half and target is not None and target not in named:
            histories.append([item for item in dict.fromkeys(named) if item is not None])
            rows.append((request.text, target, request.dialogue, not histories[-1], LEVEL, UNSEEN))
    if not rows:
        raise DataError(f"No request of {REAL_REQUESTS} is for an item of {data.name}: give films.")
    columns = ("text", "target", "dialogue", "stranger", "level", "phrasing")
    frame, sequences = pl.DataFrame(rows, columns, orient="row"), Sequences.from_lists(histories)
    texts, targets = frame["text"].to_list(), torch.tensor(frame["target"].to_list())
    S, x = backbone.encode(sequences), language.encode(texts)
    return EvalSet(Instances(S, x, targets, sequences), texts, frame.drop("text", "target"))


def describe_people(
    cases: EvalSet, ranks_by_seed: Sequence[Mapping[str, np.ndarray]], reference: str
) -> pl.DataFrame:
    """One row for strangers, people with a history and all, and each system of `evaluate`.

    `PEOPLE_METRICS`, averaged over seeds and requests, and their paired differences (_gap) to the
    system `reference` have 95 % intervals (_low, _high) that resample dialogues, not requests.
    """
    stranger, rows = cases.frame["stranger"].to_numpy(), []
    groups = {"strangers": stranger, "with history": ~stranger, "all": stranger | True}
    for (people, chosen), system in product(groups.items(), ranks_by_seed[0]):
        of = np.unique(cases.frame["dialogue"].to_numpy()[chosen], return_inverse=True)[1]
        row = {"people": people, "system": system, "n": len(of), "dialogues": len({*of})}
        for metric in PEOPLE_METRICS if len(of) else ():
            ours, theirs = (
                np.mean([metric_values(ranks[name][chosen], metric) for ranks in ranks_by_seed], 0)
                for name in (system, reference)
            )
            for name, values in ((metric, ours), (f"{metric}_gap", ours - theirs)):
                of_dialogue = np.bincount(of, values - values.mean()) * len({*of}) / len(of)
                mean, low, high = mean_and_interval(of_dialogue + values.mean()).values()
                row |= {name: mean, f"{name}_low": low, f"{name}_high": high}
        rows.append(row)
    return pl.DataFrame(rows)
