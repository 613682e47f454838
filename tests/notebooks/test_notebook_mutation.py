"""Strict nbval notices every decisive output of every notebook when it is falsified.

An output is decisive where a verdict or a number of it is compared. Executing all notebooks once
more for this would cost minutes, so it is shown in two halves. That the recorded outputs are what
the code gives is what `make check-notebooks` shows. Here, *all* decisive outputs are falsified at
once in a copy whose cells repeat what was recorded, and the same command must refuse exactly those
cells. And each notebook's own code runs up to its first decisive output, falsified; one runs whole.
"""

import copy
import json
import re
import xml.etree.ElementTree as ElementTree

import nbformat
import pytest

from .conftest import NOTEBOOKS

VERDICT = re.compile(r": ok$", re.MULTILINE)
DIGIT = re.compile(r"\d(?=\D*\Z)")
(WHOLE,) = (path for path in NOTEBOOKS if path.stem == "05_em_training")
REPEAT = """\
import json
from IPython.display import display
for output in json.loads({outputs!r}):
    if output["output_type"] == "stream":
        print(output["text"], end="")
    else:
        display(output["data"], raw=True)
"""


def falsified(text):
    """The text with its last verdict turned, else with its last digit changed; None if neither."""
    if verdicts := list(VERDICT.finditer(text)):
        return text[: verdicts[-1].start()] + ": NO" + text[verdicts[-1].end() :]
    if digit := DIGIT.search(text):
        other = str((int(digit[0]) + 1) % 10)
        return text[: digit.start()] + other + text[digit.end() :]
    return None


def falsify(cell):
    """Falsify the last decisive output of a compared cell, in place; say whether there was one."""
    ignored = "nbval-ignore-output" in cell.metadata.get("tags", [])
    for output in reversed([] if ignored else cell.outputs):
        new = falsified(output.text) if output.output_type == "stream" else None
        if new is not None:
            output.text = new
            return True
    return False


def code_cells(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def repeated(notebook):
    """A copy of a notebook whose cells do nothing but give the recorded outputs once more."""
    repeats = copy.deepcopy(notebook)
    for cell in code_cells(repeats):
        cell.source = REPEAT.format(outputs=json.dumps(cell.outputs))
    return repeats


def refused_cells(tool, notebook, path):
    """Numbers of the code cells, from 0, that strict nbval refuses in ``notebook``."""
    # with the lessons' package, next to a folder results that some read, as in the checkout
    path = path.parent / "notebooks" / path.name
    path.parent.mkdir()
    (path.parent / "course").symlink_to(NOTEBOOKS[0].parent / "course")
    (path.parent.parent / "results").symlink_to(NOTEBOOKS[0].parent.parent / "results")
    nbformat.write(notebook, path)
    report = path.with_suffix(".xml")
    code = tool.strict_nbval([path], extra=[f"--junitxml={report}"])
    cases = list(ElementTree.parse(report).iter("testcase"))
    assert len(cases) == len(code_cells(notebook))
    refused = {i for i, case in enumerate(cases) if case.find("failure") is not None}
    assert code == (1 if refused else 0)
    return refused


def test_every_decisive_output_is_compared(tool, notebook, notebook_path, tmp_path):
    falsehoods = repeated(notebook)
    wrong = {i for i, cell in enumerate(code_cells(falsehoods)) if falsify(cell)}
    if notebook_path.stem not in tool.GUIDES:
        assert len(wrong) >= 5
        assert max(wrong) >= 0.8 * len(code_cells(notebook)), "none of them is late"
    assert refused_cells(tool, falsehoods, tmp_path / notebook_path.name) == wrong


def test_a_copy_that_repeats_what_was_recorded_passes(tool, tmp_path):
    copied = repeated(nbformat.read(WHOLE, as_version=4))
    assert refused_cells(tool, copied, tmp_path / WHOLE.name) == set()


@pytest.mark.parametrize(
    "notebook_path",
    [path for path in NOTEBOOKS if path != WHOLE and path.stem[:2] < "12"],
    ids=lambda path: path.stem,
)
def test_the_first_decisive_output_falsified(tool, notebook, notebook_path, tmp_path):
    cells = code_cells(notebook)
    first = next(i for i, cell in enumerate(cells) if falsify(cell))
    notebook.cells = notebook.cells[: notebook.cells.index(cells[first]) + 1]
    assert refused_cells(tool, notebook, tmp_path / notebook_path.name) == {first}


def test_early_and_late_outputs_falsified_in_a_whole_run(tool, tmp_path):
    notebook = nbformat.read(WHOLE, as_version=4)
    cells = code_cells(notebook)
    decisive = [i for i, cell in enumerate(cells) if falsify(copy.deepcopy(cell))]
    wrong = {decisive[0], decisive[len(decisive) // 2], decisive[-1]}
    assert all(falsify(cells[i]) for i in wrong)
    assert refused_cells(tool, notebook, tmp_path / WHOLE.name) == wrong
