"""Variant F: what is offered under requirements, and what gives way when too little is left."""

from itertools import pairwise

import numpy as np
import polars as pl
import pytest
import torch

from latentcrs_utils.constraints.constraint import Constraint, Matcher, Requirement, Requirements
from latentcrs_utils.conversation.policies import (
    STEPS,
    levels,
    narrow,
    narrowing_note,
    steps,
    tiered,
)
from latentcrs_utils.data.sequences import Dataset, Sequences
from latentcrs_utils.simulation.items import Catalogue

ROWS = (
    # title, year, genres, creator, platform, price
    ("One", 1985, ["Puzzle"], "Sega", "Wii", 10.0),
    ("Two", 1985, ["Puzzle", "Horror"], "Sega", "Wii", 10.0),
    ("Three", 1982, ["Puzzle"], "Sega", "Wii", 90.0),
    ("Four", 1976, ["Puzzle"], "Sega", "Wii", 10.0),
    ("Five", 1960, ["Puzzle"], "Sony", "Wii", None),
    ("Six", None, ["Racing"], "Sony", "NES", 10.0),
    ("Seven", 1985, ["Puzzle", "Racing"], None, None, 10.0),
    ("Eight", 1999, [], None, None, None),
)


@pytest.fixture(scope="module")
def matcher() -> Matcher:
    names = ("title", "year", "genres", "creator", "platform", "price")
    columns = dict(zip(names, map(list, zip(*ROWS, strict=True)), strict=True))
    ids = list(range(1, len(ROWS) + 1))
    items = pl.DataFrame(
        {"item": ids, "raw_item": list(map(str, ids)), **columns},
        schema_overrides={"item": pl.Int32, "year": pl.Int32},
    )
    users = pl.DataFrame({"user": [0], "raw_user": ["u"]}, schema_overrides={"user": pl.Int32})
    interactions = Sequences.from_lists([[1, 2, 3]])
    return Matcher(Catalogue(Dataset("amazon-video-games-x", items, users, interactions, {}, "8")))


def wanted(*conditions: str) -> Requirements:
    return Requirements(tuple(Requirement(Constraint.parse(c)) for c in conditions))


def scores(*gone: int) -> torch.Tensor:
    """Larger ids score higher; padding and what is gone never."""
    values = torch.arange(len(ROWS) + 1, dtype=torch.float32) - 10
    values[[0, *gone]] = -torch.inf
    return values


ALL = ("genre=Puzzle", "decade=1980", "creator=Sega", "platform=Wii", "price=20")


@pytest.mark.parametrize(
    ("conditions", "n", "items", "relaxed"),
    [
        # nothing is asked: the best
        ((), 3, [8, 7, 6], ()),
        # enough items meet everything
        (("genre=Puzzle",), 3, [7, 5, 4], ()),
        (("not genre=Horror",), 7, [8, 7, 6, 5, 4, 3, 1], ()),
        (("genre=Puzzle", "genre=Racing"), 1, [7], ()),
        (("decade=1980", "decade=1960"), 5, [7, 5, 3, 2, 1], ()),
        # one after the other gives way, and no more than is needed
        (ALL, 2, [2, 1], ()),
        (ALL, 3, [2, 1, 3], ("price",)),
        (ALL, 4, [2, 1, 3, 4], ("price", "years widened")),
        (ALL, 5, [2, 1, 3, 4, 7], ("price", "creator", "platform", "years widened")),
        (ALL, 6, [2, 1, 3, 4, 7, 5], ("price", "creator", "platform", "years")),
        (ALL, 8, [2, 1, 3, 4, 7, 5, 8, 6], ("price", "creator", "platform", "years", "genres")),
        (("genre=Puzzle", "genre=Racing"), 3, [7, 6, 5], ("some genres",)),
        (("genre=Puzzle", "genre=Racing"), 8, [7, 6, 5, 4, 3, 2, 1, 8], ("genres",)),
        # the widened years do before all years do
        (("era=1978-1980",), 3, [7, 4, 3], ("years widened",)),
        # what would free nothing does not give way: there is no western of any year
        (("genre=Western", "decade=1980"), 3, [7, 3, 2], ("genres",)),
        (("genre=Western", "decade=1980"), 5, [7, 3, 2, 1, 4], ("years widened", "genres")),
        (("genre=Western", "creator=Nobody"), 2, [8, 7], ("creator", "genres")),
        (("genre=Western",), 2, [8, 7], ("genres",)),
        # what was refused stays out, although places stay empty
        (("genre=Western", "not genre=Puzzle"), 5, [8, 6], ("genres",)),
        (("not genre=Puzzle", "not genre=Racing"), 5, [8], ()),
    ],
)
def test_what_is_offered_and_what_gives_way(matcher, conditions, n, items, relaxed):
    narrowed = narrow(scores(), matcher, wanted(*conditions), n)
    assert list(narrowed.items) == items
    assert narrowed.relaxed == relaxed


