"""LatentCRS, step by step: a conversational recommender in a shared latent-intent space.

Names are resolved at first use (PEP 562), so that importing the package costs milliseconds
and a notebook pays only for the stages that it reaches.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from latentcrs_utils.support.lazy import lazy_exports

if TYPE_CHECKING:
    # the same names for type checkers and editors, which do not run `__getattr__`
    from latentcrs_utils.behavior.pretraining import Backbone as Backbone
    from latentcrs_utils.behavior.pretraining import pretrain as pretrain
    from latentcrs_utils.config import preset as preset
    from latentcrs_utils.conversation.session import Conversation as Conversation
    from latentcrs_utils.data.loading import load_csv as load_csv
    from latentcrs_utils.data.loading import load_dataset as load_dataset
    from latentcrs_utils.data.sequences import Dataset as Dataset
    from latentcrs_utils.data.sequences import Sequences as Sequences
    from latentcrs_utils.data.synthetic import synthetic_world as synthetic_world
    from latentcrs_utils.em.model import LatentCRS as LatentCRS
    from latentcrs_utils.em.model import fit_em as fit_em
    from latentcrs_utils.errors import AssetError as AssetError
    from latentcrs_utils.errors import ConfigError as ConfigError
    from latentcrs_utils.errors import DataError as DataError
    from latentcrs_utils.errors import EndpointError as EndpointError
    from latentcrs_utils.errors import LatentCRSError as LatentCRSError
    from latentcrs_utils.errors import MessageError as MessageError
    from latentcrs_utils.errors import ReplyError as ReplyError
    from latentcrs_utils.intents import Anchors as Anchors
    from latentcrs_utils.intents import find_anchors as find_anchors
    from latentcrs_utils.language.chat_model import ScriptedTalker as ScriptedTalker
    from latentcrs_utils.language.embedder import Embedder as Embedder
    from latentcrs_utils.language.encoding import Language as Language
    from latentcrs_utils.language.encoding import embed as embed
    from latentcrs_utils.language.endpoint_chat_model import EndpointTalker as EndpointTalker
    from latentcrs_utils.language.local_chat_model import LocalTalker as LocalTalker
    from latentcrs_utils.simulation.utterances import Utterances as Utterances
    from latentcrs_utils.simulation.utterances import simulate_utterances as simulate_utterances

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
