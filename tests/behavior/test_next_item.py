"""The softmax losses against PyTorch's own, and what a sample of the items does to them."""

import math

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from latentcrs_utils.behavior import next_item
from latentcrs_utils.behavior.sasrec import SASRec
from latentcrs_utils.config import BackboneConfig
from latentcrs_utils.support import fused_softmax

P, V, H = 50, 23, 6
ITEMS = torch.tensor([[7.0, 7.0], [1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_bce_by_hand() -> None:
    def sigmoid(x: float) -> float:
        return 1 / (1 + math.exp(-x))

    states = torch.tensor([[2.0, 1.0], [0.0, -1.0]])
    loss = next_item.next_item_bce(states, torch.tensor([3, 1]), torch.tensor([2, 3]), ITEMS)
    first = -math.log(sigmoid(3)) - math.log(1 - sigmoid(1))
    second = -math.log(sigmoid(0)) - math.log(1 - sigmoid(-1))
    assert loss.item() == pytest.approx((first + second) / 2, rel=1e-5)


def test_negatives_are_not_in_the_row() -> None:
    inputs = torch.tensor([[1, 2, 3, 4], [0, 0, 0, 5]])
    draws = [next_item.sample_negatives(inputs, 6, seeded(seed)) for seed in range(50)]
    drawn = torch.cat(draws, dim=1)
    assert set(drawn[0].tolist()) == {5, 6}
    assert set(drawn[1].tolist()) == {1, 2, 3, 4, 6}


@pytest.fixture(params=[16, 2**20], ids=["many-chunks", "one-chunk"])
def chunks(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sixteen positions a chunk (the last one is not full), or all at once."""
    monkeypatch.setitem(fused_softmax._CELLS, "cpu", request.param)


def world(dtype: torch.dtype = torch.float64, scale: float = 1.0) -> tuple[Tensor, Tensor, Tensor]:
    generator = seeded(0)
    states = scale * torch.randn(P, H, dtype=dtype, generator=generator)
    vectors = torch.randn(V + 1, H, dtype=dtype, generator=generator)
    targets = torch.randint(1, V + 1, (P,), generator=generator)
    return states.requires_grad_(), targets, vectors.requires_grad_()


def plain_ce(states: Tensor, targets: Tensor, vectors: Tensor) -> Tensor:
    return torch.nn.functional.cross_entropy(states @ vectors[1:].T, targets - 1)


def with_gradients(loss: Tensor, *leaves: Tensor) -> list[Tensor]:
    return [loss.detach(), *torch.autograd.grad(loss, leaves)]


# with states so long, targets are improbable, and their loss is finite yet
@pytest.mark.parametrize("scale", [1.0, 200.0])
def test_the_full_softmax_is_that_of_pytorch(chunks: None, scale: float) -> None:
    states, targets, vectors = world(torch.float64 if scale == 1 else torch.float32, scale)
    plain = plain_ce(states, targets, vectors)
    assert plain > 150 or scale == 1
    ours = with_gradients(3 * next_item.next_item_ce(states, targets, vectors), states, vectors)
    torch.testing.assert_close(ours, with_gradients(3 * plain, states, vectors))
    assert not ours[2][0].any()
    with torch.no_grad():
        loss = next_item.next_item_ce(states, targets, vectors)
    assert not loss.requires_grad
    assert loss == next_item.next_item_ce(states, targets, vectors)


def test_gradients_are_those_of_finite_differences(chunks: None) -> None:
    states, targets, vectors = world()
    sample = next_item.draw_sample(V, 5, seeded(1))
    assert torch.autograd.gradcheck(
        lambda s, v: next_item.next_item_sampled(s, targets[:20], sample, v), (states[:20], vectors)
    )


def test_bfloat16_comes_close(chunks: None) -> None:
    states, targets, vectors = world(torch.float32)
    full = with_gradients(next_item.next_item_ce(states, targets, vectors), states, vectors)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = next_item.next_item_ce(states, targets, vectors)
    half = with_gradients(loss, states, vectors)
    assert {x.dtype for x in half} == {torch.float32}
    assert not torch.equal(full[1], half[1])
    torch.testing.assert_close(half, full, rtol=0.03, atol=0.003)


def by_hand(state: Tensor, target: int, sample: list[int], vectors: Tensor) -> float:
    """One position of the sampled softmax, from its definition."""
    exps = (vectors @ state).detach().exp().tolist()
    negatives = [v for v in sample if v != target][: len(sample) - 1]
    others = sum(exps[v] for v in negatives) * (V - 1) / len(negatives)
    return -math.log(exps[target] / (exps[target] + others))


def test_the_sampled_softmax_by_hand(chunks: None) -> None:
    states, targets, vectors = world()
    sample = next_item.draw_sample(V, 7, seeded(3))
    hits = torch.isin(targets, sample)
    assert hits.any() and not hits.all()
    expected = [
        by_hand(s, int(t), sample.tolist(), vectors) for s, t in zip(states, targets, strict=True)
    ]
    ours = next_item.next_item_sampled(states, targets, sample, vectors)
    assert ours.item() == pytest.approx(sum(expected) / P)


@pytest.mark.parametrize("n", [V - 1, V, 10 * V])
def test_with_all_negatives_it_is_the_full_softmax(chunks: None, n: int) -> None:
    states, targets, vectors = world()
    sample = next_item.draw_sample(V, n, seeded(1))
    sampled = next_item.next_item_sampled(states, targets, sample, vectors)
    full = with_gradients(plain_ce(states, targets, vectors), states, vectors)
    torch.testing.assert_close(with_gradients(sampled, states, vectors), full)


def test_the_sum_of_the_softmax_is_right_on_average() -> None:
    """exp(loss) is Z / exp(s·v): unbiased; without the correction it would be far too low."""
    states, targets, vectors = world()
    state, target, n, generator = states[:1].detach(), targets[:1], 4, seeded(5)
    with torch.no_grad():
        exact = next_item.next_item_ce(state, target, vectors).exp()
        samples = [next_item.draw_sample(V, n, generator) for _ in range(4000)]
        drawn = [next_item.next_item_sampled(state, target, s, vectors).exp() for s in samples]
    drawn = torch.stack(drawn)
    error = drawn.std() / len(drawn) ** 0.5
    assert abs(drawn.mean() - exact) < 4 * error < 0.1 * (exact - 1)
    assert (drawn.mean() - 1) * n / (V - 1) < 0.5 * (exact - 1)


def test_a_batch_of_a_large_catalogue_holds_no_matrix_of_scores() -> None:
    n_items, n_positions = 76_616, 12_800
    encoder = SASRec(n_items, BackboneConfig(hidden=8))
    largest = 0

    class Watch(TorchDispatchMode):
        def __torch_dispatch__(self, function, types, args=(), kwargs=None):  # type: ignore
            nonlocal largest
            result = function(*args, **(kwargs or {}))
            for x in result if isinstance(result, (tuple, list)) else [result]:
                if isinstance(x, Tensor):
                    largest = max(largest, x.untyped_storage().nbytes())
            return result

    generator = seeded(0)
    inputs = torch.randint(1, n_items + 1, (n_positions // 50, 50), generator=generator)
    with Watch():
        loss = next_item.next_item_loss(
            encoder, inputs, inputs.roll(1, 0), "sampled", generator, n_negatives=512
        )
        loss.backward()
    # the largest thing is one of the encoder's own: a score matrix would take 3.9 GB
    assert largest < 60e6
    assert abs(loss.item() - math.log(n_items)) < 0.5
