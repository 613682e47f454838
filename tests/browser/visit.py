"""One page in the browser, and a person with nothing but a keyboard on it.

What it complains about, what is on it, what has the focus, whether it can be read, and pictures.
"""

import re
import time
from dataclasses import dataclass
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

_FOCUS = """() => {
  const e = document.activeElement, style = getComputedStyle(e);
  const labels = [...(e.labels || [])].map(label => label.innerText.trim()).filter(Boolean);
  const said = e.getAttribute("aria-label") || labels.join(" ") || e.innerText || e.title || "";
  const name = e === document.body ? "" : said;
  const card = e.closest(".lcrs-card"), box = e.getBoundingClientRect();
  const at = document.elementFromPoint(box.x + box.width / 2, box.y + box.height / 2);
  return {
    name: name.trim().split("\\n")[0],
    tag: e.tagName.toLowerCase(),
    film: card ? card.querySelector(".lcrs-title").innerText : null,
    in_chat: Boolean(e.closest(".lcrs")),
    ring: style.outlineStyle === "none" ? 0 : parseFloat(style.outlineWidth),
    in_sight: Boolean(at) && (e.contains(at) || at.contains(e)),
  };
}"""

# Colours are read through a canvas, which knows every notation that a style sheet may hold.
_TOO_PALE = """() => {
  const pen = document.createElement("canvas").getContext("2d", {willReadFrequently: true});
  const rgba = colour => {
    pen.clearRect(0, 0, 1, 1);
    pen.fillStyle = colour;
    pen.fillRect(0, 0, 1, 1);
    const [r, g, b, a] = pen.getImageData(0, 0, 1, 1).data;
    return [r, g, b, a / 255];
  };
  const over = (top, below, alpha) => below.map((c, i) => top[i] * alpha + c * (1 - alpha));
  const luminance = colour => colour
    .map(c => c / 255)
    .map(c => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)
    .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
  const contrast = (one, other) => {
    const [low, high] = [luminance(one), luminance(other)].sort((a, b) => a - b);
    return (high + 0.05) / (low + 0.05);
  };
  // What stands behind an element, and the same with a text of this colour on it.
  const seen = (element, colour) => {
    const path = [];
    for (let e = element; e; e = e.parentElement) path.unshift(getComputedStyle(e));
    let below = [255, 255, 255], text = below;
    path.forEach((style, i) => {
      const share = path.slice(0, i + 1).reduce((all, s) => all * parseFloat(s.opacity), 1);
      const paper = rgba(style.backgroundColor);
      below = over(paper, below, paper[3] * share);
      text = i === path.length - 1 ? over(colour, below, colour[3] * share) : below;
    });
    return contrast(text, below);
  };
  const found = [];
  const judge = (element, colour, words) => {
    if (!words.trim()) return;
    const value = seen(element, rgba(colour));
    if (value < 4.5) found.push(`${value.toFixed(2)} ${words.trim().slice(0, 40)}`);
  };
  const walker = document.createTreeWalker(document.querySelector(".lcrs"), NodeFilter.SHOW_TEXT);
  for (let node; (node = walker.nextNode());) {
    const element = node.parentElement;
    const shown = element.checkVisibility({opacityProperty: true, visibilityProperty: true});
    if (!shown || element.closest("style, option")) continue;
    judge(element, getComputedStyle(element).color, node.data);
  }
  for (const input of document.querySelectorAll(".lcrs :is(input, textarea)")) {
    judge(input, getComputedStyle(input).color, input.value);
    judge(input, getComputedStyle(input, "::placeholder").color, input.placeholder);
  }
  return found;
}"""


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
    return Focus(**page.evaluate(_FOCUS))


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
    return page.evaluate(_TOO_PALE)


def out_of_sight(page: "Page") -> list[str]:
    """What of message box and latest question is not seen whole, and whatever is too wide."""
    return page.evaluate(
        """() => {
          const all = selector => [...document.querySelectorAll(selector)];
          const seen = e => {
            const {x, y, width, height, right, bottom} = e.getBoundingClientRect();
            const at = document.elementFromPoint(x + width / 2, y + height / 2);
            const inside = x >= 0 && y >= 0 && right <= innerWidth && bottom <= innerHeight;
            return inside && e.contains(at);
          };
          const must = [...all(".lcrs-compose textarea, .lcrs-send"), ...all(".lcrs-me").slice(-1)];
          const wide = e => e === document.documentElement
            ? e.scrollWidth > innerWidth : e.getBoundingClientRect().right > innerWidth + 0.5;
          const inner = e => !e.closest(".lcrs-title-line p, .lcrs-profile"); // cut by dots
          const found = [document.documentElement, ...all(".lcrs *").filter(inner)].filter(wide);
          return [...must.filter(e => !seen(e)), ...found].map(e => e.className || e.tagName);
        }"""
    )


def too_small(page: "Page", pixels: float) -> list[str]:
    """What is pressed and is lower than so many pixels."""
    return page.evaluate(
        """pixels => [...document.querySelectorAll(".lcrs :is(button, input, textarea, summary)")]
          .filter(e => e.checkVisibility() && e.getBoundingClientRect().height < pixels)
          .map(e => e.innerText || e.className)""",
        pixels,
    )


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
        for _ in range(40):
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
        self.page.wait_for_function(test, arg=value, timeout=limit)

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
