"""The log of dialogues, line by line, and the bill of tokens."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from latentcrs_utils.constraints.constraint import Constraint
from latentcrs_utils.errors import DataError, MessageError
from latentcrs_utils.evaluation.dialogues import (
    PURPOSES,
    RECOMMENDING,
    Answers,
    Dialogue,
    Exchange,
    JsonLog,
    TokenUsage,
    read_dialogues,
    success_by,
    turns_taken,
    usage_table,
)
from tests.conversation.fakes import FakeChatModel, FakeScorer

COMEDY, NO_WAR = Constraint("genre", "Comedy"), Constraint("genre", "War", negated=True)
AMOUNTS = st.builds(
    TokenUsage, st.sampled_from(PURPOSES), st.integers(0, 900), st.integers(0, 90), st.floats(0, 9)
)
EXCHANGES = st.builds(
    Exchange,
    st.text(min_size=1, max_size=20),
    st.lists(st.sampled_from([COMEDY, NO_WAR]), max_size=2).map(tuple),
    st.just(()),
    st.sampled_from(["template", "SmolLM2"]),
    st.lists(st.integers(1, 99), max_size=5).map(tuple),
    st.lists(AMOUNTS, max_size=3).map(tuple),
)


def dialogue(user: int, success: int | None = None, system: str = "B") -> Dialogue:
    usage = (TokenUsage("embedding", 10 * (user + 1), 1, 0.5), TokenUsage("scoring", 0, 0, 0.25))
    exchange = Exchange("A comedy", (COMEDY,), (), "template", (user + 1, 2), usage)
    return Dialogue(system, user, 9, 0, success, (exchange,) * (success or 5))


@given(st.lists(EXCHANGES, max_size=5).map(tuple), st.none() | st.integers(1, 5))
def test_a_dialogue_comes_back_from_its_line(
    exchanges: tuple[Exchange, ...], success: int | None
) -> None:
    told = Dialogue("LatentCRS+", 3, 7, 0, success, exchanges)
    assert Dialogue.from_dict(json.loads(json.dumps(told.to_dict()))) == told


def log_of(path: Path, *dialogues: Dialogue) -> JsonLog:
    log = JsonLog(path, "run", by="user")
    log.append(one.to_dict() for one in dialogues)
    return log


def test_one_line_a_dialogue_and_none_twice(tmp_path: Path) -> None:
    log = log_of(tmp_path / "new" / "log.jsonl", dialogue(0), dialogue(1))
    log_of(log.path, dialogue(1, success=2), dialogue(2))
    lines = log.path.read_text().splitlines()
    assert [json.loads(line)["user"] for line in lines] == [0, 1, 2]
    assert json.loads(lines[0]).keys() >= {"run", "user", "target", "system", "seed", "success"}
    assert read_dialogues(log.path) == [dialogue(0), dialogue(1), dialogue(2)]
    assert log_of(log.path).entries.keys() == {0, 1, 2}
    with pytest.raises(DataError, match="of another run"):
        JsonLog(log.path, "other", by="user")


@pytest.mark.parametrize("damage", ["cut", "cut before the end of the line", "garbage"])
def test_a_damaged_last_line_is_cut_off(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "log.jsonl"
    log_of(path, dialogue(0), dialogue(1))
    whole = path.read_bytes()
    first = len(whole.splitlines(keepends=True)[0])
    ends = {"cut": whole[: first + 30], "garbage": whole[:first] + b'{"run": "run"}\n'}
    path.write_bytes(ends.get(damage, whole[:-1]))
    assert read_dialogues(path) == [dialogue(0)]
    log = log_of(path)
    assert log.entries.keys() == {0} and path.read_bytes() == whole[:first]
    log.append([dialogue(1).to_dict()])
    assert path.read_bytes() == whole


def test_damage_in_the_middle_is_not_mended(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    log_of(path, dialogue(0), dialogue(1), dialogue(2))
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(lines[0] + b"{}\n" + lines[2])
    for read in (log_of, read_dialogues):
        with pytest.raises(DataError, match=r"Line 2 of .*log.jsonl is damaged"):
            read(path)
    assert len(path.read_bytes().splitlines()) == 3


def test_metrics_by_hand() -> None:
    held = [dialogue(user, success) for user, success in enumerate([1, 3, 4, 5, None])]
    assert success_by(held, 3).tolist() == [1, 1, 0, 0, 0]
    assert success_by(held, 5).tolist() == [1, 1, 1, 1, 0]
    # a failure counts as much as a success in the last turn
    assert turns_taken(held).tolist() == [1, 3, 4, 5, 5]


@given(st.lists(st.none() | st.integers(1, 5), min_size=1, max_size=30))
def test_who_succeeds_saves_turns_and_nobody_else_does(successes: list[int | None]) -> None:
    held = [dialogue(user, success) for user, success in enumerate(successes)]
    s1, s3, s5 = (success_by(held, k).mean() for k in (1, 3, 5))
    assert 0 <= s1 <= s3 <= s5 <= 1
    assert 1 <= turns_taken(held).mean() <= 5 - 4 * s1 - 2 * (s3 - s1) + 1e-9


@given(st.lists(AMOUNTS, max_size=12))
def test_a_bill_adds_up_by_purpose(parts: list[TokenUsage]) -> None:
    exchange = Exchange("A comedy", (), (), "template", (1,), tuple(parts))
    *rows, recommending = usage_table([Dialogue("B", 0, 9, 0, 1, (exchange,))]).to_dicts()
    assert [r["purpose"] for r in rows] == [p for p in PURPOSES if p in {s.purpose for s in parts}]
    for name in ("prompt_tokens", "completion_tokens", "seconds"):
        amounts = [(getattr(part, name), part.purpose in RECOMMENDING) for part in parts]
        assert sum(row[f"{name}_a_turn"] for row in rows) == pytest.approx(
            sum(a for a, _ in amounts)
        )
        expected = sum(amount for amount, counts in amounts if counts)
        assert recommending[f"{name}_a_dialogue"] == pytest.approx(expected)


def test_the_ledger_by_hand() -> None:
    talk = TokenUsage("user", 100, 20, 2.0)
    spoken = dialogue(1, success=1)
    (exchange,) = spoken.exchanges
    spoken = replace(spoken, exchanges=(replace(exchange, usage=(*exchange.usage, talk)),))
    held = [dialogue(0, success=3), spoken, dialogue(5, system="other")]
    table = usage_table(held)
    rows = {(row["system"], row["purpose"]): row for row in table.iter_rows(named=True)}
    assert list(rows) == [
        ("B", "embedding"), ("B", "scoring"), ("B", "user"), ("B", "recommending"),
        ("other", "embedding"), ("other", "scoring"), ("other", "recommending"),
    ]  # fmt: skip
    row = rows["B", "embedding"]
    # three turns of ten tokens and one of twenty, in two dialogues
    assert (row["turns"], row["dialogues"]) == (4, 2)
    assert (row["prompt_tokens_a_turn"], row["prompt_tokens_a_dialogue"]) == (12.5, 25.0)
    assert (row["completion_tokens_a_turn"], row["completion_tokens_a_dialogue"]) == (1.0, 2.0)
    # playing the user is no part of recommending; scoring is
    choosing = rows["B", "recommending"]
    assert choosing["prompt_tokens_a_dialogue"] == 25.0
    assert choosing["seconds_a_turn"] == 0.75 and rows["B", "scoring"]["seconds_a_turn"] == 0.25
    assert rows["B", "user"]["completion_tokens_a_turn"] == 5.0


def test_nothing_was_said_and_nothing_spent() -> None:
    assert len(usage_table([])) == 0
    assert success_by([], 3).shape == turns_taken([]).shape == (0,)


def test_a_measurement_that_was_killed_goes_on_where_it_was(tmp_path: Path) -> None:
    file = tmp_path / "new" / "answers.jsonl"
    asked = [{"role": "user", "content": "scary 🎃"}]
    first = Answers(FakeChatModel("scary", RuntimeError("gone")), file)
    said = first.generate(asked, schema={"a": 1}, max_new_tokens=5)
    with pytest.raises(MessageError, match="RuntimeError: gone"):
        first.generate(asked, schema={"a": 2}, max_new_tokens=5)
    again = Answers(FakeChatModel(), file)
    assert again.generate(asked, schema={"a": 1}, max_new_tokens=5) == said
    assert (said.text, said.prompt_tokens) == ("scary", 50)
    with pytest.raises(MessageError, match="RuntimeError: gone"):
        again.generate(asked, schema={"a": 2}, max_new_tokens=5)
    assert again.counts == first.counts == {**again.counts, "asked": 2, "failed": 1}
    # a kill may have cut the last line short: that question is asked again
    lines = file.read_bytes().splitlines(keepends=True)
    file.write_bytes(lines[0] + lines[1][:40])
    cut = Answers(FakeChatModel("{}"), file)
    assert cut.counts["asked"] == 1 and file.read_bytes() == lines[0]
    assert cut.generate(asked, schema={"a": 2}, max_new_tokens=5).text == "{}"
    assert Answers(FakeChatModel(), file).counts["asked"] == 2
    other = FakeChatModel()
    other.name = "Other"
    with pytest.raises(DataError, match=r"of another run .*not Other"):
        Answers(other, file)


def test_likelihoods_are_kept_too_with_their_usage(tmp_path: Path) -> None:
    file, chat_model = tmp_path / "answers.jsonl", FakeScorer(words=("x",))
    first = Answers(chat_model, file)
    scores = first.score("a story", [" x", " longer"])
    assert scores == first.score("a story", [" x", " longer"]) == [10.0 - 2, -7.0]
    assert len(chat_model.scored) == 1 and first.usage.prompt_tokens == 200
    again = Answers(FakeScorer(), file)
    assert again.score("a story", [" x", " longer"]) == scores
    # what is read from the file counts as if it had been asked
    assert (again.usage.prompt_tokens, again.counts["asked"]) == (100, 1)
    broken = FakeScorer()
    broken.usage = None
    with pytest.raises(MessageError, match="AttributeError"):
        Answers(broken, file).score("another", [" x"])
