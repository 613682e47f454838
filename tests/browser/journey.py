"""One conversation by keyboard alone, the same wherever the chat is shown."""

import json
from pathlib import Path

from .visit import Visit, focus, press, too_pale

# Shown as it is typed: no picture is loaded, no script runs, two prices are no formula.
HOSTILE = "<img src=x onerror=alert(1)><script>alert(2)</script> sad, for $5 or $10"
MESSAGE, PERSON, SEARCH = "Your message", "Talk as user", "Find a film"
POLICY_B, POLICY_F = "B · the recommender's best", "F · must meet your requirements"
SUGGESTED = ".lcrs-grid button:not(.lcrs-hidden)"


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
    _open_a_bar(visit)
    _export(visit)
    _take_back_and_clear(visit)
    _let_somebody_drive(visit)


def _type(visit: Visit, box: str, text: str) -> None:
    """Write into the box that has the focus, and press Enter."""
    visit.page.keyboard.type(text)
    press(visit.page, "Enter", keeps=box)


def _choose_a_person(visit: Visit) -> None:
    visit.tab_to(PERSON)
    _type(visit, PERSON, "13")
    visit.await_status("A new conversation as user 13")
    assert visit.texts(".lcrs-profile strong") == ["User 13"]
    visit.use("Start without a history", "A new conversation as a stranger", key="Space")
    visit.tab_to(PERSON, back=True)
    visit.page.keyboard.type("42")
    visit.use("Start as this user", "A new conversation as user 42")
    visit.picture("person")


def _build_a_history(visit: Visit) -> None:
    page = visit.page
    visit.use("Build a history", "A new conversation as you", keeps=SEARCH)
    page.keyboard.type("empire stirkes")
    visit.await_count(SUGGESTED, 1)
    press(page, "Enter", keeps=SEARCH)
    visit.await_status("Your history has 1 film.")
    visit.await_count(SUGGESTED, 12)  # the search box is empty again
    # each button's title arrives on its own
    page.locator(SUGGESTED, has_text="Titanic (1997)").wait_for()
    toy = "Toy Story (1995)"
    visit.use(toy, "Your history has 2 films.", key="Space", keeps=f"✓ {toy}")
    assert any("from" in value for value in visit.texts(".lcrs-bar .lcrs-value"))
    visit.picture("history")
    empire = "The Empire Strikes Back (1980) ✕"
    visit.use(empire, "Your history has 1 film.", keeps=f"{toy} ✕")
    assert visit.texts(".lcrs-profile strong") == ["You"]


def _say_two_things(visit: Visit) -> None:
    page = visit.page
    visit.use(POLICY_B, "From the next message on", key="Space", keeps=f"✓ {POLICY_B}")
    visit.tab_to(MESSAGE, back=True)
    _type(visit, MESSAGE, "something funny from the eighties")
    _is_answered(visit, 1)
    page.keyboard.type(HOSTILE)
    visit.tab_to("Send")
    page.keyboard.press("Space")  # the same button is then called Stop
    _is_answered(visit, 2)
    assert visit.texts(".lcrs-me") == ["something funny from the eighties", HOSTILE]
    assert page.locator(".lcrs :is(img, script, mjx-container, .MathJax)").count() == 0
    visit.picture("second-answer")


def _is_answered(visit: Visit, n_messages: int) -> None:
    """Reply, five cards and six bars, each with its words, and all of it read out."""
    visit.await_answer(n_messages)
    replies, titles = visit.texts(".lcrs-it"), visit.texts(".lcrs-title")
    assert len(replies) == n_messages and len(titles) == len(set(titles)) == 5 * n_messages
    assert all(len(reply) > 10 for reply in replies)
    visit.await_count(".lcrs-why", 5 * n_messages)
    assert all(len(why) > 10 for why in visit.texts(".lcrs-why"))
    visit.use("How was this made?", back=True)
    assert " tokens read, " in visit.texts(".lcrs-turn details[open] .lcrs-who")[-1]
    visit.tab_to(MESSAGE)
    values = visit.texts(".lcrs-bar .lcrs-value")
    assert len(values) == 6 and all("%" in value for value in values)
    assert any("from" in value for value in values)
    heard = visit.page.get_by_role("alert").inner_text()
    assert replies[-1] in heard and all(title in heard for title in titles[-5:])


