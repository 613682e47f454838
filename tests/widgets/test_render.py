"""HTML made from values: escaped, and each picture with its words."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from latentcrs_utils.conversation.turn import Recommendation, Turn
from latentcrs_utils.widgets import html as bars
from latentcrs_utils.widgets import html as render
from latentcrs_utils.widgets.html import escape, text


@given(st.text())
def test_escaped_text_holds_no_markup_and_loses_nothing(text):
    shown = escape(text)
    assert not set(shown) & set("<>\"'")
    assert not re.search(r"&(?!(amp|lt|gt|quot|#x27);)", shown)
    shown.encode("utf-8")


def test_escape_by_hand():
    assert escape("<a href='x'>&\x00\ud800") == "&lt;a href=&#x27;x&#x27;&gt;&amp;��"
    assert escape("two\nlines 🎬") == "two\nlines 🎬"
    assert escape(3) == "3"


@pytest.mark.parametrize(
    ("after", "before", "words"),
    [
        (0.31, 0.12, "31 %, up from 12 %"),
        (0.10, 0.40, "10 %, down from 40 %"),
        (0.314, 0.309, "31 %"),
        (0.031, 0.0312, "3.1 %"),
        (0.0996, 0.0994, "10 %, up from 9.9 %"),
        (0.0004, None, "under 0.1 %"),
        (0.02, 0.0001, "2.0 %, up from under 0.1 %"),
    ],
)
def test_a_bar_has_words(after, before, words):
    assert bars.bar_words(after, before) == words


def test_bars_are_six_and_the_rest_is_summed():
    after = {f"intent {j}": p for j, p in enumerate([0.3, 0.2, 0.1, 0.1, 0.1, 0.1, 0.05, 0.05])}
    page = bars.intent_bars(after, None, n_intents=8)
    assert page.count("lcrs-name") == 6 and "intent 6" not in page
    assert "2 other intents together: 10 %." in page
    assert "lcrs-mark" not in page
    widths = [float(x) for x in re.findall(r"--now:([\d.]+)%", page)]
    assert widths == pytest.approx([100, 66.7, 33.3, 33.3, 33.3, 33.3])


def test_bars_share_one_scale_with_what_was_before():
    page = bars.intent_bars({"a": 0.2, "b": 0.1}, {"a": 0.1, "b": 0.4}, n_intents=2)
    assert re.findall(r"--now:([\d.]+)%;--was:([\d.]+)%", page) == [
        ("50.0", "25.0"),
        ("25.0", "100.0"),
    ]
    assert page.count("lcrs-mark") == 2 and "other intents" not in page


def test_a_card_without_facts_says_so():
    assert "no further facts" in render.card(Recommendation(1, "X", None, (), 0.0))
    assert "1990 · Drama · War" in render.card(Recommendation(1, "X", 1990, ("Drama", "War"), 0.0))


def test_a_growing_reply_is_shown_as_far_as_it_goes():
    turn = Turn(1, "hello", (), {}, {})
    assert "…" in render.reply(None) and "…" in render.reply(turn)
    assert "So far" in render.reply(None, "So far")


def test_a_new_order_is_told_by_the_places_that_it_had_before():
    films = [Recommendation(item, f"Film {item}", None, (), 0.0) for item in (1, 2, 3)]

    def told(*order):
        turn = Turn(1, "hello", tuple(films[i - 1] for i in order[:2]), {}, {}, reply="Hello.",
                    policy="V", candidates=(1, 2, 3), reranked=order)  # fmt: skip
        return render.reply(turn)

    assert "the recommender had these at places 3, 1" in told(3, 1, 2)
    assert "these stayed in the recommender&#x27;s order" in told(1, 2, 3)
    assert "Re-ordered" not in render.reply(Turn(1, "hello", (), {}, {}, reply="Hello."))


def test_foreign_text_is_kept_from_the_setter_of_formulas():
    assert text("$5 or $10") == '<bdi class="mathjax_ignore" dir="auto">$5 or $10</bdi>'


def test_a_turn_is_heard_with_all_its_films():
    films = (Recommendation(1, "Heat", 1995, (), 0.0), Recommendation(2, "<b>", None, (), 0.0))
    heard = render.heard(Turn(1, "hello", films, {}, {}, reply="See Heat."))
    assert 'role="alert"' in heard and "See Heat." in heard and "Heat (1995)" in heard
    assert "&lt;b&gt;" in heard and "<b>" not in heard


def test_only_a_problem_interrupts():
    assert 'role="alert"' in render.status("No.", "problem")
    assert 'role="status"' in render.status("Ready") and "alert" not in render.status("x", "busy")
