"""Terms of the final score, against computations by hand; without terms nothing changes."""

import json
import math
from dataclasses import asdict, replace
from pathlib import Path
from types import SimpleNamespace

import polars as pl
import pytest
import torch

from latentcrs_utils.baselines.direct import DirectModel, TextScorer
from latentcrs_utils.config import TermWeights, preset
from latentcrs_utils.constraints.constraint import Constraint
from latentcrs_utils.data.sequences import Dataset, Sequences
from latentcrs_utils.em import terms as em_terms
from latentcrs_utils.em.instances import item_attributes
from latentcrs_utils.em.model import LatentCRS
from latentcrs_utils.em.terms import ScoreTerms, item_texts, log_popularity
from latentcrs_utils.errors import ConfigError

from .small_world import N_RANDOM, TEXT, WIDTH, random_model

ITEMS = {"title": ["Up", "It"], "year": [2009, None], "genres": [["Comedy", "War"], []]}
ABOUT = {"Up (2009), a comedy war film": [3.0, 4.0], "It, a film": [0.0, 2.0]}
WORDS = ABOUT | {"funny": [1.0, 0.0], "dark": [0.0, -5.0]}
TEXTS = ["funny", "dark"]
BEHAVIOR = torch.tensor([[-torch.inf, math.log(4), 0.0], [-torch.inf, 7.0, 7.0]])
ROOT = Path(__file__).parents[2]


def films() -> Dataset:
    # the last two items of a user are for validation and test: item 1 was taken twice, 2 once
    interactions = Sequences.from_lists([[1, 2, 1, 2], [1, 2, 2]])
    items = pl.DataFrame({"item": [1, 2], **ITEMS})
    return Dataset("ml-x", items, pl.DataFrame({"user": [0, 1]}), interactions, {}, "films")


class Reader:
    def embed(self, texts, progress=None):
        return torch.tensor([WORDS[text] for text in texts])


def lacking(texts: list[str]) -> torch.Tensor:  # two nats, item 1 of "dark"
    return torch.tensor([[0.0, -2.0 * (text == "dark"), 0.0] for text in texts])


def terms(*weights: float) -> ScoreTerms:
    """Weights of model, behavior, popularity, content, examples and requirements."""
    backbone = SimpleNamespace(scores=lambda S: S)
    made = ScoreTerms.of_data(films(), backbone, TermWeights(*weights), Reader())
    return replace(made, lacking=lacking)


def test_popularity_is_that_of_the_training_part_plus_one():
    assert [len(row) for row in films().histories("train")] == [2, 1]
    expected = [-math.inf, math.log(3 / 5), math.log(2 / 5)]
    torch.testing.assert_close(log_popularity(films()), torch.tensor(expected))


def test_items_are_read_as_title_year_and_genres():
    assert item_texts(films()) == list(ABOUT)


def test_an_item_without_a_title_is_not_read():
    items = films().items.with_columns(title=pl.Series(["Up", "Unknown title"]))
    nine = SimpleNamespace(embed=lambda texts: torch.full((len(texts), 1), 9.0))
    data, weights = replace(films(), items=items), TermWeights(content=1.0)
    read = ScoreTerms.of_data(data, None, weights, nine)
    assert read.item_vectors.tolist() == [[0.0], [1.0], [0.0]]


def test_final_score_is_the_weighted_sum_of_its_terms():
    scores = torch.tensor([[-torch.inf, math.log(3), 0.0], [-torch.inf, 5.0, 5.0]])
    final = terms(0.5, 4.0, 2.0, 10.0, 0.0, 3.0)(scores, BEHAVIOR, TEXTS)
    assert torch.isneginf(final[:, 0]).all()
    popular = 2 * math.log(3 / 5), 2 * math.log(2 / 5)
    # cosines: funny 3/5 with Up, 0 with It; dark -4/5 and -1
    expected = [
        [0.5 * math.log(3 / 4) + popular[0] + 6, 0.5 * math.log(1 / 4) + popular[1] + 0],
        [0.5 * math.log(1 / 2) + popular[0] - 8 - 6, 0.5 * math.log(1 / 2) + popular[1] - 10],
    ]
    behavior = torch.tensor([[4 / 5, 1 / 5], [1 / 2, 1 / 2]]).log()
    torch.testing.assert_close(final[:, 1:], torch.tensor(expected) + 4 * behavior)
    # a model that counts for nothing does not spoil the padding
    assert torch.isneginf(terms(0.0, 0.0, 1.0)(scores, BEHAVIOR, None)[:, 0]).all()


