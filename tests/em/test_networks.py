"""The networks against the equations written out with loops."""

import pytest
import torch

from latentcrs_utils.behavior.next_item import next_item_bce
from latentcrs_utils.em import losses
from latentcrs_utils.em.networks import Context, GenerativeModel, InferenceModel, ItemTables

from .small_world import N_INTENTS, TEXT, WIDTH, random_instances, random_model

N_ITEMS = 7


def residual_scores(model: GenerativeModel, context: Context) -> torch.Tensor:
    """Of all items, [B, V + 1]."""
    return context.residual_query @ model.catalogue().residual.T


@pytest.mark.parametrize("residual", [False, True])
def test_mixture_equals_the_sum_over_intents_written_out(residual):
    model, batch = random_model(residual=residual), random_instances()
    context = model.context(batch.S, batch.x)
    table = model.item_table()
    assert (context.residual_query is not None) == residual
    result = model.log_probability(context, model.catalogue())
    for b in range(len(batch)):
        expected = torch.zeros(N_ITEMS, dtype=torch.float64)
        for j in range(N_INTENTS):
            logits = table[j, 1:]
            if residual:
                logits = logits + residual_scores(model, context)[b, 1:]
            expected += context.log_prior[b, j].exp() * torch.softmax(logits, -1)
        torch.testing.assert_close(result[b, 1:].exp(), expected)
    assert torch.isneginf(result[:, 0]).all() or (result[:, 0] < -600).all()


@pytest.mark.parametrize("residual", [False, True])
def test_log_item_is_a_distribution_over_the_catalogue_for_every_intent(residual):
    model, batch = random_model(residual=residual), random_instances(n=1)
    context = model.context(batch.S, batch.x)
    catalogue = model.catalogue()
    per_item = [
        model.log_item(context, torch.tensor([item]), catalogue).exp()
        for item in range(1, N_ITEMS + 1)
    ]
    torch.testing.assert_close(torch.stack(per_item).sum(0), torch.ones(1, N_INTENTS).double())


@pytest.mark.parametrize("residual", [False, True])
def test_log_item_and_prior_add_up_to_log_probability(residual):
    model, batch = random_model(residual=residual), random_instances()
    context = model.context(batch.S, batch.x)
    likelihood = losses.log_likelihood(
        context.log_prior, model.log_item(context, batch.targets, model.catalogue())
    )
    expected = model.log_probability(context, model.catalogue()).gather(1, batch.targets[:, None])[
        :, 0
    ]
    torch.testing.assert_close(likelihood, expected)


def test_logit_form_is_the_weighted_average_of_the_logits():
    model, batch = random_model("logit"), random_instances()
    context = model.context(batch.S, batch.x)
    h = context.log_prior.exp() @ model.item_table()[:, 1:]
    torch.testing.assert_close(
        model.log_probability(context, model.catalogue())[:, 1:], torch.log_softmax(h, dim=-1)
    )


def test_product_form_is_equation_6_written_out():
    model, batch = random_model("product"), random_instances()
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
    torch.testing.assert_close(
        model.log_probability(context, model.catalogue())[:, 1:], h.log_softmax(-1)
    )


def test_prior_is_equation_5_and_inference_is_equation_10():
    model, batch = random_model(), random_instances()
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


def test_gradient_of_the_fast_normaliser_is_that_of_logsumexp():
    model, batch = random_model(residual=True), random_instances()
    context = model.context(batch.S, batch.x)
    table, residual = model.item_table(), residual_scores(model, context)
    direct = torch.logsumexp(table[None, :, 1:] + residual[:, None, 1:], dim=-1)
    fast = model.catalogue()
    fast = fast.log_normaliser(fast.residual_scores(context.residual_query))
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
    model, batch = random_model(residual=residual), random_instances()
    context = model.context(batch.S, batch.x)
    scores = model.item_table()[None]
    if residual:
        scores = scores + residual_scores(model, context)[:, None]
    written = torch.log_softmax(scores, dim=-1).expand(len(batch), -1, -1)
    written = written[torch.arange(len(batch)), :, batch.targets]
    without = model.context(batch.S, batch.x, residual=False)
    fast, alone = model.log_items([context, without], batch.targets, model.catalogue())
    torch.testing.assert_close(fast, written)
    by_table = torch.log_softmax(model.item_table(), dim=-1)[:, batch.targets].T
    torch.testing.assert_close(alone, by_table)
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
            (model.log_item(context, items, model.catalogue()) * weights).sum().backward()
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
