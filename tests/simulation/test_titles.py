"""Titles: as people say them, what gives one away, and titles in talk, which are no wishes."""

import re
import tomllib
from pathlib import Path

import pytest

from latentcrs_utils.constraints.vocabulary import vocabulary_for
from latentcrs_utils.data.sequences import Dataset
from latentcrs_utils.simulation.items import title_and_keywords
from latentcrs_utils.simulation.phrase_book import Domain
from latentcrs_utils.simulation.titles import leaks_title, spoken_title
from latentcrs_utils.simulation.utterances import simulate_utterances

MARKED = tomllib.loads(Path(__file__).with_name("title_mentions.toml").read_text("utf-8"))


@pytest.mark.parametrize("marked", [*MARKED["mentions"], *MARKED["none"]])
def test_titles_are_told_from_wishes(data: Dataset, marked: str) -> None:
    text, vocabulary = re.sub(r"[\[\]{}]", "", marked), vocabulary_for(data)
    found = vocabulary.titles.find(text)
    for title in reversed(found):
        marks, said = "{}" if title.asked else "[]", text[title.start : title.end]
        text = f"{text[: title.start]}{marks[0]}{said}{marks[1]}{text[title.end :]}"
    assert text == marked
    # all of a title is blanked, nothing else
    text = re.sub(r"[\[\]{}]", "", marked)
    blanked = re.sub(r"\[.*?\]|\{.*?\}", lambda title: "_" * (len(title[0]) - 2), marked)
    assert vocabulary.plain_words(text) == blanked


@pytest.mark.parametrize(("text", "ids"), MARKED["means"])
def test_a_title_means_the_films_of_that_name_and_year(data: Dataset, text: str, ids: int) -> None:
    (title,) = vocabulary_for(data).titles.find(text)
    assert len(title.items) == ids and title.asked
    assert len({*title.items}) == ids and (title.start, title.end) == (0, len(text))


def test_simulated_users_speak_of_titles_and_ask_for_none(data: Dataset) -> None:
    texts = simulate_utterances(data).frame["text"].unique(maintain_order=True)[::40]
    found = [title for text in texts for title in vocabulary_for(data).titles.find(text)]
    assert len(found) > 40 and not any(title.asked for title in found)


@pytest.mark.parametrize(("text", "title", "leaks"), MARKED["leaks"])
def test_what_gives_a_title_away(text: str, title: str, leaks: bool) -> None:
    assert leaks_title(text, title) == leaks
    assert spoken_title("Seven (Se7en)") == "Seven"


@pytest.mark.parametrize(("domain", "title", "said"), MARKED["said"])
def test_titles_as_people_say_them(domain: Domain, title: str, said: str) -> None:
    assert title_and_keywords(title, domain)[0] == said
    # words for machines and packaging give no game away
    packed = "Super Mario Kart for Nintendo 64 Bundle"
    assert title_and_keywords(packed, "games")[1] == "mario kart"
