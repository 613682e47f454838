"""What notebook 09 writes out by hand equals the package, on other inputs."""

from __future__ import annotations

import numpy as np
import pytest

from experiments import intent_diagnostics as worth
from latentcrs_utils.evaluation.metrics import bootstrap_interval, metric_values

STEMS = ("09_ablations",)


@pytest.mark.parametrize("seed", range(3))
def test_interval(by_hand, seed):
    values = np.random.default_rng(seed).normal(size=57)
    np.testing.assert_allclose(by_hand.interval(values), bootstrap_interval(values))
    ours = by_hand.interval(values, n=300, seed=seed)
    np.testing.assert_allclose(ours, bootstrap_interval(values, n=300, seed=seed))


def test_ndcg(by_hand):
    ranks = np.random.default_rng(0).integers(1, 60, size=(4, 30))
    ranks[0, :3] = (1, 20, 21)
    np.testing.assert_allclose(by_hand.ndcg(ranks), metric_values(ranks, "NDCG@20"))


@pytest.mark.parametrize("n_bins", [1, 3, 10])
def test_calibration_error(by_hand, n_bins):
    rng = np.random.default_rng(n_bins)
    promised, kept = rng.random(101), rng.integers(0, 2, 101).astype(float)
    ours = by_hand.calibration_error(promised, kept, n_bins)
    assert ours == pytest.approx(worth.expected_calibration_error(promised, kept, n_bins))