def test_what_is_gone_is_never_offered_and_leaves_room(matcher):
    asked = wanted("genre=Puzzle", "price=20")
    assert narrow(scores(), matcher, asked, 3).items == (7, 4, 2)
    narrowed = narrow(scores(7, 4, 2), matcher, asked, 3)
    assert narrowed.items == (1, 5, 3) and narrowed.relaxed == ("price",)
    assert narrowed.n_exact == 1


def test_only_where_nothing_else_is_left_comes_what_was_refused(matcher):
    asked = wanted("not genre=Puzzle", "not genre=Racing")
    narrowed = narrow(scores(8), matcher, asked, 2)
    assert narrowed.items == (7, 6) and narrowed.relaxed == ("refusals",)
    puzzle, racing = asked.of("genre")
    assert narrowed.misses == ((puzzle, racing), (racing,))


def test_every_item_says_what_it_misses(matcher):
    narrowed = narrow(scores(), matcher, wanted(*ALL, "decade=1970"), 8)
    missed = {i: (*map(str, m),) for i, m in zip(narrowed.items, narrowed.misses, strict=True)}
    assert missed[1] == missed[4] == ()
    assert missed[3] == ("price=20",)
    # of several times one is enough; without any, all are missed; what is not known is missed
    assert missed[5] == ("decade=1980", "creator=Sega", "price=20", "decade=1970")
    assert missed[7] == ("creator=Sega", "platform=Wii")
    assert missed[8] == (*ALL, "decade=1970")


def test_steps_come_in_the_stated_order_and_only_grow(matcher):
    asked = wanted(*ALL, "not genre=Horror")
    names, masks = zip(*steps(matcher, asked), strict=True)
    # to give up the creator alone frees nothing, with the platform it does
    assert names == ("", "price", "years widened", "platform", "years", "genres", "refusals")
    assert set(names[1:]) < set(STEPS)
    for smaller, larger in pairwise(masks):
        assert (smaller <= larger).all() and not larger[0]
    assert masks[-1][1:].all()
    assert [name for name, _ in steps(matcher, wanted("decade=1980"))] == [
        "", "years widened", "years",
    ]  # fmt: skip
    assert [name for name, _ in steps(matcher, wanted())] == [""]


def test_steps_are_taken_for_what_is_left(matcher):
    left = np.isin(np.arange(len(ROWS) + 1), [5, 6, 8])
    names, masks = zip(*steps(matcher, wanted("decade=1980", "genre=Puzzle"), left), strict=True)
    assert names == ("", "years", "genres")
    assert [np.flatnonzero(mask).tolist() for mask in masks] == [[], [5], [5, 6, 8]]


def test_levels_count_the_steps_that_an_item_needs(matcher):
    level, names = levels(matcher, wanted("decade=1980", "not genre=Horror"))
    assert names == ["years widened", "years", "refusals"]
    assert level.tolist() == [4, 0, 3, 0, 1, 2, 2, 0, 2]


def test_tiers_keep_the_order_within_a_level():
    values = torch.tensor([-torch.inf, -3.0, -1.0, -2.0, -torch.inf, -0.5])
    ranked = tiered(values, np.array([9, 0, 1, 1, 0, 2]))
    assert ranked.argsort(descending=True)[:4].tolist() == [1, 2, 3, 5]
    assert ranked[1] == -3.0 and ranked[0] == ranked[4] == -torch.inf
    nothing = torch.full((3,), -torch.inf)
    assert torch.equal(tiered(nothing, np.zeros(3, int)), nothing.double())


@pytest.mark.parametrize(
    ("conditions", "n", "note"),
    [
        (("genre=Puzzle",), 2, ""),
        (
            (*ALL,),
            3,
            "Only 2 films are left that meet all of: Puzzle, the 1980s, by Sega, for Wii, "
            "under $20. For the others I gave way on the price.",
        ),
        (
            ("genre=Puzzle", "genre=Racing"),
            2,
            "Only 1 film is left that meets all of: Puzzle, Racing. For the others I gave way on "
            "some of the genres.",
        ),
        (
            ("genre=Western", "era=1978-1980"),
            2,
            "No film is left that meets all of: Western, 1978 to 1980. So I gave way on the years "
            "(by up to 5 either way) and the genres.",
        ),
    ],
)
def test_the_user_is_told_in_words(matcher, conditions, n, note):
    asked = wanted(*conditions)
    assert narrowing_note(asked, narrow(scores(), matcher, asked, n), "film") == note


def test_several_steps_make_a_proper_sentence(matcher):
    asked = wanted(*ALL)
    note = narrowing_note(asked, narrow(scores(5, 6, 8), matcher, asked, 5), "game")
    assert note.endswith(
        "I gave way on the price, who made it, the platform and the years (by up to 5 either way)."
    )
