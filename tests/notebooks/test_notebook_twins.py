"""What a notebook writes out by hand equals what the package computes, on inputs of its own."""

import ast
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from latentcrs_utils.em import losses
from latentcrs_utils.em.networks import InferenceModel, IntentPrior, ItemAffinity
from latentcrs_utils.language.embedder import Embedder
from latentcrs_utils.language.models import load_language_model

from .conftest import NOTEBOOKS, twins_of

STEMS = ("04_language_meets_intent", "05_em_training")

B, K, N, D = 7, 5, 3, 8


@pytest.fixture(params=range(3))
def tensors(request):
    """Random inputs: beliefs over K intents, scores of n negatives, vectors."""
    noise = torch.Generator().manual_seed(request.param)

    def normal(*shape):
        return 2 * torch.randn(*shape, generator=noise)

    return SimpleNamespace(
        log_q=normal(B, K).log_softmax(1), log_prior=normal(B, K).log_softmax(1),
        log_item=normal(B, K).sub(5), g_positive=normal(B, K), g_negative=normal(B, K, N),
        h=normal(B, N + 1), anchors=normal(K, D), S=normal(B, D), x=normal(B, 12), v=normal(N, D),
        scalar=normal(1)[0], targets=torch.randint(N + 1, (B,), generator=noise), normal=normal,
    )  # fmt: skip


def close(ours, theirs):
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


def test_bound_and_posterior(by_hand, tensors):
    t = tensors
    parts = t.log_prior, t.log_item
    close(by_hand.log_likelihood(*parts), losses.log_likelihood(*parts))
    close(by_hand.kl(t.log_q, t.log_prior), losses.kl(t.log_q, t.log_prior))


def test_m_step(by_hand, tensors):
    t = tensors
    g = torch.cat([t.g_positive[..., None], t.g_negative], dim=2)
    item_loss = losses.infonce(t.log_q.exp(), g.log_softmax(2)[..., 0])
    close(by_hand.infonce(t.log_q.exp(), t.g_positive, t.g_negative), item_loss)
    recommendation = losses.recommendation_loss_m(t.h[:, 0], t.h[:, 1:])
    close(by_hand.recommendation_loss_m(t.h[:, 0], t.h[:, 1:]), recommendation)


def test_e_step(by_hand, tensors):
    t = tensors
    q = t.log_q.exp()
    close(by_hand.intent_vector(q, t.anchors), losses.intent_vector(q, t.anchors))
    recommendation = losses.recommendation_loss_e(t.h, t.targets)
    close(by_hand.recommendation_loss_e(t.h, t.targets), recommendation)


@torch.no_grad()
def test_networks(by_hand, tensors):
    t = tensors
    with torch.random.fork_rng():
        torch.manual_seed(0)
        q, f, g = InferenceModel(D), IntentPrior(12, D, 16, 0.5).eval(), ItemAffinity(D)
    ours = by_hand.inference_model(t.S, t.anchors, q.W_q.weight, q.W_k.weight)
    close(ours, q(t.S, t.anchors))
    user = f.ffn(torch.cat([t.S, f.text(t.x)], dim=1))
    ours = by_hand.affinity_to_intents(user, t.anchors, f.W_m.weight)
    close(ours, f(t.S, t.x, t.anchors))
    ours = by_hand.affinity_of_items(t.anchors, t.v, g.W_j.weight, g.W_v.weight)
    close(ours, g(t.anchors, t.v))


def test_standardise(by_hand, tensors):
    raw = tensors.normal(20, D) + 7
    ours = by_hand.standardise(raw, raw[:12])
    close(ours[:12].mean(0), torch.zeros(D))
    close(ours[:12].std(0), torch.ones(D))
    close(ours[12:], (raw[12:] - raw[:12].mean(0)) / raw[:12].std(0))


def test_prompt_eol(by_hand, model_dir):
    texts = ["a western", "not too long, please, and nothing with ghosts"]
    language_model = load_language_model("smollm2", "float32")
    ours = by_hand.prompt_eol(texts, language_model.tokenizer, language_model.model)
    theirs = Embedder(dtype="float32", reuse=False).embed(texts)
    torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_no_twin_is_left_out(path):
    tests = [file.read_text(encoding="utf-8") for file in Path(__file__).parent.glob("*twins*.py")]
    used = {
        node.attr
        for test in tests
        if f'"{path.stem}"' in test
        for node in ast.walk(ast.parse(test))
        if isinstance(node, ast.Attribute) and ast.unparse(node.value) == "by_hand"
    }
    assert set(twins_of(path.stem)) <= used
