"""Every hyper-parameter once, by the paper's symbols; those of the rivals are in their modules.

``presets.toml`` has those of a data set. Artifacts are keyed by them: a change means new training.
"""

import difflib
import tomllib
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

from latentcrs_utils.errors import ConfigError

Filter = Literal["k-core", "official"]
Form = Literal["mixture", "logit", "product"]
Precision = Literal["float32", "bfloat16"]

# the least value of these fields, in whatever class, and the shares that are not named so
_LEAST = {
    "k_core": 3, "n_users": 1, "n_intents": 2, "K": 2, "n_negatives": 1, "n_cuts": 0,
    "n_reused_cuts": 0, "max_turns": 2, "n_candidates": 2, "weight": 0,
    "n_turns": 1, "n_items": 1, "batch_size": 1, "known": 0, "model": 0, "behavior": 0,
    "popularity": 0, "content": 0, "examples": 0, "requirements": 0,
}  # fmt: skip
_SHARES = {"stay", "homing", "noise", "disliked", "genre_noise", "history_dropout"}


# of the pushes on intents, how many say nothing: estimated by `python -m experiments.steering` from
# validation people whose comparisons have noise
CARELESS_SHARE = 0.68
# expected gain, in nats, from which on policy A asks; the same command finds no clear difference
# between bands of it, so all but narrow beliefs are asked about
ASK_ABOVE = 0.02


class Checked:
    """A configuration that refuses senseless values."""

    def __post_init__(self) -> None:
        for name, kind in get_type_hints(type(self)).items():
            value, known = getattr(self, name), get_args(kind)
            if get_origin(kind) is Literal:
                self._require(value in known, f"{name}={value!r} is not one of {', '.join(known)}.")
            elif name in _LEAST and value is not None:
                self._require(value >= _LEAST[name], f"{name}={value}: at least {_LEAST[name]}.")
            elif name in _SHARES or name.endswith("_share"):
                self._require(0 <= value <= 1, f"{name}={value} is not in [0, 1].")
            elif name == "dropout":
                self._require(0 <= value < 1, f"{name}={value} is not in [0, 1).")

    def _require(self, condition: bool, message: str) -> None:
        if not condition:
            raise ConfigError(f"{type(self).__name__}: {message}")


@dataclass(frozen=True)
class DataConfig(Checked):
    """Preprocessing (paper, Appendix B): ratings >= ``min_rating``, then the k-core."""

    min_rating: float = 4.0
    k_core: int = 5
    filter: Filter = "k-core"


@dataclass(frozen=True)
class SyntheticConfig(Checked):
    """The generated world: its size, and how its users move between ``n_intents`` true intents.

    A user takes ``shortest`` to ``longest`` items. Before each, the user stays with the current
    intent (``stay``), else goes home (``homing``) or to a neighbour.
    """

    n_users: int = 600
    n_items: int = 420
    n_intents: int = 12
    shortest: int = 15
    longest: int = 60
    stay: float = 0.85
    homing: float = 0.7
    noise: float = 0.2  # how often an item is taken whatever its intent
    disliked: float = 0.15  # how often one is rated 1 to 3
    genre_noise: float = 0.2  # how often an item has a genre not its intent's
    popularity: float = 0.7  # an exponent

    def __post_init__(self) -> None:
        super().__post_init__()
        self._require(self.n_items >= self.n_intents, "every intent needs at least one item.")
        self._require(self.n_items <= 2000, f"n_items={self.n_items}: at most 2000 have titles.")
        in_order = 3 <= self.shortest <= self.longest <= self.n_items
        self._require(in_order, "3 <= shortest <= longest <= n_items must hold.")


