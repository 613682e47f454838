"""Table 4 with intervals, cold start, and the command that records them."""

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from experiments import multi_turn
from experiments.multi_turn import METRICS, RERANKED, evaluate_dialogues, main, summarise
from latentcrs_utils.data.sequences import Dataset
from latentcrs_utils.errors import ConfigError
from latentcrs_utils.evaluation.dialogues import Dialogue, read_dialogues
from latentcrs_utils.evaluation.multi_turn import Setting
from tests.conversation.fakes import FakeScorer, fake_model
from tests.evaluation.dialogue_world import N_ITEMS, N_USERS, Language, fitted_to, noise, reader


def held(*successes: int | None) -> list[Dialogue]:
    return [Dialogue("B", user, 1, 0, success, ()) for user, success in enumerate(successes)]


def test_the_table_by_hand() -> None:
    by_seed = [
        {"LatentCRS+": held(1, 3, 5, None), "deaf": held(None, 4, 5, None)},
        {"LatentCRS+": held(1, 5, 5, None), "deaf": held(None, None, 5, None)},
    ]
    ours, deaf = summarise(by_seed).to_dicts()
    assert (ours["system"], ours["n"]) == ("LatentCRS+", 4)
    # user 1 succeeds within three turns for one of two seeds
    assert ours["S@3"] == (1 + 0.5) / 4 and ours["S@5"] == 0.75
    assert ours["AT"] == (1 + 4 + 5 + 5) / 4 and deaf["AT"] == (5 + 4.5 + 5 + 5) / 4
    assert all(ours[f"{m}_low"] <= ours[m] <= ours[f"{m}_high"] for m in METRICS)
    assert all(ours[f"{m}_gap"] == 0 for m in METRICS)
    assert deaf["S@5_gap"] == pytest.approx(1.5 / 4 - 0.75)
    assert deaf["AT_gap_low"] <= deaf["AT_gap"] == 1.125 <= deaf["AT_gap_high"]
    (alone,) = summarise([{"deaf": of_seed["deaf"]} for of_seed in by_seed]).to_dicts()
    assert alone["S@3_gap"] is None and alone["S@3"] == deaf["S@3"]


def test_each_system_and_setting_has_a_log(world: Dataset, tmp_path: Path) -> None:
    setting = Setting("changes its mind", "plain", known=1)
    systems = {"LatentCRS+": reader(), "noise": noise(0)}
    for name, of_system in evaluate_dialogues(
        world, systems, range(N_USERS), setting, logs=tmp_path
    ).items():
        log = tmp_path / f"ml-fake_{name}_30-users_changes-its-mind_plain_seed0_known-1.jsonl"
        assert read_dialogues(log) == of_system


