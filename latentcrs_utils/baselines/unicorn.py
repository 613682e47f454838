"""UNICORN (Deng et al., SIGIR 2021): one policy decides whether to ask, what, and what to offer.

A state is the graph of the user, the attributes and the candidate items; a graph layer and a
Transformer read it, and a duelling double deep Q-network values ten questions and ten items.

What is simplified: the vectors that score items are those of the factorisation machine, not of
TransE; they stay as they are, so that the episodes, whose targets are validation items, teach the
policy only. Its graph has the best candidates, and its sequence begins with the user's node, so
that there is one before anything is accepted. The network is smaller; episodes run side by side.

What the public code does, and this does not: pretrained vectors that never reach the policy; an
epsilon that falls to its floor after one step; importance weights on a loss that was averaged
before; padding actions that may win the argmax; a last turn written as a number; a choice of
attributes that fails for negative scores; validation and test interactions in the graph.
"""

from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from latentcrs_utils.baselines import factorisation_machine as fm
from latentcrs_utils.baselines.attributes import Attributes, attributes_of
from latentcrs_utils.baselines.prioritised_replay import PrioritisedReplay
from latentcrs_utils.baselines.questions import Game, Known, Rewards, entropies, held_out_game, play
from latentcrs_utils.config import Checked
from latentcrs_utils.data.sequences import Dataset
from latentcrs_utils.support.artifacts import Training, fingerprint, train_or_load


@dataclass(frozen=True)
class UnicornConfig(Checked):
    """Sizes, game and learning; an epoch plays `n_episodes`, of which `n_parallel` side by side.

    `n_actions` are offered of each kind; an update follows every `update_every` transitions.
    Epsilon falls in a line from the first to the last value during the first half of all epochs.
    The episodes of `choosing_share` of the users, at most 300, choose the epoch that is kept.
    """

    n_candidates: int = 100
    n_actions: int = 10
    width: int = 64
    n_heads: int = 4
    n_turns: int = 15
    n_items: int = 10
    rewards: Rewards = field(default_factory=Rewards)
    vectors: fm.FMConfig = field(default_factory=fm.FMConfig)
    gamma: float = 0.999
    tau: float = 0.01
    learning_rate: float = 1e-3
    batch_size: int = 64
    update_every: int = 8
    memory: int = 20_000
    first_beta: float = 0.4
    first_epsilon: float = 0.9
    last_epsilon: float = 0.1
    n_epochs: int = 8
    n_episodes: int = 320
    n_parallel: int = 64
    choosing_share: float = 0.2


class GraphState(NamedTuple):
    """Users [N], accepted attributes [N, A], candidates and their sigmoid(score) [N, C], actions.

    The best candidates come first, 0 pads. Of the pruned actions [N, K], the attributes of the
    largest weighted entropy are 0..A-1 and the best items v are A + v; A is padding.
    """

    users: Tensor
    accepted: Tensor
    items: Tensor
    edges: Tensor
    actions: Tensor


class QNetwork(nn.Module):
    """Graph layer, Transformer over the accepted attributes, duelling value and advantage."""

    nodes: Tensor
    has: Tensor

    def __init__(self, factors: "Factors", has: Tensor, config: UnicornConfig):
        super().__init__()
        n_attributes, width = len(factors.attributes), config.width
        nodes = torch.cat([factors.attributes, factors.items, factors.users])
        nodes = nodes / nodes.square().mean().sqrt()
        self.first_item, self.first_user = n_attributes, n_attributes + len(factors.items)
        self.register_buffer("nodes", nodes, persistent=False)
        self.register_buffer("has", has.T.float(), persistent=False)
        self.neighbours, self.itself = (nn.Linear(nodes.shape[1], width) for _ in range(2))
        sizes = (width, config.n_heads, 2 * width)
        self.transformer = nn.TransformerEncoderLayer(*sizes, dropout=0.0, batch_first=True)
        self.reading = nn.Linear(width, width)
        self.value = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 1))
        first = nn.Linear(width + nodes.shape[1], width)
        self.advantage = nn.Sequential(first, nn.ReLU(), nn.Linear(width, 1))

    def read(self, state: GraphState) -> Tensor:
        """Vectors of states, [N, width]; the graph has edges item-attribute (1) and user-item."""
        inside = nn.functional.pad(state.accepted, (1, 0), value=True)
        places = inside.int().argsort(dim=1, descending=True, stable=True)
        places = places[:, : int(inside.sum(1).max())]  # 0 is the user, a + 1 an attribute
        degrees = state.edges + self.has.sum(0)[state.items]
        edges = self.has[(places - 1).clamp_min(0)[:, :, None], state.items[:, None]]
        edges = torch.where(places[:, :, None] == 0, state.edges[:, None], edges)
        degrees = degrees[:, None] * edges.sum(2, keepdim=True)
        edges = edges * degrees.clamp_min(1e-9).rsqrt()
        received = edges @ self.nodes[self.first_item + state.items]
        users = self.first_user + state.users % (len(self.nodes) - self.first_user)
        own = self.nodes[torch.where(places == 0, users[:, None], places - 1)]
        sequence = torch.relu(self.neighbours(received) + self.itself(own))
        padding = ~inside.gather(1, places)
        mixed = self.transformer(sequence, src_key_padding_mask=padding)
        mixed = mixed.masked_fill(padding[:, :, None], 0.0).sum(1) / inside.sum(1, keepdim=True)
        return torch.relu(self.reading(mixed))

    def forward(self, state: GraphState) -> Tensor:
        """Q of every action, [N, K]; minus infinity for the padding."""
        vectors, none = self.read(state), state.actions == self.first_item
        told = vectors[:, None].expand(-1, state.actions.shape[1], -1)
        advantage = self.advantage(torch.cat([told, self.nodes[state.actions]], 2))
        advantage = advantage[:, :, 0].masked_fill(none, 0.0)
        mean = advantage.sum(1, keepdim=True) / (~none).sum(1, keepdim=True).clamp_min(1)
        return (self.value(vectors) + advantage - mean).masked_fill(none, -torch.inf)


