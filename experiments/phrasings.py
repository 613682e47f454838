"""How well words never heard are understood, by the number of training phrases; read by MiniLM.

The phrase books lose phrases of their training pools at random. The number of instances, what they
express, and the texts of validation and test stay.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import compress, product
from typing import Any

import numpy as np
import polars as pl
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score
from sklearn.multiclass import OneVsRestClassifier

from experiments import program
from latentcrs_utils import SentenceEncoder, embed, load_dataset, pretrain, simulate_utterances
from latentcrs_utils.baselines.direct import fit_text_alone
from latentcrs_utils.config import SimulatorConfig
from latentcrs_utils.evaluation.one_turn import LEVELS, one_turn_cases
from latentcrs_utils.evaluation.recording import Command
from latentcrs_utils.ranking import ndcg, rank_by_factors
from latentcrs_utils.simulation.phrase_book import phrase_book
from latentcrs_utils.simulation.utterances import Utterances


def pools_of(part: dict[str, Any]) -> Iterator[list[str]]:
    """Yield the training pools of a part of the phrase book."""
    for name, of in part.items():
        yield from [of] if name == "train" else pools_of(of) if isinstance(of, dict) else []


@contextmanager
def thinned(share: float, draw: int) -> Iterator[int]:
    """Leave all training pools but the catalogue's words a share, at least one phrase each."""
    pools, rng = [*pools_of(phrase_book("films") | {"plain": {}})], np.random.default_rng(draw)
    whole = [list(pool) for pool in pools]
    for pool in pools:  # of one draw, those of a smaller share are among those of a larger one
        kept = rng.permutation(len(pool)) < max(1, round(share * len(pool)))
        pool[:] = compress(pool, kept)
    try:
        yield sum(map(len, pools))
    finally:
        for pool, phrases in zip(pools, whole, strict=True):
            pool[:] = phrases


def genres_f1(frame: pl.DataFrame, x: np.ndarray) -> float:
    """F1 of a linear reader of genres asked for or refused; paraphrased, unseen phrasings."""
    said = [{c for c in row if "genre=" in c} for row in frame["conditions"].to_list()]
    truth = np.array([[name in row for name in sorted(set().union(*said))] for row in said])
    level, split = frame["level"].to_numpy(), frame["split"].to_numpy()
    train = (split == "train") & frame["text"].is_first_distinct().to_numpy()
    held_out = [(level == "paraphrased") & (split == name) for name in ("valid", "test")]
    reader = OneVsRestClassifier(LogisticRegression(C=0.003, max_iter=500))
    p = reader.fit(x[train], truth[train]).predict_proba(x)
    steps = np.linspace(0.05, 0.6, 23)
    f1 = [[f1_score(truth[r], p[r] > t, average="micro") for r in held_out] for t in steps]
    return float(max(f1)[1])  # at the threshold that is best in validation


@program
def main(arguments: Sequence[str] | None = None) -> None:
    """Thin, simulate, train and rank for each share and draw; record what is known by then."""
    command = Command("experiments.phrasings", __doc__)
    options, draws = command.read(arguments), []
    data = load_dataset(options.data)
    backbone = pretrain(data)
    config = SimulatorConfig(n_cuts=3)
    held_out = simulate_utterances(data, config=config).frame.filter(pl.col("phrasing") != "train")
    for draw, share in product((0, 1, 2), (1, 1 / 2, 1 / 4, 1 / 8, 1 / 16)):
        command.say(f"A share of {share} of the phrases, draw {draw}")
        with thinned(share, draw) as n:
            train = simulate_utterances(data, config=config).frame.filter(split="train")
        language = embed(Utterances(pl.concat([train, held_out])), embedder=SentenceEncoder())
        model = fit_text_alone(data, backbone, language, seed=draw)
        cases = one_turn_cases(data, backbone, language)
        said_at = cases.frame["level"].to_numpy()
        S, x, targets, seen = vars(cases.instances).values()
        found = ndcg(rank_by_factors(model.scorer.query(S, x), model.items, targets, seen), 20)
        row = {"share": share, "draw": draw, "phrases": n, "texts": train["text"].n_unique()}
        row |= {level: found[said_at == level].mean().item() for level in LEVELS}
        draws.append(row | {"F1": genres_f1(language.utterances.frame, language.x.numpy())})
        means = pl.DataFrame(draws).group_by("share").mean().drop("draw").sort("share")
        command.record(options.record, {"means": means.to_dicts(), "draws": draws})
    print(means)
