"""The networks against the equations written out with loops."""

import pytest
import torch

from latentcrs_utils.behavior.next_item import next_item_bce
from latentcrs_utils.em import losses
from latentcrs_utils.em.networks import GenerativeModel, InferenceModel, ItemTables

from .small_world import N_INTENTS, N_RANDOM, TEXT, WIDTH, random_instances, random_model

with_and_without = pytest.mark.parametrize("residual", [False, True])


def asked(form="mixture", residual=False):
    """A model, instances, and what the model computes once for them and for the items."""
    model, batch = random_model(form, residual), random_instances()
    context = model.context(batch.S, batch.x)
    assert (context.residual_query is not None) == residual
    return model, batch, context, model.catalogue()


def tables(model, context, catalogue):
    """g(v, m_j) + the residual's score written out, [B or 1, K, V]; padding left out."""
    table = model.item_table()[None, :, 1:]
    if context.residual_query is not None:
        table = table + (context.residual_query @ catalogue.residual.T)[:, None, 1:]
    return table


@with_and_without
def test_mixture_equals_the_sum_over_intents_written_out(residual):
    model, batch, context, catalogue = asked(residual=residual)
    result = model.log_probability(context, catalogue)
    of_each = tables(model, context, catalogue).expand(len(batch), -1, -1).softmax(-1)
    for b in range(len(batch)):
        expected = sum(context.log_prior[b, j].exp() * of_each[b, j] for j in range(N_INTENTS))
        torch.testing.assert_close(result[b, 1:].exp(), expected)
    assert torch.isneginf(result[:, 0]).all()
    # and the same from the parts that the losses take
    log_item = model.log_item(context, batch.targets, catalogue)
    likelihood = losses.log_likelihood(context.log_prior, log_item)
    torch.testing.assert_close(likelihood, result.gather(1, batch.targets[:, None])[:, 0])


@with_and_without
@pytest.mark.parametrize("form", ["mixture", "logit", "product"])
def test_log_item_is_the_softmax_over_the_catalogue_for_every_intent(form, residual):
    model, batch, context, catalogue = asked(form, residual)
    all_items = torch.arange(1, N_RANDOM + 1).expand(len(batch), -1)
    of_all = model.candidate_logits(context, all_items).log_softmax(-1)
    found = model.log_item(context, batch.targets, catalogue)
    torch.testing.assert_close(found, of_all[torch.arange(len(batch)), :, batch.targets - 1])


@pytest.mark.parametrize("form", ["logit", "product"])
def test_h_is_the_weighted_average_of_the_logits(form):
    model, batch, context, catalogue = asked(form)
    all_items = torch.arange(1, N_RANDOM + 1).expand(len(batch), -1)
    h = (context.log_prior.exp()[..., None] * model.candidate_logits(context, all_items)).sum(1)
    found = model.log_probability(context, catalogue)[:, 1:]
    torch.testing.assert_close(found, h.log_softmax(-1))


def test_product_form_is_equation_6_written_out():
    model, batch, context, _ = asked("product")
    candidates = torch.tensor([[1, 2, 5]]).expand(len(batch), 3)
    g = model.candidate_logits(context, candidates)
    W_j, W_v, W_m = model.g.W_j.weight, model.g.W_v.weight, model.f.W_m.weight
    user = model.f.ffn(torch.cat([batch.S, model.f.text(batch.x)], dim=-1))
    for b, j, k in [(0, 0, 0), (3, 4, 2), (8, 2, 1)]:
        m, v = model.anchors[j], model.v[candidates[b, k]]
        expected = ((W_j @ m) @ (W_v @ v)) * (user[b] @ (W_m @ m))
        torch.testing.assert_close(g[b, j, k], expected)


def test_prior_is_equation_5_and_inference_is_equation_10():
    model, batch, context, _ = asked()
    user = model.f.ffn(torch.cat([batch.S, model.f.text(batch.x)], dim=-1))
    logits = torch.stack([user @ (model.f.W_m.weight @ m) for m in model.anchors], dim=1)
    torch.testing.assert_close(context.log_prior.exp(), torch.softmax(logits, -1))
    inference = InferenceModel(WIDTH).double()
    W_q, W_k = inference.W_q.weight, inference.W_k.weight
    scores = [(batch.S @ W_q.T) @ (W_k @ m) / WIDTH**0.5 for m in model.anchors]
    q = torch.softmax(torch.stack(scores, dim=1), -1)
    torch.testing.assert_close(inference(batch.S, model.anchors).exp(), q)


def test_normaliser_and_mixture_survive_extreme_scores():
    # with the identity as the instances' side, the vectors are the scores themselves
    table = torch.tensor([[0.0, 80.0, -80.0, 0.0], [0.0, -60.0, 60.0, 0.0]])
    residual = torch.tensor([[0.0, 40.0, -40.0, 5.0]])
    catalogue = ItemTables(torch.eye(2), table.T.contiguous(), residual.T.contiguous())
    users = torch.ones(1, 1)
    direct = torch.logsumexp(table[None, :, 1:] + residual[:, None, 1:], dim=-1)
    torch.testing.assert_close(catalogue.log_normaliser(catalogue.residual_scores(users)), direct)
    torch.testing.assert_close(catalogue.log_total, torch.logsumexp(table[:, 1:], dim=1))
    log_prior = torch.tensor([[0.5, 0.5]]).log()
    for given in (users, None):
        mixture = catalogue.log_mixture(log_prior, given)
        assert mixture.shape == (1, 3)
        assert torch.isfinite(mixture).all()


@with_and_without
def test_gradient_of_the_likelihood_is_that_of_the_tables_written_out(residual):
    model, batch, context, catalogue = asked(residual=residual)
    without = model.context(batch.S, batch.x, residual=False)
    rows = torch.arange(len(batch))
    found = model.log_items([context, without], batch.targets, catalogue)
    for of_context, fast in zip((context, without), found, strict=True):
        written = tables(model, of_context, catalogue).log_softmax(-1).expand(len(batch), -1, -1)
        written = written[rows, :, batch.targets - 1]
        torch.testing.assert_close(fast, written)
        weights = torch.randn(written.shape, dtype=torch.float64)
        gradients = [
            torch.autograd.grad(
                (weights * log_item).sum(), [*model.parameters()], allow_unused=True,
                retain_graph=True,
            )
            for log_item in (fast, written)
        ]  # fmt: skip
        assert sum(gradient is not None for gradient in gradients[0]) > 2
        torch.testing.assert_close(*gradients, allow_subclasses=False)


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
        if "candidates" in kind:
            few = model.context(S[:48], x[:48])
            logits = model.candidate_logits(few, items.reshape(48, 10))
            (logits * weights[:48, :, None]).sum().backward()
        else:
            log_item = model.log_item(model.context(S, x), items, model.catalogue())
            (log_item * weights).sum().backward()
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
