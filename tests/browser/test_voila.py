"""The chat as `make chat` serves it, in a real browser."""

import socket
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

import psutil
import pytest

from .conftest import serving_chat
from .journey import converse
from .servers import Server, free_port
from .visit import SECONDS_TO_OPEN, Visit, out_of_sight, too_pale, too_small

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
    deadline = time.monotonic() + 120
    while voila.n_kernels() and time.monotonic() < deadline:
        time.sleep(0.2)
    assert voila.n_kernels() == 0, "a closed page leaves its kernel, and a gigabyte, behind"


SIZES = [(1366, 768), (1920, 1080), (1280, 900), (390, 844)]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_voila_keeps_the_message_box_and_the_question_in_view(voila, visit, scheme):
    here = open_chat(visit, voila, color_scheme=scheme)
    page = here.page
    for n, (width, height) in enumerate(SIZES, start=1):
        page.set_viewport_size({"width": width, "height": height})
        page.get_by_label("Your message").fill("a comedy\nfrom the eighties")
        page.keyboard.press("Enter")
        here.await_answer(n)
        page.wait_for_timeout(300)
        here.picture(f"{width}-{scheme}")
        assert (out_of_sight(page), too_pale(page)) == ([], []), width
        if width > 390:
            page.locator(".lcrs-look").get_by_text("Large").click()
            here.picture(f"{width}-{scheme}-large")
            assert (out_of_sight(page), too_pale(page)) == ([], []), (width, "large")
            page.locator(".lcrs-look").get_by_text("Normal").click()
    assert too_small(page, 44) == []
    ground = "getComputedStyle(document.querySelector('.lcrs')).backgroundColor"
    other = "Light" if scheme == "dark" else "Dark"
    before = page.evaluate(ground)
    page.locator(".lcrs-look").get_by_text(other).click()
    assert page.evaluate(ground) != before and too_pale(page) == []
    page.reload(timeout=1000 * SECONDS_TO_OPEN)  # the choice is remembered
    page.get_by_text(f"✓ {other}").wait_for(timeout=1000 * SECONDS_TO_OPEN)
    here.await_status("Ready")  # a page that closes while it is still built complains
    assert page.evaluate(ground) != before


def say(here: Visit, words: str) -> None:
    here.page.get_by_label("Your message").fill(words)
    here.page.keyboard.press("Enter")


def end(processes: list[psutil.Process], only: str = "") -> None:
    """Kill processes at once, as a machine does that has no memory left."""
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            if any(only in part for part in process.cmdline()):
                process.kill()


def test_voila_says_that_the_connection_is_lost_and_a_reload_brings_the_talk_back(
    trained, visit, tmp_path
):
    port = free_port()
    with serving_chat(tmp_path, port) as server:
        here = open_chat(visit, server)
        page, box = here.page, here.page.get_by_label("Your message")
        say(here, "something funny")
        here.await_answer(1)
        titles = here.texts(".lcrs-title")
        page.get_by_role("button", name="Like", exact=True).first.click()
        here.await_status("Noted")
        box.fill("and then?")
        here.is_cut_off = True
        end(server.family(), "ipykernel_launcher")
        page.get_by_text("Connection lost").wait_for(timeout=30_000)
        here.picture("lost")
        assert (too_pale(page), page.locator(".lcrs-status").is_visible()) == ([], False)
        page.keyboard.press("Enter")
        page.get_by_role("button", name="Send").click()
        assert box.input_value() == "and then?" and here.texts(".lcrs-me") == ["something funny"]
        with page.expect_download() as coming:
            page.get_by_text("Save this talk").click()
        saved = Path(coming.value.path())
        assert "something funny" in saved.read_text(encoding="utf-8")
        page.reload(timeout=1000 * SECONDS_TO_OPEN)
        load_the_last(here, titles)
        page.get_by_role("button", name="Clear").click()
        here.await_status("Cleared")
        with page.expect_file_chooser() as chooser:
            page.get_by_role("button", name="Load", exact=True).click()
        chooser.value.set_files(saved)
        here.await_status("Loaded, with messages: 1.")
        other = open_chat(visit, server)  # another visitor is offered nothing
        assert other.page.get_by_role("button", name="Load the last talk").count() == 0
        other.is_cut_off = True
        end(server.family())
        page.get_by_text("Connection lost").wait_for(timeout=30_000)
        here.picture("lost-server")
    other.page.close()
    with serving_chat(tmp_path, port) as server:  # at the same address, with the same secret
        page.reload(timeout=1000 * SECONDS_TO_OPEN)
        load_the_last(here, titles)


def load_the_last(here: Visit, titles: list[str]) -> None:
    """Load the talk that a page offers when it is loaded again, and look at it."""
    button = here.page.get_by_role("button", name="Load the last talk")
    button.click(timeout=1000 * SECONDS_TO_OPEN)
    here.await_status("Loaded, with messages: 1.")
    assert here.texts(".lcrs-title") == titles
    assert here.page.get_by_label("Your message").input_value() == "and then?"
    assert here.texts(".lcrs-accept .lcrs-title") == titles[:1]


def test_voila_listens_on_this_machine_only(voila):
    assert voila.addresses() == {"127.0.0.1"}
    port = urlsplit(voila.url).port
    known = [address for addresses in psutil.net_if_addrs().values() for address in addresses]
    for other in {a.address for a in known if a.family == socket.AF_INET}:
        with socket.socket() as probe:
            probe.settimeout(5)
            assert (probe.connect_ex((other, port)) == 0) == other.startswith("127."), other
