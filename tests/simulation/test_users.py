"""Simulated users in dialogues: true, secretive, two things at a time, and the same every time."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from latentcrs_utils.constraints.constraint import Constraint
from latentcrs_utils.constraints.lexicon import extract
from latentcrs_utils.data.sequences import Dataset, Sequences
from latentcrs_utils.errors import ConfigError, DataError
from latentcrs_utils.simulation.agenda import DIFFICULTIES, USER_PROFILES, Difficulty
from latentcrs_utils.simulation.phrasings import POOLS, Pool, all_pools
from latentcrs_utils.simulation.planner import LEVELS, Level, TestCase
from latentcrs_utils.simulation.titles import spoken_title
from latentcrs_utils.simulation.users import Accept, TemplateUser, UserMessage, make_test_cases
from tests.simulation.shops import invented
from tests.simulation.test_simulator import COMMON, bare_dataset, words

N_TURNS = 5
EVERY = st.fixed_dictionaries({
    "difficulty": st.sampled_from(DIFFICULTIES), "level": st.sampled_from(LEVELS),
    "phrasing": st.sampled_from(POOLS), "seed": st.integers(0, 99),
})  # fmt: skip


@pytest.fixture(scope="module", params=["films", "games", "albums"])
def world(request: pytest.FixtureRequest) -> list[TestCase]:
    """What every user of a catalogue has in mind."""
    if request.param == "films":
        data = request.getfixturevalue("data")
    else:
        data = invented({"games": "amazon-video-games", "albums": "amazon-cds"}[request.param])
    return make_test_cases(data, range(data.n_users))


@pytest.fixture(scope="module")
def film_world(data: Dataset) -> list[TestCase]:
    return make_test_cases(data, range(data.n_users))


def test_situations_of_a_split(data: Dataset) -> None:
    users = [3, 0, 40]
    for split, n_hidden in (("test", 1), ("valid", 2)):
        for user, test_case in zip(users, make_test_cases(data, users, split=split), strict=True):
            items = data.interactions[user]
            assert test_case.target.item == items[-n_hidden]
            assert np.array_equal(test_case.history, items[:-n_hidden])


def offers(test_case: TestCase, seed: int, n_turns: int = N_TURNS - 1) -> list[list[int]]:
    """Five items a turn, none twice and the target never."""
    others = np.arange(1, len(test_case.catalogue.items))
    others = others[others != test_case.target.item]
    drawn = np.random.default_rng(seed).permutation(others)[: 5 * n_turns]
    return [[int(i) for i in part] for part in np.array_split(drawn, n_turns)]


def talk(user: TemplateUser, offered: Sequence[Sequence[int]]) -> list[UserMessage]:
    """The first message and the answers to the offers."""
    said = [user.say(), *(user.say(items) for items in offered)]
    assert all(isinstance(message, UserMessage) for message in said)
    return said


def true(constraint: Constraint, test_case: TestCase) -> bool:
    return constraint.satisfies(test_case.target, test_case.catalogue.items)


@given(number=st.integers(0, 10_000), options=EVERY, draw=st.integers(0, 99))
@settings(max_examples=150)
def test_whatever_is_offered(world: list[TestCase], number: int, options: dict, draw: int) -> None:
    test_case = world[number % len(world)]
    user = TemplateUser(test_case, user=number % len(world), **options)
    said = talk(user, offers(test_case, draw))
    # the title is kept, by the package's own check and by a plain one
    text, title = " ".join(m.text for m in said), test_case.target.title
    assert not test_case.target.leaks_title(text)
    if test_case.target.title_keywords is None:
        assert f" {' '.join(words(spoken_title(title)))} " not in f" {' '.join(words(text))} "
        assert not ({w for w in words(title) if len(w) >= 5} - COMMON) & set(words(text))
    # at most two new conditions a message (of a vague user, one), none of them said before
    assert all(len(m.constraints) <= 2 for m in said)
    assert options["difficulty"] != "vague" or all(len(m.constraints) <= 1 for m in said[1:])
    told = [c for m in said for c in m.constraints]
    assert len(told) == len(set(told))
    # all that stands in the end is true; only a mistake is ever taken back, and by turn three
    assert all(true(c, test_case) for c in user.state.known)
    taken_back = [(turn, c) for turn, m in enumerate(said, 1) for c in m.withdrawn]
    lies = [(turn, c) for turn, m in enumerate(said, 1) for c in m.constraints
            if not true(c, test_case)]  # fmt: skip
    assert [c for _, c in taken_back] == [c for _, c in lies]
    assert len(lies) <= (options["difficulty"] == "changes its mind")
    assert all(turn == 1 for turn, _ in lies) and all(2 <= turn <= 3 for turn, _ in taken_back)
    assert set(user.state.known) == set(told) - {c for _, c in taken_back}
    assert all(m.text.strip() and "{" not in m.text and "  " not in m.text for m in said)


@pytest.mark.parametrize("phrasing", POOLS)
def test_titles_that_share_words_with_the_phrase_book_are_kept(
    film_world: list[TestCase], phrasing: Pool
) -> None:
    """The dangerous ones: "Star Wars" and war, "The Secret Garden" and secrets."""
    spoken = {w for path, e in all_pools().items() if path[0] != "frames"
              for p in e[phrasing] for w in words(p)}  # fmt: skip
    telling = [{w for w in words(s.target.title) if len(w) >= 4} - COMMON for s in film_world]
    dangerous = [n for n, own in enumerate(telling) if own & spoken]
    assert len(dangerous) > 100
    for n in dangerous[:: len(dangerous) // 100]:
        for level, difficulty in zip(LEVELS, DIFFICULTIES, strict=True):
            test_case = film_world[n]
            user = TemplateUser(
                test_case, user=n, difficulty=difficulty, level=level, phrasing=phrasing
            )
            said = " ".join(m.text for m in talk(user, offers(test_case, n)))
            assert not test_case.target.leaks_title(said), (test_case.target.title, said)


@given(number=st.integers(0, 937), options=EVERY, turn=st.integers(1, N_TURNS - 1))
@settings(max_examples=40)
def test_the_target_is_accepted_wherever_it_stands(
    film_world: list[TestCase], number: int, options: dict, turn: int
) -> None:
    test_case = film_world[number]
    user = TemplateUser(test_case, user=number, **options)
    offered = offers(test_case, seed=turn)[:turn]
    talk(user, offered[:-1])
    offered[-1][turn] = test_case.target.item
    answer = user.say(offered[-1])
    assert isinstance(answer, Accept) and answer.item == test_case.target.item
    assert not test_case.target.leaks_title(answer.text)


def test_equal_seeds_give_equal_dialogues_whoever_else_is_asked(
    film_world: list[TestCase],
) -> None:
    chosen = list(range(0, 938, 90))

    def users() -> dict[int, TemplateUser]:
        return {n: TemplateUser(film_world[n], user=n, seed=3) for n in chosen}

    one_by_one = {n: talk(user, offers(film_world[n], n)) for n, user in users().items()}
    # all at once, in another order
    turns = users()
    together: dict[int, list] = {n: [turns[n].say()] for n in reversed(chosen)}
    for turn in range(N_TURNS - 1):
        for n in sorted(chosen, key=lambda n: n * 7 % 13):
            together[n].append(turns[n].say(offers(film_world[n], n)[turn]))
    assert together == one_by_one
    other = TemplateUser(film_world[90], user=90, seed=4)
    assert talk(other, offers(film_world[90], 90)) != one_by_one[90]


def test_the_first_message_does_not_depend_on_the_system(film_world: list[TestCase]) -> None:
    said = {TemplateUser(film_world[5], user=5).say().text for _ in range(2)}
    assert len(said) == 1
    one, other = (TemplateUser(film_world[5], user=5) for _ in range(2))
    first, second = (
        talk(user, offers(film_world[5], seed=s)) for s, user in enumerate((one, other))
    )
    assert first[0] == second[0] and first[1:] != second[1:]


def test_plain_and_paraphrased_users_begin_with_the_same_wish(film_world: list[TestCase]) -> None:
    for n in range(0, 938, 9):
        plain, other = (
            TemplateUser(film_world[n], user=n, level=level).say()
            for level in ("plain", "paraphrased")
        )
        assert plain.constraints == other.constraints and plain.text != other.text


def reason_given(text: str) -> bool:
    """Whether a message speaks of items by their place."""
    places = [p for path, e in all_pools().items() if path[:2] == ("replies", "place")
              for p in e["test"]]  # fmt: skip
    return any(place in text.lower() for place in places)


def test_a_reason_is_true_of_the_item_it_speaks_of(film_world: list[TestCase]) -> None:
    """Picky users: whatever is refused anew, one of the items on offer has it."""
    checked = 0
    for n in range(0, 938, 6):
        test_case = film_world[n]
        user = TemplateUser(test_case, user=n, difficulty="picky", level="plain")
        for items, message in zip(
            [[], *offers(test_case, n)], talk(user, offers(test_case, n)), strict=True
        ):
            films = [test_case.catalogue[i] for i in items]
            if films and reason_given(message.text):
                for constraint in message.constraints:
                    if constraint.negated:
                        assert any(constraint.value in film.genres for film in films), message
                    elif constraint.attribute == "years":
                        assert any(film.year and not constraint.satisfies(film) for film in films)
                    checked += 1
    assert checked > 300


def test_places_in_the_list_are_those_of_the_guilty(film_world: list[TestCase]) -> None:
    """One offered film is a horror film: the refusal of horror points at it."""
    catalogue = film_world[0].catalogue
    scary = next(f.item for f in catalogue.items if f.genres == {"Horror"})
    tame = [f.item for f in catalogue.items if f.genres == {"Drama"}][:4]
    dramas = [s for s in film_world if s.target.genres == {"Drama"} and s.target.item not in tame]
    ordinals = ("first", "second", "third", "fourth", "fifth")
    pointed = 0
    for n, test_case in enumerate(dramas[:60]):
        place = n % 5
        user = TemplateUser(test_case, user=n, difficulty="picky", phrasing="train")
        message = talk(user, [[*tame[:place], scary, *tame[place:]]])[1]
        if Constraint("genre", "Horror", negated=True) in message.constraints:
            assert f"the {ordinals[place]} one" in message.text.lower(), message.text
            pointed += 1
    assert pointed > 20


def told_a_message(situations_: list[TestCase], difficulty: Difficulty) -> tuple[float, float]:
    """Mean number of new conditions of a later message, and how often it gives a reason."""
    new, reasons = [], []
    for n in range(0, 938, 9):
        user = TemplateUser(situations_[n], user=n, difficulty=difficulty)
        later = talk(user, offers(situations_[n], n))[1:]
        new += [len(message.constraints) for message in later]
        reasons += [reason_given(message.text) for message in later]
    return float(np.mean(new)), float(np.mean(reasons))


def test_difficulties_differ_as_they_say(film_world: list[TestCase]) -> None:
    assert set(USER_PROFILES) == set(DIFFICULTIES)
    new, reasons = zip(*(told_a_message(film_world, d) for d in DIFFICULTIES), strict=True)
    vague, normal, picky, _ = range(4)
    assert new[vague] < 0.7 * new[normal] and new[normal] < new[picky]
    assert reasons[vague] < 0.45 < reasons[normal] < 0.75 < 0.97 < reasons[picky]


@pytest.mark.parametrize("level", LEVELS)
def test_a_change_of_mind_happens(film_world: list[TestCase], level: Level) -> None:
    turns = []
    for n in range(0, 938, 9):
        user = TemplateUser(film_world[n], user=n, difficulty="changes its mind", level=level)
        for turn, message in enumerate(talk(user, offers(film_world[n], n)), 1):
            if message.withdrawn:
                turns.append(turn)
                kept = [
                    c
                    for c in user.state.known
                    if not c.negated and c.slot in ("genre", "like", "mood")
                ]
                assert kept, "nothing true took its place"
    assert len(turns) > 90 and set(turns) == {2, 3}


def test_nobody_contradicts_a_mistake_before_it_is_taken_back(
    film_world: list[TestCase],
) -> None:
    for n in range(0, 938, 3):
        user = TemplateUser(film_world[n], user=n, difficulty="changes its mind", level="plain")
        said = talk(user, offers(film_world[n], n))
        turns = {c: turn for turn, m in enumerate(said) for c in m.constraints}
        for turn, message in enumerate(said):
            assert all(turns.get(c.opposite, turn) >= turn for c in message.withdrawn), said


def test_no_item_is_refused_twice_in_one_message(film_world: list[TestCase]) -> None:
    places = [p for path, e in all_pools().items() if path[:2] == ("replies", "place")
              for p in e["test"]]  # fmt: skip
    two = 0
    for n in range(0, 938, 6):
        user = TemplateUser(film_world[n], user=n, difficulty="picky")
        for message in talk(user, offers(film_world[n], n)):
            counts = [message.text.lower().count(place) for place in places]
            assert max(counts) <= 1, message.text
            two += sum(counts) == 2
    assert two > 200


def test_plain_dialogues_are_the_lexicons_home_game(film_world: list[TestCase]) -> None:
    """Refusals, repetitions and changes of mind included: it reads them all as they are meant."""
    n_hit = n_found = n_true = 0
    for n in range(0, 938, 12):
        for difficulty in DIFFICULTIES:
            user = TemplateUser(film_world[n], user=n, difficulty=difficulty, level="plain")
            text = " ".join(m.text for m in talk(user, offers(film_world[n], n)))
            found = set(extract(text).constraints)
            meant = {c for c in user.state.known if c.hard}
            n_hit += len(found & meant)
            n_found, n_true = n_found + len(found), n_true + len(meant)
    assert n_hit > 0.99 * n_found and n_hit > 0.99 * n_true


def test_a_user_who_cannot_say_why_takes_the_mistake_back_all_the_same() -> None:
    """Every word for war is a secret of this film's title: nobody can say "no war"."""
    phrases = {p for path, e in all_pools().items() if path[-2:] == ("War", "touch")
               for p in e["test"]}  # fmt: skip
    title = " ".join(sorted({w for p in phrases for w in words(p)}))
    data = bare_dataset()
    items = data.items.with_columns(
        pl.Series("title", ["Abel", "Bravo", "Cynic", "Delta", "Ember", title]),
        pl.Series("genres", [["War"]] * 5 + [["Musical"]]),
    )
    data = Dataset("bare", items, data.users, data.interactions, {}, "none")
    taken_back = 0
    for seed in range(20):
        (test_case,) = make_test_cases(data, [0])
        user = TemplateUser(test_case, seed=seed, difficulty="changes its mind")
        said = talk(user, [[1, 2], [3, 4], [5]])
        assert not test_case.target.leaks_title(" ".join(m.text for m in said))
        assert all(true(c, test_case) for c in user.state.known)
        taken_back += sum(bool(m.withdrawn) for m in said)
    assert taken_back > 0


