"""Variational EM: the networks f, g and l, every loss of Equations 4 to 14, and Algorithm 1."""

from __future__ import annotations

from ..lazy import lazy_exports

_EXPORTS = {"LatentCRS": "model", "fit_em": "model"}

__all__ = sorted(_EXPORTS)

__getattr__, __dir__ = lazy_exports(__name__, _EXPORTS)
