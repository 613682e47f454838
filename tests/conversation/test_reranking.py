"""Policy V: orders by likelihood and by a written list, and what may be wrong with them."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from latentcrs_utils.config import RerankConfig
from latentcrs_utils.conversation.reranking import RerankContext, order_schema, permutation, rerank
from latentcrs_utils.conversation.turn import Recommendation
from latentcrs_utils.errors import ConfigError, MessageError
from tests.conversation.fakes import FakeChatModel, FakeScorer

CANDIDATES = [
    Recommendation(11, "Quiet Harbour", 1950, ("Drama",), -1.0),
    Recommendation(12, "Night of the Moth (La Nuit)", None, (), -2.0),
    Recommendation(13, "A Long Title about Thunder and Other Weather", 1960, ("Western",), -3.0),
    Recommendation(14, "Moth Season", 1970, ("Horror",), -4.0),
]  # fmt: skip
CONTEXT = RerankContext(["Seven (Se7en)", "Heat"], ["something", "with <moths>\nin it"], "film")


def order(words=(), weight=0.1):
    chat_model = FakeScorer(words=words)
    return rerank(chat_model, CANDIDATES, CONTEXT, RerankConfig(weight=weight)), chat_model


@pytest.mark.parametrize(
    ("words", "weight", "items"),
    [
        # 10 nats for the two moths, times 0.1: -1, -1, -3, -3; ties in the recommender's order
        (("Moth",), 0.1, (11, 12, 13, 14)),
        (("Moth",), 0.2, (12, 11, 14, 13)),
        (("Moth",), 0.4, (12, 14, 11, 13)),
        (("Moth",), 0.0, (11, 12, 13, 14)),
        # a long title neither wins nor loses
        (("Thunder",), 1.0, (13, 11, 12, 14)),
        ((), 5.0, (11, 12, 13, 14)),
    ],
)
def test_a_title_gains_what_the_context_adds_to_its_likelihood(words, weight, items):
    new, chat_model = order(words, weight)
    named = [any(word in item.title for word in words) for item in CANDIDATES]
    assert new.order == items and new.log_ratios == tuple(10.0 * gains for gains in named)
    assert new.tokens == (100, 0) and new.prior_tokens == 100 and chat_model.asked == []


def test_the_model_reads_the_context_the_titles_and_what_is_known_of_them():
    _, chat_model = order()
    (prior, words), (prompt, again) = chat_model.scored
    assert words == again == [
        " Quiet Harbour (1950, Drama)",
        " Night of the Moth",
        " A Long Title about Thunder and Other Weather (1960, Western)",
        " Moth Season (1970, Horror)",
    ]  # fmt: skip
    assert "Seven, Heat." in prompt and '"something with <moths> in it"' in prompt
    assert "moths" not in prior and prompt.splitlines()[-1] == prior.splitlines()[-1]


def test_a_long_context_is_cut_to_what_came_last():
    told = str(RerankContext([f"Film {i}" for i in range(50)], ["x" * 3_000, "the end"]))
    assert "Film 42, Film 43" in told and "Film 41" not in told
    assert told.endswith('the end"') and len(told) < 1_300


def test_what_does_not_depend_on_the_context_is_asked_once():
    chat_model, prior = FakeScorer(), {}
    for candidates in (CANDIDATES[:3], CANDIDATES[1:]):
        rerank(chat_model, candidates, CONTEXT, RerankConfig(), prior=prior)
    assert [len(titles) for _, titles in chat_model.scored] == [3, 3, 1, 3]
    assert len(prior) == 4


def test_equal_titles_are_told_apart_by_the_recommender_alone():
    twins = [Recommendation(1, "Heat", 1950, (), -2.0), Recommendation(2, "Heat", 1990, (), -1.0)]
    new = rerank(FakeScorer(words=("Heat",)), twins, CONTEXT, RerankConfig(weight=1.0))
    assert new.order == (2, 1) and new.log_ratios == (10.0, 10.0)


@pytest.mark.parametrize("wrong", [[math.nan] * 4, [-math.inf] * 4, [1.0]])
def test_scores_that_are_none_are_refused(wrong):
    chat_model = FakeScorer()
    chat_model.score = lambda prompt, texts: wrong
    with pytest.raises(MessageError, match="no 4 finite scores"):
        rerank(chat_model, CANDIDATES, CONTEXT, RerankConfig())


@pytest.mark.parametrize(
    ("reply", "items"),
    [
        ('{"order": [4, 2, 1, 3]}', (14, 12, 11, 13)),
        # what is no permutation is repaired
        ('{"order": [4, 4, 4, 2]}', (14, 12, 11, 13)),
        ('{"order": [9, 0, -1, "2", true, 2.0, 3]}', (13, 11, 12, 14)),
        ("[2, 1]", (12, 11, 13, 14)),
        # without any item it is refused
        *[(reply, "none of the 4") for reply in ('{"order": [99]}', "{}", '"Moth Season"', "7")],
        ("I want Moth Season.", "wrote no JSON: 'I want Moth Season.'"),
    ],
)
def test_a_capable_model_writes_the_order(reply, items):
    chat_model = FakeChatModel(reply)
    if isinstance(items, str):
        with pytest.raises(MessageError, match=items):
            rerank(chat_model, CANDIDATES, CONTEXT, RerankConfig())
    else:
        new = rerank(chat_model, CANDIDATES, CONTEXT, RerankConfig())
        assert new.order == items and new.log_ratios == () and new.tokens == (50, len(reply) // 4)
    # the list is numbered, the schema bounds it, and the context is data
    system, user = chat_model.asked[0]
    assert "films" in system["content"] and "moths" not in system["content"]
    for place, line in enumerate(user["content"].splitlines()[-4:]):
        assert line.startswith(f"{place + 1}. {CANDIDATES[place].title}")
    assert chat_model.schemas == [order_schema(4)]
    assert order_schema(4)["properties"]["order"] == {
        "type": "array", "items": {"type": "integer", "enum": [1, 2, 3, 4]},
        "minItems": 4, "maxItems": 4,
    }  # fmt: skip


@given(st.lists(st.integers(-3, 12) | st.text(max_size=2) | st.none(), max_size=30))
def test_whatever_is_written_becomes_a_permutation(numbers):
    if any(type(x) is int and 1 <= x <= 8 for x in numbers):
        assert sorted(permutation(numbers, 8)) == list(range(8))
    else:
        with pytest.raises(MessageError):
            permutation(numbers, 8)


def test_the_method_suits_the_model_unless_the_user_says_which():
    scorer, writer = FakeScorer('{"order": [4]}'), FakeChatModel('{"order": [4]}')
    with pytest.raises(ConfigError, match="Scripted cannot score given words"):
        rerank(writer, CANDIDATES, CONTEXT, RerankConfig(method="likelihood"))
    for chat_model, method, scored in (
        (scorer, "auto", True), (scorer, "likelihood", True), (scorer, "listwise", False),
        (writer, "auto", False),
    ):  # fmt: skip
        new = rerank(chat_model, CANDIDATES, CONTEXT, RerankConfig(method=method))
        assert bool(new.log_ratios) == scored


def test_senseless_settings_are_refused():
    for change, message in (
        ({"method": "best"}, "not one of auto, likelihood, listwise"),
        ({"n_candidates": 1}, "at least 2"),
        ({"weight": -1.0}, "at least 0"),
    ):
        with pytest.raises(ConfigError, match=message):
            RerankConfig(**change)