@pytest.fixture
def asked(world: Dataset, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The command on the small world; how many dialogues the models are asked about at once."""
    asked, model = [], fake_model(N_ITEMS)
    noted = SimpleNamespace(scores=lambda S, x, t: asked.append(len(S)) or model.scores(S, x, t))
    for name, value in {
        "prepare": lambda say, name, tests: (world, Language()),
        "fit_all": lambda data, language, **_: fitted_to(data, language, noted),
    }.items():
        monkeypatch.setattr(multi_turn, name, value)
    monkeypatch.setattr(multi_turn.multi_turn, "identity_of", lambda fitted: "small")
    return asked


def run(file: Path, *arguments: object) -> dict:
    """What the command records."""
    main([*map(str, arguments), "--record", str(file)])
    return json.loads(file.read_text(encoding="utf-8"))


def test_the_command_records_what_it_measures(asked: list[int], tmp_path: Path, capsys) -> None:
    file, logs = tmp_path / "record.json", tmp_path / "logs"
    arguments = [
        "--users", 12, "--difficulty", "normal", "picky", "--level", "plain", "--seeds", 0, 1,
        "--known", 0, "all", "--logs", logs,
    ]  # fmt: skip
    written = run(file, *arguments)
    assert f"{' '.join(map(str, arguments))} --record {file}" in written["command"]
    assert (written["users"], written["simulator"], written["phrasing"]) == (12, "template", "test")
    places = [(r["difficulty"], r["level"], r["known"]) for r in written["results"]]
    assert places == [(d, "plain", k) for d in ("normal", "picky") for k in (0, "all")]
    for result in written["results"]:
        rows = {row["system"]: row for row in result["systems"]}
        assert len(rows) == 11 and result["outcomes"].keys() == rows.keys()
        assert all(r["S@3"] <= r["S@5"] and 1 <= r["AT"] <= 5 for r in rows.values())
        assert rows["LatentCRS+"]["S@5_gap"] == 0 and rows["popularity"]["S@5_gap"] is not None
        for name, of_seeds in result["outcomes"].items():
            turns = np.array([[*map(int, of_seed)] for of_seed in of_seeds])
            assert turns.shape == (2, 12)
            expected = {"S@5": (turns > 0).mean(), "AT": np.where(turns > 0, turns, 5).mean()}
            assert {m: rows[name][m] for m in expected} == pytest.approx(expected, abs=1e-4)
        usage = {(row["system"], row["purpose"]): row for row in result["ledger"]}
        assert usage["LatentCRS+", "embedding"]["completion_tokens_a_turn"] == 1
        assert ("popularity", "embedding") not in usage
    assert "LatentCRS+" in capsys.readouterr().out
    # two seeds, four settings, eleven systems
    assert len(list(logs.iterdir())) == 2 * 4 * 11
    # again: everything is in the logs
    n_asked = len(asked)
    assert run(file, *arguments)["results"] == written["results"] and len(asked) == n_asked


@pytest.mark.usefixtures("asked")
def test_systems_may_be_named_and_chosen_on_validation_users(world, tmp_path: Path) -> None:
    logs = tmp_path / "logs"
    for split, who in (("test", "4-users"), ("valid", "4-valid-users")):
        common = ("--systems", "text alone", "--users", 4, "--logs", logs, "--split", split)
        written = run(tmp_path / "r.json", *common)
        assert (written["split"], written["phrasing"]) == (split, split)
        assert [row["system"] for row in written["results"][0]["systems"]] == ["text alone"]
        (log,) = logs.glob(f"*_{who}_*.jsonl")
        for dialogue in read_dialogues(log):
            assert dialogue.target == world.targets(split)[dialogue.user]
    with pytest.raises(ConfigError, match=r"'GPT4'.*: popularity, item-kNN"):
        main(["--systems", "LatentCRS", "GPT4"])


@pytest.mark.usefixtures("asked")
def test_a_language_model_takes_part_when_its_system_is_named(tmp_path, monkeypatch) -> None:
    named, chat_model = [], FakeScorer(words=("Western",))
    monkeypatch.setattr(multi_turn, "LocalChatModel", lambda m: named.append(m) or chat_model)
    file, logs = tmp_path / "r.json", tmp_path / "logs"
    common = ["--users", 6, "--level", "plain", "--logs", logs, "--systems", "LatentCRS+"]
    run(file, *common)
    assert named == []
    written = run(file, *common, RERANKED, "--chat-model", "tiny")
    assert named == ["tiny"]
    (result,) = written["results"]
    rows = {row["system"]: row for row in result["systems"]}
    assert list(rows) == ["LatentCRS+", RERANKED] and rows[RERANKED]["S@5_gap"] is not None
    read = {(r["system"], r["purpose"]): r["prompt_tokens_a_turn"] for r in result["ledger"]}
    assert read["LatentCRS+ V", "re-ranking"] == 100
    # embedding and re-ranking together are what choosing the items takes
    assert read["LatentCRS+ V", "recommending"] > read["LatentCRS+", "embedding"] > 0
    assert written["chat_model"] == "Scripted" and written["rerank"]["n_candidates"] >= 2
