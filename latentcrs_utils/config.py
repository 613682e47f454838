"""Every hyper-parameter once, by the paper's symbols, with a preset for each data set.

All classes are frozen dataclasses: an artifact on disk is keyed by their values, so a changed
value means a new training run and never a silently reused old one.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass, field, replace
from typing import Any, Literal, get_args

from latentcrs_utils.errors import ConfigError

BackboneLoss = Literal["ce", "bce", "sampled"]
Contrast = Literal["Hybrid", "InstanceCL", "IntentCL", "none"]
Windows = Literal["last", "all"]
Filter = Literal["k-core", "official"]
Form = Literal["mixture", "logit", "product"]
EStep = Literal["amortised", "exact"]
Schedule = Literal["em", "joint"]
Precision = Literal["float32", "bfloat16"]
RerankMethod = Literal["auto", "likelihood", "listwise"]


def _require(condition: bool, owner: Any, message: str) -> None:
    """Raise ``ConfigError`` naming the configuration class unless ``condition`` holds."""
    if not condition:
        raise ConfigError(f"{type(owner).__name__}: {message}")


def _one_of(owner: Any, name: str, choices: Any) -> None:
    """Check that field ``name`` holds one of the values of the Literal type ``choices``."""
    value, known = getattr(owner, name), get_args(choices)
    _require(value in known, owner, f"{name}={value!r} is not one of {', '.join(known)}.")


@dataclass(frozen=True)
class DataConfig:
    """Preprocessing (paper, Appendix B): ratings >= ``min_rating``, then the k-core."""

    min_rating: float = 4.0
    k_core: int = 5
    filter: Filter = "k-core"

    def __post_init__(self) -> None:
        _one_of(self, "filter", Filter)
        _require(self.k_core >= 3, self, f"k_core={self.k_core}: leave-one-out needs at least 3.")


@dataclass(frozen=True)
class SyntheticConfig:
    """The generated world: its size, and how its users move between ``n_intents`` true intents.

    A user takes ``shortest`` to ``longest`` items. Before each, the user stays with the current
    intent (``stay``), else goes home (``homing``) or to a neighbour. ``noise``, how often an item
    is taken whatever its intent; ``disliked``, how often one is rated 1 to 3 instead;
    ``genre_noise``, how often an item has a genre that is not its intent's; ``popularity``, the
    exponent of the popularities (0: all items alike).
    """

    n_users: int = 600
    n_items: int = 420
    n_intents: int = 12
    shortest: int = 15
    longest: int = 60
    stay: float = 0.85
    homing: float = 0.7
    noise: float = 0.2
    disliked: float = 0.15
    genre_noise: float = 0.2
    popularity: float = 0.7

    def __post_init__(self) -> None:
        for name in ("stay", "homing", "noise", "disliked", "genre_noise"):
            share = getattr(self, name)
            _require(0 <= share <= 1, self, f"{name}={share} is not in [0, 1].")
        _require(self.n_users >= 1, self, f"n_users={self.n_users}: at least 1.")
        _require(self.n_intents >= 2, self, f"n_intents={self.n_intents}: at least 2.")
        _require(self.n_items >= self.n_intents, self, "every intent needs at least one item.")
        _require(self.n_items <= 2000, self, f"n_items={self.n_items}: at most 2000 have titles.")
        in_order = 3 <= self.shortest <= self.longest <= self.n_items
        _require(in_order, self, "3 <= shortest <= longest <= n_items must hold.")


@dataclass(frozen=True)
class BackboneConfig:
    """SASRec encoder and ICLRec pretraining (official hyper-parameters where they are known).

    ``windows="last"`` trains on the last ``max_length`` actions of a user, as published; ``"all"``
    also on the older ones, cut afresh each epoch. ``ICLREC_AS_PUBLISHED`` has the official values;
    the defaults were chosen on the validation items of ml-100k, with a training of a minute or two
    in mind: notebook 02 has what the contrasts and more dropout add beside the full softmax, and
    what they cost. A contrast starts after ``warmup_epochs``.
    """

    hidden: int = 64
    n_layers: int = 2
    n_heads: int = 2
    dropout: float = 0.3
    max_length: int = 50
    loss: BackboneLoss = "ce"
    n_negatives: int = 1024
    precision: Precision = "float32"
    windows: Windows = "all"
    learning_rate: float = 2e-3
    weight_decay: float = 0.0
    batch_size: int = 128
    n_epochs: int = 60
    patience: int = 10
    contrast: Contrast = "none"
    cf_weight: float = 0.1
    intent_cf_weight: float = 0.1
    n_intent_prototypes: int = 256
    temperature: float = 1.0
    crop: float = 0.2
    mask: float = 0.7
    reorder: float = 0.2
    warmup_epochs: int = 0

    def __post_init__(self) -> None:
        _one_of(self, "loss", BackboneLoss)
        _one_of(self, "precision", Precision)
        _require(self.n_negatives >= 1, self, f"n_negatives={self.n_negatives}: at least 1.")
        _one_of(self, "contrast", Contrast)
        _one_of(self, "windows", Windows)
        divides = self.n_heads > 0 and self.hidden % self.n_heads == 0
        _require(divides, self, f"hidden={self.hidden} is no multiple of n_heads={self.n_heads}.")
        _require(0 <= self.dropout < 1, self, f"dropout={self.dropout} is not in [0, 1).")


ICLREC_AS_PUBLISHED = BackboneConfig(
    dropout=0.5,
    loss="bce",
    windows="last",
    learning_rate=1e-3,
    batch_size=256,
    n_epochs=300,
    patience=40,
    contrast="Hybrid",
)


@dataclass(frozen=True)
class AnchorConfig:
    """k-means intent anchors: ``K`` intents, the best of ``n_init`` starts.

    Clustered are the states of all users after their training part and at ``n_cuts`` random
    earlier moments; names are made of the last ``n_recent`` items of such a state.
    """

    K: int = 64
    n_cuts: int = 8
    n_recent: int = 10
    n_init: int = 4
    max_iterations: int = 300

    def __post_init__(self) -> None:
        _require(self.K >= 2, self, f"K={self.K}: at least two intents are needed.")


@dataclass(frozen=True)
class SimulatorConfig:
    """Simulated users: how many instances, how many turns, and what they tend to say.

    ``n_cuts`` random cuts a user beside the last training item, each with a sentence of its own;
    ``n_reused_cuts`` further ones with a sentence said for another film; ``one_turn_share`` of the
    training dialogues have one turn, the others two to ``max_turns``. The weights say how often one
    condition stands alone, or with a second genre, a time, or a refusal. ``era_share``, how often a
    film of the nineties is dated to a part of them; ``two_examples_share`` and ``relation_share``,
    how often an example comes with a second one or with a relation ("but older");
    ``empty_vague_share``, how often a vague message hints at nothing.
    """

    n_cuts: int = 5
    n_reused_cuts: int = 10
    one_turn_share: float = 0.6
    max_turns: int = 5
    single_weight: float = 1.0
    genre_weight: float = 1.5
    time_weight: float = 2.0
    refusal_weight: float = 0.75
    era_share: float = 0.7
    two_examples_share: float = 0.2
    relation_share: float = 0.6
    empty_vague_share: float = 0.15

    def __post_init__(self) -> None:
        for name in ("one_turn_share", "era_share", "relation_share", "empty_vague_share"):
            share = getattr(self, name)
            _require(0 <= share <= 1, self, f"{name}={share} is not in [0, 1].")
        together = self.two_examples_share + self.relation_share
        _require(together <= 1, self, "two_examples_share + relation_share exceeds 1.")
        _require(self.n_cuts >= 0, self, f"n_cuts={self.n_cuts} is negative.")
        _require(self.n_reused_cuts >= 0, self, f"n_reused_cuts={self.n_reused_cuts} is negative.")
        _require(self.max_turns >= 2, self, f"max_turns={self.max_turns}: at least 2.")
        _require(self.single_weight > 0, self, "single_weight must be positive.")


@dataclass(frozen=True)
class EMConfig:
    """Algorithm 1 and its networks.

    ``form``, the reading of p(v | ...); ``residual``, ``LatentCRS+`` instead of ``LatentCRS``;
    ``n_negatives=None``, all items as candidates; ``e_step``, which q the M-step is given: the
    amortised q(m | S) of the paper, or the exact posterior p(m | v, S, x); ``aux_intent_weight``,
    with a residual, how much the recommendation loss of the intents without it counts beside it.
    ``schedule="joint"`` trains both models at once instead of alternating (Table 5, "Direct KL
    Alignment"). ``precision``, of the matrix products; weights and losses stay float32.
    """

    form: Form = "mixture"
    residual: bool = False
    e_step: EStep = "amortised"
    schedule: Schedule = "em"
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

    def __post_init__(self) -> None:
        _one_of(self, "form", Form)
        _one_of(self, "e_step", EStep)
        _one_of(self, "schedule", Schedule)
        _one_of(self, "precision", Precision)
        _require(0 <= self.dropout < 1, self, f"dropout={self.dropout} is not in [0, 1).")
        enough = self.n_negatives is None or self.n_negatives >= 1
        _require(enough, self, f"n_negatives={self.n_negatives}: at least 1, or None for all.")


@dataclass(frozen=True)
class DirectConfig:
    """The scorers without intents: text alone, and text beside behavior."""

    text_hidden: int = 256
    dropout: float = 0.5
    learning_rate: float = 1e-3
    weight_decay: float = 0.0
    batch_size: int = 480
    n_epochs: int = 120
    patience: int = 20

    def __post_init__(self) -> None:
        _require(0 <= self.dropout < 1, self, f"dropout={self.dropout} is not in [0, 1).")


@dataclass(frozen=True)
class RerankConfig:
    """Variant V: how a language model re-orders the best ``n_candidates`` items.

    ``method="likelihood"`` adds ``weight`` times the gain in log-likelihood of the words for an
    item to the recommender's log-probability, ``facts`` says whether these words include year and
    genres; ``"listwise"`` takes the order that the model writes; ``"auto"``, the likelihood from
    models that can score, else a list.

    Weight and number are the best of 16 pairs on 100 validation users of ml-100k with
    SmolLM2-135M, by NDCG@20 (`evaluation.reranking`). A weight so small hardly re-orders anything:
    the best exceeded the recommender's own order by 0.0008, and every weight from 0.03 on fell
    below it. A larger language model may deserve more; choose again on validation users.
    """

    method: RerankMethod = "auto"
    n_candidates: int = 20
    weight: float = 0.01
    facts: bool = True

    def __post_init__(self) -> None:
        _one_of(self, "method", RerankMethod)
        _require(self.n_candidates >= 2, self, f"n_candidates={self.n_candidates}: at least 2.")
        _require(self.weight >= 0, self, f"weight={self.weight} is negative.")


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


# ml-100k was tuned on its validation users alone; ml-1m takes its values, with the K of the paper,
# and its validation users chose the longer training of the intents. The others take the training
# schedule; what differs is the paper's code where that is known, and else a matter of size.
_TUNED = Preset(
    "ml-100k",
    anchors=AnchorConfig(K=256),
    em=EMConfig(
        lambda_=0.1, learning_rate=3e-3, n_epochs_q=6, n_epochs_generative=20,
        n_epochs_alternate=15, patience=6,
    ),
    em_plus=EMConfig(
        residual=True, lambda_=0.1, dropout=0.7, learning_rate=2e-3, n_epochs_q=6,
        n_epochs_generative=15, n_epochs_alternate=25, patience=6,
    ),
    direct=DirectConfig(dropout=0.7, learning_rate=2e-3, n_epochs=50, patience=8),
)  # fmt: skip
_PRESETS = {
    "ml-100k": _TUNED,
    "ml-1m": replace(
        _TUNED,
        name="ml-1m",
        backbone=BackboneConfig(dropout=0.2, batch_size=256, n_epochs=20, patience=4),
        anchors=AnchorConfig(K=512),
        simulator=SimulatorConfig(n_reused_cuts=0),
        em=replace(_TUNED.em, n_epochs_generative=30, n_epochs_alternate=30, patience=10),
        direct=replace(_TUNED.direct, dropout=0.5),
    ),
    "ml-latest-small": replace(_TUNED, name="ml-latest-small", anchors=AnchorConfig(K=128)),
    # K, layers, length, alpha_M, lambda and InfoNCE weight are those of the paper's code
    "amazon-video-games": replace(
        _TUNED,
        name="amazon-video-games",
        backbone=BackboneConfig(n_layers=3, windows="last", batch_size=256, n_epochs=30),
        anchors=AnchorConfig(K=256),
        em=replace(_TUNED.em, lambda_=1.0, alpha_M=1.0, learning_rate=1e-3),
        em_plus=replace(_TUNED.em_plus, lambda_=1.0, alpha_M=1.0, dropout=0.5),
        direct=replace(_TUNED.direct, dropout=0.5),
    ),
    # 76,616 items: a softmax over all of them for every position is beyond a small machine
    "amazon-cds": replace(
        _TUNED,
        name="amazon-cds",
        backbone=BackboneConfig(loss="sampled", windows="last", batch_size=256, n_epochs=30),
        anchors=AnchorConfig(K=128),
        em=replace(_TUNED.em, lambda_=1.0, alpha_M=1.0, learning_rate=1e-3),
        em_plus=replace(_TUNED.em_plus, lambda_=1.0, alpha_M=1.0, dropout=0.5),
        direct=replace(_TUNED.direct, dropout=0.5),
    ),
    "synthetic": replace(_TUNED, name="synthetic", anchors=AnchorConfig(K=12)),
}


def preset(name: str = "ml-100k", n_users: int | None = None) -> Preset:
    """Return the hyper-parameters for data set ``name``.

    Args:
        name: of the data set.
        n_users: how many users it has. A data set without a preset then gets that of ml-100k,
            with one intent for every four users, 2 to 256.

    Raises:
        ConfigError: there is no preset of that name and ``n_users`` is not given; the message
            lists those that exist.
    """
    if name in _PRESETS:
        return _PRESETS[name]
    if n_users is not None:
        K = min(256, max(2, n_users // 4))
        return replace(_TUNED, name=name, anchors=AnchorConfig(K=K))
    close = difflib.get_close_matches(name, _PRESETS, n=1)
    hint = f" Did you mean {close[0]!r}?" if close else ""
    raise ConfigError(f"There is no preset {name!r}.{hint} Known: {', '.join(_PRESETS)}.")
