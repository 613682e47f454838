"""The chat view, driven without a browser."""

import re
import threading

import pytest

from latentcrs_utils.widgets.app import IDEAS, ChatApp
from tests.conversation.fakes import FakeModel

from .hands import GOOD, app_with, ask, buttons, html, sent


def test_it_opens_with_the_person_the_history_and_the_belief():
    app = app_with()
    page = html(app.widget)
    assert app.state() == {
        "status": "Ready",
        "user": 42,
        "history": 5,
        "policy": "B",
        "box": "",
        "messages": [],
        "cards": [],
        "required": [],
        "driver": "",
        "intents": ["Comedy lovers", "Drama lovers", "Horror lovers", "Western lovers"],
        "busy": False,
    }
    assert "User 42" in page and "liked 5 films, mostly Comedy" in page
    assert page.index("Film Number 28") < page.index("Film Number 24")
    assert "What kind of film are you in the mood for?" in page
    assert "FakeCRS chooses among 40 films of ml-fake" in page


def test_a_message_brings_reply_cards_and_bars():
    app = app_with(GOOD)
    state = ask(app, "horror")
    assert state["status"] == "Ready" and state["messages"] == ["horror"]
    assert [title for title, _ in state["cards"][0]][:2] == ["Night of the Moth", "Film Number 6"]
    assert state["intents"][0] == "Horror lovers"
    page = html(app.widget)
    assert GOOD in page and "worded by Scripted" in page
    assert "1952 · Horror" in page and "no further facts" not in page
    after = app.conversation.intents()["Horror lovers"]
    assert re.search(rf"<b>{round(100 * after)} %</b>, up from 17 %", page)
    assert "What kind of film" not in page


def test_the_template_says_why_it_speaks():
    app = app_with("Watch Heat.")
    ask(app, "horror")
    page = html(app.widget)
    assert "plain template instead of Scripted: it named a film that was not chosen (Heat)" in page
    assert "Watch Heat." not in page


@pytest.mark.parametrize(
    ("message", "reason"),
    [("", "empty"), ("   ", "empty"), ("y" * 10_000, "10,000 characters and the limit is 2,000")],
)
def test_a_refused_message_stays_in_the_box(message, reason):
    app = app_with()
    app.screen.message.value = message
    assert not app.submit()
    state = app.state()
    assert reason in state["status"] and state["box"] == message and state["messages"] == []


def test_only_enter_sends_and_leaving_the_box_does_not():
    app = app_with()
    app.screen.message.value = "horror"  # what losing the focus does
    assert app.state()["messages"] == [] and not app.busy
    app.screen.message.value = ""
    # what Enter does: first the key, then the text that it confirms
    app.screen.message._handle_custom_msg({"event": "submit"}, [])
    app.screen.message.value = "western"
    assert app.wait(10)
    for timer in [t for t in threading.enumerate() if isinstance(t, threading.Timer)]:
        timer.join(10)
    assert app.wait(10)
    assert app.state()["messages"] == ["western"] and app.state()["box"] == ""
    assert app.state()["status"] == "Ready"  # a second submit would have found the box empty


def test_enter_sends_unchanged_text_too_and_only_once():
    app = app_with()
    app.screen.message.value = "drama"
    app.screen.message._handle_custom_msg({"event": "submit"}, [])
    waiting = [t for t in threading.enumerate() if isinstance(t, threading.Timer)]
    for timer in waiting:
        timer.join(10)
    assert app.wait(10)
    assert app.state()["messages"] == ["drama"]


def test_the_send_button_sends_the_box():
    app = app_with()
    app.screen.message.value = "drama"
    app.screen.send.click()
    assert app.wait(10)
    assert app.state()["messages"] == ["drama"]


def test_an_idea_is_sent_by_its_button():
    app = app_with(ideas=["a western please"])
    buttons(app.widget, "a western please")[0].click()
    assert app.wait(10)
    assert app.state()["messages"] == ["a western please"]


def test_the_focus_moves_to_the_message_box_when_an_idea_leaves_the_screen():
    app = app_with(ideas=["a western please"])
    messages = sent(app.screen.message)
    buttons(app.widget, "a western please")[0].click()
    assert app.wait(10)
    assert messages == [{"do": "focus"}]


def test_a_refused_idea_leaves_the_focus_where_it_is(slow):
    messages = sent(slow.screen.message)
    idea = buttons(slow.widget, IDEAS[0])[0]
    slow.submit("horror")
    assert slow.begun.wait(10)
    idea.click()
    assert messages == [] and slow.state()["status"].startswith("Still answering")


