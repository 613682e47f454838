"""The chat driven without a browser: messages, Stop, Retry, Undo, clicks, policies, persons."""

import json
import re
import threading
from base64 import b64decode
from unittest.mock import Mock

import pytest

from latentcrs_utils.config import RerankConfig
from latentcrs_utils.constraints.extraction import make_extractor
from latentcrs_utils.conversation.session import Conversation
from latentcrs_utils.errors import ConfigError, DataError, MessageError
from latentcrs_utils.widgets.app import ChatApp
from latentcrs_utils.widgets.views import EXPLAINED, IDEAS
from tests.conversation.fakes import FakeChatModel, FakeScorer, fake_model

from .hands import GOOD, app_with, ask, buttons, enter, html, press, sent, shown

BUSY = "Still answering: wait a moment, or press Stop."


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
    assert f"{sum(turn.seconds.values()):.1f} s (reading " in page
    assert f"50 tokens read, {turn.completion_tokens} written" in page


@pytest.mark.parametrize(
    ("message", "reason"),
    [("", "empty"), ("   ", "empty"), ("y" * 10_000, "10,000 characters and the limit is 2,000")],
)
def test_a_refused_message_stays_in_the_box_and_changes_nothing(app, message, reason):
    app.view.message.value = message
    before = app.state()
    assert not app.submit() and reason in app.state()["status"]
    assert {**app.state(), "status": ""} == {**before, "status": ""}


@pytest.mark.parametrize("text", ["western", None])
def test_enter_sends_once_and_leaving_the_box_does_not(text):
    app = app_with()
    app.view.message.value = "horror"  # what losing the focus does
    assert app.state()["messages"] == [] and not app.busy
    enter(app.view.message, text)
    assert app.wait(10)
    # a second submit would have found the box empty and said so
    assert app.state()["messages"] == [text or "horror"] and app.state()["status"] == "Ready"
    assert app.state()["box"] == ""


def test_the_focus_moves_to_the_message_box_when_an_idea_leaves_the_screen(slow):
    messages, idea = sent(slow.app.view.message), buttons(slow.app.widget, IDEAS[0])[0]
    slow.begin()
    idea.click()
    assert messages == [] and slow.app.state()["status"] == BUSY
    slow.finish()
    press(slow.app, "Clear")
    assert press(slow.app, IDEAS[0])["messages"] == [IDEAS[0]] and messages == [{"do": "focus"}]


def test_a_screen_reader_hears_the_whole_turn_once_it_is_done(slow):
    def alerts():
        return [part for part in html(slow.app.widget).split("<div ") if 'role="alert"' in part]

    slow.begin()
    assert alerts() == []
    slow.finish()
    (heard,) = alerts()
    assert GOOD in heard and "Film Number 6 (1956)" in heard
    slow.app.submit(" ")
    assert any("The message is empty" in alert for alert in alerts())
    slow.app.clear()
    assert alerts() == [] and 'role="status"' in html(slow.app.widget)


def test_cards_appear_while_the_reply_is_written_and_nothing_is_lost_by_acting_then(slow):
    app = slow.app
    app.use("F")
    slow.go.set()
    ask(app, "a western")
    slow.begin()
    state = app.state()
    assert state["status"].startswith("Writing") and len(state["cards"][1]) == 5 and state["busy"]
    app.view.message.value = "impatient"
    assert not app.submit() and app.state()["box"] == "impatient"
    chip, more = (buttons(app.widget, name)[0] for name in ("Western ✕", "More like this"))
    acts = [app.undo, app.clear, app.retry, app.drive, app.export, app.build_history]
    for act in (*acts, lambda: app.start_as("99"), lambda: app.pick([1]), chip.click, more.click):
        app.view.say("")
        assert not act() and app.state()["status"] == BUSY
    state = slow.finish()
    assert state["messages"] == ["a western", "horror"] and state["user"] == 42
    assert state["box"] == "impatient" and not state["busy"]
    assert state["required"][0] == "Western" and app.view.downloads.value == ""


