"""The lexicon: what it must find, what it must not, and what it cannot."""

from __future__ import annotations

import polars as pl
import pytest

from latentcrs_utils.language.lexicon import GENRE_WORDS, extract, lexicon_report
from latentcrs_utils.language.utterances import Utterances
from latentcrs_utils.language.wording import DECADE_WORDS, POOLS, pool


@pytest.mark.parametrize("genre", list(GENRE_WORDS))
def test_the_catalogues_own_words_are_found(genre: str) -> None:
    for name in POOLS:
        for film in pool(name, "plain", genre, "film"):
            assert extract(f"I want {film}.").conditions == (f"genre={genre}",)
        for many in pool(name, "plain", genre, "many"):
            assert extract(f"Lots of {many}!").conditions == (f"genre={genre}",)
            assert extract(f"Please, no {many}.").conditions == (f"not genre={genre}",)


@pytest.mark.parametrize(
    ("text", "conditions"),
    [
        ("Something FUNNY and scary", ("genre=Comedy", "genre=Horror")),
        ("any cartoons with cowboys?", ("genre=Animation", "genre=Western")),
        ("a rom-com", ("genre=Comedy", "genre=Romance")),
        ("science-fiction or sci fi", ("genre=Sci-Fi",)),
        ("a whodunit for the kids", ("genre=Children's", "genre=Mystery")),
        ("a comedy, but no horror", ("genre=Comedy", "not genre=Horror")),
        ("not a comedy but a drama", ("genre=Drama", "not genre=Comedy")),
        ("I don't want anything too scary", ("not genre=Horror",)),
        ("I’m sick of westerns", ("not genre=Western",)),
        ("anything but musicals", ("not genre=Musical",)),
        ("No. A thriller, please", ("genre=Thriller",)),
        ("I have never been to Rome, that said, give me war films", ("genre=War",)),
        ("no horror. Well, horror then", ("genre=Horror",)),
        ("warm, factory, childhood, actor, comet", ()),
        ("something that will have me in stitches", ()),
    ],
)
def test_genres_synonyms_and_negation(text: str, conditions: tuple[str, ...]) -> None:
    assert extract(text).conditions == conditions


@pytest.mark.parametrize("decade", list(DECADE_WORDS))
def test_decades_in_digits_and_words(decade: int) -> None:
    # "the 20s" are those of the last century; later decades are named in full, or "00s"
    short = decade % 100
    of_this_century = ["the 00s", "00's"] if decade == 2000 else []
    short_forms = [f"the {short}s", f"'{short}s"] if decade < 2000 else of_this_century
    for text in (f"the {decade}s", f"{decade}'s", *short_forms, DECADE_WORDS[decade]):
        found = extract(f"a film from {text}, please")
        assert found.conditions == (f"decade={decade}",), text
        assert found.years == ((decade, decade + 9),)


@pytest.mark.parametrize(
    ("text", "years"),
    [
        ("from the early nineties", ((1990, 1993),)),
        ("from the mid-90s", ((1994, 1995),)),
        ("from the late 1990s", ((1996, 1998),)),
        ("from the late seventies", ((1970, 1979),)),
        ("from 1994", ((1994, 1994),)),
        ("from 1996 to 1998", ((1996, 1998),)),
        ("something recent", ((1996, 1998),)),
        ("the eighties or the seventies", ((1970, 1979), (1980, 1989))),
        ("nothing from the eighties", ()),
        ("90 minutes, 5 stars, in my 30 years", ()),
    ],
)
def test_times(text: str, years: tuple[tuple[int, int], ...]) -> None:
    assert extract(text).years == years


def test_titles_are_not_resolved() -> None:
    assert not extract("Something like Toy Story or The Usual Suspects.")
    assert extract("Something like War Games.").genres == {"War"}  # misled, as documented


def test_a_found_requirement_is_true_and_nothing_is_false() -> None:
    assert extract("a comedy") and not extract("hello there")


def table(texts: list[str], conditions: list[list[str]]) -> Utterances:
    n = len(texts)
    columns = {"text": texts, "conditions": conditions, "level": ["plain"] * n}
    return Utterances(pl.DataFrame({**columns, "phrasing": ["test"] * n}))


def test_the_report_counts_by_hand() -> None:
    utterances = table(
        ["a comedy", "a comedy", "a weepie"],
        [["genre=Comedy", "mood=light"], ["genre=Drama"], ["genre=Drama", "like=3"]],
    )
    report = lexicon_report(utterances).row(0, named=True)
    # found: Comedy, Comedy; true: Comedy, Drama, Drama; hit: one
    assert report["utterances"] == 3
    assert report["found"] == pytest.approx(2 / 3)
    assert report["precision"] == pytest.approx(1 / 2)
    assert report["recall"] == pytest.approx(1 / 3)


def test_the_report_has_no_number_where_there_is_nothing_to_divide() -> None:
    report = lexicon_report(table(["hello"], [["mood=light"]])).row(0, named=True)
    assert report["precision"] is None and report["recall"] is None and report["found"] == 0
