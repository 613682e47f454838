"""Policies, requirements as chips, Retry and More like this."""

import pytest

from latentcrs_utils.constraints.constraint import Constraint
from latentcrs_utils.conversation.policies import Policy
from latentcrs_utils.errors import ConfigError
from latentcrs_utils.widgets.app import ChatApp
from latentcrs_utils.widgets.controls import EXPLAINED, OneOf, in_full
from tests.conversation.fakes import FakeModel, FakeScorer

from .hands import GOOD, app_with, ask, buttons, html, press, sent, shown


def test_each_variant_has_a_line_and_b_is_the_first_choice():
    app = app_with()
    assert list(app.screen.policies.options) == ["B", "F", "V"]
    assert app.screen.policies.value == "B"
    assert len(buttons(app.widget, f"✓ {EXPLAINED['B']}")) == 1
    assert all(len(words) > 15 and buttons(app.widget, words) for words in
               (EXPLAINED["F"], EXPLAINED["V"]))  # fmt: skip


def test_of_several_buttons_one_is_chosen_and_says_so():
    told = []
    choice = OneOf("Taste", {"a": "apples", "b": "pears"}, "a", told.append)
    first, second = choice.widget.children[1:]
    assert "Taste" in html(choice.widget)
    second.click()
    second.click()
    assert told == ["b"] and choice.value == "b"
    assert (first.description, second.description) == ("apples", "✓ pears")
    assert "lcrs-chosen" in second._dom_classes and "lcrs-chosen" not in first._dom_classes
    assert second.tooltip == "pears: chosen" and first.tooltip == "Choose apples"


def test_another_policy_holds_from_the_next_message_on():
    app = app_with()
    ask(app, "horror")
    press(app, EXPLAINED["F"])
    assert app.state()["status"].startswith("From the next message on: policy F. What you require")
    assert "read by a word list" in app.state()["status"]
    ask(app, "a western")
    app.use("B")
    assert app.screen.policies.value == "B"
    ask(app, "more")
    assert [turn.policy for turn in app.conversation.turns] == ["B", "F", "B"]
    assert "policy F" in html(app.widget)


def test_there_is_no_fourth_policy():
    app = app_with()
    with pytest.raises(ConfigError, match="no policy"):
        app.use("X")
    assert app.state()["policy"] == app.conversation.policy == "B"


def test_the_app_can_begin_with_another_policy():
    assert app_with(policy="F").state()["policy"] == "F"
    with pytest.raises(ConfigError, match="no policy"):
        app_with(policy="X")


@pytest.mark.parametrize(
    ("policy", "speaker", "reader", "words"),
    [
        ("B", None, "lexicon", "recommender alone"),
        ("F", "Echo", "lexicon", "a word list"),
        ("F", "Echo", "both", "a word list and Echo"),
        ("F", "Echo", "own", "a reader of yours"),
        ("V", "Echo", "lexicon", "Echo re-orders"),
        ("V", None, "lexicon", "Without a language model"),
    ],
)
def test_who_does_it_is_said_in_full(policy, speaker, reader, words):
    assert words in in_full(policy, speaker, reader)


def test_a_variant_chosen_while_an_answer_comes_is_for_the_next(slow):
    slow.submit("horror")
    assert slow.begun.wait(10)
    buttons(slow.widget, EXPLAINED["F"])[0].click()
    assert slow.state()["status"].startswith("Writing")
    slow.go.set()
    assert slow.wait(10)
    ask(slow, "a western")
    assert [turn.policy for turn in slow.conversation.turns] == ["B", "F"]


def test_requirements_are_chips_that_can_be_taken_back():
    app = app_with(policy="F")
    state = ask(app, "a western, no horror")
    assert state["required"] == ["Western", "no Horror"]
    (chip,) = buttons(app.widget, "Western ✕")
    assert "you said “western”" in chip.tooltip
    state = press(app, "Western ✕")
    assert state["required"] == ["no Horror"]
    assert state["status"].startswith("No longer required: Western.")
    app.undo()
    assert app.state()["status"] == "Taken back: Western is required again."
    assert app.state()["required"] == ["Western", "no Horror"]


def test_the_bars_keep_their_marks_when_the_belief_stays():
    app = app_with(policy="F")
    ask(app, "a western")
    moved = app.screen.bars.value
    assert "up from" in moved
    press(app, "Western ✕")
    assert app.screen.bars.value == moved


def test_a_withdrawn_requirement_does_not_bind_the_next_message():
    app = app_with(policy="F")
    ask(app, "a western")
    press(app, "Western ✕")
    ask(app, "surprise me")
    assert app.conversation.turns[-1].requirements == ()


