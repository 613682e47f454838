"""Explanations of turns in a world where it is known what moves what, and by how much."""

import json
import math

import pytest
import torch

from latentcrs_utils.conversation.explanation import Explainer, behind
from latentcrs_utils.em import attribution
from latentcrs_utils.errors import ConfigError, DataError, MessageError
from tests.conversation.fakes import N_ITEMS
from tests.conversation.known_world import known_model

COMEDIES, HORRORS = [12, 16], [2, 6]


def softmax(*logits: float) -> list[float]:
    weights = [math.exp(value) for value in logits]
    return [weight / sum(weights) for weight in weights]


def kl(q: list[float], p: list[float]) -> float:
    return sum(a * math.log(a / b) for a, b in zip(q, p, strict=True))


@pytest.fixture
def explainer() -> Explainer:
    return Explainer(known_model())


def test_a_turn_moves_the_intents_from_the_text_before_to_the_text_after(explainer):
    found = explainer.explain([12], ["a funny film", "and scary"], [2])
    before, after = softmax(4, 0, 0, 0), softmax(4, 0, 3, 0)
    assert found.nats == pytest.approx(kl(after, before), rel=1e-4)
    changes = {change.name: change for change in found.intents}
    assert [change.name for change in found.intents][:2] == ["Horror lovers", "Comedy lovers"]
    for j, name in enumerate(explainer.model.anchors.names):
        assert changes[name].before == pytest.approx(before[j], abs=1e-6)
        assert changes[name].after == pytest.approx(after[j], abs=1e-6)
        assert changes[name].change == pytest.approx(after[j] - before[j], abs=1e-6)


def test_the_leader_is_reported_though_it_did_not_move_most():
    found = Explainer(known_model(), n_intents=1).explain([12, 16], ["funny", "sad"], [])
    assert [change.name for change in found.intents] == ["Drama lovers", "Comedy lovers"]


def test_the_word_that_moves_an_intent_is_found_with_what_it_does(explainer):
    found = explainer.explain([], ["please a scary film", "not sad"], [2, 1])
    words = {effect.text: effect for effect in found.words}
    assert list(words) == ["please", "a", "scary", "film", "not", "sad"]
    assert [effect.message for effect in found.words] == [1, 1, 1, 1, 2, 2]
    after, without = softmax(0, 2, 3, 0), softmax(0, 2, 0, 0)
    scary = words["scary"]
    assert scary.intents["Horror lovers"] == pytest.approx(after[2] - without[2], abs=1e-6)
    assert scary.intents["Drama lovers"] == pytest.approx(after[1] - without[1], abs=1e-6)
    assert scary.nats == pytest.approx(kl(after, without), rel=1e-4)
    model = explainer.model
    S, x = torch.zeros(1, 4), torch.tensor([[0.0, 1, 1.5, 0]])
    lost = model.scores(S, x) - model.scores(S, torch.tensor([[0.0, 1, 0, 0]]))
    assert scary.log_items == pytest.approx(lost[0, [2, 1]].tolist(), abs=1e-5)
    assert scary.log_items[0] > 1 > 0 > scary.log_items[1]
    for word in ("please", "a", "film", "not"):
        assert words[word].nats == pytest.approx(0, abs=1e-6)
        assert words[word].intents["Horror lovers"] == pytest.approx(0, abs=1e-6)
        assert words[word].log_items == pytest.approx((0, 0), abs=1e-5)


def test_of_two_words_that_say_the_same_each_shows_what_it_adds_to_the_other(explainer):
    found = explainer.explain([], ["funny hilarious"], [])
    effects = {effect.text: effect.intents["Comedy lovers"] for effect in found.words}
    both, one, two = softmax(6, 0, 0, 0)[0], softmax(2, 0, 0, 0)[0], softmax(4, 0, 0, 0)[0]
    assert effects == pytest.approx({"funny": both - two, "hilarious": both - one}, abs=1e-6)
    assert effects["funny"] + effects["hilarious"] < both - 0.25 - 0.2


