"""Why a turn came out as it did, as plain values that serialise to JSON and print as a few lines.

`Explainer` computes them. Words are a user's: whoever shows them as HTML escapes them first.
"""

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

_WIDTH = 96
# Smaller effects are not told: in bfloat16 the company in a batch moves an intent by up to 0.01.
_TOLD = 0.01


@dataclass(frozen=True)
class IntentChange:
    """How far a turn moved one intent.

    Attributes:
        name: of the anchor.
        before, after: p(m | S, x) before and after, in [0, 1].
    """

    name: str
    before: float
    after: float

    @property
    def change(self) -> float:
        """After minus before: positive if the intent rose."""
        return self.after - self.before


@dataclass(frozen=True)
class LeftOut:
    """What some words, or an item of the history, did: all is as it is minus as without them.

    The rest stays verbatim and is read afresh without them. So an effect is that of these words in
    the company of all others: effects do not add up, and of two words that say the same neither may
    show any.

    Attributes:
        text: the words, or title and year of the item.
        nats: KL(p(m | S, x) || p(m | S, x without)), how much they moved the intents altogether.
        intents: p(m | S, x) - p(m | S, x without) by intent name; positive if they raised it.
        log_items: log p(v | S, x) - log p(v | S, x without) of the offered items, in nats.
        message: for words, the number of the message in which they begin, from 1.
        item: for an item of the history, its id.
    """

    text: str
    nats: float
    intents: Mapping[str, float]
    log_items: tuple[float, ...]
    message: int | None = None
    item: int | None = None


@dataclass(frozen=True)
class NearText:
    """A training utterance near the words.

    Attributes:
        text: the utterance.
        cosine: with x, in the standardised space.
        intent: name of the intent that these words lead to without any history.
    """

    text: str
    cosine: float
    intent: str


@dataclass(frozen=True)
class Contribution:
    """What one player added to the score of an item: its Shapley value.

    Attributes:
        player: "history", "words" or "residual".
        nats: part of log p(v | S, x) - log p(v | nothing); the parts add up to it.
        share: nats over the sum of all players' absolute nats: the absolute shares add up to 1, and
            a negative one spoke against the item. 0 where no player did anything.
    """

    player: str
    nats: float
    share: float


@dataclass(frozen=True)
class ItemReasons:
    """Why one item was offered.

    Attributes:
        item: item id; label: title and year.
        score: log p(v | S, x); baseline: log p(v | nothing), without history, words and residual.
        contributions: by player; their nats are score - baseline.
        ranks: place among the items that could be offered, 1 the best, when the model knows
            "both", the "history" alone or the "words" alone (the residual speaks each time).
        intents: the leading p(m | v, S, x), by name: which intents explain the item.
    """

    item: int
    label: str
    score: float
    baseline: float
    contributions: tuple[Contribution, ...]
    ranks: Mapping[str, int]
    intents: Mapping[str, float]


@dataclass(frozen=True)
class ListReasons:
    """What the list of offered items owes to the words and to the history.

    Attributes:
        n_items: how many were offered.
        kept_without_words, kept_without_history: how many of them would have been offered anyway.
        without_words, without_history: title and year of what would have been offered, best first.
    """

    n_items: int
    kept_without_words: int
    kept_without_history: int
    without_words: tuple[str, ...]
    without_history: tuple[str, ...]


