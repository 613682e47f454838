"""Policies: what is offered, what is relaxed when too little is left, and what a turn records."""

import json
import threading
import tomllib
from dataclasses import replace
from functools import partial
from itertools import pairwise
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from latentcrs_utils.config import RerankConfig
from latentcrs_utils.constraints.constraint import (
    Constraint,
    Requirement,
    Requirements,
    matcher_for,
)
from latentcrs_utils.constraints.extraction import Extraction, make_extractor
from latentcrs_utils.conversation import policies
from latentcrs_utils.conversation.guards import clean_message
from latentcrs_utils.conversation.session import Conversation, StoppedError
from latentcrs_utils.conversation.turn import Withdrawal, more_like
from latentcrs_utils.data.sequences import Dataset
from latentcrs_utils.errors import ConfigError, DataError, EndpointError, MessageError
from latentcrs_utils.simulation.items import Catalogue
from tests.conversation.fakes import FakeChatModel, FakeScorer, chat, fake_dataset, fake_model, ids

COLUMNS = ["title", "year", "genres", "creator", "platform", "price"]
GAMES = [
    ("One", 1985, ["Puzzle"], "Sega", "Wii", 10.0),
    ("Two", 1985, ["Puzzle", "Horror"], "Sega", "Wii", 10.0),
    ("Three", 1982, ["Puzzle"], "Sega", "Wii", 90.0),
    ("Four", 1976, ["Puzzle"], "Sega", "Wii", 10.0),
    ("Five", 1960, ["Puzzle"], "Sony", "Wii", None),
    ("Six", None, ["Racing"], "Sony", "NES", 10.0),
    ("Seven", 1985, ["Puzzle", "Racing"], None, None, 10.0),
    ("Eight", 1999, [], None, None, None),
]
ALL = ("genre=Puzzle", "decade=1980", "creator=Sega", "platform=Wii", "price=20")
REPLY = "Film Number 7 may do."
# films of the western's genre, and of no other wish: item v has genre v mod 4 and year 1950 + v
WESTERNS = [3, 7, 11, 15, 19]
FORM = json.dumps({
    "genres": [{"words": "with saloons", "value": "Western"}, {"words": "sad", "value": "Drama"}],
    "not_genres": [],
    "years": [{"words": "the fifties", "value": "1950s"}],
})  # fmt: skip


@pytest.fixture(scope="module")
def games() -> Dataset:
    data, table = fake_dataset(len(GAMES)), pl.DataFrame(GAMES, COLUMNS, orient="row")
    items = data.items.with_columns(table.get_columns())
    return replace(data, name="amazon-video-games-x", items=items, fingerprint="eight games")


def constraints(*written: str) -> tuple[Constraint, ...]:
    return tuple(map(Constraint.parse, written))


def wanted(*written: str) -> Requirements:
    return Requirements(tuple(map(Requirement, constraints(*written))))


def requirement(written: str, evidence: str, source="lexicon") -> Requirement:
    return Requirement(Constraint.parse(written), evidence, source)


def selected(games: Dataset, conditions, n: int, excluded=()):
    """What F selects where larger ids score higher, and the padding highest."""
    scores = torch.tensor([99.0, *range(-9, -1)])
    request = policies.Request(scores, excluded, n, wanted(*conditions))
    slate = policies.FilterPolicy(games).select(request)
    assert scores.tolist() == [99, *range(-9, -1)]  # the request is left as it was
    return slate


# Constraint relaxation


ROWS = tomllib.loads((Path(__file__).parent / "relaxations.toml").read_text("utf-8"))["rows"]


@pytest.mark.parametrize(("conditions", "n", "items", "relaxed"), ROWS)
def test_what_is_offered_and_what_is_relaxed(games, conditions, n, items, relaxed):
    slate = selected(games, conditions, n)
    assert ids(slate) == items and slate.relaxed == (*relaxed,)
    assert bool(slate.note) == bool(relaxed) == any(item.misses for item in slate.items)
    assert all(policies.RELAXATIONS[step] in slate.note for step in relaxed)


def test_what_is_excluded_is_never_offered_and_leaves_room(games):
    slate = selected(games, ("genre=Puzzle", "price=20"), 3, excluded=[7, 4, 2])
    assert ids(slate) == [1, 5, 3] and slate.relaxed == ("price",)
    assert slate.note.startswith("Only 1 game is left that meets all of: Puzzle, under $20. ")
    assert selected(games, (), 3, excluded=range(1, 9)).items == ()


