"""What notebook 10 writes out by hand chooses what the package chooses, on inputs of its own."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from latentcrs_utils.config import RerankConfig
from latentcrs_utils.constraints.constraint import (
    Constraint,
    Requirement,
    Requirements,
    matcher_for,
)
from latentcrs_utils.conversation.policies import FilterPolicy, Policy, Request, RerankPolicy
from tests.conversation.fakes import N_ITEMS, FakeScorer, fake_dataset

from .conftest import twins_of


@pytest.fixture(scope="module")
def by_hand():
    """The twins of notebook 10, and the helper that they call."""
    names = {"first", "policy_b", "policy_f", "policy_v"}
    return SimpleNamespace(**twins_of("10_chat_demo", names))


@pytest.fixture(params=range(4))
def scores(request):
    """Scores of the films of `fakes`, [V + 1]; the padding cannot be offered."""
    values = torch.from_numpy(np.random.default_rng(request.param).normal(size=N_ITEMS + 1))
    values[0] = -torch.inf
    return values


def selected(policy, scores, n_items, wanted=None):
    asked = Request(scores, [], n_items, wanted or Requirements(), messages=["funny"])
    return [item.item for item in policy.select(asked).items]


def test_b(by_hand, scores):
    theirs = selected(Policy(fake_dataset()), scores, 7)
    assert by_hand.policy_b(scores.tolist(), 7) == theirs


@pytest.mark.parametrize("n_items", [5, 30])
def test_f(by_hand, scores, n_items):
    data = fake_dataset()
    wanted = Requirements((Requirement(Constraint("genre", "Western"), "western"),))
    meets = matcher_for(data).satisfying(Constraint("genre", "Western")).tolist()
    theirs = selected(FilterPolicy(data), scores, n_items, wanted)
    assert by_hand.policy_f(scores.tolist(), meets, n_items) == theirs


def test_v(by_hand, scores):
    words, weight = ("Night", "Thunder", "Number 3"), 0.3
    config = RerankConfig(n_candidates=12, weight=weight)
    chat_model = FakeScorer(words=words, nats=2.0)
    theirs = selected(RerankPolicy(fake_dataset(), lambda: chat_model, config), scores, 5)
    titles = fake_dataset().titles
    liked = [2.0 * sum(word in title for word in words) for title in titles]
    assert by_hand.policy_v(scores.tolist(), liked, 5, 12, weight) == theirs