@dataclass(frozen=True)
class Explanation:
    """What happened in the head of the system in one turn.

    Attributes:
        noun: what an item is called, such as "film".
        nats: KL(after || before) of the intent posterior.
        intents: those that moved most, the largest change first, and the leader after the turn.
        words, history: what would be otherwise without some words, or an item of the history, in
            their order; empty where that was not asked for.
        nearest: training utterances nearest to x, the nearest first.
        items: the offered items, best first.
        offered: the list as a whole.
    """

    noun: str
    nats: float
    intents: tuple[IntentChange, ...]
    words: tuple[LeftOut, ...]
    history: tuple[LeftOut, ...]
    nearest: tuple[NearText, ...]
    items: tuple[ItemReasons, ...]
    offered: ListReasons

    def to_dict(self) -> dict[str, Any]:
        """The explanation as JSON types."""
        return asdict(self)

    def describe(self) -> str:
        """The explanation in a few lines of text: titles and names of intents, no numbers of them.

        In brackets stand the percentage points that an intent has of these words, or of an item of
        the history, after the turn. Effects below one point are not told.
        """
        lines = [*self._movement(), *self._nearest()]
        for place, reasons in enumerate(self.items, start=1):
            lines.append(_wrapped(f"{place}. ", _item_line(reasons)))
        if self.items:
            lines.append(_wrapped("", _list_line(self.offered, self.noun)))
        return "\n".join(lines)

    def _movement(self) -> list[str]:
        last = max((effect.message or 0 for effect in self.words), default=0)
        new = [effect for effect in self.words if effect.message == last]
        old = [effect for effect in self.words if effect.message != last]
        lines = [f"The intents moved by {self.nats:.2f} nats."]
        moved = [intent for intent in self.intents if abs(intent.change) >= _TOLD]
        for intent in moved:
            verb = "rose" if intent.change > 0 else "fell"
            before, after = _percent(intent.before), _percent(intent.after)
            line = f"{intent.name} {verb} from {before} to {after}"
            words = _causes("words", new, intent, "“{}”")
            earlier = _causes("said before", old, intent, "“{}”")
            items = _causes("history", self.history, intent, "{}")
            parts = [part for part in (line, words, earlier, items) if part]
            lines.append(_wrapped("- ", f"{'; '.join(parts)}."))
        return lines

    def _nearest(self) -> list[str]:
        if not self.nearest:
            return []
        near = self.nearest[0]
        told = f"Closest training sentence: “{_short(near.text)}” ({near.intent})."
        return [_wrapped("", told)]


def behind(change: IntentChange, effects: Sequence[LeftOut], n: int = 3) -> list[LeftOut]:
    """Those that moved an intent the way it went, the strongest first.

    Of an intent that rose, or stayed, these are the words or items whose absence lowers it most; of
    one that fell, those whose absence raises it most.

    Args:
        change: one of the intents of an explanation.
        effects: its `words` or its `history`.
        n: how many at most.
    """
    sign = -1 if change.change < 0 else 1
    moved = [effect for effect in effects if sign * effect.intents[change.name] > 0]
    return sorted(moved, key=lambda effect: -sign * effect.intents[change.name])[:n]


def _causes(what: str, effects: Sequence[LeftOut], change: IntentChange, marks: str) -> str:
    """What is behind a change, with its points; "" where nothing is large enough to be told."""
    points = [(effect.text, effect.intents[change.name]) for effect in behind(change, effects)]
    told = [
        f"{marks.format(_short(text))} ({100 * value:+.0f})"
        for text, value in points
        if abs(value) >= _TOLD
    ]
    return f"{what}: {', '.join(told)}" if told else ""


def _item_line(reasons: ItemReasons) -> str:
    shares = [
        f"{part.player} {_percent(abs(part.share))}{' against' * (part.share < 0)}"
        for part in reasons.contributions
    ]
    ranks = reasons.ranks
    line = (
        f"{reasons.label}: {', '.join(shares)}; rank {ranks['both']}, by history alone "
        f"{ranks['history']}, by words alone {ranks['words']}"
    )
    for name, value in list(reasons.intents.items())[:1]:
        line += f"; explained by {name} ({_percent(value)})"
    return f"{line}."


def _list_line(offered: ListReasons, noun: str) -> str:
    return (
        f"Of these {offered.n_items} {noun}s, {offered.kept_without_words} would be here without "
        f"the words, {offered.kept_without_history} without the history."
    )


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"


def _short(text: str) -> str:
    return textwrap.shorten(text, 60, placeholder=" …") if " " in text else text[:60]


def _wrapped(lead: str, text: str) -> str:
    indent = " " * len(lead)
    return textwrap.fill(text, _WIDTH, initial_indent=lead, subsequent_indent=indent)