def test_chips_keep_the_keyboard_focus():
    app = app_with(policy="F")
    ask(app, "a western, no horror")
    first, last = buttons(app.widget, "Western ✕")[0], buttons(app.widget, "no Horror ✕")[0]
    went, home = sent(first), sent(app.screen.message)
    last.click()
    assert went == [{"do": "focus"}] and home == []
    first.click()
    assert home == [{"do": "focus"}]
    assert not shown(app.screen.requirements.widget)
    first.click()  # a late click on what is gone
    assert app.state()["required"] == []


def test_without_f_no_chip_promises_what_does_not_count():
    app = app_with(policy="F")
    ask(app, "a western")
    app.use("B")
    assert app.state()["required"] == []
    app.use("F")
    assert app.state()["required"] == ["Western"]


def test_a_chip_clicked_too_early_waits_in_vain(slow):
    slow.use("F")
    slow.go.set()
    ask(slow, "a western")
    slow.go.clear()
    slow.begun.clear()
    slow.submit("more")
    assert slow.begun.wait(10)
    buttons(slow.widget, "Western ✕")[0].click()
    assert slow.state()["status"] == "Still answering: press Stop first."
    assert slow.conversation.requirements.constraints == (Constraint("genre", "Western"),)


def test_what_gave_way_is_told_above_the_cards_on_the_cards_and_aloud():
    app = app_with(policy="F")
    ask(app, "a western comedy from 1951")
    page = html(app.widget)
    assert "lcrs-note lcrs-gave-way" in page and "I relaxed" in page
    assert page.count("lcrs-why lcrs-misses") == 5
    assert "I relaxed" in app.screen.heard.value
    assert "Held to: Western (“western”)" in page


def test_v_says_that_it_re_ordered_and_counts_its_tokens():
    chat_model = FakeScorer(GOOD, words=("Night",))
    app = ChatApp(FakeModel(), user=42, chat_model=chat_model, policy="V")
    ask(app, "horror")
    page, turn = html(app.widget), app.conversation.turns[0]
    assert turn.reranked and "Re-ordered" in page
    assert turn.choosing_tokens[0] > 0  # for its order, beside the 50 of the reply
    assert f"{turn.choosing_tokens[0] + 50:,} tokens read" in page


def test_the_cost_of_a_turn_is_on_the_screen():
    app = app_with(GOOD)
    ask(app, "horror")
    turn = app.conversation.turns[0]
    page = html(app.widget)
    assert f"{sum(turn.seconds.values()):.1f} s (reading " in page
    assert f"50 tokens read, {turn.completion_tokens} written" in page
    plain = app_with()
    ask(plain, "horror")
    assert "0 tokens read, 0 written" in html(plain.widget)


def test_more_like_this_is_a_message():
    app = app_with()
    ask(app, "horror")
    assert press(app, "More like this", 0)["messages"][-1] == "Something like Night of the Moth."
    assert len(app.conversation.turns) == 2


def test_more_like_this_waits_for_the_answer(slow):
    slow.submit("horror")
    assert slow.begun.wait(10)
    buttons(slow.widget, "More like this")[0].click()
    assert slow.state()["status"].startswith("Still answering")
    slow.go.set()
    assert slow.wait(10) and slow.state()["messages"] == ["horror"]


def test_retry_answers_the_last_message_as_things_are_chosen_now():
    app = app_with()
    ask(app, "horror")
    ask(app, "a western")
    app.use("F")
    state = press(app, "Retry")
    assert state["messages"] == ["horror", "a western"]
    assert [turn.policy for turn in app.conversation.turns] == ["B", "F"]
    assert state["required"] == ["Western"] and len(state["cards"][1]) == 5


def test_retry_takes_back_the_clicks_after_the_message():
    app = app_with()
    ask(app, "horror")
    press(app, "Not this", 0)
    state = press(app, "Retry")
    assert [choice for _, choice in state["cards"][0]] == [None] * 5
    assert app.conversation.feedback == {}


def test_retry_without_a_message_says_so():
    app = app_with()
    assert not app.retry() and app.state()["status"].startswith("There is no message to answer")


def test_a_retry_that_fails_leaves_the_earlier_answer(monkeypatch):
    app = app_with()
    before = ask(app, "horror")

    def fail(policy, request):
        raise RuntimeError("no memory")

    with monkeypatch.context() as broken:
        broken.setattr(Policy, "select", fail)
        state = press(app, "Retry")
    assert state["cards"] == before["cards"] and state["box"] == ""
    assert state["status"].startswith("That failed (RuntimeError: no memory); the earlier answer")
    assert press(app, "Retry")["status"] == "Answered again"


def test_retry_and_drive_wait_their_turn(slow):
    slow.submit("horror")
    assert slow.begun.wait(10)
    for act in (slow.retry, slow.drive):
        assert not act()
        assert slow.state()["status"] == "Still answering: press Stop first."
