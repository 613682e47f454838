"""`schedule="joint"`: both models at once, their beliefs drawn together ("Direct KL Alignment")."""

from __future__ import annotations

import pytest
import torch

from latentcrs_utils.config import EMConfig
from latentcrs_utils.em import losses
from latentcrs_utils.em.model import fit_em
from latentcrs_utils.em.trainer import joint_loss

from . import small_world
from .test_step_losses import batch, parts, recommendation_by_q, trainer

__all__ = ["batch"]  # the fixture


def test_joint_loss_by_hand(batch):
    run = trainer(schedule="joint", lambda_=0.3, alpha_E=2.0, alpha_M=7.0)
    log_q, log_prior, log_item = parts(run, batch)
    by_hand = (
        7.0 * -torch.logsumexp(log_prior + log_item, 1).mean()
        + 2.0 * recommendation_by_q(run, batch)
        + 0.3 * losses.kl(log_q, log_prior).mean()
    )
    torch.testing.assert_close(joint_loss(run, batch), by_hand)


def test_the_alignment_alone_moves_both_models(batch):
    run = trainer(schedule="joint", lambda_=1.0, alpha_E=0.0, alpha_M=0.0)
    joint_loss(run, batch).backward()
    for matrix in (run.generative.f.W_m, run.inference.W_q):
        assert matrix.weight.grad.abs().max() > 0


@pytest.mark.parametrize("residual", [False, True])
def test_one_stage_as_long_as_two_and_both_models_learn(monkeypatch, tmp_path, residual):
    monkeypatch.setenv("LATENTCRS_CACHE", str(tmp_path))
    data = small_world.dataset()
    backbone, language = small_world.backbone(data), small_world.Language(data)
    anchors = small_world.anchors(backbone.encode(data.histories("train")))
    config = EMConfig(
        schedule="joint", residual=residual, n_epochs_generative=4, n_epochs_alternate=2
    )
    model = fit_em(data, backbone, anchors, language, config, progress=False)
    assert [row["stage"] for row in model.curve] == ["joint"] * 6
    losses_seen = [row["loss_m"] for row in model.curve]
    assert losses_seen[-1] < losses_seen[0]
    identity = torch.eye(len(model.inference.W_q.weight))
    assert not torch.equal(model.inference.W_q.weight, identity)
    assert not torch.equal(model.generative.f.W_m.weight, identity)