def test_the_items_of_the_history_that_carry_an_intent_are_found(explainer):
    # two comedies, a drama, a horror film: S is a share of each
    found = explainer.explain([12, 1, 2, 16], ["funny"], [4])
    assert [effect.item for effect in found.history] == [12, 1, 2, 16]
    assert found.history[1].text == "The Quiet Harbour (1951)"
    after, without = softmax(3, 0.5, 0.5, 0), softmax(2 + 2 / 3, 2 / 3, 2 / 3, 0)
    for place in (0, 3):
        effect = found.history[place]
        assert effect.intents["Comedy lovers"] == pytest.approx(after[0] - without[0], abs=1e-6)
        assert effect.nats == pytest.approx(kl(after, without), rel=1e-4)
        assert effect.log_items[0] > 0
    assert found.history[1].intents["Comedy lovers"] < 0


def test_what_is_behind_a_change_goes_the_way_it_went(explainer):
    found = explainer.explain([12, 2], ["hilarious", "so scary and sad"], [])
    changes = {change.name: change for change in found.intents}
    assert changes["Comedy lovers"].change < 0 < changes["Horror lovers"].change
    rose = behind(changes["Horror lovers"], found.words)
    assert [effect.text for effect in rose] == ["scary"]
    assert [effect.item for effect in behind(changes["Horror lovers"], found.history)] == [2]
    fell = behind(changes["Comedy lovers"], found.words)
    assert [effect.text for effect in fell] == ["scary", "sad"]
    assert len(behind(changes["Comedy lovers"], found.words, n=1)) == 1


def test_all_texts_are_embedded_in_one_call_each_once(explainer):
    explainer.explain([12], ["sad film film", "scary"], [2])
    assert explainer.model.language.read == [
        ["sad film film scary", "sad film film", "film film scary", "sad film scary"]
    ]


def test_without_leaving_out_only_two_texts_are_read(explainer):
    found = explainer.explain([12], ["sad film", "scary"], [2], leave_out=False)
    assert found.words == found.history == ()
    assert explainer.model.language.read == [["sad film scary", "sad film"]]
    whole = explainer.explain([12], ["sad film", "scary"], [2])
    for name in ("nats", "intents", "nearest", "items", "offered"):
        assert getattr(found, name) == getattr(whole, name)


def test_the_nearest_training_texts_are_told_with_where_they_lead(explainer):
    # the history, comedies only, has no part in it
    found = explainer.explain([12, 16], ["scary and a bit sad"], [])
    # the repeated text counts once, and the test text, though nearest, was no training text
    assert [near.text for near in found.nearest] == [
        "something scary please", "a sad film", "a funny film",
    ]  # fmt: skip
    norm = math.hypot(1, 1.5)
    expected = [1.5 / norm, 1 / norm, 0]
    assert [near.cosine for near in found.nearest] == pytest.approx(expected, abs=1e-6)
    assert [near.intent for near in found.nearest][:2] == ["Horror lovers", "Drama lovers"]
    assert len(Explainer(explainer.model, n_nearest=9).explain([], ["sad"], []).nearest) == 3
    assert Explainer(explainer.model, n_nearest=0).explain([], ["sad"], []).nearest == ()


@pytest.mark.parametrize("residual", [False, True])
def test_the_shares_of_an_item_add_up_to_its_score(residual):
    model = known_model(residual)
    found = Explainer(model).explain([12, 16], ["scary"], [2, 4])
    S, x = torch.tensor([[1.0, 0, 0, 0]]), torch.tensor([[0, 0, 1.5, 0]])
    who = ("history", "words", "residual") if residual else ("history", "words")
    parts = attribution.contributions(model, S, x, [2, 4]).T
    for reasons, expected in zip(found.items, parts.tolist(), strict=True):
        assert tuple(part.player for part in reasons.contributions) == who
        nats = [part.nats for part in reasons.contributions]
        assert nats == pytest.approx(expected)
        assert sum(nats) == pytest.approx(reasons.score - reasons.baseline, abs=1e-5)
        assert sum(abs(part.share) for part in reasons.contributions) == pytest.approx(1)
        assert all(part.nats * part.share >= 0 for part in reasons.contributions)
    horror, comedy = found.items
    assert (horror.item, horror.label) == (2, "Night of the Moth (1952)")
    assert horror.score == pytest.approx(model.scores(S, x)[0, 2].item(), abs=1e-5)
    # the history wants comedies, the words want horror
    assert horror.contributions[1].share > 0 > horror.contributions[0].share
    assert comedy.contributions[0].share > 0 > comedy.contributions[1].share
    assert next(iter(horror.intents)) == "Horror lovers"
    exact = model.item_posterior(torch.tensor([2]), S, x)[0]
    assert horror.intents["Horror lovers"] == pytest.approx(exact[2].item(), abs=1e-6)
    assert len(horror.intents) == 3


