"""The chat driven without a browser: messages, Stop, Retry, Undo, clicks, policies, persons."""

import json
import re
from base64 import b64decode
from unittest.mock import Mock

import pytest

from latentcrs_utils.errors import ConfigError, DataError, MessageError
from latentcrs_utils.widgets.views import EXPLAINED, IDEAS

from .hands import GOOD, app_with, ask, buttons, html, press, shown, tell


def test_it_opens_with_the_person_the_history_and_the_belief():
    app = app_with()
    page = html(app.widget)
    assert app.state() == {
        "status": "Ready", "user": 42, "history": 5, "policy": "B", "box": "", "messages": [],
        "cards": [], "required": [], "driver": "", "busy": False,
        "intents": ["Comedy lovers", "Drama lovers", "Horror lovers", "Western lovers"],
    }  # fmt: skip
    assert "User 42" in page and "liked 5 films, mostly Comedy" in page
    assert page.index("Film Number 28") < page.index("Film Number 24")
    assert "What kind of film" in page and "LatentCRS+ chooses among 40 films of ml-fake" in page
    assert "application/vnd.jupyter.widget-view+json" in str(app._repr_mimebundle_())


def test_a_message_brings_reply_cards_and_bars():
    app = app_with(GOOD)
    state = ask(app, "horror")
    assert state["status"] == "Ready" and state["messages"] == ["horror"]
    assert [title for title, _ in state["cards"][0]][:2] == ["Night of the Moth", "Film Number 6"]
    assert state["intents"][0] == "Horror lovers"
    page, turn = html(app.widget), app.conversation.turns[0]
    assert GOOD in page and "worded by Scripted" in page and "What kind of film" not in page
    assert "1952 · Horror" in page and page.count("Because it is") == 5
    after = app.conversation.intents()["Horror lovers"]
    assert re.search(rf"<b>{round(100 * after)} %</b>, up from 9.6 %", page)
    assert f"{sum(turn.seconds.values()):.1f} s (reading " in page and turn.usage in page


def test_a_refused_message_stays_in_the_box_and_changes_nothing(app):
    app.view.message.value = "   "
    before = app.state()
    assert not app.submit() and re.search('role="alert".* empty', app.view._status.value)
    assert {**app.state(), "status": ""} == {**before, "status": ""}


def test_what_the_page_sends_is_sent_once_and_a_refused_text_is_in_the_box_again(slow):
    app = slow.app
    slow.go.set()
    wire = app.view.wire
    wire.value = json.dumps({"at": 1, "send": "horror"})
    assert app.wait(120) and app.state()["box"] == ""
    assert app.state()["messages"] == ["horror"] and app.state()["status"] == "Ready"
    slow.begin()
    wire.value = json.dumps({"at": 2, "send": "drama"})
    assert app.state()["box"] == "drama" and slow.finish()["messages"] == ["horror", "horror"]


@pytest.mark.parametrize(
    "told", ["", "{", "[]", "7", "null", '"send"', "{}", '{"at": 1}', "[" * 9999]
)
def test_what_the_page_never_says_does_nothing(told, app):
    before = app.state()
    assert not app.hear(told) and app.state() == before


def test_the_kernel_answers_every_beat_with_its_number():
    ping = app_with().view.ping
    for beat in ("17", '"><script>'):
        ping.value = beat
        assert ping.placeholder == beat


def test_cards_appear_while_the_reply_is_written_and_nothing_is_lost_by_acting_then(slow):
    app, idea = slow.app, buttons(slow.app.widget, IDEAS[0])[0]
    app.use("F")
    slow.go.set()
    ask(app, "a western")
    slow.begin()
    state = app.state()
    assert state["status"].startswith("Writing") and len(state["cards"][1]) == 5 and state["busy"]
    app.view.message.value = "impatient"
    assert not app.submit() and app.state()["box"] == "impatient"
    clicks = [buttons(app.widget, name)[0].click for name in ("Western ✕", "More like this")]
    acts = [app.undo, app.clear, app.retry, app.drive, app.export, app.build_history, idea.click]
    for act in (*acts, *clicks, lambda: app.start_as("99"), lambda: app.pick([1])):
        app.view.say("")
        assert not act() and app.state()["status"].startswith("Still answering: wait a moment")
    state = slow.finish()
    assert state["messages"] == ["a western", "horror"] and state["user"] == 42
    assert state["box"] == "impatient" and not state["busy"]
    assert state["required"][0] == "Western" and app.view.downloads.value == ""
    press(app, "Clear")
    idea.click()
    assert app.wait(120) and app.state()["messages"] == [IDEAS[0]]


