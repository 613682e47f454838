"""The losses that Algorithm 1 takes its steps on, put together by hand from their parts."""

import pytest
import torch

from latentcrs_utils.config import EMConfig
from latentcrs_utils.data.sequences import Sequences
from latentcrs_utils.em import losses
from latentcrs_utils.em.networks import GenerativeModel, InferenceModel
from latentcrs_utils.em.trainer import EMTrainer, Instances, generative_loss, inference_loss

B, K, D, N_ITEMS, TEXT = 6, 4, 8, 9, 5


@pytest.fixture
def batch():
    noise = torch.Generator().manual_seed(1)
    return Instances(
        S=torch.randn(B, D, generator=noise),
        x=torch.randn(B, TEXT, generator=noise),
        targets=torch.tensor([1, 3, 9, 4, 4, 7]),
        histories=Sequences.from_lists([[2], [1, 2], [3, 4], [], [5], [6, 8]]),
    )


def trainer(**config):
    with torch.random.fork_rng():
        torch.manual_seed(3)
        v = torch.randn(N_ITEMS + 1, D)
        generative = GenerativeModel(torch.randn(K, D), v, v, TEXT, dropout=0.0)
        inference = InferenceModel(D)
        for matrix in (generative.f.W_m, generative.g.W_j, inference.W_q, inference.W_e):
            torch.nn.init.normal_(matrix.weight)
    return EMTrainer.start(generative, inference, EMConfig(dropout=0.0, **config), seed=0)


def parts(trainer, batch):
    """log q, log p(m | S, x) and log p(v | m, S, x), from the networks directly."""
    model = trainer.generative
    context = model.context(batch.S, batch.x)
    log_item = torch.log_softmax(model.item_table()[:, 1:], dim=1)[:, batch.targets - 1].T
    return trainer.inference(batch.S, model.anchors), context.log_prior, log_item


def recommendation_by_q(trainer, batch):
    """Equation 13 by hand: softmax over the items of r W_e v."""
    model, q = trainer.generative, trainer.inference
    r = q(batch.S, model.anchors).exp() @ model.anchors
    logits = r @ (model.v[1:] @ q.W_e.weight.T).T
    picked = logits[torch.arange(B), batch.targets - 1]
    return (logits.logsumexp(dim=1) - picked).mean()


def test_the_warm_up_of_q_is_its_recommendation_loss_alone(batch):
    one = trainer(alpha_E=5.0)
    loss = inference_loss(one, batch, warm_up=True)
    torch.testing.assert_close(loss, recommendation_by_q(one, batch))


@pytest.mark.parametrize("alpha_E", [0.0, 5.0])
def test_the_e_step_is_minus_the_elbo_and_the_weighted_recommendation(batch, alpha_E):
    one = trainer(alpha_E=alpha_E)
    bound = losses.elbo(*parts(one, batch)).mean()
    expected = -bound + alpha_E * recommendation_by_q(one, batch)
    torch.testing.assert_close(inference_loss(one, batch, warm_up=False), expected)


def test_the_e_step_moves_q_only(batch):
    one = trainer()
    inference_loss(one, batch, warm_up=False).backward()
    assert all(p.grad is None for p in one.generative.parameters())
    assert any(p.grad is not None and p.grad.abs().sum() > 0 for p in one.inference.parameters())


def test_the_m_step_with_unit_weights_is_minus_the_elbo(batch):
    one = trainer(infonce_weight=1.0, lambda_=1.0, alpha_M=0.0)
    bound = losses.elbo(*parts(one, batch)).mean()
    torch.testing.assert_close(generative_loss(one, batch), -bound)


def test_the_m_step_with_the_exact_posterior_is_minus_the_likelihood(batch):
    one = trainer(e_step="exact", infonce_weight=1.0, lambda_=1.0, alpha_M=0.0)
    _, log_prior, log_item = parts(one, batch)
    likelihood = (log_prior.exp() * log_item.exp()).sum(1).log().mean()
    torch.testing.assert_close(generative_loss(one, batch), -likelihood)
    one = trainer(infonce_weight=0.0, lambda_=0.0, alpha_M=2.0)
    torch.testing.assert_close(generative_loss(one, batch), -2.0 * likelihood)


def test_the_m_step_moves_the_generative_model_only(batch):
    one = trainer()
    generative_loss(one, batch).backward()
    assert all(p.grad is None for p in one.inference.parameters())
    assert one.generative.anchors.grad.abs().sum() > 0
