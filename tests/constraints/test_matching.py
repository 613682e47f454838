"""Which items meet requirements, with attributes that are not known."""

from __future__ import annotations

import polars as pl

from latentcrs_utils.constraints import constraint as constraints
from latentcrs_utils.constraints.constraint import Constraint, Matcher, matcher_for
from latentcrs_utils.data.sequences import Dataset, Sequences
from latentcrs_utils.simulation.items import Catalogue


def shop() -> Dataset:
    """Six games; of the last one nothing is known."""
    items = pl.DataFrame(
        {
            "item": range(1, 7),
            "raw_item": list("abcdef"),
            "title": [f"Game {i}" for i in range(1, 7)],
            "year": [1985, 1999, 2004, 2010, 2011, None],
            "genres": [["Puzzle"], ["Puzzle", "Horror"], ["Racing"], ["Horror"], ["Racing"], []],
            "creator": ["Sega", "Sony", "Sega", "Nintendo", "Nintendo", None],
            "platform": ["NES", "PlayStation", "Wii", "Wii", None, None],
            "price": [5.0, 19.99, 20.0, None, 60.0, None],
        },
        schema_overrides={"item": pl.Int32, "year": pl.Int32},
    )
    users = pl.DataFrame({"user": [0], "raw_user": ["u"]}, schema_overrides={"user": pl.Int32})
    interactions = Sequences.from_lists([[1, 2, 3, 4, 5]])
    return Dataset("amazon-video-games-small", items, users, interactions, {}, "six games")


def met(matcher: Matcher, *conditions: str, any_of: bool = False) -> list[int]:
    combine = matcher.any_of if any_of else matcher.all_of
    return combine(map(Constraint.parse, conditions)).nonzero()[0].tolist()


def test_what_is_not_known_meets_no_wish_and_every_refusal() -> None:
    matcher = Matcher(Catalogue(shop()))
    assert met(matcher) == met(matcher, any_of=True) == [1, 2, 3, 4, 5, 6]
    assert met(matcher, "genre=Puzzle") == [1, 2]
    assert met(matcher, "not genre=Horror") == [1, 3, 5, 6]
    assert met(matcher, "price=20") == [1, 2]
    assert met(matcher, "era=0-2003") == [1, 2]
    assert met(matcher, "platform=Wii", "creator=Nintendo") == [4]
    assert met(matcher, "platform=Wii", "creator=Nintendo", any_of=True) == [3, 4, 5]
    assert met(matcher, "genre=Western") == met(matcher, "creator=Nobody") == []


def test_masks_of_what_users_type_do_not_pile_up(monkeypatch) -> None:
    monkeypatch.setattr(constraints, "_N_KEPT", 3)
    matcher = Matcher(Catalogue(shop()))
    for price in range(1, 50):
        assert met(matcher, f"price={price}") == [
            i for i, p in ((1, 5), (2, 19.99), (3, 20)) if p < price
        ]
        assert len(matcher._known) <= 3


def test_one_matcher_serves_all_conversations_about_a_data_set() -> None:
    data = shop()
    assert matcher_for(data) is matcher_for(data)
