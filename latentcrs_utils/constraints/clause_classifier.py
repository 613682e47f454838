"""A classifier that reads constraints out of clauses by the vectors of a sentence encoder.

One multinomial logistic regression tells the genre of a clause, one its time, and one whether the
clause refuses what it names. All learn from clauses of the training utterances that hold a phrase
of the book's training pool, and from these phrases alone.
"""

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from scipy.special import expit, logit, softmax

from latentcrs_utils.constraints.constraint import Constraint, Requirement, Requirements
from latentcrs_utils.constraints.negation import clauses, words
from latentcrs_utils.constraints.vocabulary import Vocabulary, vocabulary_for
from latentcrs_utils.data.sequences import Dataset
from latentcrs_utils.errors import DataError
from latentcrs_utils.simulation.phrase_book import phrase_book
from latentcrs_utils.support.artifacts import key, train_or_load

SLOTS = {"genre": "genre", "decade": "time", "era": "time"}
# C, C_sign: inverse strength of L2; precision that the threshold is to have on paraphrases
_SETTING = {"version": 2, "C": 0.3, "C_sign": 10.0, "precision": 0.8}
Embed = Callable[[list[str]], Any]
Heard = dict[Constraint, tuple[float, str]]


@dataclass(frozen=True, eq=False)
class ClauseClassifier:
    """p(genre | e) and p(time | e) = softmax(W e + b) for the vector e of a clause; p(refused | e).

    `embed` gives N texts vectors, float [N, d]. The rows of `weight` [L + 1, d] and `bias` [L + 1]
    are those of the `labels`, constraints as written without sign, of which "genre=" and "time="
    are none, and last the sign. Slope and offset of `scale` calibrate the log odds; what is less
    probable than the `threshold` is not read.
    """

    embed: Embed
    vocabulary: Vocabulary
    labels: Sequence[str]
    weight: np.ndarray
    bias: np.ndarray
    scale: tuple[float, float] = (1.0, 0.0)
    threshold: float = 0.5

    def probabilities(self, messages: Sequence[str]) -> list[Heard]:
        """Of each message every constraint's probability, and the clause where it is highest."""
        plain = [self.vocabulary.plain_words(message) for message in messages]
        spans = [clauses(text) for text in plain]
        texts = [spoken(t[a:b]) for t, of in zip(plain, spans, strict=True) for a, b in of]
        if not texts:
            return [{} for _ in messages]
        z = np.asarray(self.embed(texts)) @ self.weight.T + self.bias
        refused, slots = expit(z[:, -1:]), np.array([_slot(label) for label in self.labels])
        p, constraints = list[np.ndarray](), list[Constraint]()
        for slot in dict.fromkeys(slots):
            of_slot = softmax(z[:, :-1][:, slots == slot], axis=1)
            named = np.array([label for label in self.labels if _slot(label) == slot])
            known = np.array([not label.endswith("=") for label in named])
            asked = [Constraint.parse(label) for label in named[known]]
            of_slot, signed = of_slot[:, known], slot == "genre"
            p += [of_slot * (1 - refused), of_slot * refused] if signed else [of_slot]
            constraints += [*asked, *(c.opposite for c in asked)] if signed else asked
        odds = logit(np.hstack(p).clip(1e-9, 1 - 1e-9))
        values, found, row = expit(self.scale[0] * odds + self.scale[1]), list[Heard](), 0
        for message, of in zip(messages, spans, strict=True):
            here, row = values[row : row + len(of)], row + len(of)
            best = here.argmax(0).tolist() if len(of) else []
            found.append({
                c: (float(here[at, column]), message[slice(*of[at])].strip())
                for column, (c, at) in enumerate(zip(constraints, best, strict=False))
            })  # fmt: skip
        return found

    def read(self, message: str) -> Requirements:
        """What is probable enough, each genre with its likelier sign, and one time."""
        best: dict[str, Requirement] = {}
        for constraint, (p, text) in self.probabilities([message])[0].items():
            value = constraint.value if constraint.slot == "genre" else "time"
            if p >= self.threshold and (value not in best or p > best[value].probability):
                best[value] = Requirement(constraint, text, "classifier", p)
        return Requirements(tuple(best.values()))


def spoken(plain: str) -> str:
    """A text in lower case with "it" for titles that `Vocabulary.plain_words` blanked."""
    return " ".join("it" if "_" in word else word for word in plain.lower().split())


def _slot(label: str) -> str:
    slot = label.split("=", 1)[0]
    return SLOTS.get(slot, slot)


def fit_classifier(
    data: Dataset, rows: Iterable[Mapping[str, Any]], encoder: Any
) -> ClauseClassifier:
    """Fit on the rows of the split "train", calibrate on "valid"; no other is read.

    The rows are those of an utterance table (split, level, turns, conditions); the encoder is a
    `SentenceEncoder`, or anything with its ``embed`` and ``identity``. DataError: no training
    utterance states a genre or a time in words of the book.
    """
    vocabulary = vocabulary_for(data)
    kept = [[row[c] for c in ("split", "level", "turns", "conditions")] for row in rows]
    train, valid = ([row[1:] for row in kept if row[0] == split] for split in ("train", "valid"))

    def fit(_: Any) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
        reader = _calibrated(_fitted(train, vocabulary, encoder.embed), valid)
        tensors = {"weight": torch.tensor(reader.weight), "bias": torch.tensor(reader.bias)}
        return tensors, {name: getattr(reader, name) for name in ("labels", "scale", "threshold")}

    parts = {
        "setting": _SETTING, "encoder": encoder.identity, "rows": key(train=train, valid=valid),
        "book": key(book=phrase_book(vocabulary.domain)), "titles": key(titles=list(data.titles)),
        "words": key(any=words("negation"), domain=words(vocabulary.domain)),
    }  # fmt: skip
    tensors, facts = train_or_load("clause_classifier", parts, fit)
    weight, bias = tensors["weight"].numpy(), tensors["bias"].numpy()
    return ClauseClassifier(encoder.embed, vocabulary, weight=weight, bias=bias, **facts)


