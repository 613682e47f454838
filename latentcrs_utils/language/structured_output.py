"""JSON schemas: what a Talker is held to, and what is wrong with a text that does not fit.

A back end may enforce less than a schema says (bounds of numbers, ``uniqueItems``) or nothing at
all, so every reply is checked here after it was written.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, NoReturn

from latentcrs_utils.errors import ConfigError, ReplyError

_ADVICE = {
    "length": "it was cut at max_new_tokens: allow more, or bound the schema's lists and texts",
    "stopped": "it was stopped before its end",
    "cut": "it broke off before its end: ask again",
}
_LONGEST_COMPLAINT = 240


def check_schema(schema: Mapping[str, Any]) -> str:
    """Return a schema as JSON text, its properties in the order given.

    Raises:
        ConfigError: it is no JSON schema.
    """
    from jsonschema.exceptions import SchemaError

    try:
        text = json.dumps(schema)
        _validator_class(schema).check_schema(schema)
    except SchemaError as error:
        raise ConfigError(f"The schema is no JSON schema: {_short(error.message)}.") from error
    except (TypeError, ValueError) as error:
        raise ConfigError(f"The schema is no JSON: {error}.") from error
    return text


def complaint(text: str, schema: Mapping[str, Any]) -> str | None:
    """Say in a few words what is wrong with a text as JSON of a schema; None: nothing is.

    Args:
        text: what a model wrote.
        schema: a schema that `check_schema` let through.
    """
    from jsonschema.exceptions import best_match

    if not text.strip():
        return "it is empty"
    try:
        # NaN and Infinity are Python's, not JSON's
        value = json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        return f"it is no JSON: {_short(str(error))}"
    worst = best_match(_validator_class(schema)(schema).iter_errors(value))
    return None if worst is None else f"at {worst.json_path}: {_short(worst.message)}"


def require_valid(text: str, schema: Mapping[str, Any], model: str, finish: str = "end") -> None:
    """Refuse a reply that is no JSON of its schema.

    Args:
        text: the reply.
        schema: what it was asked to fit.
        model: who wrote it.
        finish: how it ended, as in ``Reply.finish``; it decides what is advised.

    Raises:
        ReplyError: always but for valid JSON.
    """
    wrong = complaint(text, schema)
    if wrong is not None:
        advice = _ADVICE.get(finish, "ask in other words, or choose a more capable model")
        raise ReplyError(f"{model} did not reply with JSON of the schema ({wrong}): {advice}.")


def _validator_class(schema: Mapping[str, Any]) -> Any:
    """The validator of the draft that the schema names, else of 2020-12."""
    from jsonschema import Draft202012Validator
    from jsonschema.validators import validator_for

    return validator_for(schema, default=Draft202012Validator)


def _refuse(word: str) -> NoReturn:
    raise ValueError(f"{word} is no number in JSON")


def _short(message: str) -> str:
    """One line of bearable length: a complaint may quote a whole vocabulary."""
    line = " ".join(message.split())
    if len(line) <= _LONGEST_COMPLAINT:
        return line
    return f"{line[: _LONGEST_COMPLAINT // 2]} ... {line[-_LONGEST_COMPLAINT // 2 :]}"
