"""What users do: the sequence encoder, ICLRec's contrasts, and pretraining."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..lazy import lazy_exports

if TYPE_CHECKING:
    from .encoder import SASRec
    from .pretraining import Backbone

# not the function `pretrain`: that name is the command's here (`python -m …behavior.pretrain`)
_EXPORTS = {"SASRec": "encoder", "Backbone": "pretraining"}
__all__ = ["Backbone", "SASRec"]

__getattr__, __dir__ = lazy_exports(__name__, _EXPORTS)