def test_ranks_are_among_what_could_be_offered(explainer):
    (reasons,) = explainer.explain([12, 16], ["scary"], [6]).items
    # film 2 is the better horror film; ten comedies, and films 1, 2, 3 and 5 of the other genres
    assert reasons.ranks == {"both": 2, "history": 15, "words": 2}
    gone = explainer.explain([12, 16], ["scary"], [6], excluded=[2, 6, *range(4, 41, 4)])
    assert gone.items[0].ranks == {"both": 1, "history": 4, "words": 1}


def test_the_list_without_the_words_and_without_the_history(explainer):
    found = explainer.explain([12, 16], ["scary"], [2, 6, 4], excluded=[12, 16]).offered
    assert (found.n_items, found.kept_without_words, found.kept_without_history) == (3, 1, 2)
    assert found.without_words == ("Heat (1954)", "Film Number 8 (1958)", "Film Number 20 (1970)")
    assert found.without_history[0] == "Night of the Moth (1952)"
    everything = list(range(1, N_ITEMS + 1))
    assert explainer.explain([], ["sad"], everything).offered.kept_without_words == N_ITEMS


def test_a_stranger_owes_everything_to_the_words(explainer):
    found = explainer.explain([], ["scary"], [2])
    assert found.history == ()
    history, words, residual = found.items[0].contributions
    assert history.nats == pytest.approx(0, abs=1e-6)
    assert words.nats > 0 and residual.nats > 0
    assert found.offered.kept_without_history == 1


def test_before_the_first_message_nothing_moved(explainer):
    found = explainer.explain([2], [], [4])
    assert found.nats == pytest.approx(0, abs=1e-9)
    assert found.words == found.nearest == ()
    assert found.intents[0].name == "Horror lovers" and found.intents[0].change == 0
    assert found.items[0].contributions[1].nats == pytest.approx(0, abs=1e-6)
    assert explainer.model.language.read == []
    nobody = explainer.explain([], [], [])
    assert nobody.items == () and nobody.offered.n_items == 0
    assert nobody.intents[0].after == pytest.approx(0.25)
    assert nobody.describe() == "The intents moved by 0.00 nats."


def test_where_nobody_did_anything_nobody_has_a_share():
    found = Explainer(known_model(residual=False)).explain([], [], [2])
    assert [(part.nats, part.share) for part in found.items[0].contributions] == [(0, 0), (0, 0)]


def test_one_word_is_compared_with_saying_nothing(explainer):
    (word,) = explainer.explain([], ["scary"], [2]).words
    assert word.intents["Horror lovers"] == pytest.approx(softmax(0, 0, 3, 0)[2] - 0.25, abs=1e-6)
    assert explainer.model.language.read == [["scary"]]


def test_a_click_moves_the_intents_by_the_history(explainer):
    found = explainer.explain([12, 3], ["sad"], [], history_before=[12])
    changes = {change.name: change for change in found.intents}
    assert changes["Western lovers"].before == pytest.approx(softmax(2, 0, 0, 0)[3], abs=1e-6)
    assert changes["Western lovers"].after == pytest.approx(softmax(1, 2, 0, 1)[3], abs=1e-6)


def test_a_message_of_two_thousand_characters_is_read_in_few_spans(explainer):
    message = ("blah " * 395 + "scary").ljust(2_000, "!")
    found = explainer.explain([12], ["sad", message], [2])
    assert len(found.words) == 4
    assert behind(found.intents[0], found.words)[0].text.endswith("scary!!!!!!!!!!!!!!!!!!!!")
    # the old message has no room beside it, so it has no part in the turn any more
    assert explainer.model.language.read[0][:2] == [message, "sad"]
    assert {effect.message for effect in found.words} == {2}


@pytest.mark.parametrize(
    ("n_words", "n_spans"), [(24, 24), (60, 24), (100, 16), (250, 6), (400, 4)]
)
def test_the_longer_the_dialogue_the_fewer_its_spans(explainer, n_words, n_spans):
    found = explainer.explain([], ["word " * n_words], [])
    assert len(found.words) == n_spans


