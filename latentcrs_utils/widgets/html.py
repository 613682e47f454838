"""The one place where text becomes HTML."""

import html
import unicodedata
from collections.abc import Iterator, Mapping, Sequence

from latentcrs_utils.conversation.turn import Recommendation, Turn

_REPLACEMENT = "\N{REPLACEMENT CHARACTER}"


def escape(text: object) -> str:
    """Any text as HTML that shows it and does nothing else.

    Users, language models and catalogues write what they like; tags, quotes and entities come out
    as characters, and what no page may hold (control characters, halves of surrogate pairs) as
    the replacement character. Safe between tags and inside quoted attributes.

    Args:
        text: anything; its `str` is taken.
    """
    characters = (
        c if c in "\n\t" or unicodedata.category(c) not in ("Cc", "Cs") else _REPLACEMENT
        for c in str(text)
    )
    return html.escape("".join(characters), quote=True)


def text(value: object) -> str:
    """Foreign text: escaped, and isolated so that right-to-left words turn nothing around.

    JupyterLab sets formulas in widgets, too; the class keeps it from reading "$5 or $10" as one.
    """
    return f'<bdi class="mathjax_ignore" dir="auto">{escape(value)}</bdi>'


def head(title: str, facts: Sequence[str]) -> str:
    """The strip on top: what this is, and who chooses and who speaks."""
    spans = "".join(f"<span>{escape(fact)}</span>" for fact in facts)
    return f'<div class="lcrs-head"><h3>{escape(title)}</h3>{spans}</div>'


def profile(name: str, count: int, noun: str, genres: Sequence[str], latest: Sequence[str]) -> str:
    """A line or two on who is speaking: how much is known, favourite genres, latest items."""
    if not count:
        return (
            f'<div class="lcrs-glimpse"><strong>{text(name)}</strong>, of whom no history is '
            "known: the first answers follow from words alone. “Like” builds a history.</div>"
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


def picker_hello(noun: str) -> str:
    """What to do with the items to click."""
    return (
        f'<div class="lcrs-small">Click {noun}s that you like: the belief follows each click. '
        "Then say what you are in the mood for; no click at all is fine, too.</div>"
    )


def found(n_shown: int, n_found: int, noun: str, searched: bool) -> str:
    """How many items were found, so that a screen reader hears it, too."""
    if not searched:
        words = f"The best known of {n_found:,} {noun}s:"
    elif not n_found:
        words = f"No {noun} has these words in its title: try fewer letters."
    elif n_found > n_shown:
        words = f"The best known {n_shown} of {n_found:,} found; Enter takes the first:"
    else:
        words = f"{n_found} found; Enter takes the first:"
    return f'<div class="lcrs-small" role="status">{escape(words)}</div>'


def label(words: str) -> str:
    """Words before some buttons."""
    return f'<span class="lcrs-label">{escape(words)}</span>'


def downloads(files: Mapping[str, tuple[str, str]]) -> str:
    """Links to files that the page itself holds.

    Args:
        files: name of the form -> name of the file, and its address.
    """
    links = " ".join(
        f'<a href="{escape(address)}" download="{escape(name)}">Download {escape(form)}</a>'
        for form, (name, address) in files.items()
    )
    return f'<div role="status">{links}</div>'


def message(value: str, who: str = "You") -> str:
    """What the user said."""
    shown = text(value) if value else '<span class="lcrs-wait">…</span>'
    return f'<div class="lcrs-me">{shown}</div><div class="lcrs-who">{escape(who)}</div>'


def reply(turn: Turn | None, partial: str = "") -> str:
    """What the system says: all of it, or what was written so far, who worded it, what it took."""
    if turn is None or not turn.reply:
        shown = text(partial) if partial else '<span class="lcrs-wait">…</span>'
        return f'<div class="lcrs-it">{shown}</div><div class="lcrs-who">LatentCRS</div>'
    if turn.reply_source == "model":
        who = f"worded by {turn.chat_model}"
    elif turn.chat_model and turn.why_template:
        who = f"plain template instead of {turn.chat_model}: {turn.why_template}"
    else:
        who = "plain template"
    lines = [f"LatentCRS · policy {turn.policy} · {who}", *_choice(turn), cost(turn)]
    small = "".join(f'<div class="lcrs-who">{text(line)}</div>' for line in lines)
    kind = " lcrs-gave-way" if turn.relaxed else ""
    note = f'<div class="lcrs-note{kind}">{text(turn.note)}</div>' if turn.note else ""
    return f'<div class="lcrs-it">{text(turn.reply)}</div>{note}{small}'


def _choice(turn: Turn) -> Iterator[str]:
    """How the policy chose, where it tells."""
    if turn.requirements:
        held = " · ".join(f"{r.constraint.label} (“{r.evidence}”)" for r in turn.requirements)
        yield f"Held to: {held}"
    if turn.reranked and turn.candidates:
        place = {item: number for number, item in enumerate(turn.candidates, start=1)}
        places = [place[item.item] for item in turn.items if item.item in place]
        if places == sorted(places):
            yield "Re-ordered, but these stayed in the recommender's order"
        else:
            yield f"Re-ordered: the recommender had these at places {', '.join(map(str, places))}"


def cost(turn: Turn) -> str:
    """Seconds and tokens of a turn in a line."""
    parts = ", ".join(f"{stage} {spent:.2f}" for stage, spent in turn.seconds.items())
    seconds = f"{sum(turn.seconds.values()):.1f} s ({parts})" if turn.seconds else ""
    return " · ".join(part for part in (seconds, turn.usage) if part)


def heard(turn: Turn) -> str:
    """A finished turn for screen readers, which read an alert out as soon as it appears."""
    titles = "; ".join(text(item.label) for item in turn.items)
    note = f" {text(turn.note)}" if turn.note else ""
    return f'<div role="alert">{text(turn.reply)} Offered: {titles}.{note}</div>'


def card(item: Recommendation, why: str = "") -> str:
    """One offered item: title, year, genres, why it is here, what it does not meet."""
    facts = " · ".join([*([str(item.year)] if item.year else []), *item.genres])
    missed = ", ".join(missed.label for missed in item.misses)
    # the sentence on why begins with what is missed
    told = why or (f"Does not meet: {missed}" if missed else "")
    kind = "lcrs-why lcrs-misses" if missed else "lcrs-why"
    return (
        f'<div class="lcrs-title">{text(item.title)}</div>'
        f'<div class="lcrs-facts">{text(facts or "no further facts")}</div>'
        + (f'<div class="{kind}">{text(told)}</div>' if told else "")
    )


def status(words: str, kind: str = "idle") -> str:
    """The status line; `kind` is "idle", "busy" or "problem"."""
    role = "alert" if kind == "problem" else "status"
    return f'<div class="lcrs-status lcrs-{escape(kind)}" role="{role}"><i></i>{text(words)}</div>'


def panel(title: str, words: str) -> str:
    """Heading and explanation of a part at the side."""
    return f'<div class="lcrs-panel"><h4>{escape(title)}</h4><p>{text(words)}</p></div>'


def drive(words: str) -> str:
    """How far a simulated user is."""
    return f'<div class="lcrs-small" role="status">{text(words)}</div>' if words else ""


N_BARS = 6


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
