"""The encoder: causality, padding, empty histories."""

import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention

from latentcrs_utils.behavior.pretraining import Backbone
from latentcrs_utils.behavior.sasrec import SASRec, attend_on_cpu, visible_keys
from latentcrs_utils.config import BackboneConfig
from latentcrs_utils.data.sequences import Sequences

CONFIG = BackboneConfig(hidden=8, n_layers=2, n_heads=2, max_length=6)


@pytest.fixture
def encoder() -> SASRec:
    return SASRec(9, CONFIG, seed=3).eval()


def test_future_items_do_not_change_the_past(encoder: SASRec) -> None:
    one = encoder(torch.tensor([[1, 2, 3, 4, 5, 6]]))
    other = encoder(torch.tensor([[1, 2, 3, 7, 8, 9]]))
    torch.testing.assert_close(one[:, :3], other[:, :3])
    assert (one[:, 3:] - other[:, 3:]).abs().max() > 1e-5


@pytest.mark.parametrize("other", [[9, 2, 3, 4], [2, 1, 3, 4]])
def test_past_items_and_their_order_change_the_present(encoder: SASRec, other: list[int]) -> None:
    one, other = encoder(torch.tensor([[1, 2, 3, 4], other]))
    assert (one[-1] - other[-1]).abs().max() > 1e-6


def test_padding_on_the_left_and_other_rows_change_nothing(encoder: SASRec) -> None:
    short = encoder(torch.tensor([[4, 2, 7]]))
    padded = encoder(torch.tensor([[0, 0, 0, 4, 2, 7], [3, 4, 5, 1, 2, 9]]))
    torch.testing.assert_close(short[0], padded[0, 3:])
    assert torch.equal(padded[0, :3], torch.zeros(3, 8))
    assert not encoder.item_embedding.weight[0].any()


def test_a_sequence_beyond_max_length_is_refused(encoder: SASRec) -> None:
    with pytest.raises(ValueError, match="max_length 6"):
        encoder(torch.ones(1, 7, dtype=torch.int64))


def test_encode_takes_the_last_state_and_zero_for_an_empty_history(
    encoder: SASRec, monkeypatch: pytest.MonkeyPatch
) -> None:
    backbone = Backbone(CONFIG, encoder, [])
    histories = Sequences.from_lists([[3, 1], [], [9, 8, 1, 2, 3, 4, 5, 6]])
    S = backbone.encode(histories)
    assert S.dtype == torch.float32
    torch.testing.assert_close(S[0], encoder(torch.tensor([[3, 1]]))[0, -1])
    assert torch.equal(S[1], torch.zeros(8))
    torch.testing.assert_close(S[2], encoder(torch.tensor([[1, 2, 3, 4, 5, 6]]))[0, -1])
    monkeypatch.setattr("latentcrs_utils.behavior.pretraining.ENCODED_AT_ONCE", 2)
    torch.testing.assert_close(S, backbone.encode(histories))
    assert backbone.encode(Sequences.from_lists([])).shape == (0, 8)


def test_scores_are_dot_products_and_never_padding(encoder: SASRec) -> None:
    backbone = Backbone(CONFIG, encoder, [])
    S = backbone.encode(Sequences.from_lists([[3, 1], [2]]))
    scores = backbone.scores(S)
    assert torch.isneginf(scores[:, 0]).all()
    expected = torch.einsum("bh,vh->bv", S, backbone.item_embeddings)
    torch.testing.assert_close(scores[:, 1:], expected[:, 1:])


def test_attention_on_the_cpu_is_that_of_pytorch() -> None:
    generator = torch.Generator().manual_seed(0)
    q, k, v = (torch.randn(3, 2, 7, 4, generator=generator, requires_grad=True) for _ in range(3))
    visible = visible_keys(torch.tensor([[False] * n + [True] * (7 - n) for n in (0, 2, 6)]))
    results = []
    for attend in (attend_on_cpu, scaled_dot_product_attention):
        torch.manual_seed(1)
        out = attend(q, k, v, visible, 0.4)
        results.append([out, *torch.autograd.grad(out.square().sum(), (q, k, v))])
    torch.testing.assert_close(*results)
