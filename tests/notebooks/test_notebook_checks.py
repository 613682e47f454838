"""The verdicts that notebooks print."""

import numpy as np
import pytest
import torch

from course import checks
from latentcrs_utils.errors import AssetError


def said(capsys):
    return capsys.readouterr().out


@pytest.mark.parametrize("condition", [True, torch.tensor([True, True]), np.bool_(True)])
def test_holds_says_ok(capsys, condition):
    checks.holds("it rains", condition)
    assert said(capsys) == "it rains: ok\n"


@pytest.mark.parametrize("condition", [False, torch.tensor([True, False])])
def test_holds_says_no(capsys, condition):
    checks.holds("it rains", condition)
    assert said(capsys) == "it rains: NO\n"


def test_equal_accepts_small_and_names_large_differences(capsys):
    checks.equal("same", torch.ones(2), [1.0, 1.0 + 1e-7])
    checks.equal("same", torch.ones(2), [1.0, 1.5])
    checks.equal("same", torch.ones(2), torch.ones(1, 2))
    checks.equal("same", float("nan"), float("nan"))
    checks.equal("same", -torch.inf, -torch.inf)
    first, second, third, fourth, fifth = said(capsys).splitlines()
    assert first == fifth == "same: ok"
    assert second == "same: NO (they differ by up to 0.5)"
    assert third.startswith("same: NO (shapes (2,) and (1, 2)")
    assert fourth.startswith("same: NO")


def test_within_shows_the_number_only_when_it_is_out(capsys):
    checks.within("NDCG", 0.11, 0.1, 0.12)
    checks.within("NDCG", 0.13, 0.1, 0.12)
    assert said(capsys) == "NDCG within 0.1 to 0.12: ok\nNDCG within 0.1 to 0.12: NO (it is 0.13)\n"


def test_environment_is_well_here(model_dir):
    lines = checks.environment()
    assert all(line.startswith("[OK] ") for line in lines), lines
    assert any("torch" in line for line in lines) and any("MovieLens" in line for line in lines)


def test_environment_says_what_to_do(monkeypatch, tmp_path):
    monkeypatch.setenv("LATENTCRS_CACHE", str(tmp_path))
    monkeypatch.setattr("importlib.metadata.version", lambda name: "0.0.1")
    monkeypatch.setattr("latentcrs_utils.support.assets.fetch", _no_network)
    lines = checks.environment()
    assert any(line.startswith("[FAIL] torch") and "make setup" in line for line in lines)
    assert any(line.startswith("[FAIL] MovieLens") and "no network" in line for line in lines)


def _no_network(asset):
    raise AssetError("There is no network.")
