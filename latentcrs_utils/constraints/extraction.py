"""Who reads the requirements out of a message: lexicon, classifier or language model (policy F).

A language model answers in a JSON schema whose values are the catalogue's own, and quotes the
user's words for each: what they do not support does not count. A small model still fills such a
form with near noise, so the lexicon alone is the default.
"""

import json
import re
import textwrap
import threading
from dataclasses import dataclass, replace
from typing import Any, Literal, Protocol, get_args

from latentcrs_utils.constraints.clause_classifier import classifier_for
from latentcrs_utils.constraints.constraint import Constraint, Requirement, Requirements, combined
from latentcrs_utils.constraints.lexicon import extract, mentions
from latentcrs_utils.constraints.negation import negation_in, words
from latentcrs_utils.constraints.vocabulary import Vocabulary, vocabulary_for
from latentcrs_utils.data.sequences import Dataset
from latentcrs_utils.errors import ConfigError, LatentCRSError, MessageError
from latentcrs_utils.language.chat_model import Message

How = Literal["lexicon", "model", "both", "classifier", "lexicon + classifier"]
WITH_MODEL: tuple[How, ...] = ("model", "both")
MAX_NEW_TOKENS = 260
_LONGEST_FAILURE = 400
_SHORTEST = 3  # letters of a quotation


@dataclass(frozen=True)
class Extraction:
    """What was read out of one message, and the model's usage.

    ``failure`` says why the model's part is missing, to follow "because"; None if it is not.
    """

    requirements: Requirements
    failure: str | None = None
    prompt_tokens: int = 0
    completion_tokens: int = 0
    counted: bool = True

    @property
    def note(self) -> str:
        """What the user is told of a failure; "" without one."""
        told = "Your wishes were read by their literal words, because"
        return f"{told} {self.failure}." if self.failure else ""


class Extractor(Protocol):
    """Reads requirements out of a message; LatentCRSError: a language model alone failed to."""

    def __call__(self, message: str, *, stop: threading.Event | None = None) -> Extraction:
        """Read one message, as `clean_message` leaves it; ``stop`` ends a model's answer."""


def make_extractor(
    data: Dataset, how: How = "lexicon", chat_model: Any = None, *, checked: bool = True
) -> Extractor:
    """Return who reads a catalogue's requirements; titles are no wishes ("like Star Wars").

    ``how``: the "lexicon" alone, literal and free; the "model" alone, a `ChatModel` that writes
    JSON to fit a schema; "both", which is the lexicon alone where the model fails; a "classifier"
    of clauses (`classifier_for`, fitted at first use); "lexicon + classifier". Whatever the model
    gives counts if it is not ``checked``, to measure what the check is worth. ConfigError: an
    unknown way, or no chat model where one is needed.
    """
    check_how(how)
    if how in WITH_MODEL and chat_model is None:
        raise ConfigError(f"{how!r} needs a language model: give a chat model, or take 'lexicon'.")
    vocabulary = vocabulary_for(data)

    def from_model(message: str, stop: threading.Event | None) -> Extraction:
        """Let the model fill in the form, and keep what the user's words support."""
        limits = {"schema": vocabulary.schema, "max_new_tokens": MAX_NEW_TOKENS, "stop": stop}
        reply = chat_model.generate(prompt(message, vocabulary), **limits)
        found: dict[Constraint, Requirement] = {}
        for proposed in read_form(reply.text, vocabulary):
            kept = supported(message, proposed, vocabulary) if checked else proposed
            if kept is not None:
                found.setdefault(kept.constraint, kept)
        usage = reply.prompt_tokens, reply.completion_tokens, reply.counted
        return Extraction(Requirements(tuple(found.values())), None, *usage)

    def read(message: str, *, stop: threading.Event | None = None) -> Extraction:
        if how == "model":
            return from_model(message, stop)
        literal = extract(vocabulary.plain_words(message), vocabulary.lexicon)
        if how == "lexicon":
            return Extraction(literal)
        if how not in WITH_MODEL:
            heard = classifier_for(data).read(message)
            return Extraction(heard if how == "classifier" else combined(literal, heard))
        try:
            found = from_model(message, stop)
        except Exception as error:  # whatever a model raises, the lexicon has read the message
            return Extraction(literal, failure=failure(error), counted=False)
        return replace(found, requirements=combined(literal, found.requirements))

    return read


