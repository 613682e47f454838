"""A conversation as JSON, which goes on from there, and as a Markdown page, which harms nobody."""

import json
import re
from html import unescape

import mistune
import polars as pl
import pytest

from latentcrs_utils.conversation.session import Conversation
from latentcrs_utils.conversation.transcript import in_markdown, quoted
from latentcrs_utils.errors import ConfigError, DataError
from tests.conversation.fakes import MESSAGES, FakeChatModel, FakeScorer, chat, fake_model

REPLY = "Film Number 7 may do."
HOSTILE = MESSAGES["markdown"]["hostile"]


def told(policy) -> Conversation:
    """A conversation in which everything happened that a transcript can hold."""
    chat_model = FakeScorer(*["{}", REPLY] * 2 if policy == "F" else [REPLY] * 2, words=("11",))
    conversation = chat(policy, chat_model, user=42, n_items=3, extractor="both")
    turn = conversation.say("a western, no horror, 🎃")
    conversation.accept(turn.items[0].item)
    if policy == "F":
        conversation.withdraw("not genre=Horror")
    conversation.say("from the fifties")
    return conversation


@pytest.mark.parametrize("policy", ["B", "F", "V"])
def test_a_transcript_survives_json_and_goes_on(policy):
    conversation = told(policy)
    stored = json.loads(json.dumps(conversation.transcript()))
    assert stored == conversation.transcript()
    again = Conversation.from_transcript(conversation.model, stored, chat_model=None)
    assert again.transcript() == stored and again.policy == policy
    assert again.turns == conversation.turns and again.requirements == conversation.requirements
    assert bool(again.requirements) == (policy == "F") and again.say("more").number == 3


def test_a_conversation_may_go_on_as_another_policy():
    stored = told("B").transcript()
    again = Conversation.from_transcript(fake_model(), stored, chat_model=None, policy="F")
    assert [*map(str, again.say("no comedy").requirements)] == ["no Comedy (“no comedy”)"]
    assert [turn.policy for turn in again.turns] == ["B", "B", "F"]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        *(({"format": number}, "not a transcript of format 4") for number in (3, "4")),
        ({"catalogue": "other"}, "made with another catalogue"),
        ({"history": [10_000]}, "There is no item 10000"),
        ({"user": "nobody"}, "There is no user 'nobody'"),
        ({"events": [{"accept": 10_000}]}, "damaged.*There is no item 10000"),
        ({"events": [{"say": {"message": "x"}}]}, "damaged"),
        ({"events": [{}]}, "damaged"),
        ({"n_items": "5"}, "damaged.*n_items is no number"),
        ({"policy": "Q"}, "no policy 'Q'"),
        # in a turn
        ({"requirements": [{"condition": "genre=Drama", "colour": "red"}]}, "damaged"),
        ({"candidates": [10_000]}, "damaged.*There is no item 10000"),
        ({"reranked": None}, "damaged"),
        ({"reply": 5}, "damaged.*a text is none"),
    ],
)
def test_a_damaged_transcript_is_refused_in_one_sentence(change, reason):
    stored = told("F").transcript()
    turn = stored["events"][0]["say"]
    (stored if {*change} <= {*stored} else turn).update(change)
    with pytest.raises(ConfigError if "policy" in change else DataError, match=reason):
        Conversation.from_transcript(fake_model(), stored)
    with pytest.raises(DataError, match="not a transcript"):
        Conversation.from_transcript(fake_model(), "nonsense")


# As Markdown


def rendered(markdown: str) -> tuple[set[str], str]:
    """The tags of a page, with their attributes, and its text."""
    plugins = ["strikethrough", "table", "url", "footnotes", "task_lists", "math"]
    page = mistune.create_markdown(escape=False, plugins=plugins)(markdown)
    return {*re.findall("<([^/>][^>]*)>", page)}, unescape(re.sub("<[^>]*>", "", page))


def one_line(text: str) -> str:
    return " ".join(text.split())


@pytest.mark.parametrize("text", HOSTILE)
def test_foreign_text_is_rendered_as_its_own_characters(text):
    for markdown in (in_markdown(text), f"before\n\n{in_markdown(text)}\n\nafter"):
        tags, page = rendered(markdown)
        assert tags == {"p"} and one_line(text) in page
    tags, page = rendered(quoted(text))
    assert tags == {"blockquote", "p"} and page.strip() == one_line(text)
    tags, page = rendered(f"1. **{in_markdown(text)}**: x")
    assert tags == {"ol", "li", "strong"} and one_line(text) in page


def test_plain_words_stay_readable_and_what_has_no_form_is_left_out():
    assert in_markdown("a\u202eb\u202c\u2066c\u2069\x07\ud800d") == "abcd"
    plain = "Mostly your words: comedy (1996), sci-fi; 20 % from what you liked."
    assert in_markdown(plain) == plain
    tags, page = rendered(quoted("one\n\n# two\n    three\n\n"))
    assert tags <= {"blockquote", "p", "br /"} and one_line(page) == "one # two three"


def test_the_page_has_all_that_happened():
    conversation = chat("F", FakeChatModel("{}", REPLY), 42, extractor="both")
    first = conversation.say("a western from the fifties, no horror")
    conversation.accept(first.items[0].item)
    conversation.reject(first.items[1].item)
    conversation.withdraw("decade=1950")
    conversation.use("B")
    conversation._chat_model = None
    second = conversation.say("funny")
    page = conversation.markdown()
    liked, refused = (in_markdown(item.label) for item in first.items[:2])
    for turn in (first, second):
        told = [f"## {turn.number}. Policy {turn.policy}", f"> {turn.message}"]
        told += [in_markdown(turn.reply), in_markdown(turn.note), turn.usage]
        for item, why in zip(turn.items, conversation.why(turn), strict=True):
            told += [f"**{in_markdown(item.label)}**", in_markdown(why)]
        assert [part for part in told if part not in page] == []
    ends = f"*Liked: {liked}*", f"*Refused: {refused}*", "*Taken back: the 1950s*", "## 2."
    places = [page.index(end) for end in (*ends, f"- liked: {liked}", f"- refused: {refused}")]
    assert places == sorted(places) and "the 1950s" not in page[places[-1] :]


def test_hostile_words_and_titles_do_nothing_on_the_page():
    model = fake_model()
    title = "<img src=x onerror=alert(1)> [x](javascript:1) *hot* https://evil.example"
    column = pl.when(pl.col("item") == 3).then(pl.lit(title)).otherwise("title")
    object.__setattr__(model.data, "items", model.data.items.with_columns(title=column))
    conversation = Conversation(model, history=[7], chat_model=None, policy="F")
    for text in (*HOSTILE[:5], "# heading\n- item\n<script>\n```\n| a |\n|---|"):
        conversation.say(text)
    conversation.accept(3)
    markdown = conversation.markdown()
    assert not re.search(r"^(?:# heading|- item|<script>|```|\|)", markdown, re.MULTILINE)
    tags, page = rendered(markdown)
    assert tags <= {"h1", "h2", "p", "blockquote", "br /", "ol", "ul", "li", "strong", "em"}
    assert title in page
    assert all(one_line(turn.message) in one_line(page) for turn in conversation.turns)
