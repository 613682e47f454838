"""CRIF (Hu et al. 2022): vectors from a graph, what refusals tell, and when to ask.

"Learning to Infer User Implicit Preference in Conversational Recommendation", SIGIR 2022. Its
phases: vectors from a graph (`edges_of`), answers tracked in `Known`, two readings of refused items
(`implicit`, `Crif.beliefs`), and a policy whose reward is learned from an oracle's preferences.

Simplified: light convolutions (He et al. 2020) without dropout; in training, refused items share
what is confirmed; no user number in the policy's state, more bits of the number of candidates. The
public code has validation and test actions in its graph, chooses on test users, takes the compared
negatives for the refused items (which gives the answer away), never runs its loop over refused
attributes, counts hits of the last turn as failures and each as first in its list, and its users
open with several attributes. None of this is repeated.
"""

import copy
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from scipy import sparse
from torch import Tensor, nn

from latentcrs_utils.baselines import questions
from latentcrs_utils.baselines.attributes import Attributes, attributes_of
from latentcrs_utils.baselines.factorisation_machine import descend, told
from latentcrs_utils.baselines.item_knn import incidence
from latentcrs_utils.baselines.questions import Game, Known, Rewards
from latentcrs_utils.config import Checked
from latentcrs_utils.data.sequences import Dataset
from latentcrs_utils.ranking import rank_of_target
from latentcrs_utils.support.artifacts import train_or_load
from latentcrs_utils.support.progress import track

GAMMA, REWARDS = 0.7, Rewards(yes=-0.1, no=-0.1, hit=1.0, miss=-0.1, limit=-0.3)
"""What a turn earns; a tenth of the learned reward is added."""
ASK, FEEDBACK, OFFER = range(3)  # what the policy chooses from
N_EVENTS, N_BITS = 15, 12  # in the policy's state: turns, and bits of the number of candidates
N_FEEDBACK, N_DRAWN = 5, 12  # telling items of a list; items drawn for a pair and refused


@dataclass(frozen=True)
class CrifConfig(Checked):
    """``push``: how far refused items move a user; ``doubt``: what they take off a belief."""

    width: int = 64
    learning_rate: float = 0.02
    batch_size: int = 4096
    n_epochs: int = 25
    push: float = 0.3
    doubt: float = 0.5
    n_turns: int = 15
    n_items: int = 10
    n_episodes: int = 128
    n_updates: int = 40


def edges_of(data: Dataset, attributes: Attributes) -> sparse.csr_array:
    """Users, items (with padding) and attributes of training, weights 1 / sqrt(degree * degree)."""
    has = sparse.csr_array(attributes.has.numpy(), dtype=np.float32)
    liked = incidence(data.histories("train"), data.n_items)
    blocks = [[None, liked, None], [liked.T, None, has], [None, has.T, None]]
    edges = sparse.block_array(blocks, format="csr").sign()
    weights = sparse.diags_array(np.maximum(edges.sum(1), 1) ** -0.5)
    return sparse.csr_array(weights @ edges @ weights)


def smooth(edges: sparse.csr_array, nodes: Tensor) -> Tensor:
    """The mean of the nodes' own vectors and of two convolutions, [n, d]; `edges` are symmetric."""

    def mean(of: Tensor) -> Tensor:
        once = edges @ of.numpy()
        return (of + torch.from_numpy(once + edges @ once)) / 3

    smoothed = nodes + (mean(nodes.detach()) - nodes.detach())
    if smoothed.requires_grad:  # what is symmetric is its own transpose
        smoothed.register_hook(mean)
    return smoothed


def implicit(users: Tensor, refused: Tensor, confirmed: Tensor, push: float = 1.0) -> Tensor:
    """Users moved away from what the refused items have of their own, all [N, d].

    `refused` is their mean. Its part along `confirmed`, the sum of the confirmed attributes, tells
    why they were offered and not why they were refused, so it is taken off.
    """
    along = F.normalize(confirmed, dim=1)
    return users - push * (refused - (refused * along).sum(1, keepdim=True) * along)


