"""The belief over intents as bars, and the same in words."""

from collections.abc import Mapping

from latentcrs_utils.widgets.html import text

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
