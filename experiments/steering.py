"""Steering, turn by turn: people who push intents, answer questions, or like what is offered.

A simulated person has a film in mind and never sees a number of the model. It compares what is
shown (three films for each of six intents, two films of a question, five offered ones) with the
wished film by common viewers, genres and decade; to the sum of the three, in [0, 3], noise of a
standard deviation of 0, 0.15 or 0.3 is added. Where nothing looks more like the wish than three
quarters of all films do it says "none of these": it then refuses the bar that looks least like
it, leaves a question open, or likes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cache, partial
from itertools import product
from typing import Any

import numpy as np
import polars as pl
import torch
from torch import Tensor

from latentcrs_utils.config import ASK_ABOVE, CARELESS_SHARE
from latentcrs_utils.conversation.belief import N_LEADERS
from latentcrs_utils.conversation.steering import best_question, careless_share, log_likelihood
from latentcrs_utils.conversation.turn import Push, State
from latentcrs_utils.data.loading import load_dataset
from latentcrs_utils.data.sequences import Dataset, Sequences
from latentcrs_utils.em.model import LatentCRS
from latentcrs_utils.evaluation import metrics, one_turn
from latentcrs_utils.evaluation.metrics import METRIC, metric_values
from latentcrs_utils.evaluation.one_turn import EvalSet, Fitted
from latentcrs_utils.evaluation.recording import Command, sizes
from latentcrs_utils.intents import describe_anchor
from latentcrs_utils.language.encoding import embed
from latentcrs_utils.ranking import rank_of_target
from latentcrs_utils.simulation.utterances import simulate_utterances

N_CLICKS, N_OFFERED, N_FILMS = 4, 5, 3
NOISES, NOISE = (0.0, 0.15, 0.3), 0.15  # the one by which careless share and threshold are chosen
RIVAL = "fusion, likes"
Talker = tuple[Callable[[], Tensor], Callable[[Tensor, Tensor], None]]
"""Scores [N, V + 1] as things stand; and what people do, given five films [N, 5] and which films
will not be offered any more, bool [N, V + 1].
"""


def likeness(data: Dataset) -> Tensor:
    """How alike a person finds two films, [V + 1, V + 1] in [0, 3], the sum of three parts.

    These are the cosine of who watched them (training histories), the overlap of genres (Jaccard),
    and 1 for the same decade, 0.5 for the next or the one before.
    """
    train, has = data.histories("train"), one_turn.genre_table(data)[0].astype(np.float32)
    watched = np.zeros((len(train), data.n_items + 1), dtype=np.float32)
    watched[train.rows(), train.flat] = 1
    together, both = watched.T @ watched, has @ has.T
    sizes_of = np.sqrt(np.maximum(together.diagonal(), 1))
    either = has.sum(1)[:, None] + has.sum(1) - both
    decade = np.array([np.nan, *(year // 10 if year else np.nan for year in data.items["year"])])
    near = np.nan_to_num(np.clip(1 - np.abs(decade[:, None] - decade) / 2, 0, 1))
    parts = together / np.outer(sizes_of, sizes_of), both / np.maximum(either, 1), near
    return torch.from_numpy(np.sum(parts, axis=0)).float()


class People:
    """N people with a film in mind, `targets` [N]; `alike` is `likeness`."""

    def __init__(self, alike: Tensor, targets: Tensor, noise: float, seed: int):
        self.alike, self.targets, self.noise = alike[targets], targets, noise
        self._bar = self.alike[:, 1:].quantile(0.75, dim=1)
        self._generator = torch.Generator().manual_seed(seed)

    def compare(self, films: Tensor) -> tuple[list[int], list[int]]:
        """Which of the n groups of m films, int [N, n, m], looks most like the wish, and least.

        Nothing is -1. The wished film says nothing of a group; a group of it alone is the wish.
        """
        seen = self.alike.gather(1, films.flatten(1)).view(films.shape)
        others = films != self.targets[:, None, None]
        mean = (seen * others).sum(2) / others.sum(2).clamp_min(1) + 3.0 * ~others.any(2)
        looks = mean + self.noise * torch.randn(mean.shape, generator=self._generator)
        best, place = looks.max(1)
        return torch.where(best < self._bar, -1, place).tolist(), looks.argmin(1).tolist()


def liking(fitted: Fitted, name: str, likes: bool, cases: EvalSet, people: People) -> Talker:
    """People who like the offered film that looks most like the wish: the history grows by it.

    Whoever is offered the wish itself is content; without `likes` nobody does anything.
    """
    model, S, x = getattr(fitted, name), cases.instances.S.clone(), cases.instances.x
    histories = [row.tolist() for row in cases.instances.histories]
    liked = torch.zeros(people.alike.shape, dtype=torch.bool)

    def respond(offered: Tensor, gone: Tensor) -> None:
        places, _ = people.compare(offered[:, :, None])
        for n, (place, target) in enumerate(zip(places, people.targets, strict=True)):
            if likes and place >= 0 and target not in offered[n]:
                histories[n].append(int(offered[n, place]))
                liked[n, offered[n, place]] = True
        S.copy_(fitted.backbone.encode(Sequences.from_lists(histories)) if likes else S)

    return lambda: model.scores(S, x, cases.texts).masked_fill(liked, -torch.inf), respond


class Pushing:
    """People who push one of the bars that the chat shows; `films` [K, 3] stand for the intents.

    With `ask_above` nats they answer policy A's questions instead, whose expected `gains` are kept.
    """

    def __init__(
        self, model: LatentCRS, films: Tensor, ask_above: float | None, cases: EvalSet,
        people: People,
    ):  # fmt: skip
        self.model, self.films, self.ask_above, self.people = model, films, ask_above, people
        self.S, self.texts, self.gains = cases.instances.S, cases.texts, list[float]()
        self.context = model.context(self.S, cases.instances.x)
        self.pushes: list[list[Push]] = [[] for _ in range(len(cases))]
        self.log_intents, anchors = self.context.log_prior, model.generative.anchors
        self._no_push = torch.zeros(len(anchors))
        # no push is read twice
        self._log_likelihood = cache(lambda push: log_likelihood([push], anchors, CARELESS_SHARE))

    def scores(self) -> Tensor:
        """As of `Belief`; `log_intents` are then log p(m | S, x, pushes), [N, K]."""
        valid = (State((), pushes).pushes for pushes in self.pushes)
        said = torch.stack([sum(map(self._log_likelihood, of), self._no_push) for of in valid])
        self.log_intents = (self.context.log_prior + said).log_softmax(-1)
        pushed = replace(self.context, log_prior=self.log_intents)
        return self.model.final_scores(pushed, self.S, self.texts)

    def respond(self, offered: Tensor, gone: Tensor) -> None:
        """Push a bar, unless it was pushed so before, or answer, unless nothing is asked."""
        if self.ask_above is not None:
            return self._answer(self.ask_above, gone.clone())
        shown = self.log_intents.topk(min(N_LEADERS, len(self.films))).indices
        best, least = self.people.compare(self.films[shown])
        for n, (bars, pushes) in enumerate(zip(shown.tolist(), self.pushes, strict=True)):
            more, last = best[n] >= 0, {push.intent: push.more for push in pushes}
            intent = bars[best[n] if more else least[n]]
            if last.get(intent) != more:
                pushes.append(Push(intent, more, tuple(bars)))

    def _answer(self, ask_above: float, gone: Tensor) -> None:
        generative = self.model.generative
        asked = [best_question(p, generative.anchors, CARELESS_SHARE)
                 for p in self.log_intents.exp()]  # fmt: skip
        self.gains = self.gains or [gain for _, gain in asked]
        table, films = generative.item_table(), []
        for intents in torch.tensor([pair for pair, _ in asked]).T:
            films.append(table[intents].masked_fill(gone, -torch.inf).argmax(1))
            gone.scatter_(1, films[-1][:, None], True)
        places, _ = self.people.compare(torch.stack(films, 1)[:, :, None])
        for pushes, (pair, gain), place in zip(self.pushes, asked, places, strict=True):
            if gain >= ask_above and place >= 0:
                pushes.append(Push(pair[place], True, pair))


def talk(talker: Talker, cases: EvalSet) -> tuple[np.ndarray, np.ndarray]:
    """Rank of the wished film after 0..4 clicks, and whether it was offered by then, [5, N]."""
    targets, histories = cases.instances.targets, cases.instances.histories
    (score, respond), everybody = talker, torch.arange(len(targets))
    ranks, found, gone = [], [], torch.empty(0)
    for click in range(N_CLICKS + 1):
        scores = score()
        if not click:
            gone = torch.zeros(scores.shape, dtype=torch.bool)
            gone[histories.rows(), histories.flat] = True
        ranks.append(rank_of_target(scores, targets, histories))
        offered = scores.masked_fill(gone, -torch.inf).topk(N_OFFERED).indices
        gone.scatter_(1, offered, True)
        found.append(gone[everybody, targets].clone())
        if click < N_CLICKS:
            respond(offered, gone)
    return torch.stack(ranks).numpy(), torch.stack(found).numpy()


def validate(fitted: Fitted, films: Tensor, alike: Tensor, seed: int) -> tuple[float, np.ndarray]:
    """The careless share of the validation people's first pushes, and what questions bring them.

    That is [2, N]: the expected gain in nats, and what the first answer changed in NDCG@20.
    """
    data, model = fitted.data, fitted.latentcrs_plus
    cases = one_turn.one_turn_cases(data, fitted.backbone, fitted.language, "valid")
    people = People(alike, cases.instances.targets, NOISE, seed)
    pushing, asked = (Pushing(model, films, above, cases, people) for above in (None, 0.0))
    pushing.respond(torch.empty(0), torch.empty(0))
    first, second, *_ = metric_values(talk((asked.scores, asked.respond), cases)[0], METRIC)
    posteriors = model.exact_posterior(people.targets, cases.instances.S, cases.instances.x)
    first_of = [pushes[0] for pushes in pushing.pushes]
    share = careless_share(first_of, posteriors, model.generative.anchors)
    return share, np.stack([asked.gains, second - first])


def talkers(fitted: Fitted, films: Tensor) -> dict[str, Callable[[EvalSet, People], Talker]]:
    """Name -> what makes the dialogues of a system."""

    def pushing(ask_above: float | None, cases: EvalSet, people: People) -> Talker:
        made = Pushing(fitted.latentcrs_plus, films, ask_above, cases, people)
        return made.scores, made.respond

    return {
        "fusion, silent": partial(liking, fitted, "fusion", False),
        RIVAL: partial(liking, fitted, "fusion", True),
        "LatentCRS+, silent": partial(liking, fitted, "latentcrs_plus", False),
        "LatentCRS+, likes": partial(liking, fitted, "latentcrs_plus", True),
        "LatentCRS+, pushes": partial(pushing, None),
        "LatentCRS+, answers": partial(pushing, ASK_ABOVE),
    }


def summarise(
    held: Mapping[str, Sequence[tuple[np.ndarray, np.ndarray]]], levels: np.ndarray
) -> list[dict[str, Any]]:
    """A row a level, click and system: NDCG@20, and the S of so many turns, with paired gaps.

    `held` has the results of `talk` by seed, over which means are taken; gaps are to `RIVAL`, with
    95 % intervals over users.
    """
    rows = []
    means = {
        name: {METRIC: np.mean([metric_values(ranks, METRIC) for ranks, _ in of], axis=0),
               "S": np.mean([found for _, found in of], axis=0)} for name, of in held.items()
    }  # fmt: skip
    for level, click, name in product(one_turn.LEVELS, range(N_CLICKS + 1), held):
        row: dict[str, Any] = {"level": level, "clicks": click, "system": name}
        for metric, values in means[name].items():
            ours, theirs = (v[click, levels == level] for v in (values, means[RIVAL][metric]))
            gap = metrics.paired_difference(ours, theirs)
            row |= {metric: float(ours.mean()), **gap.columns(metric)}
        rows.append(row)
    return rows


def main(arguments: list[str] | None = None) -> None:
    """Run the command; see `--help`."""
    command = Command("experiments.steering", __doc__, seeds=True)
    options = command.read(arguments)
    data = load_dataset(options.data)
    language, alike = embed(simulate_utterances(data, seed=0)), likeness(data)
    checked, held, levels = [], {noise: dict[str, list[Any]]() for noise in NOISES}, np.array([])
    for seed in options.seeds:
        fitted = one_turn.fit_all(data, language, seed=seed, say=command.say)
        anchors, cases = fitted.anchors, one_turn.one_turn_cases(data, fitted.backbone, language)
        shown = [describe_anchor(anchors, data, j, N_FILMS)["item"] for j in range(anchors.K)]
        films = torch.from_numpy(np.array(shown)).long()
        checked.append(validate(fitted, films, alike, seed))
        cases = cases.take(np.flatnonzero(cases.frame["phrasing"] == one_turn.UNSEEN))
        levels = cases.frame["level"].to_numpy()
        for noise, (name, make) in product(NOISES, talkers(fitted, films).items()):
            command.say(f"Noise {noise}: {name}")
            people = People(alike, cases.instances.targets, noise, seed)
            held[noise].setdefault(name, []).append(talk(make(cases, people), cases))
    gains, change = np.concatenate([answers for _, answers in checked], axis=1)
    band = np.floor(100 * gains) / 100
    made = {
        "data": sizes(data), "seeds": options.seeds, "phrasing": one_turn.UNSEEN,
        "in_config": {"CARELESS_SHARE": CARELESS_SHARE, "ASK_ABOVE": ASK_ABOVE},
        "careless_shares": [share for share, _ in checked],
        "answers": [{"gain_from": at, "n": int((band == at).sum()),
                     **metrics.mean_and_interval(change[band == at])}
                    for at in np.unique(band).tolist()],
    }  # fmt: skip
    results = [{"noise": n, **row} for n in NOISES for row in summarise(held[n], levels)]
    command.record(options.record, {**made, "results": results})
    print(made)
    at_end = pl.DataFrame(results).filter(noise=NOISE, clicks=N_CLICKS)
    with pl.Config(tbl_rows=-1, tbl_cols=-1, float_precision=3, fmt_str_lengths=40):
        print(at_end.drop("noise", "clicks"))


if __name__ == "__main__":
    main()