@dataclass(frozen=True)
class BackboneConfig(Checked):
    """SASRec encoder and ICLRec pretraining; ``ICLREC_AS_PUBLISHED`` has the official values.

    ``windows="last"`` trains on the last ``max_length`` actions of a user, as published; ``"all"``
    also on the older ones, cut afresh each epoch. The defaults were chosen on the validation items
    of ml-100k for a minute or two of training (notebook 02). Contrasts follow ``warmup_epochs``.
    """

    hidden: int = 64
    n_layers: int = 2
    n_heads: int = 2
    dropout: float = 0.3
    max_length: int = 50
    loss: Literal["ce", "bce", "sampled"] = "ce"
    n_negatives: int = 1024
    precision: Precision = "float32"
    windows: Literal["last", "all"] = "all"
    learning_rate: float = 2e-3
    weight_decay: float = 0.0
    batch_size: int = 128
    n_epochs: int = 60
    patience: int = 10
    contrast: Literal["Hybrid", "InstanceCL", "IntentCL", "none"] = "none"
    cf_weight: float = 0.1
    intent_cf_weight: float = 0.1
    n_intent_prototypes: int = 256
    temperature: float = 1.0
    crop: float = 0.2
    mask: float = 0.7
    reorder: float = 0.2
    warmup_epochs: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        divides = self.n_heads > 0 and self.hidden % self.n_heads == 0
        self._require(divides, f"hidden={self.hidden} is no multiple of n_heads={self.n_heads}.")


ICLREC_AS_PUBLISHED = BackboneConfig(
    dropout=0.5, loss="bce", windows="last", learning_rate=1e-3, batch_size=256, n_epochs=300,
    patience=40, contrast="Hybrid",
)  # fmt: skip


@dataclass(frozen=True)
class AnchorConfig(Checked):
    """k-means: ``K`` clusters of states of users, after training parts and at ``n_cuts`` times."""

    K: int = 64
    n_cuts: int = 8
    n_recent: int = 10  # last items of a state, of which the names are made
    n_init: int = 4  # starts, of which the best is kept
    max_iterations: int = 300


@dataclass(frozen=True)
class SimulatorConfig(Checked):
    """Simulated users: how many instances, how many turns, and what they tend to say."""

    n_cuts: int = 3  # random cuts a user besides the last training item, each with its own sentence
    n_reused_cuts: int = 10  # further ones, with a sentence said for another item
    one_turn_share: float = 0.6  # of the training dialogues; the others have two to max_turns
    max_turns: int = 5
    # how often one constraint is alone, or with a second genre, a time, or a refusal
    single_weight: float = 1.0
    genre_weight: float = 1.5
    time_weight: float = 2.0
    refusal_weight: float = 0.75
    era_share: float = 0.7  # how often a film of the nineties is dated to a part of them
    two_examples_share: float = 0.2  # how often an example comes with a second one
    relation_share: float = 0.6  # how often an example comes with a relation ("but older")
    empty_vague_share: float = 0.15  # how often a vague message hints at nothing
    history_dropout: float = 0.0  # of the training instances have a history cut short

    def __post_init__(self) -> None:
        super().__post_init__()
        together = self.two_examples_share + self.relation_share
        self._require(together <= 1, "two_examples_share + relation_share exceeds 1.")
        self._require(self.single_weight > 0, "single_weight must be positive.")


@dataclass(frozen=True)
class EMConfig(Checked):
    """Algorithm 1 and its networks.

    ``form`` is the reading of p(v | ...); ``residual`` makes ``LatentCRS+`` of ``LatentCRS``, and
    ``aux_intent_weight`` is then the weight of the same loss without it. ``n_negatives=None`` takes
    all items as candidates. The M-step is given the amortised q(m | S) of the paper, or the exact
    posterior p(m | v, S, x). ``schedule="joint"`` trains both models at once (Table 5, "Direct KL
    Alignment"). ``precision`` is that of the matrix products; weights and losses stay float32.
    """

    form: Form = "mixture"
    residual: bool = False
    e_step: Literal["amortised", "exact"] = "amortised"
    schedule: Literal["em", "joint"] = "em"
    precision: Precision = "float32"
    n_negatives: int | None = None
    lambda_: float = 1.0
    alpha_E: float = 5.0
    alpha_M: float = 5.0
    infonce_weight: float = 1.0
    aux_intent_weight: float = 1.0
    text_hidden: int = 256
    dropout: float = 0.5
    learning_rate: float = 1e-3
    weight_decay: float = 0.0
    batch_size: int = 480
    n_epochs_q: int = 20
    n_epochs_generative: int = 60
    n_epochs_alternate: int = 60
    patience: int = 20


