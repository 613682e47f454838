"""One conversation by keyboard alone, the same wherever the chat is shown."""

import json
from pathlib import Path

from .appearance import too_pale
from .keyboard import focus, press, tab_to
from .visit import SECONDS_TO_ANSWER, Visit

# Shown as it is typed: no picture is loaded, no script runs, two prices are no formula.
HOSTILE = "<img src=x onerror=alert(1)><script>alert(2)</script> sad, for $5 or $10"


def converse(visit: Visit) -> None:
    """Do all that can be done, step by step; the focus is never lost.

    The next Tab must lead into the chat.
    """
    _choose_a_person(visit)
    _build_a_history(visit)
    _say_two_things(visit)
    _require_and_take_back(visit)
    _ask_for_more_and_again(visit)
    _like_and_refuse(visit)
    _export(visit)
    _take_back_and_clear(visit)
    _let_somebody_drive(visit)


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


def _build_a_history(visit: Visit) -> None:
    page = visit.page
    tab_to(page, "Build a history")
    press(page, "Enter", keeps="Find a film")
    visit.await_status("A new conversation as you")
    page.keyboard.type("empire strikes")
    _await_suggestions(visit, 1)
    press(page, "Enter", keeps="Find a film")
    visit.await_status("Your history has 1 film.")
    _await_suggestions(visit, 12)  # the search box is empty again
    # each button's title arrives on its own
    page.locator(".lcrs-grid button:not(.lcrs-hidden)", has_text="Titanic (1997)").wait_for()
    tab_to(page, "Toy Story (1995)")
    press(page, "Space", keeps="✓ Toy Story (1995)")
    visit.await_status("Your history has 2 films.")
    assert any("from" in value for value in visit.texts(".lcrs-bar .lcrs-value"))
    tab_to(page, "The Empire Strikes Back (1980) ✕")
    visit.picture("history")
    press(page, "Enter", keeps="Toy Story (1995) ✕")
    visit.await_status("Your history has 1 film.")
    assert visit.texts(".lcrs-glimpse strong") == ["You"]


def _await_suggestions(visit: Visit, n: int) -> None:
    """Wait until so many films stand there to be clicked."""
    visit.page.wait_for_function(
        "n => document.querySelectorAll('.lcrs-grid button:not(.lcrs-hidden)').length === n",
        arg=n,
    )


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
    assert all(len(why) > 10 for why in visit.whys(5 * n_messages))
    assert " tokens read, " in visit.texts(".lcrs-who")[-1]
    values = visit.texts(".lcrs-bar .lcrs-value")
    assert len(values) == 6 and all("%" in value for value in values)
    assert any("from" in value for value in values)
    heard = visit.page.get_by_role("alert").inner_text()
    assert replies[-1] in heard and all(title in heard for title in titles[-5:])


def _require_and_take_back(visit: Visit) -> None:
    """Policy F: requirements as chips, and told where they gave way."""
    page = visit.page
    tab_to(page, "F · must meet your requirements", key="Shift+Tab")
    press(page, "Space", keeps="✓ F · must meet your requirements")
    visit.await_status("From the next message on: policy F.")
    tab_to(page, "Your message")
    page.keyboard.type("a western comedy from the 1940s, no war")
    press(page, "Enter", keeps="Your message")
    visit.await_answer(3)
    chips = visit.texts(".lcrs-left .lcrs-chip")
    assert chips == ["Western ✕", "Comedy ✕", "the 1940s ✕", "no War ✕"]
    assert "I relaxed" in visit.texts(".lcrs-gave-way")[-1]
    assert too_pale(page) == []
    visit.picture("requirements")
    tab_to(page, "the 1940s ✕", key="Shift+Tab")
    press(page, "Enter", keeps="no War ✕")
    visit.await_status("No longer required: the 1940s.")
    assert visit.texts(".lcrs-left .lcrs-chip") == ["Western ✕", "Comedy ✕", "no War ✕"]


