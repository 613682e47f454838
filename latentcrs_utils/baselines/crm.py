"""CRM: a tracker of beliefs, a factorisation machine, and a policy that asks or recommends.

Sun and Zhang, "Conversational Recommender System" (SIGIR 2018). Beliefs about the attributes are
the state, the machine scores the items for user and beliefs, and a network of one hidden layer
chooses among A questions and a list. It imitates maximum entropy, then learns by REINFORCE
(Williams 1992) with the mean return as baseline and the rewards of the game (`Rewards`).

Simplified: the tracker reads words and pairs of words with one softmax an attribute instead of an
LSTM, and only "CRM (own tracker)" uses it: all rivals hear by the same parser. The dialogue goes on
after a refused list, and the state has entropies, history and number of candidates, as in EAR (Lei
et al. 2020). Not repeated from the public codes: ReLU and dropout on the logits, scores as keys of
a dict (ties collide), the target last among the candidates, episodes with test targets.
"""

import re
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from latentcrs_utils.baselines import questions
from latentcrs_utils.baselines.attributes import Attributes, attributes_of
from latentcrs_utils.baselines.factorisation_machine import descend, fit_factors
from latentcrs_utils.baselines.floors import AbsoluteGreedy, MaximumEntropy
from latentcrs_utils.baselines.questions import Game, Known, Rewards, choose, entropies
from latentcrs_utils.config import Checked
from latentcrs_utils.constraints.constraint import Constraint
from latentcrs_utils.data.sequences import Dataset
from latentcrs_utils.language.encoding import UtteranceTable
from latentcrs_utils.simulation.users import answer_text
from latentcrs_utils.support.artifacts import Training, fingerprint, key, train_or_load

N_SIZES = 8  # of the one-hot code of how many lists of candidates are left, in powers of two
# of the tracker: hashed words, epochs, and copies of each yes and no among its training texts
N_ROWS, N_EPOCHS, N_ANSWERS = 2**14, 8, 20


@dataclass(frozen=True)
class CRMConfig(Checked):
    """Sizes and training of the policy: `n_imitations` games, then `n_updates` in each epoch."""

    hidden: int = 64
    learning_rate: float = 2e-3
    gamma: float = 0.95
    entropy_weight: float = 0.01
    batch_size: int = 64
    n_imitations: int = 40
    n_updates: int = 20
    n_epochs: int = 15
    patience: int = 6
    n_turns: int = 15
    n_items: int = 10


@dataclass(frozen=True)
class CRM(AbsoluteGreedy):
    """A fitted CRM; it scores as absolute greedy does. It may hear by a `Tracker` as `attributes`.

    The first row of `curve` is the imitator's: epoch, return (mean, of the dialogues learned from),
    and valid_success, valid_turns, valid_hdcg of other users; the last chooses the epoch.
    """

    network: nn.Module
    curve: tuple[dict[str, Any], ...] = ()

    def actions(self, known: Known, scores: Tensor) -> Tensor:
        """The likeliest question, 0..A-1, or A for a list, [N]."""
        return self.logits(known, scores).argmax(1)

    def logits(self, known: Known, scores: Tensor) -> Tensor:
        """Logits of all actions, [N, A + 1]; settled questions are out of reach."""
        logits = self.network(self.state(known, scores))
        return logits.masked_fill(F.pad(known.settled, (0, 1)), -1e9)

    def state(self, known: Known, scores: Tensor) -> Tensor:
        """What the policy sees, [N, 3 A + 13].

        Beliefs; entropies among the candidates, counted equally and by probability; size of their
        set; how probably a list has the target; shares of yes, no, refused lists; the turns left.
        """
        p = torch.softmax(scores.masked_fill(~known.candidates, -1e9), dim=1)
        open_ones = [entropies(known, self.attributes, weights) for weights in (None, p)]
        parts = [e.masked_fill(known.settled, 0.0) / np.log(2) for e in open_ones]
        n_lists = known.candidates.sum(1) / known.n_items
        size = n_lists.clamp_min(1).log2().long().clamp_max(N_SIZES - 1)
        listed = p.topk(min(known.n_items, p.shape[1]), dim=1).values.sum(1, keepdim=True)
        n_turns, kinds = known.events.shape[1], (questions.YES, questions.NO, questions.MISSED)
        past = torch.stack([(known.events == kind).float().mean(1) for kind in kinds], dim=1)
        left = torch.full_like(listed, 1 - known.turn / n_turns)
        return torch.cat([known.beliefs, *parts, F.one_hot(size, N_SIZES), listed, past, left], 1)


