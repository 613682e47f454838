"""The one place where text becomes HTML."""

import base64
import html
import json
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from latentcrs_utils.conversation.guards import may_be_text
from latentcrs_utils.conversation.turn import Recommendation, Turn, shown

N_BARS = 6
_WAIT = '<span class="lcrs-wait">…</span>'


def escape(text: object) -> str:
    """Any text as HTML that shows it and does nothing else, also inside quoted attributes.

    Tags, quotes and entities come out as characters, and what no page may hold (control characters,
    halves of surrogate pairs) as the replacement character; what `shown` leaves out is left out.
    """
    characters = (c if may_be_text(c) else "\N{REPLACEMENT CHARACTER}" for c in shown(str(text)))
    return html.escape("".join(characters), quote=True)


def text(value: object) -> str:
    """Foreign text: escaped, and isolated so that right-to-left words turn nothing around.

    JupyterLab sets formulas in widgets, too; the class keeps it from reading "$5 or $10" as one.
    """
    return f'<bdi class="mathjax_ignore" dir="auto">{escape(value)}</bdi>'


def _div(styles: str, inner: str, role: str = "") -> str:
    """A block of HTML with style classes (without their "lcrs-") and a role for screen readers."""
    classes = " ".join(f"lcrs-{style}" for style in styles.split())
    more = f' role="{role}"' if role else ""
    return f'<div class="{classes}"{more}>{inner}</div>'


def panel(style: str, title: str, told: str) -> str:
    """A title and a line below it."""
    return _div(style, f"<h3>{escape(title)}</h3><p>{text(told)}</p>")


def small(words: str, role: str = "") -> str:
    """A remark."""
    return _div("small", text(words), role)


def status(words: str, kind: str = "idle") -> str:
    """The status line; `kind` is "idle", "busy" or "problem"."""
    role = "alert" if kind == "problem" else "status"
    return _div(f"status {kind}", f"<i></i>{text(words)}", role)


def profile(user: int | str | None, items: Sequence[Recommendation], noun: str) -> str:
    """Who is speaking, and what is known of them: favourite genres and the latest items."""
    name = f"User {user}" if user is not None else "You" if items else "A stranger"
    told = ", of whom no history is known: the first answers follow from words alone."
    if items:
        genres = Counter(genre for item in items for genre in item.genres).most_common(3)
        mostly = f", mostly {', '.join(genre for genre, _ in genres)}" if genres else ""
        told = f" liked {len(items)} {noun}{'s' * (len(items) > 1)}{mostly}. Latest: "
    last = " · ".join(text(item.label) for item in items[:-5:-1]) or "“Like” builds a history."
    return _div("profile", f"<strong>{text(name)}</strong>{escape(told)} {last}")


def downloads(user: int | str | None, transcript: Mapping[str, Any], markdown: str) -> str:
    """Links to a user's conversation as two files that the page itself holds."""
    name = re.sub(r"[^A-Za-z0-9-]+", "-", "stranger" if user is None else f"user-{user}")[:40]
    as_json = json.dumps(transcript, ensure_ascii=False, indent=1)
    files = [("JSON", "json", "application/json", as_json)]
    links = ""
    for form, end, kind, content in [*files, ("Markdown", "md", "text/markdown", markdown)]:
        coded = base64.b64encode(content.encode("utf-8", "replace")).decode("ascii")
        address = f'"data:{kind};charset=utf-8;base64,{coded}" download="latentcrs-{name}.{end}"'
        links += f"<a href={address}>Download {form}</a> "
    return f'<div role="status">{links}</div>'


def fold(title: str, *inner: str) -> str:
    """Lines of HTML below a title that opens them."""
    return f"<details><summary>{title}</summary>{''.join(inner)}</details>"


def bubble(style: str, value: str, who: str) -> str:
    """What the user ("me") or the system ("it") says; dots as long as that is not known."""
    return _div(style, text(value) if value else _WAIT) + _div("who", escape(who))


