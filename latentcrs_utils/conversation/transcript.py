"""A conversation as JSON types, and back; and as a page of Markdown to read."""

import html
import json
import re
from collections.abc import Mapping
from typing import Any

from latentcrs_utils.constraints.constraint import Constraint, Requirement
from latentcrs_utils.conversation.guards import may_be_text
from latentcrs_utils.conversation.in_words import TEMPLATES
from latentcrs_utils.conversation.turn import (
    Event,
    Feedback,
    Kind,
    Push,
    Recommendation,
    State,
    Turn,
    Withdrawal,
    shown,
)
from latentcrs_utils.data.sequences import Dataset
from latentcrs_utils.errors import DataError

FORMAT = 4
_TUPLES = ("relaxed", "candidates", "reranked", "choosing_tokens")


def write(data: Dataset, state: State, **setting: Any) -> dict[str, Any]:
    """A conversation as dicts, lists, strings, numbers; `setting`: model, user, n_items, policy."""

    def noted(event: Event) -> dict[str, Any]:
        if isinstance(event, Turn):
            return {"say": event}
        if isinstance(event, Withdrawal):
            return {"withdraw": event.constraint}
        if isinstance(event, Push):
            return {"push": event}
        return {event.kind: event.item, "title": data.title(event.item)}

    def plain(value: Any) -> Any:
        if isinstance(value, Requirement):
            found: dict[str, Any] = {"evidence": value.evidence, "source": value.source}
            found |= {"probability": value.probability} if value.probability < 1 else {}
            return {"condition": str(value.constraint), **found}
        return vars(value) if isinstance(value, Turn | Recommendation | Push) else str(value)

    values = {"format": FORMAT, "data": data.name, "catalogue": data.fingerprint, **setting}
    values |= {"history": state.start, "events": [noted(event) for event in state.events]}
    return json.loads(json.dumps(values, default=plain))


def read(data: Dataset, values: Mapping[str, Any]) -> tuple[dict[str, Any], State]:
    """The setting (user, n_items, policy) and state that `write` noted; else a DataError."""
    if not isinstance(values, Mapping) or values.get("format") != FORMAT:
        advice = "give what `transcript()` of this version of the course returned"
        raise DataError(f"This is not a transcript of format {FORMAT}: {advice}.")
    if values.get("catalogue") != data.fingerprint:
        made = f"This transcript was made with another catalogue ({str(values.get('data'))[:40]!r})"
        other = f"the items of {data.name} have other numbers"
        raise DataError(f"{made}; {other}. Load the data set that it was made with.")
    try:
        setting = {name: values[name] for name in ("user", "n_items", "policy")}
        if type(setting["n_items"]) is not int or not isinstance(setting["policy"], str):
            raise TypeError("n_items is no number, or policy no name")
        events = [_event(data, event) for event in values["events"]]
        return setting, State(map(data.valid_item, values["history"]), events)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        what = f"{type(error).__name__}: {error}"
        raise DataError(f"The transcript is damaged ({what}); export it again.") from error


def _event(data: Dataset, event: Mapping[str, Any]) -> Event:
    if "say" in event:
        return _turn(data, event["say"])
    if "withdraw" in event:
        return Withdrawal(Constraint.parse(str(event["withdraw"])))
    if "push" in event:
        return _push(event["push"])
    kind: Kind = "accept" if "accept" in event else "reject"
    return Feedback(kind, data.valid_item(event[kind]))


def _push(pushed: Mapping[str, Any]) -> Push:
    return Push(int(pushed["intent"]), bool(pushed["more"]), tuple(map(int, pushed["shown"])))


def _turn(data: Dataset, said: Mapping[str, Any]) -> Turn:
    if not all(isinstance(said[name], str) for name in ("message", "reply", "note")):
        raise TypeError("a text is none")
    items, requirements = [], []
    for item in said["items"]:
        misses = tuple(map(Constraint.parse, item["misses"]))
        items.append(Recommendation(**{**item, "genres": tuple(item["genres"]), "misses": misses}))
    for found in map(dict, said["requirements"]):
        requirements.append(Requirement(Constraint.parse(found.pop("condition")), **found))
    values = {**said, **{name: tuple(said[name]) for name in _TUPLES}}
    values["question"] = tuple((int(m), item, str(title)) for m, item, title in said["question"])
    values["pushes"] = tuple(map(_push, said["pushes"]))
    turn = Turn(**{**values, "items": tuple(items), "requirements": tuple(requirements)})
    asked = [item for _, item, _ in turn.question]
    for number in (*(item.item for item in items), *turn.candidates, *turn.reranked, *asked):
        data.valid_item(number)
    return turn


# What Markdown, GitHub's and Jupyter's dialects included, reads as more than a character.
_MARKUP = re.compile(r"([*_`\[\]|~])")
_OPENING = re.compile(r"^([-+=#]|\d+(?=[.)]))(.?)", re.DOTALL)
# a dollar sign or a backslash may begin a formula; an address would become a link
_AS_ENTITY = str.maketrans({"\\": "&#92;", "$": "&#36;", "@": "&#64;"})
_ADDRESS = re.compile(r"(?i)(\b(?:https?|ftp|mailto|xmpp)):|\b(www)\.")


def in_markdown(text: str) -> str:
    """A text on one line that Markdown renders as its own characters; others are left out."""
    line = " ".join("".join(filter(may_be_text, shown(text))).split())
    line = html.escape(line, quote=False).translate(_AS_ENTITY)
    line = _ADDRESS.sub(lambda m: f"{m[1]}&#58;" if m[1] else f"{m[2]}&#46;", line)
    line = _MARKUP.sub(r"\\\1", line)
    return _OPENING.sub(lambda m: f"{m[1]}\\{m[2]}" if m[1][0].isdigit() else rf"\{m[0]}", line)


def quoted(text: str) -> str:
    """A text of any number of lines as a Markdown quotation."""
    lines = [in_markdown(line) for line in text.splitlines()]
    return "\n".join(f"> {line}  " if line else ">" for line in lines).rstrip()


TEMPLATES.filters |= {"md": in_markdown, "quoted": quoted}
