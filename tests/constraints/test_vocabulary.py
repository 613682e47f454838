"""The values of a catalogue as a form that keeps its bounds."""

from dataclasses import replace

import polars as pl
import pytest

from latentcrs_utils.constraints import vocabulary
from latentcrs_utils.constraints.constraint import Constraint
from latentcrs_utils.constraints.extraction import MAX_NEW_TOKENS, make_extractor
from latentcrs_utils.constraints.vocabulary import Vocabulary, vocabulary_for
from tests.constraints.test_constraint import written
from tests.conversation.fakes import fake_dataset
from tests.simulation import worlds

DATA = fake_dataset()


def test_the_form_is_bounded_and_its_values_are_the_catalogue_s() -> None:
    for data in (DATA, worlds.invented("amazon-video-games"), worlds.invented("amazon-cds")):
        fields, schema = Vocabulary(data).fields, Vocabulary(data).schema
        assert schema["required"] == list(schema["properties"]) == list(fields)
        assert schema["additionalProperties"] is False
        for name, entries in schema["properties"].items():
            assert entries["maxItems"] == vocabulary.MOST_ENTRIES
            entry = entries["items"]["properties"]
            # the words stand first: a model that copies them knows what it is to classify
            assert list(entry) == ["words", "value"] == entries["items"]["required"]
            assert entry["words"]["maxLength"] == vocabulary.LONGEST_QUOTATION
            assert entry["value"]["enum"] == list(fields[name])
            assert 1 <= len(entry["value"]["enum"]) <= vocabulary.MOST_VALUES
            assert all(constraint.attribute for constraint in fields[name].values())
    # the longest answer fits
    assert vocabulary.MOST_ENTRIES * vocabulary.LONGEST_QUOTATION * 3 / 4 < MAX_NEW_TOKENS


def test_of_many_values_the_commonest_are_in_the_form(monkeypatch) -> None:
    monkeypatch.setattr(vocabulary, "MOST_VALUES", 2)
    # 40 films: ten of each genre, but the sixth has none (Horror), so Horror is the rarest
    genres = set(Vocabulary(DATA).fields["genres"])
    assert len(genres) == 2 and "Horror" not in genres


def test_the_values_are_those_of_the_catalogue() -> None:
    fields = vocabulary_for(DATA).fields
    assert list(fields) == ["genres", "not_genres", "years"]
    assert list(fields["genres"]) == ["Comedy", "Drama", "Horror", "Western"]
    assert fields["not_genres"]["Drama"] == Constraint("genre", "Drama", negated=True)
    # films from 1951 to 1990
    assert {value: str(constraint) for value, constraint in fields["years"].items()} == {
        "1950s": "decade=1950", "1960s": "decade=1960", "1970s": "decade=1970",
        "1980s": "decade=1980", "1990s": "decade=1990", "early 1990s": "era=1990-1993",
    }  # fmt: skip
    games = Vocabulary(worlds.invented("amazon-video-games")).fields
    assert {"platforms", "creators", "prices"} <= set(games)
    assert games["prices"]["20"] == Constraint("price", "20")
    # what no item has is not asked for; the newest items decide what "recent" means
    bare = Vocabulary(worlds.invented("amazon-cds", bare=True)).fields
    assert set(bare) == {"genres", "not_genres"}
    assert (1988, 1990) in vocabulary_for(DATA).lexicon.spoken.values()


def test_the_examples_fit_the_form_and_support_themselves() -> None:
    for data in (worlds.invented("amazon-video-games"), worlds.invented("amazon-cds"), DATA):
        fields, examples = Vocabulary(data).fields, Vocabulary(data).examples
        assert len(examples) >= 5
        # a small model repeats the last one
        assert not any(examples[-1][1].values())
        for message, filled in examples:
            assert list(filled) == list(fields)
            for name, entries in filled.items():
                for entry in entries:
                    assert entry["words"] in message and entry["value"] in fields[name]


@pytest.mark.parametrize(("message", "conditions"), [
    *((text, ("era=1984-1984",)) for text in (
        "from 1984", "a 1984 one", "films of 1984", "best of 1984", "in 1984, please",
        "made in the year 1984", "1984 films",
    )),
    ("comedies of 1984", ("era=1984-1984", "genre=Comedy")), ("before 1984", ("era=0-1983",)),
    ("not from 1984", ("not era=1984-1984",)), ("1983 or 1984 westerns",
     ("era=1983-1983", "era=1984-1984", "genre=Western")),
    ("older than Class of 1984", (f"era=0-{DATA.items['year'][1] - 1}",)),
    *((text, ()) for text in (
        "I loved 1984", "something like 1984", "I saw 1984 twice", "Class of 1984", "watch 1984",
    )),
])  # fmt: skip
def test_a_title_of_four_digits_is_a_year_where_the_words_say_so(message, conditions) -> None:
    titles = ["1984", "Class of 1984", *DATA.items["title"][2:]]
    data = replace(DATA, items=DATA.items.with_columns(pl.Series("title", titles)))
    assert written(make_extractor(data)(message).requirements) == conditions