def test_enter_in_the_box_of_the_person_starts_as_this_user():
    app = app_with()
    # what Enter does: first the key, then the text that it confirms
    app.screen.person._handle_custom_msg({"event": "submit"}, [])
    app.screen.person.value = "99"
    for timer in [t for t in threading.enumerate() if isinstance(t, threading.Timer)]:
        timer.join(10)
    assert app.state()["user"] == "99"
    app.screen.person.value = "7"  # what losing the focus does
    assert app.state()["user"] == "99"


def test_both_boxes_have_labels():
    app = app_with()
    assert app.screen.person.description == "Talk as user"
    assert app.screen.message.description == "Your message"


def test_a_screen_reader_hears_the_whole_turn_once_it_is_done(slow):
    def alerts():
        return [part for part in html(slow.widget).split("<div ") if 'role="alert"' in part]

    slow.submit("horror")
    assert slow.begun.wait(10) and alerts() == []
    slow.go.set()
    assert slow.wait(10)
    (heard,) = alerts()
    assert GOOD in heard and "Film Number 6 (1956)" in heard
    slow.submit(" ")
    assert any("The message is empty" in alert for alert in alerts())
    assert 'role="status"' not in html(slow.widget)
    slow.clear()
    assert alerts() == [] and 'role="status"' in html(slow.widget)


def test_cards_appear_while_the_reply_is_written_and_a_second_message_waits(slow):
    assert slow.submit("horror") and slow.begun.wait(10)
    state = slow.state()
    assert state["status"].startswith("Writing") and len(state["cards"][0]) == 5 and state["busy"]
    slow.screen.message.value = "impatient"
    assert not slow.submit()
    assert slow.state()["status"].startswith("Still answering")
    assert slow.state()["box"] == "impatient"
    slow.go.set()
    assert slow.wait(10)
    assert slow.state()["messages"] == ["horror"] and not slow.state()["busy"]


def test_stop_while_writing_keeps_the_films(slow):
    slow.submit("horror")
    assert slow.begun.wait(10)
    slow.screen.stop.click()
    assert slow.state()["status"] == "Stopping"
    slow.go.set()
    assert slow.wait(10)
    state = slow.state()
    assert state["status"] == "Stopped" and len(state["cards"][0]) == 5
    assert "you stopped it" in html(slow.widget)
    assert ask(slow, "western")["status"] == "Ready"


def test_stop_without_an_answer_does_nothing():
    app = app_with()
    app.screen.stop.click()
    assert app.state()["status"] == "There is nothing to stop."
    assert ask(app, "horror")["status"] == "Ready"


def test_no_button_ever_goes_dead_and_drops_the_keyboard_focus(slow):
    def all_enabled():
        names = ("Send", "Stop", "Undo", "Clear", "Like", "Liked", "Not this", "Refused")
        return not any(b.disabled for name in names for b in buttons(slow.widget, name))

    assert all_enabled() and "lcrs-off" in slow.screen.stop._dom_classes
    slow.submit("horror")
    assert slow.begun.wait(10) and all_enabled()
    assert "lcrs-off" not in slow.screen.stop._dom_classes
    slow.go.set()
    slow.wait(10)
    slow.click("accept", 2)
    assert all_enabled() and "lcrs-off" in slow.screen.stop._dom_classes


def test_stop_while_reading_gives_the_message_back():
    app = app_with()
    read, begun, go = app.model.language.encode, threading.Event(), threading.Event()

    def slow_read(texts, progress=None):
        begun.set()
        assert go.wait(10)
        return read(texts)

    app.model.language.encode = slow_read
    app.screen.message.value = "horror"
    app.submit()
    assert begun.wait(10)
    app.stop()
    go.set()
    assert app.wait(10)
    state = app.state()
    assert state["messages"] == [] and state["box"] == "horror"
    assert state["status"] == "Stopped; your message is in the box again."


def test_a_failure_gives_the_message_back_and_says_what_happened():
    app = app_with()
    encode = app.model.language.encode

    def fail(texts, progress=None):
        raise RuntimeError("no memory <b>left</b>")

    app.model.language.encode = fail
    app.submit("horror")
    assert app.wait(10)
    state = app.state()
    assert state["box"] == "horror" and state["messages"] == []
    assert state["status"] == "That failed (RuntimeError: no memory <b>left</b>); " + (
        "your message is in the box again. Try again, or choose policy B."
    )
    assert "&lt;b&gt;left" in html(app.widget)
    app.model.language.encode = encode
    assert ask(app, "horror")["status"] == "Ready"


