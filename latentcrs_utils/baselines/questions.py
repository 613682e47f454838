"""The game that asking systems learn: one question or one list of items a turn, until the hit.

The classic setting of CRM, UNICORN and CRIF: 15 turns, 10 items, yes-or-no questions about one
attribute. The user opens with an attribute of the item in mind, which takes a turn. A yes leaves
the items that have the attribute; a no is remembered, and cuts nothing; items refused are gone.
"""

from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor

from latentcrs_utils.baselines.attributes import Attributes
from latentcrs_utils.data.sequences import Dataset, Sequences
from latentcrs_utils.simulation.users import HeldOut

YES, NO, MISSED = 1, -1, -2
"""What a turn may have been, in `Known.events`; 0 is a turn that has not been."""
ACCEPTED = 0.5  # a belief above it is taken for a yes


@dataclass(frozen=True)
class Rewards:
    """What a turn earns (UNICORN's values); `limit` is added where the last turn brings no hit."""

    yes: float = 0.01
    no: float = -0.1
    hit: float = 1.0
    miss: float = -0.1
    limit: float = -0.3


@dataclass(frozen=True)
class Known:
    """What a system knows in one turn of N dialogues, in the game as in a chat.

    `users` [N] are numbers 0..U-1, -1 for a stranger. `beliefs` [N, A] go from -1 (no) to 1 (yes);
    attributes that are `settled` [N, A] are not asked about. `candidates` [N, V + 1] may still be
    offered, `rejected` [N, V + 1] were. `events` [N, T] tells every turn so far; `turn` counts
    from 1, and in turn T, the last, a question is worth nothing.
    """

    users: Tensor
    beliefs: Tensor
    settled: Tensor
    candidates: Tensor
    rejected: Tensor
    events: Tensor
    turn: int
    n_items: int = 10

    @classmethod
    def at_first(
        cls, attributes: Attributes, users: Tensor, seen: Sequences, n_turns: int, n_items: int
    ) -> "Known":
        """Nothing was said yet; the items of the N histories `seen` are no candidates."""
        n, (rows, items) = len(users), torch.from_numpy(np.stack([seen.rows(), seen.flat]))
        candidates = torch.ones(n, len(attributes.has), dtype=torch.bool)
        candidates[rows, items] = False
        rejected, events = torch.zeros_like(candidates), torch.zeros(n, n_turns, dtype=torch.int64)
        nothing = torch.zeros(n, len(attributes))
        return cls(users, nothing, nothing.bool(), candidates, rejected, events, 1, n_items)

    @property
    def accepted(self) -> Tensor:
        """Attributes taken for a yes, bool [N, A]."""
        return self.beliefs > ACCEPTED

    @property
    def refused(self) -> Tensor:
        """Attributes taken for a no, bool [N, A]."""
        return self.beliefs < -ACCEPTED

    @property
    def last(self) -> bool:
        """Whether this is the last turn."""
        return self.turn >= self.events.shape[1]

    @property
    def no_use_to_ask(self) -> Tensor:
        """Where no question helps, bool [N]: all candidates fit a list, all is asked, last turn."""
        return (self.candidates.sum(1) <= self.n_items) | self.settled.all(1) | self.last


@runtime_checkable
class Asker(Protocol):
    """A system that may ask: it scores items and chooses between A questions and a list."""

    @property
    def attributes(self) -> Attributes:
        """What it may ask about."""

    def scores(self, known: Known) -> Tensor:
        """Scores of all items, [N, V + 1], higher is better, finite except for the padding."""

    def actions(self, known: Known, scores: Tensor) -> Tensor:
        """The attribute to ask about, 0..A-1, or A to recommend, int64 [N]."""


def choose(asker: Asker, known: Known) -> tuple[Tensor, Tensor]:
    """Actions [N] and scores [N, V + 1] of an asker; it recommends where a question is no use."""
    scores = asker.scores(known)
    actions = asker.actions(known, scores)
    return torch.where(known.no_use_to_ask, len(asker.attributes), actions), scores


def entropies(known: Known, attributes: Attributes, weights: Tensor | None = None) -> Tensor:
    """How uncertain it is, in nats, whether a candidate has each attribute, [N, A].

    Candidates count equally, or by `weights` [N, V + 1]. Settled attributes have minus infinity.
    """
    mass = known.candidates.float() if weights is None else weights * known.candidates
    p = mass @ attributes.has.float() / mass.sum(1, keepdim=True).clamp_min(1e-12)
    p = p.clamp(0, 1)  # a sum of weights may be rounded above one
    entropy = -(torch.xlogy(p, p) + torch.xlogy(1 - p, 1 - p))
    return entropy.masked_fill(known.settled, -torch.inf)