def test_every_item_says_what_it_misses(games):
    slate = selected(games, (*ALL, "decade=1970"), 8)
    missed = {item.item: (*map(str, item.misses),) for item in slate.items}
    assert missed[1] == missed[4] == ()
    assert missed[3] == ("price=20",)
    # of several times one is enough; without any, all are missed; what is not known is missed
    assert missed[5] == ("decade=1980", "creator=Sega", "price=20", "decade=1970")
    assert missed[7] == ("creator=Sega", "platform=Wii")
    assert missed[8] == (*ALL, "decade=1970")
    # only where nothing else is left comes what was refused
    slate = selected(games, ("not genre=Puzzle", "not genre=Racing"), 2, excluded=[8])
    assert ids(slate) == [7, 6] and slate.relaxed == ("refusals",)
    puzzle, racing = constraints("not genre=Puzzle", "not genre=Racing")
    assert [item.misses for item in slate.items] == [(puzzle, racing), (racing,)]


def test_relaxations_come_in_the_stated_order_and_only_grow(games):
    relaxations = partial(policies.relaxations, matcher_for(games))
    names, masks = zip(*relaxations(wanted(*ALL, "not genre=Horror")), strict=True)
    # to give up the creator alone frees nothing, with the platform it does
    assert names == ("", "price", "years widened", "platform", "years", "genres", "refusals")
    for smaller, larger in pairwise(masks):
        assert (smaller <= larger).all() and not larger[0]
    assert masks[-1][1:].all()
    for conditions, steps in ((("decade=1980",), ["", "years widened", "years"]), ((), [""])):
        assert [name for name, _ in relaxations(wanted(*conditions))] == steps
    # relaxation is for what is left
    left = np.isin(np.arange(len(GAMES) + 1), [5, 6, 8])
    found = {n: [*np.flatnonzero(m)] for n, m in relaxations(wanted(*ALL[:2]), left)}
    assert found == {"": [], "years": [5], "genres": [5, 6, 8]}


def test_lower_tiers_come_first_and_keep_their_order(games):
    scores = torch.tensor([-torch.inf, -3.0, 5.0, -1.0, 7.0, 8.0, -torch.inf, -2.0, 1.0])
    found = policies.relax(scores, matcher_for(games), wanted("decade=1980", "not genre=Horror"))
    # 1, 3 and 7 meet all, 4 with the years widened, 5 and 8 without years; 2 is refused
    assert found.argsort(descending=True)[:6].tolist() == [3, 7, 1, 4, 5, 8]
    assert found[3] == -1.0 and found[[0, 2, 6]].isinf().all()


def test_of_equal_scores_the_smaller_id_comes_first():
    scores, best_items = torch.tensor([-torch.inf, 1, 2, 1, 2, -torch.inf, 1]), policies.best_items
    assert best_items(scores, 4, {}) == [2, 4, 1, 3]
    assert best_items(scores, 99, {}) == [2, 4, 1, 3, 6]
    assert best_items(torch.full((4,), -torch.inf), 2, {}) == []
    assert best_items(torch.ones(5_000), 99, {}) == [*range(99)]
    twins = dict.fromkeys((1, 2, 4), (1, 2, 4))
    assert best_items(scores, 2, twins) == [2, 3] and best_items(scores, 9, twins) == [2, 3, 6]


# One film under two ids


@given(seed=st.integers(0, 999), wish=st.sampled_from(["", "genre=Drama", "not genre=Drama"]))
@settings(max_examples=15)
@pytest.mark.parametrize("policy", ["B", "F", "V"])
def test_a_film_under_two_ids_is_offered_once_and_never_again(data, policy, seed, wish):
    twins = matcher_for(data).catalogue.twins
    assert len(twins) == 16
    rng, scores = np.random.default_rng(seed), torch.randn(data.n_items + 1).double()
    scores[list(twins)] += torch.from_numpy(rng.normal(2, 3, len(twins)))
    known = [int(pair[rng.integers(2)]) for pair in {*twins.values()} if rng.random() < 0.4]
    scorer = FakeScorer(*["..."] * 99)
    chosen = {
        "B": policies.Policy(data), "F": policies.FilterPolicy(data),
        "V": policies.RerankPolicy(data, lambda: scorer, RerankConfig(n_candidates=60)),
    }[policy]  # fmt: skip
    request = policies.Request(scores, known, 50, wanted(*wish.split(", ")) if wish else wanted())
    slate = chosen.select(request)
    for offered in ([item.item for item in slate.items], slate.candidates, slate.reranked):
        films = [twins.get(item, (item,)) for item in offered]
        assert len(films) == len({*films})
        assert {*films}.isdisjoint(twins.get(item, (item,)) for item in known)
    assert len(slate.items) == 50


