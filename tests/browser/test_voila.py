"""The chat as `make chat` serves it, in a real browser."""

import socket
import time
from collections.abc import Callable

import psutil
import pytest

from .journey import HOSTILE, converse
from .servers import Server
from .visit import SECONDS_TO_OPEN, Visit, sideways, too_pale

pytestmark = pytest.mark.browser


def open_chat(visit: Callable[..., Visit], server: Server, query: str = "", **options) -> Visit:
    here = visit(server.url + query, **options)
    here.page.locator(".lcrs").wait_for(timeout=1000 * SECONDS_TO_OPEN)
    here.await_status("Ready")
    return here


def test_voila_conversation_by_keyboard_alone(voila, visit):
    here = open_chat(visit, voila)
    here.picture("opened")
    assert voila.n_kernels() == 1
    assert here.page.locator(".jp-InputArea, h1, .jp-RenderedMarkdown").count() == 0
    assert too_pale(here.page) == []
    converse(here)
    here.page.goto("about:blank")
    deadline = time.monotonic() + 20
    while voila.n_kernels() and time.monotonic() < deadline:
        time.sleep(0.2)
    assert voila.n_kernels() == 0, "a closed page leaves its kernel, and a gigabyte, behind"


def test_voila_on_a_phone_in_the_dark(voila, visit):
    here = open_chat(visit, voila, "?theme=dark", viewport={"width": 360, "height": 740})
    page = here.page

    def look(name: str, at: str = ".lcrs-head") -> None:
        """Everything stays within the screen and can be read."""
        page.locator(at).last.scroll_into_view_if_needed()
        here.picture(name)
        assert (sideways(page), too_pale(page)) == ([], []), name

    def press(name: str, says: str) -> None:
        page.get_by_role("button", name=name).first.click()
        here.await_status(says)

    def enter(box: str, text: str) -> None:
        page.get_by_label(box).fill(text)
        page.keyboard.press("Enter")

    look("opened")
    press("Build a history", "A new conversation as you")
    page.get_by_label("Find a film").fill(HOSTILE)
    page.get_by_text("No film has these words in its title").wait_for()
    page.get_by_label("Find a film").fill("")
    press("Fargo (1996)", "Your history has 1 film.")
    look("history")
    press("F · must meet your requirements", "From the next message on: policy F.")
    enter("Your message", "a western musical from the 1940s")
    here.await_answer(1)
    look("requirements", ".lcrs-relaxed")
    enter("Your message", HOSTILE)
    here.await_answer(2)
    look("answer", ".lcrs-turn")
    look("bars", ".lcrs-bars")
    press("Not this", "Noted")
    enter("Talk as user", "100000")
    here.await_status("There is no user '100000'")
    look("problem")
    page.get_by_role("button", name="Run to the end").click()
    here.await_driver("^It (accepted|gave up)")
    here.await_status("Ready")
    look("driven", ".lcrs-drive")
    page.set_viewport_size({"width": 1280, "height": 900})
    look("wide")


def test_voila_listens_on_this_machine_only(voila):
    assert voila.addresses() == {"127.0.0.1"}
    port = int(voila.url.rpartition(":")[2])
    known = [address for addresses in psutil.net_if_addrs().values() for address in addresses]
    for other in {a.address for a in known if a.family == socket.AF_INET}:
        with socket.socket() as probe:
            probe.settimeout(5)
            assert (probe.connect_ex((other, port)) == 0) == other.startswith("127."), other
