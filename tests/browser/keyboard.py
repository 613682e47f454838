"""A person with nothing but a keyboard: what has the focus, and how to get elsewhere."""

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from playwright.sync_api import Page

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


def tab_to(page: "Page", name: str, *, key: str = "Tab", at_most: int = 40) -> Focus:
    """Press Tab (or Shift+Tab) until something called so has the focus.

    Raises:
        AssertionError: it is not reached, or what has the focus inside the chat cannot be seen.
    """
    passed: list[str] = []
    for _ in range(at_most):
        page.keyboard.press(key)
        now = focus(page)
        passed.append(now.name or now.tag)
        if now.in_chat:
            assert now.ring >= 2 and now.in_sight, f"the focus cannot be seen: {now}"
        if now.in_chat and now.name == name:
            return now
    raise AssertionError(f"{key} never reached {name!r}; it passed {passed}")


def press(page: "Page", key: str, *, keeps: str) -> None:
    """Press a key on what has the focus, and see that the focus then is on `keeps`.

    Raises:
        AssertionError: the focus is elsewhere three seconds later, or can no longer be seen.
    """
    page.keyboard.press(key)
    deadline = time.monotonic() + 3
    while not (focus(page).in_chat and focus(page).name == keeps) and time.monotonic() < deadline:
        page.wait_for_timeout(50)
    now = focus(page)
    assert now.in_chat and now.name == keeps, f"after {key} the focus is on {now}, not {keeps!r}"
    assert now.ring >= 2 and now.in_sight, f"after {key} the focus cannot be seen: {now}"
