"""What one exchange of a conversation consists of, as plain values that serialise to JSON."""

import textwrap
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal


@dataclass(frozen=True)
class Recommendation:
    """One offered item.

    Attributes:
        item: item id, 1..V.
        title, year, genres: what the catalogue says of it; the year may be unknown (None).
        score: log p(v | S, x) when it was offered.
    """

    item: int
    title: str
    year: int | None
    genres: tuple[str, ...]
    score: float

    @property
    def label(self) -> str:
        """Title and year, ``Fargo (1996)``."""
        return f"{self.title} ({self.year})" if self.year else self.title


@dataclass(frozen=True)
class Turn:
    """One message of the user and the system's answer to it.

    Attributes:
        number: 1 for the first turn.
        message: what the user said.
        items: the offered items, best first.
        intents_before, intents_after: p(m | S, x) of the intents that lead before or after the
            message, by name, the highest after it first; both have the same names.
        reply: the sentence shown to the user.
        reply_source: "model" when a language model worded it, "template" when a plain template did.
        talker: name of the language model; None without one.
        why_template: why the template speaks; None when the model does.
        draft: what the language model wrote, shown or not.
        note: something that the user should know about this turn, such as a cold start.
        seconds: time spent "reading" the message, "choosing" the items, "writing" the reply.
        prompt_tokens, completion_tokens: the language model's bill for the reply.
    """

    number: int
    message: str
    items: tuple[Recommendation, ...]
    intents_before: Mapping[str, float]
    intents_after: Mapping[str, float]
    reply: str = ""
    reply_source: str = "template"
    talker: str | None = None
    why_template: str | None = None
    draft: str = ""
    note: str = ""
    seconds: Mapping[str, float] = field(default_factory=dict)
    prompt_tokens: int = 0
    completion_tokens: int = 0

    def __str__(self) -> str:
        """The exchange as a reader of a transcript wants it."""
        said = (("You:    ", self.message), ("System: ", self.reply))
        lines = [
            textwrap.fill(text, 96, initial_indent=who, subsequent_indent=" " * 8)
            for who, text in said
        ]
        lines += [
            f"        {rank}. {item.label}"
            + (f"  [{', '.join(item.genres)}]" if item.genres else "")
            for rank, item in enumerate(self.items, start=1)
        ]
        if self.note:
            lines.append(f"        Note: {self.note}")
        return "\n".join(lines)

    def to_dict(self) -> dict[str, Any]:
        """The turn as JSON types."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Turn":
        """The turn that `to_dict` wrote.

        Raises:
            KeyError, TypeError, ValueError: a field is missing, unknown or of the wrong type.
        """
        items = tuple(
            Recommendation(**{**item, "genres": tuple(item["genres"])}) for item in values["items"]
        )
        return cls(**{**values, "items": items})


@dataclass(frozen=True)
class Feedback:
    """A click on an offered item: "accept" (like this) or "reject" (not this)."""

    kind: Literal["accept", "reject"]
    item: int