def test_long_dialogues_and_histories_are_bounded():
    explainer = Explainer(known_model(), n_spans=4, n_history=2)
    found = explainer.explain([12, 1, 2], ["a b c d", "e f g scary"], [2])
    assert len(found.words) == 4
    assert behind(found.intents[0], found.words)[0].text == "g scary"
    assert [effect.item for effect in found.history] == [1, 2]


@pytest.mark.parametrize("unknown", [0, -1, N_ITEMS + 1])
def test_an_unknown_item_is_named(explainer, unknown):
    for history, items, excluded in (([unknown], [], []), ([], [unknown], []), ([], [], [unknown])):
        with pytest.raises(DataError, match=f"no item {unknown} in ml-fake"):
            explainer.explain(history, ["sad"], items, excluded=excluded)
    with pytest.raises(DataError, match=f"no item {unknown}"):
        explainer.explain([1], ["sad"], [2], history_before=[unknown])


@pytest.mark.parametrize("unknown", ["2", 2.0, None])
def test_an_item_that_is_no_number_is_refused(explainer, unknown):
    with pytest.raises(DataError, match="ids, whole numbers"):
        explainer.explain([], ["sad"], [unknown])


@pytest.mark.parametrize("message", ["", " \n", "x" * 2_001, None])
def test_a_message_that_no_conversation_takes_is_refused(explainer, message):
    with pytest.raises(MessageError):
        explainer.explain([], ["sad", message], [2])


@pytest.mark.parametrize("setting", ["n_spans", "n_history", "n_intents"])
def test_settings_that_explain_nothing_are_refused(setting):
    with pytest.raises(ConfigError, match="at least 1"):
        Explainer(known_model(), **{setting: 0})
    with pytest.raises(ConfigError, match="at least 0"):
        Explainer(known_model(), n_nearest=-1)


def test_it_survives_json(explainer):
    found = explainer.explain([12], ["scary", "<b>sad</b> 🎃 مرحبا"], HORRORS)
    stored = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert stored["items"][0]["contributions"][1]["player"] == "words"
    assert stored["words"][1]["text"] == "<b>sad</b>"
    assert stored["intents"][0]["name"] == found.intents[0].name


def test_it_is_told_in_plain_lines(explainer):
    found = explainer.explain([12, 1], ["hilarious", "so scary and sad"], [4, 2])
    unwrapped = found.describe().replace("\n  ", " ").replace("  ", " ")
    assert unwrapped.splitlines() == [
        "The intents moved by 0.32 nats.",
        "- Comedy lovers fell from 97 % to 78 %; words: “scary” (-9), “sad” (-8); "
        "history: The Quiet Harbour (1951) (-15).",
        "- Horror lovers rose from 1 % to 11 %; words: “scary” (+10); "
        "history: The Quiet Harbour (1951) (+6).",
        "- Drama lovers rose from 2 % to 11 %; words: “sad” (+9); "
        "history: The Quiet Harbour (1951) (+9).",
        "Closest training sentence: “a funny film” (Comedy lovers).",
        "1. Heat (1954): history 16 %, words 63 %, residual 22 %; rank 1, by history alone 2, "
        "by words alone 1; explained by Comedy lovers (94 %).",
        "2. Night of the Moth (1952): history 79 % against, words 10 %, residual 11 %; rank 11, "
        "by history alone 21, by words alone 8; explained by Horror lovers (52 %).",
        "Of these 2 films, 1 would be here without the words, 1 without the history.",
    ]
    assert max(map(len, found.describe().splitlines())) <= 96


def test_what_was_said_before_the_turn_is_told_apart(explainer):
    told = explainer.explain([], ["scary", "really scary"], []).describe()
    assert (
        "Horror lovers rose from 87 % to 99 %; words: “scary” (+12); said before: “scary”" in told
    )


def test_effects_below_a_point_are_not_told(explainer):
    found = explainer.explain([], ["scary scary scary sad"], [])
    assert 0 > found.words[3].intents["Comedy lovers"] > -0.01
    assert "- Comedy lovers fell from 25 % to 0 %." in found.describe().splitlines()