def state_of(known: Known) -> Tensor:
    """The policy's state [N, 27]: 15 events, and for j = 0..11 whether 2^j candidates are left.

    Turns that have not been are 0; of a longer dialogue the latest are read.
    """
    start = max(0, known.turn - 1 - N_EVENTS)
    events = known.events[:, start : start + N_EVENTS].float()
    bits = known.candidates.sum(1, keepdim=True) >= 2 ** torch.arange(N_BITS)
    return torch.cat([F.pad(events, (0, N_EVENTS - events.shape[1])), bits.float()], 1)


def _network(n: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(N_EVENTS + N_BITS, 64), nn.ReLU(), nn.Linear(64, n))


@dataclass(frozen=True)
class Crif:
    """The fitted system, an `Asker`: `users` [U + 1, d] end with their mean, for strangers, `items`
    are [V + 1, d], `vectors` of attributes [A, d]. `forced` choices [N] replace the policy's.
    """

    attributes: Attributes
    config: CrifConfig
    users: Tensor
    items: Tensor
    vectors: Tensor
    policy: nn.Module
    facts: dict[str, Any]
    forced: Tensor | None = None

    def choices(self, known: Known) -> Tensor:
        """ASK, FEEDBACK or OFFER, as the policy finds best, [N]."""
        return self.policy(state_of(known)).argmax(1) if self.forced is None else self.forced

    def telling(self, known: Known) -> Tensor:
        """Items that have all confirmed attributes and exactly one more, bool [N, V + 1]."""
        has, accepted = self.attributes.has.float(), known.accepted.float()
        shared = accepted @ has.T
        return (shared == accepted.sum(1, keepdim=True)) & (has.sum(1) == shared + 1)

    def beliefs(self, known: Known) -> Tensor:
        """Beliefs after explicit inference, [N, A]: the refusal of a telling item raises a doubt
        about the one attribute more, unless the user spoke about it.
        """
        against = (self.telling(known) & known.rejected).float() @ self.attributes.has.float() > 0
        return known.beliefs - self.config.doubt * (against & ~known.settled)

    def scores(self, known: Known) -> Tensor:
        """tanh(u . v) + sum_a b_a tanh(a . v), [N, V + 1], after both inferences; where the choice
        is FEEDBACK, the best five candidates that are telling come first.
        """
        refused, confirmed = known.rejected.float(), known.accepted.float() @ self.vectors
        mean = refused @ self.items / refused.sum(1, keepdim=True).clamp_min(1)
        users = implicit(self.users[known.users], mean, confirmed, self.config.push)
        members = torch.tanh(self.vectors @ self.items.T)
        scores = torch.tanh(users @ self.items.T) + self.beliefs(known) @ members
        wanted = (self.choices(known) == FEEDBACK) & torch.tensor(not known.last)
        first = self.telling(known) & known.candidates & wanted[:, None]
        best = scores.masked_fill(~first, -torch.inf).topk(min(N_FEEDBACK, scores.shape[1]), 1)
        raised = (best.values > -torch.inf) * (scores.amax(1, True) - scores.amin(1, True) + 1)
        scores = scores.scatter_add(1, best.indices, raised)
        return scores.index_fill(1, torch.tensor([0]), -torch.inf)

    def actions(self, known: Known, scores: Tensor) -> Tensor:
        """The unsettled attribute of highest entropy where the choice is ASK, else A, [N]."""
        asked = questions.entropies(known, self.attributes).argmax(1)
        return torch.where(self.choices(known) == ASK, asked, len(self.attributes))


def offer_is_better(ranks: Tensor, lengths: Tensor, n_items: int = 10) -> Tensor:
    """Whether an oracle that knows the target prefers a list to a question, bool [N].

    Both [3, N] tell what is now, after the question and after the list: the target's rank among the
    candidates, and their number. A list is better if the target is in it, else where it gains more
    ranks; beyond the fifth list half of the candidates that go count, too.
    """
    far = ranks[0] > 5 * n_items
    gains = (ranks[0] - ranks[1:]) + 0.5 * far * (lengths[0] - lengths[1:])
    return (ranks[0] <= n_items) | (gains[1] > gains[0])


