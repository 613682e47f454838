"""The lexicon: what it must find, what it must not, and what it cannot."""

from dataclasses import replace

import pytest

from latentcrs_utils.constraints.lexicon import extract, lexicon_of, mentions
from latentcrs_utils.simulation.phrase_book import DECADE_WORDS, POOLS, pool
from tests.constraints.test_constraint import written


@pytest.mark.parametrize("genre", list(lexicon_of("films").genres))
def test_the_catalogues_own_words_are_found(genre: str) -> None:
    for name in POOLS:
        for film in pool(name, "plain", genre, "film"):
            assert written(extract(f"I want {film}.")) == (f"genre={genre}",)
        for many in pool(name, "plain", genre, "touch"):
            assert written(extract(f"Lots of {many}!")) == (f"genre={genre}",)
            assert written(extract(f"Please, no {many}.")) == (f"not genre={genre}",)


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
        # titles are not resolved, and may mislead, as documented
        ("Something like Toy Story or The Usual Suspects.", ()),
        ("Something like War Games.", ("genre=War",)),
    ],
)
def test_genres_synonyms_and_negation(text: str, conditions: tuple[str, ...]) -> None:
    assert written(extract(text)) == conditions


@pytest.mark.parametrize("decade", list(DECADE_WORDS))
def test_decades_in_digits_and_words(decade: int) -> None:
    # "the 20s" are those of the last century; later decades are named in full, or "00s"
    short = decade % 100
    of_this_century = ["the 00s", "00's"] if decade == 2000 else []
    short_forms = [f"the {short}s", f"'{short}s"] if decade < 2000 else of_this_century
    for text in (f"the {decade}s", f"{decade}'s", *short_forms, DECADE_WORDS[decade]):
        found = extract(f"a film from {text}, please")
        assert written(found) == (f"decade={decade}",), text
        assert found.years == ((decade, decade + 9),)


@pytest.mark.parametrize(
    ("text", "years"),
    [
        ("from the early nineties", [(1990, 1993)]), ("from the mid-90s", [(1994, 1995)]),
        ("from the late 1990s", [(1996, 1998)]), ("from the late seventies", [(1970, 1979)]),
        ("from 1994", [(1994, 1994)]), ("from 1996 to 1998", [(1996, 1998)]),
        ("from 1994 to 2005", [(1994, 1994)]), ("something recent", [(1996, 1998)]),
        ("the eighties or the seventies", [(1970, 1979), (1980, 1989)]),
        ("90 minutes, 5 stars, in my 30 years", []),
        ("made before 1980", [(0, 1979)]), ("before the sixties", [(0, 1959)]),
        ("before the ’80s", [(0, 1979)]), ("older than 1990", [(0, 1989)]),
        ("since 1990", [(1990, 9999)]), ("since the eighties", [(1980, 9999)]),
        ("after 1990", [(1991, 9999)]), ("after the eighties", [(1990, 9999)]),
        ("nothing before 1980", [(1980, 9999)]), ("not older than 1990", [(1990, 9999)]),
        ("nothing after the eighties", [(0, 1989)]), ("nothing from the eighties", []),
        ("nothing from 1994", []), ("nothing recent", []),
    ],
)  # fmt: skip
def test_times(text: str, years: list[tuple[int, int]]) -> None:
    assert [*extract(text).years] == years


@pytest.mark.parametrize(("text", "evidence"), [
    ("A FUNNY film without any cowboys", ["FUNNY", "without any cowboys"]),
    ("I’m sick of westerns from the ’80s", ["sick of westerns"]),
    ("no horror. Well, horror then", ["horror"]),
    ("something scary from the early nineties", ["scary", "early nineties"]),
    ("made before the eighties", ["before the eighties"]),
])  # fmt: skip
def test_the_evidence_is_what_the_user_wrote(text: str, evidence: list[str]) -> None:
    found = extract(text)
    assert [requirement.evidence for requirement in found] == evidence
    assert all(words in text for words in evidence)


def test_years_of_this_century_are_known_where_the_catalogue_has_them() -> None:
    later = replace(lexicon_of("films"), years=(1902, 2018), recent=(2016, 2018))
    assert extract("from 2005, or something recent", later).years == ((2005, 2005), (2016, 2018))
    assert extract("from 2019", later).years == extract("from 2005").years == ()


def test_every_mention_has_its_place_and_whether_it_is_refused() -> None:
    text = "no horror, but horror-comedy from 1994"
    found = [(str(m.constraint), text[m.start : m.end]) for m in mentions(text)]
    assert found == [
        ("not genre=Horror", "horror"), ("genre=Horror", "horror"),
        ("genre=Comedy", "comedy"), ("era=1994-1994", "1994"),
    ]  # fmt: skip
    assert mentions(text)[0].opening == 0
