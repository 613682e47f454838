"""The text that is read of a dialogue, and its spans."""

from types import SimpleNamespace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from latentcrs_utils.conversation.belief import TEXT_LIMIT, embed_texts, read_text, spans
from latentcrs_utils.conversation.session import Conversation
from tests.conversation.fakes import fake_model

messages_of_words = st.lists(
    st.text("ab ,.\n🎃م", min_size=1, max_size=60).map(str.strip).filter(bool), max_size=9
)


@pytest.mark.parametrize("length", [10, 650, 900, TEXT_LIMIT])
def test_it_is_the_text_that_a_conversation_reads(length):
    model = fake_model()
    conversation = Conversation(model, None, chat_model=None)
    for letter in "abcd":
        turn = conversation.say(f"{letter * (length - 5)} film")
    text, n_dropped = read_text(conversation.messages)
    assert model.language.read[-1] == text
    assert (n_dropped > 0) == ("no longer read" in turn.note)
    too_long = "x" * (TEXT_LIMIT + 1)
    assert read_text(["a", too_long]) == (too_long, 1)
    half = "x" * (TEXT_LIMIT // 2)
    assert read_text([half[1:], half])[1] == 0 and read_text([half, half]) == (half, 1)


def test_no_words_are_float32_while_another_thread_loads_a_model_in_another_type():
    language = SimpleNamespace(mean=torch.zeros(3))
    torch.set_default_dtype(torch.bfloat16)  # as transformers does, for all threads
    try:
        assert embed_texts(language, ["", ""]).dtype == torch.float32
    finally:
        torch.set_default_dtype(torch.float32)


def test_few_words_are_single_words_and_the_rest_stays_verbatim():
    found = spans(["Not too  scary,", "but\nfunny!"], 24)
    assert [span[:2] for span in found] == [
        (1, "Not"), (1, "too"), (1, "scary,"), (2, "but"), (2, "funny!"),
    ]  # fmt: skip
    assert found[0].rest == "too  scary, but\nfunny!"
    assert found[2].rest == "Not too but\nfunny!"
    assert found[4].rest == "Not too  scary, but"
    assert spans(["comedy"], 24) == [(1, "comedy", "")] and spans([], 24) == []


@pytest.mark.parametrize(
    ("messages", "limit", "expected"),
    [
        # long messages are halved where they pause
        (["a b c d, e f g h i j"], 2, [(1, "a b c d,"), (1, "e f g h i j")]),
        (["one two three four"], 2, [(1, "one two"), (1, "three four")]),
        # a comma too far from the middle would leave a crumb
        (["one, two three four"], 2, [(1, "one, two"), (1, "three four")]),
        # spans keep to their messages, and count those that are not read
        (["x" * TEXT_LIMIT, "a b c", "d e"], 3, [(2, "a"), (2, "b c"), (3, "d e")]),
        (["one two", "three", "four", "five"], 2, [(1, "one two three four"), (4, "five")]),
    ],
)
def test_fewer_spans_than_words_are_cut_where_it_is_natural(messages, limit, expected):
    assert [span[:2] for span in spans(messages, limit)] == expected


@given(messages_of_words, st.integers(1, 12))
def test_spans_cover_the_text_once_and_are_as_many_as_may_be(messages, limit):
    text, _ = read_text(messages)
    found = spans(messages, limit)
    assert " ".join(span.text for span in found).split() == text.split()
    assert len(found) == min(limit, len(text.split()))
    for span in found:
        assert len(span.rest.split()) + len(span.text.split()) == len(text.split())
        assert span.rest == span.rest.strip()
        assert span.text.split()[0] in messages[span.message - 1]


def test_two_thousand_characters_of_one_letter_words_are_quick_and_bounded():
    found = spans(["a " * 999 + "b"], 24)
    assert len(found) == 24 and max(len(span.text) for span in found) <= 2 * 1_000 / 16
