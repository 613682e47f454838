"""A classifier that reads constraints out of clauses by the vectors of a sentence encoder.

The lexicon knows words; a classifier knows what lies near what the simulated users of the training
utterances said. Of each clause it tells how probable every genre and time is, and whether the
clause refuses what it names, so that refusals need no vectors of their own.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch

from latentcrs_utils.constraints.constraint import Constraint, Requirement, Requirements
from latentcrs_utils.constraints.negation import clauses
from latentcrs_utils.constraints.vocabulary import Vocabulary, vocabulary_for
from latentcrs_utils.data.sequences import Dataset
from latentcrs_utils.errors import DataError
from latentcrs_utils.simulation.phrase_book import Domain, phrase_book
from latentcrs_utils.support.artifacts import key, train_or_load

Embed = Callable[[list[str]], Any]
"""Texts to vectors of length one, float [N, d], a tensor or an array."""
SLOTS = ("genre", "decade", "era")
PRECISION = 0.8
_FOLDS, _ROUNDS, _INVERSE_L2 = 5, 3, 1.0
_REFUSED = "refused"  # the last label


@dataclass(frozen=True, eq=False)
class ClauseClassifier:
    """p(label | clause) = sigmoid(W e + b) for the vector e of a clause, calibrated.

    ``labels`` are constraints as written, without sign, and last "refused"; ``weight`` is
    [L, d], ``bias`` [L]; what is less probable than the ``threshold`` is not read.
    """

    embed: Embed
    vocabulary: Vocabulary
    labels: Sequence[str]
    weight: np.ndarray
    bias: np.ndarray
    threshold: float = 0.5

    def probabilities(self, message: str) -> dict[Constraint, tuple[float, str]]:
        """Return every constraint's probability, that of its best clause, and this clause."""
        plain = self.vocabulary.plain_words(message)
        if not (spans := clauses(plain)):
            return {}
        vectors = np.asarray(self.embed([without_titles(plain[a:b]) for a, b in spans]))
        p = sigmoid(vectors @ self.weight.T + self.bias)
        found = {}
        for label, of_label in zip(self.labels[:-1], p.T, strict=False):
            signs = (1 - p[:, -1], p[:, -1]) if label.startswith("genre") else (1.0,)
            for negated, sign in enumerate(signs):
                best = int((of_label * sign).argmax())
                constraint = Constraint(*label.split("=", 1), negated=bool(negated))
                found[constraint] = float((of_label * sign)[best]), message[slice(*spans[best])]
        return found

    def read(self, message: str) -> Requirements:
        """Return what is probable enough, each value with its likelier sign, and one time."""
        best: dict[str, Requirement] = {}
        for constraint, (p, clause) in self.probabilities(message).items():
            value = constraint.value if constraint.slot == "genre" else "time"
            if p >= self.threshold and (value not in best or p > best[value].probability):
                best[value] = Requirement(constraint, clause, "classifier", p)
        return Requirements(tuple(best.values()))


def without_titles(text: str) -> str:
    """Return a text with "it" for every title that `Vocabulary.plain_words` has blanked."""
    return " ".join(("it" if set(word) & {"_"} else word) for word in text.split())


def sigmoid(x: np.ndarray) -> np.ndarray:
    """Return 1 / (1 + exp(-x)), without overflow."""
    return (1 + np.tanh(x / 2)) / 2


def fit_classifier(
    data: Dataset, rows: Iterable[Mapping[str, Any]], encoder: Any
) -> ClauseClassifier:
    """Fit on the rows of the split "train", choose the threshold on "valid"; no other is read.

    Args:
        data: the data set whose titles and genres are known.
        rows: those of an utterance table: split, level, turns, conditions.
        encoder: a `SentenceEncoder`, or anything with its ``embed`` and ``identity``.

    Raises:
        DataError: no training utterance states a genre or a time.
    """
    vocabulary = vocabulary_for(data)
    rows = [row for row in rows if row["split"] in ("train", "valid")]
    train, valid = ([row for row in rows if row["split"] == s] for s in ("train", "valid"))

    def fit(_: Any) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
        labels, weight, bias = _fitted(train, vocabulary, encoder.embed)
        reader = ClauseClassifier(encoder.embed, vocabulary, labels, weight, bias)
        tensors = {"weight": torch.from_numpy(weight), "bias": torch.from_numpy(bias)}
        return tensors, {"labels": labels, "threshold": threshold_for(reader, valid)}

    said = [[row["split"], row["level"], row["turns"], row["conditions"]] for row in rows]
    titles = key(titles=list(data.titles))
    parts = {"encoder": encoder.identity, "rows": key(rows=said), "titles": titles}
    tensors, facts = train_or_load("clause_classifier", parts, fit)
    weight, bias = tensors["weight"].numpy(), tensors["bias"].numpy()
    return ClauseClassifier(
        encoder.embed, vocabulary, facts["labels"], weight, bias, facts["threshold"]
    )


@lru_cache(maxsize=4)
def classifier_for(data: Dataset) -> ClauseClassifier:
    """Return the classifier of a data set, fitted to its utterances of seed 0 at the first call."""
    from latentcrs_utils.language.sentence_encoder import SentenceEncoder
    from latentcrs_utils.simulation.utterances import simulate_utterances

    rows = simulate_utterances(data).frame.iter_rows(named=True)
    return fit_classifier(data, rows, SentenceEncoder())


