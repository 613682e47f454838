"""Precision and recall of requirements: the counts, the model's answers, the record."""

import dataclasses
import json
from pathlib import Path

import polars as pl
import pytest

from experiments import extraction
from experiments.extraction import extraction_report, literally, main, message_by_message, readers
from latentcrs_utils.constraints.constraint import Constraint
from latentcrs_utils.constraints.extraction import make_extractor
from latentcrs_utils.data.sequences import Dataset
from latentcrs_utils.evaluation.dialogues import Answers
from latentcrs_utils.simulation.utterances import Utterances, simulate_utterances
from tests.conversation.fakes import FakeChatModel, fake_dataset

SCARY = json.dumps({"genres": [{"words": "scary", "value": "Horror"}]})


def table(texts: list[str], conditions: list[list[str]], **more) -> Utterances:
    same = {"level": ["plain"] * len(texts), "phrasing": ["test"] * len(texts)}
    return Utterances(pl.DataFrame({"text": texts, "conditions": conditions, **same, **more}))


def counted(*table_of: list) -> dict:
    """The one row of a report on such a table."""
    return extraction_report(table(*table_of), literally()).row(0, named=True)


def test_the_report_counts_by_hand() -> None:
    truth = [["genre=Comedy", "mood=light"], ["genre=Drama"], ["genre=Drama", "like=3"]]
    report = counted(["a comedy", "a comedy", "a weepie"], truth)
    # found: Comedy, Comedy; true: Comedy, Drama, Drama; hit: one
    assert (report["n_found"], report["n_true"], report["n_hit"]) == (2, 3, 1)
    assert report["utterances"] == 3 and report["found"] == pytest.approx(2 / 3)
    assert (report["precision"], report["recall"]) == pytest.approx((1 / 2, 1 / 3))
    for name in ("precision", "recall"):
        assert 0 <= report[f"{name}_low"] <= report[name] <= report[f"{name}_high"] <= 1


def test_the_report_has_no_number_where_there_is_nothing_to_divide() -> None:
    names = ("precision", "precision_high", "recall", "recall_low", "found")
    report = counted(["hello"], [["mood=light"]])
    assert [report[name] for name in names] == [None] * 4 + [0]


def test_groups_are_apart_and_each_dialogue_is_read_once() -> None:
    texts, asked = ["a comedy", "a comedy", "a drama"], []

    def reader(messages):
        asked.append(*messages)
        return literally()(messages)

    report = extraction_report(table(texts, [["genre=Comedy"]] * 3, level=["a", "b", "b"]), reader)
    assert dict(report.select("level", "precision").iter_rows()) == {"a": 1.0, "b": 0.5}
    assert asked == ["a comedy", "a drama"]


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
        if "classifier" not in name
    }
    assert len(chat_model.asked) == 1
    assert found == {
        "lexicon filter": {"genre=Horror", "genre=Comedy"},
        "lexicon": {"genre=Horror", "genre=Comedy"},
        "model": {"genre=Horror", "genre=Drama", "not genre=Western"},
        "model, quoted": {"genre=Horror", "not genre=Western"},
        "both": {"genre=Horror", "genre=Comedy", "not genre=Western"},
    }
    alone = ["lexicon filter", "lexicon", "classifier", "lexicon + classifier"]
    assert list(readers(fake_dataset(), None)) == alone


def test_the_record(data: Dataset, tmp_path: Path, monkeypatch) -> None:
    few = dataclasses.replace(data, interactions=data.interactions.select(range(40)))
    monkeypatch.setattr(extraction, "load_dataset", lambda name: few)
    # the same users at every level
    chosen = extraction.sample(few, simulate_utterances(few), "test", 5, seed=1).frame
    users = {frozenset(rows["user"]) for _, rows in chosen.group_by(["level", "phrasing"])}
    assert len(users) == 1 and len(next(iter(users))) == 5
    record = tmp_path / "extraction.json"
    chat_model = FakeChatModel(*[json.dumps({"genres": []})] * 16)
    main(["--n", "2", "--record", str(record)], chat_model)
    content = json.loads(record.read_text(encoding="utf-8"))
    assert (content["model"], content["split"]) == ("Scripted", "test")
    assert content["model_answers"]["asked"] <= 16 and content["model_answers"]["failed"] == 0
    assert "--n 2" in content["command"]
    rows = {(r["reader"], r["level"], r["phrasing"]): r for r in content["rows"]}
    assert len(rows) == 7 * 4 * 2
    assert rows["both", "plain", "test"]["recall"] == 1.0
    assert rows["model", "plain", "test"]["recall"] == 0.0
    main(["--n", "2", "--chat-model", "none", "--record", str(record)])
    content = json.loads(record.read_text(encoding="utf-8"))
    assert len(content["rows"]) == 4 * 4 * 2 and "model_answers" not in content
