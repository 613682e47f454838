"""Whole dialogues, many at a time: the protocol of the paper, and a run that may be killed."""

from __future__ import annotations

import dataclasses
import json
from multiprocessing import get_context
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest
import torch
from dialogue_world import (
    N_ITEMS,
    N_USERS,
    SMALL_BATCHES,
    Backbone,
    Deadly,
    Language,
    dataset,
    noise,
    oracle,
    reader,
    run_until_killed,
    without_seconds,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from latentcrs_utils.constraints.extraction import Extraction, make_extractor
from latentcrs_utils.data.sequences import Dataset, Sequences
from latentcrs_utils.errors import ConfigError, DataError
from latentcrs_utils.evaluation.conversing import (
    ReplayedUser,
    Setting,
    converse,
    replay,
    sample_users,
    template_users,
)
from latentcrs_utils.evaluation.dialogues import read_dialogues, success_by, turns_taken
from latentcrs_utils.evaluation.multi_turn import (
    FILTERED,
    READERS,
    Answer,
    FilteringSystem,
    States,
    dialogue_systems,
)
from latentcrs_utils.simulation.agenda import DIFFICULTIES
from latentcrs_utils.simulation.planner import LEVELS
from latentcrs_utils.simulation.users import Accept, UserMessage
from latentcrs_utils.support.artifacts import key
from tests.conversation.fakes import FakeModel

USERS = range(N_USERS)


@pytest.fixture(scope="module")
def world() -> Dataset:
    return dataset()


@given(
    seed=st.integers(0, 99),
    difficulty=st.sampled_from(DIFFICULTIES),
    level=st.sampled_from(LEVELS),
    n_turns=st.integers(1, 6),
    n_items=st.integers(1, 6),
    known=st.sampled_from([None, 0, 1, 5]),
)
@settings(max_examples=40)
def test_the_protocol(
    world: Dataset, seed: int, difficulty, level, n_turns: int, n_items: int, known: int | None
) -> None:
    setting = Setting(difficulty, level, "test", seed, n_turns, n_items, known, batch_size=7)
    dialogues = converse(world, "noise", noise(seed), USERS, setting)
    assert [d.user for d in dialogues] == list(USERS)
    for dialogue in dialogues:
        history = world.interactions[dialogue.user][:-1].tolist()
        assert dialogue.target == world.interactions[dialogue.user][-1]
        offered = dialogue.offered
        assert len(offered) == len(set(offered)) and not {0, *history} & set(offered)
        assert all(len(e.offered) == n_items for e in dialogue.exchanges[:4])
        # the dialogue ends with the target, or after all turns
        found = [t for t, e in enumerate(dialogue.exchanges, 1) if dialogue.target in e.offered]
        assert found == ([] if dialogue.success is None else [dialogue.success])
        assert len(dialogue.exchanges) == (dialogue.success or n_turns)
        assert n_turns > 5 or len(set(dialogue.messages)) == len(dialogue.messages)
    s3, s5 = success_by(dialogues, 3), success_by(dialogues, 5)
    at = turns_taken(dialogues, n_turns)
    assert (s3 <= s5).all() and (at >= 1).all() and (at <= n_turns).all()


@pytest.mark.parametrize("turn", [1, 3, 5])
def test_success_is_counted_by_its_turn(world: Dataset, turn: int) -> None:
    dialogues = converse(world, "oracle", oracle(world, turn), USERS)
    assert {d.success for d in dialogues} == {turn}
    assert success_by(dialogues, 3).mean() == (turn <= 3)
    assert success_by(dialogues, 5).mean() == 1 and turns_taken(dialogues).mean() == turn


def asked_genres(dialogue) -> set[str]:
    said = [c for exchange in dialogue.exchanges for c in exchange.constraints]
    return {c.value for c in said if c.slot == "genre" and not c.negated}


def test_a_failure_counts_all_turns(world: Dataset) -> None:
    dialogues = converse(world, "oracle", oracle(world, 6), USERS)
    assert {d.success for d in dialogues} == {None} and {len(d.exchanges) for d in dialogues} == {5}
    assert success_by(dialogues, 5).sum() == 0 and (turns_taken(dialogues) == 5).all()


def test_all_systems_hear_the_same_first_words(world: Dataset) -> None:
    one, other = (converse(world, "noise", noise(seed), USERS) for seed in (0, 1))
    assert [d.messages[0] for d in one] == [d.messages[0] for d in other]
    assert [d.target for d in one] == [d.target for d in other]
    assert [d.messages for d in one] != [d.messages for d in other]


def test_the_size_of_the_batches_changes_nothing(world: Dataset) -> None:
    runs = [
        converse(world, "reader", reader(), USERS, Setting(level="plain", batch_size=size))
        for size in (1, 7, 64)
    ]
    assert without_seconds(runs[0]) == without_seconds(runs[1]) == without_seconds(runs[2])


def test_who_listens_is_faster(world: Dataset) -> None:
    setting = Setting(level="plain", difficulty="picky")
    heard = converse(world, "reader", reader(), USERS, setting)
    deaf = converse(world, "noise", noise(0), USERS, setting)
    assert turns_taken(heard).mean() < turns_taken(deaf).mean()


def test_the_whole_history_stays_barred_when_little_of_it_is_known(world: Dataset) -> None:
    seen: list[States] = []

    def watch(states: States) -> torch.Tensor:
        seen.append(states)
        return oracle(world, 6)(states)

    past = world.histories("test")
    for known in (0, 2, None):
        seen.clear()
        dialogues = converse(world, "watch", watch, USERS, Setting(known=known))
        lengths = {len(row) for row in seen[0].histories}
        assert lengths == {11 if known is None else known}
        if known == 2:
            assert [r.tolist() for r in seen[0].histories] == [r[-2:].tolist() for r in past]
        assert all(not set(past[d.user].tolist()) & set(d.offered) for d in dialogues)
        # what the state says was offered is what was offered
        assert [len(row) for row in seen[2].offered] == [10] * N_USERS
        assert seen[2].offered[0] == dialogues[0].offered[:10]
        assert seen[2].texts[0] == " ".join(dialogues[0].messages[:3])


def test_validation_users_want_their_last_but_one_item(world: Dataset) -> None:
    seen: list[States] = []

    def watch(states: States) -> torch.Tensor:
        seen.append(states)
        return noise(1)(states)

    setting = Setting(phrasing="valid", split="valid")
    users = sample_users(world, split="valid")
    dialogues = converse(world, "watch", watch, users, setting)
    assert [d.target for d in dialogues] == world.targets("valid").tolist()
    past = world.histories("valid")
    assert [r.tolist() for r in seen[0].histories] == [r.tolist() for r in past]
    assert all(not set(past[d.user].tolist()) & set(d.offered) for d in dialogues)
    # the item of the test is an item like any other
    tests = world.targets("test")
    assert any(tests[d.user] in d.offered for d in dialogues)


def test_fewer_items_than_places(world: Dataset) -> None:
    dialogues = converse(world, "oracle", oracle(world, 9), USERS, Setting(n_turns=8))
    # 40 films, 11 of them known: who comes last is among the last four
    assert {len(d.offered) for d in dialogues} == {29} and {d.success for d in dialogues} == {6}
    assert [len(e.offered) for e in dialogues[0].exchanges] == [5, 5, 5, 5, 5, 4]


@pytest.mark.parametrize("n", [4, 6, 14])
def test_killed_between_turns_or_batches_it_goes_on_to_the_same_result(
    world: Dataset, tmp_path: Path, n: int
) -> None:
    log = tmp_path / "dialogues.jsonl"
    process = get_context("spawn").Process(target=run_until_killed, args=(str(log), n))
    process.start()
    process.join()
    assert process.exitcode == -9
    whole = converse(world, "noise", noise(1), USERS, SMALL_BATCHES)
    done = read_dialogues(log) if log.exists() else []
    assert len(done) == 8 * ((n - 1) // 5)
    asked = Deadly(noise(1), 10_000, lambda: None)
    resumed = converse(world, "noise", asked, USERS, SMALL_BATCHES, log=log)
    assert without_seconds(resumed) == without_seconds(whole)
    assert asked.left == 10_000 - 5 * (4 - len(done) // 8)
    # nothing is asked a third time
    asked = Deadly(noise(1), 1, lambda: pytest.fail("asked again"))
    again = converse(world, "noise", asked, USERS, SMALL_BATCHES, log=log)
    assert again == resumed == read_dialogues(log)


def test_killed_while_writing_it_does_the_batch_again_in_the_same_company(
    world: Dataset, tmp_path: Path
) -> None:
    log = tmp_path / "dialogues.jsonl"
    whole = converse(world, "noise", noise(1), USERS, SMALL_BATCHES, log=log)
    lines = log.read_bytes().splitlines(keepends=True)
    log.write_bytes(b"".join(lines[:11]) + lines[11][:100])
    batches: list[list[int]] = []

    def watch(states: States) -> torch.Tensor:
        batches.append(states.users.tolist())
        return noise(1)(states)

    assert without_seconds(converse(world, "noise", watch, USERS, SMALL_BATCHES, log=log)) == (
        without_seconds(whole)
    )
    assert batches[0] == list(range(8, 16))
    assert sorted(d.user for d in read_dialogues(log)) == list(USERS)


def test_a_log_of_another_run_is_refused(world: Dataset, tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    converse(world, "noise", noise(1), USERS, log=log, identity="fit 1")
    for change in ({"identity": "fit 2"}, {"setting": Setting(seed=1), "identity": "fit 1"}):
        with pytest.raises(DataError, match="another run"):
            converse(world, "noise", noise(1), USERS, log=log, **change)
    with pytest.raises(DataError, match="another run"):
        converse(world, "noise", noise(1), [0, 1], log=log, identity="fit 1")


def test_logs_without_a_split_are_gone_on_with(world: Dataset, tmp_path: Path) -> None:
    """The split became a choice when there were logs: those of the test keep their name."""
    log = tmp_path / "log.jsonl"
    converse(world, "noise", noise(1), [0, 1], log=log, identity="fit 1")
    setting = {
        "class": "Setting", "difficulty": "normal", "level": "paraphrased", "phrasing": "test",
        "seed": 0, "n_turns": 5, "n_items": 5, "known": None, "batch_size": 64,
    }  # fmt: skip
    run = key(
        data=world.fingerprint, system="noise", identity="fit 1", setting=setting, users=[0, 1]
    )
    assert {json.loads(line)["run"] for line in log.read_text().splitlines()} == {run}
    with pytest.raises(DataError, match="another run"):
        converse(
            world, "noise", noise(1), [0, 1], Setting(split="valid"), log=log, identity="fit 1"
        )


def test_replay_gives_the_systems_own_dialogues(world: Dataset) -> None:
    setting = Setting(level="plain", batch_size=9)
    logged = converse(world, "reader", reader(), USERS, setting)
    assert {d.success for d in logged} >= {1, 2}
    again = replay(world, logged, "reader", reader(), setting)
    assert without_seconds(again) == without_seconds(logged)


def test_replay_feeds_another_system_the_same_words(world: Dataset) -> None:
    setting = Setting(level="plain")
    logged = converse(world, "reader", reader(), USERS, setting)
    other = replay(world, logged, "noise", noise(0), setting)
    for theirs, ours in zip(logged, other, strict=True):
        n = len(ours.exchanges)
        assert ours.messages == theirs.messages[:n]
        # it ends with a success of its own, or with the last word of the log
        assert ours.success == n or (ours.success is None and n == len(theirs.exchanges))
    assert [d.offered for d in logged] != [d.offered for d in other]


def test_a_replayed_user_accepts_and_leaves(world: Dataset) -> None:
    (dialogue,) = converse(world, "oracle", oracle(world, 2), [3])
    user = ReplayedUser(dialogue)
    assert user.say().text == dialogue.messages[0]
    assert user.say([1]).text == dialogue.messages[1]
    assert user.say([2]) is None
    assert user.say([dialogue.target]) == Accept(dialogue.target, "")


@pytest.mark.parametrize(
    ("system", "complaint"),
    [
        (lambda states: torch.zeros(len(states), 7), r"scores \(30, 7\)"),
        (lambda states: torch.full((len(states), N_ITEMS + 1), torch.nan), "not a number"),
        (lambda states: Answer(torch.zeros(len(states), N_ITEMS + 1), []), "0 bills to 30"),
    ],
)
def test_malformed_scores_are_named(world: Dataset, system, complaint: str) -> None:
    with pytest.raises(DataError, match=complaint):
        converse(world, "broken", system, USERS)


def test_settings_are_checked() -> None:
    wrong = (
        ({"n_turns": 0}, "n_turns=0"), ({"known": -1}, "known=-1"),
        ({"split": "train"}, "split='train' is not one of test, valid"),
    )  # fmt: skip
    for change, name in wrong:
        with pytest.raises(ConfigError, match=name):
            Setting(**change)


def test_who_wants_a_film_without_a_name_is_not_asked(world: Dataset) -> None:
    target = int(world.targets("test")[4])
    nameless = pl.when(pl.col("item") == target).then(pl.lit("Unknown title"))
    items = world.items.with_columns(nameless.otherwise(pl.col("title")).alias("title"))
    data = Dataset("ml-fake", items, world.users, world.interactions, {}, "nameless")
    users = sample_users(data)
    assert 4 not in users and len(users) == int((world.targets("test") != target).sum())
    drawn = sample_users(data, 10)
    assert len(set(drawn)) == 10 and (np.diff(drawn) > 0).all()
    assert np.array_equal(drawn, sample_users(data, 10)) and set(drawn) <= set(users)
    assert not np.array_equal(drawn, sample_users(data, 10, seed=1))
    dialogues = converse(data, "noise", noise(0), users)
    assert all(target not in d.offered for d in dialogues)


def test_every_row_of_the_table_is_a_system(world: Dataset) -> None:
    listening = FakeModel(N_ITEMS)
    fitted = SimpleNamespace(
        data=world, backbone=Backbone(), language=Language(), text_alone=listening,
        fusion=listening, latentcrs=listening, latentcrs_plus=listening,
    )  # fmt: skip
    systems = dialogue_systems(fitted)
    assert list(systems) == [
        "popularity", "item-kNN", "backbone alone", "text alone", "backbone + lexicon filter",
        "fusion without intents", "LatentCRS", "LatentCRS+", "LatentCRS+ F",
    ]  # fmt: skip
    setting = Setting(level="plain", difficulty="picky")
    held = {name: converse(world, name, system, USERS, setting) for name, system in systems.items()}
    for name, dialogues in held.items():
        bought = [s for d in dialogues for e in d.exchanges for s in e.usage]
        reads = {s.purpose for s in bought} >= {"embedding", "scoring"}
        assert reads == (name in (*READERS, FILTERED)), name
        assert ("extraction" in {s.purpose for s in bought}) == (name == FILTERED)
        assert all(s.completion_tokens == 1 for s in bought if s.purpose == "embedding")
    # every turn reads all messages so far, and the prompt around them
    dialogue = max(held["LatentCRS+"], key=lambda d: len(d.exchanges))
    for turn, exchange in enumerate(dialogue.exchanges, 1):
        n_words = len(" ".join(dialogue.messages[:turn]).split())
        assert exchange.usage[0].prompt_tokens == 7 + n_words


def test_variant_f_holds_a_system_to_all_that_was_said_and_reads_each_message_once(
    world: Dataset,
) -> None:
    read: list[str] = []
    lexicon = make_extractor(world, "lexicon")

    def extractor(message: str, **options: object) -> Extraction:
        read.append(message)
        return lexicon(message)

    setting = Setting(level="plain", difficulty="normal")
    filtered = FilteringSystem(noise(0), world, extractor)
    f, b = (converse(world, name, system, USERS, setting)
            for name, system in (("F", filtered), ("B", noise(0))))  # fmt: skip
    assert turns_taken(f).mean() < turns_taken(b).mean() - 0.5
    assert len(read) == len(set(read)) == len({m for d in f for m in d.messages})
    films = template_users(world, setting)([0])[0].test_case.catalogue
    for dialogue in f:
        genres = asked_genres(dialogue)
        assert not genres or genres <= films[dialogue.exchanges[-1].offered[0]].genres


def test_requirements_give_way_only_where_nothing_meets_them_any_more(world: Dataset) -> None:
    rows = world.items.to_dicts()
    comedies = {row["item"] for row in rows if "Comedy" in row["genres"]}
    eighties = {row["item"] for row in rows if 1980 <= (row["year"] or 0) <= 1989}
    others = set(range(1, N_ITEMS + 1)) - comedies
    system = FilteringSystem(noise(0), world, make_extractor(world, "lexicon"))
    for wish, offered, allowed in (
        ("a comedy", set(), comedies),
        ("a comedy", comedies, others),
        # no comedy is left, so giving up the years would not help: the genre gives way
        ("a comedy from the 1980s", comedies, eighties - comedies),
    ):
        states = States(
            np.array([3]), Sequences.from_lists([[1]]), [[wish]], [sorted(offered)],
            [{0, 1, *offered}],
        )  # fmt: skip
        scores = system(states).scores[0].clone()
        scores[[0, 1, *offered]] = -torch.inf
        assert set(scores.topk(3).indices.tolist()) <= allowed


def test_what_the_user_has_seen_keeps_no_requirement_from_giving_way(world: Dataset) -> None:
    """In cold start, too, where the system does not know that the last comedies were seen."""
    rows = world.items.to_dicts()
    comedies = {row["item"] for row in rows if "Comedy" in row["genres"]}
    eighties = {row["item"] for row in rows if 1980 <= (row["year"] or 0) <= 1989}
    heard: list[States] = []

    def early(states: States) -> torch.Tensor:
        """Prefers what comes first in the catalogue, none of it from the 1980s."""
        heard.append(states)
        return -torch.arange(N_ITEMS + 1.0).expand(len(states), -1)

    class Wishes:
        target = min(set(range(1, N_ITEMS)) - comedies - eighties)

        def say(self, offered=()):
            return UserMessage("a comedy from the 1980s", ("genre=Comedy", "decade=1980"), ())

    history = [*sorted(comedies), Wishes.target]
    data = dataclasses.replace(world, interactions=Sequences.from_lists([history] * N_USERS))
    system = FilteringSystem(early, data, make_extractor(data, "lexicon"))
    offers = []
    for known in (None, 0):
        setting = Setting(known=known, n_turns=1)
        (dialogue,) = converse(data, "F", system, [0], setting, make_users=lambda _: [Wishes()])
        offers.append(dialogue.offered)
    # no comedy is left, so giving up the years would not help: the genre gives way
    assert offers[0] == sorted(eighties - comedies)[:5] == offers[1]
    assert [len(states.histories[0]) for states in heard] == [len(comedies), 0]
    assert all(states.barred[0] == {0, *comedies} for states in heard)


def test_the_lexicon_filter_adds_up_what_was_said(world: Dataset) -> None:
    """Said over several turns, the words count together: the target is among what is left."""
    systems = dialogue_systems(
        SimpleNamespace(
            data=world, backbone=Backbone(), language=Language(), text_alone=None, fusion=None,
            latentcrs=None, latentcrs_plus=None,
        )
    )  # fmt: skip
    setting = Setting(level="plain", difficulty="normal")
    filtered, alone = (
        converse(world, name, systems[name], USERS, setting)
        for name in ("backbone + lexicon filter", "backbone alone")
    )
    assert turns_taken(filtered).mean() < turns_taken(alone).mean() - 0.5
    films = template_users(world, setting)([0])[0].test_case.catalogue
    for dialogue in filtered:
        genres = asked_genres(dialogue)
        last = [films[i].genres for i in dialogue.exchanges[-1].offered[:1]]
        assert not genres or all(genres <= g for g in last)
