"""Policies V and F in one turn: V's weight is chosen on validation users, then both are tested.

A language model reads every candidate once a text; all weights are compared on the same
likelihoods. With `--answers` they are kept, so a run that is stopped goes on where it was.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from experiments import program
from latentcrs_utils import Dataset, LocalChatModel
from latentcrs_utils.config import RerankConfig
from latentcrs_utils.constraints.constraint import Requirements, matcher_for
from latentcrs_utils.conversation.in_words import thing
from latentcrs_utils.conversation.policies import FilterPolicy, best_items, relax, untitled
from latentcrs_utils.conversation.reranking import Prior, RerankContext, fused_order, rerank
from latentcrs_utils.conversation.turn import Recommendation, describe
from latentcrs_utils.evaluation import one_turn
from latentcrs_utils.evaluation.dialogues import Answers
from latentcrs_utils.evaluation.metrics import METRIC, metric_values, paired_difference
from latentcrs_utils.evaluation.multi_turn import FILTERED
from latentcrs_utils.evaluation.one_turn import UNSEEN, EvalSet, Fitted, Scorer
from latentcrs_utils.evaluation.recording import Command
from latentcrs_utils.ranking import mask_items
from latentcrs_utils.run import prepare
from latentcrs_utils.support.progress import track

REFERENCE, FILTER = "LatentCRS+", "backbone + lexicon filter"
METRICS = ("Recall@5", "NDCG@5", "NDCG@20")
LIKELIHOOD = RerankConfig(method="likelihood")
N_CANDIDATES = LIKELIHOOD.n_candidates
WEIGHTS = (0.0, 0.01, 0.03, 0.1, 0.3, 1.0)
SEED = 0  # of the fit and the users
CHOSEN_ON = ("plain", "paraphrased")  # levels of the validation users


class Asked(NamedTuple):
    """What a language model was asked about one text."""

    candidates: tuple[Recommendation, ...]  # the recommender's best items, best first
    log_ratios: tuple[float, ...]  # how much likelier the words for each become by the context
    target: int  # the item to be found
    rank: int  # among all items by the recommender alone, 1 is best


def ask_about(
    data: Dataset, cases: EvalSet, scorer: Scorer, chat_model: Any, prior: Prior
) -> list[Asked]:
    """Let a language model, which has `score`, read the recommender's best items of every case;
    items of the history are left out. `prior` is that of `rerank`; a LatentCRSError of the model
    is not caught.
    """
    (ranks,), found = one_turn.evaluate(cases, {REFERENCE: scorer}).values(), []
    for row, text in enumerate(track(cases.texts, "Reading the best items", len(cases))):
        case = cases.take(slice(row, row + 1))
        seen = case.instances.histories[0].tolist()
        scores = mask_items(scorer(case)[0], {*seen, *untitled(data)})
        # every id counts: ranks of one turn are those of ids
        ids = best_items(scores, N_CANDIDATES, {})
        best = tuple(describe(data, item, float(scores[item])) for item in ids)
        context = RerankContext([data.titles[item] for item in seen], [text], thing(data.name))
        ratios = rerank(chat_model, best, context, LIKELIHOOD, prior).log_ratios
        found.append(Asked(best, ratios, int(case.instances.targets[0]), int(ranks[row])))
    return found


def ranks_of(asked: Sequence[Asked], weight: float) -> np.ndarray:
    """Rank of each target when its candidates are re-ordered with a weight, [N]."""
    ranks = []
    for of_text in asked:
        items = fused_order(of_text.candidates, of_text.log_ratios, weight)
        inside = of_text.target in items
        ranks.append(items.index(of_text.target) + 1 if inside else of_text.rank)
    return np.array(ranks, dtype=np.int64)


def compare(ours: np.ndarray, theirs: np.ndarray, users: np.ndarray) -> dict[str, float]:
    """Metrics of our ranks, each with ..._gap to theirs and its paired 95 % interval over users."""
    row: dict[str, float] = {}
    for metric in METRICS:
        values = metric_values(ours, metric)
        gap = paired_difference(values, metric_values(theirs, metric), users)
        row |= {metric: float(values.mean()), **gap.columns(metric)}
    return row


def weigh(
    asked: Sequence[Asked], users: np.ndarray, weights: Sequence[float]
) -> list[dict[str, float]]:
    """Compare every weight with the recommender's own order: weight and what `compare` gives."""
    alone = ranks_of(asked, 0.0)
    rows = ((w, compare(ranks_of(asked, w), alone, users)) for w in sorted(set(weights)))
    return [{"weight": w, **row} for w, row in rows]


def choose(rows: Sequence[dict[str, float]]) -> dict[str, float]:
    """The row with the highest NDCG@20; of equal ones that with less weight."""
    return max(rows, key=lambda row: (row[METRIC], -row["weight"]))


def filtered(data: Dataset, scorer: Scorer) -> Scorer:
    """Return policy F of a recommender, reading with the lexicon, as a row of a one-turn table."""
    policy, matcher = FilterPolicy(data), matcher_for(data)

    def score(cases: EvalSet) -> Tensor:
        scores = scorer(cases).clone()
        for row, text in enumerate(cases.texts):
            # what cannot be offered is no choice, so it keeps no requirement from being relaxed
            scores[row, [0, *cases.instances.histories[row].tolist()]] = -torch.inf
            wanted = policy.parse(text, Requirements()).requirements
            scores[row] = relax(scores[row], matcher, wanted)
        return scores

    return score


