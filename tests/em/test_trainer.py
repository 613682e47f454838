"""The losses that Algorithm 1 takes its steps on, by hand from their parts; its stages."""

import pytest
import torch

from latentcrs_utils.config import EMConfig
from latentcrs_utils.em import losses
from latentcrs_utils.em.networks import InferenceModel
from latentcrs_utils.em.trainer import EMTrainer, train_em
from latentcrs_utils.errors import ConfigError

from .small_world import WIDTH, random_instances, random_model


def trainer(**options):
    """With matrices that are no identity, so that no factor may be left out."""
    config, inference = EMConfig(**options), InferenceModel(WIDTH).double()
    model = random_model(config.form, config.residual)
    with torch.random.fork_rng():
        torch.manual_seed(3)
        for matrix in (model.f.W_m, model.g.W_j, inference.W_q, inference.W_e):
            torch.nn.init.normal_(matrix.weight)
    return EMTrainer(model, inference, config, random_instances(n=12))


@pytest.fixture
def batch():
    return random_instances(seed=2)


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
    picked = logits[torch.arange(len(batch)), batch.targets - 1]
    return (logits.logsumexp(dim=1) - picked).mean()


def e_loss(trainer, batch):
    return trainer.e_loss(batch, trainer.generative.catalogue())


@pytest.mark.parametrize("alpha_E", [0.0, 5.0])
def test_the_e_step_is_minus_the_elbo_and_the_weighted_recommendation(batch, alpha_E):
    one = trainer(alpha_E=alpha_E)
    warm_up = one.recommendation_loss_e(batch, one.log_q(batch))
    torch.testing.assert_close(warm_up, recommendation_by_q(one, batch))
    expected = -losses.elbo(*parts(one, batch)).mean() + alpha_E * warm_up
    torch.testing.assert_close(e_loss(one, batch), expected)


def test_each_step_moves_its_own_model_only(batch):
    one = trainer()
    e_loss(one, batch).backward()
    assert all(p.grad is None for p in one.generative.parameters())
    assert any(p.grad is not None and p.grad.abs().sum() > 0 for p in one.inference.parameters())
    one = trainer()
    one.m_loss(batch).backward()
    assert all(p.grad is None for p in one.inference.parameters())
    assert one.generative.anchors.grad.abs().sum() > 0


def test_the_m_step_with_unit_weights_is_minus_the_elbo(batch):
    one = trainer(infonce_weight=1.0, lambda_=1.0, alpha_M=0.0)
    bound = losses.elbo(*parts(one, batch)).mean()
    torch.testing.assert_close(one.m_loss(batch), -bound)


def test_the_m_step_with_the_exact_posterior_is_minus_the_likelihood(batch):
    one = trainer(e_step="exact", infonce_weight=1.0, lambda_=1.0, alpha_M=0.0)
    _, log_prior, log_item = parts(one, batch)
    likelihood = (log_prior.exp() * log_item.exp()).sum(1).log().mean()
    torch.testing.assert_close(one.m_loss(batch), -likelihood)
    one = trainer(infonce_weight=0.0, lambda_=0.0, alpha_M=2.0)
    torch.testing.assert_close(one.m_loss(batch), -2.0 * likelihood)


def test_joint_loss_by_hand(batch):
    run = trainer(schedule="joint", lambda_=0.3, alpha_E=2.0, alpha_M=7.0)
    log_q, log_prior, log_item = parts(run, batch)
    by_hand = (
        7.0 * -torch.logsumexp(log_prior + log_item, 1).mean()
        + 2.0 * recommendation_by_q(run, batch)
        + 0.3 * losses.kl(log_q, log_prior).mean()
    )
    torch.testing.assert_close(run.joint_loss(batch), by_hand)
    # the alignment alone moves both models
    run = trainer(schedule="joint", lambda_=1.0, alpha_E=0.0, alpha_M=0.0)
    run.joint_loss(batch).backward()
    for matrix in (run.generative.f.W_m, run.inference.W_q):
        assert matrix.weight.grad.abs().max() > 0


@pytest.mark.parametrize("residual", [False, True])
def test_joint_training_is_one_stage_as_long_as_two_and_both_models_learn(residual):
    torch.manual_seed(0)  # of the dropout
    one = trainer(schedule="joint", residual=residual, n_epochs_generative=4, n_epochs_alternate=2)
    matrices = one.generative.f.W_m.weight, one.inference.W_q.weight
    before = [matrix.clone() for matrix in matrices]
    curve = train_em(one, one.instances, progress=False)
    assert [row["stage"] for row in curve] == ["joint"] * 6
    assert curve[-1]["loss_m"] < curve[0]["loss_m"]
    assert not any(map(torch.equal, matrices, before))


def test_the_intents_alone_are_asked_too_where_there_is_a_residual(batch):
    one = trainer(
        residual=True, infonce_weight=0.0, lambda_=0.0, alpha_M=2.0, aux_intent_weight=0.7
    )
    torch.nn.init.ones_(one.generative.residual.a)
    model, rows = one.generative, torch.arange(len(batch))
    both, alone = (
        -model.log_probability(context, model.catalogue())[rows, batch.targets].mean()
        for context in (model.context(batch.S, batch.x, residual=on) for on in (True, False))
    )
    torch.testing.assert_close(one.m_loss(batch), 2.0 * (both + 0.7 * alone))


def test_stages_are_those_of_algorithm_1(monkeypatch):
    one, steps = trainer(n_epochs_q=2, n_epochs_generative=1, n_epochs_alternate=2), []
    monkeypatch.setattr(one, "e_step", lambda **options: steps.append(("E", options)))
    monkeypatch.setattr(one, "m_step", lambda: steps.append(("M", {})))
    train_em(one, one.instances, progress=False)
    warm_up, e_step, m_step = ("E", {"warm_up": True}), ("E", {}), ("M", {})
    assert steps == [warm_up, warm_up, m_step, e_step, m_step, e_step, m_step]


def test_product_form_needs_sampled_candidates():
    with pytest.raises(ConfigError, match="n_negatives"):
        trainer(form="product")


@pytest.mark.parametrize(
    "options",
    [
        {}, {"residual": True}, {"residual": True, "e_step": "exact"}, {"n_negatives": 3},
        {"form": "logit"}, {"form": "logit", "n_negatives": 3},
        {"form": "product", "n_negatives": 3},
    ],
    ids=str,
)  # fmt: skip
def test_algorithm_1_raises_the_likelihood_of_its_training_instances(options, monkeypatch):
    one = trainer(
        learning_rate=1e-2, n_epochs_q=3, n_epochs_generative=15, n_epochs_alternate=10,
        batch_size=4, **options,
    )  # fmt: skip
    model, instances = one.generative, one.instances

    def mean_log_probability(*_, **__) -> float:
        context = model.context(instances.S, instances.x, residual=one.residual_enabled)
        scores = model.log_probability(context, model.catalogue())
        return scores.gather(1, instances.targets[:, None]).mean().item()

    before = mean_log_probability()
    monkeypatch.setattr(one, "valid_ndcg", mean_log_probability)
    curve = train_em(one, instances, progress=False)
    assert mean_log_probability() > before + 0.05
    assert [row["stage"] for row in curve] == ["q"] * 3 + ["generative"] * 15 + ["alternate"] * 10
    assert all(row["elbo"] <= row["log_likelihood"] + 1e-9 for row in curve)


def test_monitored_gap_is_the_kl_to_the_exact_posterior():
    row = trainer(residual=True).monitor()
    assert row["log_likelihood"] - row["elbo"] == pytest.approx(row["kl_q_exact"], abs=1e-9)
