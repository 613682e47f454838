"""Writing that keeps to a JSON schema: which tokens may come next.

The engine is outlines': its `outlines_core` turns a schema into a regular expression and that into
an automaton over tokens. The wrapper of that name around it is left out, for it changes the shared
tokenizer, cannot stream, and knows only tokens that are whole characters, so that a value such as
"日本語" could not be written; here every token counts as the bytes that it writes.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection
from functools import lru_cache
from typing import Any

import torch

from latentcrs_utils.errors import ConfigError
from latentcrs_utils.language.models import DTypeName, ModelSource, load_language_model

_BYTE_TOKEN = re.compile(r"<0x([0-9A-Fa-f]{2})>")


class SchemaGuide:
    """Follows one reply and says which tokens can continue it to valid JSON.

    It enforces types, enumerations, required properties in their order, lengths of lists and texts;
    not the bounds of numbers and not ``uniqueItems``, so give years and the like as an enumeration.
    A schema without bounds on its lists and texts may never end.

    Args:
        source: whose tokens.
        dtype: as which it is loaded.
        schema: a JSON schema as JSON text. The first use of a schema takes as long as it has
            states: 0.3 s for a text of up to 40 characters, 4 s for one of 160.

    Raises:
        ConfigError: a schema that cannot be enforced with these tokens.
    """

    def __init__(self, source: ModelSource, dtype: DTypeName, schema: str):
        from outlines_core import Guide

        self._guide = Guide(_index(source, dtype, schema))

    def restrict(self, logits: torch.Tensor) -> torch.Tensor:
        """Return logits ``[V]`` with minus infinity for every token that would break the schema."""
        allowed = torch.tensor(self._guide.get_tokens(), device=logits.device)
        restricted = torch.full_like(logits, -torch.inf)
        restricted[allowed] = logits[allowed]
        return restricted

    def advance(self, token: int) -> None:
        """Follow the reply by the token that was chosen."""
        if self._guide.accepts_tokens([token]):
            self._guide.advance(token, return_tokens=False)

    @property
    def complete(self) -> bool:
        """Whether the JSON is whole and nothing can be added to it."""
        return self._guide.is_finished() and len(self._guide.get_tokens()) <= 1


@lru_cache(maxsize=8)
def _index(source: ModelSource, dtype: DTypeName, schema: str) -> Any:
    """The automaton of a schema over a model's tokens; several guides may follow it."""
    from outlines_core import Index
    from outlines_core.json_schema import build_regex_from_schema

    vocabulary = _vocabulary(source, dtype)
    try:
        return Index(build_regex_from_schema(schema), vocabulary)
    except ValueError as error:
        first = str(error).strip().splitlines()[0]
        raise ConfigError(
            f"{source.name} cannot be held to this schema ({first[:200]}): leave that part out, or "
            "name the possible values as an 'enum'."
        ) from error


@lru_cache(maxsize=2)
def _vocabulary(source: ModelSource, dtype: DTypeName) -> Any:
    from outlines_core import Vocabulary

    language_model = load_language_model(source, dtype)
    ends = language_model.end_tokens
    if not ends:
        raise ConfigError(f"{source.name} has no token that ends a reply: it cannot keep a schema.")
    own = language_model.tokenizer.eos_token_id
    spelled = token_bytes(language_model.tokenizer, without=ends)
    return Vocabulary(min(ends) if own is None else own, spelled)


def token_bytes(tokenizer: Any, without: Collection[int] = ()) -> dict[bytes, list[int]]:
    """What each token writes, as bytes -> ids; control words write nothing and are left out.

    Args:
        tokenizer: of transformers; byte-level (GPT-2, Llama 3, SmolLM2, Qwen), with byte fallback
            (Llama 2, Mistral, Gemma), or another, whose tokens are taken for whole characters.
        without: ids of further tokens to leave out.
    """
    added = tokenizer.added_tokens_decoder.items()
    control = {*without, *(number for number, token in added if token.special)}
    spell = _speller(tokenizer)
    found: dict[bytes, list[int]] = {}
    for token, number in tokenizer.get_vocab().items():
        if number not in control and (written := spell(token)):
            found.setdefault(written, []).append(number)
    return found


def _speller(tokenizer: Any) -> Callable[[str], bytes]:
    """How this tokenizer's tokens spell bytes."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    decoder = json.dumps(json.loads(backend.to_str())["decoder"]) if backend is not None else ""
    if "ByteLevel" in decoder:
        from transformers.convert_slow_tokenizer import bytes_to_unicode

        byte_of = {letter: byte for byte, letter in bytes_to_unicode().items()}

        def byte_level(token: str) -> bytes:
            # a word that was added later is spelled as it stands
            known = all(letter in byte_of for letter in token)
            return bytes(map(byte_of.__getitem__, token)) if known else token.encode()

        return byte_level
    if "ByteFallback" in decoder:

        def byte_fallback(token: str) -> bytes:
            single = _BYTE_TOKEN.fullmatch(token)
            return bytes.fromhex(single[1]) if single else token.replace("▁", " ").encode()

        return byte_fallback
    return lambda token: tokenizer.convert_tokens_to_string([token]).encode()