def test_no_button_ever_goes_dead_and_each_has_a_tip(slow):
    names = ("Edit", "Undo", "Clear", "Retry", "Export", "Start as this user", "Not this",
             "Start without a history", "Build a history", "Like", "More like this")  # fmt: skip
    one = slow.app.view.send  # the same button, so that the focus stays
    assert one.description == "Send"
    for act, words in ((slow.begin, "Stop"), (slow.finish, "Send")):
        act()
        found = [b for name in names for b in buttons(slow.app.widget, name)]
        assert len(found) == 8 + 15 + 4 and all(b.tooltip and not b.disabled for b in [one, *found])
        assert one.description == words and words in one.tooltip


@pytest.mark.parametrize("name", ["Edit", "Undo", "Retry", "Export"])
def test_what_makes_no_sense_yet_is_said_and_does_nothing(name):
    app = app_with()
    before = app.state()
    after = press(app, name)
    assert after["status"].startswith("There is ") and {**after, "status": "Ready"} == before
    assert ask(app, "horror")["status"] == "Ready"


def test_stop_while_writing_keeps_the_films_and_a_click_counts_afterwards(slow):
    app = slow.app
    slow.begin()
    buttons(app.widget, "Like")[0].click()
    assert app.conversation.feedback == {}
    assert app.state()["cards"][0][0] == ("Night of the Moth", "accept")
    buttons(app.widget, "Stop")[0].click()
    assert app.state()["status"] == "Stopping"
    state = slow.finish()
    assert state["status"] == "Stopped" and len(state["cards"][0]) == 5
    assert app.conversation.feedback == {2: "accept"} and "you stopped it" in html(app.widget)
    app.undo()
    assert app.conversation.feedback == {} and len(app.conversation.turns) == 1
    assert ask(app, "western")["status"] == "Ready"


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (None, "Stopped; your message is in the box again."),
        (RuntimeError("<b>"), "That failed (RuntimeError: <b>); your message is in the box again."),
        (MessageError("Nothing is left <b>"), "Nothing is left <b>"),
    ],
)
def test_a_stop_while_reading_and_a_failure_give_the_message_back(error, status):
    app = app_with()
    read = app.model.language.encode
    stopped = error or (lambda texts, **_: app.stop() and read(texts))
    app.model.language.encode = Mock(side_effect=stopped)
    app.view.message.value = "horror"
    state = press(app, "Send")
    assert state["messages"] == [] and state["box"] == "horror"
    assert state["status"].startswith(status)
    assert error is None or "&lt;b&gt;" in html(app.widget)
    app.model.language.encode = read
    assert press(app, "Send")["messages"] == ["horror"]


# Editing, and a talk that comes back


def test_the_last_message_can_be_changed_and_undo_or_a_failure_leaves_it(app, monkeypatch):
    ask(app, "drama")
    before = press(app, "Edit")
    assert before["box"] == "drama" and before["messages"] == ["horror", "drama"]
    assert app.undo() and app.state()["box"] == "" and app.state()["cards"] == before["cards"]
    press(app, "Edit")
    with monkeypatch.context() as broken:
        broken.setattr(app.conversation, "retry", Mock(side_effect=RuntimeError))
        state = ask(app, "western")
    assert state["cards"] == before["cards"] and state["box"] == "drama"
    state = ask(app, "western")  # it is still being changed
    assert state["messages"] == app.conversation.messages == ["horror", "western"]
    assert ask(app, "comedy")["messages"] == ["horror", "western", "comedy"]


def test_an_exported_talk_comes_back_and_undo_brings_the_present_one(app):
    press(app, "Like", 0)
    press(app, "Export")
    before, text = app.state(), next(iter(exported(app).values()))[1]
    assert json.loads(app.view.wire.placeholder) == json.loads(text)
    app.start_as("99")
    assert app.view.wire.placeholder == ""
    ask(app, "western")
    assert tell(app, load=text)
    state = app.state()
    assert state["status"].startswith("Loaded, with messages: 1.")
    assert html(app.widget).count("Because") == 5
    assert {**state, "status": ""} == {**before, "status": ""}
    assert ask(app, "drama")["messages"] == ["horror", "drama"]
    app.undo(), app.undo(), app.undo()
    assert app.undo() and app.state()["messages"] == ["western"] and app.state()["user"] == "99"


