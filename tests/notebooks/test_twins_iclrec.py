"""What notebook 02 writes out by hand equals what the package computes, on inputs of its own."""

from types import SimpleNamespace

import pytest
import torch

from latentcrs_utils.behavior import iclrec, next_item, sasrec
from latentcrs_utils.behavior.sasrec import SASRec
from latentcrs_utils.config import BackboneConfig

from .test_notebook_twins import close

STEMS = ("02_iclrec_pretraining",)

CONFIG = BackboneConfig(hidden=12, n_layers=3, n_heads=3, max_length=9)
N_ITEMS, B = 20, 5


@pytest.fixture(params=range(3))
def world(request):
    """An encoder with weights far from zero, left-padded histories, random states."""
    noise = torch.Generator().manual_seed(request.param)
    model = SASRec(N_ITEMS, CONFIG, seed=request.param).eval().requires_grad_(False)
    for tensor in model.state_dict().values():
        tensor += 0.3 * torch.randn(tensor.shape, generator=noise)
    model.item_embedding.weight[0] = 0.0
    lengths = torch.randint(1, 8, (B, 1), generator=noise)
    items = torch.randint(1, N_ITEMS + 1, (B, 7), generator=noise)
    return SimpleNamespace(
        noise=noise,
        model=model,
        p=model.state_dict(),
        histories=items.masked_fill(torch.arange(7) < 7 - lengths, 0),
        x=torch.randn(B, 7, 12, generator=noise),
    )


def test_mask_attention_and_layer(by_hand, world):
    visible = by_hand.visible_keys(world.histories > 0)
    assert torch.equal(visible[:, None], sasrec.visible_keys(world.histories > 0))
    own = world.model.layers[1].attention
    parts = (own.query_key_value.weight, own.query_key_value.bias)
    parts += (own.output.weight, own.output.bias)
    ours, weights = by_hand.attention(world.x, visible, *parts, 3)
    close(ours, own(world.x, visible[:, None]))
    close(weights.sum(-1), torch.ones(B, 3, 7))
    assert not weights.masked_select(~visible[:, None]).any()
    layer = by_hand.weights_of_layer(world.p, 1)
    ours = by_hand.transformer_layer(world.x, visible, layer, 3)
    close(ours, world.model.layers[1](world.x, visible[:, None]))
    norm = world.model.input_norm
    close(by_hand.normalise(world.x, norm.weight, norm.bias), norm(world.x))


def test_encoder(by_hand, world):
    close(by_hand.encode(world.histories, world.p, 3, 3), world.model(world.histories))


def test_losses(by_hand, world):
    states, vectors = world.x[0], world.p["item_embedding.weight"]
    targets, negatives = torch.randint(1, N_ITEMS + 1, (2, 7), generator=world.noise)
    ours = by_hand.next_item_ce(states, targets, vectors)
    close(ours, next_item.next_item_ce(states, targets, vectors))
    ours = by_hand.next_item_bce(states, targets, negatives, vectors)
    close(ours, next_item.next_item_bce(states, targets, negatives, vectors))


def test_contrasts(by_hand, world):
    one, two = world.x[:, 0], world.x[:, 1]
    allowed = torch.rand(B, 7, generator=world.noise) < 0.6
    parts = one, two, world.x[0], allowed, 0.7
    close(by_hand.info_nce(*parts), iclrec.info_nce(*parts))
    ours = by_hand.instance_contrast(one, two, 0.7)
    close(ours, iclrec.instance_contrast(one, two, 0.7))
    prototypes, assignments = world.x[0, :3], torch.tensor([2, 0, 2, 1, 0])
    ours = by_hand.different_intents(assignments)
    assert torch.equal(ours, iclrec.different_intents(assignments))
    parts = [one, two], prototypes, assignments, 0.7
    close(by_hand.intent_contrast(*parts), iclrec.intent_contrast(*parts))
