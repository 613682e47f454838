"""Steering, turn by turn: people who push intents, answer questions, or like what is offered.

A simulated person has a film in mind and never sees a number of the model. It compares what is
shown (three films for each of six intents, two films of a question, five offered ones) with the
wished film by common viewers, genres and decade; to the sum of the three, in [0, 3], noise of a
standard deviation of 0, 0.15 or 0.3 is added. Where nothing looks more like the wish than three
quarters of all films do it says "none of these": it then refuses the bar that looks least like
it, leaves a question open, or likes nothing.
"""

from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import product
from typing import Any

import numpy as np
import torch
from torch import Tensor

from experiments import program
from experiments.intent_diagnostics import genre_overlap
from latentcrs_utils import Dataset, LatentCRS, Sequences
from latentcrs_utils.config import ASK_ABOVE, CARELESS_SHARE
from latentcrs_utils.conversation.belief import N_LEADERS
from latentcrs_utils.conversation.steering import best_question, careless_share, log_likelihood
from latentcrs_utils.conversation.turn import Push, State
from latentcrs_utils.evaluation import metrics
from latentcrs_utils.evaluation.metrics import METRIC, metric_values
from latentcrs_utils.evaluation.one_turn import LEVELS, UNSEEN, EvalSet, fit_all, one_turn_cases
from latentcrs_utils.evaluation.recording import Command, sizes
from latentcrs_utils.intents import describe_anchor
from latentcrs_utils.ranking import rank_of_target
from latentcrs_utils.run import prepare

N_CLICKS, N_OFFERED, N_FILMS = 4, 5, 3
NOISES, NOISE = (0.0, 0.15, 0.3), 0.15  # the one by which careless share and threshold are chosen
RIVAL = "fusion, likes"
Pushes = list[list[Push]]  # so far, of N people
# gives scores [N, V + 1], and is sent five films [N, 5] and what was ever offered, bool [N, V + 1]
Talker = Generator[Tensor, tuple[Tensor, Tensor], None]


