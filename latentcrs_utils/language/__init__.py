"""Language: user simulators, the Embedder (PromptEOL) and the Talkers."""

from __future__ import annotations

from ..lazy import lazy_exports

_EXPORTS = {
    "simulate_utterances": "simulator",
    "Utterances": "simulator",
    "Embedder": "embedder",
    "TokenBill": "embedder",
    "Language": "encoding",
    "embed": "encoding",
    "LocalTalker": "local_talker",
    "EndpointTalker": "endpoint",
    "Reply": "talker",
    "Scorer": "talker",
    "ScriptedTalker": "talker",
    "Talker": "talker",
    "SimulatedUser": "users",
    "TemplateUser": "users",
    "find_model": "models",
    "load_language_model": "models",
}

__all__ = sorted(_EXPORTS)

__getattr__, __dir__ = lazy_exports(__name__, _EXPORTS)