@pytest.mark.parametrize("change", [
    lambda t: "", lambda t: "{", lambda t: "[]", lambda t: "7", lambda t: "[" * 9999,
    lambda t: json.dumps({**t, "format": 2}), lambda t: json.dumps({**t, "catalogue": "other"}),
    lambda t: json.dumps({**t, "user": 1000}), lambda t: json.dumps({**t, "user": ["x"]}),
    lambda t: json.dumps({**t, "policy": "X"}), lambda t: json.dumps({**t, "events": [{}]}),
    lambda t: json.dumps({**t, "history": [10**9]}), lambda t: json.dumps({**t, "n_items": "many"}),
    *(lambda t, k=k, v=v: json.dumps({**t, "events": [{"say": {**t["events"][0]["say"], k: v}}]})
      for k, v in [("items", 3), ("seconds", {"x": "y"}), ("message", 7), ("reranked", [99])]),
])  # fmt: skip
def test_what_is_no_talk_is_refused_in_a_sentence_and_changes_nothing(change, app):
    before = app.state()
    assert not app.load(change(app.conversation.transcript()))
    assert "problem" in app.view._status.value and app.state()["status"].endswith(".")
    assert {**app.state(), "status": ""} == {**before, "status": ""}


# Clicks on cards, Undo, Clear, Retry


def test_likes_and_refusals_reach_the_conversation_and_undo_takes_them_back(app):
    press(app, "Like", 0)
    state = press(app, "Not this", 1)
    assert state["cards"][0][:2] == [("Night of the Moth", "accept"), ("Film Number 6", "reject")]
    assert app.conversation.feedback == {2: "accept", 6: "reject"}
    assert len(buttons(app.widget, "Liked")) == len(buttons(app.widget, "Refused")) == 1
    with pytest.raises(DataError):
        app.click("accept", 99)  # it leaves nothing behind
    state = press(app, "Undo")
    assert app.conversation.feedback == {2: "accept"}
    assert state["cards"][0][1] == ("Film Number 6", None)
    assert press(app, "More like this", 0)["messages"][-1] == "Something like Night of the Moth."
    state = press(app, "Undo")
    assert state["messages"] == [turn.message for turn in app.conversation.turns] == ["horror"]
    # what is in the box stays there
    assert app.undo() and app.undo() and app.state()["box"] == "Something like Night of the Moth."


def test_clear_can_be_taken_back(app):
    before = app.state()
    assert press(app, "Clear")["messages"] == [] and app.conversation.turns == []
    app.clear()
    app.undo()
    assert {**app.state(), "status": "Ready"} == before


def test_retry_answers_as_chosen_now_and_a_failed_one_leaves_the_answer(app, monkeypatch):
    before = press(app, "Not this", 0)
    app.use("F")
    with monkeypatch.context() as broken:
        broken.setattr(app.conversation, "say", Mock(side_effect=RuntimeError))
        state = press(app, "Retry")
    assert state["cards"] == before["cards"] and state["box"] == ""
    assert "RuntimeError" in state["status"] and "earlier answer stays" in state["status"]
    state = press(app, "Retry")
    assert state["status"] == "Answered again" and state["required"] == ["Horror"]
    assert state["messages"] == ["horror"] and app.conversation.feedback == {}
    assert [choice for _, choice in state["cards"][0]] == [None] * 5


def test_what_has_left_the_screen_is_closed(app):
    gone = []

    def look(*_, **__):
        gone.append(app.view.turns[-1].widget)
        raise RuntimeError

    for act in (app.retry, app.undo):
        gone.append(app.view.turns[-1].widget)
        assert act() and app.wait(120)
    app.model.language.encode = look
    assert app.submit("western") and app.wait(120)
    assert len(gone) == 3 and all(widget.children for widget in gone)
    assert all(part.comm is None for widget in gone for part in (widget, *widget.children))


# Who is talking


def test_another_person_can_be_chosen_and_an_unknown_one_changes_nothing(app):
    for unknown in ("1000", "<img src=x onerror=alert(1)>"):
        app.view.person.value = unknown
        state = press(app, "Start as this user")
        assert state["status"].startswith("There is no user") and "<img" not in html(app.widget)
        assert state["messages"] == ["horror"] and state["user"] == 42
    assert tell(app, start="99")
    app.view.person.value = "7"  # what losing the focus does
    state = app.state()
    assert state["user"] == "99" and state["messages"] == [] and "User 99" in html(app.widget)
    assert press(app, "Start as this user")["user"] == "7"
    assert press(app, "Start without a history")["user"] is None
    assert "A stranger" in html(app.widget)
    ask(app, "horror")
    assert "No history is known" in html(app.widget)