def _ask_for_more_and_again(visit: Visit) -> None:
    page = visit.page
    like = tab_to(page, "More like this", key="Shift+Tab")
    press(page, "Enter", keeps="More like this")
    visit.await_answer(4)
    assert visit.texts(".lcrs-me")[-1].startswith("Something like ") and like.film
    tab_to(page, "Retry")
    before = visit.texts(".lcrs-title")[:15]
    press(page, "Enter", keeps="Retry")
    visit.await_status("Answered again")
    assert visit.texts(".lcrs-title")[:15] == before and len(visit.texts(".lcrs-title")) == 20
    visit.picture("again")


def _like_and_refuse(visit: Visit) -> None:
    page = visit.page
    refused = tab_to(page, "Not this", key="Shift+Tab")
    press(page, "Enter", keeps="Refused")
    visit.await_status(f"Noted: {refused.film}")
    tab_to(page, "Not this", key="Shift+Tab")
    liked = tab_to(page, "Like", key="Shift+Tab")
    assert liked.film != refused.film
    press(page, "Space", keeps="Liked")
    visit.await_status(f"Noted: {liked.film}")
    assert visit.texts(".lcrs-refused .lcrs-title") == [refused.film]
    assert visit.texts(".lcrs-liked .lcrs-title") == [liked.film]
    assert too_pale(page) == []
    visit.picture("liked-and-refused")


def _export(visit: Visit) -> None:
    """Both files come out of the page and hold the conversation."""
    page = visit.page
    tab_to(page, "Export")
    press(page, "Enter", keeps="Export")
    visit.await_status("Two files are ready")
    texts = {}
    for form in ("JSON", "Markdown"):
        tab_to(page, f"Download {form}")
        with page.expect_download() as coming:
            page.keyboard.press("Enter")
        file = coming.value
        texts[file.suggested_filename] = Path(file.path()).read_text(encoding="utf-8")
    visit.picture("export")
    assert list(texts) == ["latentcrs-stranger.json", "latentcrs-stranger.md"]
    said = [event["say"]["message"] for event in json.loads(texts["latentcrs-stranger.json"])
            ["events"] if "say" in event]  # fmt: skip
    assert said == visit.texts(".lcrs-me") and said[1] == HOSTILE
    assert all(title in texts["latentcrs-stranger.json"] for title in visit.texts(".lcrs-title"))
    assert "<script>" not in texts["latentcrs-stranger.md"]


def _take_back_and_clear(visit: Visit) -> None:
    page = visit.page
    tab_to(page, "Undo", key="Shift+Tab")
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
    assert len(visit.texts(".lcrs-me")) == 4 and len(visit.texts(".lcrs-refused")) == 1
    visit.picture("back")
    idea = "a tense thriller, but nothing bloody"
    tab_to(page, "Clear")
    press(page, "Enter", keeps="Clear")
    visit.await_status("Cleared.")
    tab_to(page, idea, key="Shift+Tab")
    press(page, "Enter", keeps="Your message")
    visit.await_answer(1)
    assert visit.texts(".lcrs-me") == [idea] and focus(page).name == "Your message"


def _let_somebody_drive(visit: Visit) -> None:
    """A simulated user talks, one step and then to the end, stopped on the way."""
    page = visit.page
    tab_to(page, "changes its mind")
    press(page, "Space", keeps="✓ changes its mind")
    tab_to(page, "One step")
    press(page, "Enter", keeps="One step")
    page.wait_for_function(
        "document.querySelector('.lcrs-drive [role=status]')?.innerText.startsWith('It ')",
        timeout=1000 * SECONDS_TO_ANSWER,
    )
    visit.await_status("Ready")
    assert visit.texts(".lcrs-me + .lcrs-who") == ["Simulated user"]
    tab_to(page, "Run to the end")
    page.keyboard.press("Enter")
    page.locator(".lcrs-status.lcrs-busy").wait_for()
    tab_to(page, "Stop", key="Shift+Tab")
    press(page, "Enter", keeps="Stop")
    visit.await_status("Stopped")
    tab_to(page, "Show the goal")
    press(page, "Enter", keeps="Show the goal")
    page.wait_for_function(
        "document.querySelector('.lcrs-drive [role=status]').innerText.includes('in mind')"
    )
    visit.picture("driven")
