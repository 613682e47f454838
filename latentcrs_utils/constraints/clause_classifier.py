"""A classifier that reads constraints out of clauses by the vectors of a sentence encoder.

Multinomial logistic regression tells which genre or time a clause states, a second one whether it
refuses what it states; both learn from the training utterances and the phrase book.
"""

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

SLOTS = ("genre", "decade", "era")
# C: inverse strength of L2 for labels and sign; weight of a phrase of the book, of a text 1;
# precision that the threshold is to have; letters of a clause that may be a part of a phrase
_SETTING = {"version": 1, "C": 0.5, "C_sign": 1.0, "phrase": 2.0, "precision": 0.8, "shortest": 9}
_CERTAIN = 20.0  # log odds


@dataclass(frozen=True, eq=False)
class ClauseClassifier:
    """p(label | e) = softmax(W e + b) for the vector e of a clause, and p(refused | e).

    ``embed`` gives N texts vectors of length one, float [N, d]. ``labels`` are L constraints as
    written, without sign, among them "", no constraint; ``weight`` is [L + 1, d], ``bias`` [L + 1],
    the sign last. Slope and offset of ``scale`` calibrate the log odds; what is less probable than
    the ``threshold`` is not read.
    """

    embed: Callable[[list[str]], Any]
    vocabulary: Vocabulary
    labels: Sequence[str]
    weight: np.ndarray
    bias: np.ndarray
    scale: tuple[float, float] = (1.0, 0.0)
    threshold: float = 0.5

    def probabilities(self, message: str) -> dict[Constraint, tuple[float, str]]:
        """Return each constraint's probability and the likeliest text: a clause or the message."""
        plain = self.vocabulary.plain_words(message)
        spans = clauses(plain)
        spans += [(0, len(plain))] if len(spans) > 1 else []
        if not spans:
            return {}
        vectors = np.asarray(self.embed([spoken(plain[a:b]) for a, b in spans]))
        z, found = vectors @ self.weight.T + self.bias, {}
        p, refused = softmax(z[:, :-1], axis=1), expit(z[:, -1])
        for label, of_label in zip(self.labels, p.T, strict=True):
            signs = (1 - refused, refused) if label.startswith("genre") else (1.0,) * bool(label)
            for negated, sign in enumerate(signs):
                at = int((of_label * sign).argmax())
                best = np.clip((of_label * sign)[at], 1e-9, 1 - 1e-9)
                constraint = Constraint.parse(f"{'not ' * negated}{label}")
                probability = float(expit(self.scale[0] * logit(best) + self.scale[1]))
                found[constraint] = probability, message[slice(*spans[at])].strip()
        return found

    def read(self, message: str) -> Requirements:
        """Return what is probable enough, each genre with its likelier sign, and one time."""
        best: dict[str, Requirement] = {}
        for constraint, (p, text) in self.probabilities(message).items():
            value = constraint.value if constraint.slot == "genre" else "time"
            if p >= self.threshold and (value not in best or p > best[value].probability):
                best[value] = Requirement(constraint, text, "classifier", p)
        return Requirements(tuple(best.values()))


def spoken(plain: str) -> str:
    """Return a text in lower case with "it" for titles that `Vocabulary.plain_words` blanked."""
    return " ".join("it" if "_" in word else word for word in plain.lower().split())


def fit_classifier(
    data: Dataset, rows: Iterable[Mapping[str, Any]], encoder: Any
) -> ClauseClassifier:
    """Fit on the rows of an utterance table's split "train", calibrate on "valid"; read no other.

    ``encoder``: a `SentenceEncoder`, or anything with its ``embed`` and ``identity``. DataError:
    too few genres and times are stated.
    """
    vocabulary, columns = vocabulary_for(data), ("split", "level", "turns", "conditions")
    kept = [[row[name] for name in columns] for row in rows if row["split"] in ("train", "valid")]
    train, valid = ([row[1:] for row in kept if row[0] == split] for split in ("train", "valid"))

    def fit(_: Any) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
        reader = _calibrated(_fitted(train, vocabulary, encoder.embed), valid)
        tensors = {"weight": torch.tensor(reader.weight), "bias": torch.tensor(reader.bias)}
        return tensors, {name: getattr(reader, name) for name in ("labels", "scale", "threshold")}

    parts = {
        "setting": _SETTING, "encoder": encoder.identity, "rows": key(rows=kept),
        "book": key(book=phrase_book(vocabulary.domain)), "titles": key(titles=list(data.titles)),
        "words": key(any=words("negation"), domain=words(vocabulary.domain)),
    }  # fmt: skip
    tensors, facts = train_or_load("clause_classifier", parts, fit)
    weight, bias = tensors["weight"].numpy(), tensors["bias"].numpy()
    return ClauseClassifier(encoder.embed, vocabulary, weight=weight, bias=bias, **facts)


