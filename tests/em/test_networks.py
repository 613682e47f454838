"""The networks against the equations written out with loops."""

from dataclasses import replace

import pytest
import torch

from latentcrs_utils.behavior.pretraining import next_item_bce
from latentcrs_utils.config import EMConfig
from latentcrs_utils.data.sequences import Sequences
from latentcrs_utils.em import losses
from latentcrs_utils.em.instances import Instances, sample_candidates
from latentcrs_utils.em.networks import (
    Catalogue,
    GenerativeModel,
    InferenceModel,
    log_mixture,
    log_normaliser,
)
from latentcrs_utils.em.trainer import EMTrainer, item_terms, monitor, train_em
from latentcrs_utils.errors import ConfigError

N_INTENTS, N_ITEMS, WIDTH, TEXT = 5, 7, 4, 6


def make_model(form="mixture", residual=False, seed=0) -> GenerativeModel:
    torch.manual_seed(seed)
    v = torch.randn(N_ITEMS + 1, WIDTH)
    v[0] = 0
    c = torch.cat([v, torch.randn(N_ITEMS + 1, 3)], dim=1)
    model = GenerativeModel(
        torch.randn(N_INTENTS, WIDTH), v, c, TEXT, form=form, residual=residual, text_hidden=8
    )
    return model.eval().double()


def make_instances(n=9, seed=1) -> Instances:
    torch.manual_seed(seed)
    histories = Sequences.from_lists([[1 + i % N_ITEMS, 1 + (i + 1) % N_ITEMS] for i in range(n)])
    targets = torch.tensor([1 + (i + 3) % N_ITEMS for i in range(n)])
    return Instances(
        torch.randn(n, WIDTH).double(), torch.randn(n, TEXT).double(), targets, histories
    )


@pytest.mark.parametrize("residual", [False, True])
def test_mixture_equals_the_sum_over_intents_written_out(residual):
    model, batch = make_model(residual=residual), make_instances()
    context = model.context(batch.S, batch.x)
    table, of_residual = model.item_table(), model.residual_scores(context)
    assert (of_residual is not None) == residual
    result = model.log_probability(context)
    for b in range(len(batch)):
        expected = torch.zeros(N_ITEMS, dtype=torch.float64)
        for j in range(N_INTENTS):
            logits = table[j, 1:]
            if residual:
                logits = logits + of_residual[b, 1:]
            expected += context.log_prior[b, j].exp() * torch.softmax(logits, -1)
        torch.testing.assert_close(result[b, 1:].exp(), expected)
    assert torch.isneginf(result[:, 0]).all() or (result[:, 0] < -600).all()


@pytest.mark.parametrize("residual", [False, True])
def test_log_item_is_a_distribution_over_the_catalogue_for_every_intent(residual):
    model, batch = make_model(residual=residual), make_instances(n=1)
    context = model.context(batch.S, batch.x)
    per_item = [
        model.log_item(context, torch.tensor([item])).exp() for item in range(1, N_ITEMS + 1)
    ]
    torch.testing.assert_close(torch.stack(per_item).sum(0), torch.ones(1, N_INTENTS).double())


@pytest.mark.parametrize("residual", [False, True])
def test_log_item_and_prior_add_up_to_log_probability(residual):
    model, batch = make_model(residual=residual), make_instances()
    context = model.context(batch.S, batch.x)
    likelihood = losses.log_likelihood(context.log_prior, model.log_item(context, batch.targets))
    expected = model.log_probability(context).gather(1, batch.targets[:, None])[:, 0]
    torch.testing.assert_close(likelihood, expected)


def test_logit_form_is_the_weighted_average_of_the_logits():
    model, batch = make_model("logit"), make_instances()
    context = model.context(batch.S, batch.x)
    h = context.log_prior.exp() @ model.item_table()[:, 1:]
    torch.testing.assert_close(model.log_probability(context)[:, 1:], torch.log_softmax(h, dim=-1))


def test_product_form_is_equation_6_written_out():
    model, batch = make_model("product"), make_instances()
    context = model.context(batch.S, batch.x)
    candidates = torch.tensor([[1, 2, 5]]).expand(len(batch), 3)
    g = model.candidate_logits(context, candidates)
    W_j, W_v, W_m = model.g.W_j.weight, model.g.W_v.weight, model.f.W_m.weight
    user = model.f.ffn(torch.cat([batch.S, model.f.text(batch.x)], dim=-1))
    for b, j, k in [(0, 0, 0), (3, 4, 2), (8, 2, 1)]:
        m, v = model.anchors[j], model.v[candidates[b, k]]
        expected = ((W_j @ m) @ (W_v @ v)) * (user[b] @ (W_m @ m))
        torch.testing.assert_close(g[b, j, k], expected)
    prior = context.log_prior.exp()
    all_items = torch.arange(1, N_ITEMS + 1).expand(len(batch), -1)
    h = (prior[..., None] * model.candidate_logits(context, all_items)).sum(1)
    torch.testing.assert_close(model.log_probability(context)[:, 1:], h.log_softmax(-1))


