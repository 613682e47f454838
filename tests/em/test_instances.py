"""Sampled candidates; attributes of items: MovieLens as recorded, and what a shop adds."""

from types import SimpleNamespace

import polars as pl
import pytest
import torch

from latentcrs_utils.data.sequences import Dataset
from latentcrs_utils.em import instances as em_instances
from latentcrs_utils.em.instances import (
    PRICE_STARTS,
    SHOP_PERIOD_STARTS,
    instances_of,
    item_attributes,
    item_vectors,
    rows_of,
    sample_candidates,
)
from latentcrs_utils.errors import ConfigError
from tests.made import made

from .small_world import N_ITEMS, N_RANDOM, N_USERS, dataset, random_instances


def test_item_vectors_are_centred_and_followed_by_attributes() -> None:
    data = dataset()
    vectors = item_vectors(torch.randn(N_ITEMS + 1, 8), data)
    torch.testing.assert_close(vectors[1:, :8].mean(0), torch.zeros(8), atol=1e-5, rtol=0)
    assert vectors.shape[1] == 8 + item_attributes(data).shape[1] and not vectors[0].any()


def shop() -> Dataset:
    columns = {
        "title": list("abcdef"), "year": [2012, None, 1995, 2021, 1961, 2012],
        "genres": [["Rock", "Rare"], ["Rock"], [], ["Jazz", "Rock"], ["Jazz"], ["Jazz"]],
        "platform": ["PC", None, "Wii", "PC", None, "Wii"],
        "creator": ["Ann", "Ann", "Bob", None, "Bob", "Cy"],
        "price": [4.99, None, 20.0, 19.99, 250.0, 0.5],
    }  # fmt: skip
    return made("amazon-x", [[1, 2, 3, 4, 5]], **columns)


def test_a_shop_adds_platform_price_and_frequent_creators(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("GENRE_COUNT", 2), ("CREATOR_COUNT", 2), ("N_CREATORS", 1)):
        monkeypatch.setattr(em_instances, name, value)
    table = item_attributes(shop())
    widths = [2, len(SHOP_PERIOD_STARTS), 2, len(PRICE_STARTS), 1]
    genres, periods, platforms, prices, creators = table.split(widths, dim=1)
    assert genres[1:].tolist() == [[0, 1], [0, 1], [0, 0], [1, 1], [1, 0], [1, 0]]  # Jazz, Rock
    assert platforms[1:].tolist() == [[1, 0], [0, 0], [0, 1], [1, 0], [0, 0], [0, 1]]  # PC, Wii
    # Ann and Bob made two each; one is kept
    assert creators[1:, 0].tolist() == [1, 1, 0, 0, 0, 0]
    started = [SHOP_PERIOD_STARTS[int(row.argmax())] for row in periods[[1, 3, 4, 5]]]
    assert started == [2010, 1995, 2020, 1960]
    assert periods[2].sum() == 0 and prices[2].sum() == 0
    assert [int(row.argmax()) for row in prices[[1, 3, 4, 5, 6]]] == [0, 4, 3, 7, 0]
    assert table[0].sum() == 0
    assert set(table.unique().tolist()) == {0, 1}


def test_instances_hold_the_history_before_the_target_and_nothing_after(small_world):
    data, encoder, _, language = small_world
    rows = rows_of(language, "train")
    instances = instances_of(data, encoder, language, rows)
    frame = language.utterances.frame[rows]
    for i in (0, 7, len(rows) - 1):
        user, cut = frame["user"][i], frame["cut"][i]
        sequence = data.interactions[user]
        assert instances.histories[i].tolist() == sequence[:cut].tolist()
        assert instances.targets[i] == sequence[cut]
        alone = encoder.encode(data.interactions.prefixes([user], [cut]))[0]
        torch.testing.assert_close(instances.S[i], alone)


def test_a_history_is_cut_to_what_is_kept_and_the_target_stays(small_world):
    data, encoder, _, language = small_world
    whole = rows_of(language, "train")
    kept = pl.Series([i % 4 if i in whole[::2] else None for i in range(len(language.x))])
    frame = language.utterances.frame.with_columns(kept=kept)
    short = SimpleNamespace(utterances=SimpleNamespace(frame=frame), x=language.x)
    for split in ("train", "valid"):
        rows = rows_of(language, split)
        full = instances_of(data, encoder, language, rows)
        cut = instances_of(data, encoder, short, rows)
        assert torch.equal(cut.targets, full.targets) and torch.equal(cut.x, full.x)
        for i, row in enumerate(rows):
            n = full.histories.lengths[i] if kept[int(row)] is None else kept[int(row)]
            expected = full.histories[i].tolist()[max(0, full.histories.lengths[i] - n) :]
            assert cut.histories[i].tolist() == expected
            assert int(cut.targets[i]) not in expected
        torch.testing.assert_close(cut.S, encoder.encode(cut.histories))
        untouched = torch.tensor([kept[int(row)] is None for row in rows])
        assert torch.equal(cut.S[untouched], full.S[untouched])
    assert not cut.S.eq(0).all(1).any() and len(cut) == N_USERS  # of the validation users


def test_candidates_are_the_target_and_items_outside_the_history():
    batch = random_instances()
    drawn = sample_candidates(batch, N_RANDOM, 3, torch.Generator().manual_seed(0))
    assert (drawn[:, 0] == batch.targets).all()
    for b, negatives in enumerate(drawn[:, 1:].tolist()):
        assert len(set(negatives)) == 3
        assert not {*negatives} & {0, *batch.histories[b].tolist(), int(batch.targets[b])}
    # two of seven items are in the history, a third is the target
    with pytest.raises(ConfigError, match="Choose at most 4"):
        sample_candidates(batch, N_RANDOM, 5, torch.Generator().manual_seed(0))
