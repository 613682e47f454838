"""One page in the browser, and a person with nothing but a keyboard on it.

What it complains about, what is on it, what has the focus, whether it can be read, and pictures.
"""

import re
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from .servers import ROOT

if TYPE_CHECKING:
    from playwright.sync_api import Page

PICTURES = ROOT / "build" / "browser"
# A model that words a reply on a busy machine; the page of Voilà, which waits for all cells.
SECONDS_TO_ANSWER, SECONDS_TO_OPEN = 120, 180
# Voilà's template asks a server far away for icons that the chat does not use; the rules in
# notebooks/voila.json stop that before anything is sent, and Chromium says so.
EXPECTED = ("cdn.jsdelivr.net/npm/@fortawesome/fontawesome-free",)
EYES = Path(__file__).with_name("eyes.js").read_text("utf-8")


def look(page: "Page", name: str, value: object = None) -> Any:
    """What a function of `eyes.js` finds on a page."""
    return page.evaluate(f"value => {{ {EYES} return eyes.{name}(value); }}", value)


@dataclass(frozen=True)
class Focus:
    """What has the focus: accessible name, tag, the film of its card, and how well it is seen."""

    name: str
    tag: str
    film: str | None
    in_chat: bool
    ring: float
    in_sight: bool


def focus(page: "Page") -> Focus:
    """What has the keyboard focus now."""
    return Focus(**look(page, "focus"))


def press(page: "Page", key: str, *, keeps: str) -> None:
    """Press a key on what has the focus; within three seconds it is on `keeps`, and seen."""
    page.keyboard.press(key)
    deadline = time.monotonic() + 3
    while not ((now := focus(page)).in_chat and now.name == keeps) and time.monotonic() < deadline:
        page.wait_for_timeout(50)
    assert now.in_chat and now.name == keeps, f"after {key} the focus is on {now}, not {keeps!r}"
    assert now.ring >= 2 and now.in_sight, f"after {key} the focus cannot be seen: {now}"


def too_pale(page: "Page") -> list[str]:
    """Texts of the chat with less than 4.5 : 1 between letters and ground, with the ratio."""
    return look(page, "tooPale")


def out_of_sight(page: "Page") -> list[str]:
    """What of message box and latest question is not seen whole, and whatever is too wide."""
    return look(page, "outOfSight")


def too_small(page: "Page", pixels: float) -> list[str]:
    """What is pressed and is lower than so many pixels."""
    return look(page, "tooSmall", pixels)


class Visit:
    """A fresh page, opened at a URL: requests to any other host are complaints.

    `name` is the start of the names of its pictures.
    """

    def __init__(self, page: "Page", url: str, name: str):
        self.page, self.name = page, name
        self.complaints, self._n_pictures = list[str](), 0
        self.is_cut_off = False  # from then on the browser may complain
        elsewhere = re.compile(rf"https?://(?!{re.escape(urlsplit(url).netloc)}/)")
        page.on("console", lambda said: self._note(said.text, said.type == "error"))
        page.on("pageerror", lambda error: self._note(str(error)))
        page.on("dialog", lambda dialog: (self._note(f"dialog: {dialog.message}"), dialog.accept()))
        page.on("response", lambda r: self._note(f"{r.status} {r.url}", r.status >= 400))
        page.on("requestfinished", lambda r: self._note(f"asked {r.url}", elsewhere.match(r.url)))
        page.goto(url, timeout=1000 * SECONDS_TO_OPEN)

    def _note(self, words: str, wrong: object = True) -> None:
        if wrong and not self.is_cut_off and not any(known in words for known in EXPECTED):
            self.complaints.append(words)

    def picture(self, name: str) -> None:
        """Save what is on the screen under ``build/browser``."""
        PICTURES.mkdir(parents=True, exist_ok=True)
        self._n_pictures += 1
        file = PICTURES / f"{self.name}-{self._n_pictures:02d}-{name}.png"
        self.page.screenshot(path=file, animations="disabled")  # bars as grown as they get

    def texts(self, selector: str) -> list[str]:
        """Texts of all elements that match."""
        return [text.strip() for text in self.page.locator(selector).all_inner_texts()]

    def tab_to(self, name: str, *, back: bool = False) -> Focus:
        """Press Tab (or Shift+Tab) until something called so has the focus, seen all the way."""
        key, passed = "Shift+Tab" if back else "Tab", list[str]()
        for _ in range(60):
            self.page.keyboard.press(key)
            now = focus(self.page)
            passed.append(now.name or now.tag)
            if now.in_chat:
                assert now.ring >= 2 and now.in_sight, f"the focus cannot be seen: {now}"
            if now.in_chat and now.name == name:
                return now
        raise AssertionError(f"{key} never reached {name!r}; it passed {passed}")

    def use(
        self, name: str, says: str = "", *, key: str = "Enter", back: bool = False, keeps: str = ""
    ) -> Focus:
        """Go by Tab (or back by Shift+Tab) to what is called so, and press Enter or Space on it.

        Then `keeps`, if not the same, has the focus, and the status line begins with `says`.
        Returns what had the focus when the key was pressed.
        """
        found = self.tab_to(name, back=back)
        press(self.page, key, keeps=keeps or name)
        self.await_status(says)
        return found

    def _await(self, test: str, value: object, n_answers: int = 1) -> None:
        """Wait until a test of a value, in JavaScript, holds, as long as so many answers take."""
        limit = 1000 * SECONDS_TO_ANSWER * n_answers
        try:
            self.page.wait_for_function(test, arg=value, timeout=limit)
        except Exception:
            self.picture("waited-in-vain")
            raise

    def await_count(self, selector: str, n: int) -> None:
        """Wait until so many elements match."""
        self._await("([s, n]) => document.querySelectorAll(s).length === n", [selector, n])

    def await_status(self, words: str) -> None:
        """Wait until the chat's status line begins with these words."""
        line = "document.querySelector('.lcrs-status').innerText"
        self._await(f"words => {line}.trim().startsWith(words)", words)

    def await_driver(self, pattern: str) -> None:
        """Wait until the simulated user's panel says something that matches."""
        line = "document.querySelector('.lcrs-drive [role=status]')?.innerText"
        self._await(f"pattern => RegExp(pattern).test({line})", pattern, n_answers=5)

    def await_answer(self, n_messages: int) -> None:
        """Wait until so many messages are on the screen and each says who worded its reply."""
        told = """n => {
          const lines = [...document.querySelectorAll(".lcrs-turn details .lcrs-who:last-child")];
          return lines.length === n && lines.every(line => line.textContent.includes(" read, "));
        }"""
        self._await(told, n_messages)
        self.await_status("Ready")