def test_prior_is_equation_5_and_inference_is_equation_10():
    model, batch = make_model(), make_instances()
    user = model.f.ffn(torch.cat([batch.S, model.f.text(batch.x)], dim=-1))
    logits = torch.stack([user @ (model.f.W_m.weight @ m) for m in model.anchors], dim=1)
    torch.testing.assert_close(
        model.context(batch.S, batch.x).log_prior.exp(), torch.softmax(logits, -1)
    )
    inference = InferenceModel(WIDTH).double()
    scores = torch.stack(
        [
            (batch.S @ inference.W_q.weight.T) @ (inference.W_k.weight @ m) / WIDTH**0.5
            for m in model.anchors
        ],
        dim=1,
    )
    torch.testing.assert_close(inference(batch.S, model.anchors).exp(), torch.softmax(scores, -1))


def test_normaliser_and_mixture_survive_extreme_scores():
    # with the identity as the instances' side, the vectors are the scores themselves
    table = torch.tensor([[0.0, 80.0, -80.0, 0.0], [0.0, -60.0, 60.0, 0.0]])
    residual = torch.tensor([[0.0, 40.0, -40.0, 5.0]])
    catalogue = Catalogue(torch.eye(2), table.T.contiguous(), residual.T.contiguous())
    users = torch.ones(1, 1)
    direct = torch.logsumexp(table[None, :, 1:] + residual[:, None, 1:], dim=-1)
    torch.testing.assert_close(log_normaliser(users, catalogue), direct)
    torch.testing.assert_close(catalogue.log_total, torch.logsumexp(table[:, 1:], dim=1))
    log_prior = torch.tensor([[0.5, 0.5]]).log()
    for given in (users, None):
        mixture = log_mixture(log_prior, given, catalogue)
        assert mixture.shape == (1, 3)
        assert torch.isfinite(mixture).all()
    with pytest.raises(ValueError, match="no residual"):
        log_normaliser(users, replace(catalogue, residual=None))


def test_gradient_of_the_fast_normaliser_is_that_of_logsumexp():
    model, batch = make_model(residual=True), make_instances()
    context = model.context(batch.S, batch.x)
    table, residual = model.item_table(), model.residual_scores(context)
    direct = torch.logsumexp(table[None, :, 1:] + residual[:, None, 1:], dim=-1)
    fast = log_normaliser(context.users, model.catalogue())
    torch.testing.assert_close(fast, direct)
    parameters = list(model.parameters())
    gradients = [
        torch.autograd.grad(value.square().sum(), parameters, allow_unused=True, retain_graph=True)
        for value in (fast, direct)
    ]
    compared = [(a, b) for a, b in zip(*gradients, strict=True) if b is not None]
    assert len(compared) > 5
    for a, b in compared:
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize("residual", [False, True])
def test_gradient_of_the_likelihood_is_that_of_the_tables_written_out(residual):
    model, batch = make_model(residual=residual), make_instances()
    context = model.context(batch.S, batch.x)
    scores = model.item_table()[None]
    if residual:
        scores = scores + model.residual_scores(context)[:, None]
    written = torch.log_softmax(scores, dim=-1).expand(len(batch), -1, -1)
    written = written[torch.arange(len(batch)), :, batch.targets]
    fast, alone = model.log_items(context, batch.targets)
    torch.testing.assert_close(fast, written)
    without = torch.log_softmax(model.item_table(), dim=-1)[:, batch.targets].T
    torch.testing.assert_close(alone, without)
    weights = torch.randn(written.shape, dtype=torch.float64)
    parameters = list(model.parameters())
    gradients = [
        torch.autograd.grad(
            (weights * value).sum(), parameters, allow_unused=True, retain_graph=True
        )
        for value in (fast, written)
    ]
    for a, b in zip(*gradients, strict=True):
        assert (a is None) == (b is None)
        if a is not None:
            torch.testing.assert_close(a, b)


def test_candidates_are_the_target_and_items_outside_the_history():
    batch = make_instances()
    drawn = sample_candidates(batch, N_ITEMS, 3, torch.Generator().manual_seed(0))
    assert (drawn[:, 0] == batch.targets).all()
    for b in range(len(batch)):
        negatives = set(drawn[b, 1:].tolist())
        assert len(negatives) == 3
        assert 0 not in negatives
        assert not negatives & {*batch.histories[b].tolist(), int(batch.targets[b])}


def test_more_negatives_than_items_are_refused():
    # two of seven items are in the history, a third is the target
    with pytest.raises(ConfigError, match="Choose at most 4"):
        sample_candidates(make_instances(), N_ITEMS, 5, torch.Generator().manual_seed(0))


