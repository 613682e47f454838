"""The lexicon: what it must find, what it must not, and what it cannot."""

import tomllib
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from latentcrs_utils.constraints.constraint import Requirements
from latentcrs_utils.constraints.lexicon import corrected, extract, lexicon_of, mentions
from latentcrs_utils.simulation.phrase_book import DECADE_WORDS, POOLS, pool
from tests.constraints.test_constraint import written

TABLES = tomllib.loads(Path(__file__).with_name("words.toml").read_text("utf-8"))


@pytest.mark.parametrize("genre", list(lexicon_of("films").genres))
def test_the_catalogues_own_words_are_found(genre: str) -> None:
    for name in POOLS:
        for film in pool(name, "plain", genre, "film"):
            assert written(extract(f"I want {film}.")) == (f"genre={genre}",)
        for many in pool(name, "plain", genre, "touch"):
            assert written(extract(f"Lots of {many}!")) == (f"genre={genre}",)
            assert written(extract(f"Please, no {many}.")) == (f"not genre={genre}",)


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


@pytest.mark.parametrize(("text", "evidence"), TABLES["evidence"])
def test_the_evidence_is_what_the_user_wrote(text: str, evidence: list[str]) -> None:
    found = extract(text)
    assert [requirement.evidence for requirement in found] == evidence
    assert all(words in text for words in evidence)


def test_years_of_this_century_are_known_where_the_catalogue_has_them() -> None:
    spoken = dict.fromkeys(lexicon_of("films").spoken, (2016, 2018))
    later = replace(lexicon_of("films"), years=(1902, 2018), spoken=spoken)
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


def rows(table: str, separator: str) -> list[tuple[str, ...]]:
    """Lines of a table, each cut at the last separator."""
    return [(a.strip(), b.strip()) for a, _, b in (
        line.rpartition(separator) for line in TABLES[table].splitlines()
    )]  # fmt: skip


@pytest.mark.parametrize("table", ["idioms", "refusals", "after", "asides", "times", "people"])
def test_what_is_asked_for_and_what_refused(table: str) -> None:
    wrong = {
        text: found
        for text, meant in rows(table, "|")
        if (found := ", ".join(written(extract(text)))) != meant
    }
    assert not wrong and len(rows(table, "|")) >= 40


@pytest.mark.parametrize(("messages", "meant"), rows("dialogues", "=>"))
def test_corrections_change_what_was_required(messages: str, meant: str) -> None:
    known, years = Requirements(), list[int]()
    for message in messages.split(" | "):
        if message.startswith("@"):
            years = [int(year) for year in message[1:].split()]
        else:
            known = known.then(extract(message), message, years)
    assert ", ".join(written(known)) == meant
    assert all(r.constraint.label and r.evidence for r in known)


def test_misspelled_words_are_read_and_english_ones_stay() -> None:
    meant = dict(line.split() for line in TABLES["misspelled"].splitlines())
    assert {word: corrected(word) for word in meant} == meant
    words = TABLES["english"].split()
    assert [word for word in words if corrected(word) != word] == []
    assert len(meant) >= 40 and len(words) >= 80
    assert written(extract("a scarry moive, no commedy, from the eigties")) == (
        "decade=1980", "genre=Horror", "not genre=Comedy",
    )  # fmt: skip
    # names in the middle of a message stay
    assert written(extract("by Mr Horrer and Mrs Westren")) == ()


GENRES = {"westerns": "Western", "comedies": "Comedy", "horror": "Horror", "war films": "War"}
WISHES = ["I can't get enough of {}", "not only {}", "nothing beats {}", "no, {}", "why not {}?",
          "I never tire of {}", "don't forget {}", "nothing but {}", "no rush, {}"]  # fmt: skip
REFUSALS = ["no {}", "{}? No thanks", "I'm sick of {}", "anything but {}", "I can't stand {}",
            "{} bore me", "not {}", "I don't want any {}", "{} – please not"]  # fmt: skip
names = st.sampled_from(sorted(GENRES))


@given(names, names, st.sampled_from(WISHES), st.sampled_from(REFUSALS), st.booleans())
def test_a_wish_and_a_refusal_side_by_side(one, other, wish, refusal, first) -> None:
    clauses = [wish.format(one).rstrip("?"), refusal.format(other)]
    found = extract(". ".join(clauses if first else clauses[::-1]) + ".")
    if one != other:
        assert found.genres == {GENRES[one]} and found.not_genres == {GENRES[other]}


SAID = " ".join(TABLES[table] for table in ("refusals", "times", "dialogues"))
PIECES = sorted({*SAID.split(), ",", "–", "“", "’s", "🎃", "\n", "older", "a bit"})


@given(
    st.lists(st.lists(st.sampled_from(PIECES), max_size=12).map(" ".join) | st.text(), max_size=4)
)
def test_whatever_is_said_is_read(messages: list[str]) -> None:
    known = Requirements()
    for message in messages:
        found = extract(message)
        assert all(r.evidence in message for r in found)
        known = known.then(found, message, [1994])
    assert all(r.constraint.label for r in known)
