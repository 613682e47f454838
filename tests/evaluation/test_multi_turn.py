"""Whole dialogues, many at a time: the paper's protocol, the chat's policies, and killed runs."""

import json
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path
from types import SimpleNamespace

import dialogue_world as small
import numpy as np
import polars as pl
import pytest
import torch
from dialogue_world import N_ITEMS, N_USERS, SMALL_BATCHES, noise, without_seconds
from hypothesis import given, settings
from hypothesis import strategies as st

from experiments.multi_turn import reranked
from latentcrs_utils.config import RerankConfig
from latentcrs_utils.constraints.constraint import matcher_for
from latentcrs_utils.constraints.extraction import make_extractor
from latentcrs_utils.conversation.policies import FilterPolicy, Policy, RerankPolicy
from latentcrs_utils.conversation.session import Conversation
from latentcrs_utils.data.sequences import Dataset, Sequences
from latentcrs_utils.errors import ConfigError, DataError
from latentcrs_utils.evaluation import multi_turn
from latentcrs_utils.evaluation.dialogues import (
    Answers,
    Dialogue,
    Exchange,
    read_dialogues,
    turns_taken,
)
from latentcrs_utils.evaluation.multi_turn import Setting, System, converse, replay
from latentcrs_utils.evaluation.one_turn import EvalSet
from latentcrs_utils.simulation.agenda import DIFFICULTIES, LEVELS
from latentcrs_utils.simulation.users import UserMessage
from latentcrs_utils.support.artifacts import key
from tests.conversation.fakes import FakeChatModel, FakeScorer, fake_model

USERS = range(N_USERS)
WISHES = (
    "a western or a scary comedy from the fifties",
    "no horror, please, and nothing sad",
    "actually a drama from the seventies, no comedy, no western",
    "funny and hilarious",
    "no drama either",
)


def hold(data: Dataset, one: System, setting: Setting | None = None, **more) -> list[Dialogue]:
    """The dialogues of all users with a system."""
    return converse(data, "any", one, USERS, setting, **more)


def watching(start: System) -> tuple[System, list[EvalSet]]:
    """The same system, and what its scorer is asked for, batch by batch and turn by turn."""
    seen: list[EvalSet] = []

    def watch(cases: EvalSet) -> torch.Tensor:
        seen.append(cases)
        return start.scorer(cases)

    return replace(start, scorer=watch), seen


def wishing(target: int, message: str) -> SimpleNamespace:
    """A user who says the same thing again and again."""
    return SimpleNamespace(target=target, say=lambda offered=(): UserMessage(message))


def without_title(data: Dataset, item: int) -> Dataset:
    title = pl.when(pl.col("item") == item).then(pl.lit("Unknown title")).otherwise(pl.col("title"))
    return replace(data, items=data.items.with_columns(title=title))


@pytest.mark.parametrize("wishes", [WISHES, WISHES[::-1]])
@pytest.mark.parametrize("n_items", [1, 5, 7])
@pytest.mark.parametrize("name", ["B", "F", "V"])
def test_a_dialogue_has_the_same_items_in_the_chat_and_in_the_evaluation(name, n_items, wishes):
    model = fake_model()
    data = without_title(model.data, 7)  # nobody may be offered it
    model = replace(model, data=data)
    config = RerankConfig(n_candidates=8, weight=1.0)
    asked, told = (FakeScorer(*["..."] * 9, words=("Number 1", "(1960"), nats=0.4) for _ in "12")
    chat = Conversation(model, 42, chat_model=asked, n_items=n_items, policy=name, rerank=config)
    v = RerankPolicy(data, lambda: told, config)
    policy = {"B": Policy(data), "F": FilterPolicy(data), "V": v}[name]
    language = SimpleNamespace(
        mean=model.language.mean, encode=model.language.encode,
        embedder=SimpleNamespace(token_ids=str.split),
    )  # fmt: skip
    start = System(small.listening_to(model), policy, model.backbone, language)
    # whoever wants the film without a name never accepts
    exchanges = tuple(Exchange(text, (), (), "template", ()) for text in wishes)
    log = [Dialogue("any", data.user_index(42), 7, 0, None, exchanges)]
    (dialogue,) = replay(data, log, "any", start, Setting(n_items=n_items))
    for text, exchange in zip(wishes, dialogue.exchanges, strict=True):
        turn = chat.say(text)
        assert [item.item for item in turn.items] == list(exchange.offered), text
    # a language model reads the same, too
    assert asked.scored == told.scored and bool(told.scored) == (name == "V")
    refused = {r for turn in chat.turns for r in turn.requirements if r.constraint.negated}
    assert len(refused) >= 2 * (name == "F")


