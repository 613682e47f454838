"""Table 4 with intervals, cold start, and the command that records them."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from experiments import multi_turn
from experiments.multi_turn import METRICS, evaluate_dialogues, log_name, main, summarise
from latentcrs_utils.data.sequences import Dataset
from latentcrs_utils.errors import ConfigError
from latentcrs_utils.evaluation.dialogues import Dialogue, read_dialogues
from latentcrs_utils.evaluation.multi_turn import Setting
from latentcrs_utils.language.chat_model import ScriptedChatModel
from tests.conversation.fakes import FakeScorer, fake_model
from tests.evaluation.dialogue_world import N_ITEMS, N_USERS, Language, noise, oracle, reader

USERS = range(N_USERS)


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


def test_all_users_alike_leave_no_doubt(world: Dataset) -> None:
    systems = {"LatentCRS+": oracle(world, 2), "fourth turn": oracle(world, 4)}
    dialogues = evaluate_dialogues(world, systems, USERS, Setting())
    second, late = summarise([dialogues]).to_dicts()
    assert [second[m] for m in METRICS] == [1, 1, 2]
    assert [late[m] for m in METRICS] == [0, 1, 4]
    assert (late["AT_low"], late["AT_high"]) == (4, 4)
    assert (late["AT_gap_low"], late["AT_gap_high"]) == (2, 2) and late["S@3_gap"] == -1


def test_each_system_and_setting_has_a_log(world: Dataset, tmp_path: Path) -> None:
    systems = {"LatentCRS+": reader(), "noise": noise(0)}
    for known in (None, 1):
        setting = Setting("changes its mind", "plain", known=known)
        dialogues = evaluate_dialogues(world, systems, USERS, setting, logs=tmp_path)
        for name, of_system in dialogues.items():
            log = tmp_path / log_name("ml-fake", name, setting, N_USERS)
            assert read_dialogues(log) == of_system
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        f"ml-fake_{name}_30-users_changes-its-mind_plain_seed0_known-{known}.jsonl"
        for name in ("LatentCRS+", "noise")
        for known in ("1", "all")
    ]


@pytest.fixture
def command(world: Dataset, fitted_with, monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """The command on the small world; what is fitted, and asked, is noted."""
    asked: list[object] = []

    model = fake_model(N_ITEMS)

    def scores(S, x):
        asked.append(len(S))
        return model.scores(S, x)

    def fit_all(data, language, *, seed, say):
        asked.append(f"fit {seed}")
        return fitted_with(data, language, SimpleNamespace(scores=scores))

    monkeypatch.setattr(multi_turn, "load_dataset", lambda name: world)
    monkeypatch.setattr(multi_turn, "simulate_utterances", lambda data, *, seed: None)
    monkeypatch.setattr(multi_turn, "embed", lambda utterances: Language())
    monkeypatch.setattr(multi_turn, "fit_all", fit_all)
    monkeypatch.setattr(multi_turn, "identity_of", lambda fitted: "small")
    return asked


def test_the_command_records_what_it_measures(
    command: list[object], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "record.json"
    arguments = [
        "--users", "12", "--difficulty", "normal", "picky", "--level", "plain", "--seeds", "0",
        "1", "--known", "0", "all", "--record", str(file), "--logs", str(tmp_path / "logs"),
    ]  # fmt: skip
    main(arguments)
    written = json.loads(file.read_text())
    assert written["command"].endswith(" ".join(arguments)) and written["users"] == 12
    assert (written["simulator"], written["phrasing"]) == ("template", "test")
    places = [(r["difficulty"], r["level"], r["known"]) for r in written["results"]]
    assert places == [(d, "plain", k) for d in ("normal", "picky") for k in (0, "all")]
    for result in written["results"]:
        rows = {row["system"]: row for row in result["systems"]}
        assert len(rows) == 9
        assert all(r["S@3"] <= r["S@5"] and 1 <= r["AT"] <= 5 for r in rows.values())
        assert rows["LatentCRS+"]["S@5_gap"] == 0 and rows["popularity"]["S@5_gap"] is not None
        assert result["outcomes"].keys() == rows.keys()
        for name, of_seeds in result["outcomes"].items():
            turns = [[int(digit) for digit in of_seed] for of_seed in of_seeds]
            assert np.shape(turns) == (2, 12)
            found = np.not_equal(turns, 0)
            assert rows[name]["S@5"] == pytest.approx(found.mean(), abs=1e-4)
            counted = np.where(found, turns, 5)
            assert rows[name]["AT"] == pytest.approx(counted.mean(), abs=1e-4)
        usage = {(row["system"], row["purpose"]): row for row in result["ledger"]}
        assert usage["LatentCRS+", "embedding"]["completion_tokens_a_turn"] == 1
        assert ("popularity", "embedding") not in usage
    assert "LatentCRS+" in capsys.readouterr().out
    # two seeds, four settings, nine systems
    assert len(list((tmp_path / "logs").iterdir())) == 2 * 4 * 9
    # again: everything is in the logs
    before = [entry for entry in command if isinstance(entry, int)]
    main(arguments)
    assert [entry for entry in command if isinstance(entry, int)] == before
    again = json.loads(file.read_text())
    assert again["results"] == written["results"]


def test_systems_may_be_chosen_on_validation_users(
    command: list[object], world: Dataset, tmp_path: Path
) -> None:
    logs, file = tmp_path / "logs", tmp_path / "r.json"
    common = ["--systems", "text alone", "--users", "4", "--logs", str(logs)]
    main([*common, "--record", str(file)])
    written = json.loads(file.read_text())
    assert (written["split"], written["phrasing"]) == ("test", "test")
    (tested,) = logs.glob("*.jsonl")
    main([*common, "--split", "valid", "--record", str(file)])
    written = json.loads(file.read_text())
    assert (written["split"], written["phrasing"]) == ("valid", "valid")
    (valid,) = set(logs.glob("*.jsonl")) - {tested}
    assert valid.name == tested.name.replace("4-users", "4-valid-users")
    for dialogue in read_dialogues(valid):
        assert dialogue.target == world.targets("valid")[dialogue.user]


def test_the_command_knows_its_systems(command: list[object], tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"'GPT4'.*: popularity, item-kNN"):
        main(["--systems", "LatentCRS", "GPT4"])
    main(["--systems", "LatentCRS", "--users", "3", "--record", str(tmp_path / "r.json")])
    (result,) = json.loads((tmp_path / "r.json").read_text())["results"]
    assert [row["system"] for row in result["systems"]] == ["LatentCRS"]
    assert result["systems"][0]["AT_gap"] is None


def test_variants_that_ask_a_language_model_take_part_when_they_are_named(
    command: list[object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    named: list[str] = []
    form = json.dumps({"genres": [], "not_genres": [], "years": []})

    def chat_model(model: str) -> FakeScorer:
        named.append(model)
        return FakeScorer(*[form] * 200, words=("Western",))

    monkeypatch.setattr(multi_turn, "LocalChatModel", chat_model)
    file, logs = tmp_path / "r.json", tmp_path / "logs"
    common = ["--users", "6", "--level", "plain", "--record", str(file), "--logs", str(logs)]
    main(["--systems", "LatentCRS+", *common])
    assert named == []
    asked = ["LatentCRS+ V", "LatentCRS+ F (model)"]
    main(["--systems", "LatentCRS+", *asked, "--chat-model", "tiny", *common])
    assert named == ["tiny"]
    (result,) = json.loads(file.read_text())["results"]
    rows = {row["system"]: row for row in result["systems"]}
    assert list(rows) == ["LatentCRS+", *asked] and rows["LatentCRS+ V"]["S@5_gap"] is not None
    usage = {(row["system"], row["purpose"]): row for row in result["ledger"]}
    assert usage["LatentCRS+ V", "re-ranking"]["prompt_tokens_a_turn"] == 100
    assert usage["LatentCRS+ F (model)", "extraction"]["prompt_tokens_a_turn"] == 50
    # embedding and re-ranking together are what choosing the items takes
    together = usage["LatentCRS+ V", "recommending"]["prompt_tokens_a_turn"]
    embedded = usage["LatentCRS+", "embedding"]["prompt_tokens_a_turn"]
    assert together > embedded > 0
    assert (logs / "ml-fake_readings_Scripted.jsonl").exists()
    written = json.loads(file.read_text())
    assert written["chat_model"] == "Scripted" and written["rerank"]["n_candidates"] >= 2


def test_a_language_model_may_play_the_users(
    command: list[object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chat_model = ScriptedChatModel(
        ["I would like to be surprised by you.", "Not those, please go on."]
    )
    monkeypatch.setattr(multi_turn, "LocalChatModel", lambda model: chat_model)
    file = tmp_path / "r.json"
    main(["--systems", "LatentCRS", "--users", "3", "--prompted", "tiny", "--record", str(file)])
    written = json.loads(file.read_text())
    assert written["simulator"] == "prompt, tiny"
    purposes = {row["purpose"] for row in written["results"][0]["ledger"]}
    assert purposes == {"embedding", "scoring", "user", "recommending"}
    assert np.any(
        ["surprised" in message["content"] for call in chat_model.asked for message in call]
    )
