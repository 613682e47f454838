"""A small world and what is fitted to it, for the tests of the experiments."""

from types import SimpleNamespace

import pytest

from tests.conversation.fakes import FakeModel
from tests.evaluation.dialogue_world import N_ITEMS, Backbone, dataset


@pytest.fixture(scope="session")
def world():
    """Thirty users and forty films."""
    return dataset()


@pytest.fixture(scope="session")
def fitted_with():
    """From data, a language and a model to what `fit_all` gives, without training."""

    def fitted(data, language, model=None):
        model = model or FakeModel(N_ITEMS)
        return SimpleNamespace(
            data=data, backbone=Backbone(), language=language, text_alone=model, fusion=model,
            latentcrs=model, latentcrs_plus=model,
        )  # fmt: skip

    return fitted
