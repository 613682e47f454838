"""Notebook 10 run and used in JupyterLab, in a real browser, without a mouse."""

import pytest

from .conftest import NOTEBOOK, TOKEN
from .journey import converse
from .visit import SECONDS_TO_OPEN, focus

pytestmark = pytest.mark.browser
_ERRORS = '.jp-RenderedText[data-mime-type*="stderr"]'
# No cell shows [*] any more, and the chat is there or a cell has failed.
_HAS_RUN = f"""() => document.querySelector('.jp-Notebook .lcrs-status, {_ERRORS}') !== null &&
  [...document.querySelectorAll(".jp-Notebook .jp-InputPrompt")]
    .every(prompt => !prompt.innerText.includes("*"))"""


def test_lab_conversation_by_keyboard_alone(lab, visit):
    here = visit(f"{lab.url}/lab/tree/{NOTEBOOK.name}?token={TOKEN}")
    page = here.page
    page.get_by_text("Python 3 (ipykernel) | Idle").wait_for(timeout=1000 * SECONDS_TO_OPEN)
    here.picture("opened")
    run_all_cells(page)
    page.wait_for_function(_HAS_RUN, timeout=1000 * SECONDS_TO_OPEN)
    assert page.locator(_ERRORS).all_inner_texts() == []
    go_up_to_the_chat(page)
    here.picture("run")
    converse(here)
    messages = here.texts(".lcrs-me")
    run_all_cells(page)  # the talk before is offered in the new chat
    page.get_by_role("button", name="Load the last talk").click(timeout=1000 * SECONDS_TO_OPEN)
    here.await_status("Loaded, with messages")
    assert here.texts(".lcrs-me") == messages


def run_all_cells(page) -> None:
    """By the command palette, which is there a moment after the notebook is."""
    palette = page.locator(".lm-CommandPalette-input:focus")
    for _ in range(20):
        page.keyboard.press("Control+Shift+C")
        page.wait_for_timeout(500)
        if palette.count():
            break
    page.keyboard.type("run all cells")
    page.locator(".lm-CommandPalette-item.lm-mod-active", has_text="Run All Cells").wait_for()
    page.keyboard.press("Enter")


def go_up_to_the_chat(page) -> None:
    """Arrow up from the last cell, where the run ended, to the one that shows the chat."""
    for _ in range(120):
        page.keyboard.press("ArrowUp")
        page.wait_for_timeout(100)
        if page.evaluate("document.activeElement.matches('.jp-CodeCell:has(.lcrs)')"):
            return
    raise AssertionError(f"no cell with the chat; the focus is on {focus(page)}")
