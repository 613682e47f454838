"""Language: user simulators, the Embedder (PromptEOL) and the Talker."""

from __future__ import annotations

from importlib import import_module
from typing import Any

_EXPORTS = {
    "simulate_utterances": "simulator",
    "Utterances": "simulator",
    "Embedder": "embedder",
    "TokenBill": "embedder",
    "Language": "encoding",
    "embed": "encoding",
    "LocalTalker": "talker",
    "Reply": "talker",
    "ScriptedTalker": "talker",
    "Talker": "talker",
    "find_model": "models",
    "load_language_model": "models",
}

__all__ = sorted(_EXPORTS)


def __getattr__(name: str) -> Any:
    if name not in _EXPORTS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f".{_EXPORTS[name]}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