def test_nobody_runs_out_of_words() -> None:
    """Of a film without genre and year there is nothing to say, for which the book has two ways."""
    data = bare_dataset()
    (test_case,) = make_test_cases(dataclasses.replace(data, interactions=ONE_PAST), [0])
    user = TemplateUser(test_case, level="plain", phrasing="valid")
    said = [m.text for m in talk(user, [[]] * 5)]
    assert len(said) == 6 and len(set(said)) == 3


ONE_PAST = Sequences.from_lists([[6, 5]])


def test_what_somebody_else_said_counts_as_said(film_world: list[TestCase]) -> None:
    user = TemplateUser(film_world[3], user=3)
    user.note("I would like to be surprised.")
    message = user.say(offers(film_world[3], 3)[0])
    assert isinstance(message, UserMessage) and len(user.messages) == 2
    # a later message, not a first one
    asks = [f for path, e in all_pools().items() if path[0] == "frames" and path[2] == "ask"
            for f in e["test"] if f]  # fmt: skip
    assert not any(message.text.startswith(ask.split("{")[0]) for ask in asks if ask[0] != "{")


def test_bad_arguments_are_named(film_world: list[TestCase]) -> None:
    with pytest.raises(ConfigError, match=r"There is no difficulty 'hard'\. Known: vague, normal"):
        TemplateUser(film_world[0], difficulty="hard")
    with pytest.raises(ConfigError, match="There is no level"):
        TemplateUser(film_world[0], level="loud")
    with pytest.raises(DataError, match="Item ids go from 1 to 1008"):
        TemplateUser(film_world[0]).say([0])