@lru_cache(maxsize=4)
def classifier_for(data: Dataset) -> ClauseClassifier:
    """Return the classifier of a data set, fitted to its utterances of seed 0 at the first call."""
    from latentcrs_utils.language.sentence_encoder import SentenceEncoder
    from latentcrs_utils.simulation.utterances import simulate_utterances

    rows = simulate_utterances(data).frame.iter_rows(named=True)
    return fit_classifier(data, rows, SentenceEncoder())


def _fitted(
    rows: Sequence[Sequence[Any]], vocabulary: Vocabulary, embed: Callable[[list[str]], Any]
) -> ClauseClassifier:
    """Fit labels to phrases of the book, messages and their clauses, and the sign to clauses.

    The clause that shares a phrase with a constraint states it. Of a paraphrase the other clauses
    are left out: the constraint may be there; of an example or a mood they state none.
    """
    from sklearn.linear_model import LogisticRegression

    wanted = [[c for c in map(Constraint.parse, of_row) if c.slot in SLOTS] for *_, of_row in rows]
    stated = sorted({_unsigned(c) for of_row in wanted for c in of_row})
    phrases = {label: _phrases(Constraint.parse(label), vocabulary) for label in stated}
    weights = {(p, v): _SETTING["phrase"] for v in stated for p in sorted(phrases[v])}
    signs = dict[str, bool]()
    for (level, turns, _), of_row in zip(rows, wanted, strict=True):
        plain = [vocabulary.plain_words(message) for message in turns]
        if len(plain) == 1:
            own = sorted({_unsigned(c) for c in of_row}) or [""]
            for label in own:
                weights.setdefault((spoken(plain[0]), label), 1 / len(own))
        if level == "plain":  # in the words of the lexicon
            continue
        for clause in dict.fromkeys(spoken(t[a:b]) for t in plain for a, b in clauses(t)):
            long = len(clause) >= _SETTING["shortest"]
            here = [c for c in of_row if any(p in clause or (long and clause in p)
                                             for p in phrases[_unsigned(c)])]  # fmt: skip
            for c in here:
                weights.setdefault((clause, _unsigned(c)), 1.0)
                signs[clause] = c.negated
            if not here and level != "paraphrased":
                weights.setdefault((clause, ""), 1.0)
    if not stated or len({v for _, v in weights}) < 3:
        raise DataError(
            "Training utterances must state two genres or times at least, and some must state "
            f"none; they state {', '.join(stated) or 'none'}: simulate more of them."
        )
    texts, names = zip(*weights, strict=True)
    vectors = dict(zip(distinct := [*dict.fromkeys(texts)], embed(distinct), strict=True))
    of_label = LogisticRegression(C=_SETTING["C"], max_iter=1_000)
    of_label.fit([vectors[text] for text in texts], names, [*weights.values()])
    weight, bias = np.zeros(of_label.coef_.shape[1]), -_CERTAIN  # nothing is refused
    if {*signs.values()} == {False, True}:
        of_sign = LogisticRegression(C=_SETTING["C_sign"], max_iter=1_000)
        of_sign.fit([vectors[text] for text in signs], [*signs.values()])
        weight, bias = of_sign.coef_[0], of_sign.intercept_[0]
    w, b = np.vstack([of_label.coef_, weight]), np.append(of_label.intercept_, bias)
    return ClauseClassifier(embed, vocabulary, of_label.classes_.tolist(), w, b)


def _calibrated(reader: ClauseClassifier, rows: Sequence[Sequence[Any]]) -> ClauseClassifier:
    """Fit `scale` to paraphrases (Platt), then the threshold of most recall at the precision.

    Where none has that precision, nothing is read.
    """
    from sklearn.linear_model import LogisticRegression

    said = [(" ".join(turns), true) for level, turns, true in rows if level == "paraphrased"]
    found = [(reader.probabilities(text), true) for text, true in said]
    pairs = [(p, str(c) in true) for of_text, true in found for c, (p, _) in of_text.items()]
    p, hit = np.array(sorted(pairs, reverse=True), dtype=float).reshape(-1, 2).T
    precision = hit.cumsum() / np.arange(1, len(hit) + 1)
    enough = np.flatnonzero((hit > 0) & (precision >= _SETTING["precision"]))
    if not len(enough):
        return replace(reader, threshold=1.0)
    line = LogisticRegression(C=np.inf).fit(logit(p)[:, None], hit)
    threshold = line.predict_proba([[logit(p[enough[-1]])]])[0, 1] - 1e-9
    scale = float(line.coef_[0, 0]), float(line.intercept_[0])
    return replace(reader, scale=scale, threshold=float(threshold))


def _unsigned(constraint: Constraint) -> str:
    return f"{constraint.slot}={constraint.value}"


def _phrases(constraint: Constraint, vocabulary: Vocabulary) -> set[str]:
    """Return how the training pool of the phrase book says a genre or a time."""
    book, value = phrase_book(vocabulary.domain), constraint.value
    genre = [form for of in ("genres", "plain") for form in book[of].get(value, {}).values()]
    pools = genre if constraint.slot == "genre" else [book["eras"].get(value, {"train": []})]
    return {spoken(vocabulary.plain_words(phrase)) for pool in pools for phrase in pool["train"]}
