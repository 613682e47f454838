"""The command that makes the paper's tables: shape, resumption, refusals."""

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest
import torch

from experiments import tables
from experiments.multi_turn import compared
from experiments.tables import METRICS, metric_values, table_4
from latentcrs_utils import run as command
from latentcrs_utils.baselines.rival import Named, Rival, in_order, prompted_rival
from latentcrs_utils.data.sequences import Dataset
from latentcrs_utils.em.instances import Instances
from latentcrs_utils.errors import ConfigError, DataError
from latentcrs_utils.evaluation.dialogues import Dialogue, Exchange, TokenUsage
from latentcrs_utils.evaluation.one_turn import EvalSet
from latentcrs_utils.evaluation.rivals import Rivals
from tests.evaluation.dialogue_world import N_USERS, Language, fitted_to


def test_metrics_gaps_and_intervals_by_hand() -> None:
    ranks = [
        {"LatentCRS+": np.array([1, 3, 50]), "deaf": np.array([6, 3, 50])},
        {"LatentCRS+": np.array([1, 7, 50]), "deaf": np.array([6, 3, 50])},
    ]
    ranks = [{name: of[:2] for name, of in of_seed.items()} for of_seed in ranks]
    ours, deaf = compared(ranks, metric_values, METRICS)
    assert (ours["n"], deaf["system"]) == (2, "deaf")
    assert ours["Recall@5"] == (1 + 0.5) / 2 and deaf["Recall@5"] == 0.5
    assert ours["NDCG@20"] == pytest.approx((1 + (1 / 2 + 1 / 3) / 2) / 2)
    assert deaf["Recall@5_gap"] == -0.25 and ours["Recall@5_gap_low"] == 0
    assert deaf["Recall@5_low"] <= deaf["Recall@5"] <= deaf["Recall@5_high"]


def test_both_readings_of_the_turns() -> None:
    def held(*successes: int | None) -> list[Dialogue]:
        return [Dialogue("B", user, 1, 0, success, ()) for user, success in enumerate(successes)]

    by_seed = [{"LatentCRS+": held(1, None), "deaf": held(None, None)}] * 2
    ours, deaf = table_4(by_seed)
    assert (ours["AT"], ours["AT_found"]) == (3.0, 1.0)
    assert (deaf["AT"], deaf["AT_found"]) == (5.0, None)


def test_a_text_that_was_read_before_costs_what_it_cost_then() -> None:
    def held(seconds: float) -> list[Dialogue]:
        usage = TokenUsage("embedding", 10, 1, seconds), TokenUsage("scoring", seconds=0.5)
        return [Dialogue("B", 0, 1, 0, None, (Exchange("a", (), (), "template", (), usage),))]

    by_seed = {name: [replace(d, system=name) for d in held(s)] for name, s in
               {"first": 2.0, "later": 0.0}.items()}  # fmt: skip
    assert [row["seconds_a_turn"] for row in tables._costs([by_seed])] == [2.5, 2.5]


