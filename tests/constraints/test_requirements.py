"""Hard requirements: their words, and what holds when a dialogue goes on."""

from __future__ import annotations

import pytest

from latentcrs_utils.constraints.constraint import (
    Constraint,
    Requirement,
    Requirements,
    Source,
    combined,
)
from latentcrs_utils.constraints.lexicon import extract


def requirement(text: str, evidence: str = "", source: Source = "lexicon") -> Requirement:
    return Requirement(Constraint.parse(text), evidence, source)


def written(found: Requirements) -> tuple[str, ...]:
    return tuple(map(str, found.constraints))


def said(*messages: str) -> Requirements:
    """What the lexicon finds, message by message."""
    known = Requirements()
    for message in messages:
        known = known.then(extract(message), message)
    return known


@pytest.mark.parametrize(
    ("condition", "words"),
    [
        ("genre=Comedy", "Comedy"),
        ("not genre=Horror", "no Horror"),
        ("decade=1980", "the 1980s"),
        ("era=1996-1998", "the late 1990s"),
        ("era=1994-1994", "1994"),
        ("era=1960-1972", "1960 to 1972"),
        ("era=0-1979", "before 1980"),
        ("era=1990-9999", "1990 or later"),
        ("platform=Wii", "for Wii"),
        ("creator=Nintendo", "by Nintendo"),
        ("price=20", "under $20"),
    ],
)
def test_a_requirement_in_words(condition: str, words: str) -> None:
    assert Constraint.parse(condition).label == words


def test_moods_and_likenesses_are_not_hard() -> None:
    conditions = ["genre=War", "mood=light", "like=3", "older=3", "not genre=Drama", "price=5"]
    parsed = [Constraint.parse(written) for written in conditions]
    assert [*map(str, parsed)] == conditions
    hard = {str(c) for c in parsed if c.hard}
    assert hard == {"genre=War", "not genre=Drama", "price=5"}


@pytest.mark.parametrize(
    ("messages", "conditions"),
    [
        # requirements add up
        (("a comedy", "with some romance"), ("genre=Comedy", "genre=Romance")),
        (("a comedy", "from the eighties"), ("decade=1980", "genre=Comedy")),
        (("no horror", "no war either"), ("not genre=Horror", "not genre=War")),
        # later words override earlier contrary ones
        (("a comedy", "no comedy, please"), ("not genre=Comedy",)),
        (("no horror", "well, horror is fine"), ("genre=Horror",)),
        (("from the eighties", "from the seventies"), ("decade=1970",)),
        (("from the nineties", "the late nineties"), ("era=1996-1998",)),
        # unless they widen
        (("from the eighties", "or the seventies"), ("decade=1970", "decade=1980")),
        (("from the eighties", "also from 1994"), ("decade=1980", "era=1994-1994")),
        (("from the eighties", "the fifties or the sixties"), ("decade=1950", "decade=1960")),
        # a change of mind withdraws what was asked for, not what was refused
        (("a comedy, no war", "a western instead"), ("genre=Western", "not genre=War")),
        (("a comedy", "Actually, I'd rather see a drama"), ("genre=Drama",)),
        (("a comedy", "I’d rather see a drama"), ("genre=Drama",)),
        (("a comedy", "Actually, also some romance"), ("genre=Comedy", "genre=Romance")),
        (("a comedy", "actually from the fifties"), ("decade=1950", "genre=Comedy")),
        # "instead of" refuses
        (("a western", "a drama instead of a comedy"), (
            "genre=Drama", "genre=Western", "not genre=Comedy",
        )),
        # nothing new changes nothing
        (("a comedy", "hm, what else?"), ("genre=Comedy",)),
    ],
)  # fmt: skip
def test_what_holds_after_several_messages(
    messages: tuple[str, ...], conditions: tuple[str, ...]
) -> None:
    assert written(said(*messages)) == conditions


def test_a_new_price_takes_the_place_of_the_old_even_behind_or() -> None:
    first, second = (Requirements((requirement(f"price={p}", f"under ${p}"),)) for p in (20, 50))
    assert written(first.then(second, "or under $50")) == ("price=50",)


def test_a_requirement_without_evidence_takes_the_place_of_the_old() -> None:
    old, new = requirement("decade=1980s", "eighties"), requirement("decade=1990s", "")
    held = Requirements((old,)).then(Requirements((new,)), "or so")
    assert written(held) == ("decade=1990s",)


def test_said_again_it_keeps_the_latest_words_and_both_sources() -> None:
    first = Requirements((requirement("genre=Horror", "scary", "lexicon"),))
    again = Requirements((requirement("genre=Horror", "ghosts", "model"),))
    assert first.then(again, "with ghosts").found == (
        requirement("genre=Horror", "ghosts", "both"),
    )


def test_a_requirement_can_be_taken_back() -> None:
    both = said("a comedy without romance")
    assert [r.evidence for r in both] == ["comedy", "without romance"]
    assert written(both.without(Constraint("genre", "Romance", negated=True))) == ("genre=Comedy",)
    assert both.without(Constraint("genre", "War")) == both


def test_views_of_requirements() -> None:
    found = Requirements(tuple(map(requirement, (
        "genre=Puzzle", "not genre=Horror", "decade=1990", "era=2001-2003", "platform=Wii",
        "creator=Sega", "price=20",
    ))))  # fmt: skip
    assert found.genres == {"Puzzle"} and found.not_genres == {"Horror"}
    assert found.years == ((1990, 1999), (2001, 2003))
    assert [str(c) for c in found.of("years")] == ["decade=1990", "era=2001-2003"]
    assert found and len(found) == 7 and not Requirements()


def test_two_readers_together_the_lexicon_prevails_on_genres() -> None:
    lexicon = extract("no horror")
    model = Requirements(tuple(
        requirement(condition, "words", "model")
        for condition in ("genre=Horror", "not genre=Horror", "genre=Drama", "decade=1980")
    ))  # fmt: skip
    together = {str(r.constraint): r.source for r in combined(lexicon, model)}
    assert together == {
        "not genre=Horror": "both",
        "genre=Drama": "model",
        "decade=1980": "model",
    }
