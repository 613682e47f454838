"""LatentCRS, step by step: a conversational recommender in a shared latent-intent space.

Names are resolved at first use (PEP 562), so that importing the package costs milliseconds
and a notebook pays only for the stages that it reaches.
"""

from __future__ import annotations

from .lazy import lazy_exports

_EXPORTS = {
    "load_dataset": "data",
    "load_csv": "data",
    "synthetic_world": "data",
    "Dataset": "data",
    "Sequences": "data",
    "pretrain": "behavior.pretraining",
    "Backbone": "behavior.pretraining",
    "find_anchors": "intents",
    "Anchors": "intents",
    "simulate_utterances": "language",
    "Utterances": "language",
    "embed": "language",
    "Embedder": "language",
    "Language": "language",
    "LocalTalker": "language",
    "ScriptedTalker": "language",
    "fit_em": "em.model",
    "LatentCRS": "em.model",
    "Conversation": "conversation",
    "preset": "config",
    "LatentCRSError": "errors",
    "AssetError": "errors",
    "DataError": "errors",
    "ConfigError": "errors",
    "MessageError": "errors",
}

__all__ = sorted(_EXPORTS)

__getattr__, __dir__ = lazy_exports(__name__, _EXPORTS)
