"""Score terms: what is added to log p(v | S, x) before the items are ranked.

With candidates drawn by popularity InfoNCE learns p(v | ·) / p(v) (van den Oord et al., 2018), so
p(v) belongs back; with all items as candidates it may still help people of another kind. Behavior
is log p(v | S) of the backbone: training on few instances forgets a part of it. Content, title and
genres as a sentence encoder reads them, is known of items that nobody has rated, too.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any, Self

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from latentcrs_utils.behavior.pretraining import Backbone
from latentcrs_utils.config import TermWeights
from latentcrs_utils.constraints.clause_classifier import classifier_for
from latentcrs_utils.constraints.constraint import matcher_for
from latentcrs_utils.constraints.lexicon import extract, lexicon_for
from latentcrs_utils.constraints.vocabulary import vocabulary_for
from latentcrs_utils.data.sequences import Dataset
from latentcrs_utils.data.source import UNKNOWN_TITLE
from latentcrs_utils.em.instances import item_attributes
from latentcrs_utils.errors import ConfigError
from latentcrs_utils.language.sentence_encoder import SentenceEncoder
from latentcrs_utils.language.text_encoder import TextEncoder
from latentcrs_utils.simulation.phrase_book import domain_of

_RELIABILITY = 0.95  # of what is said literally: it may be meant otherwise


@dataclass(frozen=True, eq=False)
class ScoreTerms:
    """The weights of the terms, and the tables that the terms are read from.

    `log_popularity` is [V + 1]; `item_vectors` [V + 1, d_w] are of length one, as `reader` reads
    the items' texts; `lacking` is `requirements_lacking` of the data and `resembling` its
    `likeness_to_named`; `backbone` scores items from S alone. Column or row 0 is the padding.
    """

    weights: TermWeights
    log_popularity: Tensor
    lacking: Callable[[tuple[str, ...]], Tensor]
    resembling: Callable[[tuple[str, ...]], Tensor]
    reader: TextEncoder
    backbone: Backbone
    item_vectors: Tensor | None = None

    @classmethod
    def of_data(
        cls, data: Dataset, backbone: Backbone, weights: TermWeights,
        reader: TextEncoder | None = None,
    ) -> Self | None:  # fmt: skip
        """Make the tables, or None where no term has a weight; without a `reader` it is MiniLM."""
        if weights == TermWeights():
            return None
        reader, vectors = reader or SentenceEncoder(), None
        if weights.content:
            vectors = F.pad(F.normalize(reader.embed(item_texts(data)), dim=1), (0, 0, 1, 0))
            vectors[[title == UNKNOWN_TITLE for title in data.titles]] = 0.0  # says nothing
        of_words = partial(requirements_lacking, data), partial(likeness_to_named, data)
        return cls(weights, log_popularity(data), *of_words, reader, backbone, vectors)

    def parts(self, scores: Tensor, S: Tensor, texts: Sequence[str] | None) -> dict[str, Tensor]:
        """The terms that have a weight, unweighted, each [B or 1, V + 1].

        Without `texts` there are none of words; an empty text has content 0. ConfigError: not B.
        """
        parts, w = {"model": torch.log_softmax(scores, dim=1)}, self.weights
        if w.behavior:
            parts["behavior"] = torch.log_softmax(self.backbone.scores(S), dim=1)
        if w.popularity:
            parts["popularity"] = self.log_popularity[None]
        if texts is None or not any((w.content, w.requirements, w.examples)):
            return parts
        if len(texts) != len(scores):
            raise ConfigError(f"Give {len(scores)} texts, one an instance, not {len(texts)}.")
        if self.item_vectors is not None:
            said = torch.tensor([bool(text.strip()) for text in texts])
            words = scores.new_zeros(len(texts), self.item_vectors.shape[1])
            if said.any():
                words[said] = self.reader.embed([*filter(str.strip, texts)], progress=False)
            parts["content"] = F.normalize(words, dim=1) @ self.item_vectors.T
        for name, term in (("requirements", self.lacking), ("examples", self.resembling)):
            if getattr(w, name):
                parts[name] = term(tuple(texts))
        return parts

    def __call__(self, scores: Tensor, S: Tensor, texts: Sequence[str] | None) -> Tensor:
        """The final scores [B, V + 1] for a model's `scores`, S and words; column 0 is -inf."""
        return combine(self.parts(scores, S, texts), self.weights)


