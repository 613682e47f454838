"""Choices, chips, the search for titles, the history picker and the simulated user's panel."""

import pytest

from latentcrs_utils.simulation.agenda import DIFFICULTIES, LEVELS, USER_PROFILES
from latentcrs_utils.widgets.controls import HistoryPicker, find_titles
from tests.conversation.fakes import fake_dataset

from .hands import app_with, buttons, html, press, sent, tell


def test_the_best_known_come_first_and_among_equals_the_smaller_id():
    # training actions: 9 of user 7; 12, 16, 20, 24 of user 42; 1, 2, 3, 4 of user 99
    data = fake_dataset()
    data.titles[1] = "Unknown title"  # nobody can choose what has no name
    assert find_titles(data, "", 9) == ([2, 3, 4, 9, 12, 16, 20, 24, 5], 39)


@pytest.mark.parametrize(
    ("query", "found"),
    [
        *((query, [3]) for query in ("dust thunder", "DUST & thu", "thunder du")),
        ("thé quiét", [1]), ("hea", [4]), ("number 31", [31]), ("🍿", []), ("x" * 5_000, []),
        ("eat", []),  # words are found from their beginning
        ("du thunder", []),  # and all but the last must be whole
        ("number 1951", []),  # the year of film 1
    ],
)  # fmt: skip
def test_titles_are_found_by_their_words(query, found):
    assert find_titles(fake_dataset(), query, 5) == (found, len(found))


@pytest.mark.parametrize(("query", "n", "first"), [
    ("toy stroy", 1, "Toy Story"), ("godfater", 2, "The Godfather"),
    ("god father", 1, "The Godfather"),
    ("godfather, the", 2, "The Godfather"), ("shawshenk", 1, "The Shawshank Redemption"),
    ("12 monkeys", 1, "Twelve Monkeys"), ("la confidential", 1, "L.A. Confidential"),
    ("jurrasic prak", 2, "Jurassic Park"), ("qwerty", 0, None),
])  # fmt: skip
def test_titles_are_found_however_they_are_spelled(data, query, n, first):
    found = find_titles(data, query, 5)
    assert found[1] == n and [data.titles[item] for item in found[0]][:1] == [first] * bool(n)


def test_a_film_under_two_ids_is_found_and_picked_once(data):
    found, n = find_titles(data, "chasing amy", 5)
    assert n == 1 and found[0] in (234, 254)
    assert find_titles(data, "", 5)[1] == 1_007 - 8  # one film has no title
    picked = []
    picker = HistoryPicker(data, "film", picked.append)
    picker.search.value = "chasing amy"
    picker.show([488 - found[0], 1])  # as its other id
    picker.take("chasing amy")
    assert picked == [] and picker._buttons[0].description.startswith("✓")
    picker.toggle(found[0])
    assert picked == [[1]]


def test_searching_shows_what_fits_and_enter_takes_the_first():
    app = app_with(user=None)
    picker = app.view.picker
    focus = sent(picker.search)
    press(app, "Build a history")
    picker.search.value = "film number 2"
    assert picker.suggested[0] == 20 and "10 found" in html(app.widget)  # 20 was liked in training
    assert tell(app, take="film number 21")
    assert app.conversation.history == [21] and picker.search.value == ""
    assert not tell(app, take="nothing of the kind")
    assert "No film has these words in its title" in html(app.widget)
    tell(app, take="")  # an empty box picks nothing
    assert app.conversation.history == [21]
    picker.search.value = "film"
    assert "The best known 12 of 36 found" in html(app.widget)
    picker.search.value = "number 5"
    press(app, "Film Number 5")  # its year is unknown
    assert app.conversation.history == [21, 5] and focus == [{"do": "focus"}]
    last = buttons(app.widget, "Film Number 5 ✕")[0]
    press(app, "Film Number 21 (1971) ✕")
    press(app, "Film Number 5 ✕")
    last.click()  # a late click on what is gone
    assert app.conversation.history == []


@pytest.mark.parametrize("level", ["✓ paraphrased", "plain"])
def test_the_chosen_kind_of_user_drives_and_tells_its_goal_when_asked(level):
    app = app_with(n_items=1)
    driver = app.view.driver
    assert tuple(driver.difficulty.options) == DIFFICULTIES
    assert tuple(driver.level.options) == LEVELS
    assert "Nobody is driving" in press(app, "Show the goal")["driver"]
    for kind in (level, "picky", "One step"):
        press(app, kind)
    user = driver.autopilot.user
    assert (user._profile, user.level) == (USER_PROFILES["picky"], level.strip("✓ "))
    assert app.conversation.label(user.target) in press(app, "Show the goal")["driver"]
