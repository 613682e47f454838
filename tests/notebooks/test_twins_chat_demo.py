"""What notebook 10 writes out by hand chooses what the package chooses, on inputs of its own."""

from __future__ import annotations

import ast
from types import SimpleNamespace

import nbformat
import numpy as np
import pytest
import torch

from tests.conversation.fakes import N_ITEMS, FakeScorer, fake_dataset
from latentcrs_utils.config import RerankConfig
from latentcrs_utils.conversation.policies import narrow
from latentcrs_utils.conversation.reranking import RerankContext
from latentcrs_utils.conversation.policies import Question, make_variant
from latentcrs_utils.constraints.constraint import Constraint, Requirement, Requirements, matcher_for

from .conftest import ROOT


@pytest.fixture(scope="module")
def by_hand():
    """The twins of notebook 10, and the helper that they call."""
    notebook = nbformat.read(ROOT / "notebooks" / "10_chat_demo.ipynb", as_version=4)
    cells = [c.source for c in notebook.cells if c.cell_type == "code"]
    names = {"first", "variant_b", "variant_f", "variant_v"}
    definitions = [
        node
        for cell in cells
        for node in ast.parse(cell).body
        if isinstance(node, ast.FunctionDef) and node.name in names
    ]
    namespace: dict = {}
    exec(compile(ast.Module(definitions, []), "10_chat_demo", "exec"), namespace)
    assert names <= set(namespace)
    return SimpleNamespace(**{name: namespace[name] for name in names})


@pytest.fixture(params=range(4))
def scores(request):
    """Scores of the films of `fakes`, [V + 1]; the padding cannot be offered."""
    values = torch.from_numpy(np.random.default_rng(request.param).normal(size=N_ITEMS + 1))
    values[0] = -torch.inf
    return values


def asked(scores, n_items, wanted=None):
    return Question(scores, n_items, wanted or Requirements(), RerankContext([], ["funny"], "film"))


def test_b(by_hand, scores):
    choice = make_variant("B", fake_dataset(), lambda: None, "lexicon", RerankConfig())
    theirs = [item.item for item in choice.choose(asked(scores, 7)).items]
    assert by_hand.variant_b(scores.tolist(), 7) == theirs


@pytest.mark.parametrize("n_items", [5, 30])
def test_f(by_hand, scores, n_items):
    matcher = matcher_for(fake_dataset())
    wanted = Requirements((Requirement(Constraint.parse("genre=Western"), "western"),))
    meets = matcher.satisfying(Constraint("genre", "Western")).tolist()
    theirs = narrow(scores, matcher, wanted, n_items).items
    assert by_hand.variant_f(scores.tolist(), meets, n_items) == list(theirs)


def test_v(by_hand, scores):
    words, weight = ("Night", "Thunder", "Number 3"), 0.3
    config = RerankConfig(n_candidates=12, weight=weight)
    chat_model = FakeScorer(words=words, nats=2.0)
    choice = make_variant("V", fake_dataset(), lambda: chat_model, "lexicon", config)
    theirs = [item.item for item in choice.choose(asked(scores, 5)).items]
    titles = fake_dataset().titles
    liked = [2.0 * sum(word in title for word in words) for title in titles]
    assert by_hand.variant_v(scores.tolist(), liked, 5, 12, weight) == theirs
