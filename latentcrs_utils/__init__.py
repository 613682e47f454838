"""LatentCRS, step by step: a conversational recommender in a shared latent-intent space.

Names are resolved at first use (PEP 562), so that importing the package costs milliseconds
and a notebook pays only for the stages that it reaches.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .lazy import lazy_exports

if TYPE_CHECKING:
    # the same names for type checkers and editors, which do not run `__getattr__`
    from .behavior.pretraining import Backbone as Backbone
    from .behavior.pretraining import pretrain as pretrain
    from .config import preset as preset
    from .conversation.session import Conversation as Conversation
    from .data import Dataset as Dataset
    from .data import Sequences as Sequences
    from .data import load_csv as load_csv
    from .data import load_dataset as load_dataset
    from .data import synthetic_world as synthetic_world
    from .em.model import LatentCRS as LatentCRS
    from .em.model import fit_em as fit_em
    from .errors import AssetError as AssetError
    from .errors import ConfigError as ConfigError
    from .errors import DataError as DataError
    from .errors import EndpointError as EndpointError
    from .errors import LatentCRSError as LatentCRSError
    from .errors import MessageError as MessageError
    from .errors import ReplyError as ReplyError
    from .intents import Anchors as Anchors
    from .intents import find_anchors as find_anchors
    from .language.embedder import Embedder as Embedder
    from .language.encoding import Language as Language
    from .language.encoding import embed as embed
    from .language.endpoint import EndpointTalker as EndpointTalker
    from .language.local_talker import LocalTalker as LocalTalker
    from .language.simulator import simulate_utterances as simulate_utterances
    from .language.talker import ScriptedTalker as ScriptedTalker
    from .language.utterances import Utterances as Utterances

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
    "EndpointTalker": "language",
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
    "ReplyError": "errors",
    "EndpointError": "errors",
}

__all__ = sorted(_EXPORTS)

__getattr__, __dir__ = lazy_exports(__name__, _EXPORTS)