def threshold_for(reader: ClauseClassifier, rows: Iterable[Mapping[str, Any]]) -> float:
    """Return the threshold of most recall at `PRECISION` on paraphrases; 1 where none has it."""
    scored = list[tuple[float, bool]]()
    for row in rows:
        if row["level"] == "paraphrased":
            found = reader.probabilities(" ".join(row["turns"]))
            scored += [(p, str(c) in row["conditions"]) for c, (p, _) in found.items()]
    scored.sort(key=lambda pair: -pair[0])
    hit = np.array([true for _, true in scored], dtype=bool)
    enough = np.flatnonzero(hit & (hit.cumsum() >= PRECISION * np.arange(1, len(hit) + 1)))
    return scored[enough[-1]][0] if len(enough) else 1.0


def _fitted(
    rows: Sequence[Mapping[str, Any]], vocabulary: Vocabulary, embed: Embed
) -> tuple[list[str], np.ndarray, np.ndarray]:
    """Return the labels, W and b; of a text's clauses the likeliest gets each of its labels."""
    texts, wanted = list[list[str]](), list[set[Constraint]]()
    for row in rows:
        parsed = map(Constraint.parse, row["conditions"])
        wanted.append({c for c in parsed if c.slot in SLOTS})
        plain = [vocabulary.plain_words(message) for message in row["turns"]]
        texts.append([without_titles(t[a:b]) for t in plain for a, b in clauses(t)])
    known = sorted({c for of_text in texts for c in of_text})
    labels = sorted({_unsigned(c) for of_text in wanted for c in of_text})
    if not labels:
        raise DataError("No training utterance states a genre or a time: simulate some that do.")
    place, column = ({v: i for i, v in enumerate(of)} for of in (known, labels))
    vectors, occurs = np.asarray(embed(known)), np.zeros(len(known))
    share, refused = np.zeros((len(known), len(labels))), np.zeros(len(known))
    for of_text, of_row in zip(texts, wanted, strict=True):
        for i in (place[c] for c in of_text):
            occurs[i] += 1
            share[i, [column[_unsigned(c)] for c in of_row]] += 1
    named = share > occurs[:, None] / 2
    for _ in range(_ROUNDS):
        fitted = [_line(vectors, of_label) for of_label in named.T]
        score = share / occurs[:, None] + sigmoid(np.array([vectors @ w + b for w, b in fitted]).T)
        given = np.zeros_like(share)
        refused[:] = 0
        for of_text, of_row in zip(texts, wanted, strict=True):
            candidates = np.array([place[c] for c in of_text], dtype=int)
            for constraint in of_row if len(candidates) else ():
                label = column[_unsigned(constraint)]
                best = candidates[score[candidates, label].argmax()]
                given[best, label] += 1
                refused[best] += 1 if constraint.negated else -1
        named = given > occurs[:, None] / 2
    groups = phrases_of(known, vocabulary.domain)
    lines = [_line(vectors, of_label, groups) for of_label in named.T]
    signed = refused != 0
    lines.append(_line(vectors[signed], refused[signed] > 0, groups[signed]))
    weight, bias = (np.array(of, dtype=np.float32) for of in zip(*lines, strict=True))
    return [*labels, _REFUSED], weight, bias


def _unsigned(constraint: Constraint) -> str:
    return f"{constraint.slot}={constraint.value}"


def _line(
    vectors: np.ndarray, true: np.ndarray, groups: np.ndarray | None = None
) -> tuple[np.ndarray, float]:
    """Return w [d] and b of a logistic regression; with groups, calibrated on groups left out."""
    from sklearn.calibration import CalibratedClassifierCV
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedGroupKFold

    if true.all() or not true.any():  # nothing to tell apart
        return np.zeros(vectors.shape[1]), 20.0 if true.any() else -20.0
    line = LogisticRegression(C=_INVERSE_L2, max_iter=1_000)
    n = 0 if groups is None else min(_FOLDS, *(len({*groups[true == kind]}) for kind in (0, 1)))
    if groups is None or n < 2:
        line.fit(vectors, true)
        return line.coef_[0], float(line.intercept_[0])
    folds = [*StratifiedGroupKFold(n).split(vectors, true, groups)]
    calibrated = CalibratedClassifierCV(line, cv=folds, ensemble=False).fit(vectors, true)
    (fitted,) = calibrated.calibrated_classifiers_
    (platt,), line = fitted.calibrators, fitted.estimator  # p = 1 / (1 + exp(a f + b))
    slope = max(-platt.a_, 1e-6)  # more evidence is never less probable
    return slope * line.coef_[0], float(slope * line.intercept_[0] - platt.b_)


def phrases_of(texts: Sequence[str], domain: Domain) -> np.ndarray:
    """Number every text by the longest training phrase that it shares, else by itself: int [N]."""
    book = phrase_book(domain)
    tables = (book.get(name, {}) for name in ("genres", "eras", "plain"))
    known = sorted({p.lower() for table in tables for p in _train(table)}, key=len, reverse=True)
    number: dict[str, int] = {}
    for text in map(str.lower, texts):
        phrase = next((p for p in known if p in text or text in p), text)
        number.setdefault(text, number.setdefault(phrase, len(number)))
    return np.array([number[text.lower()] for text in texts])


def _train(table: Mapping[str, Any]) -> Iterator[str]:
    """Yield the phrases of every pool "train" in a table of the phrase book."""
    for name, entry in table.items():
        if isinstance(entry, Mapping):
            yield from _train(entry)
        elif name == "train":
            yield from entry
