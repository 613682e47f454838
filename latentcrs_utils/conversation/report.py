"""What a turn reports of itself beside its items: the shift of the intents, and notes."""

from collections.abc import Iterator, Sequence

from torch import Tensor

# Intents that a turn reports: the leaders before the message and the leaders after it.
_LEADERS = 6


def shift(
    before: Tensor, after: Tensor, names: Sequence[str]
) -> tuple[dict[str, float], dict[str, float]]:
    """The leading intents before and after a message, by name, the highest after it first.

    Args:
        before, after: p(m | S, x), [K].
        names: of the K intents.
    """
    leaders = {*before.topk(min(_LEADERS, len(before))).indices.tolist()}
    leaders |= {*after.topk(min(_LEADERS, len(after))).indices.tolist()}
    order = sorted(leaders, key=lambda j: (-float(after[j]), j))
    return (
        {names[j]: float(before[j]) for j in order},
        {names[j]: float(after[j]) for j in order},
    )


def notes_on(
    noun: str, *, cold: bool, n_chosen: int, n_items: int, refusals: bool, n_dropped: int
) -> Iterator[str]:
    """Yield what the user should know about a turn.

    Args:
        noun: what an item is called.
        cold: nothing is known of the user.
        n_chosen, n_items: how many items there are, and how many there should be.
        refusals: the user refused something, which was kept out.
        n_dropped: how many of the oldest messages are no longer read.
    """
    if cold:
        yield f"No history is known, so these {noun}s follow from your words alone."
    if n_chosen < n_items:
        refused = ", or is what you refused" if refusals else ""
        yield (
            f"Only {n_chosen} of the {n_items} places could be filled: the rest "
            f"of the catalogue was seen or offered{refused}."
        )
    if n_dropped:
        yield f"The dialogue is long: its first {n_dropped} messages are no longer read."