def filter_table(fitted: Fitted, cases: EvalSet) -> list[dict[str, Any]]:
    """F against B and against backbone + lexicon filter, on the same cases; one row a level: level,
    n, and of "LatentCRS+", the filter and "LatentCRS+ F" the metrics; of F also the gaps
    "to LatentCRS+" and "to backbone + lexicon filter" (see `compare`).
    """
    baselines = one_turn.scorers(fitted)
    systems = {name: baselines[name] for name in (REFERENCE, FILTER)}
    systems[FILTERED] = filtered(fitted.data, baselines[REFERENCE])
    ranks = one_turn.evaluate(cases, systems)
    users, table = cases.frame["user"].to_numpy(), []
    for level, rows in by_level(cases):
        row: dict[str, Any] = {"level": level, "n": len(rows)}
        for name, of_all in ranks.items():
            row[name] = {m: float(metric_values(of_all[rows], m).mean()) for m in METRICS}
        for other in (REFERENCE, FILTER):
            row[f"to {other}"] = compare(ranks[FILTERED][rows], ranks[other][rows], users[rows])
        table.append(row)
    return table


def by_level(cases: EvalSet) -> list[tuple[str, np.ndarray]]:
    """The four levels, each with the numbers of its cases."""
    level = cases.frame["level"].to_numpy()
    return [(name, np.flatnonzero(level == name)) for name in one_turn.LEVELS]


def validation_cases(fitted: Fitted, levels: Sequence[str], n: int, seed: int) -> EvalSet:
    """Draw n validation users who speak at one of some levels; each has one text."""
    cases = one_turn.one_turn_cases(fitted.data, fitted.backbone, fitted.language, "valid")
    able = np.flatnonzero(cases.frame["level"].is_in(list(levels)).to_numpy())
    return cases.take(np.sort(np.random.default_rng(seed).permutation(able)[:n]))


def cases_to_test(fitted: Fitted, n: int | None, seed: int) -> EvalSet:
    """Draw n test users (None: all), each at all levels, with unseen phrasing."""
    cases = one_turn.one_turn_cases(fitted.data, fitted.backbone, fitted.language)
    users = np.random.default_rng(seed).permutation(cases.frame["user"].unique().sort())[:n]
    unseen = cases.frame["phrasing"] == UNSEEN
    return cases.take(np.flatnonzero(cases.frame["user"].is_in(users.tolist()) & unseen))


@program
def main(arguments: list[str] | None = None, chat_model: Any = None) -> None:
    """Test F, weigh V on validation users and test it; record after each part.

    A `chat_model` takes the place of the one that is named in the command.
    """
    command = Command("experiments.reranking", __doc__)
    add, say = command.parser.add_argument, command.say
    add("--users", type=int, default=100, help="validation users (default: 100)")
    add("--test-users", type=int, default=100, help="each at all levels")
    add("--chat-model", default="smollm2", metavar="MODEL")
    add("--answers", type=Path, help="file in which likelihoods are kept")
    options = command.read(arguments)
    answers = Answers(chat_model or LocalChatModel(options.chat_model), options.answers)
    data, language = prepare(say, options.data, "all")
    fitted = one_turn.fit_all(data, language, seed=SEED, say=say)
    scorer, prior = one_turn.scorers(fitted)[REFERENCE], Prior()
    content = {"data": options.data, "model": answers.name, "seed": SEED, "phrasing": UNSEEN}

    def keep(part: str, found: Any) -> None:
        content[part] = found
        content["seconds_a_question"] = answers.counts["seconds_each"]
        command.record(options.record, content)

    say("F on all test users")
    keep("filter", filter_table(fitted, cases_to_test(fitted, None, SEED)))
    valid = validation_cases(fitted, CHOSEN_ON, options.users, SEED)
    say(f"V on {len(valid)} validation users")
    asked = ask_about(data, valid, scorer, answers, prior)
    rows = weigh(asked, valid.frame["user"].to_numpy(), WEIGHTS)
    for row in rows:
        say(f"  weight {row['weight']:g}: {METRIC} {row[METRIC]:.4f} ({row[f'{METRIC}_gap']:+.4f})")
    keep("validation", {"n": len(valid), "levels": CHOSEN_ON, "best": choose(rows), "rows": rows})
    # where the recommender alone is best, the best weight above 0 is tested all the same
    weight = choose([row for row in rows if row["weight"] > 0] or rows)["weight"]
    cases = cases_to_test(fitted, options.test_users, SEED)
    say(f"V on {len(cases)} texts of test users: weight {weight:g}")
    asked = ask_about(data, cases, scorer, answers, prior)
    ours, alone = ranks_of(asked, weight), ranks_of(asked, 0.0)
    users, table = cases.frame["user"].to_numpy(), []
    for level, chosen in by_level(cases):
        row = compare(ours[chosen], alone[chosen], users[chosen])
        say(f"  {level}: {METRIC} {row[METRIC]:.4f} ({row[f'{METRIC}_gap']:+.4f})")
        table.append({"level": level, "n": len(chosen), **row})
    keep("test", {"weight": weight, "n_candidates": N_CANDIDATES, "rows": table})