@pytest.mark.parametrize("policy", ["B", "F", "V"])
@pytest.mark.parametrize("n_items", [1, 5])
def test_a_film_that_is_asked_for_comes_first_or_is_spoken_of(policy, n_items):
    for message, first, note in (
        ("do you have nihgt of the moth?", 2, "You asked for Night of the Moth (1952)."),
        ("Dust and Thunder", 3, "You asked for Dust & Thunder (1953)."),
        ("like Dust & Thunder, please", None, ""),
        ("is Film Number 12 any good?", 12, "You asked for Film Number 12 (1962), seen before."),
        ("I want to see The Matrix", None, "No film of ml-fake is called “The Matrix”."),
        ("show me heat from 1954 and dust & thunder", 4, "You asked for Heat (1954)."),
    ):
        scorer = FakeScorer(*["."] * 99)
        conversation = chat(user=42, policy=policy, n_items=n_items, chat_model=scorer)
        conversation.say("a sad drama")
        turn = conversation.say(message)
        assert len(turn.items) == n_items and note in turn.note, message
        assert ("You asked for" in turn.note) == (first is not None), message
        assert first in (None, turn.items[0].item), message
        if first:
            assert conversation.why(turn)[0].startswith("You asked for it")
            if first < 5:
                missed = [str(missed) for missed in turn.items[0].misses]
                assert missed == ["genre=Drama"] * (policy == "F")
            conversation.reject(first)
            again = conversation.say(message)
            assert "before." in again.note and ids(again).count(first) == 1 == (
                ids(again).index(first) + 1
            )


def test_a_title_of_another_year_or_of_none_is_another_film(data):
    of = matcher_for(data).catalogue.same
    pairs = [("Chasing Amy", 2), ("Sabrina", 1), ("Cape Fear", 1), ("Shall We Dance?", 1)]
    for title, n in pairs:
        first, second = (i for i, t in enumerate(data.titles) if t == title)
        assert len(of([first])) == n and of([first, second]) == {first, second}
    rows = {"title": ["Heat", "heat!", "Heat (Fuoco)", "Heat", "Heat", "Unknown title"] + ["?"] * 2}
    years = {"year": [1995, 1995, 1995, None, None, 1995] + [1996] * 2}
    items = fake_dataset(8).items.with_columns(pl.DataFrame(rows | years).get_columns())
    catalogue = Catalogue(replace(fake_dataset(8), items=items))
    assert catalogue.same([2, 4, 6, 7]) == {1, 2, 3, 4, 6, 7} and len(catalogue.twins) == 3
    shop = items.with_columns(
        title=pl.lit("One"), year=1985, platform=pl.Series(["Wii", "NES"] * 4)
    )
    catalogue = Catalogue(replace(fake_dataset(8), name="amazon-video-games-x", items=shop))
    assert catalogue.same([1]) == {1, 3, 5, 7}


# What "More like this" says


@pytest.mark.parametrize("title", ["Scary Movie", "1941", "Western", "2001: A Space Odyssey"])
def test_more_like_names_the_title_and_requires_nothing(title):
    assert more_like(f"{title} (A Film) (1957)") == f"Something like {title}."
    model = fake_model()
    titles = pl.Series("title", [title, *model.data.items["title"][1:]])
    model = replace(model, data=replace(model.data, items=model.data.items.with_columns(titles)))
    turn = Conversation(model, chat_model=None, policy="F").say(more_like(f"{title} (1957)"))
    assert turn.requirements == ()
    hostile = more_like("<script>alert(1)</script> [x](javascript:1)")
    assert clean_message(hostile) == hostile == "Something like <script>alert</script> [x]."


def test_what_a_wish_compares_with_or_refuses_is_not_offered(data):
    scores = torch.zeros(data.n_items + 1).index_fill(0, torch.tensor([0]), -torch.inf)
    scores[(toys := data.titles.index("Toy Story"))] = 1.0
    for message in ("something like Toy Story", "I loved Toy Story (1995)", "except Toy Story"):
        for said in ([message], [message, "a film"], ["a film"]):
            for policy in (policies.Policy(data), policies.FilterPolicy(data)):
                offered = policy.select(policies.Request(scores, (), 5, messages=said)).items
                assert (toys in [item.item for item in offered]) == (message not in said)


# Policy F