def preferences(crif: Crif, game: Game) -> Tensor:
    """`offer_is_better` in every dialogue of a game, by trying both, bool [N]."""
    offer, tried = replace(crif, forced=torch.full_like(game.targets, OFFER)), [game]
    for asker in (replace(crif, forced=torch.full_like(game.targets, ASK)), offer):
        tried.append(copy.deepcopy(game, {id(game.attributes): game.attributes}))
        tried[-1].step(*questions.choose(asker, game.known))
    known = [after.known for after in tried]
    scores = [offer.scores(now).where(now.candidates, -torch.inf) for now in known]
    ranks = torch.stack([rank_of_target(of_items, game.targets) for of_items in scores])
    lengths = torch.stack([now.candidates.sum(1) for now in known])
    return offer_is_better(ranks, lengths, game.known.n_items)


def _rollout(crif: Crif, game: Game, compare: bool = False) -> list[Tensor]:
    """Play with choices drawn from the policy: what happened in T turns of N dialogues.

    States [T, N, 27], and [T, N] where the choice counts, choices, lists, preferences, rewards.
    """
    turns = []
    while game.active.any():
        known, states = game.known, state_of(game.known)
        free = game.active & (known.candidates.sum(1) > known.n_items) & (not known.last)
        drawn = torch.distributions.Categorical(logits=crif.policy(states)).sample()
        better = preferences(crif, game) if compare else free
        actions, scores = questions.choose(replace(crif, forced=drawn), known)
        listed, earned = actions == len(crif.attributes), game.step(actions, scores, REWARDS)
        turns.append((states, free, drawn, listed, better, earned))
    return [torch.stack(column) for column in zip(*turns, strict=True)]


def _descend(parameters: Iterable[nn.Parameter], rate: float, losses: Iterable[Tensor]) -> None:
    optimiser = torch.optim.AdamW(parameters, rate, weight_decay=0.01)
    for loss in losses:
        descend(optimiser, loss)


