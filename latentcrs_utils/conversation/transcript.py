"""A conversation as JSON types, and back."""

import operator
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from latentcrs_utils.conversation.turn import Event, Feedback, Turn, Withdrawal
from latentcrs_utils.errors import DataError

if TYPE_CHECKING:
    from latentcrs_utils.conversation.session import Conversation
    from latentcrs_utils.data import Dataset

FORMAT = 2
# format 1 knew neither variants nor requirements
_READABLE = (1, FORMAT)


def write(
    conversation: "Conversation", history: Sequence[int], events: Sequence[Event]
) -> dict[str, Any]:
    """Everything that happened in a conversation, as dicts, lists, strings and numbers.

    Args:
        conversation: whose setting is noted.
        history: item ids known at its start.
        events: turns, clicks and withdrawals in their order.
    """
    data = conversation.model.data
    return {
        "format": FORMAT,
        "model": conversation.model.name,
        "data": data.name,
        "catalogue": data.fingerprint,
        "user": conversation.user,
        "history": list(history),
        "n_items": conversation.n_items,
        "variant": conversation.variant,
        "events": [_noted(data, event) for event in events],
    }


def _noted(data: "Dataset", event: Event) -> dict[str, Any]:
    if isinstance(event, Turn):
        return {"say": event.to_dict()}
    if isinstance(event, Withdrawal):
        return {"withdraw": event.condition}
    return {event.kind: event.item, "title": data.title(event.item)}


def read(data: "Dataset", values: Mapping[str, Any]) -> tuple[dict[str, Any], list[Event]]:
    """The setting (user, history, n_items, variant) and the events that `write` noted.

    Args:
        data: the catalogue to go on with.
        values: a transcript.

    Raises:
        DataError: a field is missing or wrong, or the transcript is of another catalogue.
    """
    if not isinstance(values, Mapping) or values.get("format") not in _READABLE:
        raise DataError(
            f"This is not a transcript of format {_READABLE[0]} or {FORMAT}: give what "
            "`transcript()` returned."
        )
    if values.get("catalogue") != data.fingerprint:
        raise DataError(
            f"This transcript was made with another catalogue ({str(values.get('data'))[:40]!r}); "
            f"the items of {data.name} have other numbers. Load the data set that it was made with."
        )
    try:
        setting = {name: values[name] for name in ("user", "history", "n_items")}
        setting["variant"] = values["variant"] if values["format"] == FORMAT else "B"
        setting["history"] = [operator.index(item) for item in setting["history"]]
        events = [_event(data, event) for event in values["events"]]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DataError(
            f"The transcript is damaged ({type(error).__name__}: {error}); export it again."
        ) from error
    return setting, events


def _event(data: "Dataset", event: Mapping[str, Any]) -> Event:
    if "say" in event:
        turn = Turn.from_dict(event["say"])
        for item in (*(offered.item for offered in turn.items), *turn.candidates, *turn.reranked):
            data.title(item)
        return turn
    if "withdraw" in event:
        return Withdrawal(str(event["withdraw"]))
    kind: Literal["accept", "reject"] = "accept" if "accept" in event else "reject"
    data.title(event[kind])
    return Feedback(kind, event[kind])
