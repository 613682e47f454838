"""JSON schemas: what holds a `ChatModel` to one, and what is wrong with a text that does not fit.

A back end may enforce less than a schema says (bounds of numbers, ``uniqueItems``) or nothing at
all, so every reply is checked with `complaint` after it was written.
"""

import json
import re
from collections.abc import Collection, Mapping
from contextlib import suppress
from functools import lru_cache
from itertools import islice
from typing import TYPE_CHECKING, Any, NoReturn

from latentcrs_utils.errors import ConfigError

if TYPE_CHECKING:
    import torch

    from latentcrs_utils.language.models import DTypeName, ModelSource

# where JSON may begin, and how often that is tried
_OPENING, _MOST_OPENINGS = re.compile(r"[{\[\"]"), 200
_BYTE_TOKEN = re.compile(r"<0x([0-9A-Fa-f]{2})>")


def check_schema(schema: Mapping[str, Any]) -> str:
    """Return a JSON schema as text, its properties in the order given; another: `ConfigError`."""
    from jsonschema.exceptions import SchemaError
    from jsonschema.validators import validator_for

    try:
        validator_for(schema).check_schema(schema)
        return json.dumps(schema)
    except SchemaError as error:
        raise ConfigError(f"The schema is no JSON schema: {_short(error.message)}.") from error
    except (TypeError, ValueError) as error:
        raise ConfigError(f"The schema is no JSON: {error}.") from error


def complaint(text: str, schema: Mapping[str, Any]) -> str | None:
    """Say in a few words why a text is not JSON of a schema; None where it is."""
    from jsonschema.exceptions import best_match
    from jsonschema.validators import validator_for

    if not text.strip():
        return "it is empty"
    try:
        # Python reads NaN and Infinity, JSON does not have them
        value = json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        return f"it is no JSON: {_short(str(error))}"
    worst = best_match(validator_for(schema)(schema).iter_errors(value))
    return None if worst is None else f"at {worst.json_path}: {_short(worst.message)}"


def demand(schema: Mapping[str, Any]) -> str:
    """Return the words that ask a model for JSON of a schema."""
    return (
        "Reply with JSON alone, without a word or a mark around it, that is valid against this "
        f"schema: {json.dumps(schema)}"
    )


def json_in(text: str, schema: Mapping[str, Any]) -> str:
    """Return the last JSON of a schema in a text, without words or a fence; else the text."""
    if complaint(text, schema) is None:
        return text
    found, end, decoder = text, 0, json.JSONDecoder(parse_constant=_refuse)
    for opening in islice(_OPENING.finditer(text), _MOST_OPENINGS):
        with suppress(ValueError, RecursionError):
            if (begin := opening.start()) >= end:
                value, after = decoder.raw_decode(text, begin)
                # a text may hold the JSON in its turn
                for part in (text[begin:after], str(value)):
                    if complaint(part, schema) is None:
                        found, end = part, after
    return found


def _refuse(word: str) -> NoReturn:
    raise ValueError(f"{word} is no number in JSON")


def _short(message: str) -> str:
    """Cut a message to one short line: it may quote a whole vocabulary."""
    line = " ".join(message.split())
    return line if len(line) <= 240 else f"{line[:120]} ... {line[-120:]}"


class SchemaGuide:
    """Follows one reply and says which tokens can continue it to valid JSON.

    It enforces types, enumerations, required properties in their order, lengths of lists and texts;
    not the bounds of numbers and not ``uniqueItems``, so give years and the like as an enumeration.
    With a schema (JSON text) without bounds on lists and texts a reply may never end. ConfigError:
    it cannot be enforced with these tokens.
    """

    def __init__(self, source: "ModelSource", dtype: "DTypeName", schema: str):
        from outlines_core import Guide

        self._guide = Guide(_index(source, dtype, schema))

    def restrict(self, logits: "torch.Tensor") -> "torch.Tensor":
        """Return logits ``[V]`` with minus infinity for every token that would break the schema."""
        allowed = self._guide.get_tokens()
        masked = logits.new_full(logits.shape, -float("inf"))
        masked[allowed] = logits[allowed]
        return masked

    def advance(self, token: int) -> None:
        """Follow the reply by the token that was chosen."""
        if self._guide.accepts_tokens([token]):
            self._guide.advance(token, return_tokens=False)

    @property
    def complete(self) -> bool:
        """Whether the JSON is whole and nothing can be added to it."""
        return self._guide.is_finished() and len(self._guide.get_tokens()) <= 1


@lru_cache(maxsize=8)
def _index(source: "ModelSource", dtype: "DTypeName", schema: str) -> Any:
    """Make the automaton of a schema over a model's tokens; several guides may follow it."""
    from outlines_core import Index, Vocabulary
    from outlines_core.json_schema import build_regex_from_schema

    from latentcrs_utils.language.models import load_language_model

    language_model = load_language_model(source, dtype)
    ends, own = language_model.end_tokens, language_model.tokenizer.eos_token_id
    if not ends:
        raise ConfigError(f"{source.name} has no token that ends a reply: it cannot keep a schema.")
    spelled = token_bytes(language_model.tokenizer, without=ends)
    vocabulary = Vocabulary(min(ends) if own is None else own, spelled)
    try:
        return Index(build_regex_from_schema(schema), vocabulary)
    except ValueError as error:
        told = f"{source.name} cannot be held to this schema ({_short(str(error))})"
        advice = "leave that part out, or name the possible values as an 'enum'"
        raise ConfigError(f"{told}: {advice}.") from error


def token_bytes(tokenizer: Any, without: Collection[int] = ()) -> dict[bytes, list[int]]:
    """Return what each token writes, as bytes -> ids; not the control words and not ``without``."""
    from transformers.convert_slow_tokenizer import bytes_to_unicode

    byte_of = {letter: byte for byte, letter in bytes_to_unicode().items()}
    is_byte_level = "ByteLevel" in str(tokenizer.backend_tokenizer.decoder)
    added = tokenizer.added_tokens_decoder.items()
    control = {*without, *(number for number, token in added if token.special)}
    found: dict[bytes, list[int]] = {}
    for token, number in tokenizer.get_vocab().items():
        single = _BYTE_TOKEN.fullmatch(token)
        if is_byte_level and byte_of.keys() >= set(token):
            written = bytes(byte_of[letter] for letter in token)
        else:
            # also a word that was added to a byte-level vocabulary later
            written = bytes.fromhex(single[1]) if single else token.replace("▁", " ").encode()
        if written and number not in control:
            found.setdefault(written, []).append(number)
    return found
