"""The one place where text becomes HTML: values, filled into the macros of `parts.jinja`."""

import base64
import html
import json
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from jinja2.filters import do_mark_safe

from latentcrs_utils.conversation.guards import may_be_text
from latentcrs_utils.conversation.in_words import TEMPLATES
from latentcrs_utils.conversation.turn import Recommendation, Turn, shown

N_BARS, N_SEEN = 6, 3  # intents with a bar; films below it
Shares = Mapping[str, float]  # by intent
Members = Callable[[str], Sequence[str]]


def escape(text: object) -> str:
    """Any text as HTML that shows it and does nothing else, also inside quoted attributes.

    Control characters and half surrogates are replaced; what `shown` leaves out is left out.
    """
    characters = (c if may_be_text(c) else "\N{REPLACEMENT CHARACTER}" for c in shown(str(text)))
    return html.escape("".join(characters), quote=True)


def percent(share: float) -> str:
    """A probability in words: "31 %", "3.1 %", "under 0.1 %"."""
    if share < 0.001:
        return "under 0.1 %"
    return f"{100 * share:.1f} %" if share < 0.0995 else f"{round(100 * share)} %"


_PAGE = TEMPLATES.overlay(
    autoescape=True,
    # every value is escaped but what a macro made
    finalize=lambda value: value if hasattr(value, "__html__") else do_mark_safe(escape(value)),
)
_PAGE.filters["in_percent"] = percent
_PARTS = _PAGE.get_template("widgets/parts.jinja").module


def _part(name: str, *values: Any, **named: Any) -> str:
    return str(getattr(_PARTS, name)(*values, **named))


panel = partial(_part, "panel")  # a title and a line below it: style, title, told
small = partial(_part, "small")  # a remark: words, and a role for screen readers
status = partial(_part, "status")  # words, and a kind, which is "idle", "busy" or "problem"
bubble = partial(_part, "bubble")  # what "me" (the user) or "it" says, and who; "": dots
card = partial(_part, "card")  # an item: title, year, genres, why it is here, what it does not meet


def profile(user: int | str | None, items: Sequence[Recommendation], noun: str) -> str:
    """Who is speaking, and what is known of them: favourite genres and the latest items."""
    genres = Counter(genre for item in items for genre in item.genres).most_common(3)
    return _part("profile", user, items, noun, [genre for genre, _ in genres])


def downloads(user: int | str | None, transcript: Mapping[str, Any], markdown: str) -> str:
    """Links to a user's conversation as two files that the page itself holds."""
    name = re.sub(r"[^A-Za-z0-9-]+", "-", "stranger" if user is None else f"user-{user}")[:40]
    as_json = json.dumps(transcript, ensure_ascii=False, indent=1)
    coded = (base64.b64encode(f.encode("utf-8", "replace")).decode() for f in (as_json, markdown))
    kinds = [("JSON", "json", "application/json"), ("Markdown", "md", "text/markdown")]
    return _part("downloads", name, [(*k, f) for k, f in zip(kinds, coded, strict=True)])


def reply(turn: Turn) -> str:
    """What the system says, who worded it, how the items were chosen, and what that took."""
    if not turn.number:
        return bubble("it", turn.reply, "LatentCRS")
    chosen = [item.item for item in turn.items if item.item in turn.candidates]
    return _part("reply", turn, [turn.candidates.index(item) + 1 for item in chosen])


def leading(after: Mapping[str, float]) -> list[str]:
    """Names of the intents that have a bar, the most probable first."""
    return sorted(after, key=lambda name: -after[name])[:N_BARS]


def intent_bars(
    after: Shares, before: Shares | None, n_intents: int, members: Members = lambda name: ()
) -> tuple[list[str], str]:
    """Bars of the leading intents with a mark where each was before, in words too, and the rest.

    `after` and `before` the last message or click (None at the start) are probabilities by intent
    name, and a full bar is all of the belief. `n_intents` is K, to say what is left out; `members`
    gives titles that say what an intent is about, which its bar opens; the first are always seen.
    """
    names, was = leading(after), after if before is None else before
    marked, n_others = before is not None, n_intents - len(names)
    bars = [
        _part("intent_bar", name, after[name], was.get(name, 0.0), marked, members(name), N_SEEN)
        for name in names
    ]
    rest = percent(max(0.0, 1.0 - sum(after[name] for name in names)))
    return bars, small(f"{n_others} other intents together: {rest}.") if n_others else ""