def _fit_policy(crif: Crif, data: Dataset, seed: int) -> None:
    """Learn on validation targets; a quarter of the users only chooses the best state.

    Inverse reinforcement learning finds rewards of asking and offering, REINFORCE a policy.
    """
    config, policy, rng = crif.config, crif.policy, np.random.default_rng(seed)
    judges, learners = np.split(rng.permutation(data.n_users), [max(1, data.n_users // 4)])
    reward, curve, best = nn.Sequential(_network(2), nn.Tanh()), [], {}
    size: dict[str, Any] = {"n_turns": config.n_turns, "n_items": config.n_items}
    game: Any = partial(questions.held_out_game, crif.attributes, data, "valid", **size)

    def loss(update: int) -> Tensor:
        curve.append(float(questions.play(crif, game(judges, seed)).turns.mean()))
        if curve[-1] == min(curve):
            best.update(copy.deepcopy(policy.state_dict()))
        with torch.no_grad():
            batch = game(rng.choice(learners, config.n_episodes), seed + update)
            states, free, drawn, listed, _, earned = _rollout(crif, batch)
            learned = reward(states).gather(2, listed.long()[..., None])[..., 0]
            returns = earned + 0.1 * free * learned
            for turn in reversed(range(len(returns) - 1)):
                returns[turn] += GAMMA * returns[turn + 1]
            returns = returns - returns[free].mean()
            returns /= returns[free].std(correction=0).clamp_min(1e-6)
        logs = -F.cross_entropy(policy(states[free]), drawn[free], reduction="none")
        return -(returns[free] * logs).sum() / max(1, len(logs))

    with torch.no_grad():
        batch = game(rng.choice(learners, 2 * config.n_episodes), seed)
        states, free, _, _, better, _ = _rollout(crif, batch, compare=True)
    states, better = states[free], better[free].long()
    losses = (F.cross_entropy(reward(states), better) for _ in range(200))
    _descend(reward.parameters(), 3e-3, losses)
    crif.facts["agreed"] = float((reward(states).argmax(1) == better).float().mean())
    _descend(policy.parameters(), 0.01, map(loss, range(config.n_updates + 1)))
    policy.load_state_dict(best)
    crif.facts["turns"] = curve


def _loss(vectors: Tensor, has: Tensor, actions: Tensor, push: float) -> Tensor:
    """BPR of items, BPR of attributes, and the cross-entropy of which attributes an item has."""
    of_users, of_items, of_attributes = vectors.split((len(vectors) - sum(has.shape), *has.shape))
    (users, items), own = actions, has[actions[1]]
    some, logits = torch.rand(2, len(items), 1) < 0.5, of_items @ of_attributes.T
    confirmed, absent = (told(of, torch.default_generator) for of in (own, ~own))
    drawn = torch.randint(1, len(has), (len(items), N_DRAWN))
    shared = (confirmed @ has.float().T).gather(1, drawn)
    fits = (shared == confirmed.sum(1, keepdim=True)) & (drawn != items[:, None])
    near = fits.int().argmax(1, keepdim=True)
    refused = fits.scatter(1, near, False) & some[1]
    weights = refused / refused.sum(1, keepdim=True).clamp_min(1)
    mean = F.embedding_bag(drawn, of_items, per_sample_weights=weights, mode="sum")
    u = implicit(of_users[users], mean, confirmed @ of_attributes, push)

    def score(of: Tensor) -> Tensor:
        said = torch.tanh(logits[of]) * (confirmed - absent * some[0])
        return torch.tanh((u * of_items[of]).sum(1)) + said.sum(1)

    apart = [score(other) - score(items) for other in (drawn[:, 0], drawn.gather(1, near)[:, 0])]
    tastes = of_users[users] @ of_attributes.T
    has_it, lacks_it = (torch.multinomial(of + 1e-9, 1) for of in (own.float(), 1.0 * ~own))
    apart.append((tastes.gather(1, lacks_it) - tastes.gather(1, has_it))[:, 0])
    members = F.binary_cross_entropy_with_logits(logits[items], own.float())
    return F.softplus(torch.stack(apart)).mean(1) @ torch.tensor([0.5, 0.5, 1.0]) + 0.5 * members


def fit_crif(data: Dataset, *, config: CrifConfig | None = None, seed: int = 0) -> Crif:
    """Fit, or load, CRIF: vectors on training actions, reward and policy on validation targets."""
    config, attributes = config or CrifConfig(), attributes_of(data)
    sizes = (data.n_users, *attributes.has.shape)

    def crif_of(nodes: Tensor) -> Crif:
        users, items, vectors = nodes.split(sizes)
        users = torch.cat([users, users.mean(0, keepdim=True)])
        return Crif(attributes, config, users, items, vectors, _network(3), {})

    def train(_: Path | None) -> tuple[dict[str, Any], dict[str, Any]]:
        edges, seen = edges_of(data, attributes), data.histories("train")
        nodes = nn.Parameter(nn.init.xavier_uniform_(torch.empty(edges.shape[0], config.width)))
        actions = torch.from_numpy(np.stack([seen.rows(), seen.flat]))
        losses = (
            _loss(smooth(edges, nodes), attributes.has, actions[:, rows], config.push)
            for _ in track(range(config.n_epochs), "CRIF")
            for rows in torch.randperm(len(seen.flat)).split(config.batch_size)
        )
        _descend([nodes], config.learning_rate, losses)
        with torch.no_grad():
            crif = crif_of(vectors := smooth(edges, nodes))
        _fit_policy(crif, data, seed)
        return {"vectors": vectors, "policy": crif.policy.state_dict()}, crif.facts

    parts = {"config": config, "rewards": REWARDS, "seed": seed, "data": data.fingerprint}
    parts |= {"attributes": [str(name) for name in attributes.names]}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        state, facts = train_or_load("crif", parts, train)
        crif = crif_of(state.pop("vectors"))
    crif.policy.load_state_dict({k.removeprefix("policy/"): of for k, of in state.items()})
    crif.policy.requires_grad_(False)
    return replace(crif, facts=facts)
