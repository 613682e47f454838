"""Every equation against numbers worked out with `math` alone."""

from math import exp, log

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from latentcrs_utils.em import losses

# One instance, three intents: q, p(m | S, x) and p(v | m) of the observed item.
Q = [0.5, 0.3, 0.2]
PRIOR = [0.2, 0.5, 0.3]
ITEM = [0.4, 0.1, 0.05]
LIKELIHOOD = 0.2 * 0.4 + 0.5 * 0.1 + 0.3 * 0.05


def logs(values: list[float]) -> torch.Tensor:
    return torch.tensor([values], dtype=torch.float64).log()


def test_kl_by_hand():
    expected = sum(q * log(q / p) for q, p in zip(Q, PRIOR, strict=True))
    assert losses.kl(logs(Q), logs(PRIOR)).item() == pytest.approx(expected)
    assert losses.kl(logs(Q), logs(Q)).item() == pytest.approx(0.0)


def test_equation_2_log_likelihood_by_hand():
    assert losses.log_likelihood(logs(PRIOR), logs(ITEM)).item() == pytest.approx(log(LIKELIHOOD))


def test_equation_4_elbo_by_hand():
    expected = sum(q * log(p * item / q) for q, p, item in zip(Q, PRIOR, ITEM, strict=True))
    assert losses.elbo(logs(Q), logs(PRIOR), logs(ITEM)).item() == pytest.approx(expected)


def test_exact_posterior_by_hand():
    posterior = losses.exact_posterior(logs(PRIOR), logs(ITEM)).exp()[0] * LIKELIHOOD
    assert posterior.tolist() == pytest.approx([0.08, 0.05, 0.015])


@st.composite
def distributions(draw):
    n_intents = draw(st.integers(2, 6))
    value = st.floats(-8, 8)
    rows = [draw(st.lists(value, min_size=n_intents, max_size=n_intents)) for _ in range(3)]
    q, prior, item = (torch.tensor([row], dtype=torch.float64) for row in rows)
    return torch.log_softmax(q, -1), torch.log_softmax(prior, -1), -item.abs() - 1e-3


@given(distributions())
@settings(max_examples=200, deadline=None)
def test_elbo_is_a_bound_and_the_gap_is_the_kl_to_the_exact_posterior(example):
    log_q, log_prior, log_item = example
    bound = losses.elbo(log_q, log_prior, log_item)
    exact = losses.log_likelihood(log_prior, log_item)
    posterior = losses.exact_posterior(log_prior, log_item)
    assert (bound <= exact + 1e-9).all()
    torch.testing.assert_close(exact - bound, losses.kl(log_q, posterior))
    torch.testing.assert_close(losses.elbo(posterior, log_prior, log_item), exact)


def test_equation_7_infonce_by_hand():
    q = torch.tensor([[0.25, 0.75]], dtype=torch.float64)
    g = torch.tensor([[[1.0, 0.0, 0.5], [-1.0, 2.0, -2.0]]], dtype=torch.float64)
    first = log(exp(1.0) / (exp(1.0) + exp(0.0) + exp(0.5)))
    expected = -0.25 * first - 0.75 * log(exp(-1.0) / (exp(-1.0) + exp(2.0) + exp(-2.0)))
    assert losses.infonce(q, g.log_softmax(-1)[..., 0]).item() == pytest.approx(expected)
    expected = -(0.5 * log(0.4) + 0.3 * log(0.1) + 0.2 * log(0.05))
    assert losses.infonce(logs(Q).exp(), logs(ITEM)).item() == pytest.approx(expected)


def test_equation_8_by_hand_and_its_sign():
    loss = losses.recommendation_loss_m(torch.tensor([0.7]), torch.tensor([[0.1, -0.4]]))
    expected = -log(exp(0.7) / (exp(0.7) + exp(0.1) + exp(-0.4)))
    assert loss.item() == pytest.approx(expected, rel=1e-6)
    better = losses.recommendation_loss_m(torch.tensor([1.7]), torch.tensor([[0.1, -0.4]]))
    assert better < loss


def test_equation_9_weights():
    log_q, log_prior = logs(Q), logs(PRIOR)
    parts = torch.tensor(2.0), log_q, log_prior, torch.tensor(3.0)
    total = losses.m_step_loss(*parts, infonce_weight=0.5, lambda_=7.0, alpha_M=11.0)
    expected = 0.5 * 2.0 + 7.0 * losses.kl(log_q, log_prior).item() + 11.0 * 3.0
    assert total.item() == pytest.approx(expected)


def test_equation_11_is_the_negative_elbo():
    parts = logs(Q), logs(PRIOR), logs(ITEM)
    assert losses.e_step_elbo_loss(*parts).item() == pytest.approx(-losses.elbo(*parts).item())


def test_equation_12_by_hand():
    anchors = torch.tensor([[1.0, 0.0], [0.0, 2.0], [3.0, 3.0]])
    r = losses.intent_vector(torch.tensor([Q]), anchors)
    torch.testing.assert_close(r, torch.tensor([[0.5 + 0.6, 0.6 + 0.6]]))


def test_equation_13_by_hand_and_its_sign():
    logits = torch.tensor([[0.2, 1.0, -0.3]])
    expected = -log(exp(1.0) / (exp(0.2) + exp(1.0) + exp(-0.3)))
    loss = losses.recommendation_loss_e(logits, torch.tensor([1]))
    assert loss.item() == pytest.approx(expected, rel=1e-6)
    assert losses.recommendation_loss_e(logits, torch.tensor([2])) > loss


def test_equation_14_weight():
    total = losses.e_step_loss(torch.tensor(1.5), torch.tensor(2.0), alpha_E=5.0)
    assert total.item() == pytest.approx(11.5)


def test_exact_posterior_turns_the_em_gradient_into_that_of_the_likelihood():
    """Fisher's identity: at the exact posterior the ELBO's slope is the likelihood's."""
    torch.manual_seed(1)
    leaves = prior, item = torch.randn(2, 2, 3, dtype=torch.float64).requires_grad_().unbind()
    log_q = losses.exact_posterior(prior.log_softmax(-1), item).detach()
    bound = losses.elbo(log_q, prior.log_softmax(-1), item).sum()
    exact = losses.log_likelihood(prior.log_softmax(-1), item).sum()
    slopes = (torch.autograd.grad(value, leaves) for value in (bound, exact))
    torch.testing.assert_close(*slopes)
