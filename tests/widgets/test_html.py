"""HTML made from values: whatever anybody writes is shown as text, and each picture has words."""

import re

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from latentcrs_utils.conversation.session import Conversation
from latentcrs_utils.conversation.turn import Recommendation, shown
from latentcrs_utils.widgets import html as render
from latentcrs_utils.widgets.app import ChatApp
from tests.conversation.fakes import MESSAGES, fake_model

from .hands import app_with, ask, buttons, html, press

WHY = Conversation.why
HOSTILE = MESSAGES["html"]["hostile"]


@pytest.mark.parametrize("policy", ["B", "F"])
@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_is_shown_as_text(text, policy):
    app = app_with(policy=policy)
    calm = set(re.findall(r"<\w+", html(app.widget)))
    state = ask(app, text)
    page = html(app.widget)
    assert set(re.findall(r"<\w+", page)) <= calm | {"<bdi", "<b"}
    assert "onerror=" not in re.sub(r"&[#\w]+;", "", "".join(re.findall(r"<[^>]*>", page)))
    assert state["messages"] == [text] and state["required"] == []
    titles = [title for title, _ in state["cards"][0]]
    assert len(titles) == 5 and set(titles) <= set(app.model.data.titles)


def test_a_hostile_model_s_words_do_not_reach_the_screen():
    app = app_with("<script>alert(1)</script> Watch Heat, and see https://example.org.")
    page = (ask(app, "horror"), html(app.widget))[1]
    assert "alert(1)" not in page and "example.org" not in page
    assert "plain template instead of Scripted" in page


def hostile_model(before="<script>"):
    """A catalogue and intents whose names are markup."""
    model = fake_model()
    model.anchors.names = ("<b>bold</b>", "<script>", "&amp;", '"quoted"')
    items = model.data.items.with_columns(title=before + model.data.items["title"])
    object.__setattr__(model.data, "items", items)
    model.data.__dict__.pop("titles", None)
    return model


@pytest.mark.parametrize("why", [WHY, lambda *_: [f"31 % of it: {t}" for t in HOSTILE]])
def test_hostile_titles_names_and_reasons_are_shown_as_text(why, monkeypatch):
    monkeypatch.setattr(Conversation, "why", why)
    app = ChatApp(hostile_model(), user=42, chat_model=None)
    state = ask(app, "something scary")
    page = html(app.widget)
    assert len(state["cards"][0]) == page.count('class="lcrs-why') == 5
    assert why is WHY or page.count("31\u00a0% of it") == 5
    assert "<script" not in page and "&lt;script&gt;" in page and "&amp;amp;" in page
    press(app, "Build a history")
    label = app.conversation.label(app.view.picker.suggested[0])
    assert label.startswith("<script>")
    press(app, label)
    assert buttons(app.widget, f"{label} ✕") and "<script" not in html(app.widget)


# Overrides, embeddings and isolates of direction; what has no width; fillers; tags; separators.
UNSEEN = (
    "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u200e\u200f\u061c\u200b\u2060\u2061\u2064"
    "\u206a\u206f\ufeff\u00ad\u034f\u115f\u1160\u3164\uffa0\u180e\ufff9\ufffb\U000e0001\U000e0041\u2028\u2029"
)


def words_of(widget):
    """All strings that the browser is given of a widget and those in it."""
    own = [value for value in widget.get_state().values() if isinstance(value, str)]
    return own + [x for child in getattr(widget, "children", ()) for x in words_of(child)]


def test_what_turns_a_line_around_or_is_unseen_reaches_no_screen():
    model = hostile_model(UNSEEN)
    model.anchors.names = tuple(f"{UNSEEN}intent {i}" for i in range(4))
    genres = pl.col("genres").list.eval(pl.element() + "\u202e")
    object.__setattr__(model.data, "items", model.data.items.with_columns(genres))
    app = ChatApp(model, user=42, chat_model=None, policy="F")
    ask(app, f"a {UNSEEN} funny film")
    press(app, "Like")
    turn = app.conversation.turns[0]
    words = [*words_of(app.widget), str(turn), app.conversation.markdown()]
    press(app, "Build a history")
    press(app, shown(app.conversation.label(app.view.picker.suggested[0])))
    words += words_of(app.widget)
    assert any("intent 1" in text for text in words) and UNSEEN in turn.items[0].title
    own = {"\u200b"}  # the placeholder that ipywidgets puts into an empty box
    assert [text for text in words if text not in own and set(text) & set(UNSEEN)] == []


@pytest.mark.parametrize("mark", UNSEEN)
def test_each_of_them_is_left_out(mark):
    assert " ".join(render.escape(f"a {mark}b").split()) == "a b"


@pytest.mark.parametrize(
    "text", ["👩‍👩‍👧", "❤️", "می‌خواهم", "🇩🇪", "e\u0301", "नमस्ते", "한국어", "a\u00a0b"]
)
def test_what_words_and_pictures_need_stays(text):
    assert render.escape(text) == text


@given(st.text())
def test_escaped_text_holds_no_markup_and_loses_nothing(text):
    shown = render.escape(text)
    assert not set(shown) & set("<>\"'")
    assert not re.search(r"&(?!(amp|lt|gt|quot|#x27);)", shown)
    shown.encode("utf-8")


def test_escape_and_facts_by_hand():
    assert render.escape("<a href='x'>&\x00\ud800") == "&lt;a href=&#x27;x&#x27;&gt;&amp;��"
    assert render.escape("two\nlines 🎬") == "two\nlines 🎬"
    # the setter of formulas leaves it alone
    isolated = '<bdi class="mathjax_ignore" dir="auto">$5 or $10</bdi>'
    assert render.small("$5 or $10") == f'<div class="lcrs-small">{isolated}</div>'
    assert "no further facts" in render.card(Recommendation(1, "X", None, (), 0.0))


def test_bars_are_six_on_one_scale_with_what_was_before_and_the_rest_is_summed():
    after = {f"intent {j}": p for j, p in enumerate([0.3, 0.2, 0.1, 0.1, 0.1, 0.1, 0.05, 0.05])}
    bars, rest = render.intent_bars(after, None, n_intents=8)
    assert len(bars) == 6 and "intent 5" in bars[-1] and "lcrs-mark" not in "".join(bars)
    assert "2 other intents together: 10 %." in rest
    bars, rest = render.intent_bars({"a": 0.2, "b": 0.1}, {"a": 0.1, "b": 0.4}, n_intents=2)
    page = "".join(bars)
    widths = re.findall(r"--now:([\d.]+)%;--was:([\d.]+)%", page)
    assert widths == [("20.0", "10.0"), ("10.0", "40.0")]  # a full bar is all of the belief
    assert page.count("lcrs-mark") == 2 and rest == ""