class Factors(NamedTuple):
    """Vectors of users [U + 1, d], the last for strangers, items [V + 1, d], attributes [A, d]."""

    users: Tensor
    items: Tensor
    attributes: Tensor

    @classmethod
    def of(cls, machine: fm.FactorisationMachine) -> "Factors":
        """The machine's vectors; its items' bias is one more number, which only users meet."""
        users = torch.cat([machine.users, torch.ones(len(machine.users), 1)], 1)
        items = torch.cat([machine.items, machine.bias[:, None]], 1)
        items = items * (torch.arange(len(items)) > 0)[:, None]
        return cls(users, items, nn.functional.pad(machine.attributes, (0, 1)))


class Unicorn:
    """The asker; `curve` has a row an epoch of its learning."""

    def __init__(self, attributes: Attributes, factors: Factors, config: UnicornConfig):
        self.attributes, self.factors, self.config = attributes, factors, config
        self.network = QNetwork(factors, attributes.has, config)
        self.curve: list[dict[str, Any]] = []
        self._penalties = attributes.has * torch.sigmoid(factors.items @ factors.attributes.T)

    def scores(self, known: Known) -> Tensor:
        """u . v + sum b (p . v) of accepted p - sum |b| sigmoid(p . v) of refused p that v has."""
        users, items, attributes = self.factors
        scores = (users[known.users] + known.beliefs.clamp_min(0) @ attributes) @ items.T
        scores += known.beliefs.clamp_max(0) @ self._penalties.T
        return scores.index_fill(1, torch.tensor([0]), -torch.inf)

    def state(self, known: Known, scores: Tensor) -> GraphState:
        """The graph and the pruned actions; no attributes where a question is no use."""
        config, n_attributes = self.config, len(self.attributes)
        allowed = scores.masked_fill(~known.candidates, -torch.inf)
        best = allowed.topk(min(config.n_candidates, scores.shape[1]), dim=1)
        items = torch.where(best.values > -torch.inf, best.indices, 0)
        entropy = entropies(known, self.attributes, torch.sigmoid(scores))
        open_ = entropy.topk(min(config.n_actions, n_attributes), dim=1)
        useful = (open_.values > 1e-4) & ~known.no_use_to_ask[:, None]
        asks = torch.where(useful, open_.indices, n_attributes)
        actions = torch.cat([asks, n_attributes + items[:, : config.n_actions]], 1)
        return GraphState(known.users, known.accepted, items, torch.sigmoid(best.values), actions)

    @torch.no_grad()
    def actions(self, known: Known, scores: Tensor) -> Tensor:
        """The action of the largest Q, [N]; any item means to recommend."""
        return self.chosen(s := self.state(known, scores), self.network(s).argmax(1))

    def chosen(self, state: GraphState, places: Tensor) -> Tensor:
        """The actions [N] of the game at some places [N] of the pruned ones."""
        return state.actions.gather(1, places[:, None])[:, 0].clamp_max(len(self.attributes))


def fit_unicorn(data: Dataset, *, config: UnicornConfig | None = None, seed: int = 0) -> Unicorn:
    """Learn, or load, the policy on validation episodes; vectors know training actions alone."""
    config, attributes = config or UnicornConfig(), attributes_of(data)
    factors = Factors.of(fm.fit_factors(data, config=config.vectors, seed=seed)[0])
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        unicorn = Unicorn(attributes, factors, config)
        parts = {"config": config, "seed": seed, "data": data.fingerprint}
        parts |= {"vectors": fingerprint(*factors), "attributes": [*map(str, attributes.names)]}
        state, facts = train_or_load("unicorn", parts, lambda _: _learn(unicorn, data, seed))
    unicorn.network.eval().requires_grad_(False).load_state_dict(state)
    unicorn.curve = facts["curve"]
    return unicorn


