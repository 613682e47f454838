"""What a message says that no policy reads, over tables of messages (`messages.toml`)."""

import re
from dataclasses import replace
from importlib.resources import files

import pytest

from latentcrs_utils.conversation.in_words import words_of
from latentcrs_utils.conversation.listener import beyond, listener_for
from tests.conversation.fakes import MESSAGES as CASES

TALK = [(kind, message) for kind, messages in CASES["small_talk"].items() for message in messages]
FOREIGN = [(name, message) for name, said in CASES["languages"].items() for message in said]
UNTOLD = [(kind, message) for kind, messages in CASES["untold"].items() for message in messages]


@pytest.fixture(scope="module")
def listener(data):
    return listener_for(data, "film")


@pytest.mark.parametrize(("kind", "message"), TALK)
def test_small_talk_gets_a_short_answer_of_its_kind(listener, kind, message):
    answers = [answer.split("{")[0] for answer in words_of("small_talk")[kind]["answers"]]
    assert listener.answer(message, 0).startswith(tuple(answers))


@pytest.mark.parametrize("message", CASES["wishes"]["english"])
def test_a_wish_in_english_is_no_small_talk_and_no_other_language(listener, message):
    assert listener.answer(message, 0) is None


@pytest.mark.parametrize(("name", "message"), FOREIGN)
def test_a_wish_in_another_language_is_told_that_english_is_read(listener, name, message):
    answer = listener.answer(message, 0)
    assert answer.startswith("I read only English")
    assert words_of("languages")[name]["answer"] in answer or name in ("Japanese", "Chinese")
    assert listener.answer(message, 0, english_only=False) is None


@pytest.mark.parametrize(("kind", "message"), UNTOLD)
def test_what_the_data_does_not_tell_is_named(listener, kind, message):
    untold = listener.untold(message)
    assert untold == {} if kind == "nothing" else any(kind in told for told in untold)


def test_what_is_said_to_be_known_is_known_and_well_said(data):
    bare = data.items.with_columns(genres=data.items["genres"].list.head(0))
    assert listener_for(replace(data, items=bare), "film").held == "titles and years"
    claims = beyond("album")  # not of time: the years tell whether that is true
    assert "how long an album is" in claims and "albums of such a time" not in claims


@pytest.mark.parametrize("book", ["genres", "eras", "moods"])
def test_a_paraphrase_asks_for_nothing_beyond_the_data(listener, book):
    path = files("latentcrs_utils") / f"simulation/phrase_books/films/{book}.toml"
    phrases = re.findall(r'"(\w[^"]+)"', path.read_text("utf-8"))
    told = [says for phrase in phrases for says in listener.untold(phrase) if "who" not in says]
    assert len(phrases) > 300 and len(told) < 0.015 * len(phrases), told