def test_no_button_ever_goes_dead_and_each_has_a_tip(slow):
    names = ("Send", "Stop", "Undo", "Clear", "Retry", "Export", "Start as this user", "Not this",
             "Start without a history", "Build a history", "Like", "More like this")  # fmt: skip
    app, stop = slow.app, slow.app.view.stop
    for step in ("before", "while", "after"):
        if step != "before":
            slow.begin() if step == "while" else slow.finish()
            found = [b for name in names for b in buttons(app.widget, name)]
            assert len(found) == 9 + 15 and not any(b.disabled for b in found)
            assert all(b.tooltip for b in found)
        assert ("lcrs-off" in stop._dom_classes) == (step != "while")


@pytest.mark.parametrize("name", ["Stop", "Undo", "Retry", "Export"])
def test_what_makes_no_sense_yet_is_said_and_does_nothing(name):
    app = app_with()
    before = app.state()
    after = press(app, name)
    assert after["status"].startswith("There is ") and {**after, "status": "Ready"} == before
    assert ask(app, "horror")["status"] == "Ready"


# Stop, and what goes wrong


def test_stop_while_writing_keeps_the_films(slow):
    slow.begin()
    buttons(slow.app.widget, "Stop")[0].click()
    assert slow.app.state()["status"] == "Stopping"
    state = slow.finish()
    assert state["status"] == "Stopped" and len(state["cards"][0]) == 5
    assert "you stopped it" in html(slow.app.widget)
    assert ask(slow.app, "western")["status"] == "Ready"


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

    def stop_or_fail(texts, progress=None):
        if error is not None:
            raise error
        app.stop()
        return read(texts)

    app.model.language.encode = stop_or_fail
    app.view.message.value = "horror"
    state = press(app, "Send")
    assert state["messages"] == [] and state["box"] == "horror"
    assert state["status"].startswith(status)
    assert error is None or "&lt;b&gt;" in html(app.widget)
    app.model.language.encode = read
    assert press(app, "Send")["messages"] == ["horror"]


# Clicks on cards, Undo, Clear, Retry


def test_likes_and_refusals_reach_the_conversation_and_undo_takes_them_back(app):
    press(app, "Like", 0)
    state = press(app, "Not this", 1)
    assert state["cards"][0][:2] == [("Night of the Moth", "accept"), ("Film Number 6", "reject")]
    assert app.conversation.feedback == {2: "accept", 6: "reject"}
    assert state["status"].startswith("Noted: Film Number 6 (1956).")
    assert len(buttons(app.widget, "Liked")) == len(buttons(app.widget, "Refused")) == 1
    with pytest.raises(DataError):
        app.click("accept", 99)  # it leaves nothing behind
    state = press(app, "Undo")
    assert app.conversation.feedback == {2: "accept"}
    assert state["cards"][0][1] == ("Film Number 6", None)
    assert state["status"].startswith("Taken back: your click on Film Number 6")
    app.undo()
    state = press(app, "Undo")
    assert state["messages"] == [] == app.conversation.turns and state["box"] == "horror"
    ask(app, "horror")
    assert press(app, "More like this", 0)["messages"][-1] == "Something like Night of the Moth."


def test_a_click_during_writing_counts_afterwards(slow):
    slow.begin()
    buttons(slow.app.widget, "Like")[0].click()
    assert slow.app.conversation.feedback == {}
    assert slow.app.state()["cards"][0][0] == ("Night of the Moth", "accept")
    slow.finish()
    assert slow.app.conversation.feedback == {2: "accept"}
    slow.app.undo()
    assert slow.app.conversation.feedback == {} and len(slow.app.conversation.turns) == 1


def test_clear_can_be_taken_back(app):
    before = app.state()
    assert press(app, "Clear")["messages"] == [] and app.conversation.turns == []
    app.clear()
    app.undo()
    assert {**app.state(), "status": "Ready"} == before
    assert [turn.message for turn in app.conversation.turns] == ["horror"]


def test_retry_answers_the_last_message_as_things_are_chosen_now_and_drops_later_clicks(app):
    ask(app, "a western")
    press(app, "Not this", 5)
    app.use("F")
    state = press(app, "Retry")
    assert state["messages"] == ["horror", "a western"] and state["required"] == ["Western"]
    assert [turn.policy for turn in app.conversation.turns] == ["B", "F"]
    assert [choice for _, choice in state["cards"][1]] == [None] * 5
    assert app.conversation.feedback == {}