def likeness(data: Dataset) -> Tensor:
    """How alike a person finds two films, [V + 1, V + 1] in [0, 3]: the cosine of who watched them
    (training histories), the overlap of genres (Jaccard), and 1 for the same decade, 0.5 for the
    next or the one before.
    """
    train = data.histories("train")
    watched = np.zeros((len(train), data.n_items + 1), dtype=np.float32)
    watched[train.rows(), train.flat] = 1
    together = watched.T @ watched
    norms = np.sqrt(np.maximum(together.diagonal(), 1))
    decade = np.array([np.nan, *(year // 10 if year else np.nan for year in data.items["year"])])
    near = np.nan_to_num(np.clip(1 - np.abs(decade[:, None] - decade) / 2, 0, 1))
    alike = torch.from_numpy(near + together / np.outer(norms, norms))
    return alike.add(genre_overlap(data)).float()


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


def liking(fitted: Any, name: str, likes: bool, cases: EvalSet, people: People) -> Talker:
    """People who like the offered film that looks most like the wish, by which the history grows,
    until the wish itself is offered; without `likes` nobody does anything.
    """
    model, S, x = getattr(fitted, name), cases.instances.S, cases.instances.x
    histories = [row.tolist() for row in cases.instances.histories]
    liked = torch.zeros(people.alike.shape, dtype=torch.bool)
    while True:
        offered, _ = yield model.scores(S, x, cases.texts).masked_fill(liked, -torch.inf)
        for n, place in enumerate(people.compare(offered[:, :, None])[0] if likes else ()):
            if place >= 0 and people.targets[n] not in offered[n]:
                histories[n].append(int(offered[n, place]))
                liked[n, offered[n, place]] = True
        S = fitted.backbone.encode(Sequences.from_lists(histories)) if likes else S


def push(films: Tensor, intents: Tensor, gone: Tensor, pushes: Pushes, people: People) -> None:
    """Push one of the bars that the chat shows, unless it was pushed so before; `films` [K, 3] are
    those of the intents, `intents` [N, K] log p(m | S, x, pushes).
    """
    shown = intents.topk(min(N_LEADERS, len(films))).indices
    found = zip(shown.tolist(), pushes, *people.compare(films[shown]), strict=True)
    for bars, of_one, best, least in found:
        more, intent = best >= 0, bars[best if best >= 0 else least]
        if {before.intent: before.more for before in of_one}.get(intent) != more:
            of_one.append(Push(intent, more, tuple(bars)))


def answer(
    model: LatentCRS, ask_above: float,
    intents: Tensor, gone: Tensor, pushes: Pushes, people: People,
) -> None:  # fmt: skip
    """Answer policy A's question, which is asked if it gains `ask_above` nats or more."""
    table, anchors, gone = model.generative.item_table(), model.generative.anchors, gone.clone()
    asked, films = [best_question(p, anchors, CARELESS_SHARE) for p in intents.exp()], []
    for of_all in torch.tensor([pair for pair, _ in asked]).T:
        films.append(table[of_all].masked_fill(gone, -torch.inf).argmax(1))
        gone.scatter_(1, films[-1][:, None], True)
    places, _ = people.compare(torch.stack(films, 1)[:, :, None])
    for of_one, (pair, gain), place in zip(pushes, asked, places, strict=True):
        if gain >= ask_above and place >= 0:
            of_one.append(Push(pair[place], True, pair))


def pushing(model: LatentCRS, act: Callable[..., None], cases: EvalSet, people: People) -> Talker:
    """People who `push`, or `answer`; the first arguments of these are given."""
    context = model.context(cases.instances.S, cases.instances.x)
    anchors, pushes = model.generative.anchors, Pushes([] for _ in cases.texts)
    while True:
        valid = (State((), of_one).pushes for of_one in pushes)
        said = torch.stack([log_likelihood(of_one, anchors, CARELESS_SHARE) for of_one in valid])
        pushed = replace(context, log_prior=(context.log_prior + said).log_softmax(-1))
        _, gone = yield model.final_scores(pushed, cases.instances.S, cases.texts)
        act(pushed.log_prior, gone, pushes, people)


def talk(talker: Talker, cases: EvalSet) -> tuple[np.ndarray, np.ndarray]:
    """Rank of the wished film after 0..4 clicks, and whether it was offered by then, [5, N]."""
    targets, histories, scores = cases.instances.targets, cases.instances.histories, next(talker)
    ranks, found, gone = [], [], torch.zeros(scores.shape, dtype=torch.bool)
    gone[histories.rows(), histories.flat] = True
    for click in range(N_CLICKS + 1):
        ranks.append(rank_of_target(scores, targets, histories))
        offered = scores.masked_fill(gone, -torch.inf).topk(N_OFFERED).indices
        gone.scatter_(1, offered, True)
        found.append(gone[torch.arange(len(targets)), targets])
        if click < N_CLICKS:
            scores = talker.send((offered, gone))
    return torch.stack(ranks).numpy(), torch.stack(found).numpy()


def validate(model: LatentCRS, films: Tensor, cases: EvalSet, people: People) -> Any:
    """The careless share of the validation people's first pushes, and [2, N] of questions: the gain
    expected, in nats, and what the first answer changed in NDCG@20.
    """
    S, x, anchors = cases.instances.S, cases.instances.x, model.generative.anchors
    prior, pushes = model.context(S, x).log_prior, Pushes([] for _ in cases.texts)
    push(films, prior, torch.empty(0), pushes, people)
    posteriors = model.exact_posterior(people.targets, S, x)
    share = careless_share([first for (first,) in pushes], posteriors, anchors)
    gains = [best_question(p, anchors, CARELESS_SHARE)[1] for p in prior.exp()]
    ranks, _ = talk(pushing(model, partial(answer, model, 0.0), cases, people), cases)
    first, second, *_ = metric_values(ranks, METRIC)
    return share, np.stack([gains, second - first])


def summarise(held: Mapping[str, Sequence[Any]], levels: np.ndarray) -> list[dict[str, Any]]:
    """A row a level, click and system: NDCG@20, and the S of so many turns, means over the seeds of
    `held`, which are as of `talk`; gaps are to `RIVAL`, with 95 % intervals over users.
    """
    rows, means = [], {
        name: {METRIC: np.mean([metric_values(ranks, METRIC) for ranks, _ in of], axis=0),
               "S": np.mean([found for _, found in of], axis=0)} for name, of in held.items()
    }  # fmt: skip
    for level, click, name in product(LEVELS, range(N_CLICKS + 1), held):
        row: dict[str, Any] = {"level": level, "clicks": click, "system": name}
        for metric, values in means[name].items():
            ours, theirs = (v[click, levels == level] for v in (values, means[RIVAL][metric]))
            gap = metrics.paired_difference(ours, theirs)
            row |= {metric: float(ours.mean()), **gap.columns(metric)}
        rows.append(row)
    return rows


@program
def main(arguments: list[str] | None = None) -> None:
    """Run the command; see `--help`."""
    command = Command("experiments.steering", __doc__, seeds=True)
    options = command.read(arguments)
    data, language = prepare(command.say, options.data, "all")
    alike, checked, levels = likeness(data), [], np.array([])
    held = {noise: dict[str, list[Any]]() for noise in NOISES}
    for seed in options.seeds:
        fitted = fit_all(data, language, seed=seed, say=command.say)
        anchors, plus = fitted.anchors, fitted.latentcrs_plus
        shown = [describe_anchor(anchors, data, j, N_FILMS)["item"] for j in range(anchors.K)]
        films = torch.from_numpy(np.array(shown)).long()
        cases = one_turn_cases(data, fitted.backbone, language, "valid")
        people = People(alike, cases.instances.targets, NOISE, seed)
        checked.append(validate(plus, films, cases, people))
        cases = one_turn_cases(data, fitted.backbone, language)
        cases = cases.take(np.flatnonzero(cases.frame["phrasing"] == UNSEEN))
        levels = cases.frame["level"].to_numpy()
        talkers = {
            "fusion, silent": partial(liking, fitted, "fusion", False),
            RIVAL: partial(liking, fitted, "fusion", True),
            "LatentCRS+, silent": partial(liking, fitted, "latentcrs_plus", False),
            "LatentCRS+, likes": partial(liking, fitted, "latentcrs_plus", True),
            "LatentCRS+, pushes": partial(pushing, plus, partial(push, films)),
            "LatentCRS+, answers": partial(pushing, plus, partial(answer, plus, ASK_ABOVE)),
        }
        for noise, (name, make) in product(NOISES, talkers.items()):
            command.say(f"Noise {noise}: {name}")
            people = People(alike, cases.instances.targets, noise, seed)
            held[noise].setdefault(name, []).append(talk(make(cases, people), cases))
    gains, change = np.concatenate([answers for _, answers in checked], axis=1)
    band = np.floor(100 * gains) / 100
    made = {
        "data": sizes(data), "seeds": options.seeds, "phrasing": UNSEEN,
        "in_config": {"CARELESS_SHARE": CARELESS_SHARE, "ASK_ABOVE": ASK_ABOVE},
        "careless_shares": [share for share, _ in checked],
        "answers": [{"gain_from": at, "n": int((band == at).sum()),
                     **metrics.mean_and_interval(change[band == at])}
                    for at in np.unique(band).tolist()],
    }  # fmt: skip
    results = [{"noise": n, **row} for n in NOISES for row in summarise(held[n], levels)]
    command.record(options.record, {**made, "results": results})
    print(f"Noise {NOISE}, after {N_CLICKS} clicks: {METRIC} and S")
    for row in results:
        if (row["noise"], row["clicks"]) == (NOISE, N_CLICKS):
            print(f"{row['level']:12} {row['system']:20} {row[METRIC]:6.3f} {row['S']:6.3f}")
