"""The doctor finds what is wrong, and the files around the package agree with one another."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from latentcrs_utils.support import assets
from tools import doctor

ROOT = Path(__file__).resolve().parents[2]


def test_a_healthy_installation(data, model_dir, capsys: pytest.CaptureFixture) -> None:
    assert doctor.main() == 0
    lines = capsys.readouterr().out.splitlines()
    assert any(line.startswith("[OK]   torch 2.13.0") for line in lines)
    assert "[OK]   SmolLM2-135M-Instruct is in the cache, hash verified" in lines
    assert "[OK]   all " in "\n".join(lines)
    assert lines[-1] == "All is well."


def test_an_empty_cache_is_no_failure_while_it_can_be_filled(
    empty_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor, "check_network", lambda: doctor.Check(True, "reached"))
    found = list(doctor.checks_of_cache())
    assert not [check for check in found if check.passed is False]
    assert [str(check).startswith("[--]   ") for check in found].count(True) == 3
    assert "\n".join(map(str, found)).count("       -> it is fetched at its first use") == 3


@pytest.mark.parametrize(("own_files", "passed"), [(False, False), (True, None)])
def test_an_empty_cache_without_a_network(
    empty_cache: Path, tmp_path: Path, monkeypatch, own_files: bool, passed: bool | None
) -> None:
    """Pip itself finds no index: nothing listens there, and no configuration names another."""
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    for name in ("PIP_EXTRA_INDEX_URL", "PIP_FIND_LINKS", "LATENTCRS_DATA"):
        monkeypatch.delenv(name, raising=False)
    if own_files:
        monkeypatch.setenv("LATENTCRS_DATA", str(tmp_path))
    *_, network = doctor.checks_of_cache()
    assert "package index" in network.subject and "LATENTCRS_DATA" in network.remedy
    assert network.passed is passed


def test_a_folder_of_own_files_that_is_not_there(
    empty_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LATENTCRS_DATA", str(tmp_path / "nowhere"))
    first = next(doctor.checks_of_cache())
    assert str(first).startswith("[FAIL] LATENTCRS_DATA=")


def test_a_damaged_asset_is_not_taken_for_one(empty_cache: Path) -> None:
    folder = empty_cache / "assets" / assets.MOVIELENS_100K.folder
    folder.mkdir(parents=True)
    for member in assets.MOVIELENS_100K.members:
        (folder / member.name).write_bytes(bytes(member.size))
    first = next(doctor.check_assets())
    assert first.passed is None
    assert "not in the cache" in first.subject


def test_an_old_python() -> None:
    assert not doctor.check_python((3, 10, 4)).passed
    assert doctor.check_python((3, 12, 0)).passed
    assert "3.11" in doctor.check_python((3, 9, 1)).remedy


def test_missing_and_other_versions(monkeypatch: pytest.MonkeyPatch) -> None:
    missing, other = doctor.check_packages({"pytest": "0.0.1", "no-such-package-here": "1.0"})
    assert missing.passed is False and "no-such-package-here" in missing.subject
    assert re.match(r"\[FAIL\] pytest [\d.]+ instead of 0\.0\.1", str(other))
    assert "pytest==0.0.1" in other.remedy
    # no environment at all is one line
    (check,) = doctor.check_packages({"no-such-package-here": "1.0", "nor-this-one": "2.0"})
    assert check.passed is False and "2 pinned" in check.subject
    # a build's suffix is no other version
    monkeypatch.setattr(doctor.importlib.metadata, "version", lambda name: "2.13.0+cpu")
    (check,) = doctor.check_packages({"torch": "2.13.0"})
    assert check.passed


BROKEN = {
    "a library that does not load": ("raise OSError('libfoo.so: no such file')", "OSError: libfoo"),
    "a library that ends Python": ("import os; os.abort()", "it ends Python with status"),
    "a library that leaves Python": ("raise SystemExit('no')", "SystemExit: no"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_package_of_the_right_version_that_does_not_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, case: str
) -> None:
    source, expected = BROKEN[case]
    (tmp_path / "rapidfuzz.py").write_text(source, encoding="utf-8")
    (check,) = doctor.check_imports(["pyyaml", "rapidfuzz"])
    assert str(check) == "[OK]   all 2 packages can be imported"
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    (check,) = doctor.check_imports(["pyyaml", "rapidfuzz"])
    assert check.passed is False
    assert check.subject.startswith(f"rapidfuzz cannot be imported ({expected}")
    assert "pip install --force-reinstall --no-deps rapidfuzz==" in check.remedy


def test_imports_that_never_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "rapidfuzz.py").write_text("import time; time.sleep(60)", encoding="utf-8")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    (check,) = doctor.check_imports(["rapidfuzz"], seconds=2)
    assert check.passed is False
    assert "took more than 2 s" in check.subject


def test_a_broken_library_does_not_end_the_doctor(tmp_path: Path) -> None:
    """The whole program, with a torch that ends every process that imports it."""
    (tmp_path / "torch.py").write_text("import os; os.abort()", encoding="utf-8")
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    command = [sys.executable, str(ROOT / "tools" / "doctor.py")]
    run = subprocess.run(command, capture_output=True, encoding="utf-8", env=environment)
    assert run.returncode == 1
    assert "cannot be imported (it ends Python with status" in run.stdout
    assert run.stdout.endswith("1 to mend, see the arrows above.\n")


def test_a_cache_that_cannot_be_written(tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    monkeypatch.setenv("LATENTCRS_CACHE", str(tmp_path / "file" / "cache"))
    *_, check = doctor.checks_of_cache()
    assert check.passed is False
    assert str(tmp_path / "file") in check.subject and "LATENTCRS_CACHE" in check.remedy


def test_a_full_disk(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "cache"
    full = doctor.check_disk(folder, 10**18, "the cache", "free some space")
    assert re.match(r"\[FAIL\] [\d.]+ GB free for the cache \(needs 1000000000\)", str(full))
    assert doctor.check_disk(folder, 1, "the cache", "").passed
    assert not folder.exists()


def test_little_memory_and_a_missing_chromium_stop_nothing(tmp_path: Path, monkeypatch) -> None:
    (memory,) = doctor.check_memory(needed=10**18)
    monkeypatch.setenv("PATH", str(tmp_path))
    for check in (memory, doctor.check_chromium()):
        assert check.passed is None and str(check).startswith("[--]   ") and check.remedy


def test_the_package_of_another_checkout(monkeypatch: pytest.MonkeyPatch) -> None:
    assert doctor.check_package().passed
    monkeypatch.setattr(doctor, "ROOT", ROOT / "elsewhere")
    assert "this checkout is" in doctor.check_package().remedy
    assert not doctor.check_package().passed


def test_the_doctor_runs_without_any_package() -> None:
    # -S: no site-packages, as in an environment where nothing is installed
    command = [sys.executable, "-I", "-S", str(ROOT / "tools" / "doctor.py")]
    run = subprocess.run(command, capture_output=True, encoding="utf-8")
    assert run.returncode == 1
    assert "[FAIL] none of the" in run.stdout
    assert "GB free for the environment" in run.stdout
    assert run.stderr == ""


def test_every_make_target_is_documented_and_phony() -> None:
    text = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z-]+):", text, re.MULTILINE))
    documented = set(re.findall(r"^([a-z-]+):.*## ", text, re.MULTILINE))
    phony = set(re.search(r"^\.PHONY: (.*)$", text, re.MULTILINE)[1].split())
    asked = {"run", "test", "lab", "chat", "notebooks", "bench", "doctor", "results"}
    assert asked <= targets == documented == phony