def test_a_retry_that_fails_leaves_the_earlier_answer(app, monkeypatch):
    before = app.state()
    with monkeypatch.context() as broken:
        broken.setattr(app.conversation, "say", Mock(side_effect=RuntimeError))
        state = press(app, "Retry")
    assert state["cards"] == before["cards"] and state["box"] == ""
    assert "RuntimeError" in state["status"] and "earlier answer stays" in state["status"]
    assert press(app, "Retry")["status"] == "Answered again"


def test_what_has_left_the_screen_is_closed(app):
    gone = []

    def look(*_, **__):
        gone.append(app.view.turns[-1].widget)
        raise RuntimeError

    for act in (app.retry, app.undo):
        gone.append(app.view.turns[-1].widget)
        assert act() and app.wait(10)
    app.model.language.encode = look
    assert app.submit("western") and app.wait(10)
    assert len(gone) == 3 and all(widget.children for widget in gone)
    assert all(part.comm is None for widget in gone for part in (widget, *widget.children))


# Who is talking


def test_another_person_can_be_chosen_and_an_unknown_one_changes_nothing(app):
    before = app.state()
    for unknown in ("1000", "<img src=x onerror=alert(1)>"):
        app.view.person.value = unknown
        state = press(app, "Start as this user")
        assert state["status"].startswith("There is no user") and "<img" not in html(app.widget)
        assert state["messages"] == before["messages"] and state["user"] == 42
    app.view.person.value = "7"
    assert press(app, "Start as this user")["user"] == "7"
    enter(app.view.person, "99")
    app.view.person.value = "7"  # what losing the focus does
    state = app.state()
    assert state["user"] == "99" and state["messages"] == [] and "User 99" in html(app.widget)
    assert press(app, "Start without a history")["user"] is None
    assert "A stranger" in html(app.widget)
    ask(app, "horror")
    assert "No history is known" in html(app.widget)


def test_clicks_make_the_history_and_the_belief_follows(app):
    state = press(app, "Build a history")
    assert state["user"] is None and state["history"] == 0
    press(app, "Dust & Thunder (1953)")
    state = press(app, "Film Number 9 (1959)")
    assert app.conversation.history == [3, 9] and state["history"] == 2
    assert state["status"] == "Your history has 2 films."
    assert state["intents"][0] in ("Western lovers", "Drama lovers")
    page = html(app.widget)
    assert "You</bdi></strong> liked 2 films, mostly" in page and "up from" in page
    press(app, "Heat (1954)")
    press(app, "✓ Film Number 9 (1959)")  # a second click takes it out
    press(app, "Dust & Thunder (1953) ✕")  # and so does its chip
    assert app.conversation.history == [4]


def test_the_first_message_closes_the_picker_and_the_history_counts(app):
    press(app, "Build a history")
    press(app, "Dust & Thunder (1953)")
    state = ask(app, "surprise me")
    assert not shown(app.view.picker.widget)
    assert state["intents"][0] == "Western lovers"
    app.view.picker.toggle(4)  # a click that was on its way
    assert app.view.picker.picked == app.conversation.history == [3]
    assert "The conversation has begun" in app.state()["status"]
    for _ in range(2):
        app.clear()
        assert app.state()["messages"] == [] and app.conversation.history == [3]


def test_undo_takes_back_picks_and_then_the_beginning(app):
    press(app, "Build a history")
    press(app, "Dust & Thunder (1953)")
    app.undo()
    assert app.conversation.history == [] and shown(app.view.picker.widget)
    state = press(app, "Undo")
    assert state["messages"] == ["horror"] and state["user"] == 42
    assert not shown(app.view.picker.widget)


# Policies and requirements


def test_another_policy_holds_from_the_next_message_on(slow):
    app = slow.app
    slow.begin()
    buttons(app.widget, EXPLAINED["F"])[0].click()
    assert app.state()["status"].startswith("Writing")  # what is under way is not touched
    slow.finish()
    ask(app, "a western")
    assert app.state()["required"] == ["Western"]
    app.use("B")
    assert app.state()["policy"] == "B" and "policy B" in app.state()["status"]
    assert app.state()["required"] == []  # no chip promises what does not count
    press(app, EXPLAINED["F"])
    assert app.state()["required"] == ["Western"] and "lexicon" in app.state()["status"]
    assert [turn.policy for turn in app.conversation.turns] == ["B", "F"]
    assert "policy F" in html(app.widget)