def test_f_offers_what_meets_the_requirements_and_says_what_gave_way():
    basic, turn = (chat(policy).say("a western from the fifties") for policy in "BF")
    assert ids(basic) == ids(turn) == WESTERNS and (basic.policy, turn.policy) == ("B", "F")
    assert basic.requirements == basic.relaxed == basic.candidates == ()
    western, fifties = turn.requirements
    assert western == requirement("genre=Western", "western")
    assert fifties == requirement("decade=1950", "the fifties")
    assert [item.misses for item in turn.items] == [(), (), *[(fifties.constraint,)] * 3]
    assert turn.relaxed == ("years",)
    assert "Only 2 films" in turn.note and "No history is known" in turn.note
    assert "Required: Western (“western”); the 1950s (“the fifties”)" in str(turn)


def test_f_filters_after_scoring():
    # the history draws to comedies and the words too, but horror is what is required
    message = "comedy comedy comedy? No comedy! Horror from the seventies"
    assert chat("B", user=42).say(message).items[0].genres == ("Comedy",)
    turn = chat("F", user=42).say(message)
    # 22 and 26 are of the seventies, 18 and 30 at most five years away
    assert ids(turn)[:4] == [22, 26, 18, 30]
    assert not any("Comedy" in item.genres for item in turn.items)
    for same in (turn.items[:2], turn.items[2:4]):
        assert same[0].score > same[1].score


def test_requirements_add_up_over_the_turns_and_later_words_override():
    conversation = chat("F")
    conversation.say("a western")
    second = conversation.say("from the seventies, no horror")
    expected = constraints("decade=1970", "genre=Western", "not genre=Horror")
    assert conversation.requirements.constraints == expected
    assert ids(second)[:2] == [23, 27] and not second.items[1].misses
    third = conversation.say("make it the eighties, and horror after all")
    assert third.requirements == conversation.requirements.found
    expected = constraints("decade=1980", "genre=Horror", "genre=Western")
    assert conversation.requirements.constraints == expected


def test_a_requirement_can_be_taken_back_and_that_too():
    conversation = chat("F")
    conversation.say("no western")
    before = conversation.transcript()
    with pytest.raises(DataError, match="'genre=Western' is not among the requirements"):
        conversation.withdraw("genre=Western")
    assert conversation.transcript() == before
    conversation.withdraw("not genre=Western")
    assert not conversation.requirements
    assert conversation.undo() == Withdrawal(Constraint("genre", "Western", negated=True))
    assert conversation.requirements.constraints == constraints("not genre=Western")
    conversation.withdraw("not genre=Western")
    turn = conversation.say("western western")
    assert turn.requirements == (requirement("genre=Western", "western"),)
    assert conversation.undo() is turn and not conversation.requirements


