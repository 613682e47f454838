"""Building a history by clicking: search, suggestions, chips, and a person whom nobody knows."""

import pytest

from latentcrs_utils.widgets.app import ChatApp
from latentcrs_utils.widgets.controls import TitleSearch
from tests.conversation.fakes import FakeModel, fake_dataset

from .hands import app_with, ask, buttons, enter, html, press, sent, shown


def titles(search: TitleSearch, query: str, n: int = 5) -> list[str]:
    return [search.label(item) for item in search.find(query, n)[0]]


def test_the_best_known_come_first_and_among_equals_the_smaller_id():
    search = TitleSearch(fake_dataset())
    # training actions: 9 of user 7; 12, 16, 20, 24 of user 42; 1, 2, 3, 4 of user 99
    found, n = search.find("", 10)
    assert list(found) == [1, 2, 3, 4, 9, 12, 16, 20, 24, 5] and n == 40


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("dust thunder", ["Dust & Thunder (1953)"]),
        ("DUST & thu", ["Dust & Thunder (1953)"]),
        ("thunder du", ["Dust & Thunder (1953)"]),
        ("thé quiét", ["The Quiet Harbour (1951)"]),
        ("hea", ["Heat (1954)"]),
        ("eat", []),  # words are found from their beginning
        ("du thunder", []),  # and all but the last must be whole
        ("🍿", []),
        ("x" * 5_000, []),
        ("number 31", ["Film Number 31 (1981)"]),
    ],
)
def test_titles_are_found_by_their_words(query, found):
    assert titles(TitleSearch(fake_dataset()), query) == found


def test_nameless_items_are_not_offered_to_click():
    data = fake_dataset()
    data.titles[1] = "Unknown title"
    assert 1 not in TitleSearch(data).find("", 40)[0]


def building() -> ChatApp:
    app = app_with()
    press(app, "Build a history")
    return app


def test_clicks_make_the_history_and_the_belief_follows():
    app = building()
    assert shown(app.screen.picker.widget)
    assert app.state()["user"] is None and app.state()["history"] == 0
    assert "A stranger" in html(app.widget)
    press(app, "Dust & Thunder (1953)")
    press(app, "Film Number 9 (1959)")
    state = app.state()
    assert app.conversation.history == [3, 9] and state["history"] == 2
    assert state["status"] == "Your history has 2 films."
    assert state["intents"][0] in ("Western lovers", "Drama lovers")
    page = html(app.widget)
    assert "<strong>" in page and "You</bdi></strong> liked 2 films, mostly" in page
    assert "up from" in page  # the bars moved
    assert buttons(app.widget, "✓ Dust &amp; Thunder (1953)") == []
    assert len(buttons(app.widget, "✓ Dust & Thunder (1953)")) == 1


def test_a_second_click_or_the_chip_takes_an_item_out_again():
    app = building()
    for name in ("Dust & Thunder (1953)", "Heat (1954)", "Film Number 9 (1959)"):
        press(app, name)
    press(app, "✓ Heat (1954)")
    assert app.conversation.history == [3, 9]
    press(app, "Dust & Thunder (1953) ✕")
    assert app.conversation.history == [9]


def test_the_focus_goes_from_chip_to_chip_and_at_last_home():
    app = building()
    for name in ("Dust & Thunder (1953)", "Heat (1954)"):
        press(app, name)
    first, second = (
        buttons(app.widget, f"{name} ✕")[0] for name in ("Dust & Thunder (1953)", "Heat (1954)")
    )
    went, home = sent(first), sent(app.screen.picker.search)
    second.click()
    assert went == [{"do": "focus"}] and home == []
    first.click()
    assert home == [{"do": "focus"}] and app.conversation.history == []


def test_searching_shows_what_fits_and_enter_takes_the_first():
    app = building()
    search = app.screen.picker.search
    search.value = "film number 2"
    assert app.screen.picker.suggested[0] == 20  # of the training actions
    assert "The best known 10 of" not in html(app.widget) and "10 found" in html(app.widget)
    enter(search, "film number 21")
    assert app.conversation.history == [21] and search.value == ""
    search.value = "no such words"
    assert "No film has these words in its title" in html(app.widget)
    enter(search, "nothing of the kind")
    assert app.conversation.history == [21]


def test_enter_in_an_empty_search_box_picks_nothing():
    app = building()
    app.screen.picker.take_first()
    assert app.conversation.history == []


def test_an_empty_history_is_fine():
    app = building()
    state = ask(app, "horror")
    assert state["history"] == 0 and len(state["cards"][0]) == 5
    assert "No history is known" in html(app.widget)


def test_the_first_message_closes_the_picker_and_the_history_counts():
    app = building()
    press(app, "Dust & Thunder (1953)")
    state = ask(app, "surprise me")
    assert not shown(app.screen.picker.widget)
    assert state["intents"][0] == "Western lovers"
    app.screen.picker.toggle(4)  # a click that was on its way
    assert app.screen.picker.picked == app.conversation.history == [3]
    assert "The conversation has begun" in app.state()["status"]


def test_clear_keeps_the_history_that_was_built():
    app = building()
    press(app, "Dust & Thunder (1953)")
    ask(app, "surprise me")
    for _ in range(2):
        app.clear()
        assert app.state()["messages"] == [] and app.conversation.history == [3]


def test_undo_takes_back_picks_and_then_the_beginning():
    app = app_with()
    ask(app, "horror")
    press(app, "Build a history")
    press(app, "Dust & Thunder (1953)")
    app.undo()
    assert app.conversation.history == [] and app.state()["user"] is None
    app.undo()
    state = app.state()
    assert state["messages"] == ["horror"] and state["user"] == 42
    assert not shown(app.screen.picker.widget)


def test_a_catalogue_without_years_or_with_one_item_can_be_clicked():
    app = ChatApp(FakeModel(), chat_model=None)
    press(app, "Build a history")
    app.screen.picker.search.value = "number 5"
    press(app, "Film Number 5")
    assert app.conversation.history == [5]
