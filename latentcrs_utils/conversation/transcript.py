"""A conversation as JSON types, and back; and as a page of Markdown to read."""

import html
import operator
import re
import unicodedata
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Literal

from latentcrs_utils.constraints.constraint import Constraint, Requirements
from latentcrs_utils.conversation.explanation import why
from latentcrs_utils.conversation.reply import thing
from latentcrs_utils.conversation.turn import Event, Feedback, Turn, Withdrawal
from latentcrs_utils.errors import DataError

if TYPE_CHECKING:
    from latentcrs_utils.conversation.session import Conversation
    from latentcrs_utils.data.sequences import Dataset


FORMAT = 2
# format 1 knew neither variants nor requirements
_READABLE = (1, FORMAT)


def write(conversation: "Conversation") -> dict[str, Any]:
    """Everything that happened in a conversation, as dicts, lists, strings and numbers."""
    data = conversation.model.data
    return {
        "format": FORMAT,
        "model": conversation.model.name,
        "data": data.name,
        "catalogue": data.fingerprint,
        "user": conversation.user,
        "history": list(conversation.state.start),
        "n_items": conversation.n_items,
        "variant": conversation.variant,
        "events": [_noted(data, event) for event in conversation.state.events],
    }


def _noted(data: "Dataset", event: Event) -> dict[str, Any]:
    if isinstance(event, Turn):
        return {"say": event.to_dict()}
    if isinstance(event, Withdrawal):
        return {"withdraw": str(event.constraint)}
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
        return Withdrawal(Constraint.parse(str(event["withdraw"])))
    kind: Literal["accept", "reject"] = "accept" if "accept" in event else "reject"
    data.title(event[kind])
    return Feedback(kind, event[kind])


_MARKS = {"accept": "liked", "reject": "refused"}


def transcript_markdown(conversation: "Conversation") -> str:
    """The conversation as a page of Markdown: who, what was said, what was offered and why.

    Foreign text is escaped (:mod:`.markdown`), so that it is shown and does nothing.
    """
    model, noun = conversation.model, thing(conversation.model.data.name)
    start = len(conversation.state.start)
    who = "A stranger" if conversation.user is None else f"User {conversation.user}"
    lines = [
        f"# A conversation with {in_markdown(model.name)}",
        f"{in_markdown(who)} of {in_markdown(model.data.name)}, of whom "
        f"{start} liked {noun}{'s' * (start != 1)} were known at the start.",
    ]
    for event in conversation.state.events:
        if isinstance(event, Turn):
            lines += _turn(conversation, event)
        elif isinstance(event, Withdrawal):
            lines.append(f"*Taken back: {in_markdown(event.constraint.label)}*")
        else:
            label = in_markdown(conversation.label(event.item))
            lines.append(f"*{_MARKS[event.kind].capitalize()}: {label}*")
    return "\n\n".join([*lines, *_at_the_end(conversation)]) + "\n"


def _turn(conversation: "Conversation", turn: Turn) -> Iterator[str]:
    """Yield the paragraphs of one turn."""
    yield f"## {turn.number}. Variant {turn.variant}"
    yield quoted(turn.message)
    yield in_markdown(turn.reply)
    if turn.requirements:
        yield f"Required: {_required(Requirements(turn.requirements))}."
    cards = []
    for place, (item, reason) in enumerate(zip(turn.items, why(conversation, turn), strict=True)):
        genres = f", {in_markdown(', '.join(item.genres))}" if item.genres else ""
        label = f"**{in_markdown(item.label)}**{genres}"
        cards.append(f"{place + 1}. {label}: {in_markdown(reason)}")
    yield "\n".join(cards)
    if turn.note:
        yield f"Note: {in_markdown(turn.note)}"
    by = f"worded by {turn.chat_model}" if turn.reply_source == "model" else "plain template"
    because = f" ({turn.why_template})" if turn.why_template else ""
    yield f"*{in_markdown(f'{by}{because}; {turn.usage}')}*"


def _required(requirements: Requirements) -> str:
    return "; ".join(in_markdown(f"{r.constraint.label} (“{r.evidence}”)") for r in requirements)


def _at_the_end(conversation: "Conversation") -> Iterator[str]:
    """Yield what holds at the end: likes, refusals, requirements."""
    said = []
    for kind, mark in _MARKS.items():
        items = [item for item, found in conversation.feedback.items() if found == kind]
        if items:
            said.append(f"- {mark}: {'; '.join(in_markdown(conversation.label(i)) for i in items)}")
    if conversation.requirements:
        said.append(f"- required: {_required(conversation.requirements)}")
    if said:
        yield "## At the end"
        yield "\n".join(said)


# What Markdown, GitHub's and Jupyter's dialects included, reads as more than a character.
_MARKUP = re.compile(r"([*_`\[\]|~])")
_OPENING = re.compile(r"^([-+=#]|\d+(?=[.)]))(.?)", re.DOTALL)
# a dollar sign or a backslash may begin a formula; an address would become a link
_AS_ENTITY = str.maketrans({"\\": "&#92;", "$": "&#36;", "@": "&#64;"})
_ADDRESS = re.compile(r"(?i)(\b(?:https?|ftp|mailto|xmpp)):|\b(www)\.")
_DIRECTIONS = {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}


def in_markdown(text: str) -> str:
    """A text on one line that Markdown renders as its own characters.

    What has no form of its own is left out: control characters, halves of surrogate pairs, and
    marks of direction, which would turn the words around them.
    """
    line = " ".join("".join(filter(_visible, text)).split())
    line = html.escape(line, quote=False).translate(_AS_ENTITY)
    line = _ADDRESS.sub(lambda m: f"{m[1]}&#58;" if m[1] else f"{m[2]}&#46;", line)
    line = _MARKUP.sub(r"\\\1", line)
    return _OPENING.sub(lambda m: f"{m[1]}\\{m[2]}" if m[1][0].isdigit() else rf"\{m[0]}", line)


def quoted(text: str) -> str:
    """A text of any number of lines as a Markdown quotation."""
    lines = [in_markdown(line) for line in text.splitlines()]
    return "\n".join(f"> {line}  " if line else ">" for line in lines).rstrip()


def _visible(character: str) -> bool:
    if character in "\n\t":
        return True
    directs = unicodedata.bidirectional(character) in _DIRECTIONS
    return not directs and unicodedata.category(character) not in ("Cc", "Cs")
