"""The classifier of clauses, in a planted world where every genre and refusal has its direction."""

import numpy as np
import pytest

from latentcrs_utils.constraints import clause_classifier, extraction
from latentcrs_utils.constraints.clause_classifier import ClauseClassifier, fit_classifier
from latentcrs_utils.constraints.constraint import Constraint, Requirement, Requirements, combined
from latentcrs_utils.constraints.negation import clauses
from latentcrs_utils.conversation.policies import relaxations
from latentcrs_utils.errors import ConfigError, DataError
from latentcrs_utils.simulation.phrase_book import pool
from tests.constraints.test_constraint import written
from tests.conversation.fakes import fake_dataset

DATA = fake_dataset()
# phrases of the training pool, by which a clause is known to state something
NAMES = {g: pool("train", "genres", g, "touch")[0] for g in ("Horror", "Comedy", "Western")}
SIXTIES = pool("train", "eras", "1960")[0]
HORROR, COMEDY, WESTERN = NAMES.values()
WORDS = [*NAMES.values(), SIXTIES, "spare", "hello"]


class PlantedEncoder:
    """One direction for each known word; it remembers what it was given."""

    identity = "planted"

    def __init__(self):
        self.read: list[str] = []

    def embed(self, texts):
        self.read += texts
        vectors = np.array([[4.0 * (w.lower() in t.lower()) for w in WORDS] + [1] for t in texts])
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def row(split: str, text: str, *conditions: str) -> dict:
    return {"split": split, "level": "paraphrased", "turns": [text], "conditions": [*conditions]}


def rows(split: str, noise: str) -> list[dict]:
    made = [row(split, f"hello {noise} {i}") for i in range(20)]
    for genre, word in NAMES.items():
        for i in range(8):
            made.append(row(split, f"{noise} {i} {word}", f"genre={genre}"))
            made.append(row(split, f"{noise} {i} spare {word}", f"not genre={genre}"))
            asked = (f"genre={genre}", "decade=1960")
            made.append(row(split, f"{noise} {i} {word}; {i} {SIXTIES}", *asked))
    return made


@pytest.fixture
def fitted(monkeypatch, tmp_path) -> ClauseClassifier:
    monkeypatch.setenv("LATENTCRS_CACHE", str(tmp_path))
    return fit_classifier(DATA, [*rows("train", "um"), *rows("valid", "er")], PlantedEncoder())


SAID = f"Oh, {HORROR}; spare me the {WESTERN}; {SIXTIES}"


def test_signs_times_and_several_clauses_are_read_with_their_evidence(fitted) -> None:
    found = fitted.read(SAID)
    assert written(found) == ("decade=1960", "genre=Horror", "not genre=Western")
    assert all(0.5 < r.probability < 1 and r.source == "classifier" for r in found)
    assert {str(r.constraint): r.evidence for r in found}["decade=1960"] == SIXTIES
    assert not fitted.read("hello") and not fitted.read("?!")


def test_more_evidence_is_more_probable(fitted) -> None:
    horror = Constraint("genre", "Horror")
    texts = ("hello", f"{HORROR} hello {COMEDY}", f"{HORROR} hello", HORROR)
    p = [heard[horror][0] for heard in fitted.probabilities(texts)]
    assert p == sorted(p) and p[0] < 0.01 < 0.99 < p[-1]


def test_test_texts_are_unread_and_validation_sets_the_limit(fitted, monkeypatch, tmp_path) -> None:
    monkeypatch.setenv("LATENTCRS_CACHE", str(tmp_path / "other"))
    encoder, seen = PlantedEncoder(), [*rows("train", "um"), *rows("valid", "er")]
    wrong = [row("test", f"planted {i} {HORROR}", "genre=Comedy") for i in range(50)]
    again = fit_classifier(DATA, [*seen, *wrong], encoder)
    assert not any("planted" in text for text in encoder.read)
    assert again.threshold == fitted.threshold < 1 and (again.weight == fitted.weight).all()
    contrary = [row("valid", f"er {i} {HORROR}", "genre=Comedy") for i in range(50)]
    deaf = fit_classifier(DATA, [*rows("train", "um"), *contrary], encoder)
    assert deaf.threshold == 1 and not deaf.read(HORROR)
    with pytest.raises(DataError, match="No training utterance states"):
        fit_classifier(DATA, seen[:8], encoder)


def test_whatever_changes_the_result_is_in_the_key_of_the_cache(fitted, monkeypatch) -> None:
    def fits_again(encoder, table) -> bool:
        fit_classifier(DATA, table, encoder)
        return bool(encoder.read)

    table = [*rows("train", "um"), *rows("valid", "er")]
    assert not fits_again(PlantedEncoder(), table)
    other = PlantedEncoder()
    other.identity = "another"
    assert fits_again(other, table) and fits_again(PlantedEncoder(), table[1:])
    for name in clause_classifier._SETTING:
        with monkeypatch.context() as changed:
            changed.setitem(clause_classifier._SETTING, name, 0.7)
            assert fits_again(PlantedEncoder(), table), name


def test_the_lexicon_wins_where_the_classifier_contradicts_it(fitted, monkeypatch) -> None:
    monkeypatch.setattr(extraction, "classifier_for", lambda data: fitted)
    message = f"no horror, from the eighties; {HORROR}; {SIXTIES}; {COMEDY}"
    read = extraction.make_extractor(DATA, "lexicon + classifier")
    found = read(message).requirements
    assert written(found) == ("decade=1980", "genre=Comedy", "not genre=Horror")
    alone = extraction.make_extractor(DATA, "classifier")(message).requirements
    assert "decade=1960" in written(alone) and combined(Requirements(), alone) == alone
    with pytest.raises(ConfigError, match=r"'ear' is not one of lexicon, .* classifier"):
        extraction.make_extractor(DATA, "ear")


def test_the_least_probable_guess_is_given_up_first_and_then_the_old_order() -> None:
    from latentcrs_utils.constraints.constraint import matcher_for

    sure = Requirement(Constraint("era", "1700-1701"))
    guesses = [Requirement(Constraint("genre", g), "", "classifier", p)
               for g, p in (("Horror", 0.9), ("Comedy", 0.6))]  # fmt: skip
    matcher = matcher_for(DATA)
    steps = [step for step, _ in relaxations(matcher, Requirements((*guesses, sure)))]
    # the first guess frees nothing before the years do, and is given up with them
    assert steps == ["", "years", "guesses 2"]
    horror = matcher.satisfying(guesses[0].constraint)
    masks = dict(relaxations(matcher, Requirements((*guesses,))))
    assert (masks["guesses 1"] == horror).all() and (masks["guesses 2"] == matcher.items).all()


def test_clauses_end_at_stops_contrasts_and_refusals() -> None:
    text = "Something funny, but with tears. I would not want ghosts"
    said = [text[a:b].strip() for a, b in clauses(text)]
    assert said == ["Something funny", "but with tears", "I would", "not want ghosts"]