def fit_crm(data: Dataset, *, config: CRMConfig | None = None, seed: int = 0) -> CRM:
    """Fit, or load, CRM: the machine on training actions, the policy on validation targets.

    One half of the users gives the dialogues to learn from, the other chooses the best epoch.
    """
    config, rewards, attributes = config or CRMConfig(), Rewards(), attributes_of(data)
    machine, n = fit_factors(data, seed=seed)[0], len(attributes)
    size: dict[str, Any] = {"n_turns": config.n_turns, "n_items": config.n_items}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        layers = nn.Linear(3 * n + N_SIZES + 5, config.hidden), nn.Linear(config.hidden, n + 1)
        crm = CRM(attributes, machine, nn.Sequential(layers[0], nn.ReLU(), layers[1]))

        def train(checkpoint: Path | None) -> tuple[dict[str, Tensor], dict[str, Any]]:
            generator = torch.Generator().manual_seed(seed)
            users = torch.randperm(data.n_users, generator=generator).numpy()
            own, others = users[::2], users[1::2][:500]
            game: Any = partial(questions.held_out_game, attributes, data, "valid", **size)

            def new_game() -> Game:
                some = torch.randint(len(own), (config.batch_size,), generator=generator).numpy()
                return game(own[some], int(torch.randint(2**31, (), generator=generator)))

            optimiser = torch.optim.Adam(crm.network.parameters(), lr=config.learning_rate)
            training = Training(crm.network, [optimiser], generator, checkpoint)
            imitate(crm, [new_game() for _ in range(config.n_imitations)], optimiser)
            training.resume()
            for epoch in training.epochs(
                config.n_epochs, value="valid_hdcg", patience=config.patience, label="CRM"
            ):
                updates = range(config.n_updates if epoch > 1 else 0)
                returns = [reinforce(crm, new_game(), optimiser, config, rewards) for _ in updates]
                played = questions.play(crm, game(others, seed))
                measures = {f"valid_{name}": float(of.mean()) for name, of in vars(played).items()}
                row = {"epoch": epoch, "return": float(np.mean(returns or 0.0))}
                training.curve.append(row | measures)
            return training.best_state, {"curve": training.curve}

        parts = {"config": config, "rewards": rewards, "seed": seed, "data": data.fingerprint}
        parts |= {"fitted": fingerprint(attributes.has, *machine.state_dict().values())}
        state, facts = train_or_load("crm", parts, train)
    crm.network.eval().requires_grad_(False).load_state_dict(state)
    return replace(crm, curve=tuple(facts["curve"]))


def imitate(crm: CRM, games: Sequence[Game], optimiser: torch.optim.Optimizer) -> None:
    """Learn by cross-entropy, turn by turn, what maximum entropy does in some games."""
    teacher = MaximumEntropy(crm.attributes, crm.machine)
    for game in games:
        while game.active.any():
            actions, scores = choose(teacher, game.known)
            if (free := game.active & ~game.known.no_use_to_ask).any():
                logits = crm.logits(game.known, scores)
                descend(optimiser, F.cross_entropy(logits[free], actions[free]))
            game.step(actions, scores)


