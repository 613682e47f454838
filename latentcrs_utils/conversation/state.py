"""What happened in a conversation, and what follows from it: history, offers, requirements."""

from dataclasses import dataclass
from typing import Literal

from latentcrs_utils.constraints.constraint import Requirements
from latentcrs_utils.conversation.turn import Event, Feedback, Turn, Withdrawal
from latentcrs_utils.errors import DataError


@dataclass(frozen=True)
class State:
    """A conversation at one moment.

    Attributes:
        start: item ids that were known at its start, oldest first.
        events: turns, clicks and withdrawals so far, in their order.
    """

    start: tuple[int, ...]
    events: tuple[Event, ...] = ()

    def then(self, event: Event) -> "State":
        """The state after one more event."""
        return State(self.start, (*self.events, event))

    def before(self, turn: Turn) -> "State":
        """The state in which the message of a turn was said.

        Args:
            turn: one of the turns, with its reply or without; or the one that is being answered.

        Raises:
            DataError: the turn is none of this conversation.
        """
        turns = self.turns
        if turn.number == len(turns) + 1:
            return self
        known = turns[turn.number - 1] if 1 <= turn.number <= len(turns) else None
        if known is None or (known.message, known.items) != (turn.message, turn.items):
            raise DataError(
                f"Turn {turn.number} ({turn.message[:40]!r}) is none of this conversation: it was "
                "taken back, or belongs to another one."
            )
        return State(self.start, self.events[: self.events.index(known)])

    @property
    def turns(self) -> list[Turn]:
        """The turns so far."""
        return [event for event in self.events if isinstance(event, Turn)]

    @property
    def messages(self) -> list[str]:
        """The user's messages so far; joined by a space they are x^u."""
        return [turn.message for turn in self.turns]

    @property
    def offered(self) -> list[int]:
        """Ids of all items offered so far."""
        return [item.item for turn in self.turns for item in turn.items]

    @property
    def feedback(self) -> dict[int, Literal["accept", "reject"]]:
        """The last word on every item that was accepted or rejected, by item id."""
        return {event.item: event.kind for event in self.events if isinstance(event, Feedback)}

    @property
    def history(self) -> list[int]:
        """Item ids that the behavior side sees: the known history, then the accepted items."""
        accepted = [item for item, kind in self.feedback.items() if kind == "accept"]
        return [*self.start, *(item for item in accepted if item not in self.start)]

    @property
    def requirements(self) -> Requirements:
        """What variant F holds items to, each with the words that say so; B and V add nothing."""
        known = Requirements()
        for event in self.events:
            if isinstance(event, Turn) and event.variant == "F":
                known = Requirements(event.requirements)
            elif isinstance(event, Withdrawal):
                known = known.without(event.condition)
        return known