@given(
    seed=st.integers(0, 99),
    difficulty=st.sampled_from(DIFFICULTIES),
    level=st.sampled_from(LEVELS),
    n_turns=st.integers(1, 6),
    n_items=st.integers(1, 6),
    known=st.sampled_from([None, 0, 1, 5]),
)
@settings(max_examples=40)
def test_the_protocol(world, seed, difficulty, level, n_turns, n_items, known) -> None:
    setting = Setting(difficulty, level, "test", seed, n_turns, n_items, known, batch_size=7)
    dialogues = hold(world, noise(seed), setting)
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


def test_all_systems_hear_the_same_first_words(world: Dataset) -> None:
    one, other = (hold(world, noise(seed)) for seed in (0, 1))
    assert [d.messages[0] for d in one] == [d.messages[0] for d in other]
    assert [d.target for d in one] == [d.target for d in other]
    assert [d.messages for d in one] != [d.messages for d in other]


def test_the_size_of_the_batches_changes_nothing(world: Dataset) -> None:
    one, some, all_ = (
        without_seconds(hold(world, small.reader(), Setting(level="plain", batch_size=size)))
        for size in (1, 7, 64)
    )
    assert one == some == all_


@pytest.mark.parametrize(
    ("split", "known"), [("test", 0), ("test", 2), ("test", None), ("valid", None)]
)
def test_the_whole_history_stays_excluded_however_little_is_known(world, split, known) -> None:
    watched, seen = watching(noise(1))
    dialogues = hold(world, watched, Setting(phrasing=split, split=split, known=known))
    assert [d.target for d in dialogues] == world.targets(split).tolist()
    past = [row.tolist() for row in world.histories(split)]
    shown = past if known is None else [row[len(row) - known :] for row in past]
    assert [row.tolist() for row in seen[0].instances.histories] == shown
    assert all(not set(past[d.user]) & set(d.offered) for d in dialogues)
    # in the validation, too, the item of the test is an item like any other
    assert any(world.targets("test")[d.user] in d.offered for d in dialogues)
    assert set(seen[2].frame["turn"]) == {3}
    assert seen[2].texts[0] == " ".join(dialogues[seen[2].frame["user"][0]].messages[:3])


def test_fewer_items_than_places(world: Dataset) -> None:
    dialogues = hold(world, small.oracle(world, 9), Setting(n_turns=8))
    # 40 films, 11 of them known: who comes last is among the last four
    assert {len(d.offered) for d in dialogues} == {29} and {d.success for d in dialogues} == {6}
    assert [len(e.offered) for e in dialogues[0].exchanges] == [5, 5, 5, 5, 5, 4]


