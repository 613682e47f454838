"""What notebook 07 writes out by hand equals what the package computes, on inputs of its own."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from latentcrs_utils.config import RerankConfig
from latentcrs_utils.conversation.belief import spans
from latentcrs_utils.conversation.reranking import NOTHING, RerankContext, rerank
from latentcrs_utils.conversation.turn import Recommendation
from latentcrs_utils.em import attribution, losses
from latentcrs_utils.em.networks import IntentPrior
from latentcrs_utils.language.chat_model import Usage

STEMS = ("07_conversation",)


def test_belief(by_hand, rng):
    """Equation 5 with the package's network: the user's vector is what its FFN gives."""
    with torch.random.fork_rng():
        torch.manual_seed(int(rng.integers(99)))
        f = IntentPrior(6, 4, 8, 0.5).eval().requires_grad_(False)
    S, x, anchors = (torch.from_numpy(rng.normal(size=shape)).float()
                     for shape in ((1, 4), (1, 6), (5, 4)))  # fmt: skip
    user = f.ffn(torch.cat([S, f.text(x)], dim=1))[0].numpy()
    ours = by_hand.belief(user, f.W_m(anchors).numpy())
    np.testing.assert_allclose(ours, f(S, x, anchors).softmax(1)[0], rtol=1e-5)
    # large scores overflow nothing
    assert by_hand.belief(np.array([1e4]), np.array([[1.0], [0.0]])).tolist() == [1.0, 0.0]


def test_nats(by_hand, rng):
    p = torch.from_numpy(rng.dirichlet(np.ones(5), size=2))
    assert by_hand.nats(*p.numpy()) == pytest.approx(float(losses.kl(p[:1].log(), p[1:].log())))


def test_left_out(by_hand):
    for text in ("one", "no horror, though.", "a bit  darker than that"):
        theirs = [(piece.text, piece.rest) for piece in spans([text], 24)]
        ours = by_hand.left_out(text)
        assert [word for word, _ in ours] == [word for word, _ in theirs]
        assert [rest.split() for _, rest in ours] == [rest.split() for _, rest in theirs]


def test_shapley(by_hand, rng):
    for n in (1, 2, 3, 4):
        worths = torch.from_numpy(rng.normal(size=2**n))
        ours = by_hand.shapley(lambda who, w=worths: w[sum(1 << i for i in who)].item(), range(n))
        np.testing.assert_allclose(list(ours.values()), attribution.shapley_values(worths))


def test_gains(by_hand):
    """A scorer for which a text is the likelier the more letters it shares with the prompt."""

    def score(prompt, texts):
        return [float(sum(letter in prompt for letter in text)) for text in texts]

    items = [
        Recommendation(n, title, year, ("Comedy",), -n / 7)
        for n, (title, year) in enumerate([("Quiz Zoo", 1991), ("Big", 1988), ("Jazz", 1951)])
    ]
    told = RerankContext(["Jaws"], ["something with a quiz"])
    chat_model = SimpleNamespace(score=score, usage=Usage())
    theirs = rerank(chat_model, items, told, RerankConfig(weight=0.1))
    ask = "\nThe film that the shop recommends:"
    texts = [f" {item.title} ({item.year}, Comedy)" for item in items]
    ours = by_hand.gains(score, f"{told}{ask}", f"{RerankContext([], [NOTHING])}{ask}", texts)
    assert ours == pytest.approx(theirs.log_ratios)
    assert len(set(ours)) > 1
