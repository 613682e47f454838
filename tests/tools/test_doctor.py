"""The doctor finds what is wrong, and the files around the package agree with one another."""

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
    assert "[OK]   SmolLM2-135M-Instruct is in the cache, hash verified" in lines
    assert not [line for line in lines if line.startswith("[FAIL]")]


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
    # a damaged asset is not taken for one
    folder = empty_cache / "assets" / assets.MOVIELENS_100K.folder
    folder.mkdir(parents=True)
    for member in assets.MOVIELENS_100K.members:
        (folder / member.name).write_bytes(bytes(member.size))
    *_, first, second, third, network = doctor.checks_of_cache()
    assert {check.passed for check in (first, second, third)} == {None}
    assert network.passed is passed


def test_missing_and_other_versions(monkeypatch: pytest.MonkeyPatch) -> None:
    missing, other = doctor.check_packages({"pytest": "0.0.1", "no-such-package-here": "1.0"})
    assert missing.passed is other.passed is False
    assert "no-such-package-here" in missing.subject and "pytest==0.0.1" in other.remedy
    # no environment at all is one line
    (check,) = doctor.check_packages({"no-such-package-here": "1.0", "nor-this-one": "2.0"})
    assert check.passed is False
    # a build's suffix is no other version
    monkeypatch.setattr(doctor.importlib.metadata, "version", lambda name: "2.13.0+cpu")
    assert [check.passed for check in doctor.check_packages({"torch": "2.13.0"})] == [True]


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("raise OSError('libfoo.so: no such file')", "OSError: libfoo"),
        ("import os; os.abort()", "it ends Python with status"),
        ("raise SystemExit('no')", "SystemExit: no"),
        ("import time; time.sleep(60)", "took more than"),
    ],
)
def test_a_package_of_the_right_version_that_does_not_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str, expected: str
) -> None:
    (tmp_path / "rapidfuzz.py").write_text(source, encoding="utf-8")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    seconds = 2 if "sleep" in source else 300
    (check,) = doctor.check_imports(["pyyaml", "rapidfuzz"], seconds)
    assert check.passed is False and expected in check.subject


def test_what_this_machine_lacks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    monkeypatch.setenv("LATENTCRS_CACHE", str(tmp_path / "file" / "cache"))
    monkeypatch.setenv("LATENTCRS_DATA", str(tmp_path / "nowhere"))
    assert [check.passed for check in doctor.checks_of_cache()] == [False, False]
    folder = tmp_path / "new" / "cache"
    assert not doctor.check_disk(folder, 10**18, "the cache", "").passed
    assert doctor.check_disk(folder, 1, "the cache", "").passed and not folder.exists()
    assert not doctor.check_python((3, 10, 4)).passed and doctor.check_python((3, 12, 0)).passed
    # little memory and a missing Chromium stop nothing
    monkeypatch.setenv("PATH", str(tmp_path))
    (memory,) = doctor.check_memory(needed=10**18)
    assert memory.passed is doctor.check_chromium().passed is None
    monkeypatch.setattr(doctor, "ROOT", ROOT / "elsewhere")
    assert not doctor.check_package().passed


def test_the_doctor_runs_without_any_package() -> None:
    # -S: no site-packages, as in an environment where nothing is installed
    command = [sys.executable, "-I", "-S", str(ROOT / "tools" / "doctor.py")]
    run = subprocess.run(command, capture_output=True, encoding="utf-8")
    assert (run.returncode, run.stderr) == (1, "") and "[FAIL] none of the" in run.stdout


def test_every_make_target_is_documented_and_phony() -> None:
    text = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z-]+):", text, re.MULTILINE))
    documented = set(re.findall(r"^([a-z-]+):.*## ", text, re.MULTILINE))
    phony = set(re.search(r"^\.PHONY: (.*)$", text, re.MULTILINE)[1].split())
    asked = {"run", "test", "lab", "chat", "notebooks", "bench", "doctor", "results"}
    assert asked <= targets == documented == phony
