"""One conversation by keyboard alone, the same wherever the chat is shown."""

from .appearance import too_pale
from .keyboard import focus, press, tab_to
from .visit import Visit

# Shown as it is typed: no picture is loaded, no script runs, two prices are no formula.
HOSTILE = "<img src=x onerror=alert(1)><script>alert(2)</script> sad, for $5 or $10"


def converse(visit: Visit) -> None:
    """Choose a person, talk, like, refuse, take back, clear; the focus is never lost.

    The next Tab must lead into the chat.
    """
    _choose_a_person(visit)
    _say_two_things(visit)
    _like_and_refuse(visit)
    _take_back_and_clear(visit)


def _choose_a_person(visit: Visit) -> None:
    page = visit.page
    tab_to(page, "Talk as user")
    page.keyboard.type("13")
    press(page, "Enter", keeps="Talk as user")
    visit.await_status("A new conversation as user 13")
    assert visit.texts(".lcrs-glimpse strong") == ["User 13"]
    tab_to(page, "Start without a history")
    press(page, "Space", keeps="Start without a history")
    visit.await_status("A new conversation as a stranger")
    tab_to(page, "Talk as user", key="Shift+Tab")
    page.keyboard.type("42")
    tab_to(page, "Start as this user")
    press(page, "Enter", keeps="Start as this user")
    visit.await_status("A new conversation as user 42")
    visit.picture("person")


def _say_two_things(visit: Visit) -> None:
    page = visit.page
    tab_to(page, "Your message")
    page.keyboard.type("something funny from the eighties")
    visit.picture("typed")
    press(page, "Enter", keeps="Your message")
    visit.await_answer(1)
    _is_answered(visit, 1)
    visit.picture("answer")
    assert focus(page).name == "Your message"
    page.keyboard.type(HOSTILE)
    tab_to(page, "Send")
    press(page, "Space", keeps="Send")
    visit.await_answer(2)
    _is_answered(visit, 2)
    assert visit.texts(".lcrs-me") == ["something funny from the eighties", HOSTILE]
    assert page.locator(".lcrs :is(img, script, mjx-container, .MathJax)").count() == 0
    assert focus(page).name == "Send"
    visit.picture("second-answer")


def _is_answered(visit: Visit, n_messages: int) -> None:
    """Reply, five cards and six bars, each with its words, and all of it read out."""
    replies, titles = visit.texts(".lcrs-it"), visit.texts(".lcrs-title")
    assert len(replies) == n_messages and len(titles) == len(set(titles)) == 5 * n_messages
    assert all(len(reply) > 10 for reply in replies)
    assert visit.texts(".lcrs-it + .lcrs-who")[-1].startswith("LatentCRS · ")
    values = visit.texts(".lcrs-bar .lcrs-value")
    assert len(values) == 6 and all("%" in value for value in values)
    assert any("from" in value for value in values)
    heard = visit.page.get_by_role("alert").inner_text()
    assert replies[-1] in heard and all(title in heard for title in titles[-5:])


def _like_and_refuse(visit: Visit) -> None:
    page = visit.page
    refused = tab_to(page, "Not this", key="Shift+Tab")
    press(page, "Enter", keeps="Refused")
    visit.await_status(f"Noted: {refused.film}")
    tab_to(page, "Not this", key="Shift+Tab")
    liked = tab_to(page, "Like this", key="Shift+Tab")
    assert liked.film != refused.film
    press(page, "Space", keeps="Liked")
    visit.await_status(f"Noted: {liked.film}")
    assert visit.texts(".lcrs-refused .lcrs-title") == [refused.film]
    assert visit.texts(".lcrs-liked .lcrs-title") == [liked.film]
    assert too_pale(page) == []
    visit.picture("liked-and-refused")


def _take_back_and_clear(visit: Visit) -> None:
    page = visit.page
    tab_to(page, "Undo")
    press(page, "Enter", keeps="Undo")
    visit.await_status("Taken back: your click on ")
    assert visit.texts(".lcrs-liked .lcrs-title") == []
    tab_to(page, "Clear")
    press(page, "Space", keeps="Clear")
    visit.await_status("Cleared.")
    assert visit.texts(".lcrs-me") == []
    visit.picture("cleared")
    tab_to(page, "Undo", key="Shift+Tab")
    press(page, "Enter", keeps="Undo")
    visit.await_status("The earlier conversation is back.")
    assert len(visit.texts(".lcrs-me")) == 2 and len(visit.texts(".lcrs-refused")) == 1
    visit.picture("back")
    idea = "a tense thriller, but nothing bloody"
    tab_to(page, "Clear")
    press(page, "Enter", keeps="Clear")
    visit.await_status("Cleared.")
    tab_to(page, idea, key="Shift+Tab")
    press(page, "Enter", keeps="Your message")
    visit.await_answer(1)
    assert visit.texts(".lcrs-me") == [idea] and focus(page).name == "Your message"
