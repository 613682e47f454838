"""The phrase book: pools that share nothing, words that no lexicon holds, slots that fit."""

from __future__ import annotations

import re
from itertools import combinations
from string import Formatter

import pytest
from rapidfuzz import fuzz

from latentcrs_utils.data import Dataset
from latentcrs_utils.errors import DataError
from latentcrs_utils.language.conditions import ERAS, MOODS
from latentcrs_utils.language.lexicon import GENRE_WORDS, extract
from latentcrs_utils.language.wording import DECADE_WORDS, POOLS, all_pools, pool

# a paraphrase of one pool is no trivial edit of another pool's: on the words that carry meaning,
# rapidfuzz's token_set_ratio (0..100) stays below this
PARAPHRASE_BOUND = 70
FRAME_BOUND = 82  # token_sort_ratio of whole frames, which are mostly function words
FUNCTION_WORDS = """
a about after all an and are around as at be but by day days decade era film first for from he her
his how i i'll i'm in is it it's its last like made make makes me movie my no not of on one or
picture she shot so some something than that the their them there they this time times to until was
were what when where who whose with year years age
"""
GENRES = list(GENRE_WORDS)


def meaning(phrase: str) -> str:
    words = re.findall(r"[a-z0-9'-]+", phrase.lower())
    return " ".join(word for word in words if word not in FUNCTION_WORDS.split())


def phrases(*prefix: str) -> dict[str, list[str]]:
    """All phrases under ``prefix``, by pool."""
    entries = [e for path, e in all_pools().items() if path[: len(prefix)] == prefix]
    assert entries
    return {name: [p for entry in entries for p in entry[name] if p] for name in POOLS}


def alike(first: list[str], second: list[str]) -> list[tuple[str, str]]:
    return [
        (x, y)
        for x in first
        for y in second
        if fuzz.token_set_ratio(meaning(x), meaning(y)) >= PARAPHRASE_BOUND
    ]


@pytest.mark.parametrize("prefix", [("genres",), ("eras",), ("moods",), ("frames",), ("plain",)])
def test_pools_share_no_phrase(prefix: tuple[str, ...]) -> None:
    by_pool = phrases(*prefix)
    for one, other in combinations(POOLS, 2):
        assert not {p.lower() for p in by_pool[one]} & {p.lower() for p in by_pool[other]}


@pytest.mark.parametrize("genre", GENRES)
def test_no_genre_paraphrase_is_a_light_edit_of_another_pools(genre: str) -> None:
    by_pool = phrases("genres", genre)
    for one, other in combinations(POOLS, 2):
        assert alike(by_pool[one], by_pool[other]) == []


@pytest.mark.parametrize("file", ["eras", "moods"])
def test_no_era_or_mood_is_a_light_edit_of_another_pools(file: str) -> None:
    by_pool = phrases(file)
    for one, other in combinations(POOLS, 2):
        assert alike(by_pool[one], by_pool[other]) == []


def test_the_bound_would_catch_a_light_edit() -> None:
    assert alike(["a film about a haunted old house"], ["something in a haunted house"])
    assert not alike(["something with vampires and blood"], ["a film with zombies at the window"])


def test_no_frame_is_a_light_edit_of_another_pools() -> None:
    by_pool = phrases("frames")
    close = [
        (x, y)
        for one, other in combinations(POOLS, 2)
        for x in by_pool[one]
        for y in by_pool[other]
        if fuzz.token_sort_ratio(x, y) >= FRAME_BOUND
    ]
    assert close == []


@pytest.mark.parametrize("file", ["genres", "eras"])
def test_no_paraphrase_holds_a_word_of_the_lexicon(file: str) -> None:
    found = {p: extract(p).conditions for ps in phrases(file).values() for p in ps if extract(p)}
    assert found == {}


@pytest.mark.parametrize("genre", GENRES)
def test_every_genre_is_paraphrased_often_enough(genre: str) -> None:
    counts = {name: len(set(found)) for name, found in phrases("genres", genre).items()}
    assert counts["train"] >= 12 and counts["valid"] >= 4 and counts["test"] >= 6


def test_the_book_covers_the_catalogue(data: Dataset) -> None:
    genres = set(data.items["genres"].explode().drop_nulls())
    decades = {str(year // 10 * 10) for year in data.items["year"].drop_nulls()}
    book = all_pools()
    assert len(genres) == 18
    for genre in genres:
        assert {("genres", genre, form) for form in ("film", "touch")} <= set(book)
        assert {("plain", genre, form) for form in ("film", "many")} <= set(book)
    assert {("eras", era) for era in decades | set(ERAS)} <= set(book)
    assert {int(decade) for decade in decades} <= set(DECADE_WORDS)
    assert {("moods", mood) for mood in [*MOODS, "any"]} == {p for p in book if p[0] == "moods"}


def slots(frame: str) -> list[str]:
    return [name for _, name, _, _ in Formatter().parse(frame) if name is not None]


def test_frames_have_exactly_the_slots_of_their_use() -> None:
    wanted = {
        "genre": ["touch"], "not": ["touch"], "time": ["era"], "like": ["title"],
        "restate": ["film"], "nothing": [], "two": ["other", "title"], "older": [], "newer": [],
        "lighter": [], "darker": [], "similar": [],
    }  # fmt: skip
    asks = {"plain": ["film"], "paraphrased": ["film"], "by example": ["rel", "title"], "vague": []}
    checked = 0
    for path, entry in all_pools().items():
        if path[0] != "frames":
            continue
        level, use = path[1:3]
        expected = asks[level] if use == "ask" else wanted[use]
        for frame in (f for name in POOLS for f in entry[name]):
            assert sorted(slots(frame)) == expected, (path, frame)
            checked += 1
    assert checked > 200


def test_an_unknown_entry_is_named() -> None:
    with pytest.raises(DataError, match="genres > Soap > film > train"):
        pool("train", "genres", "Soap", "film")
