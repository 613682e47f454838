"""Precision and recall of requirements: the counts, the model's answers, the record."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import polars as pl
import pytest

from experiments import extraction
from experiments.extraction import (
    Answers,
    extraction_report,
    literally,
    main,
    message_by_message,
    readers,
    sample,
)
from latentcrs_utils.constraints.constraint import Constraint
from latentcrs_utils.constraints.extraction import make_extractor
from latentcrs_utils.data.sequences import Dataset
from latentcrs_utils.errors import DataError, MessageError
from latentcrs_utils.simulation.utterances import Utterances, simulate_utterances
from tests.conversation.fakes import FakeChatModel, FakeScorer, fake_dataset

SCARY = json.dumps({"genres": [{"words": "scary", "value": "Horror"}]})


def table(texts: list[str], conditions: list[list[str]], **more) -> Utterances:
    n = len(texts)
    columns = {"text": texts, "conditions": conditions, "level": ["plain"] * n, **more}
    return Utterances(pl.DataFrame({**columns, "phrasing": ["test"] * n}))


def test_the_report_counts_by_hand() -> None:
    utterances = table(
        ["a comedy", "a comedy", "a weepie"],
        [["genre=Comedy", "mood=light"], ["genre=Drama"], ["genre=Drama", "like=3"]],
    )
    report = extraction_report(utterances, literally()).row(0, named=True)
    # found: Comedy, Comedy; true: Comedy, Drama, Drama; hit: one
    assert report["utterances"] == 3
    assert (report["n_found"], report["n_true"], report["n_hit"]) == (2, 3, 1)
    assert report["found"] == pytest.approx(2 / 3)
    assert report["precision"] == pytest.approx(1 / 2)
    assert report["recall"] == pytest.approx(1 / 3)
    for name in ("precision", "recall"):
        assert 0 <= report[f"{name}_low"] <= report[name] <= report[f"{name}_high"] <= 1


def test_the_interval_narrows_with_the_number_of_utterances() -> None:
    widths = []
    for n in (8, 200):
        truth = [["genre=Comedy"], ["genre=Drama"]] * (n // 2)
        row = extraction_report(table(["a comedy"] * n, truth), literally()).row(0, named=True)
        assert row["recall"] == pytest.approx(0.5)
        assert row["recall_low"] < 0.5 < row["recall_high"]
        widths.append(row["recall_high"] - row["recall_low"])
    assert widths[1] < widths[0] / 3


def test_the_report_has_no_number_where_there_is_nothing_to_divide() -> None:
    report = extraction_report(table(["hello"], [["mood=light"]]), literally()).row(0, named=True)
    assert report["precision"] is None and report["recall"] is None and report["found"] == 0
    assert report["recall_low"] is None and report["precision_high"] is None


def test_groups_are_apart_and_each_dialogue_is_read_once() -> None:
    utterances = table(
        ["a comedy", "a comedy", "a drama"], [["genre=Comedy"]] * 3, split=["a", "b", "b"]
    )
    asked = []

    def reader(messages):
        asked.append(tuple(messages))
        return literally()(messages)

    report = {
        row["split"]: row for row in extraction_report(utterances, reader, by=["split"]).to_dicts()
    }
    assert report["a"]["precision"] == 1.0 and report["b"]["precision"] == 0.5
    assert asked == [("a comedy",), ("a drama",)]


def test_a_dialogue_is_read_message_by_message_or_as_one_text() -> None:
    turns = ["a comedy from the eighties", "no comedy!", "from the nineties"]
    utterances = table([" ".join(turns)], [["not genre=Comedy", "decade=1990"]], turns=[turns])
    by_message = message_by_message(make_extractor(fake_dataset(), "lexicon"))
    for reader, n_found in ((by_message, 2), (literally(), 3)):
        row = extraction_report(utterances, reader).row(0, named=True)
        assert (row["n_hit"], row["n_found"]) == (2, n_found)


def test_a_message_on_which_the_model_fails_adds_nothing() -> None:
    answers = Answers(FakeChatModel(SCARY, "prose", RuntimeError("gone")))
    reader = readers(fake_dataset(), answers)["model, quoted"]
    assert reader(["scary", "a comedy", "a drama"]) == (Constraint("genre", "Horror"),)


def test_all_readers_of_a_model_are_measured_on_the_same_answers() -> None:
    noise = json.dumps({
        "genres": [{"words": "scary", "value": "Horror"}, {"words": "not said", "value": "Drama"}],
        "not_genres": [{"words": "tonight", "value": "Western"}],
    })  # fmt: skip
    chat_model = FakeChatModel(noise)
    found = {
        name: set(map(str, reader(["something scary and funny tonight"])))
        for name, reader in readers(fake_dataset(), Answers(chat_model)).items()
    }
    assert len(chat_model.asked) == 1
    assert found == {
        "lexicon filter": {"genre=Horror", "genre=Comedy"},
        "lexicon": {"genre=Horror", "genre=Comedy"},
        "model": {"genre=Horror", "genre=Drama", "not genre=Western"},
        "model, quoted": {"genre=Horror", "not genre=Western"},
        "both": {"genre=Horror", "genre=Comedy", "not genre=Western"},
    }
    assert list(readers(fake_dataset(), None)) == ["lexicon filter", "lexicon"]


def test_a_measurement_that_was_killed_goes_on_where_it_was(tmp_path: Path) -> None:
    file = tmp_path / "new" / "answers.jsonl"
    asked = [{"role": "user", "content": "scary 🎃"}]
    first = Answers(FakeChatModel(SCARY, RuntimeError("gone")), file)
    said = first.generate(asked, schema={"a": 1}, max_new_tokens=5)
    with pytest.raises(MessageError, match="RuntimeError: gone"):
        first.generate(asked, schema={"a": 2}, max_new_tokens=5)
    again = Answers(FakeChatModel(), file)
    assert again.generate(asked, schema={"a": 1}, max_new_tokens=5) == said
    assert (said.text, said.prompt_tokens) == (SCARY, 50)
    with pytest.raises(MessageError, match="RuntimeError: gone"):
        again.generate(asked, schema={"a": 2}, max_new_tokens=5)
    assert (again.n_asked, again.n_failed) == (2, 1)
    assert again.seconds == first.seconds
    # a kill may have cut the last line short: that question is asked again
    lines = file.read_bytes().splitlines(keepends=True)
    file.write_bytes(lines[0] + lines[1][:40])
    cut = Answers(FakeChatModel("{}"), file)
    assert cut.n_asked == 1 and file.read_bytes() == lines[0]
    assert cut.generate(asked, schema={"a": 2}, max_new_tokens=5).text == "{}"
    assert Answers(FakeChatModel(), file).n_asked == 2
    file.write_bytes(lines[0][:40] + b"\n" + lines[0])
    with pytest.raises(DataError, match=r"Line 1 of .* is damaged"):
        Answers(FakeChatModel(), file)
    file.write_bytes(lines[0])
    other = FakeChatModel()
    other.name = "Other"
    with pytest.raises(DataError, match=r"of another run .*not Other"):
        Answers(other, file)


def test_likelihoods_are_kept_too_with_their_bill(tmp_path: Path) -> None:
    file, chat_model = tmp_path / "answers.jsonl", FakeScorer(words=("x",))
    first = Answers(chat_model, file)
    scores = first.score("a story", [" x", " longer"])
    assert scores == first.score("a story", [" x", " longer"]) == [10.0 - 2, -7.0]
    assert len(chat_model.scored) == 1 and first.usage.prompt_tokens == 200
    again = Answers(FakeScorer(), file)
    assert again.score("a story", [" x", " longer"]) == scores
    # what is read from the file is on the bill as if it had been asked
    assert (again.usage.prompt_tokens, again.n_asked) == (100, 1)
    broken = FakeScorer()
    broken.usage = None
    with pytest.raises(MessageError, match="AttributeError"):
        Answers(broken, file).score("another", [" x"])


def test_the_same_users_are_asked_at_every_level(data: Dataset) -> None:
    few = dataclasses.replace(data, interactions=data.interactions.select(range(40)))
    chosen = sample(few, simulate_utterances(few), "test", 5, seed=1)
    users = {
        group: set(rows["user"])
        for group, rows in chosen.frame.group_by(["level", "phrasing"], maintain_order=True)
    }
    assert len(users) == 8 and len({frozenset(of_one) for of_one in users.values()}) == 1
    assert len(next(iter(users.values()))) == 5


def test_the_record(data: Dataset, tmp_path: Path, monkeypatch, capsys) -> None:
    few = dataclasses.replace(data, interactions=data.interactions.select(range(40)))
    monkeypatch.setattr(extraction, "load_dataset", lambda name: few)
    empty = json.dumps({"genres": []})
    record = tmp_path / "extraction.json"
    main(["--n", "2", "--record", str(record)], chat_model=FakeChatModel(*[empty] * 16))
    content = json.loads(record.read_text(encoding="utf-8"))
    assert content["model"] == "Scripted" and content["split"] == "test"
    assert content["model_answers"]["asked"] <= 16 and content["model_answers"]["failed"] == 0
    assert "--n 2" in content["command"]
    rows = {(r["reader"], r["level"], r["phrasing"]): r for r in content["rows"]}
    assert len(rows) == 5 * 4 * 2
    assert rows["both", "plain", "test"]["recall"] == 1.0
    assert rows["model", "plain", "test"]["recall"] == 0.0
    shown = capsys.readouterr().out
    assert "paraphrased" in shown and "s] model, quoted" in shown
    main(["--n", "2", "--chat-model", "none", "--record", str(record)])
    content = json.loads(record.read_text(encoding="utf-8"))
    assert len(content["rows"]) == 2 * 4 * 2 and "model_answers" not in content
