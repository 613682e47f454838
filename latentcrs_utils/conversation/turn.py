"""What one exchange of a conversation consists of, as plain values that serialise to JSON."""

import re
import textwrap
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from latentcrs_utils.constraints.constraint import Constraint, Requirement, Requirements
from latentcrs_utils.data.sequences import Dataset
from latentcrs_utils.errors import DataError
from latentcrs_utils.simulation.titles import spoken_title

PolicyName = Literal["B", "A", "F", "V"]
Kind = Literal["accept", "reject"]
# Marks of direction, which turn the words around them, and what else shows nothing; joiners stay.
_UNSEEN = re.compile(
    "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180e\u200b\u200e\u200f\u2028-\u202e"
    "\u2060-\u206f\u3164\ufeff\uffa0\ufff9-\ufffb\U0001d173-\U0001d17a\U000e0000-\U000e007f]"
)


def shown(text: str) -> str:
    """A text for the screen: without marks of direction and other invisible characters."""
    return _UNSEEN.sub(lambda found: " " if found[0] in "\u2028\u2029" else "", text)


@dataclass(frozen=True)
class Recommendation:
    """One offered item, by its id (1..V), with what the catalogue says of it.

    `score` is log p(v | S, x) at the time; `misses` are requirements not satisfied (policy F).
    """

    item: int
    title: str
    year: int | None
    genres: tuple[str, ...]
    score: float
    misses: tuple[Constraint, ...] = ()

    @property
    def label(self) -> str:
        """Title and year, ``Fargo (1996)``."""
        return f"{self.title} ({self.year})" if self.year else self.title


def describe(data: Dataset, item: int, score: float = 0.0) -> Recommendation:
    """What the catalogue says of an item, with its log p(v | S, x)."""
    row = data.item(item)
    return Recommendation(item, row["title"], row["year"], tuple(row["genres"] or ()), score)


def more_like(title: str) -> str:
    """The message that asks for more of a kind, as the simulated users of `by example` would."""
    # a year in brackets stays out: policy F would hold the next items to it
    return f"Something like {spoken_title(title)}."


@dataclass(frozen=True)
class Push:
    """A push on an intent's bar: "more of this", or "not this".

    `shown` are the intents, 0..K-1, that could be pushed; DataError: under two, or not this one.
    """

    intent: int
    more: bool
    shown: tuple[int, ...]

    def __post_init__(self) -> None:
        if self.intent not in self.shown or len({*self.shown}) < 2:
            known = "is pushed among those shown, of which there are two or more"
            raise DataError(f"Intent {self.intent} {known}; here {len({*self.shown})} are shown.")


@dataclass(frozen=True)
class Turn:
    """One message of the user and the system's answer to it.

    The intents are p(m | S, x) of those that lead before or after the message, by name, the highest
    after it first; both have the same names. `policy` says how items were chosen: "B", by score
    alone; "A", so, with a question; "F", held to requirements; "V", re-ordered by a language model.
    """

    number: int  # 1 for the first turn; 0 for a short answer to what was no wish
    message: str
    items: tuple[Recommendation, ...]  # best first
    intents_before: Mapping[str, float]
    intents_after: Mapping[str, float]
    reply: str = ""
    reply_source: str = "template"  # or "model", when a language model worded the reply
    chat_model: str | None = None  # name of the language model
    why_template: str | None = None  # why the template speaks
    draft: str = ""  # what the language model wrote, shown or not
    note: str = ""  # what the user should know about this turn, such as a cold start
    seconds: Mapping[str, float] = field(default_factory=dict)  # "reading", "choosing", "writing"
    prompt_tokens: int = 0  # read by the language model for the reply
    completion_tokens: int = 0  # written by it
    policy: PolicyName = "B"
    requirements: tuple[Requirement, ...] = ()  # all that hold after the message (F)
    relaxed: tuple[str, ...] = ()  # what was relaxed to fill the list (F)
    candidates: tuple[int, ...] = ()  # item ids as the recommender ranked them (V)
    reranked: tuple[int, ...] = ()  # as the language model did; empty if not asked, or it failed
    choosing_tokens: tuple[int, int] = (0, 0)  # read and written to find requirements or an order
    # False where a language model failed, or an endpoint did not report its tokens
    counted: bool = True
    # asked at the end of the reply (A): intent, item, title of each of two
    question: tuple[tuple[int, int, str], ...] = ()
    pushes: tuple[Push, ...] = ()  # that the message is, where it answers such a question

    @property
    def usage(self) -> str:
        """The language model's tokens in words: "370 tokens read, 24 written"."""
        read = self.prompt_tokens + self.choosing_tokens[0]
        written = self.completion_tokens + self.choosing_tokens[1]
        if self.counted:
            return f"{read:,} tokens read, {written:,} written"
        if read + written == 0:
            return "tokens not counted: nobody reported them"
        return f"at least {read:,} tokens read, {written:,} written: nobody reported the others"

    def __str__(self) -> str:
        required = "; ".join(map(str, self.requirements))
        asked = f"Required: {required}" if required else ""
        leads = {"You:    ": self.message, "System: ": self.reply, " " * 8: asked}
        lines = [
            textwrap.fill(text, 96, initial_indent=lead, subsequent_indent=" " * 8)
            for lead, text in leads.items()
            if text
        ]
        for rank, item in enumerate(self.items, start=1):
            genres = f"  [{', '.join(item.genres)}]" if item.genres else ""
            lines.append(f"        {rank}. {item.label}{genres}")
        lines += [f"        Note: {self.note}"] if self.note else []
        lines += [] if self.counted else [f"        Usage: {self.usage}."]
        return shown("\n".join(lines))