@lru_cache(maxsize=4)
def classifier_for(data: Dataset) -> ClauseClassifier:
    """The classifier of a data set, fitted to its utterances of seed 0 at the first call."""
    from latentcrs_utils.language.sentence_encoder import SentenceEncoder
    from latentcrs_utils.simulation.utterances import simulate_utterances

    rows = simulate_utterances(data).frame.iter_rows(named=True)
    return fit_classifier(data, rows, SentenceEncoder())


def _fitted(
    rows: Sequence[Sequence[Any]], vocabulary: Vocabulary, embed: Embed
) -> ClauseClassifier:
    """Fit the labels to clauses and phrases, the sign to clauses that name a genre of their row."""
    from sklearn.linear_model import LogisticRegression

    stated = {c.removeprefix("not ") for *_, conditions in rows for c in conditions}
    book, said = phrase_book(vocabulary.domain), defaultdict(set)
    for label in stated:
        slot, _, value = label.partition("=")
        for file in {"genre": ("genres", "plain")}.get(slot, ("eras",) if slot in SLOTS else ()):
            entry = book.get(file, {}).get(value, {})
            for part in (entry, *(of for of in entry.values() if isinstance(of, dict))):
                for phrase in part.get("train", ()):
                    said[spoken(phrase)].add(label)
    longest_first = sorted(map(re.escape, said), key=len, reverse=True)
    of_book = re.compile(rf"(?<!\w)(?:{'|'.join(longest_first)})")
    states, refusals = dict[str, set[str]](said), defaultdict(list)
    for _, turns, conditions in rows:
        for message in turns:
            text = vocabulary.plain_words(message)
            for clause in (spoken(text[a:b]) for a, b in clauses(text)):
                named = {label for phrase in of_book.findall(clause) for label in said[phrase]}
                states[clause] = states.get(clause, set()) | named
                for label in named.intersection(c.removeprefix("not ") for c in conditions):
                    refusals[clause].append(f"not {label}" in conditions)
    if not any(refusals.values()) or not said:
        raise DataError("No training utterance states a genre or a time of the phrase book.")
    vectors = np.asarray(embed(texts := [*states]))
    labels, lines = list[str](), list[tuple[np.ndarray, float]]()
    for slot in ("genre", "time"):
        own = [min((v for v in states[t] if _slot(v) == slot), default=f"{slot}=") for t in texts]
        if len({*own}) > 1:
            fitted = LogisticRegression(C=_SETTING["C"], max_iter=300).fit(vectors, own)
            w, b = fitted.coef_, fitted.intercept_
            if len(w) == 1:  # of two classes only the second has a line of its own
                w, b = np.vstack([0 * w, w]), np.append(0.0, b)
            labels += fitted.classes_.tolist()
            lines += zip(w, b, strict=True)
    at = [row for row, text in enumerate(texts) if refusals[text]]
    refused = [np.mean(refusals[texts[row]]) > 0.5 for row in at]
    lines.append((np.zeros(vectors.shape[1]), -20.0))  # where nothing is ever refused
    if len({*refused}) == 2:
        sign = LogisticRegression(C=_SETTING["C_sign"], max_iter=300).fit(vectors[at], refused)
        lines[-1] = sign.coef_[0], float(sign.intercept_[0])
    weight, bias = (np.array(part) for part in zip(*lines, strict=True))
    return ClauseClassifier(embed, vocabulary, labels, weight, bias)


def _calibrated(reader: ClauseClassifier, rows: Sequence[Sequence[Any]]) -> ClauseClassifier:
    """Fit `scale` to paraphrases (Platt); the threshold of most recall at the precision, if any."""
    from sklearn.linear_model import LogisticRegression

    said = [(" ".join(turns), true) for level, turns, true in rows if level == "paraphrased"]
    heard = reader.probabilities([text for text, _ in said])
    pairs = [
        (p, str(c) in true)
        for of_text, (_, true) in zip(heard, said, strict=True)
        for c, (p, _) in of_text.items()
    ]
    p, hit = np.array(sorted(pairs, reverse=True), dtype=float).reshape(-1, 2).T
    precision = hit.cumsum() / np.arange(1, len(hit) + 1)
    enough = np.flatnonzero((hit > 0) & (precision >= _SETTING["precision"]))
    if not len(enough):
        return replace(reader, threshold=1.0)
    line = LogisticRegression(C=np.inf).fit(logit(p)[:, None], hit)
    threshold = line.predict_proba([[logit(p[enough[-1]])]])[0, 1] - 1e-9
    scale = float(line.coef_[0, 0]), float(line.intercept_[0])
    return replace(reader, scale=scale, threshold=float(threshold))
