"""Constraints: their written form, what satisfies them, and what holds as a dialogue goes on."""

import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from latentcrs_utils.constraints.constraint import (
    Constraint,
    Matcher,
    Requirement,
    Requirements,
    Source,
    combined,
    matcher_for,
)
from latentcrs_utils.constraints.lexicon import extract
from latentcrs_utils.data.sequences import Dataset
from latentcrs_utils.errors import DataError
from latentcrs_utils.simulation.items import Catalogue
from tests.made import made

TABLES = tomllib.loads(Path(__file__).with_name("words.toml").read_text("utf-8"))


def requirement(text: str, evidence: str = "", source: Source = "lexicon") -> Requirement:
    return Requirement(Constraint.parse(text), evidence, source)


def written(found: Requirements) -> tuple[str, ...]:
    return tuple(map(str, found.constraints))


def said(*messages: str) -> Requirements:
    known = Requirements()
    for message in messages:
        known = known.then(extract(message), message)
    return known


SLOTS = ["genre", "decade", "era", "mood", "platform", "creator", "like", "liked", "same creator"]


@given(st.sampled_from(SLOTS), st.text(), st.booleans())
def test_the_written_form_comes_back(slot: str, value: str, negated: bool) -> None:
    constraint = Constraint(slot, value, negated)
    assert Constraint.parse(str(constraint)) == constraint
    assert constraint.opposite != constraint == constraint.opposite.opposite


@pytest.mark.parametrize("text", ["length=90", "Horror", "", "not =x", "not not genre=War"])
def test_an_unknown_slot_is_an_error(text: str) -> None:
    with pytest.raises(DataError, match="There is no constraint on"):
        Constraint.parse(text)


def test_moods_and_likenesses_are_not_hard() -> None:
    texts = ["genre=War", "not genre=Drama", "price=5", "mood=light", "like=3", "older=3"]
    assert [bool(Constraint.parse(text).attribute) for text in texts] == [True] * 3 + [False] * 3


@pytest.mark.parametrize(("old", "new", "message", "held"), TABLES["one_after_another"])
def test_one_requirement_after_another(old, new, message, held) -> None:
    first, second = (Requirements((requirement(*of_one),)) for of_one in (old, new))
    assert first.then(second, message).found == (requirement(held[0], new[1], held[1]),)


def test_a_requirement_can_be_taken_back() -> None:
    both = said("a comedy without romance")
    assert written(both.without(Constraint("genre", "Romance", negated=True))) == ("genre=Comedy",)
    assert both.without(Constraint("genre", "War")) == both


def test_views_of_requirements() -> None:
    found = Requirements(tuple(map(requirement, (
        "genre=Puzzle", "not genre=Horror", "decade=1990", "era=2001-2003", "platform=Wii",
        "creator=Sega", "price=20",
    ))))  # fmt: skip
    assert found.genres == {"Puzzle"} and found.not_genres == {"Horror"}
    assert found.years == ((1990, 1999), (2001, 2003))
    assert [str(c) for c in found.asked("years")] == ["decade=1990", "era=2001-2003"]
    assert [str(c) for c in found.refused] == ["not genre=Horror"]
    assert found and len(found) == 7 and not Requirements()


def test_two_readers_together_the_lexicon_prevails_on_genres() -> None:
    lexicon = extract("no horror")
    model = Requirements(tuple(
        requirement(condition, "words", "model")
        for condition in ("genre=Horror", "not genre=Horror", "genre=Drama", "decade=1980")
    ))  # fmt: skip
    together = [(str(r.constraint), r.source) for r in combined(lexicon, model)]
    assert together == [
        ("not genre=Horror", "both"), ("genre=Drama", "model"), ("decade=1980", "model"),
    ]  # fmt: skip


def shop() -> Dataset:
    """Six games; of the last one nothing is known."""
    return made(
        "amazon-video-games-small", [[1, 2, 3, 4, 5]], title=["Game"] * 6,
        year=[1985, 1999, 2004, 2010, 2011, None],
        genres=[["Puzzle"], ["Puzzle", "Horror"], ["Racing"], ["Horror"], ["Racing"], []],
        creator=["Sega", "Sony", "Sega", "Nintendo", "Nintendo", None],
        platform=["NES", "PlayStation", "Wii", "Wii", None, None],
        price=[5.0, 19.99, 20.0, None, 60.0, None],
    )  # fmt: skip


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
    assert met(matcher, "not era=0-2003") == [3, 4, 5, 6]
    assert met(matcher, "not platform=Wii", "not creator=Sega") == [2, 5, 6]
    assert met(matcher, "platform=Wii", "creator=Nintendo") == [4]
    assert met(matcher, "platform=Wii", "creator=Nintendo", any_of=True) == [3, 4, 5]
    assert met(matcher, "genre=Western") == met(matcher, "creator=Nobody") == []


def test_masks_of_what_users_type_do_not_pile_up() -> None:
    data = shop()
    matcher = matcher_for(data)
    assert matcher is matcher_for(data)
    for price in range(1, 50):
        known = ((1, 5), (2, 19.99), (3, 20))
        assert met(matcher, f"price={price}") == [i for i, p in known if p < price]
    kept = matcher.satisfying.cache_info()
    assert kept.maxsize is not None and 49 <= kept.currsize <= kept.maxsize <= 2_000


@pytest.mark.parametrize("text", [
    "genre=Racing", "decade=2010", "era=1990-2003", "mood=adrenaline", "platform=Wii", "price=20",
    "creator=Sega", "like=2", "liked=2", "older=4", "newer=1", "lighter=4", "darker=1", "similar=5",
    "cheaper=5", "same creator=4",
])  # fmt: skip
def test_all_items_at_once_as_one_by_one(text: str) -> None:
    catalogue = Catalogue(shop())
    matcher, constraint = Matcher(catalogue), Constraint.parse(text)
    for asked in (constraint, constraint.opposite):
        true = [f.item > 0 and asked.satisfies(f, catalogue.items) for f in catalogue.items]
        assert matcher.satisfying(asked).tolist() == true
