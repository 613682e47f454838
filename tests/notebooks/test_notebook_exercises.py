"""Every exercise takes its own folded solution, and not the answers that are nearly right."""

import ast
import contextlib
import importlib.util
import io
import re
from pathlib import Path

import nbformat
import pytest

from .conftest import NOTEBOOKS

SOLUTION = re.compile(r"<summary>Solution</summary>.*?```python\n(?P<code>.*?)```", re.DOTALL)
WRONG = Path(__file__).parent / "wrong_answers"


def exercises_of(path):
    """Yield (stub cell, text up to the next code cell) of every exercise of a notebook."""
    cells = nbformat.read(path, as_version=4).cells
    for position, cell in enumerate(cells):
        if "exercise" in cell.metadata.get("tags", []):
            after = []
            for following in cells[position + 1 :]:
                if following.cell_type == "code":
                    break
                after.append(following.source)
            before = cells[position - 1].source
            yield before, cell, "\n\n".join(after)


EXERCISES = [
    pytest.param(path, number, id=f"{path.stem}-{number}")
    for path in NOTEBOOKS
    for number, _ in enumerate(exercises_of(path), start=1)
]


def imports_of(path):
    """The notebook's setup: its import statements, in one text."""
    sources = [c.source for c in nbformat.read(path, as_version=4).cells if c.cell_type == "code"]
    lines = []
    for source in sources:
        for node in ast.parse(source).body:
            if isinstance(node, ast.Import | ast.ImportFrom):
                lines.append(ast.unparse(node))
    return "\n".join(lines)


def verdict(path, stub, code):
    """What the exercise says when ``code`` takes the place of the stub's definitions."""
    calls = [
        ast.unparse(node)
        for node in ast.parse(stub).body
        if not isinstance(node, ast.FunctionDef | ast.Import | ast.ImportFrom)
    ]
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        exec("\n".join([imports_of(path), code, *calls]), {})
    return said.getvalue().strip()


def wrong_answers(path):
    """``WRONG[number]``: sources of answers to exercise ``number`` that are nearly right."""
    file = WRONG / f"wrong_{path.stem}.py"
    spec = importlib.util.spec_from_file_location(file.stem, file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.WRONG


@pytest.mark.parametrize(("path", "number"), EXERCISES)
def test_an_exercise_is_complete(path, number):
    before, stub, after = list(exercises_of(path))[number - 1]
    assert re.search(rf"### Exercise {number} · .+ \((easy|medium|hard), \d+ minutes\)", before)
    assert "<summary>Hint</summary>" in after and "<summary>Solution</summary>" in after
    text = "".join(output.get("text", "") for output in stub.outputs).strip()
    assert text == f"Exercise {number}: not answered yet."


@pytest.mark.parametrize("path", [path for path in NOTEBOOKS if any(exercises_of(path))],
                         ids=lambda path: path.stem)  # fmt: skip
def test_each_exercise_has_its_wrong_answers(path):
    assert list(wrong_answers(path)) == [n for n, _ in enumerate(exercises_of(path), start=1)]


@pytest.mark.parametrize(("path", "number"), EXERCISES)
def test_its_solution_is_right(path, number):
    _, stub, after = list(exercises_of(path))[number - 1]
    solution = SOLUTION.search(after)["code"]
    assert verdict(path, stub.source, solution) == f"Exercise {number}: right."


@pytest.mark.parametrize(("path", "number"), EXERCISES)
def test_nearly_right_answers_are_refused(path, number):
    _, stub, _ = list(exercises_of(path))[number - 1]
    wrong = wrong_answers(path)[number]
    assert len(wrong) >= 2
    for code in wrong:
        assert verdict(path, stub.source, code).startswith(f"Exercise {number}: not yet."), code
