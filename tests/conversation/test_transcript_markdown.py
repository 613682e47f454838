"""The Markdown page of a conversation: complete, and harmless however it is rendered."""

import re
from html.parser import HTMLParser

import mistune
import polars as pl
import pytest

from latentcrs_utils.conversation.explanation import why
from latentcrs_utils.conversation.session import Conversation
from latentcrs_utils.conversation.transcript import in_markdown, quoted, transcript_markdown
from tests.conversation.fakes import FakeChatModel
from tests.conversation.known_world import known_model

HOSTILE = (
    "<script>alert(1)</script> & <b onclick=x>bold</b>",
    "[a link](javascript:alert(1)) ![img](http://x.example/a.png) <http://x.example>",
    "see https://evil.example/a_b or www.evil.example, mail me@evil.example",
    "*emphasis* _too_ **bold** `code` ~~gone~~ \\*stars\\* $x^2$ \\(y\\)",
    "# no heading", "- no item", "+ nor this", "1. nor that", "2) nor that", "> no quotation",
    "---", "===", "| a | b |", "&lt;b&gt; &amp; &#60;", "    indented code",
    "🎃👨‍👩‍👧 مرحبا", "1984", "3.14 and sci-fi", "a [^1] and [x]: y",
)  # fmt: skip


class Reader(HTMLParser):
    """Collects the tags and the text of a page."""

    def __init__(self, page: str):
        super().__init__(convert_charrefs=True)
        self.tags: set[str] = set()
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        assert not attrs, attrs

    def handle_data(self, data):
        self.text += data


def rendered(markdown: str) -> Reader:
    plugins = ["strikethrough", "table", "url", "footnotes", "task_lists", "math"]
    return Reader(mistune.create_markdown(escape=False, plugins=plugins)(markdown))


def one_line(text: str) -> str:
    return " ".join(text.split())


@pytest.mark.parametrize("text", HOSTILE)
def test_foreign_text_is_rendered_as_its_own_characters(text):
    for markdown in (in_markdown(text), f"before\n\n{in_markdown(text)}\n\nafter"):
        page = rendered(markdown)
        assert page.tags == {"p"} and one_line(text) in page.text
    page = rendered(quoted(text))
    assert page.tags == {"blockquote", "p"} and page.text.strip() == one_line(text)
    page = rendered(f"1. **{in_markdown(text)}**: x")
    assert page.tags == {"ol", "li", "strong"} and one_line(text) in page.text


def test_what_has_no_form_of_its_own_is_left_out():
    assert in_markdown("a\u202eb\u202c\u2066c\u2069\x07\ud800d") == "abcd"


def test_lines_stay_lines_of_one_quotation():
    page = rendered(quoted("one\n\n# two\n    three\n\n"))
    assert page.tags <= {"blockquote", "p", "br"}
    assert page.text.split() == ["one", "#", "two", "three"]


def test_plain_words_stay_readable():
    text = "Mostly your words: comedy (1996), sci-fi; 20 % from what you liked."
    assert in_markdown(text) == text


def test_the_page_has_all_that_happened():
    chat_model = FakeChatModel("{}", "Film Number 7 may do.")
    model = known_model()
    conversation = Conversation(model, 42, chat_model=chat_model, variant="F")
    first = conversation.say("a western from the fifties, no horror")
    conversation.accept(first.items[0].item)
    conversation.reject(first.items[1].item)
    conversation.withdraw("decade=1950")
    conversation.use("B")
    conversation._chat_model = None
    second = conversation.say("funny")
    page = transcript_markdown(conversation)
    assert page.startswith(
        "# A conversation with LatentCRS+\n\n"
        "User 42 of ml-fake, of whom 5 liked films were known at the start.\n\n"
        "## 1. Variant F\n\n> a western from the fifties, no horror\n\nFilm Number 7 may do.\n\n"
        "Required: Western (“western”); the 1950s (“the fifties”); no Horror (“no horror”).\n\n"
    )
    for turn in (first, second):
        for place, (item, reason) in enumerate(zip(turn.items, why(conversation, turn),
                                                   strict=True), start=1):  # fmt: skip
            genres = f", {item.genres[0]}" if item.genres else ""
            assert f"{place}. **{in_markdown(item.label)}**{genres}: {reason}\n" in page
    assert f"Note: {first.note}" in page
    assert f"*worded by Scripted; {first.usage}*" in page
    liked, refused = (in_markdown(item.label) for item in first.items[:2])
    assert f"*Liked: {liked}*\n\n*Refused: {refused}*\n\n*Taken back: the 1950s*\n\n## 2." in page
    assert "\n## 2. Variant B\n\n> funny\n\n" in page
    assert "*plain template (no language model was asked); 0 tokens read, 0 written*" in page
    assert page.endswith(
        f"## At the end\n\n- liked: {liked}\n- refused: {refused}\n"
        "- required: Western (“western”); no Horror (“no horror”)\n"
    )


def test_a_stranger_who_said_nothing_has_a_page():
    assert transcript_markdown(Conversation(known_model(), chat_model=None)) == (
        "# A conversation with LatentCRS+\n\n"
        "A stranger of ml-fake, of whom 0 liked films were known at the start.\n"
    )


def test_hostile_words_and_titles_do_nothing_on_the_page():
    model = known_model()
    title = "<img src=x onerror=alert(1)> [x](javascript:1) *hot* https://evil.example"
    column = pl.when(pl.col("item") == 3).then(pl.lit(title)).otherwise(pl.col("title"))
    items = model.data.items.with_columns(column.alias("title"))
    object.__setattr__(model.data, "items", items)
    conversation = Conversation(model, history=[7], chat_model=None, variant="F")
    for text in HOSTILE[:6]:
        conversation.say(text)
    conversation.accept(3)
    page = rendered(transcript_markdown(conversation))
    assert page.tags <= {"h1", "h2", "p", "blockquote", "br", "ol", "ul", "li", "strong", "em"}
    assert title in page.text
    assert all(one_line(turn.message) in page.text for turn in conversation.turns)


def test_no_line_of_the_page_is_foreign_markup():
    conversation = Conversation(known_model(), chat_model=None)
    conversation.say("# heading\n- item\n<script>\n```\n| a |\n|---|")
    page = transcript_markdown(conversation)
    assert not re.search(r"^(?:# heading|- item|<script>|```|\|)", page, re.MULTILINE)
