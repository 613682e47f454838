"""The log of dialogues, line by line, the bill of tokens, and answers that are kept."""

import json
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
    st.lists(st.just(NO_WAR), max_size=1).map(tuple),
    st.sampled_from(["template", "SmolLM2"]),
    st.lists(st.integers(1, 99), max_size=5).map(tuple),
    st.lists(AMOUNTS, max_size=3).map(tuple),
)


def dialogue(user: int, success: int | None = None, system="B", usage=None) -> Dialogue:
    """A dialogue whose turns all have the same usage, by default by the number of the user."""
    own = (TokenUsage("embedding", 10 * (user + 1), 1, 0.5), TokenUsage("scoring", 0, 0, 0.25))
    exchange = Exchange("A comedy", (COMEDY,), (), "template", (user + 1, 2), usage or own)
    return Dialogue(system, user, 9, 0, success, (exchange,) * (success or 5))


def log_of(path: Path, *dialogues: Dialogue) -> JsonLog:
    log = JsonLog(path, "run", by="user", check=Dialogue.from_dict)
    log.append(one.to_dict() for one in dialogues)
    return log


@given(st.lists(EXCHANGES, max_size=5).map(tuple), st.none() | st.integers(1, 5))
def test_a_dialogue_comes_back_from_its_line(exchanges: tuple, success: int | None) -> None:
    told = Dialogue("LatentCRS+", 3, 7, 0, success, exchanges)
    assert Dialogue.from_dict(json.loads(json.dumps(told.to_dict()))) == told


def test_one_line_a_dialogue_and_none_twice(tmp_path: Path) -> None:
    log = log_of(tmp_path / "new" / "log.jsonl", dialogue(0), dialogue(1))
    log_of(log.path, dialogue(1, success=2), dialogue(2))
    lines = [json.loads(line) for line in log.path.read_text().splitlines()]
    assert [line["user"] for line in lines] == [0, 1, 2]
    assert lines[0].keys() >= {"run", "user", "target", "system", "seed", "success"}
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


@pytest.mark.parametrize("line", [b"{}\n", b'{"run": "run", "user": 1}\n'])
def test_damage_in_the_middle_is_not_mended(tmp_path: Path, line: bytes) -> None:
    path = tmp_path / "log.jsonl"
    log_of(path, dialogue(0), dialogue(1), dialogue(2))
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(damaged := lines[0] + line + lines[2])
    for read in (log_of, read_dialogues):
        with pytest.raises(DataError, match=r"Line 2 of .*log.jsonl is damaged"):
            read(path)
    assert path.read_bytes() == damaged


def test_metrics_by_hand() -> None:
    held = [dialogue(user, success) for user, success in enumerate([1, 3, 4, 5, None])]
    within = {k: success_by(held, k).tolist() for k in (1, 3, 5)}
    assert within == {1: [1, 0, 0, 0, 0], 3: [1, 1, 0, 0, 0], 5: [1, 1, 1, 1, 0]}
    # a failure counts as much as a success in the last turn
    assert turns_taken(held).tolist() == [1, 3, 4, 5, 5]
    assert success_by([], 3).shape == turns_taken([]).shape == (0,) and len(usage_table([])) == 0


@given(st.lists(AMOUNTS, min_size=1, max_size=12))
def test_a_bill_adds_up_by_purpose(parts: list[TokenUsage]) -> None:
    *rows, recommending = usage_table([dialogue(0, 1, usage=tuple(parts))]).to_dicts()
    assert [r["purpose"] for r in rows] == [p for p in PURPOSES if p in {s.purpose for s in parts}]
    for name in ("prompt_tokens", "completion_tokens", "seconds"):
        of_all = sum(getattr(part, name) for part in parts)
        assert sum(row[f"{name}_a_turn"] for row in rows) == pytest.approx(of_all)
        expected = sum(getattr(part, name) for part in parts if part.purpose in RECOMMENDING)
        assert recommending[f"{name}_a_dialogue"] == pytest.approx(expected)


def test_the_ledger_by_hand() -> None:
    usage = (*dialogue(1).exchanges[0].usage, TokenUsage("user", 100, 20, 2.0))
    held = [dialogue(0, success=3), dialogue(1, 1, usage=usage), dialogue(5, system="other")]
    rows = {(row["system"], row["purpose"]): row for row in usage_table(held).to_dicts()}
    assert list(rows) == [
        ("B", "embedding"), ("B", "scoring"), ("B", "user"), ("B", "recommending"),
        ("other", "embedding"), ("other", "scoring"), ("other", "recommending"),
    ]  # fmt: skip
    for purpose, expected in {
        # three turns of ten tokens and one of twenty, in two dialogues
        "embedding": {
            "turns": 4, "dialogues": 2, "prompt_tokens_a_turn": 12.5, "completion_tokens_a_turn": 1,
        },
        "scoring": {"seconds_a_turn": 0.25},
        # playing the user is no part of recommending; scoring is
        "recommending": {"prompt_tokens_a_dialogue": 25.0, "seconds_a_turn": 0.75},
        "user": {"completion_tokens_a_turn": 5.0},
    }.items():  # fmt: skip
        assert rows["B", purpose].items() >= expected.items()


def test_a_measurement_that_was_killed_goes_on_where_it_was(tmp_path: Path) -> None:
    file = tmp_path / "new" / "answers.jsonl"
    asked = [{"role": "user", "content": "scary 🎃"}]

    def ask(answers: Answers, number: int):
        return answers.generate(asked, schema={"a": number}, max_new_tokens=5)

    first = Answers(FakeChatModel("scary", RuntimeError("gone")), file)
    said = ask(first, 1)
    assert (said.text, said.prompt_tokens) == ("scary", 50)
    with pytest.raises(MessageError, match="RuntimeError: gone"):
        ask(first, 2)
    for answers in (first, Answers(FakeChatModel(), file)):
        with pytest.raises(MessageError, match="RuntimeError: gone"):
            ask(answers, 2)
        assert ask(answers, 1) == said
        assert answers.counts == first.counts == {**first.counts, "asked": 2, "failed": 1}
    # a kill may have cut the last line short: that question is asked again
    lines = file.read_bytes().splitlines(keepends=True)
    file.write_bytes(lines[0] + lines[1][:40])
    cut = Answers(FakeChatModel("{}"), file)
    assert cut.counts["asked"] == 1 and ask(cut, 2).text == "{}"
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