@pytest.mark.parametrize("n", [4, 6, 14])
def test_killed_between_turns_or_batches_it_goes_on_to_the_same_result(world, tmp_path, n) -> None:
    log = tmp_path / "dialogues.jsonl"
    process = get_context("spawn").Process(target=small.run_until_killed, args=(str(log), n))
    process.start()
    process.join()
    assert process.exitcode == -9
    whole = hold(world, noise(1), SMALL_BATCHES)
    done = read_dialogues(log) if log.exists() else []
    assert len(done) == 8 * ((n - 1) // 5)
    watched, seen = watching(noise(1))
    resumed = hold(world, watched, SMALL_BATCHES, log=log)
    assert without_seconds(resumed) == without_seconds(whole)
    # nothing is asked a third time
    again = hold(world, watched, SMALL_BATCHES, log=log)
    assert again == resumed == read_dialogues(log)
    assert len(seen) == 5 * (4 - len(done) // 8)


def test_killed_while_writing_it_does_the_batch_again_in_the_same_company(world, tmp_path) -> None:
    log = tmp_path / "dialogues.jsonl"
    whole = hold(world, noise(1), SMALL_BATCHES, log=log)
    lines = log.read_bytes().splitlines(keepends=True)
    log.write_bytes(b"".join(lines[:11]) + lines[11][:100])
    watched, seen = watching(noise(1))
    again = hold(world, watched, SMALL_BATCHES, log=log)
    assert without_seconds(again) == without_seconds(whole)
    assert seen[0].frame["user"].to_list() == list(range(8, 16))
    assert sorted(d.user for d in read_dialogues(log)) == list(USERS)


def test_a_log_of_another_run_is_refused(world: Dataset, tmp_path: Path) -> None:
    log, users = tmp_path / "log.jsonl", [0, 1]
    converse(world, "noise", noise(1), users, log=log, identity="fit 1")
    # the split became a choice when there were logs: those of the test keep their name
    setting = {
        "class": "Setting", "difficulty": "normal", "level": "paraphrased", "phrasing": "test",
        "seed": 0, "n_turns": 5, "n_items": 5, "known": None, "batch_size": 64,
    }  # fmt: skip
    same = {"identity": "fit 1", "users": users}
    run = key(data=world.fingerprint, system="noise", setting=setting, **same)
    assert {json.loads(line)["run"] for line in log.read_text().splitlines()} == {run}
    same["name"] = "noise"
    for change in (
        {"identity": "fit 2"}, {"users": USERS}, {"name": "other"},
        {"setting": Setting(seed=1)}, {"setting": Setting(split="valid")},
    ):  # fmt: skip
        with pytest.raises(DataError, match="another run"):
            converse(world, system=noise(1), log=log, **{**same, **change})


def test_replay_feeds_the_same_words_to_a_system(world: Dataset) -> None:
    setting = Setting(level="plain", batch_size=9)
    logged = hold(world, small.reader(), setting)
    assert {d.success for d in logged} >= {1, 2}
    own, other = (replay(world, logged, "any", one, setting) for one in (small.reader(), noise(0)))
    # the system of the log gives the dialogues of the log
    assert without_seconds(own) == without_seconds(logged)
    for theirs, ours in zip(logged, other, strict=True):
        n = len(ours.exchanges)
        assert ours.messages == theirs.messages[:n]
        # it ends with a success of its own, or with the last word of the log
        assert ours.success == n or (ours.success is None and n == len(theirs.exchanges))
    assert [d.offered for d in logged] != [d.offered for d in other]


@pytest.mark.parametrize(
    ("scores", "complaint"),
    [
        (torch.zeros(N_USERS, 7), r"scores \(30, 7\)"),
        (torch.full((N_USERS, N_ITEMS + 1), torch.nan), "1230 of them not a number"),
    ],
)
def test_malformed_scores_are_named(world: Dataset, scores, complaint: str) -> None:
    with pytest.raises(DataError, match=complaint):
        hold(world, small.system(lambda cases: scores))


@pytest.mark.parametrize("change", [{"n_turns": 0}, {"known": -1}, {"split": "train"}])
def test_settings_are_checked(change: dict) -> None:
    ((name, value),) = change.items()
    with pytest.raises(ConfigError, match=f"{name}={value!r}"):
        Setting(**change)


def test_who_wants_a_film_without_a_name_is_not_asked(world: Dataset) -> None:
    target = int(world.targets("test")[4])
    data = without_title(world, target)
    users = multi_turn.sample_users(data)
    assert 4 not in users and len(users) == int((world.targets("test") != target).sum())
    drawn = multi_turn.sample_users(data, 10)
    assert len(set(drawn)) == 10 and (np.diff(drawn) > 0).all()
    assert np.array_equal(drawn, multi_turn.sample_users(data, 10)) and set(drawn) <= set(users)
    dialogues = converse(data, "noise", noise(0, data), users)
    assert all(target not in d.offered for d in dialogues)


FILTERS = multi_turn.FILTERED, multi_turn.HEARD


def test_every_row_of_the_table_is_a_system(world: Dataset) -> None:
    systems = multi_turn.dialogue_systems(small.fitted_to(world))
    assert list(systems) == [
        "popularity", "item-kNN", "backbone alone", "text alone", "popularity + lexicon filter",
        "backbone + lexicon filter", "fusion without intents", "LatentCRS", "LatentCRS+",
        "LatentCRS+ F", "LatentCRS+ F (classifier)",
    ]  # fmt: skip
    setting = Setting(level="plain", difficulty="picky")
    held = {name: hold(world, one, setting) for name, one in systems.items()}
    for name, dialogues in held.items():
        bought = [s for d in dialogues for e in d.exchanges for s in e.usage]
        reads = {s.purpose for s in bought} >= {"embedding", "scoring"}
        assert reads == (name in (*multi_turn.READERS, *FILTERS)), name
        assert ("extraction" in {s.purpose for s in bought}) == (name in FILTERS)
        assert all(s.completion_tokens == 1 for s in bought if s.purpose == "embedding")
    # every turn reads all messages so far, and the prompt around them
    dialogue = max(held["LatentCRS+"], key=lambda d: len(d.exchanges))
    for turn, exchange in enumerate(dialogue.exchanges, 1):
        n_words = len(" ".join(dialogue.messages[:turn]).split())
        assert exchange.usage[0].prompt_tokens == 7 + n_words


def test_filters_hold_a_system_to_all_that_was_said(world: Dataset) -> None:
    """Said over several turns, the words count together: the target is among what is left."""
    systems, setting = multi_turn.dialogue_systems(small.fitted_to(world)), Setting(level="plain")
    films = multi_turn.template_users(world, setting)([0])[0].test_case.catalogue
    for held, free in (
        (replace(noise(0), policy=FilterPolicy(world)), noise(0)),
        (systems["backbone + lexicon filter"], systems["backbone alone"]),
    ):
        f, b = (hold(world, one, setting) for one in (held, free))
        assert turns_taken(f).mean() < turns_taken(b).mean() - 0.5
        for dialogue in f:
            said = [c for e in dialogue.exchanges for c in e.constraints]
            genres = {c.value for c in said if c.slot == "genre" and not c.negated}
            last = dialogue.exchanges[-1].offered[0]
            assert not genres or genres <= films[last].genres


@pytest.mark.parametrize("policy", [Policy, FilterPolicy])
def test_a_target_may_be_offered_under_its_other_id(data: Dataset, policy: type[Policy]) -> None:
    targets, twins = data.targets("test"), matcher_for(data).catalogue.twins
    users = [user for user, target in enumerate(targets) if target in twins]
    other = {user: next(v for v in twins[targets[user]] if v != targets[user]) for user in users}
    # who rated both ids wants a film that is in the history, too
    assert any(other[user] in data.histories("test")[user] for user in users)

    def scorer(cases: EvalSet) -> torch.Tensor:
        scores = torch.zeros(len(cases), data.n_items + 1)
        late = torch.tensor(cases.frame["turn"].to_list()) == 2
        for user, row, second in zip(cases.frame["user"], scores, late, strict=True):
            row[other[user]], row[targets[user]] = 1.0 if second else -1.0, -1.0
        return scores

    start, setting = replace(small.system(scorer, data), policy=policy(data)), Setting(n_turns=2)
    held = converse(data, "any", start, users, setting)
    assert [(d.success, d.exchanges[1].offered[0]) for d in held] == [(2, other[u]) for u in users]
    assert without_seconds(replay(data, held, "any", start, setting)) == without_seconds(held)


def test_what_the_user_has_seen_keeps_no_requirement_from_being_relaxed(world: Dataset) -> None:
    """In cold start, too, where the system does not know that the last comedies were seen."""
    films = world.items.to_dicts()
    comedies = {film["item"] for film in films if "Comedy" in film["genres"]}
    eighties = {film["item"] for film in films if 1980 <= (film["year"] or 0) <= 1989}
    user = wishing(min({*range(1, N_ITEMS)} - comedies - eighties), "a comedy from the 1980s")
    history = [*sorted(comedies), user.target]
    data = replace(world, interactions=Sequences.from_lists([history] * N_USERS))
    filtered = replace(small.system(small.falling, data), policy=FilterPolicy(data))
    for known in (None, 0):
        setting = Setting(known=known, n_turns=1)
        (dialogue,) = converse(data, "F", filtered, [0], setting, make_users=lambda _: [user])
        # no comedy is left, so giving up the years would not help: the genre is relaxed
        assert dialogue.offered == sorted(eighties - comedies)[:5]


# Policies F and V with a language model


def reranking(start: System, chat_model: FakeScorer, weight: float = 1.0) -> System:
    config = RerankConfig(weight=weight)
    return replace(start, policy=RerankPolicy(start.policy.data, lambda: chat_model, config))


def test_v_is_b_but_for_what_its_model_knows(world: Dataset, caplog) -> None:
    class Clairvoyant(FakeScorer):
        """Finds the genres that were named likelier."""

        def score(self, prompt, continuations):
            said = prompt.rpartition("says:")[2].lower()
            return [
                float(any(word in said for word in text.lower().strip(" )").split(", ")))
                for text in continuations
            ]

    caplog.set_level("INFO", logger="latentcrs_utils")
    broken = FakeScorer()
    broken.score = None  # not even callable
    setting = Setting(level="plain", difficulty="picky")
    b = hold(world, noise(0), setting)
    failing, weightless, knowing = (
        hold(world, reranking(noise(0), chat_model, weight), setting)
        for chat_model, weight in (
            (broken, 9.0), (FakeScorer(words=("Western",)), 0.0), (Clairvoyant(), 10.0)
        )
    )  # fmt: skip
    offered = [d.offered for d in b]
    assert [d.offered for d in failing] == [d.offered for d in weightless] == offered
    assert "user 3: The order is the recommender's own" in caplog.text
    assert turns_taken(knowing).mean() < turns_taken(b).mean() - 0.1


def test_usage_holds_only_what_was_said_whenever_a_run_begins(world, tmp_path: Path) -> None:
    setting, log = Setting(level="plain", batch_size=10), tmp_path / "log.jsonl"
    chat_model = FakeScorer(words=("Western",))
    whole = hold(world, reranking(noise(0), chat_model), setting, log=log)
    for exchange in (exchange for dialogue in whole for exchange in dialogue.exchanges):
        # one question a turn; what the words are worth without a context is on no bill
        spent = {s.purpose: (s.prompt_tokens, s.completion_tokens) for s in exchange.usage}
        assert spent == {"re-ranking": (100, 0), "scoring": (0, 0)}
    prior = [text for prompt, texts in chat_model.scored for text in texts
             if "What do you recommend?" in prompt]  # fmt: skip
    assert len(prior) == len(set(prior)) <= N_ITEMS
    log.write_bytes(b"".join(log.read_bytes().splitlines(keepends=True)[:10]))
    fresh = reranking(noise(0), FakeScorer(words=("Western",)))
    again = hold(world, fresh, setting, log=log)
    assert without_seconds(again) == without_seconds(whole)


def test_f_reads_each_message_once_and_a_restart_asks_no_more(world, tmp_path: Path) -> None:
    form = json.dumps({"genres": [{"words": "scary", "value": "Horror"}]})
    chat_model, user, held = FakeChatModel(form), wishing(1, "scary, from the seventies"), []
    for asked in (chat_model, FakeChatModel()):
        both = make_extractor(world, "both", Answers(asked, tmp_path / "readings.jsonl"))
        one = replace(small.system(small.falling), policy=FilterPolicy(world, extractor=both))
        users = {"make_users": lambda users: [user] * len(users)}
        held.append(hold(world, one, Setting(n_turns=1), **users))
    horror = {v for v in range(1, N_ITEMS + 1) if v % 4 == 2 and 1970 <= 1950 + v <= 1979}
    past = world.histories("test")
    for dialogue in held[0]:
        left = sorted(horror - set(past[dialogue.user].tolist()))
        assert dialogue.offered[: len(left)] == left
        part = next(s for s in dialogue.exchanges[0].usage if s.purpose == "extraction")
        assert (part.prompt_tokens, part.completion_tokens) == (50, len(form) // 4)
    assert len(chat_model.asked) == 1
    assert without_seconds(held[0]) == without_seconds(held[1])


def test_a_log_names_the_model_and_the_configuration() -> None:
    named = FakeScorer()
    named.name = "Other"
    system = small.system(small.falling)
    found = {reranked(system, chat_model).identity for chat_model in (FakeScorer(), named)}
    assert len(found) == 2 and all("weight" in identity for identity in found)