def reinforce(
    crm: CRM, game: Game, optimiser: torch.optim.Optimizer, config: CRMConfig, rewards: Rewards
) -> float:
    """Play a game with drawn actions, learn from it once, and give its mean return.

    An action counts by its return, sum_k gamma^k r_k, less that turn's mean of all dialogues.
    """
    turns = list[tuple[Tensor, Tensor, Tensor]]()
    while (active := game.active).any():
        forced, scores = game.known.no_use_to_ask, crm.scores(game.known)
        chances = torch.distributions.Categorical(logits=crm.logits(game.known, scores))
        drawn = chances.sample()
        terms = torch.stack([chances.log_prob(drawn), chances.entropy()]) * (active & ~forced)
        actions = torch.where(forced, len(crm.attributes), drawn)
        turns.append((terms, game.step(actions, scores, rewards), active))
    total, cost = torch.zeros(len(game.targets)), torch.tensor(0.0)
    for (log_p, entropy), reward, active in reversed(turns):
        total = reward + config.gamma * total
        advantage = total - total[active].mean()
        cost = cost - (advantage * log_p).sum() - config.entropy_weight * entropy.sum()
    descend(optimiser, cost / len(total))
    return float(total.mean())


class Tracker(Attributes):
    """CRM's own tracker: a softmax over (refused, silent, asked for) of each attribute.

    It is linear in the words and pairs of words of a text, hashed to the rows of `weights`
    [N_ROWS + 1, 3 A]; the last row is the bias. A belief is p(asked for) - p(refused).
    """

    def __init__(self, attributes: Attributes, weights: Tensor):
        self.__dict__.update(attributes.__dict__)
        self.weights = weights

    def beliefs(self, texts: Sequence[str]) -> Tensor:
        """How surely each text asks for (above 0) or refuses (below) an attribute, [N, A]."""
        refused, _, asked = torch.softmax(self.logits([*map(rows_of_text, texts)]), 2).unbind(2)
        return (asked - refused).round(decimals=1)  # so that what is hardly there is silent

    def logits(self, bags: Sequence[list[int]]) -> Tensor:
        """Logits of the three classes of every attribute, [N, A, 3], from the rows of N texts."""
        starts = torch.tensor([0, *map(len, bags[:-1])]).cumsum(0)
        flat = torch.tensor([row for bag in bags for row in bag])
        return F.embedding_bag(flat, self.weights, starts, mode="sum").view(len(bags), -1, 3)


def rows_of_text(text: str) -> list[int]:
    """The rows of a text's words, pairs of neighbouring words, and bias in a tracker's weights."""
    words = re.findall(r"[\w'-]+", text.lower())
    grams = sorted({*words, *map(" ".join, pairwise(words))})
    return [*(zlib.crc32(gram.encode()) % N_ROWS for gram in grams), N_ROWS]


def fit_tracker(data: Dataset, utterances: UtteranceTable, *, seed: int = 0) -> Tracker:
    """Fit, or load, the tracker on what training utterances express, and on yes and no."""
    attributes, frame = attributes_of(data), utterances.frame.filter(split="train")
    said = sorted({(text, *known) for text, known in frame.select("text", "conditions").rows()})
    for name in (*attributes.names, *(name.opposite for name in attributes.names)):
        said += [(answer_text(name), str(name))] * N_ANSWERS

    def train(checkpoint: Path | None) -> tuple[dict[str, Tensor], dict[str, Any]]:
        labels = torch.ones(len(said), len(attributes), dtype=torch.int64)
        for row, (_, *known) in enumerate(said):
            for signs in (attributes.signs(Constraint.parse(one)).long() for one in known):
                labels[row] = torch.where(signs != 0, signs + 1, labels[row])
        bags = [rows_of_text(text) for text, *_ in said]
        weights = torch.zeros(N_ROWS + 1, 3 * len(attributes), requires_grad=True)
        tracker, optimiser = Tracker(attributes, weights), torch.optim.Adam([weights], 0.05)
        generator = torch.Generator().manual_seed(seed)
        for _ in range(N_EPOCHS):
            for some in torch.randperm(len(said), generator=generator).split(256):
                logits = tracker.logits([bags[row] for row in some.tolist()])
                descend(optimiser, F.cross_entropy(logits.flatten(0, 1), labels[some].flatten()))
        return {"weights": weights.detach()}, {"texts": len(said)}

    parts = {"data": data.fingerprint, "seed": seed, "said": key(said=said)}
    return Tracker(attributes, train_or_load("crm_tracker", parts, train)[0]["weights"])