def reply(turn: Turn) -> str:
    """What the system says, who worded it, how the items were chosen, and what that took."""
    if not turn.number:
        return bubble("it", turn.reply, "LatentCRS")
    who = "plain template"
    if turn.reply_source == "model":
        who = f"worded by {turn.chat_model}"
    elif turn.chat_model and turn.why_template:
        who += f" instead of {turn.chat_model}: {turn.why_template}"
    seconds = ", ".join(f"{stage} {spent:.2f}" for stage, spent in turn.seconds.items())
    total = f"{sum(turn.seconds.values()):.1f} s ({seconds}) · " if seconds else ""
    lines = [f"LatentCRS · policy {turn.policy} · {who}", *_choice(turn), total + turn.usage]
    note = _div("note relaxed" if turn.relaxed else "note", text(turn.note)) if turn.note else ""
    how = fold("How was this made?", *(_div("who", text(line)) for line in lines))
    return _div("it", text(turn.reply)) + note + how


def _choice(turn: Turn) -> Iterator[str]:
    """How the items were chosen, where the turn tells."""
    if turn.requirements:
        yield "Held to: " + " · ".join(map(str, turn.requirements))
    if turn.reranked and turn.candidates:
        chosen = [item.item for item in turn.items if item.item in turn.candidates]
        places = [turn.candidates.index(item) + 1 for item in chosen]
        if places == sorted(places):
            yield "Re-ordered, but these stayed in the recommender's order"
        else:
            yield f"Re-ordered: the recommender had these at places {', '.join(map(str, places))}"


def card(item: Recommendation, why: str = "") -> str:
    """One offered item: title, year, genres, why it is here, what it does not meet."""
    facts = " · ".join([*([str(item.year)] if item.year else []), *item.genres])
    missed = ", ".join(constraint.label for constraint in item.misses)
    # the sentence on why begins with what is missed
    told = why or (f"Does not meet: {missed}" if missed else "")
    reason = _div("why misses" if missed else "why", text(told)) if told else ""
    title, facts = _div("title", text(item.title)), _div("facts", text(facts or "no further facts"))
    return title + facts + reason


def percent(share: float) -> str:
    """A probability in words: "31 %", "3.1 %", "under 0.1 %"."""
    if share < 0.001:
        return "under 0.1 %"
    return f"{100 * share:.1f} %" if share < 0.0995 else f"{round(100 * share)} %"


def leading(after: Mapping[str, float]) -> list[str]:
    """Names of the intents that have a bar, the most probable first."""
    return sorted(after, key=lambda name: -after[name])[:N_BARS]


def intent_bars(
    after: Mapping[str, float],
    before: Mapping[str, float] | None,
    n_intents: int,
    members: Callable[[str], Sequence[str]] = lambda name: (),
) -> str:
    """Bars of the leading intents with a mark where each was before, and the same in words.

    `after` and `before` the last message or click (None at the start) are probabilities by intent
    name, and a full bar is all of the belief. `n_intents` is K, to say what is left out; `members`
    gives titles that say what an intent is about, which its bar opens.
    """
    names = leading(after)
    was = {name: (after if before is None else before).get(name, 0.0) for name in names}
    rows = []
    for name in names:
        now, then = after[name], was[name]
        change = f", {'up' if now > then else 'down'} from {percent(then)}"
        value = f"<b>{percent(now)}</b>{change if percent(now) != percent(then) else ''}"
        fill = _div("fill", "") + ("" if before is None else _div("mark", ""))
        widths = f"--now:{100 * now:.1f}%;--was:{100 * then:.1f}%"
        track = f'<div class="lcrs-track" aria-hidden="true" style="{widths}">{fill}</div>'
        bar = _div("name", text(name)) + track + _div("value", value)
        films = "".join(f"<li>{text(title)}</li>" for title in members(name))
        rows.append(_div("bar", fold(bar, f"<ul>{films}</ul>") if films else bar))
    told = "A full bar is all of the belief, a line where it was; press one to look inside."
    rest, n_rest = max(0.0, 1.0 - sum(after[name] for name in names)), n_intents - len(names)
    others = f"<p>{n_rest} other intents together: {percent(rest)}.</p>" if n_rest > 0 else ""
    return _div("bars", panel("panel", "What you seem to want", told) + "".join(rows) + others)