def test_a_language_model_reads_beside_the_lexicon():
    chat_model = FakeChatModel(FORM, REPLY)
    turn = chat("F", chat_model, extractor="both").say("fun with saloons from the fifties")
    assert turn.requirements == (
        requirement("decade=1950", "the fifties", "both"),
        requirement("genre=Western", "with saloons", "model"),
    )
    # the form was asked for first, with the message last; then the reply
    assert [schema is not None for schema in chat_model.schemas] == [True, False]
    assert chat_model.asked[0][-1]["content"] == "Customer: fun with saloons from the fifties"
    assert turn.choosing_tokens == (50, len(FORM) // 4) and turn.prompt_tokens == 50
    assert turn.reply == REPLY


@pytest.mark.parametrize(
    ("reply", "told"),
    [
        (RuntimeError("gone"), " (RuntimeError)"),
        ("prose", ": The language model wrote no JSON: 'prose'"),
        (EndpointError("It is off: start it."), ": It is off: start it"),
        (MessageError("Too long: shorten it."), ": Too long: shorten it"),
    ],
)
@pytest.mark.parametrize("how", ["both", "model", "V"])
def test_where_the_model_fails_the_turn_goes_on_and_the_note_says_so(how, reply, told):
    policy, extractor = ("V", "lexicon") if how == "V" else ("F", how)
    conversation = chat(policy, FakeChatModel(reply, REPLY), 42, extractor=extractor)
    turn = conversation.say("a western")
    said = "read by their literal words" if policy == "F" else "order is the recommender's own"
    assert said in turn.note and f"because the language model failed{told}." in turn.note
    assert turn.requirements == (requirement("genre=Western", "western"),) * (policy == "F")
    assert ids(turn) == ids(chat(policy, user=42).say("a western"))
    assert turn.candidates == turn.reranked == () and not turn.counted
    assert conversation.turns == [turn] and turn.reply == REPLY


def test_an_extractor_of_one_s_own():
    def always(message, *, stop=None):
        return Extraction(Requirements((requirement("genre=Drama", message),)))

    turn = chat("F", extractor=always).say("western")
    assert {genre for item in turn.items for genre in item.genres} == {"Drama"}
    for extractor in (make_extractor(fake_dataset()), "lexicon"):
        chat_model = FakeChatModel(REPLY)
        turn = chat("F", chat_model, extractor=extractor).say("western")
        assert turn.requirements[0].constraint.value == "Western" and chat_model.schemas == [None]


@pytest.mark.parametrize(
    ("policy", "written", "seen"),
    [("F", FORM, ["reading"]), ("V", '{"order": [2, 1]}', ["reading", "choosing"])],
)
def test_stopping_while_the_model_reads_or_orders_drops_the_message(policy, written, seen):
    stop = threading.Event()
    chat_model = FakeChatModel(written, written, REPLY, before_piece=stop.set)
    conversation, stages = chat(policy, chat_model, extractor="both"), []
    with pytest.raises(StoppedError):
        conversation.say("with saloons", stop=stop, watch=lambda stage, turn: stages.append(stage))
    assert stages == seen and conversation.offered == []
    assert conversation.turns == [] and not conversation.requirements
    stop.clear()
    chat_model.before_piece = lambda: None
    assert conversation.say("with saloons", stop=stop).number == 1


def test_all_that_is_left_without_what_was_refused():
    turn = chat("F").say("no comedy, no drama, no horror, no western")
    # only film 6 has no genre at all
    assert ids(turn) == [6]
    assert "the rest of the catalogue was seen or offered, or is what you refused." in turn.note


# Policy V


def test_v_offers_the_first_of_the_reordered_candidates():
    chat_model = FakeScorer(REPLY, words=("Number 15", "Number 19"), nats=1.0)
    setting = RerankConfig(n_candidates=6, weight=1.0)
    turn = chat("V", chat_model, n_items=3, rerank=setting).say("a western")
    assert turn.candidates == (*WESTERNS, 23) and turn.reranked == (15, 19, 3, 7, 11, 23)
    assert turn.policy == "V" and ids(turn) == [15, 19, 3]
    # the score stays the recommender's
    assert turn.items[0].score < turn.items[2].score
    assert turn.choosing_tokens == (200, 0) and turn.relaxed == turn.requirements == ()
    assert "A customer liked" not in chat_model.scored[1][0]


def test_v_tells_the_model_the_whole_dialogue_and_offers_nothing_twice():
    chat_model = FakeScorer(REPLY, REPLY, words=("Number 3", "Number 7"), nats=50.0)
    conversation = chat("V", chat_model, user=42)
    conversation.reject(7)
    first, second = (ids(conversation.say(message)) for message in ("a western", "or a drama"))
    prompt = chat_model.scored[-1][0]
    assert "liked these films: Film Number 12, Film Number 16" in prompt
    assert '"a western or a drama"' in prompt
    # what does not depend on the user is asked once a title
    assert not {*chat_model.scored[0][1]} & {*chat_model.scored[2][1]}
    assert not {*first} & {*second} and 7 not in first + second
    assert 31 in first  # "Number 3" stands in its title, too


def test_v_takes_the_order_that_a_capable_model_writes_of_enough_candidates():
    chat_model = FakeChatModel('{"order": [3, 1, 2]}', REPLY)
    turn = chat("V", chat_model, n_items=2, rerank=RerankConfig(n_candidates=3)).say("a western")
    assert turn.reranked == (11, 3, 7) and ids(turn) == [11, 3]
    assert turn.choosing_tokens == (50, 5)
    turn = chat("V", FakeScorer(REPLY), n_items=12, rerank=RerankConfig(n_candidates=2)).say(
        "a film"
    )
    assert len(turn.items) == len(turn.candidates) == 12


def test_v_without_a_model_keeps_the_order_and_what_a_model_cannot_do_is_a_wrong_setting():
    turn = chat("V").say("a western")
    assert ids(turn) == WESTERNS and "there is no language model" in turn.note and turn.counted
    conversation = chat("V", FakeChatModel(REPLY), rerank=RerankConfig(method="likelihood"))
    with pytest.raises(ConfigError, match="cannot score"):
        conversation.say("a western")
    assert conversation.turns == []
    # any other failure, a wrong setting of the model included, leaves the order as it was
    turn = chat("V", FakeChatModel(ConfigError("The key has a space."), REPLY)).say("a western")
    assert ids(turn) == WESTERNS and "The key has a space" in turn.note
