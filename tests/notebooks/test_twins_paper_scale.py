"""What notebook 11 writes out by hand equals the package and PyTorch, on other inputs."""

from __future__ import annotations

import ast
import gzip
import json
import subprocess
import sys

import polars as pl
import pytest
import torch

from experiments.cost_model import Case, terms_of
from latentcrs_utils.behavior.next_item import draw_sample, next_item_sampled
from latentcrs_utils.behavior.pretraining import encode_last
from latentcrs_utils.behavior.sasrec import SASRec
from latentcrs_utils.config import BackboneConfig
from latentcrs_utils.data.json_lines import read_json_lines
from latentcrs_utils.data.sequences import Sequences
from latentcrs_utils.em import losses
from latentcrs_utils.em.networks import GenerativeModel
from latentcrs_utils.ranking import rank_of_target

from .conftest import code_of, twins_of
from .test_notebook_twins import close

STEMS = ("11_paper_scale",)
N, V, D, K = 37, 23, 8, 5


@pytest.fixture(params=range(3))
def noise(request):
    """A stream of random numbers."""
    return torch.Generator().manual_seed(request.param)


@pytest.fixture
def histories(noise):
    """Sequences of one to nine items."""
    lengths = torch.randint(1, 10, (N,), generator=noise).tolist()
    items = [torch.randperm(V, generator=noise)[:n] + 1 for n in lengths]
    return Sequences.from_lists([row.tolist() for row in items])


@pytest.mark.parametrize("sides", [(7,), (3, 4), (480, 512, 3522)])
def test_array_bytes(by_hand, sides):
    for dtype in (torch.float32, torch.int64):
        meta = torch.empty(sides, dtype=dtype, device="meta")
        assert by_hand.array_bytes(*sides, width=dtype.itemsize) == meta.nbytes


def test_largest_sees_what_is_made_and_not_what_is_there():
    Largest = twins_of(STEMS[0], {"Largest"})["Largest"]
    big, left, right = torch.zeros(1000, 1000), torch.ones(20, 3), torch.ones(3, 50)
    with Largest() as watched:
        (left @ right).sum()
        big.T.add_(1)  # a view, and in place
        big[0].expand(500, 1000)
    assert watched.bytes == 4 * 20 * 50


@pytest.mark.parametrize("size", [1, 100, 10**6])
def test_read_in_blocks(by_hand, tmp_path, size):
    schema = {"user_id": pl.String(), "rating": pl.Float64()}
    rows = [{"text": "é" * (i % 9), "user_id": f"U{i}", "rating": i / 2} for i in range(50)]
    file = tmp_path / "reviews.jsonl.gz"
    file.write_bytes(gzip.compress("\n".join(map(json.dumps, rows)).encode()))
    blocks = list(by_hand.read_in_blocks(file, schema, size))
    assert len(blocks) == (50 if size == 1 else 1 if size > 10**4 else len(blocks))
    ours, theirs = pl.concat(blocks), pl.concat(read_json_lines(file, schema, ("user_id",)))
    assert ours.equals(theirs)
    assert ours.equals(pl.DataFrame(rows).select("user_id", "rating"))


@pytest.mark.parametrize("n_rows", [1, 10, N, 1000])
def test_ranks_in_chunks(by_hand, noise, histories, n_rows):
    S, v = (torch.randn(n, D, generator=noise) for n in (N, V + 1))
    v[5] = v[6]  # a tie
    targets = torch.randint(1, V + 1, (N,), generator=noise)  # some of them seen
    ours = by_hand.ranks_in_chunks(S, v, targets, histories, n_rows)
    assert torch.equal(ours, rank_of_target(S @ v.T, targets, histories))


def test_sampled_softmax(by_hand, noise):
    states, v = torch.randn(N, D, generator=noise), torch.randn(V + 1, D, generator=noise)
    targets = torch.randint(1, V + 1, (N,), generator=noise)
    for n in (1, 6, V - 1):
        sample = draw_sample(V, n, noise)
        each = []
        for state, target in zip(states, targets, strict=True):
            negatives = [i for i in sample.tolist() if i != target][:n]
            each.append(
                by_hand.sampled_softmax(state @ v[target], v[negatives] @ state, n / (V - 1))
            )
        close(torch.stack(each).mean(), next_item_sampled(states, targets, sample, v))
    full = torch.nn.functional.cross_entropy(states @ v[1:].T, targets - 1)
    close(torch.stack(each).mean(), full)