def check_how(how: str) -> None:
    """Raise `ConfigError` unless there is such a way to read requirements."""
    if how not in get_args(How):
        raise ConfigError(f"extractor={how!r} is not one of {', '.join(get_args(How))}.")


def failure(error: Exception) -> str:
    """What to tell the user about a language model's failure, to follow "because".

    Of an error that is not of this package only the kind is told: it may hold whatever was sent.
    """
    if isinstance(error, LatentCRSError) and str(error):
        said = textwrap.shorten(str(error), _LONGEST_FAILURE, placeholder=" …")
        return f"the language model failed: {said.removesuffix('.')}"
    return f"the language model failed ({type(error).__name__})"


def prompt(message: str, vocabulary: Vocabulary) -> list[Message]:
    """Return the chat that asks a model to fill in the form about one message."""
    # a model that is held to a schema is not always shown it
    fields = [(name, of) for name, of in vocabulary.fields.items() if name != "not_genres"]
    values = "\n".join(f"{name}: {', '.join(of_field)}" for name, of_field in fields)
    shop = words(vocabulary.domain)["shop"]
    asked = words("any")["form"]
    chat = [{"role": "system", "content": asked["instructions"].format(shop=shop, values=values)}]
    for said, form in vocabulary.examples:
        chat.append({"role": "user", "content": asked["request"].format(message=said)})
        chat.append({"role": "assistant", "content": json.dumps(form)})
    return [*chat, {"role": "user", "content": asked["request"].format(message=message)}]


def read_form(text: str, vocabulary: Vocabulary) -> list[Requirement]:
    """Return the known values in a form, with the words quoted; what is none: `MessageError`."""
    try:
        form = json.loads(text)
    except ValueError as error:
        raise MessageError(f"The language model wrote no JSON: {text[:60]!r}.") from error
    if not isinstance(form, dict):
        raise MessageError(f"The language model filled in no form: {text[:60]!r}.")
    found = []
    for name, values in vocabulary.fields.items():
        entries = form.get(name)
        for entry in entries if isinstance(entries, list) else ():
            match entry:
                case {"words": str(quoted), "value": str(value)} if value in values:
                    found.append(Requirement(values[value], quoted, "model"))
    return found


def supported(message: str, proposed: Requirement, vocabulary: Vocabulary) -> Requirement | None:
    """Return what the words that a model quotes support of its proposal; None for nothing.

    They must be in the message, outside of titles, and say themselves whether the value is asked
    for or refused. Words that the lexicon can read mean what it reads ("1994", not "1990s").
    """
    plain, wanted = vocabulary.plain_words(message), proposed.constraint
    place = locate(message, proposed.evidence)
    if place is None or not _speaks(plain[slice(*place)]):
        return None
    start, end = place
    there = (m for m in mentions(plain, vocabulary.lexicon) if m.start < end and m.end > start)
    named = [m for m in there if m.constraint.attribute == wanted.attribute]
    if named:
        free = wanted.attribute in ("years", "price")
        same = [m for m in named if free or m.constraint.value == wanted.value]
        if not same:
            return None
        said, opening, end = same[-1].constraint, same[-1].opening, same[-1].closing
    else:
        negation = negation_in(plain.replace("’", "'"))
        denials = [negation.of(*span) for span in (place, (end, end))]
        spans = [span for polarity, *span in denials if polarity == "refused"]
        said = replace(wanted, negated=wanted.negated or bool(spans))
        opening, end = min([start, *(a for a, _ in spans)]), max([end, *(b for _, b in spans)])
    if wanted.negated > said.negated:  # no word refuses what the model says is refused
        return None
    return Requirement(said, message[opening:end].strip(), "model")


def locate(message: str, quoted: str) -> tuple[int, int] | None:
    """Return where a message holds a quotation, whatever its case and white space; None if not."""
    parts = r"\s+".join(map(re.escape, quoted.replace("’", "'").split()))
    pattern = rf"(?<!\w){parts}(?!\w)"
    found = re.search(pattern, message.replace("’", "'"), re.I) if _speaks(quoted) else None
    return found and found.span()


def _speaks(text: str) -> bool:
    """Say whether a text has enough letters to mean anything; blanked titles have none."""
    return sum(c.isalnum() for c in text) >= _SHORTEST