@dataclass(frozen=True)
class DirectConfig(Checked):
    """The scorers without intents: text alone, and text beside behavior."""

    text_hidden: int = 256
    dropout: float = 0.5
    learning_rate: float = 1e-3
    weight_decay: float = 0.0
    batch_size: int = 480
    n_epochs: int = 120
    patience: int = 20


@dataclass(frozen=True)
class TermWeights(Checked):
    """Weights of log p(v | S, x) and of what is added to it; as it stands, nothing is."""

    model: float = 1.0
    behavior: float = 0.0  # of log p(v | S) of the backbone
    popularity: float = 0.0  # of log p(v)
    content: float = 0.0  # of the cosine between the words and the item's own text
    examples: float = 0.0  # of the likeness to the items that the words name
    requirements: float = 0.0  # of what the item lacks of what was heard (nats, 0 at best)


@dataclass(frozen=True)
class RerankConfig(Checked):
    """Policy V: how a language model re-orders the best ``n_candidates`` items.

    ``method="likelihood"`` adds ``weight`` times the gain in log-likelihood of the words for an
    item to the recommender's log-probability; ``"listwise"`` takes the order that the model writes;
    ``"auto"``, the likelihood from models that can score, else a list. Weight and number are the
    best of 16 pairs on 100 validation users of ml-100k with SmolLM2-135M by NDCG@20
    (`experiments.reranking`): 0.0008 above the recommender's own order, while every weight from
    0.03 on fell below it. Choose again for a larger language model.
    """

    method: Literal["auto", "likelihood", "listwise"] = "auto"
    n_candidates: int = 20
    weight: float = 0.01


@dataclass(frozen=True)
class Preset:
    """All hyper-parameters of one data set; ``em`` is ``LatentCRS``, ``em_plus`` ``LatentCRS+``."""

    name: str
    data: DataConfig = field(default_factory=DataConfig)
    backbone: BackboneConfig = field(default_factory=BackboneConfig)
    anchors: AnchorConfig = field(default_factory=AnchorConfig)
    simulator: SimulatorConfig = field(default_factory=SimulatorConfig)
    em: EMConfig = field(default_factory=EMConfig)
    em_plus: EMConfig = field(default_factory=lambda: EMConfig(residual=True))
    direct: DirectConfig = field(default_factory=DirectConfig)
    terms_plus: TermWeights = field(default_factory=TermWeights)
    terms_fusion: TermWeights = field(default_factory=TermWeights)
    terms_text: TermWeights = field(default_factory=TermWeights)


_NO_TERMS: dict[str, Any] = {f"terms_{of}": TermWeights() for of in ("plus", "fusion", "text")}


@cache
def _presets() -> dict[str, Preset]:
    """Presets by name; ``presets.toml`` says what differs from the defaults or from ml-100k."""
    known: dict[str, Preset] = {}
    file = Path(__file__).with_name("presets.toml")
    for name, parts in tomllib.loads(file.read_text(encoding="utf-8")).items():
        base = replace(known["ml-100k"], **_NO_TERMS) if known else Preset(name)
        changed = {part: replace(getattr(base, part), **new) for part, new in parts.items()}
        known[name] = replace(base, name=name, **changed)
    return known


def preset(name: str = "ml-100k", n_users: int | None = None) -> Preset:
    """Return the hyper-parameters for data set ``name``.

    Without a preset it is that of ml-100k, with an intent for every four of ``n_users`` (2 to 256).
    """
    known = _presets()
    if name in known:
        return known[name]
    if n_users is not None:
        K = min(256, max(2, n_users // 4))
        return replace(known["ml-100k"], name=name, anchors=AnchorConfig(K=K), **_NO_TERMS)
    close = difflib.get_close_matches(name, known, n=1)
    hint = f" Did you mean {close[0]!r}?" if close else ""
    raise ConfigError(f"There is no preset {name!r}.{hint} Known: {', '.join(known)}.")