def double_targets(rewards: Tensor, over: Tensor, q: Tensor, slow: Tensor, gamma: float) -> Tensor:
    """r + gamma Q_slow(s', argmax_a Q(s', a)), [N], and r alone where the dialogue is over [N].

    `q` and `slow` are the values [N, K] of the next states by the network and by its slow copy.
    """
    following = slow.gather(1, q.argmax(1, keepdim=True))[:, 0]
    return rewards + gamma * following.masked_fill(over, 0.0)


def epsilon_at(share: float, config: UnicornConfig) -> float:
    """How often an action is drawn at random, after a share of all epochs."""
    first, last = config.first_epsilon, config.last_epsilon
    return last + max(0.0, 1 - 2 * share) * (first - last)


class _Learner:
    """The network in training, its slow copy and the memory."""

    def __init__(self, unicorn: Unicorn, generator: torch.Generator):
        self.unicorn, self.generator, self.config = unicorn, generator, unicorn.config
        self.slow = QNetwork(unicorn.factors, unicorn.attributes.has, self.config)
        self.slow.load_state_dict(unicorn.network.state_dict())
        self.parameters = [*unicorn.network.parameters()]
        self.optimiser = torch.optim.Adam(self.parameters, self.config.learning_rate)
        self.memory, self.waiting = PrioritisedReplay(self.config.memory), 0

    def episodes(self, game: Game, epsilon: float, beta: float) -> None:
        """Play a game to its end, and learn on the way."""
        scores = self.unicorn.scores(game.known)
        state = self.unicorn.state(game.known, scores)
        while (active := game.active).any():
            places = self.explore(state, epsilon)
            chosen = self.unicorn.chosen(state, places)
            rewards = game.step(chosen, scores, self.config.rewards)
            scores = self.unicorn.scores(game.known)
            after = self.unicorn.state(game.known, scores)
            columns = [*state, *after, places, rewards, ~game.active]
            self.memory.add([column[active] for column in columns])
            state, self.waiting = after, self.waiting + int(active.sum())
            while self.waiting >= self.config.update_every:
                self.waiting -= self.config.update_every
                self.update(beta)

    @torch.no_grad()
    def explore(self, state: GraphState, epsilon: float) -> Tensor:
        """The best action, or with probability epsilon any that is no padding, as a place [N]."""
        values = self.unicorn.network(state)
        noise = torch.rand(values.shape, generator=self.generator)
        drawn = noise.masked_fill(values == -torch.inf, -1.0).argmax(1)
        at_random = torch.rand(len(values), generator=self.generator) < epsilon
        return torch.where(at_random, drawn, values.argmax(1))

    def update(self, beta: float) -> None:
        """One step on a batch of the memory; the slow network follows by `tau`."""
        config, network = self.config, self.unicorn.network
        places, columns, weights = self.memory.draw(config.batch_size, beta, self.generator)
        after, (action, earned, over) = GraphState(*columns[5:10]), columns[10:]
        with torch.no_grad():
            goals = double_targets(earned, over, network(after), self.slow(after), config.gamma)
        errors = goals - network(GraphState(*columns[:5])).gather(1, action[:, None])[:, 0]
        fm.descend(self.optimiser, (weights * errors.square()).mean(), clip=1.0)
        self.memory.update(places, errors.detach())
        for slow, now in zip(self.slow.parameters(), self.parameters, strict=True):
            slow.data.lerp_(now.data, config.tau)


def _learn(unicorn: Unicorn, data: Dataset, seed: int) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Play and learn; the best epoch by success + hDCG of users not learned from is kept."""
    config, rng = unicorn.config, np.random.default_rng(seed)
    size = {"n_turns": config.n_turns, "n_items": config.n_items}
    n = min(300, max(1, int(config.choosing_share * data.n_users)))
    choosing, learning = np.split(rng.permutation(data.n_users), [n])
    learner = _Learner(unicorn, torch.Generator().manual_seed(seed))
    training, n = Training(unicorn.network, [learner.optimiser], learner.generator), config.n_epochs
    for epoch in training.epochs(n, value="chosen_by", patience=n, label="UNICORN"):
        share = (epoch - 1) / n
        epsilon, beta = epsilon_at(share, config), config.first_beta * (1 - share) + share
        for _ in range(0, config.n_episodes, config.n_parallel):
            some, number = rng.choice(learning, config.n_parallel), int(rng.integers(2**31))
            game = held_out_game(unicorn.attributes, data, "valid", some, number, **size)
            learner.episodes(game, epsilon, beta)
        game = held_out_game(unicorn.attributes, data, "valid", choosing, seed, **size)
        ended, names = play(unicorn, game), ("success", "turns", "hdcg")
        row = {name: float(getattr(ended, name).mean()) for name in names}
        row |= {"epoch": epoch, "epsilon": epsilon, "chosen_by": row["success"] + row["hdcg"]}
        training.curve.append(row)
    return training.best_state, {"curve": training.curve}
