"""The small world of the dialogues, for the tests of the experiments."""

import pytest

from tests.evaluation.dialogue_world import dataset


@pytest.fixture(scope="session")
def world():
    """Thirty users and forty films."""
    return dataset()
