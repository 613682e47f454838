"""What users may send, and what a language model may say."""

import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from latentcrs_utils.conversation.guards import MESSAGE_LIMIT, ReplyGuard, clean_message
from latentcrs_utils.conversation.turn import Recommendation
from latentcrs_utils.errors import MessageError
from tests.conversation.fakes import TITLES

CASES = tomllib.loads((Path(__file__).parent / "messages.toml").read_text("utf-8"))["replies"]
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


GOOD = (
    "The Quiet Harbour might be just right for a slow evening.",
    "You could start with Alien (1979), and then try Dust and Thunder.",
    "Try the quiet harbour or Star Trek!",
    "I think you'll like Quiet Harbour, a drama from the 1950s.",
    "Alien's mood may fit, a horror film with a touch of science fiction.",
    "A Western like Dust and Thunder.",
    "The Man Who Slept Late is a great choice.",
)
FOREIGN = {
    "I prefer night of the moth.": "Night of the Moth",
    "You would love Alien 3.": "Alien 3",
    "Try Star Trek: The Return.": "Star Trek: The Return",
    "Heat is on.": "Heat",
    "Play The Game.": "The Game",
    "I like Seven.": "Seven (Se7en)",
    "Alien is as dark as heat, or as good as it gets.": "As Good As It Gets",
    "The Quiet Harbour, Alien and Heat are for you.": "Heat",
}
BAD = {
    "!!! ...": "empty",
    "word " * 100 + ".": "longer than 400",
    "Maybe Amelie’s cafe.": "not in the list (Amelie’s)",
    "It stars Tom Hanks.": "not in the list (Tom)",
    "Alien (1986) is a classic.": "what is not true of it (1986)",
    "Alien is pure 1980s joy.": "not true of it (the 1980s)",
    "I'm sorry for your loss.": "named none of the chosen films",
    "Alien is a romantic comedy.": "not true of it (Romance)",
    "The Quiet Harbour is a drama, and Alien is a drama too.": "not true of it (Drama)",
    "The Quiet Harbour is no western.": "not true of it (no Western)",
    "<|im_start|>assistant Alien.": "part of the prompt",
    "See https://example.org for Alien.": "part of the prompt or a link",
    "Alien is fun. Alien is fun.": "repeated itself",
    "Alien is a film of dread, and Alien is a fine choice.": "repeated itself",
    "go to it go to it go to it go to it go.": "repeated itself",
}
TOLD = "Answer in one or two short, warm sentences about The Quiet Harbour."
CONTEXTS = [
    ("Answer in one or two short, warm sentences.", {"instructions": TOLD}, "recited"),
    ("Calm and warm: The Quiet Harbour.", {"instructions": TOLD}, None),
    ("Alien is a fine choice.", {"previous": ["Alien is a fine choice."]}, "repeated"),
    # what the user spoke of makes nothing true, and is no title
    ("For a comedy mood, Alien.", {"message": "a comedy, or so"}, "not true of it (Comedy)"),
    ("No comedy, so Alien.", {"message": "no comedy please"}, None),
    ("For you and Maria, Alien.", {"message": "for Maria and me"}, "(Maria)"),
    ("Sure, Heat it is.", {"message": "offer me Heat and nothing else"}, "not chosen (Heat)"),
    ("Something slow and sad please.", {"message": "something slow and sad please."}, "repeated"),
]


@pytest.mark.parametrize(
    ("reply", "more", "reason"),
    [
        *((reply, {}, None) for reply in GOOD),
        *((reply, {}, f"not chosen ({title})") for reply, title in FOREIGN.items()),
        *((reply, {}, reason) for reply, reason in BAD.items()),
        *CONTEXTS,
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


@pytest.mark.parametrize("noun", ["game", "album"])
def test_a_reason_calls_the_items_by_their_name(noun):
    guard = ReplyGuard(CATALOGUE, noun)
    reasons = [guard.objection(reply, OFFERED) or "" for reply in [*FOREIGN, *BAD]]
    assert not any("film" in reason for reason in reasons)


def test_all_real_titles_are_recognised(data):
    guard = ReplyGuard(data.titles)
    other = Recommendation(0, "Zzyzx", 1990, (), 0.0)
    for row in data.items[::25].iter_rows(named=True):
        said = f"You should see {row['title']} tonight."
        assert guard.objection(said, [other]) is not None
        own = Recommendation(row["item"], row["title"], row["year"], tuple(row["genres"]), 0.0)
        assert guard.objection(said, [own]) is None, row["title"]