def test_the_app_can_begin_with_another_policy_and_there_is_no_fourth():
    app = app_with(policy="F")
    assert buttons(app.widget, f"✓ {EXPLAINED['F']}")
    for choose in (app.use, lambda policy: app_with(policy=policy)):
        with pytest.raises(ConfigError, match="no policy"):
            choose("X")
    assert app.state()["policy"] == app.conversation.policy == "F"


def test_requirements_are_chips_that_can_be_taken_back():
    app = app_with(policy="F")
    state = ask(app, "a western, no horror")
    assert state["required"] == ["Western", "no Horror"]
    assert "you said “western”" in buttons(app.widget, "Western ✕")[0].tooltip
    moved = app.view.bars.value
    state = press(app, "Western ✕")
    assert state["required"] == ["no Horror"] and "Western" in state["status"]
    assert "up from" in moved and app.view.bars.value == moved  # the belief stays, so do its marks
    app.undo()
    assert app.state()["required"] == ["Western", "no Horror"]
    press(app, "Western ✕")
    ask(app, "surprise me")
    held = [r.constraint.label for r in app.conversation.turns[-1].requirements]
    assert held == ["no Horror"] and app.withdraw("not genre=Horror")
    assert not app.withdraw("genre=War") and "not among the requirements" in app.view.status


def test_what_was_relaxed_is_told_above_the_cards_on_the_cards_and_aloud():
    app = app_with(policy="F")
    ask(app, "a western comedy from 1951")
    page, turn = html(app.widget), app.conversation.turns[0]
    assert turn.relaxed and "lcrs-note lcrs-relaxed" in page
    assert page.count("lcrs-why lcrs-misses") == 5
    assert turn.note and turn.note in app.view.heard.value
    assert "Held to: Western (“western”)" in page


@pytest.mark.parametrize(
    ("policy", "setting", "told"),
    [
        ("V", {}, f"best {RerankConfig().n_candidates},"),
        (
            "V",
            {"rerank": RerankConfig(n_candidates=7)},
            "Scripted re-orders the recommender's best 7,",
        ),
        ("V", {"rerank": RerankConfig(n_candidates=2)}, "best 5,"),  # at least what it offers
        ("V", {"chat_model": None}, "It has B's order: no language model."),
        ("F", {"extractor": "both"}, "read by a lexicon and Scripted,"),
        ("F", {"extractor": "model"}, "read by Scripted,"),
        ("F", {"extractor": "both", "chat_model": None}, "read by a lexicon,"),
        ("F", {"extractor": make_extractor(fake_model().data)}, "read by a reader of yours,"),
    ],
)
def test_the_status_tells_what_a_policy_will_do(policy, setting, told):
    app = ChatApp(fake_model(), **{"chat_model": FakeChatModel(), **setting})
    app.use(policy)
    assert told in app.state()["status"]


def test_v_says_that_it_re_ordered_and_counts_its_tokens():
    chat_model = FakeScorer(GOOD, words=("Night",))
    app = ChatApp(fake_model(), user=42, chat_model=chat_model, policy="V")
    ask(app, "horror")
    page, turn = html(app.widget), app.conversation.turns[0]
    assert turn.reranked and "Re-ordered" in page
    assert turn.choosing_tokens[0] > 0  # for its order, beside the 50 of the reply
    assert f"{turn.choosing_tokens[0] + 50:,} tokens read" in page


# The simulated user at the wheel


def test_one_step_is_one_message_of_somebody_else():
    app = app_with(n_items=1)  # user 42's simulated self finds its film in the third turn
    ask(app, "horror")
    state = press(app, "One step")  # in a conversation of its own
    assert len(state["messages"]) == 1 and state["messages"][0] not in ("", "horror")
    assert [turn.message for turn in app.conversation.turns] == state["messages"]
    assert "1 turn of at most 5" in state["driver"] and "Simulated user" in html(app.widget)
    # what it did not look for it refuses
    assert [choice for _, choice in state["cards"][0]] == ["reject"]
    goal = app.view.driver.autopilot.goal
    assert goal == "Film Number 32 (1982)" and goal not in state["driver"]
    assert len(press(app, "One step")["messages"]) == 2


