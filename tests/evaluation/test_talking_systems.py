"""Variants V and F with a language model as partners in a dialogue, with scripted models."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from dialogue_world import (
    N_ITEMS,
    N_USERS,
    dataset,
    noise,
    reader,
    without_seconds,
)
from torch import Tensor

from latentcrs_utils.config import RerankConfig
from latentcrs_utils.data.sequences import Dataset, Sequences
from latentcrs_utils.evaluation.conversing import Setting, converse
from latentcrs_utils.evaluation.multi_turn import (
    FILTERED_BY_MODEL,
    ON_REQUEST,
    RERANKED,
    RerankingSystem,
    States,
    asking_systems,
)
from tests.conversation.fakes import FakeChatModel, FakeScorer

USERS = range(N_USERS)
EMPTY = json.dumps({"genres": [], "not_genres": [], "years": []})


@pytest.fixture(scope="module")
def world() -> Dataset:
    return dataset()


def falling(states: States) -> Tensor:
    """The smaller the id the better, one nat apart; the padding would be best."""
    return -torch.arange(N_ITEMS + 1.0).expand(len(states), -1)


def asked_once(system: RerankingSystem, barred: set[int], past: list[int]) -> list[int]:
    """All items in the order in which one dialogue would get them."""
    states = States(
        np.array([3]), Sequences.from_lists([past]), [["a western"]], [[]], [frozenset(barred)]
    )
    scores = system(states).scores[0].clone()
    scores[list(barred)] = -torch.inf
    return scores.sort(descending=True, stable=True).indices[: N_ITEMS + 1 - len(barred)].tolist()


def test_the_model_orders_the_first_candidates_and_nothing_else(world: Dataset) -> None:
    chat_model = FakeScorer(words=("Western",))
    system = RerankingSystem(falling, world, chat_model, RerankConfig(n_candidates=8, weight=1.0))
    # item v is a western if v mod 4 is 3; 3 is barred, so the candidates are 1, 2, 4 ... 9
    found = asked_once(system, {0, 3}, [5, 2])
    assert found == [7, 1, 2, 4, 5, 6, 8, 9, *range(10, N_ITEMS + 1)]
    prompt, texts = chat_model.scored[-1]
    assert len(texts) == 8 and not any("Thunder" in text for text in texts)
    titles = world.titles
    assert prompt.startswith(f"A customer liked these films: {titles[5]}, {titles[2]}.")
    assert 'says: "a western"' in prompt
    # 3.5 nats more put 7, which had -7, between 2 and 4
    half = RerankConfig(n_candidates=8, weight=0.35)
    system = RerankingSystem(falling, world, FakeScorer(words=("Western",)), half)
    assert asked_once(system, {0, 3}, [])[:5] == [1, 2, 7, 4, 5]


def test_where_the_model_fails_the_order_is_the_recommender_s(world: Dataset, caplog) -> None:
    class Broken(FakeScorer):
        def score(self, prompt, continuations):
            raise RuntimeError("gone")

    caplog.set_level("INFO", logger="latentcrs_utils")
    with pytest.raises(RuntimeError):
        Broken().score("", [])
    system = RerankingSystem(falling, world, FakeScorer(), RerankConfig(n_candidates=8))
    plain = asked_once(system, {0}, [])
    assert plain == [*range(1, N_ITEMS + 1)] and not caplog.messages
    system = RerankingSystem(falling, world, Broken(), RerankConfig(n_candidates=8, weight=1.0))
    assert asked_once(system, {0}, []) == plain
    assert "user 3: The order is the recommender's own" in caplog.text


def test_with_weight_zero_variant_v_is_variant_b(world: Dataset) -> None:
    setting = Setting(level="plain")
    none = RerankConfig(weight=0.0)
    v = RerankingSystem(reader(), world, FakeScorer(words=("Western",)), none)
    ours, theirs = (
        converse(world, "any", system, USERS, setting) for system in (v, reader())
    )  # fmt: skip
    assert [d.offered for d in ours] == [d.offered for d in theirs]


def test_only_what_was_said_is_on_the_bill_whenever_a_run_begins(
    world: Dataset, tmp_path: Path
) -> None:
    setting, log = Setting(level="plain", batch_size=10), tmp_path / "log.jsonl"

    def system() -> RerankingSystem:
        return RerankingSystem(noise(0), world, FakeScorer(words=("Western",)))

    whole = converse(world, "V", system(), USERS, setting, log=log)
    for exchange in (exchange for dialogue in whole for exchange in dialogue.exchanges):
        # one question a turn; what the words are worth without a story is on no bill
        assert [(s.purpose, s.prompt_tokens, s.completion_tokens) for s in exchange.usage] == [
            ("re-ranking", 100, 0), ("scoring", 0, 0),
        ]  # fmt: skip
    kept = log.read_bytes().splitlines(keepends=True)[:10]
    log.write_bytes(b"".join(kept))
    again = converse(world, "V", system(), USERS, setting, log=log)
    assert without_seconds(again) == without_seconds(whole)


def test_what_is_worth_nothing_without_a_story_is_asked_once(world: Dataset) -> None:
    chat_model = FakeScorer()
    system = RerankingSystem(noise(0), world, chat_model)
    converse(world, "V", system, USERS, Setting(level="plain"))
    neutral = [text for prompt, texts in chat_model.scored for text in texts
               if "What do you recommend?" in prompt]  # fmt: skip
    assert len(neutral) == len(set(neutral)) <= N_ITEMS


def test_v_listens_to_a_model_that_knows(world: Dataset) -> None:
    class Clairvoyant(FakeScorer):
        """Finds the genres that were named likelier."""

        def score(self, prompt, continuations):
            said = prompt.rpartition("says:")[2]
            self.usage.prompt_tokens += 1
            return [
                float(any(word in said.lower() for word in text.lower().strip(" )").split(", ")))
                for text in continuations
            ]

    setting = Setting(level="plain", difficulty="picky")
    config = RerankConfig(weight=10.0)
    v, b = (
        np.mean([d.success is not None for d in converse(world, "V", system, USERS, setting)])
        for system in (RerankingSystem(noise(0), world, Clairvoyant(), config), noise(0))
    )
    assert v > b + 0.1


def test_f_reads_each_message_once_and_a_restart_asks_no_more(
    world: Dataset, tmp_path: Path
) -> None:
    fitted = SimpleNamespace(data=world)
    form = json.dumps({
        "genres": [{"words": "scary", "value": "Horror"}], "not_genres": [], "years": [],
    })  # fmt: skip
    chat_model = FakeChatModel(form, *[EMPTY] * 200)
    systems = asking_systems(fitted, falling, chat_model, tmp_path)
    assert tuple(systems) == ON_REQUEST == (RERANKED, FILTERED_BY_MODEL)
    states = States(
        np.array([3, 4]), Sequences.from_lists([[], []]), [["scary, from the seventies"]] * 2,
        [[], []], [frozenset({0})] * 2,
    )  # fmt: skip
    answer = systems[FILTERED_BY_MODEL](states)
    horror = [v for v in range(1, N_ITEMS + 1) if v % 4 == 2 and 1970 <= 1950 + v <= 1979]
    assert answer.scores[0, 1:].sort(descending=True).indices[: len(horror)].add(1).tolist() == (
        horror
    )
    assert [part.purpose for part in answer.usage[1]] == ["extraction"]
    assert [(p.prompt_tokens, p.completion_tokens) for p in answer.usage[1]] == (
        [(50, len(form) // 4)]
    )
    assert len(chat_model.asked) == 1
    again = asking_systems(fitted, falling, FakeChatModel(), tmp_path)[FILTERED_BY_MODEL](states)
    assert torch.equal(again.scores, answer.scores)
    assert again.usage[0][0].prompt_tokens == 50


def test_a_log_names_the_model_and_the_configuration(world: Dataset) -> None:
    first = RerankingSystem(falling, world, FakeScorer())
    other = RerankingSystem(falling, world, FakeScorer(), RerankConfig(weight=0.7))
    named = FakeScorer()
    named.name = "Other"
    assert len({first.identity, other.identity, RerankingSystem(falling, world, named).identity}
               ) == 3  # fmt: skip