def test_likes_and_refusals_reach_the_conversation_and_undo_takes_them_back():
    app = app_with()
    ask(app, "horror")
    buttons(app.widget, "Like")[0].click()
    buttons(app.widget, "Not this")[1].click()
    state = app.state()
    assert state["cards"][0][:2] == [("Night of the Moth", "accept"), ("Film Number 6", "reject")]
    assert app.conversation.feedback == {2: "accept", 6: "reject"}
    assert state["status"] == "Noted: Film Number 6 (1956). It is not offered again."
    assert len(buttons(app.widget, "Liked")) == len(buttons(app.widget, "Refused")) == 1
    app.screen.undo.click()
    assert app.conversation.feedback == {2: "accept"}
    assert app.state()["cards"][0][1] == ("Film Number 6", None)
    assert app.state()["status"] == "Taken back: your click on Film Number 6 (1956)."


def test_a_click_during_writing_counts_afterwards(slow):
    slow.submit("horror")
    assert slow.begun.wait(10)
    buttons(slow.widget, "Like")[0].click()
    assert slow.conversation.feedback == {}
    assert slow.state()["cards"][0][0] == ("Night of the Moth", "accept")
    slow.go.set()
    assert slow.wait(10)
    assert slow.conversation.feedback == {2: "accept"}
    slow.undo()
    assert slow.conversation.feedback == {} and len(slow.conversation.turns) == 1


def test_undo_brings_message_then_nothing():
    app = app_with()
    ask(app, "horror")
    app.undo()
    state = app.state()
    assert state["messages"] == [] and state["box"] == "horror"
    assert app.conversation.turns == []
    app.undo()
    assert app.state()["status"] == "There is nothing to take back."


def test_clear_can_be_taken_back():
    app = app_with()
    before = ask(app, "horror")
    app.screen.clear.click()
    assert app.state()["messages"] == [] and app.conversation.turns == []
    app.clear()
    app.undo()
    assert app.state()["messages"] == before["messages"]
    assert app.state()["cards"] == before["cards"]
    assert [turn.message for turn in app.conversation.turns] == ["horror"]


def test_another_person_can_be_chosen_and_an_unknown_one_changes_nothing():
    app = app_with()
    before = ask(app, "horror")
    app.screen.person.value = "1000"
    buttons(app.widget, "Start as this user")[0].click()
    state = app.state()
    assert state["status"].startswith("There is no user '1000' in ml-fake")
    assert state["messages"] == before["messages"] and state["user"] == 42
    app.screen.person.value = "99"
    buttons(app.widget, "Start as this user")[0].click()
    assert app.state()["user"] == "99" and app.state()["messages"] == []
    assert "User 99" in html(app.widget)
    buttons(app.widget, "Start without a history")[0].click()
    assert app.state()["user"] is None and "A stranger" in html(app.widget)
    ask(app, "horror")
    assert "No history is known" in html(app.widget)


def test_nothing_is_lost_by_acting_while_busy(slow):
    slow.submit("horror")
    assert slow.begun.wait(10)
    for act in (slow.undo, slow.clear, lambda: slow.start_as("99")):
        act()
        assert slow.state()["status"] == "Still answering: press Stop first."
    slow.go.set()
    assert slow.wait(10)
    assert slow.state()["messages"] == ["horror"] and slow.state()["user"] == 42


def test_an_exhausted_catalogue_gives_the_message_back():
    app = ChatApp(FakeModel(n_items=33), chat_model=None, n_items=33)
    ask(app, "everything")
    app.submit("more")
    assert app.wait(10)
    assert app.state()["status"].startswith("Nothing is left to offer")
    assert app.state()["box"] == "more" and app.state()["messages"] == ["everything"]


def test_the_app_shows_itself_as_a_widget():
    bundle = app_with()._repr_mimebundle_()
    data = bundle[0] if isinstance(bundle, tuple) else bundle
    assert "application/vnd.jupyter.widget-view+json" in data


def test_buttons_have_words_and_explanations():
    app = app_with()
    ask(app, "horror")
    names = ["Send", "Stop", "Undo", "Clear", "Start as this user", "Start without a history"]
    for name in [*names, "Like", "Not this"]:
        for button in buttons(app.widget, name):
            assert button.tooltip
    assert len(buttons(app.widget, "Like")) == 5
