"""What users may send, and what a language model may say."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from latentcrs_utils.conversation.guards import MESSAGE_LIMIT, ReplyGuard, clean_message
from latentcrs_utils.conversation.turn import Recommendation
from latentcrs_utils.errors import MessageError
from tests.conversation.fakes import MESSAGES, TITLES

CASES, TABLE = MESSAGES["replies"], MESSAGES["guard"]
CATALOGUE = [
    "", *TITLES.values(), "Alien", "Alien 3", "The Game", "Seven (Se7en)", "Star Trek: The Voyage",
    "Star Trek: The Return", "Amélie's Café", "As Good As It Gets", "Dr. Strange",
]  # fmt: skip
OFFERED = [
    Recommendation(1, "The Quiet Harbour", 1951, ("Drama",), 0.0),
    Recommendation(2, "Alien", 1979, ("Horror", "Sci-Fi"), 0.0),
    Recommendation(3, "Dust & Thunder", 1953, ("Western",), 0.0),
    Recommendation(4, "Star Trek: The Voyage", None, (), 0.0),
    Recommendation(5, "The Man Who Slept Late, But Woke", 1990, (), 0.0),
]
GUARD = ReplyGuard(CATALOGUE)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        *((s, "empty: write a") for s in ("", "  ", "\n\t ", "\u200b\u200d\ufeff", "\x00\7")),
        ("a" * (MESSAGE_LIMIT + 1), "2,001 characters and the limit is 2,000: shorten"),
        (3, "not a value of type int"),
    ],
)
def test_what_is_no_message_is_refused_with_advice(text, reason):
    with pytest.raises(MessageError, match=reason):
        clean_message(text)


@pytest.mark.parametrize(
    "text",
    [
        "a" * MESSAGE_LIMIT, "<script>alert('x')</script>", "two\nlines", "🎃", "コメディ映画",
        "[click](javascript:alert(1)) **bold** $x^2$", "🍿🎬👩‍👩‍👧 something for us",
        "فيلم مضحك من الثمانينات",
    ],
)  # fmt: skip
def test_markup_emoji_and_any_script_pass_unchanged_but_for_what_no_text_holds(text):
    assert clean_message(f"  {text}\n") == text
    assert clean_message("fun\x00ny\x1b[31m \ud800 films") == "funny[31m ? films"


@given(st.text(max_size=300))
def test_a_message_is_either_clean_or_refused(text):
    try:
        message = clean_message(text)
    except MessageError:
        return
    message.encode("utf-8")
    assert message and clean_message(message) == message


GOOD, FOREIGN, BAD, CONTEXTS = (TABLE[kind] for kind in ("good", "foreign", "bad", "contexts"))
BAD = {"word " * 100 + ".": "longer than 400", **BAD}


@pytest.mark.parametrize(
    ("reply", "more", "reason"),
    [
        *((reply, {}, None) for reply in GOOD),
        *((reply, {}, f"not chosen ({title})") for reply, title in FOREIGN.items()),
        *((reply, {}, reason) for reply, reason in BAD.items()),
        *(
            (reply, {kind: [said] if kind == "previous" else said}, reason)
            for reply, kind, said, reason in CONTEXTS
        ),
    ],
)
def test_a_reply_may_be_shown_or_there_is_a_reason(reply, more, reason):
    found = GUARD.objection(reply, OFFERED, **more)
    assert reason in found if reason else found is None


FILMS = [
    Recommendation(1, "Airplane!", 1980, ("Comedy",), 0.0),
    Recommendation(2, "Alien", 1979, ("Horror", "Sci-Fi"), 0.0),
    Recommendation(3, "Braveheart", 1995, ("Action", "Drama", "War"), 0.0),
]


@pytest.mark.parametrize("wish_and_reply", CASES["false"])
def test_no_wish_makes_a_claim_true_or_is_a_title(wish_and_reply):
    message, reply = wish_and_reply
    assert ReplyGuard([item.title for item in FILMS]).objection(reply, FILMS, message=message)


@pytest.mark.parametrize("wish_and_reply", CASES["true"])
def test_what_the_data_tells_of_that_item_may_be_said(wish_and_reply):
    message, reply = wish_and_reply
    guard = ReplyGuard([item.title for item in FILMS])
    assert guard.objection(reply, FILMS, message=message) is None


def test_all_real_titles_are_recognised(data):
    guard = ReplyGuard(data.titles)
    other = Recommendation(0, "Zzyzx", 1990, (), 0.0)
    for row in data.items[::25].iter_rows(named=True):
        said = f"You should see {row['title']} tonight."
        assert guard.objection(said, [other]) is not None
        own = Recommendation(row["item"], row["title"], row["year"], tuple(row["genres"]), 0.0)
        assert guard.objection(said, [own]) is None, row["title"]
