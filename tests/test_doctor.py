"""The doctor finds what is wrong, and the files around the package agree with one another."""

from __future__ import annotations

import csv
import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest

from latentcrs_utils import assets

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def doctor():
    specification = importlib.util.spec_from_file_location("doctor", ROOT / "tools" / "doctor.py")
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def test_a_healthy_installation(doctor, data, model_dir, capsys: pytest.CaptureFixture) -> None:
    assert doctor.main() == 0
    lines = capsys.readouterr().out.splitlines()
    assert any(line.startswith("[OK]   torch 2.13.0") for line in lines)
    assert "[OK]   SmolLM2-135M-Instruct is in the cache, hash verified" in lines
    assert lines[-1] == "All is well."


def test_an_empty_cache_is_told_what_to_do(
    doctor, empty_cache: Path, capsys: pytest.CaptureFixture
) -> None:
    assert doctor.main() == 1
    out = capsys.readouterr().out
    assert out.count("[FAIL]") == 2
    assert out.count("       -> `make run` fetches it") == 2


def test_an_old_python(doctor) -> None:
    assert not doctor.check_python((3, 10, 4)).passed
    assert doctor.check_python((3, 12, 0)).passed
    assert "install Python 3.11" in str(doctor.check_python((3, 9, 1)))


def test_missing_and_other_versions(doctor) -> None:
    pins = {"pytest": "0.0.1", "no-such-package-here": "1.0"}
    missing, other = doctor.check_packages(pins)
    assert str(missing).startswith("[FAIL] no-such-package-here is not installed")
    assert re.match(r"\[FAIL\] pytest [\d.]+ instead of 0\.0\.1", str(other))


def test_a_build_suffix_is_no_other_version(doctor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor.importlib.metadata, "version", lambda name: "2.13.0+cpu")
    (check,) = doctor.check_packages({"torch": "2.13.0"})
    assert check.passed


def test_every_dependency_is_pinned_exactly(doctor) -> None:
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    block = text[text.index("dependencies = [") : text.index("[tool.")]
    listed = re.findall(r'"([\w.-]+[^"]*)"', block)
    pins = doctor.pinned(ROOT / "pyproject.toml")
    assert len(listed) == len(pins)
    assert pins["torch"] == "2.13.0"
    assert pins["nbval"] == "0.11.0"


def test_a_cache_that_cannot_be_written_and_a_full_disk(doctor, tmp_path: Path) -> None:
    in_the_way = tmp_path / "file"
    in_the_way.write_text("")
    check = doctor.check_writable(in_the_way / "cache")
    assert not check.passed
    assert "LATENTCRS_CACHE" in check.remedy
    assert not doctor.check_disk(tmp_path / "new" / "cache", needed=10**18).passed


def test_the_doctor_runs_without_any_package() -> None:
    # -S: no site-packages, as in an environment where nothing is installed
    command = [sys.executable, "-I", "-S", str(ROOT / "tools" / "doctor.py")]
    run = subprocess.run(command, capture_output=True, text=True)
    assert run.returncode == 1
    assert "[FAIL] torch is not installed" in run.stdout
    assert run.stderr == ""


@pytest.mark.parametrize("asset", [assets.MOVIELENS_100K, assets.SMOLLM2])
def test_data_readme_names_the_hashes_that_are_checked(asset: assets.WheelAsset) -> None:
    text = (ROOT / "data" / "README.md").read_text(encoding="utf-8")
    assert f"{asset.package}=={asset.version}" in text
    for name, digest in [
        (asset.wheel, asset.sha256),
        *((member.name, member.sha256) for member in asset.members),
    ]:
        assert f"| `{name}` | `{digest}` |" in text


def test_the_example_data_follows_the_format_it_documents() -> None:
    folder = ROOT / "data" / "example"
    with (folder / "items.csv").open(encoding="utf-8", newline="") as file:
        items = list(csv.DictReader(file))
    with (folder / "interactions.csv").open(encoding="utf-8", newline="") as file:
        interactions = list(csv.DictReader(file))
    assert list(items[0]) == ["item", "title", "year", "genres"]
    assert list(interactions[0]) == ["user", "item", "rating", "timestamp"]
    assert {row["item"] for row in interactions} <= {row["item"] for row in items}
    assert all(row["title"] and (not row["year"] or row["year"].isdigit()) for row in items)
    assert all(float(row["rating"]) > 0 and row["timestamp"].isdigit() for row in interactions)
    counts = [row["user"] for row in interactions]
    assert min(counts.count(user) for user in set(counts)) >= 5


def test_every_make_target_is_documented_and_phony() -> None:
    text = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z-]+):", text, re.MULTILINE))
    documented = set(re.findall(r"^([a-z-]+):.*## ", text, re.MULTILINE))
    phony = set(re.search(r"^\.PHONY: (.*)$", text, re.MULTILINE)[1].split())
    asked = {"run", "test", "lab", "chat", "notebooks", "bench", "doctor", "results"}
    assert asked <= targets == documented == phony
