"""What users do: the sequence encoder, ICLRec's contrasts, and pretraining."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .encoder import SASRec
    from .pretraining import Backbone, pretrain

_HOMES = {"SASRec": "encoder", "Backbone": "pretraining", "pretrain": "pretraining"}
__all__ = ["Backbone", "SASRec", "pretrain"]


def __getattr__(name: str) -> Any:
    """Import torch only when something that needs it is asked for (PEP 562)."""
    if name in _HOMES:
        return getattr(import_module(f".{_HOMES[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
