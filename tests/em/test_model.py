"""`fit_em` on a world where the words decide."""

from dataclasses import replace

import pytest
import torch

from latentcrs_utils.config import EMConfig
from latentcrs_utils.em.instances import instances_of, rows_of
from latentcrs_utils.em.model import fit_em

from .small_world import N_ITEMS, N_USERS

QUICK = EMConfig(
    learning_rate=1e-2, dropout=0.1, batch_size=32, n_epochs_q=2, n_epochs_generative=20,
    n_epochs_alternate=4,
)  # fmt: skip
PLUS = replace(QUICK, residual=True)


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LATENTCRS_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="module")
def asked(small_world):
    data, encoder, _, language = small_world
    return instances_of(data, encoder, language, rows_of(language, "test"))


@pytest.mark.parametrize("config", [QUICK, PLUS])
def test_fit_learns_what_the_words_say_and_loads_the_same_fit_again(small_world, asked, config):
    model = fit_em(*small_world, config, progress=False)
    assert model.name == ("LatentCRS+" if config.residual else "LatentCRS")
    scores = model.scores(asked.S, asked.x)
    assert scores.shape == (N_USERS, N_ITEMS + 1)
    assert torch.isneginf(scores[:, 0]).all()
    torch.testing.assert_close(scores[:, 1:].exp().sum(1), torch.ones(N_USERS))
    said = asked.targets % 3
    mass = torch.stack([scores[:, 1:].exp()[:, g - 1 :: 3].sum(1) for g in (3, 1, 2)], dim=1)
    if config.residual:  # only the residual sees the genres of the items
        assert (mass.argmax(1) == said).float().mean() > 0.8
    likelihood = [row["log_likelihood"] for row in model.curve]
    assert likelihood[-1] > likelihood[0] + 0.05
    again = fit_em(*small_world, config, progress=False)
    assert torch.equal(again.scores(asked.S, asked.x), scores)
    assert again.curve == model.curve


def test_another_seed_or_config_is_another_fit(small_world):
    first = fit_em(*small_world, QUICK, progress=False)
    other = fit_em(*small_world, QUICK, seed=1, progress=False)
    third = fit_em(*small_world, replace(QUICK, lambda_=2.0), progress=False)
    table = first.generative.item_table()
    for model in (other, third):
        assert not torch.equal(table, model.generative.item_table())


def test_posteriors_are_distributions_and_bayes_holds(small_world, asked):
    model, (S, x) = fit_em(*small_world, PLUS, progress=False), (asked.S, asked.x)
    prior, exact = model.intent_prior(S, x), model.exact_posterior(asked.targets, S, x)
    for distribution in (prior, exact, model.amortised_posterior(S)):
        torch.testing.assert_close(distribution.sum(1), torch.ones(N_USERS))
    log_item = model.generative.log_item(model.context(S, x), asked.targets, model.catalogue)
    joint = prior * log_item.exp()
    torch.testing.assert_close(exact, joint / joint.sum(1, keepdim=True))


def test_the_catalogue_is_computed_once_for_a_fitted_model(small_world, asked, monkeypatch):
    model, (S, x) = fit_em(*small_world, PLUS, progress=False), (asked.S, asked.x)
    fresh = model.generative.log_probability(model.context(S, x), model.generative.catalogue())
    with torch.inference_mode():
        first = model.scores(S, x)
    assert torch.equal(first, fresh)
    monkeypatch.setattr(type(model.generative), "catalogue", None)
    assert torch.equal(model.scores(S, x), first)


def test_training_reads_the_train_part_and_valid_selects(small_world, monkeypatch):
    seen, (data, encoder, _, language) = [], small_world
    monkeypatch.setattr(
        "latentcrs_utils.em.model.train_em",
        lambda trainer, valid, **_: seen.extend([trainer.instances, valid]),
    )
    fit_em(*small_world, replace(QUICK, lambda_=3.0))
    for split, found in zip(("train", "valid"), seen, strict=True):
        expected = instances_of(data, encoder, language, rows_of(language, split))
        assert torch.equal(found.targets, expected.targets) and torch.equal(found.S, expected.S)