@dataclass(frozen=True)
class Feedback:
    """A click on an offered item: "accept" (like this) or "reject" (not this)."""

    kind: Kind
    item: int


@dataclass(frozen=True)
class Withdrawal:
    """A requirement that the user takes back, by its constraint."""

    constraint: Constraint


Event = Turn | Feedback | Withdrawal | Push


class State:
    """A conversation at one moment: item ids known at its `start`, oldest first, and `events`."""

    def __init__(self, start: Iterable[int], events: Iterable[Event] = ()):
        self.start, self.events = tuple(start), tuple(events)

    def before(self, turn: Turn) -> "State":
        """The state when a turn of this conversation, or the next, was said; else `DataError`."""
        turns = dict(enumerate(self.turns, start=1))
        if turn.number == len(turns) + 1:
            return State(self.start, self.events)
        known = turns.get(turn.number)
        if known is None or (known.message, known.items) != (turn.message, turn.items):
            where = "none of this conversation: it was taken back, or belongs to another one"
            raise DataError(f"Turn {turn.number} ({turn.message[:40]!r}) is {where}.")
        return State(self.start, self.events[: self.events.index(known)])

    @property
    def answers(self) -> list[Turn]:
        """The turns so far, and the short answers to what was no wish."""
        return [event for event in self.events if isinstance(event, Turn)]

    @property
    def turns(self) -> list[Turn]:
        """The turns so far."""
        return [turn for turn in self.answers if turn.number]

    @property
    def messages(self) -> list[str]:
        """The user's messages so far; joined by a space they are x^u."""
        return [turn.message for turn in self.turns]

    @property
    def offered(self) -> list[int]:
        """Ids of all items offered so far."""
        return [item.item for turn in self.turns for item in turn.items]

    @property
    def feedback(self) -> dict[int, Kind]:
        """The last word on every item that was accepted or rejected, by item id."""
        return {event.item: event.kind for event in self.events if isinstance(event, Feedback)}

    @property
    def history(self) -> list[int]:
        """Item ids that the behavior side sees: the known history, then the accepted items."""
        accepted = [item for item, kind in self.feedback.items() if kind == "accept"]
        return [*self.start, *(item for item in accepted if item not in self.start)]

    @property
    def excluded(self) -> set[int]:
        """Ids of what is not offered (again): the history, what was offered, what was clicked."""
        return {*self.history, *self.offered, *self.feedback}

    @property
    def pushes(self) -> tuple[Push, ...]:
        """The pushes on intents so far, but those that a later one on the same intent revokes."""
        pushed = [event for event in self.events if isinstance(event, Turn | Push)]
        pushes = [p for e in pushed for p in (e.pushes if isinstance(e, Turn) else (e,))]
        last = {push.intent: push.more for push in pushes}
        return tuple(push for push in pushes if push.more == last[push.intent])

    @property
    def requirements(self) -> Requirements:
        """What policy F holds items to, each with the words that say so; B and V add nothing."""
        known = Requirements()
        for event in self.events:
            if isinstance(event, Turn) and event.policy == "F":
                known = Requirements(event.requirements)
            elif isinstance(event, Withdrawal):
                known = known.without(event.constraint)
        return known
