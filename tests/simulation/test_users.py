"""Simulated users in dialogues: true, secretive, two things at a time, and the same every time."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from latentcrs_utils.constraints.constraint import Constraint
from latentcrs_utils.constraints.lexicon import extract
from latentcrs_utils.data.sequences import Dataset, Sequences
from latentcrs_utils.errors import ConfigError, DataError
from latentcrs_utils.simulation.agenda import DIFFICULTIES, LEVELS, Level, TestCase
from latentcrs_utils.simulation.items import Item
from latentcrs_utils.simulation.phrase_book import POOLS, Pool, pool
from latentcrs_utils.simulation.realization import UnsayableError, first_clean
from latentcrs_utils.simulation.titles import spoken_title
from latentcrs_utils.simulation.users import Accept, TemplateUser, UserMessage, make_test_cases
from tests.simulation.worlds import COMMON, all_pools, bare_dataset, invented, words

N_TURNS = 5
EVERY = st.fixed_dictionaries({
    "difficulty": st.sampled_from(DIFFICULTIES), "level": st.sampled_from(LEVELS),
    "phrasing": st.sampled_from(POOLS), "seed": st.integers(0, 99),
})  # fmt: skip
PLACES = [p for entry in all_pools("films", "replies", "place").values() for p in entry["test"]]


@pytest.fixture(scope="module")
def films(data: Dataset) -> list[TestCase]:
    return make_test_cases(data, range(data.n_users))


@pytest.fixture(scope="module", params=["films", "amazon-video-games", "amazon-cds"])
def cases(request: pytest.FixtureRequest, films: list[TestCase]) -> list[TestCase]:
    name = request.param
    return films if name == "films" else make_test_cases(invented(name), range(60))


def test_cases_of_a_split(data: Dataset) -> None:
    for split, n_hidden in (("test", 1), ("valid", 2)):
        for user, case in zip((3, 0), make_test_cases(data, [3, 0], split=split), strict=True):
            items = data.interactions[user]
            assert case.target.item == items[-n_hidden]
            assert np.array_equal(case.history, items[:-n_hidden])


def offers(case: TestCase, seed: int) -> list[list[int]]:
    """Five items a turn, none twice and the target never."""
    others = np.setdiff1d(np.arange(1, len(case.catalogue.items)), [case.target.item])
    drawn = np.random.default_rng(seed).permutation(others)[: 5 * (N_TURNS - 1)]
    return [part.tolist() for part in np.array_split(drawn, N_TURNS - 1)]


def talk(user: TemplateUser, offered: Sequence[Sequence[int]]) -> list[UserMessage]:
    said = [user.say(), *(user.say(items) for items in offered)]
    assert all(isinstance(message, UserMessage) for message in said)
    return said


def dialogues(
    cases: list[TestCase], step: int, **options: Any
) -> Iterator[tuple[TemplateUser, list[list[int]], list[UserMessage]]]:
    """Users, what each was offered, and what each said."""
    for n in range(0, len(cases), step):
        user, offered = TemplateUser(cases[n], user=n, **options), offers(cases[n], n)
        yield user, offered, talk(user, offered)


def true(constraint: Constraint, case: TestCase) -> bool:
    return constraint.satisfies(case.target, case.catalogue.items)


@given(number=st.integers(0, 10_000), options=EVERY, draw=st.integers(0, 99))
@settings(max_examples=150)
def test_whatever_is_offered(cases: list[TestCase], number: int, options: dict, draw: int) -> None:
    case = cases[number % len(cases)]
    user = TemplateUser(case, user=number % len(cases), **options)
    said = talk(user, offers(case, draw))
    # the title is kept, by the package's own check and by a plain one
    text, title = " ".join(m.text for m in said), case.target.title
    assert not case.target.leaks_title(text)
    if case.target.title_keywords is None:
        assert f" {' '.join(words(spoken_title(title)))} " not in f" {' '.join(words(text))} "
        assert not ({w for w in words(title) if len(w) >= 5} - COMMON) & set(words(text))
    # at most two new constraints a message (of a vague user, one), none of them said before
    assert all(len(m.constraints) <= 2 for m in said)
    assert options["difficulty"] != "vague" or all(len(m.constraints) <= 1 for m in said[1:])
    told = [c for m in said for c in m.constraints]
    assert len(told) == len(set(told))
    # all that counts in the end is true; only a mistake is ever taken back, and by turn three
    known = user.state.known
    assert all(true(c, case) for c in known)
    taken_back = [(turn, c) for turn, m in enumerate(said, 1) for c in m.withdrawn]
    lies = [(turn, c) for turn, m in enumerate(said, 1) for c in m.constraints if not true(c, case)]
    assert [c for _, c in taken_back] == [c for _, c in lies]
    assert len(lies) <= (options["difficulty"] == "changes its mind")
    assert all(turn == 1 for turn, _ in lies) and all(2 <= turn <= 3 for turn, _ in taken_back)
    assert set(known) == set(told) - {c for _, c in taken_back}
    assert all(m.text.strip() and "{" not in m.text and "  " not in m.text for m in said)


@pytest.mark.parametrize("phrasing", POOLS)
def test_titles_in_words_of_the_phrase_book_are_kept(films: list[TestCase], phrasing: Pool) -> None:
    """The dangerous ones: "Star Wars" and war, "The Secret Garden" and secrets."""
    spoken = {w for path, e in all_pools().items() if path[0] != "frames"
              for p in e[phrasing] for w in words(p)}  # fmt: skip
    telling = [{w for w in words(case.target.title) if len(w) >= 4} - COMMON for case in films]
    dangerous = [case for case, own in zip(films, telling, strict=True) if own & spoken]
    assert len(dangerous) > 100
    for level, difficulty in zip(LEVELS, DIFFICULTIES, strict=True):
        options = {"difficulty": difficulty, "level": level, "phrasing": phrasing}
        for user, _, said in dialogues(dangerous, len(dangerous) // 100, **options):
            text = " ".join(m.text for m in said)
            assert not user.test_case.target.leaks_title(text), text


@given(number=st.integers(0, 937), options=EVERY, turn=st.integers(1, N_TURNS - 1))
@settings(max_examples=40)
def test_the_target_is_accepted_wherever_it_is(
    films: list[TestCase], number: int, options: dict, turn: int
) -> None:
    case = films[number]
    user = TemplateUser(case, user=number, **options)
    offered = offers(case, seed=turn)[:turn]
    talk(user, offered[:-1])
    offered[-1][turn] = case.target.item
    answer = user.say(offered[-1])
    assert isinstance(answer, Accept) and answer.item == case.target.item
    assert not case.target.leaks_title(answer.text)


def test_equal_seeds_give_equal_dialogues_whoever_else_is_asked(films: list[TestCase]) -> None:
    chosen = range(0, 938, 90)
    one_by_one = {n: talk(TemplateUser(films[n], user=n, seed=3), offers(films[n], n))
                  for n in chosen}  # fmt: skip
    # all at once, in another order
    users = {n: TemplateUser(films[n], user=n, seed=3) for n in chosen}
    together: dict[int, list] = {n: [users[n].say()] for n in reversed(chosen)}
    for turn in range(N_TURNS - 1):
        for n in sorted(chosen, key=lambda n: n * 7 % 13):
            together[n].append(users[n].say(offers(films[n], n)[turn]))
    assert together == one_by_one
    other = TemplateUser(films[90], user=90, seed=4)
    assert talk(other, offers(films[90], 90)) != one_by_one[90]
    # the first message does not depend on the system
    elsewhere = talk(TemplateUser(films[90], user=90, seed=3), offers(films[90], 1))
    assert elsewhere[0] == one_by_one[90][0] and elsewhere[1:] != one_by_one[90][1:]


def test_plain_and_paraphrased_users_begin_with_the_same_wish(films: list[TestCase]) -> None:
    for n in range(0, 938, 9):
        plain, other = (TemplateUser(films[n], user=n, level=level).say() for level in LEVELS[:2])
        assert plain.constraints == other.constraints and plain.text != other.text


def reason_given(text: str) -> bool:
    """Whether a message speaks of items by their place."""
    return any(place in text.lower() for place in PLACES)


def test_a_reason_is_true_of_the_item_it_speaks_of(films: list[TestCase]) -> None:
    """Picky users: whatever is refused anew, one of the items on offer has it, and each once."""
    checked = two = 0
    for user, offered, said in dialogues(films, 6, difficulty="picky", level="plain"):
        for ids, message in zip(offered, said[1:], strict=True):
            items = [user.test_case.catalogue[i] for i in ids]
            for c in message.constraints if reason_given(message.text) else ():
                if c.negated:
                    assert any(c.value in item.genres for item in items), message
                elif c.attribute == "years":
                    assert any(item.year and not c.satisfies(item) for item in items)
                checked += 1
            counts = [message.text.lower().count(place) for place in PLACES]
            assert max(counts) <= 1, message.text
            two += sum(counts) == 2
    assert checked > 300 and two > 200


def test_places_in_the_list_are_those_of_the_guilty(films: list[TestCase]) -> None:
    """One offered film is a horror film: the refusal of horror points at it."""
    items = films[0].catalogue.items
    scary = next(item.item for item in items if item.genres == {"Horror"})
    tame = [item.item for item in items if item.genres == {"Drama"}][:4]
    dramas = [c for c in films if c.target.genres == {"Drama"} and c.target.item not in tame]
    pointed = 0
    for n, case in enumerate(dramas[:60]):
        place = n % 5
        user = TemplateUser(case, user=n, difficulty="picky", phrasing="train")
        message = talk(user, [[*tame[:place], scary, *tame[place:]]])[1]
        if Constraint("genre", "Horror", negated=True) in message.constraints:
            ways = pool("train", "replies", "place", str(place + 1))
            assert any(way in message.text.lower() for way in ways), message.text
            pointed += 1
    assert pointed > 20


def test_difficulties_differ_as_they_say(films: list[TestCase]) -> None:
    new, reasons = {}, {}
    for difficulty in DIFFICULTIES:
        held = dialogues(films, 9, difficulty=difficulty)
        later = [message for *_, said in held for message in said[1:]]
        new[difficulty] = np.mean([len(message.constraints) for message in later])
        reasons[difficulty] = np.mean([reason_given(message.text) for message in later])
    assert new["vague"] < 0.7 * new["normal"] and new["normal"] < new["picky"]
    assert reasons["vague"] < 0.45 < reasons["normal"] < 0.75 < 0.97 < reasons["picky"]


@pytest.mark.parametrize("level", LEVELS)
def test_a_change_of_mind_comes_uncontradicted(films: list[TestCase], level: Level) -> None:
    changes = []
    for user, _, said in dialogues(films, 6, difficulty="changes its mind", level=level):
        first_said = {c: turn for turn, m in enumerate(said, 1) for c in m.constraints}
        for turn, message in enumerate(said, 1):
            assert all(first_said.get(c.opposite, turn) >= turn for c in message.withdrawn), said
            if message.withdrawn:
                changes.append(turn)
                instead = [c for c in user.state.known if not c.negated]
                assert {"genre", "like", "mood"} & {c.slot for c in instead}
    assert len(changes) > 130 and set(changes) == {2, 3}


def test_plain_dialogues_are_the_lexicons_home_game(films: list[TestCase]) -> None:
    """Refusals, repetitions and changes of mind included: it reads them all as they are meant."""
    n_hit = n_found = n_true = 0
    for difficulty in DIFFICULTIES:
        for user, _, said in dialogues(films, 12, difficulty=difficulty, level="plain"):
            found = set(extract(" ".join(m.text for m in said)).constraints)
            meant = {c for c in user.state.known if c.attribute}
            n_hit += len(found & meant)
            n_found, n_true = n_found + len(found), n_true + len(meant)
    assert n_hit > 0.99 * n_found and n_hit > 0.99 * n_true


def test_a_user_who_cannot_say_why_takes_the_mistake_back_all_the_same() -> None:
    """Every word for war is a secret of this film's title: nobody can say "no war"."""
    phrases = {p for path, e in all_pools().items() if path[-2:] == ("War", "touch")
               for p in e["test"]}  # fmt: skip
    title = " ".join(sorted({w for p in phrases for w in words(p)}))
    data = bare_dataset(title=[*"ABCDE", title], genres=[["War"]] * 5 + [["Musical"]])
    taken_back = 0
    for seed in range(20):
        (case,) = make_test_cases(data, [0])
        user = TemplateUser(case, seed=seed, difficulty="changes its mind")
        said = talk(user, [[1, 2], [3, 4], [5]])
        assert not case.target.leaks_title(" ".join(m.text for m in said))
        assert all(true(c, case) for c in user.state.known)
        taken_back += sum(bool(m.withdrawn) for m in said)
    assert taken_back > 0


