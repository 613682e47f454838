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
    assert voila.addresses() == {"127.0.0.1"} and len(voila.kernels()) == 1
    assert here.page.locator(".jp-InputArea, h1, .jp-RenderedMarkdown").count() == 0
    assert too_pale(here.page) == []
    converse(here)
    here.page.goto("about:blank")
    assert kernels_end(voila), "a closed page leaves its kernel, and a gigabyte, behind"


def test_voila_on_a_phone_in_the_dark(voila, visit):
    here = open_chat(visit, voila, "?theme=dark", viewport={"width": 360, "height": 740})
    here.picture("opened")
    assert sideways(here.page) == []
    here.page.get_by_role("button", name="Build a history").click()
    here.await_status("A new conversation as you")
    here.page.get_by_label("Find a film").fill(HOSTILE)
    here.page.get_by_text("No film has these words in its title").wait_for()
    here.page.get_by_label("Find a film").fill("")
    here.page.get_by_role("button", name="Fargo (1996)").click()
    here.await_status("Your history has 1 film.")
    here.picture("history")
    assert sideways(here.page) == [] and too_pale(here.page) == []
    here.page.get_by_role("button", name="F · must meet your requirements").click()
    here.await_status("From the next message on: policy F.")
    here.page.get_by_label("Your message").fill("a western musical from the 1940s")
    here.page.keyboard.press("Enter")
    here.await_answer(1)
    assert here.texts(".lcrs-left .lcrs-chip") == ["Western ✕", "Musical ✕", "the 1940s ✕"]
    here.page.locator(".lcrs-relaxed").scroll_into_view_if_needed()
    here.picture("requirements")
    assert sideways(here.page) == [] and too_pale(here.page) == []
    here.page.get_by_label("Your message").fill(HOSTILE)
    here.page.keyboard.press("Enter")
    here.await_answer(2)
    here.picture("answer")
    here.page.locator(".lcrs-bars").scroll_into_view_if_needed()
    here.picture("bars")
    assert here.texts(".lcrs-me")[-1] == HOSTILE
    assert here.page.locator(".lcrs :is(img, script, mjx-container, .MathJax)").count() == 0
    assert sideways(here.page) == []
    here.page.get_by_role("button", name="Not this").first.click()
    here.await_status("Noted")
    here.page.get_by_label("Talk as user").fill("100000")
    here.page.keyboard.press("Enter")
    here.await_status("There is no user '100000'")
    assert too_pale(here.page) == []
    here.picture("problem")
    here.page.get_by_role("button", name="Run to the end").click()
    here.await_driver("^It (accepted|gave up)")
    here.await_status("Ready")
    here.page.locator(".lcrs-drive").scroll_into_view_if_needed()
    here.picture("driven")
    assert sideways(here.page) == [] and too_pale(here.page) == []
    here.page.set_viewport_size({"width": 1280, "height": 900})
    here.picture("wide")
    assert too_pale(here.page) == []


def kernels_end(server: Server) -> bool:
    """Whether all kernels of a server are gone within 20 seconds."""
    deadline = time.monotonic() + 20
    while server.kernels() and time.monotonic() < deadline:
        time.sleep(0.2)
    return not server.kernels()


def test_voila_listens_on_this_machine_only(voila):
    assert voila.addresses() == {"127.0.0.1"}
    port = int(voila.url.rpartition(":")[2])
    others = {
        address.address
        for addresses in psutil.net_if_addrs().values()
        for address in addresses
        if address.family == socket.AF_INET and not address.address.startswith("127.")
    }
    for address in others:
        with socket.socket() as probe:
            probe.settimeout(5)
            assert probe.connect_ex((address, port)) != 0, address