def test_clicks_make_the_history_and_undo_takes_them_back_and_then_the_beginning(app):
    press(app, "Build a history")
    press(app, "Dust & Thunder (1953)")
    state = press(app, "Film Number 9 (1959)")
    assert app.conversation.history == [3, 9] and (state["user"], state["history"]) == (None, 2)
    assert state["intents"][0] in ("Western lovers", "Drama lovers")
    press(app, "✓ Film Number 9 (1959)")  # a second click takes it out
    assert app.conversation.history == [3]
    app.undo()
    assert app.conversation.history == [] and shown(app.view.picker.widget)
    state = press(app, "Undo")
    assert state["messages"] == ["horror"] and state["user"] == 42
    assert not shown(app.view.picker.widget)


def test_the_first_message_closes_the_picker_and_the_history_counts(app):
    press(app, "Build a history")
    press(app, "Dust & Thunder (1953)")
    assert ask(app, "surprise me")["intents"][0] == "Western lovers"
    assert not shown(app.view.picker.widget)
    app.view.picker.toggle(4)  # a click that was on its way
    assert app.view.picker.picked == app.conversation.history == [3]
    app.clear()
    assert app.state()["messages"] == [] and app.conversation.history == [3]


# Policies and requirements


def test_another_policy_holds_from_the_next_message_on(slow):
    app = slow.app
    slow.begin()
    buttons(app.widget, EXPLAINED["F"])[0].click()
    assert app.state()["status"].startswith("Writing")  # what is under way is not touched
    slow.finish()
    ask(app, "a western")
    app.use("B")
    # no chip promises what does not count
    assert (app.state()["policy"], app.state()["required"]) == ("B", [])
    assert press(app, EXPLAINED["F"])["required"] == ["Western"]
    assert [turn.policy for turn in app.conversation.turns] == ["B", "F"]
    with pytest.raises(ConfigError, match="no policy"):
        app.use("X")
    assert app.state()["policy"] == app.conversation.policy == "F"


def test_requirements_are_chips_that_can_be_taken_back():
    app = app_with(policy="F")
    assert buttons(app.widget, f"✓ {EXPLAINED['F']}")
    state = ask(app, "a western, no horror")
    assert state["required"] == ["Western", "no Horror"]
    assert "you said “western”" in buttons(app.widget, "Western ✕")[0].tooltip
    moved = html(app.view.bars.widget)
    state = press(app, "Western ✕")
    assert state["required"] == ["no Horror"] and "Western" in state["status"]
    # the belief stays, so do its marks
    assert "up from" in moved and html(app.view.bars.widget) == moved
    app.undo()
    assert app.state()["required"] == ["Western", "no Horror"]
    assert not app.withdraw("genre=War") and "not among the requirements" in app.view.status


def test_intents_are_pushed_by_their_buttons_and_undo_takes_that_back(app):
    first, *_, last = app.state()["intents"]
    before = app.conversation.intents()
    state = press(app, "More of this", 3)
    assert app.conversation.intents()[last] > before[last]
    (chosen,) = buttons(app.widget, "✓ More of this")
    assert last in chosen.tooltip and "lcrs-chosen" in chosen._dom_classes
    press(app, "Not this", 5 + state["intents"].index(first))  # after those of the five cards
    assert app.conversation.pushed == {last: True, first: False}
    press(app, "Undo"), press(app, "Undo")
    assert app.conversation.intents() == before and not buttons(app.widget, "✓ More of this")
    assert app.push(first) and not app.push("no such intent")


def test_a_question_is_answered_by_its_button():
    app = app_with(user=None, policy="A")
    ask(app, "a film")
    turn, view = app.conversation.turns[0], app.view.turns[0]
    title = turn.question[1][2]
    assert shown(view.question.widget)
    state = press(app, f"More like {title}")
    assert state["messages"] == ["a film", f"Something like {title}."]
    assert app.conversation.pushed == {app.model.anchors.names[turn.question[1][0]]: True}
    assert not shown(view.question.widget)  # it is answered


