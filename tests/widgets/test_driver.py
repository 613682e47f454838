"""A simulated user drives: step by step or to the end, stopped, followed, and left alone."""

import pytest

from latentcrs_utils.simulation.agenda import DIFFICULTIES
from latentcrs_utils.simulation.planner import LEVELS

from .hands import GOOD, app_with, ask, html, press


def test_difficulty_and_wording_can_be_chosen():
    driver = app_with().screen.driver
    assert tuple(driver.difficulty.options) == DIFFICULTIES
    assert tuple(driver.level.options) == LEVELS
    assert (driver.difficulty.value, driver.level.value) == ("normal", "paraphrased")


def test_the_chosen_kind_of_user_drives():
    said = {}
    for level in ("✓ paraphrased", "plain"):
        app = slow_to_find()
        press(app, level)
        press(app, "picky")
        said[level] = press(app, "One step")["messages"]
        assert app.screen.driver.difficulty.value == "picky"
    assert len(set(map(tuple, said.values()))) == 2


def slow_to_find(**more):
    """One film a turn: user 42's simulated self finds its film in the third."""
    return app_with(n_items=1, **more)


def test_one_step_is_one_message_of_somebody_else():
    app = slow_to_find()
    state = press(app, "One step")
    assert len(state["messages"]) == 1 and state["messages"][0]
    assert [turn.message for turn in app.conversation.turns] == state["messages"]
    assert state["driver"] == "It has talked for 1 turn of at most 5."
    assert "Simulated user" in html(app.widget)
    # what it did not look for it refuses
    assert [choice for _, choice in state["cards"][0]] == ["reject"]
    goal = app.screen.driver.autopilot.goal
    assert goal == "Film Number 32 (1982)" and goal not in state["driver"]
    assert len(press(app, "One step")["messages"]) == 2


def test_the_goal_is_told_when_asked_for():
    app = slow_to_find()
    press(app, "Show the goal")
    assert app.state()["driver"] == "Nobody is driving: press One step first."
    press(app, "One step")
    assert press(app, "Show the goal")["driver"].endswith("It has Film Number 32 (1982) in mind.")


def test_to_the_end_it_goes_by_itself_and_the_goal_is_told():
    app = slow_to_find()
    state = press(app, "Run to the end")
    pilot = app.screen.driver.autopilot
    assert pilot.outcome and len(state["messages"]) == pilot.n_turns > 1
    assert state["status"] == "Ready"
    assert state["driver"].endswith("It had Film Number 32 (1982) in mind.")
    assert len(app.board.views) == len(app.conversation.turns)


def test_what_it_looked_for_is_liked():
    app = app_with()
    state = press(app, "Run to the end")
    assert state["driver"].startswith("It accepted after 1 turn.")
    liked = [title for title, choice in state["cards"][-1] if choice == "accept"]
    assert liked == ["Film Number 32"]


def test_the_next_one_begins_anew_and_undo_brings_the_first_back():
    app = app_with()
    first = press(app, "Run to the end")["messages"]
    second = press(app, "One step")
    assert len(second["messages"]) == 1 and second["user"] == 42
    while app.state()["messages"] != first:
        app.undo()
        assert app.state()["status"] != "There is nothing to take back."


def test_it_begins_in_a_conversation_of_its_own():
    app = app_with()
    ask(app, "horror")
    assert "horror" not in press(app, "One step")["messages"]


@pytest.mark.parametrize("act", ["submit", "undo", "retry", "clear"])
def test_whoever_takes_over_sends_it_away(act):
    app = slow_to_find()
    press(app, "One step")
    app.submit("horror") if act == "submit" else getattr(app, act)()
    assert app.wait(10)
    assert app.state()["driver"] == "The simulated user has left, for you took over."
    assert app.screen.driver.steps_left == 0
    press(app, "One step")
    assert app.state()["driver"] == "It has talked for 1 turn of at most 5."


def test_it_can_be_stopped_on_the_way():
    app = slow_to_find()
    choose = app.model.log_probability

    def choose_and_stop(context, catalogue):
        if len(app.conversation.turns) == 1:
            app.stop()
        return choose(context, catalogue)

    app.model.log_probability = choose_and_stop
    state = press(app, "Run to the end")
    assert len(state["messages"]) == 1 and len(app.board.views) == 1
    assert state["status"] == "Stopped; the next step says it again."
    assert state["driver"] == "It has talked for 1 turn of at most 5."
    app.model.log_probability = choose
    assert len(press(app, "Run to the end")["messages"]) == app.screen.driver.autopilot.n_turns


def test_stopped_before_there_are_items_it_says_the_same_again():
    app = app_with(GOOD, GOOD)
    read, first = app.model.language.encode, []

    def stopped(texts, progress=None):
        first.extend(texts)
        app.stop()
        return read(texts)

    app.model.language.encode = stopped
    state = press(app, "Run to the end")
    assert state["messages"] == [] and state["status"] == "Stopped; the next step says it again."
    app.model.language.encode = read
    assert press(app, "One step")["messages"] == first


def test_a_stranger_is_driven_too():
    app = app_with(user=None)
    state = press(app, "Run to the end")
    assert state["user"] is None and app.screen.driver.autopilot.outcome


def test_nobody_to_simulate_is_said_in_a_sentence():
    app = app_with()
    app.model.data.titles[32] = "Unknown title"  # what user 42 would look for
    assert not app.drive()
    assert app.state()["status"].startswith("What user 42 has in mind can no longer be offered")
    assert app.state()["messages"] == [] and not app.busy