def test_product_form_needs_sampled_candidates():
    with pytest.raises(ConfigError, match="n_negatives"):
        EMTrainer.start(
            make_model("product"), InferenceModel(WIDTH).double(), EMConfig(form="product"), 0
        )


@pytest.mark.parametrize(
    "config",
    [
        EMConfig(form="mixture"),
        EMConfig(form="mixture", residual=True),
        EMConfig(form="mixture", residual=True, e_step="exact"),
        EMConfig(form="mixture", n_negatives=3),
        EMConfig(form="logit"),
        EMConfig(form="logit", n_negatives=3),
        EMConfig(form="product", n_negatives=3),
    ],
)
def test_algorithm_1_raises_the_likelihood_of_its_training_instances(config):
    config = replace(
        config,
        learning_rate=1e-2,
        dropout=0.0,
        n_epochs_q=3,
        n_epochs_generative=15,
        n_epochs_alternate=10,
        batch_size=4,
    )
    model = make_model(config.form, config.residual).train()
    trainer = EMTrainer.start(model, InferenceModel(WIDTH).double(), config, seed=0)
    instances = make_instances(n=12)

    def mean_log_probability() -> float:
        scores = model.log_probability(model.context(instances.S, instances.x))
        return scores.gather(1, instances.targets[:, None]).mean().item()

    before = mean_log_probability()
    curve = train_em(trainer, instances, lambda part: mean_log_probability(), progress=False)
    assert mean_log_probability() > before + 0.05
    assert [row["stage"] for row in curve] == ["q"] * 3 + ["generative"] * 15 + ["alternate"] * 10
    assert all(row["elbo"] <= row["log_likelihood"] + 1e-9 for row in curve)


def test_monitored_gap_is_the_kl_to_the_exact_posterior():
    config = EMConfig(residual=True)
    trainer = EMTrainer.start(
        make_model(residual=True), InferenceModel(WIDTH).double(), config, seed=0
    )
    row = monitor(trainer, make_instances())
    assert row["log_likelihood"] - row["elbo"] == pytest.approx(row["kl_q_exact"], abs=1e-9)


def test_m_step_without_auxiliary_loss_is_the_negative_elbo():
    config = EMConfig(e_step="exact", infonce_weight=1.0, lambda_=1.0, alpha_M=0.0)
    trainer = EMTrainer.start(make_model(), InferenceModel(WIDTH).double(), config, seed=0)
    batch = make_instances()
    context = trainer.generative.context(batch.S, batch.x)
    log_item, recommendation = item_terms(trainer, context, batch)
    log_q = losses.exact_posterior(context.log_prior, log_item).detach()
    loss = losses.m_step_loss(
        losses.expected_item_loss(log_q.exp(), log_item),
        log_q,
        context.log_prior,
        recommendation,
        infonce_weight=1.0,
        lambda_=1.0,
        alpha_M=0.0,
    )
    negative_elbo = -losses.elbo(log_q, context.log_prior, log_item).mean()
    torch.testing.assert_close(loss, negative_elbo)


@pytest.mark.parametrize(
    "kind", ["one item", "one item, residual", "candidates", "candidates, residual", "bce"]
)
def test_several_threads_sum_the_same_gradient_every_time(kind):
    # of the size of ml-100k, and few items in many rows: there, sums without order differ soon
    generator = torch.Generator().manual_seed(0)
    v = torch.randn(1350, 64, generator=generator)
    anchors = torch.randn(256, 64, generator=generator)
    items = torch.randint(1, 60, (480,), generator=generator)
    S, x = (torch.randn(480, width, generator=generator) for width in (64, TEXT))
    weights = torch.randn(480, 256, generator=generator)
    model = GenerativeModel(anchors, v, v, TEXT, residual="residual" in kind).eval()

    def gradient():
        if kind == "bce":
            leaf = v.clone().requires_grad_()
            chosen = items.repeat(32)
            next_item_bce(S.repeat(32, 1), chosen, chosen.flip(0), leaf).backward()
            return leaf.grad
        model.zero_grad(set_to_none=True)
        context = model.context(S, x)
        if "candidates" in kind:
            candidates = items.reshape(48, 10)
            few = model.context(S[:48], x[:48])
            (model.candidate_logits(few, candidates) * weights[:48, :, None]).sum().backward()
        else:
            (model.log_item(context, items) * weights).sum().backward()
        parts = [p.grad.flatten() for p in model.parameters() if p.grad is not None]
        assert len(parts) > 2
        return torch.cat(parts)

    before = torch.get_num_threads()
    torch.set_num_threads(4)
    try:
        first, *others = (gradient() for _ in range(12))
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(first, other) for other in others)