@torch.no_grad()
def test_naive_and_cached_loss(by_hand, noise, histories):
    encoder = SASRec(V, BackboneConfig(hidden=D, max_length=6), seed=1).eval()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        anchors, v = torch.randn(K, D, generator=noise), encoder.item_embedding.weight
        model = GenerativeModel(anchors, v, v, 12).eval()
        for matrix in (model.g.W_j, model.g.W_v):
            torch.nn.init.normal_(matrix.weight)
    S, x = encode_last(encoder, histories), torch.randn(N, 12, generator=noise)
    targets = torch.randint(1, V + 1, (N,), generator=noise)
    context = model.context(S, x)
    log_item = model.log_item(context, targets, model.catalogue())
    theirs = -losses.log_likelihood(context.log_prior, log_item).mean()
    close(by_hand.cached_loss(model, S, x, targets), theirs)
    close(by_hand.naive_loss(encoder, model, histories, x, targets), theirs)


def test_to_bfloat16(by_hand, noise):
    size = 10.0 ** torch.randint(-30, 30, (10_000,), generator=noise)
    x = size * torch.randn(10_000, generator=noise)
    for numbers in (x, torch.tensor([0.0, -0.0, 256.5, 257.0, 257.5, 258.5, 1e-38])):
        assert torch.equal(by_hand.to_bfloat16(numbers), numbers.bfloat16().float())


def test_combined(by_hand, noise):
    rows = torch.randn(30, generator=noise)
    parts = rows.split([4, 1, 25])
    means, counts = torch.stack([p.mean() for p in parts]), torch.tensor([4.0, 1.0, 25.0])
    close(by_hand.combined(means, counts), rows.mean())


def trained_alone(S, targets, n_items, n_epochs):
    """The loss curve of the same softmax regression in one process, without Accelerate."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = torch.nn.Linear(S.shape[1], n_items)
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    curve = []
    for _ in range(n_epochs):
        total = 0.0
        for rows in torch.arange(len(S)).split(101):
            loss = torch.nn.functional.cross_entropy(model(S[rows]), targets[rows] - 1)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item() * len(rows)
        curve.append(total / len(S))
    return curve


def test_train_together(by_hand, tmp_path):
    noise = torch.Generator().manual_seed(0)
    S, targets = torch.randn(130, D, generator=noise), torch.arange(130) % V + 1
    torch.save((S, targets), tmp_path / "task.pt")
    # batches of 101 and 29 rows: neither is shared out evenly
    (source,) = (
        ast.unparse(node)
        for node in code_of(STEMS[0], "twin")
        if getattr(node, "name", "") == by_hand.train_together.__name__
    )
    lines = (
        "import json, pathlib, torch",
        source,
        "S, targets = torch.load('task.pt')",
        f"train_together(S, targets, {V}, 3, pathlib.Path('curve.json'))",
    )
    (tmp_path / "together.py").write_text("\n".join(lines), encoding="utf-8")
    torchrun = (sys.executable, "-m", "torch.distributed.run", "--standalone")
    subprocess.run(
        [*torchrun, "--nproc_per_node=2", "together.py"], cwd=tmp_path, check=True, timeout=300
    )
    found = json.loads((tmp_path / "curve.json").read_text(encoding="utf-8"))
    assert found["processes"] == 2
    assert found["curve"] == pytest.approx(trained_alone(S, targets, V, 3), rel=1e-4)


def test_coarse_top(by_hand, noise):
    items, queries = (torch.randn(n, D, generator=noise) for n in (200, 9))
    centroids = items[:6].clone()
    nearest = torch.cdist(items, centroids).argmin(1)
    lists = [(nearest == number).nonzero()[:, 0] for number in range(6)]
    ours = by_hand.coarse_top(queries, items, centroids, lists, 6, 4)
    assert torch.equal(ours, (queries @ items.T).topk(4).indices)
    best = (queries @ centroids.T).argmax(1)
    one = by_hand.coarse_top(queries, items, centroids, lists, 1, 1)[:, 0]
    assert torch.equal(nearest[one], best)
    for query, found, number in zip(queries, one, best, strict=True):
        close(items[found] @ query, (items[lists[number]] @ query).max())


def test_value_of_law(by_hand):
    case = Case(300, 70, 16, actions=9_000, instances=1_800, texts=40)
    terms = ["1", "actions", "instances*K*items", "texts"]
    coefficients = [0.5, 1e-3, 2e-7, 0.03]
    ours = by_hand.value_of_law(case.sizes(), terms, coefficients)
    assert ours == pytest.approx(terms_of(case, terms) @ coefficients)