def combine(parts: dict[str, Tensor], weights: TermWeights) -> Tensor:
    """The weighted sum of the terms, [B, V + 1]; column 0 (padding) is minus infinity."""
    total = sum(getattr(weights, name) * part for name, part in parts.items())
    return total.index_fill(1, torch.tensor([0]), -torch.inf)


def log_popularity(data: Dataset) -> Tensor:
    """log p(v), float32 [V + 1]: training actions of each item plus one, over their sum."""
    flat = torch.from_numpy(data.histories("train").flat.astype(np.int64))
    counts = flat.bincount(minlength=data.n_items + 1).float()[1:] + 1
    return F.pad((counts / counts.sum()).log(), (1, 0), value=-torch.inf)


def item_texts(data: Dataset) -> list[str]:
    """What is read of each item, in their order: "Toy Story (1995), a animation comedy film"."""
    noun, columns = domain_of(data.name).removesuffix("s"), ("title", "year", "genres")
    return [
        f"{title}{f' ({year})' if year else ''}, a {' '.join([*genres, noun]).lower()}"
        for title, year, genres in data.items.select(columns).iter_rows()
    ]


@lru_cache(maxsize=2)  # all systems are asked for the same texts
def requirements_lacking(data: Dataset, texts: tuple[str, ...]) -> Tensor:
    """What every item lacks of the requirements heard in each text, in nats, [B, V + 1], 0 at best.

    An item that lacks a requirement of probability p has log(1 - 0.95 p) of it: p is 1 for what the
    lexicon reads; of all that it does not settle, what the classifier of clauses says.
    """
    matcher, rows = matcher_for(data), []
    for years, of_text in heard(data, texts):
        met = [(1.0, matcher.any_of(years)), *((p, matcher.satisfying(c)) for c, p in of_text)]
        p, masks = zip(*met, strict=True)
        rows.append(np.log1p(-_RELIABILITY * np.array(p)) @ ~np.stack(masks))
    return torch.tensor(np.array(rows).reshape(len(texts), data.n_items + 1)).float()


@lru_cache(maxsize=256)  # the same texts are ranked again: masked, unmasked, from each seed
def heard(data: Dataset, texts: tuple[str, ...]) -> list[tuple[Any, list[tuple[Any, float]]]]:
    """Of each text the years, of which one is enough, and other constraints with probability."""
    lexicon, found = lexicon_for(data), []
    for text, guesses in zip(texts, classifier_for(data).probabilities(texts), strict=True):
        literal = extract(text, lexicon)
        years = literal.asked("years")
        met = [(c, 1.0) for c in literal.constraints if c not in years]
        for constraint, (p, _) in guesses.items():
            settled = {constraint, constraint.opposite} & {*literal.constraints}
            if not settled and not (years and constraint.attribute == "years"):
                met.append((constraint, p))
        found.append((years, met))
    return found


@lru_cache(maxsize=2)
def likeness_to_named(data: Dataset, texts: tuple[str, ...]) -> Tensor:
    """Mean cosine of genres and period with the items that each text names, [B, V + 1].

    It is 0 where a text names none, and for the named items themselves.
    """
    titles, unit = vocabulary_for(data).titles, F.normalize(item_attributes(data), dim=1)
    likeness = torch.zeros(len(texts), len(unit))
    for row, text in enumerate(texts):
        if named := sorted({item for title in titles.find(text) for item in title.items}):
            likeness[row] = (unit @ unit[named].T).mean(1).index_fill(0, torch.tensor(named), 0.0)
    return likeness
