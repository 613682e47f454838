"""Every exercise takes its own folded solution, and not the answers that are nearly right."""

import ast
import contextlib
import io
import itertools
import re
import textwrap
import tomllib
from pathlib import Path

import nbformat
import pytest

from .conftest import NOTEBOOKS, imports_of

SOLUTION = re.compile(r"<summary>Solution</summary>.*?```python\n(?P<code>.*?)```", re.DOTALL)
EXERCISES_OF = NOTEBOOKS[0].parent / "course" / "exercises"


def exercises_of(path):
    """Yield (stub, the text below it) of every exercise of a notebook."""
    cells = nbformat.read(path, as_version=4).cells
    for cell, below in itertools.pairwise(cells):
        if "exercise" in cell.metadata.get("tags", []):
            yield cell.source, below.source


EXERCISES = [
    pytest.param(path, number, id=f"{path.stem}-{number}")
    for path in NOTEBOOKS
    for number, _ in enumerate(exercises_of(path), start=1)
]


def verdict(path, stub, code):
    """What the exercise says when ``code`` takes the place of the stub's definitions."""
    calls = [
        ast.unparse(node)
        for node in ast.parse(stub).body
        if not isinstance(node, ast.FunctionDef | ast.Import | ast.ImportFrom)
    ]
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        exec("\n".join([imports_of(path.stem), code, *calls]), {})
    return said.getvalue().strip()


def wrong_answers(path, number, stub):
    """Yield (what is wrong, source) of the answers to one exercise that are nearly right."""
    (function,) = (n for n in ast.parse(stub).body if isinstance(n, ast.FunctionDef))
    head = f"def {function.name}({ast.unparse(function.args)}):"
    (module,) = re.findall(r"from course\.exercises import (\w+)", imports_of(path.stem))
    text = (EXERCISES_OF / f"{module}.toml").read_text(encoding="utf-8")
    for reason, body in tomllib.loads(text)[str(number)].items():
        yield reason, f"{head}\n{textwrap.indent(body, '    ')}"


@pytest.mark.parametrize(("path", "number"), EXERCISES)
def test_its_solution_is_right(path, number):
    stub, after = list(exercises_of(path))[number - 1]
    solution = SOLUTION.search(after)["code"]
    assert verdict(path, stub, solution) == f"Exercise {number}: right."


@pytest.mark.parametrize(("path", "number"), EXERCISES)
def test_nearly_right_answers_are_refused(path, number):
    stub, _ = list(exercises_of(path))[number - 1]
    wrong = list(wrong_answers(path, number, stub))
    assert len(wrong) >= 3
    for reason, code in wrong:
        found = verdict(path, stub, code)
        assert found.startswith(f"Exercise {number}: not yet."), reason
        assert found.endswith(f"Typical mistake: {reason}."), (reason, found)