class Game:
    """N dialogues of the classic setting side by side, each about one target.

    `users` [N] are numbers 0..U-1, `targets` [N] items; `seen` has the N histories, whose items
    are no candidates. The opening attribute is drawn by `generator`. `turn_of_hit` and
    `rank_of_hit` [N] are 0 until then. Time is counted in turns, the opening is the first.
    """

    def __init__(
        self, attributes: Attributes, users: Tensor, targets: Tensor, seen: Sequences,
        generator: torch.Generator, *, n_turns: int = 15, n_items: int = 10,
    ):  # fmt: skip
        self.attributes, self.targets = attributes, targets
        self.known = Known.at_first(attributes, users, seen, n_turns, n_items)
        self._open = self.known.candidates
        self._open[torch.arange(len(users)), targets] = True
        # an item without attributes opens with any, and says no
        opening = attributes.has[targets].float() + 1e-9
        first = torch.multinomial(opening, 1, generator=generator)[:, 0]
        self.turn_of_hit, self.rank_of_hit = torch.zeros(2, len(users), dtype=torch.int64)
        self.step(first, torch.zeros(self._open.shape))

    @property
    def active(self) -> Tensor:
        """The dialogues that go on, bool [N]."""
        return (self.turn_of_hit == 0) & (self.known.turn <= self.known.events.shape[1])

    def step(self, actions: Tensor, scores: Tensor, rewards: Rewards | None = None) -> Tensor:
        """Take one turn in every dialogue and return its reward, [N], 0 for those that are over.

        Action A offers the best `n_items` candidates by `scores` [N, V + 1].
        """
        rewards, known, active = rewards or Rewards(), self.known, self.active
        n, rows = len(actions), torch.arange(len(actions))
        listing = active & (actions == len(self.attributes))
        asking = active & ~listing
        about = actions.clamp_max(len(self.attributes) - 1)
        yes = self.attributes.has[self.targets, about]
        beliefs, settled = known.beliefs.clone(), known.settled.clone()
        beliefs[rows[asking], about[asking]] = torch.where(yes, 1.0, -1.0)[asking]
        settled[rows[asking], about[asking]] = True
        allowed, n_shown = scores.masked_fill(~known.candidates, -torch.inf), known.n_items
        top = allowed.topk(min(n_shown, scores.shape[1]), dim=1)
        offered = torch.zeros_like(known.candidates).scatter_(1, top.indices, top.values > -np.inf)
        offered &= listing[:, None]
        place = (top.indices == self.targets[:, None]) & (top.values > -np.inf)
        hit = listing & place.any(1)
        self.turn_of_hit[hit] = known.turn
        self.rank_of_hit[hit] = place.int().argmax(1)[hit] + 1
        rejected = known.rejected | (offered & ~hit[:, None])
        events = known.events.clone()
        now = torch.where(listing, MISSED, torch.where(yes, YES, NO))
        events[active, known.turn - 1] = now[active]
        candidates = self._open & ~rejected & self.attributes.having(beliefs > ACCEPTED)
        earned = torch.where(yes, rewards.yes, rewards.no)
        earned = torch.where(listing, torch.where(hit, rewards.hit, rewards.miss), earned)
        if known.last:
            earned = earned + rewards.limit * ~hit
        self.known = replace(
            known, beliefs=beliefs, settled=settled, candidates=candidates, rejected=rejected,
            events=events, turn=known.turn + 1,
        )  # fmt: skip
        return torch.where(active, earned, torch.zeros(n))


@dataclass(frozen=True)
class Played:
    """How N dialogues ended, [N] each: turn of the hit or 0, success, turns (else all), hDCG."""

    turn_of_hit: np.ndarray
    success: np.ndarray
    turns: np.ndarray
    hdcg: np.ndarray


@torch.no_grad()
def play(asker: Asker, game: Game) -> Played:
    """Let an asker play a game to its end."""
    while game.active.any():
        game.step(*choose(asker, game.known))
    hit, n_turns = game.turn_of_hit, game.known.events.shape[1]
    found, turns = hit > 0, torch.where(hit > 0, hit, n_turns)
    gains = torch.where(found, hdcg(hit.clamp_min(1), game.rank_of_hit.clamp_min(1)), 0.0)
    return Played(hit.numpy(), found.double().numpy(), turns.double().numpy(), gains.numpy())


def hdcg(turn: Tensor, rank: Tensor) -> Tensor:
    """Hierarchical discounted gain of a hit at a turn and a rank, both from 1 (Deng et al. 2021).

    1 / log2(t + 2) + (1 / log2(t + 1) - 1 / log2(t + 2)) / log2(k + 1): the first rank of a turn is
    worth more than any rank of a later one.
    """
    later, now = 1 / torch.log2(turn + 2.0), 1 / torch.log2(turn + 1.0)
    return later + (now - later) / torch.log2(rank + 1.0)


def held_out_game(
    attributes: Attributes, data: Dataset, split: HeldOut, users: np.ndarray, seed: int = 0,
    **size: int,
) -> Game:  # fmt: skip
    """The game of some users whose targets are held out: "valid" to learn, "test" to report."""
    rows = torch.from_numpy(np.asarray(users, dtype=np.int64))
    targets = torch.from_numpy(data.targets(split)[users].astype(np.int64))
    generator = torch.Generator().manual_seed(seed)
    return Game(attributes, rows, targets, data.histories(split).select(users), generator, **size)