def _require_and_take_back(visit: Visit) -> None:
    """Policy F: requirements as chips, and told where they were relaxed."""
    visit.use(POLICY_F, "From the next message on", key="Space", keeps=f"✓ {POLICY_F}")
    visit.tab_to(MESSAGE, back=True)
    _type(visit, MESSAGE, "a western comedy from the 1940s, no war")
    visit.await_answer(3)
    chips = visit.texts(".lcrs-foot .lcrs-chip")
    assert chips == ["Western ✕", "Comedy ✕", "the 1940s ✕", "no War ✕"]
    assert "No film is left" in visit.texts(".lcrs-relaxed")[-1]
    assert too_pale(visit.page) == []
    visit.picture("requirements")
    visit.use("the 1940s ✕", "No longer required: the 1940s.", back=True, keeps="no War ✕")
    assert visit.texts(".lcrs-foot .lcrs-chip") == ["Western ✕", "Comedy ✕", "no War ✕"]


def _ask_for_more_and_again(visit: Visit) -> None:
    like = visit.use("More like this", back=True)
    visit.await_answer(4)
    assert visit.texts(".lcrs-me")[-1].startswith("Something like ") and like.film
    before = visit.texts(".lcrs-title")[:15]
    visit.use("Retry", "Answered again")
    assert visit.texts(".lcrs-title")[:15] == before and len(visit.texts(".lcrs-title")) == 20


def _like_and_refuse(visit: Visit) -> None:
    refused = visit.use("Not this", "Noted: ", back=True, keeps="Refused")
    visit.tab_to("Not this", back=True)
    liked = visit.use("Like", key="Space", back=True, keeps="Liked")
    visit.await_status(f"Noted: {liked.film}")
    assert visit.texts(".lcrs-reject .lcrs-title") == [refused.film] != [liked.film]
    assert visit.texts(".lcrs-accept .lcrs-title") == [liked.film]
    assert too_pale(visit.page) == []
    visit.picture("liked-and-refused")


def _open_a_bar(visit: Visit) -> None:
    visit.tab_to(visit.texts(".lcrs-bar .lcrs-name")[0])
    visit.page.keyboard.press("Enter")
    assert len(visit.texts(".lcrs-bar details[open] li")) == 8
    visit.use("More of this", "Noted: more of “", keeps="✓ More of this")
    visit.use("Undo", "Taken back: your push on “", back=True)


def _export(visit: Visit) -> None:
    """Both files come out of the page and hold the conversation."""
    visit.use("Export", "Two files are ready")
    texts = {}
    for form in ("JSON", "Markdown"):
        visit.tab_to(f"Download {form}")
        with visit.page.expect_download() as coming:
            visit.page.keyboard.press("Enter")
        file = coming.value
        texts[file.suggested_filename] = Path(file.path()).read_text(encoding="utf-8")
    assert list(texts) == ["latentcrs-stranger.json", "latentcrs-stranger.md"]
    as_json, as_markdown = texts.values()
    said = [event["say"]["message"] for event in json.loads(as_json)["events"] if "say" in event]
    assert said == visit.texts(".lcrs-me") and said[1] == HOSTILE
    assert all(title in as_json for title in visit.texts(".lcrs-title"))
    assert "<script>" not in as_markdown


def _take_back_and_clear(visit: Visit) -> None:
    visit.use("Undo", "Taken back: your click on ", back=True)
    assert visit.texts(".lcrs-accept .lcrs-title") == []
    visit.use("Clear", "Cleared.", key="Space")
    assert visit.texts(".lcrs-me") == []
    visit.use("Undo", "The earlier conversation is back.", back=True)
    assert len(visit.texts(".lcrs-me")) == 4 and len(visit.texts(".lcrs-card.lcrs-reject")) == 1
    visit.picture("back")
    visit.use("Clear", "Cleared.")
    idea = "a tense thriller, but no horror"
    visit.use(idea, back=True, keeps=MESSAGE)
    visit.await_answer(1)
    assert visit.texts(".lcrs-me") == [idea] and focus(visit.page).name == MESSAGE


def _let_somebody_drive(visit: Visit) -> None:
    """A simulated user asks first, then talks, one step and to the end."""
    page = visit.page
    visit.use("changes its mind", key="Space", keeps="✓ changes its mind")
    visit.use("One step", "Shall it begin a talk of its own?")
    press(page, "Enter", keeps="One step")
    visit.await_driver("^It has talked")
    visit.await_status("Ready")
    assert visit.texts(".lcrs-me + .lcrs-who") == ["Simulated user"]
    visit.use("Show the goal")
    visit.await_driver("in mind")
    visit.tab_to("Run to the end", back=True)
    page.keyboard.press("Enter")
    visit.await_driver("^It (accepted|gave up .* nearest after turn)")
    visit.await_status("Ready")
    assert "It " in visit.texts(".lcrs-turn > .widget-html:last-child")[-1]
    visit.picture("driven")