@pytest.fixture
def small(world: Dataset, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The command on the small world, whose texts are made here; what was asked of the prompt."""
    language, asked = Language(), list[str]()
    frame = pl.DataFrame({"user": range(N_USERS)}).with_columns(
        level=pl.lit("paraphrased"), phrasing=pl.lit("test")
    )

    def cases(data: Dataset, backbone: object, language: object) -> EvalSet:
        histories = data.histories("test")
        targets = torch.from_numpy(data.targets("test").astype(np.int64))
        x = torch.zeros(len(targets), len(Language().mean))
        return EvalSet(
            Instances(backbone.encode(histories), x, targets, histories),
            ["a western"] * N_USERS, frame,
        )  # fmt: skip

    class Few:
        """One rival that asks and one that prompts."""

        check = Rivals.check

        def __init__(self, data: Dataset, fitted: object, *, seed: int, chat_model: object):
            self.data, self.missing, self.line_counts = data, {"CRM": "why"}, {"lines": 1}
            self.prompting = self.names = ["prompted"]

        def __getitem__(self, name: str) -> Rival:

            def prompt(scores, history, messages, n):
                asked.append(messages[-1])
                return Named((1, 2), (10, 3))

            return prompted_rival(name, self.data, prompt)

    for name, value in {
        "load_dataset": lambda name: world,
        "LocalChatModel": lambda name: SimpleNamespace(name=name),
        "prepare": lambda say, name, tests: (world, language),
        "fit_all": lambda data, language, **_: fitted_to(data, language),
        "one_turn_cases": cases,
        "Rivals": Few,
        "LEVELS": ("paraphrased",),
    }.items():
        monkeypatch.setattr(tables, name, value)
    monkeypatch.setattr(tables.multi_turn, "identity_of", lambda fitted: "small")
    return asked


def run(file: Path, *arguments: object) -> dict:
    """What the command records."""
    tables.main([*map(str, arguments), "--record", str(file)])
    return json.loads(file.read_text(encoding="utf-8"))


def test_the_command_makes_every_table_and_goes_on(small: list[str], tmp_path: Path) -> None:
    file, logs = tmp_path / "record.json", tmp_path / "logs"
    few = ["--sample", 12, "--asked", 4, "--talking", 7]
    options = [*few, "--logs", logs, "--chat-model", "writer"]
    record = run(file, *options)
    assert {row["n"] for row in record["table_2"]["masked"]} == {N_USERS}
    assert (record["table_3"][0]["n"], record["table_3_asked"][0]["n"]) == (12, 4)
    asked = {row["system"]: row for row in record["table_3_asked"]}
    assert "prompted" in asked and "prompted" not in {r["system"] for r in record["table_3"]}
    assert asked["LatentCRS+"]["NDCG@20_gap"] == 0
    talks = {row["system"]: row["n"] for row in record["table_4_asked"]}
    assert talks["prompted"] == 4 and {row["n"] for row in record["table_4"]} == {7}
    costs = {row["system"]: row for row in record["table_6_asked"]}
    assert costs["prompted"]["prompt_tokens_a_turn"] == 10
    assert record["answers"]["lines"] == {"lines": 1} and record["missing"] == {"CRM": "why"}
    n_asked = len(small)
    later = run(file, "--tables", 2)["commands"]
    assert later["table_2"].endswith(f"--tables 2 --record {file}")
    assert later["table_4"] == record["command"]
    again = run(file, *options)
    assert len(small) == n_asked + 4  # one turn is asked again, the dialogues are there
    assert again["table_4_asked"] == record["table_4_asked"]
    alone = run(file, "--systems", "prompted", *options, "--talking", 3)
    assert alone["table_4"] == record["table_4"]


def test_an_unknown_system_and_one_that_cannot_run_are_named(small: list[str]) -> None:
    with pytest.raises(ConfigError, match=r"no system 'EAR'\. Known: prompted"):
        tables.main(["--systems", "EAR"])
    with pytest.raises(ConfigError, match="CRM cannot run here: why"):
        tables.main(["--systems", "CRM"])
    with pytest.raises(ConfigError, match="--endpoint needs --chat-model"):
        tables.main(["--endpoint", "http://127.0.0.1:9/v1"])
    for senseless in (["--sample", "0"], ["--asked", "-1"], ["--talking", "0"], ["--seeds", "-1"]):
        with pytest.raises(ConfigError, match=f"{senseless[0]} .*(leaves no user|below 0)"):
            tables.main(senseless)
    with pytest.raises(ConfigError, match="is a file: give a folder"):
        tables.main(["--logs", __file__])


@pytest.mark.parametrize("text", ["{", "[1]", "3", '{"level": "plain"}'])
def test_a_file_that_is_no_record_is_left_as_it_is(small, tmp_path: Path, text: str) -> None:
    file = tmp_path / "record.json"
    file.write_text(text)
    with pytest.raises(DataError, match=r"is (no record|of another setting)"):
        run(file, "--sample", 4)
    assert file.read_text() == text


def test_what_is_not_named_gains_nothing_by_a_tie() -> None:
    alone = in_order((3, 1), None, 5)
    assert alone.argsort(descending=True, stable=True)[:2].tolist() == [3, 1]
    assert alone[2] == alone[4] < alone[1]
    filled = in_order((3,), torch.tensor([-np.inf, 5.0, 7.0, 1.0, 6.0]), 5)
    assert filled.argsort(descending=True).tolist() == [3, 2, 4, 1, 0]


@pytest.mark.parametrize("tests", ["all", "unseen", [3, 5]])
def test_which_test_texts_are_read(world: Dataset, monkeypatch: pytest.MonkeyPatch, tests) -> None:
    monkeypatch.setattr(command, "load_dataset", lambda name: world)
    monkeypatch.setattr(command, "embed", lambda utterances: utterances)
    every, some = (command.prepare(print, "toy", which)[1].frame for which in ("all", tests))
    ways = {(split, how): set(rows["user"]) for (split, how), rows in
            some.group_by("split", "phrasing")}  # fmt: skip
    told = every.filter(split="test", phrasing="test")["user"].unique()
    assert ways["test", "test"] == ({3, 5} if tests == [3, 5] else {*told})
    assert (("test", "train") in ways) == (("test_turns", "test") in ways) == (tests == "all")
    for split in ("train", "valid"):
        assert some.filter(split=split).equals(every.filter(split=split))
