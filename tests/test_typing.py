"""The types of the public door: what a type checker and an editor see is what runs."""

from __future__ import annotations

import ast
import importlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

import latentcrs_utils as lc

ROOT = Path(__file__).resolve().parent.parent


def door() -> dict[str, str]:
    """Name -> module of every name that the door declares for type checkers."""
    tree = ast.parse((ROOT / "latentcrs_utils" / "__init__.pyi").read_text(encoding="utf-8"))
    return {
        alias.name: f"latentcrs_utils.{node.module}"
        for node in tree.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
        if alias.name == alias.asname
    }


def test_type_checkers_see_the_names_that_the_door_has() -> None:
    assert sorted(door()) == lc.__all__


@pytest.mark.parametrize("name", lc.__all__)
def test_and_they_are_the_same_things(name: str) -> None:
    assert getattr(importlib.import_module(door()[name]), name) is getattr(lc, name)


def test_the_package_says_that_it_is_typed() -> None:
    assert (ROOT / "latentcrs_utils" / "py.typed").is_file()
    assert '"py.typed"' in (ROOT / "pyproject.toml").read_text(encoding="utf-8")


# the README's eight lines, and what each name is
USE = """
import latentcrs_utils as lc

data = lc.load_dataset("ml-100k")
backbone = lc.pretrain(data)
anchors = lc.find_anchors(backbone, data)
utterances = lc.simulate_utterances(data, seed=0)
language = lc.embed(utterances)
model = lc.fit_em(data, backbone, anchors, language)
chat = lc.Conversation(model, user=42)
reveal_type(data)
reveal_type(backbone)
reveal_type(anchors)
reveal_type(utterances)
reveal_type(language)
reveal_type(model)
reveal_type(chat.say("something funny"))
lc.load_dataset(100)
lc.Conversation(model, chat_model="remote")
"""
SEEN = ("Dataset", "Backbone", "Anchors", "Utterances", "Language", "LatentCRS", "Turn")


def test_a_reader_s_program_is_checked(tmp_path: Path) -> None:
    """Mypy knows every type of the door, and refuses two wrong calls."""
    program = tmp_path / "program.py"
    program.write_text(USE, encoding="utf-8")
    command = [sys.executable, "-m", "mypy", "--config-file", str(ROOT / "pyproject.toml")]
    command += ["--cache-dir", str(ROOT / ".mypy_cache"), str(program)]
    # an editable installation is found by Python's import system, not by mypy
    environment = {**os.environ, "MYPYPATH": str(ROOT)}
    run = subprocess.run(
        command, cwd=tmp_path, capture_output=True, encoding="utf-8", env=environment
    )
    lines = run.stdout.splitlines()
    revealed = [line.partition("Revealed type is ")[2] for line in lines if "Revealed" in line]
    assert [text.strip('"').rpartition(".")[2] for text in revealed] == list(SEEN), run.stdout
    errors = [line for line in lines if ": error: " in line]
    assert len(errors) == 2, run.stdout
    assert "[arg-type]" in errors[0] and "[arg-type]" in errors[1]
