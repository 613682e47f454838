"""Marking functions of the exercises of notebook 10."""

import html
from collections.abc import Callable, Collection, Sequence
from typing import Any

from course.exercises.marking import mark

Event = tuple[Any, ...]


def as_text(answer: Callable[..., Any]) -> None:
    """Mark the HTML that shows a text and does nothing else, ``(text) -> str``."""
    cases = [
        ("<b>bold</b> & brave",),
        ("Dust & Thunder",),
        ("&lt; is how one writes <",),
        ('x" onload="alert(1)',),
        ("it's",),
        ("🍿 and nothing else",),
    ]
    advice = "All five characters, and what one replacement wrote must not be replaced again."
    mark("Exercise 1", answer, html.escape, cases, advice=advice)


def liked_at_the_end(answer: Callable[..., Any]) -> None:
    """Mark the films that are liked after some events, undone ones among them.

    Args:
        answer: ``(events) -> set``; events are ("like", film), ("refuse", film), ("say", words)
            and ("undo",).
    """

    def reference(events: Sequence[Event]) -> set[Any]:
        kept: list[Event] = []
        for event in events:
            if event != ("undo",):
                kept.append(event)
            elif kept:
                kept.pop()
        last = {film: word for word, film in kept if word != "say"}
        return {film for film, word in last.items() if word == "like"}

    like, say, undo = ("like", "Heat"), ("say", "funny"), ("undo",)
    cases = [
        ([like, say, ("like", "Big")],),
        ([like, ("refuse", "Heat")],),
        ([like, ("refuse", "Heat"), undo],),
        ([like, say, undo],),
        ([undo, like, ("refuse", "Big"), undo, undo, undo, ("like", "Big")],),
        ([("refuse", "Heat"), like],),
    ]
    advice = "Undo takes back the last event, also a message, and then the one before it holds."
    mark("Exercise 2", answer, reference, cases, advice=advice)


def streamed(answer: Callable[..., Any]) -> None:
    """Mark what is shown of a reply in pieces that is checked, ``(pieces, forbidden) -> str``."""

    def reference(pieces: Sequence[str], forbidden: Collection[str]) -> str:
        *complete, _ = "".join(pieces).split(".")
        shown = []
        for sentence in complete:
            if any(word in sentence for word in forbidden):
                break
            shown.append(f"{sentence}.")
        return "".join(shown)

    cases = [
        (["See Big. And He", "athers too."], {"Titanic"}),
        (["See Big. Or Tita", "nic. Or Heat."], {"Titanic"}),
        (["See Big. Or Hea"], set()),
        (["Titanic is", " long. See Big."], {"Titanic"}),
        (["One. Two. Thr", "ee. Fo"], {"Four"}),
    ]
    advice = "A word may be cut in two, and after the first forbidden one nothing more is shown."
    mark("Exercise 3", answer, reference, cases, advice=advice)
