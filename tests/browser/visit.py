"""One page in the browser: what it complains about, what is on it, and pictures of it."""

from typing import TYPE_CHECKING
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


class Visit:
    """A page, opened.

    Args:
        page: a fresh page.
        url: where to go; requests to any other host are complaints.
        name: start of the names of its pictures.
    """

    def __init__(self, page: "Page", url: str, name: str):
        self.page, self.name = page, name
        self.complaints: list[str] = []
        self._host, self._n_pictures = urlsplit(url).netloc, 0
        page.on("console", lambda said: self._note(said.text, said.type == "error"))
        page.on("pageerror", lambda error: self._note(str(error)))
        page.on("dialog", lambda dialog: (self._note(f"dialog: {dialog.message}"), dialog.accept()))
        page.on("response", lambda r: self._note(f"{r.status} {r.url}", r.status >= 400))
        page.on("requestfinished", lambda request: self._check_host(request.url))
        page.goto(url, timeout=1000 * SECONDS_TO_OPEN)

    def _note(self, words: str, wrong: bool = True) -> None:
        if wrong and not any(known in words for known in EXPECTED):
            self.complaints.append(words)

    def _check_host(self, url: str) -> None:
        parts = urlsplit(url)
        self._note(f"asked {url}", parts.scheme in ("http", "https") and parts.netloc != self._host)

    def picture(self, name: str) -> None:
        """Save what is on the screen under ``build/browser``."""
        PICTURES.mkdir(parents=True, exist_ok=True)
        self._n_pictures += 1
        file = PICTURES / f"{self.name}-{self._n_pictures:02d}-{name}.png"
        self.page.screenshot(path=file, animations="disabled")  # bars as grown as they get

    def texts(self, selector: str) -> list[str]:
        """Texts of all elements that match."""
        return [text.strip() for text in self.page.locator(selector).all_inner_texts()]

    def whys(self, n: int) -> list[str]:
        """Why so many items are there, once each card says it."""
        self.page.wait_for_function(
            "n => document.querySelectorAll('.lcrs-why').length === n", arg=n
        )
        return self.texts(".lcrs-why")

    def await_status(self, words: str) -> None:
        """Wait until the chat's status line begins with these words."""
        self.page.wait_for_function(
            "words => document.querySelector('.lcrs-status').innerText.trim().startsWith(words)",
            arg=words,
            timeout=1000 * SECONDS_TO_ANSWER,
        )

    def await_answer(self, n_messages: int) -> None:
        """Wait until so many messages are on the screen and each says who worded its reply."""
        self.page.wait_for_function(
            """n => {
              const who = [...document.querySelectorAll(".lcrs-it ~ .lcrs-who:last-child")];
              return who.length === n && who.every(line => line.innerText.includes(" read, "));
            }""",
            arg=n_messages,
            timeout=1000 * SECONDS_TO_ANSWER,
        )
        self.await_status("Ready")
