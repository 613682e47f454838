"""A conversation as JSON types, and back."""

import operator
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from latentcrs_utils.conversation.turn import Feedback, Turn
from latentcrs_utils.errors import DataError

if TYPE_CHECKING:
    from latentcrs_utils.conversation.session import Conversation
    from latentcrs_utils.data import Dataset

FORMAT = 1


def write(
    conversation: "Conversation", history: Sequence[int], events: Sequence[Turn | Feedback]
) -> dict[str, Any]:
    """Everything that happened in a conversation, as dicts, lists, strings and numbers.

    Args:
        conversation: whose setting is noted.
        history: item ids known at its start.
        events: turns and clicks in their order.
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
        "events": [
            {"say": event.to_dict()}
            if isinstance(event, Turn)
            else {event.kind: event.item, "title": data.title(event.item)}
            for event in events
        ],
    }


def read(
    data: "Dataset", values: Mapping[str, Any]
) -> tuple[dict[str, Any], list[Turn | Feedback]]:
    """The setting (user, history, n_items) and the events that `write` noted.

    Args:
        data: the catalogue to go on with.
        values: a transcript.

    Raises:
        DataError: a field is missing or wrong, or the transcript is of another catalogue.
    """
    if not isinstance(values, Mapping) or values.get("format") != FORMAT:
        raise DataError(
            f"This is not a transcript of format {FORMAT}: give what `transcript()` returned."
        )
    if values.get("catalogue") != data.fingerprint:
        raise DataError(
            f"This transcript was made with another catalogue ({str(values.get('data'))[:40]!r}); "
            f"the items of {data.name} have other numbers. Load the data set that it was made with."
        )
    try:
        setting = {name: values[name] for name in ("user", "history", "n_items")}
        setting["history"] = [operator.index(item) for item in setting["history"]]
        events = [_event(data, event) for event in values["events"]]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DataError(
            f"The transcript is damaged ({type(error).__name__}: {error}); export it again."
        ) from error
    return setting, events


def _event(data: "Dataset", event: Mapping[str, Any]) -> Turn | Feedback:
    if "say" in event:
        turn = Turn.from_dict(event["say"])
        for item in turn.items:
            data.title(item.item)
        return turn
    kind: Literal["accept", "reject"] = "accept" if "accept" in event else "reject"
    data.title(event[kind])
    return Feedback(kind, event[kind])
