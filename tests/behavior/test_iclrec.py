"""ICLRec's views and contrasts, by hand on small numbers."""

import math

import pytest
import torch

from latentcrs_utils.behavior.iclrec import (
    crop,
    different_intents,
    find_prototypes,
    info_nce,
    instance_contrast,
    intent_contrast,
    mask,
    mean_state,
    random_view,
    reorder,
)

L = 12


@pytest.fixture
def sequences() -> torch.Tensor:
    """400 left-padded rows of 1 to 12 items; item ids rise within a row."""
    lengths = torch.arange(400) % L + 1
    columns = torch.arange(L)
    return torch.where(columns >= L - lengths[:, None], columns + 1, 0)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def kept(row: torch.Tensor) -> list[int]:
    return [item for item in row.tolist() if item]


def term(own: float, *others: float) -> float:
    """-log softmax of the first of some logits."""
    return -math.log(math.exp(own) / sum(map(math.exp, (own, *others))))


def test_crop_keeps_one_contiguous_part(sequences: torch.Tensor) -> None:
    starts = set()
    for row, view in zip(sequences, crop(sequences, 0.4, generator()), strict=True):
        items, part = kept(row), kept(view)
        assert len(part) == max(1, int(0.4 * len(items)))
        # Ids rise by one, so a contiguous part is a run of neighbours.
        assert part == list(range(part[0], part[0] + len(part)))
        assert set(part) <= set(items)
        assert (view[-len(part) :] > 0).all()
        starts |= {part[0]} if len(items) == L else set()
    assert starts == set(range(1, L - 4 + 2))


def test_mask_hides_the_right_number_and_moves_nothing(sequences: torch.Tensor) -> None:
    views = mask(sequences, 0.7, generator())
    hidden, lengths = ((sequences > 0) & (views == 0)).sum(1), (sequences > 0).sum(1)
    assert torch.equal(hidden, (0.7 * lengths).long())
    assert torch.equal(views[views > 0], sequences[views > 0])
    # Every position of the full rows is hidden at some time, and not always.
    full = (views[lengths == L] == 0).float().mean(0)
    assert ((full > 0) & (full < 1)).all()


def test_reorder_permutes_one_window(sequences: torch.Tensor) -> None:
    views = reorder(sequences, 0.5, generator())
    assert torch.equal(views.sort(1).values, sequences.sort(1).values)
    assert torch.equal(views == 0, sequences == 0)
    places = [(row != view).nonzero() for row, view in zip(sequences, views, strict=True)]
    for row, moved in zip(sequences, places, strict=True):
        assert not len(moved) or moved[-1] - moved[0] < int(0.5 * len(kept(row)))
    assert sum(len(moved) > 0 for moved in places) > 200


def test_random_view_draws_each_kind_per_row(sequences: torch.Tensor) -> None:
    full = sequences[L - 1 :: L]
    views = random_view(full, (0.25, 0.5, 0.5), generator())
    lengths = (views > 0).sum(1)
    # 3 items: cropped; 6: masked; 12: reordered.
    assert set(lengths.tolist()) == {3, 6, 12}
    assert torch.equal(views, random_view(full, (0.25, 0.5, 0.5), generator()))
    assert not torch.equal(views, random_view(full, (0.25, 0.5, 0.5), generator(1)))


def test_info_nce_by_hand() -> None:
    queries, positives = torch.tensor([[1.0, 0.0]]), torch.tensor([[2.0, 0.0]])
    negatives = torch.tensor([[1.0, 5.0], [0.0, 1.0], [9.0, 0.0]])
    allowed = torch.tensor([[True, True, False]])
    loss = info_nce(queries, positives, negatives, allowed, temperature=0.5)
    assert loss.item() == pytest.approx(term(4.0, 2.0, 0.0), rel=1e-5)


def test_instance_contrast_by_hand() -> None:
    one = torch.tensor([[1.0, 0.0], [0.0, 2.0]])
    two = torch.tensor([[3.0, 1.0], [1.0, 1.0]])
    # one[0]: two[0] against one[1] and two[1]; and so on for the other three
    terms = (3.0, 0.0, 1.0), (2.0, 0.0, 2.0), (3.0, 2.0, 4.0), (2.0, 1.0, 4.0)
    expected = sum(term(*logits) for logits in terms) / 4
    assert instance_contrast(one, two).item() == pytest.approx(expected, rel=1e-5)


def test_false_negatives_are_left_out() -> None:
    expected = [[False, True, False], [True, False, True], [False, True, False]]
    assert different_intents(torch.tensor([0, 1, 0])).tolist() == expected
    prototypes = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    views = torch.tensor([[2.0, 0.0], [0.0, 3.0], [4.0, 1.0]])
    loss = intent_contrast([views], prototypes, torch.tensor([0, 1, 0]))

    # row 1 has two true negatives with one prototype; rows 0 and 2 have one each
    expected = (term(2.0, 0.0) + term(3.0, 0.0, 0.0) + term(4.0, 1.0)) / 3
    assert loss.item() == pytest.approx(expected, rel=1e-5)
    # no loss where all share an intent
    views = torch.randn(5, 3, generator=generator())
    loss = intent_contrast([views, views], torch.ones(1, 3), torch.zeros(5, dtype=torch.int64))
    assert loss.item() == pytest.approx(0.0, abs=1e-6)


def test_mean_state_skips_padding() -> None:
    states = torch.tensor([[[9.0], [1.0], [3.0]], [[9.0], [9.0], [9.0]]])
    sequences = torch.tensor([[0, 4, 5], [0, 0, 0]])
    assert mean_state(states, sequences).tolist() == [[2.0], [0.0]]


def test_prototypes_find_separate_groups() -> None:
    groups = torch.tensor([[0.0, 9.0], [9.0, 0.0], [-9.0, -9.0]]).repeat_interleave(20, 0)
    states = groups + 0.1 * torch.randn(60, 2, generator=generator())
    centres, assignments = find_prototypes(states, 3, seed=0)
    assert sorted(torch.bincount(assignments).tolist()) == [20, 20, 20]
    torch.testing.assert_close(centres[assignments], groups, atol=0.2, rtol=0)
    assert len(find_prototypes(states[:4], 256, seed=0)[0]) == 4
