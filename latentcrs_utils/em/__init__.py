"""Variational EM: the networks f, g and l, every loss of Equations 4 to 14, and Algorithm 1."""

from __future__ import annotations

from importlib import import_module
from typing import Any

_EXPORTS = {"LatentCRS": "model", "fit_em": "model"}

__all__ = sorted(_EXPORTS)


def __getattr__(name: str) -> Any:
    if name not in _EXPORTS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_EXPORTS[name]}", __name__), name)
