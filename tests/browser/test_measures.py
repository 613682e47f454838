"""What the browser tests measure with, on pages whose answers are known."""

import pytest

from .visit import Focus, Visit, focus, sideways, tab_to, too_pale

pytestmark = pytest.mark.browser


@pytest.fixture
def page(chromium):
    context = chromium.new_context(viewport={"width": 400, "height": 300})
    yield context.new_page()
    context.close()


def test_contrast_of_known_pairs(page):
    # 4.48, 4.54, black at 55 % on white (4.74) and at 50 % (3.95), white on blue through two boxes
    page.set_content(
        """<div class="lcrs" style="color: #777"><i>grey</i><b style="color: #767676">darker</b>
        <p style="color: #000; opacity: .55">half</p><p style="color: rgb(0 0 0 / .5)">pale</p>
        <p style="background: #00f"><span style="color: #fff">blue</span></p>
        <p style="display: none">hidden</p><input value="typed" style="color: #eee"></div>"""
    )
    assert [words.split(maxsplit=1)[1] for words in too_pale(page)] == ["grey", "pale", "typed"]
    assert too_pale(page)[0] == "4.48 grey"


def test_what_reaches_out_of_the_window(page):
    page.set_content('<div class="lcrs"><p class="in">in</p></div>')
    assert sideways(page) == []
    page.set_content('<div class="lcrs"><p class="out" style="width: 500px">out</p></div>')
    assert sideways(page) == ["HTML", "out"]


def test_the_keyboard_knows_names_rings_and_lost_ways(page):
    page.set_content(
        """<label>Your name <input style="outline: 3px solid red"></label>
        <div class="lcrs"><button style="outline: none">Bare</button></div>"""
    )
    page.keyboard.press("Tab")
    assert focus(page) == Focus("Your name", "input", None, in_chat=False, ring=3, in_sight=True)
    with pytest.raises(AssertionError, match="cannot be seen"):
        tab_to(page, "Bare")
    with pytest.raises(AssertionError, match="never reached 'Elsewhere'"):
        page.set_content("<input><input>")
        tab_to(page, "Elsewhere", at_most=3)


def test_a_visit_hears_complaints_and_dialogs(page):
    visit = Visit(page, "data:text/html,<title>quiet</title>", "quiet")
    assert visit.complaints == []
    page.evaluate("console.error('broken'); console.warn('fine'); alert('boo')")
    page.evaluate("setTimeout(() => { throw new Error('thrown') })")
    page.wait_for_timeout(200)
    assert visit.complaints == ["broken", "dialog: boo", "thrown"]