def test_who_words_the_replies_can_be_changed_and_stays_so():
    app = app_with(GOOD)
    ask(app, "horror")
    press(app, "facts alone")
    assert ask(app, "horror") and app.conversation.turns[-1].reply_source == "template"
    app.clear()
    assert app.conversation.wording == app.view.wording.value == "template"
    press(app, "in Scripted's words, checked")
    assert app.conversation.wording == "model"
    assert (app.undo(), app.conversation.wording, app.view.wording.value)[1:] == ("template",) * 2


# The simulated user at the wheel


def test_one_step_is_one_message_of_somebody_else():
    app = app_with(n_items=1)  # user 42's simulated self finds its film in the third turn
    ask(app, "horror")
    asked = press(app, "One step")  # in a conversation of its own, so it asks
    assert asked["messages"] == ["horror"] and "press again" in asked["status"]
    press(app, "Like")  # another talk than the one that was asked about
    assert press(app, "Run to the end")["messages"] == ["horror"]
    state = press(app, "One step")
    assert len(state["messages"]) == 1 and state["messages"][0] not in ("", "horror")
    assert [turn.message for turn in app.conversation.turns] == state["messages"]
    assert app.view.driver.autopilot.goal not in state["driver"]
    # what it did not look for it refuses
    assert [choice for _, choice in state["cards"][0]] == ["reject"]
    assert len(press(app, "One step")["messages"]) == 2


def test_it_goes_to_the_end_also_after_a_stop_and_the_next_one_begins_anew():
    app = app_with(n_items=1)
    read = app.model.language.encode

    def stopped(texts, progress=None):
        if len(app.conversation.turns) == 1:
            app.stop()
        return read(texts)

    app.model.language.encode = stopped
    state = press(app, "Run to the end")
    assert len(state["messages"]) == len(app.view.turns) == 1
    assert state["status"] == "Stopped; the next step says it again."
    app.model.language.encode, pilot = read, app.view.driver.autopilot
    message = pilot.next_message()
    state = press(app, "Run to the end")
    assert pilot.outcome and state["messages"][1] == message
    assert len(state["messages"]) == len(app.view.turns) == pilot.n_turns > 1
    assert state["status"] == "Ready" and pilot.goal in state["driver"]
    assert len(pilot.places) == pilot.n_turns - 1
    assert [t for t, choice in state["cards"][-1] if choice == "accept"] == ["Film Number 32"]
    assert len(press(app, "One step")["messages"]) == 1
    while app.state()["messages"] != state["messages"]:
        assert app.undo()


@pytest.mark.parametrize("act", ["submit", "undo", "retry", "clear"])
def test_whoever_takes_over_sends_it_away(act):
    app = app_with(n_items=1, user=None)
    press(app, "One step")
    app.submit("horror") if act == "submit" else getattr(app, act)()
    assert app.wait(120)
    assert "has left" in app.state()["driver"] and app.view.driver.autopilot is None
    assert "1 turn of at most 5" in (app.drive(sure=True), app.wait(120), app.state())[2]["driver"]


# The transcript as two files that the page itself holds


def exported(app) -> dict[str, tuple[str, str, str]]:
    """By file name: kind, what the link says, the file's text."""
    link = r'<a href="data:([\w/]+);charset=utf-8;base64,([^"]+)" download="([^"]+)">([^<]+)'
    found = re.findall(link, app.view.downloads.value)
    return {name: (kind, b64decode(code).decode(), words) for kind, code, name, words in found}


def test_both_files_hold_the_conversation_under_a_harmless_name():
    app = app_with()
    ask(app, "horror 🍿 <b>")
    press(app, "Like", 0)
    for user, name in ((None, "stranger"), ('../a"b', "user--a-b"), (42, "user-42")):
        app.conversation.user = user
        press(app, "Export")
        (one, as_json), (other, as_markdown) = exported(app).items()
        assert (one, other) == (f"latentcrs-{name}.json", f"latentcrs-{name}.md")
    assert as_json[0] == "application/json" and as_markdown[0] == "text/markdown"
    assert json.loads(as_json[1]) == app.conversation.transcript()
    assert as_markdown[1] == app.conversation.markdown()


def test_the_files_go_as_soon_as_the_conversation_goes_on(slow):
    app = slow.app
    slow.go.set()
    ask(app, "horror")
    for act in (lambda: press(app, "Not this", 0), app.undo, slow.begin):
        press(app, "Export")
        assert len(exported(app)) == 2
        act()
        assert exported(app) == {}
