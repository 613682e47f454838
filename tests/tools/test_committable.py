"""What must not be committed is refused, and the hooks that refuse it really run."""

from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tools import committable

ROOT = Path(__file__).resolve().parents[2]
CONFIG = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))
HOOKS = {hook["id"]: hook for repo in CONFIG["repos"] for hook in repo["hooks"]}


def test_every_file_of_the_checkout_may_be_committed() -> None:
    try:
        names = committable.committed()
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("this is no git checkout, so there is no list of files")
    assert len(names) > 100
    assert "README.md" in names
    found = [s for n in names for s in committable.problems(n, (ROOT / n).read_bytes())]
    assert found == []


def ratings(separator: str, rows: int) -> bytes:
    row = separator.join(("7", "22", "3", "881250956")) + "\n"
    return row.encode() * rows


REFUSED = {
    "tabs": ("tests/data/some.txt", ratings("\t", 21), "look like ratings"),
    "two colons": ("results/x.md", ratings("::", 500), "look like ratings"),
    "indented in code": (
        "tests/x.py",
        b'X = """\n' + b"    7,8,5,978300760\n" * 25 + b'"""\n',
        "look like ratings",
    ),
    "a provider's name": ("tests/data/u.data", b"", "named like a provider's data"),
    "the data folder": ("data/ml-1m/README", b"text\n", "data/ holds what each machine"),
    "weights": ("results/model.safetensors", b"", ".safetensors file"),
    "further requests": ("data/redial.jsonl", b"{}\n", "data/ holds what each machine"),
    "an archive": ("tests/data/some.zip", b"", ".zip file"),
    "a large file": ("results/figure.png", bytes(1_000_001), "1,000,001 bytes"),
    "a home folder": ("README.md", b"cd /ho" + b"me/ada/course\n", "folder of one machine"),
    "a conflict": ("README.md", b"<" * 7 + b" HEAD\none\n" + b"=" * 7 + b"\ntwo\n", "conflict"),
    "no last line feed": ("README.md", b"text", "exactly one new line"),
    "white space": ("Makefile", b"run: \n\techo\n", "white space at the end"),
    "carriage returns": ("x.csv", b"user,item\r\n", "carriage returns"),
    "another encoding": ("x.md", "Amélie\n".encode("latin-1"), "not UTF-8"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_refused(case: str) -> None:
    name, content, expected = REFUSED[case]
    found = committable.problems(name, content)
    assert any(expected in sentence for sentence in found), found


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("data/example/interactions.csv", b"user,item,rating,timestamp\n" + ratings(",", 40)),
        ("data/real_requests.jsonl", b"{}\n"),
        ("tests/data/test_x.py", b'X = """\n' + ratings("::", 20) + b'"""\n'),
        ("results/table.json", b'{"1": [1, 2, 3]}\n'),
        ("README.md", b"two spaces  \nbreak a line: https://example.org/home/page/x\n"),
        ("notebooks/x.ipynb", b"left to the notebooks' own policies"),
        ("latentcrs_utils/py.typed", b""),
        ("results/figure.png", bytes(1_000_000)),
    ],
)
def test_what_is_let_through(name: str, content: bytes) -> None:
    assert committable.problems(name, content) == []


def run(hook: dict, *files: str) -> subprocess.CompletedProcess:
    command = [sys.executable, *shlex.split(hook["entry"])[1:], *files]
    return subprocess.run(command, cwd=ROOT, capture_output=True, encoding="utf-8", check=False)


def test_the_hooks_need_no_network_and_know_their_programs() -> None:
    assert [repo["repo"] for repo in CONFIG["repos"]] == ["local"]
    for hook in HOOKS.values():
        assert hook["language"] == "system"
        assert shlex.split(hook["entry"])[0] == "python"
    assert set(HOOKS) == {
        "ruff-check", "ruff-format", "committable", "notebooks", "environments", "types",
    }  # fmt: skip


BAD_FILES = {
    "ruff-check": ("bad.py", "import os\n"),
    "ruff-format": ("bad.py", "x = {  }\n"),
    "committable": ("bad.csv", "1::2::5::978300760\n" * 30),
    "notebooks": (
        "bad.ipynb",
        '{"cells": [{"cell_type": "code", "execution_count": null, "id": "bad-cell", '
        '"metadata": {}, "outputs": [], "source": "1"}], "metadata": {}, "nbformat": 4, '
        '"nbformat_minor": 5}\n',
    ),
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_a_hook_refuses_a_bad_file_and_takes_a_good_one(name: str, tmp_path: Path) -> None:
    file = tmp_path / BAD_FILES[name][0]
    file.write_text(BAD_FILES[name][1], encoding="utf-8")
    refused = run(HOOKS[name], str(file))
    assert refused.returncode == 1, refused.stderr
    assert "bad" in refused.stdout + refused.stderr
    good = "notebooks/05_em_training.ipynb" if name == "notebooks" else "tools/committable.py"
    taken = run(HOOKS[name], good)
    assert taken.returncode == 0, taken.stdout + taken.stderr