def test_a_title_in_two_messages_is_a_title_all_the_same() -> None:
    target, said = Item(1, "See You Now", None, frozenset()), ["I want to see."]
    drawn = iter(["You now know it.", "Something scary."])
    assert first_clean(lambda: next(drawn), said, target) == "Something scary."
    for again in (False, True):
        with pytest.raises(UnsayableError, match="'See You Now' without a word of its title"):
            first_clean(lambda: "You now know it.", said, target, again=again)


def test_what_was_said_when_asked_is_not_held_against_the_next_text() -> None:
    target = Item(1, "Last Action Hero", 1993, frozenset({"Action"}))
    said = ["Something loud.", "Yes, Action, please."]
    assert first_clean(lambda: "From the nineties.", said, target) == "From the nineties."
    with pytest.raises(UnsayableError):
        first_clean(lambda: "With a hero.", said, target)


def test_nobody_runs_out_of_words() -> None:
    """Of a film without genre and year there is nothing to say: in every way that the book has."""
    ways = pool("valid", "frames", "later", "nothing")
    data = replace(bare_dataset(), interactions=Sequences.from_lists([[6, 5]]))
    for seed in range(5):
        user = TemplateUser(*make_test_cases(data, [0]), seed=seed, phrasing="valid")
        _, *said = (m.text for m in talk(user, [[]] * (len(ways) + 2)))
        assert sorted(said[: len(ways)]) == sorted(ways) and set(said[len(ways) :]) < {*ways}


def test_what_somebody_else_said_counts_as_said(films: list[TestCase]) -> None:
    user = TemplateUser(films[3], user=3)
    user.messages.append("I would like to be surprised.")
    message = user.say(offers(films[3], 3)[0])
    assert isinstance(message, UserMessage) and len(user.messages) == 2
    # a later message, not a first one
    asks = [f for path, e in all_pools("films", "frames").items() if path[2] == "ask"
            for f in e["test"] if f]  # fmt: skip
    assert not any(message.text.startswith(ask.split("{")[0]) for ask in asks if ask[0] != "{")


def test_bad_arguments_are_named(films: list[TestCase]) -> None:
    for name in ("difficulty", "level", "phrasing"):
        with pytest.raises(ConfigError, match=rf"There is no {name} 'loud'\. Known: "):
            TemplateUser(films[0], **{name: "loud"})
    with pytest.raises(DataError, match="Item ids go from 1 to 1008"):
        TemplateUser(films[0]).say([0])