def test_no_weight_is_no_term_and_texts_must_fit():
    assert ScoreTerms.of_data(films(), None, TermWeights()) is None
    with pytest.raises(ConfigError, match="Give 2 texts"):
        terms(1.0, 0.0, 0.0, 1.0)(torch.zeros(2, 3), BEHAVIOR, ["funny"])


def test_where_nothing_was_said_only_popularity_is_added():
    both, popular = terms(1.0, 0.0, 2.0, 10.0, 5.0, 3.0), terms(1.0, 0.0, 2.0)
    scores = torch.randn(2, 3)
    assert torch.equal(both(scores, None, None), popular(scores, None, None))
    assert em_terms.requirements_lacking(films(), ()).shape == (0, 3)
    torch.testing.assert_close(both(scores, None, [" ", "dark"])[0], popular(scores, None, None)[0])


def test_an_item_lacks_what_was_heard_by_its_probability(monkeypatch):
    """The lexicon is sure, the classifier is not, and says nothing of what the lexicon settles."""
    heard = {"genre=War": 0.5, "not genre=Comedy": 0.8, "genre=Comedy": 0.9, "decade=1990": 0.7}
    said = {Constraint.parse(c): (p, "") for c, p in heard.items()}
    world = SimpleNamespace(probabilities=lambda texts: [said if text else {} for text in texts])
    monkeypatch.setattr("latentcrs_utils.em.terms.classifier_for", lambda data: world)
    lacks = em_terms.requirements_lacking(films(), ("a comedy from the 2000s", "", "hello"))
    war, comedy, no_comedy, nineties = (math.log(1 - 0.95 * heard[c]) for c in (
        "genre=War", "genre=Comedy", "not genre=Comedy", "decade=1990"))  # fmt: skip
    of_it = 2 * math.log(0.05) + war  # no comedy, no year, no war film
    expected = [[0.0, of_it], [0.0, 0.0], [no_comedy + nineties, war + comedy + nineties]]
    torch.testing.assert_close(lacks[:, 1:], torch.tensor(expected))


@pytest.fixture(params=["LatentCRS", "LatentCRS+", "text alone"])
def model(request):
    if request.param == "text alone":
        scorer = TextScorer(TEXT, WIDTH, 3, 8, 0.0).eval()
        items = scorer.items(torch.empty(0), torch.randn(N_RANDOM + 1, 3)).detach()
        return DirectModel(request.param, scorer, items, [])
    config = SimpleNamespace(residual=request.param == "LatentCRS+")
    generative = random_model(residual=config.residual).float()
    language = SimpleNamespace(mean=torch.zeros(TEXT))
    return LatentCRS(*[None] * 3, language, config, generative, None, [])


def test_every_model_takes_the_same_terms_and_none_is_as_before(model):
    S, x = torch.randn(3, WIDTH), torch.randn(3, TEXT)
    plain = model.scores(S, x)
    if isinstance(model, LatentCRS):
        old = model.generative.log_probability(model.context(S, x), model.catalogue)
    else:
        old = model.scorer.query(S, x) @ model.items.T
    assert torch.equal(plain[:, 1:], old[:, 1:]) and torch.isneginf(plain[:, 0]).all()
    assert torch.equal(model.scores(S, x, ["any", "words", "here"]), plain)
    table = torch.randn(N_RANDOM + 1)
    popular = replace(model, terms=ScoreTerms(TermWeights(popularity=2.0), table, *[None] * 4))
    expected = torch.log_softmax(plain, dim=1)[:, 1:] + 2 * table[1:]
    torch.testing.assert_close(popular.scores(S, x)[:, 1:], expected)


def test_items_resemble_those_that_are_named():
    likeness = em_terms.likeness_to_named(films(), ("something like Up (2009)", "hello", ""))
    cosine = torch.cosine_similarity(*item_attributes(films())[1:], dim=0)
    torch.testing.assert_close(likeness[0], torch.tensor([0.0, 0.0, cosine]))
    assert not likeness[1:].any()


def test_presets_hold_the_weights_that_were_chosen():
    record = json.loads((ROOT / "results/terms_ml-100k.json").read_text("utf-8"))
    for name in ("terms_plus", "terms_fusion", "terms_text"):
        best = {part: record[name][0][part] for part in asdict(TermWeights())}
        assert asdict(getattr(preset("ml-100k"), name)) == best
    assert preset("my-films", n_users=100).terms_plus == TermWeights()
