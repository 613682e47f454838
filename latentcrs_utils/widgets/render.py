"""Pure functions from values to HTML, each with all of its text escaped."""

from collections.abc import Mapping, Sequence

from latentcrs_utils.conversation.turn import Recommendation, Turn
from latentcrs_utils.widgets.html import escape

N_BARS = 6


def text(value: object) -> str:
    """Foreign text: escaped, and isolated so that right-to-left words turn nothing around.

    JupyterLab sets formulas in widgets, too; the class keeps it from reading "$5 or $10" as one.
    """
    return f'<bdi class="mathjax_ignore" dir="auto">{escape(value)}</bdi>'


def head(title: str, facts: Sequence[str]) -> str:
    """The strip on top: what this is, and who chooses and who speaks."""
    spans = "".join(f"<span>{escape(fact)}</span>" for fact in facts)
    return f'<div class="lcrs-head"><h3>{escape(title)}</h3>{spans}</div>'


def glimpse(name: str, count: int, noun: str, genres: Sequence[str], latest: Sequence[str]) -> str:
    """A line or two on who is speaking: how much is known, favourite genres, latest items."""
    if not count:
        return (
            f'<div class="lcrs-glimpse"><strong>{text(name)}</strong>, of whom no history is '
            "known: the first answers follow from words alone. “Like this” builds a history.</div>"
        )
    mostly = f", mostly {escape(', '.join(genres))}" if genres else ""
    titles = " · ".join(text(title) for title in latest)
    return (
        f'<div class="lcrs-glimpse"><strong>{text(name)}</strong> liked {count} {noun}'
        f"{'s' if count > 1 else ''}{mostly}. Latest: {titles}</div>"
    )


def hello(noun: str) -> str:
    """What stands in the conversation before it begins."""
    return (
        f'<div class="lcrs-hello"><b>What kind of {noun} are you in the mood for?</b>'
        "Write it in your own words below, or start with one of these.</div>"
    )


def message(value: str) -> str:
    """What the user said."""
    return f'<div class="lcrs-me">{text(value)}</div><div class="lcrs-who">You</div>'


def reply(turn: Turn | None, partial: str = "") -> str:
    """What the system says: all of it, or what was written so far, and who worded it."""
    if turn is None or not turn.reply:
        shown = text(partial) if partial else '<span class="lcrs-wait">…</span>'
        return f'<div class="lcrs-it">{shown}</div><div class="lcrs-who">LatentCRS</div>'
    who = [f"worded by {turn.talker}" if turn.reply_source == "model" else "plain template"]
    if turn.reply_source != "model" and turn.talker and turn.why_template:
        who = [f"plain template instead of {turn.talker}: {turn.why_template}"]
    who += [turn.note] if turn.note else []
    return (
        f'<div class="lcrs-it">{text(turn.reply)}</div>'
        f'<div class="lcrs-who">LatentCRS · {text(" · ".join(who))}</div>'
    )


def heard(turn: Turn) -> str:
    """A finished turn for screen readers, which read an alert out as soon as it appears."""
    titles = "; ".join(text(item.label) for item in turn.items)
    return f'<div role="alert">{text(turn.reply)} Offered: {titles}.</div>'


def card(item: Recommendation) -> str:
    """One offered item: title, year, genres."""
    facts = " · ".join([*([str(item.year)] if item.year else []), *item.genres])
    return (
        f'<div class="lcrs-title">{text(item.title)}</div>'
        f'<div class="lcrs-facts">{text(facts or "no further facts")}</div>'
    )


def status(words: str, kind: str = "idle") -> str:
    """The status line; `kind` is "idle", "busy" or "problem"."""
    role = "alert" if kind == "problem" else "status"
    return f'<div class="lcrs-status lcrs-{escape(kind)}" role="{role}"><i></i>{text(words)}</div>'


def percent(share: float) -> str:
    """A probability in words: "31 %", "3.1 %", "under 0.1 %"."""
    if share < 0.001:
        return "under 0.1 %"
    return f"{100 * share:.1f} %" if share < 0.0995 else f"{round(100 * share)} %"


def bar_words(after: float, before: float | None) -> str:
    """The text twin of one bar: its value, and where it came from."""
    if before is None or percent(after) == percent(before):
        return percent(after)
    direction = "up" if after > before else "down"
    return f"{percent(after)}, {direction} from {percent(before)}"


def leading(after: Mapping[str, float]) -> list[str]:
    """Names of the intents that have a bar, the most probable first."""
    return sorted(after, key=lambda name: -after[name])[:N_BARS]


def intent_bars(
    after: Mapping[str, float], before: Mapping[str, float] | None, n_intents: int
) -> str:
    """Bars of the leading intents with a mark where each stood before, and the same in words.

    Args:
        after: probability by intent name; the `N_BARS` highest get a bar.
        before: the same before the last message or click; None at the start.
        n_intents: K, to say what is left out.
    """
    names = leading(after)
    was = {name: before.get(name, 0.0) if before else None for name in names}
    longest = max([1e-9, *(after[n] for n in names), *(was[n] or 0.0 for n in names)])
    rows = []
    for name in names:
        earlier = was[name]
        now = 100 * after[name] / longest
        then = now if earlier is None else 100 * earlier / longest
        mark = "" if earlier is None else '<div class="lcrs-mark"></div>'
        value, _, change = bar_words(after[name], earlier).partition(", ")
        widths = f"--now:{now:.1f}%;--was:{then:.1f}%"
        rows.append(
            f'<div class="lcrs-bar"><div class="lcrs-name">{text(name)}</div>'
            f'<div class="lcrs-track" aria-hidden="true" style="{widths}">'
            f'<div class="lcrs-fill"></div>{mark}</div><div class="lcrs-value">'
            f"<b>{value}</b>{', ' + change if change else ''}</div></div>"
        )
    rest = max(0.0, 1.0 - sum(after[name] for name in names))
    others = n_intents - len(names)
    explained = "Share of the system's belief. The line marks where an intent stood before."
    if before is None:
        explained = "Share of the system's belief, before a word was said."
    return (
        f'<div class="lcrs-bars"><h4>What you seem to want</h4><p>{explained}</p>{"".join(rows)}'
        + (f"<p>{others} other intents together: {percent(rest)}.</p>" if others > 0 else "")
        + "</div>"
    )