def test_to_the_end_it_goes_by_itself_and_the_next_one_begins_anew():
    app = app_with(n_items=1)
    first = press(app, "Run to the end")
    pilot = app.view.driver.autopilot
    assert pilot.outcome and len(first["messages"]) == pilot.n_turns > 1
    assert first["status"] == "Ready" and pilot.goal in first["driver"]
    assert [t for t, choice in first["cards"][-1] if choice == "accept"] == ["Film Number 32"]
    assert len(app.view.turns) == len(app.conversation.turns)
    assert len(press(app, "One step")["messages"]) == 1
    while app.state()["messages"] != first["messages"]:
        assert app.undo()


@pytest.mark.parametrize("act", ["submit", "undo", "retry", "clear"])
def test_whoever_takes_over_sends_it_away(act):
    app = app_with(n_items=1, user=None)
    press(app, "One step")
    app.submit("horror") if act == "submit" else getattr(app, act)()
    assert app.wait(10)
    assert "has left" in app.state()["driver"] and app.view.driver.autopilot is None
    assert "1 turn of at most 5" in press(app, "One step")["driver"]


@pytest.mark.parametrize("after", [0, 1])
def test_stopped_on_the_way_it_says_the_same_again(after):
    app = app_with(n_items=1)
    read, said = app.model.language.encode, []

    def stopped(texts, progress=None):
        if len(app.conversation.turns) == after:
            said.append(texts[-1])
            app.stop()
        return read(texts)

    app.model.language.encode = stopped
    state = press(app, "Run to the end")
    assert len(state["messages"]) == len(app.view.turns) == after
    assert state["status"] == "Stopped; the next step says it again."
    app.model.language.encode = read
    state = press(app, "Run to the end")
    assert said[0].endswith(state["messages"][after])
    assert len(state["messages"]) == app.view.driver.autopilot.n_turns > after


def test_nobody_to_simulate_is_said_in_a_sentence():
    app = app_with()
    app.model.data.titles[32] = "Unknown title"  # what user 42 would look for
    assert not app.drive()
    assert app.state()["status"].startswith("What user 42 has in mind can no longer be offered")
    assert app.state()["messages"] == [] and not app.busy


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
    press(app, "Export")
    (one, as_json), (other, as_markdown) = exported(app).items()
    assert (one, other) == ("latentcrs-user-42.json", "latentcrs-user-42.md")
    assert as_json[::2] == ("application/json", "Download JSON")
    again = Conversation.from_transcript(app.model, json.loads(as_json[1]), chat_model=None)
    assert again.turns == app.conversation.turns and again.feedback == app.conversation.feedback
    assert as_markdown[::2] == ("text/markdown", "Download Markdown")
    assert "Night of the Moth" in as_markdown[1] and "<b>" not in as_markdown[1]
    for user, name in ((None, "stranger"), ('../a"b', "user--a-b")):
        app.conversation.user = user
        press(app, "Export")
        assert f"latentcrs-{name}.json" in exported(app)


def test_the_files_go_as_soon_as_the_conversation_goes_on(slow):
    app = slow.app
    slow.go.set()
    ask(app, "horror")
    for act in (lambda: press(app, "Not this", 0), app.undo, app.clear, app.undo, slow.begin):
        press(app, "Export")
        assert len(exported(app)) == 2 or not app.view.turns
        act()
        assert exported(app) == {}


def test_a_file_that_cannot_be_made_is_said_to_be_missing(app, monkeypatch):
    monkeypatch.setattr(threading, "excepthook", lambda failed: None)
    with monkeypatch.context() as broken:
        broken.setattr(app.conversation, "transcript", lambda: {"not": object()})
        state = press(app, "Export")
    assert "could not be made" in state["status"] and exported(app) == {}
    assert ask(app, "drama")["messages"] == ["horror", "drama"]
