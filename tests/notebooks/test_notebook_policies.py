"""Every notebook obeys every policy of the course, and every policy can be broken.

The policies are in tools/recorded_policies.py and tools/lesson_policies.py, so that `make
notebooks` refuses what these tests would refuse.
"""

import base64
import copy
import re

import nbformat
import pytest
from nbformat.v4 import new_markdown_cell, new_output

from .conftest import NOTEBOOKS

# Any chapter that obeys every policy and has exercises and figures will do.
CHAPTER = next(path for path in NOTEBOOKS if path.stem == "05_em_training")


def policies(tool):
    """Every policy by its name, as a function of notebook and file."""
    recorded = (*tool.POLICIES, *tool.CHAPTER_POLICIES)
    found = {policy.__name__: lambda n, _, p=policy: p(n) for policy in recorded}
    return found | {p.__name__: p for p in (*tool.SOURCE_POLICIES, *tool.OUTPUT_POLICIES)}


def test_it_may_be_committed(tool, notebook, notebook_path):
    assert tool.problems(notebook, notebook_path) == []
    assert tool.normalise(notebook) == notebook


def code(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def tagged(notebook, tag):
    return [cell for cell in code(notebook) if tag in cell.metadata.get("tags", [])]


def printing(notebook):
    """Code cells with a printed output that is compared."""
    ignored = tagged(notebook, "nbval-ignore-output")
    return [cell for cell in code(notebook) if cell.outputs and cell not in ignored]


def figure(notebook):
    """The cell and the output of the first figure."""
    return next(
        (cell, output)
        for cell in code(notebook)
        for output in cell.outputs
        if "image/png" in output.get("data", {})
    )


# What follows returns a change: a function that breaks a notebook in place.


def replaced(pattern, by, kind="markdown"):
    """Replace a pattern in every cell of one kind; it must occur."""

    def change(notebook):
        cells = [cell for cell in notebook.cells if cell.cell_type == kind]
        before = [cell.source for cell in cells]
        for cell in cells:
            cell.source = re.sub(pattern, by, cell.source, flags=re.MULTILINE)
        assert before != [cell.source for cell in cells], pattern

    return change


def said(text, name="stdout", times=1):
    output = new_output("stream", name=name, text=text)
    return lambda notebook: printing(notebook)[0].outputs.extend([output] * times)


def written(text):
    return lambda notebook: notebook.cells.insert(-1, new_markdown_cell(text))


def coded(number, more):
    """Append to the source of one code cell."""
    return lambda n: code(n)[number].update(source=code(n)[number].source + more)


def tag(number, name):
    return lambda n: code(n)[number].metadata.update(tags=[name])


def many_ignored(notebook):
    for cell in printing(notebook)[: len(notebook.cells) // 8]:
        cell.metadata["tags"] = [*cell.metadata.get("tags", []), "nbval-ignore-output"]


def no_verdicts(notebook):
    for output in (output for cell in printing(notebook) for output in cell.outputs):
        if "text" in output:
            output.text = output.text.replace(": ok", "")


def few_exercises(notebook):
    for cell in tagged(notebook, "exercise")[2:]:
        cell.metadata["tags"] = []


def first_check(notebook):
    return next(cell for cell in code(notebook) if cell.source.endswith("checks.verdict()"))


ERROR = [new_output("error", ename="ValueError", evalue="no")]
LARGE = {"image/png": base64.b64encode(bytes(400_000)).decode()}
MEASURED = "<!-- measured -->.*<!-- /measured -->", "<!-- measured -->1 s<!-- /measured -->"
# At least one way to break each policy.
BREAKAGES = [
    ("ran_in_order", lambda n: code(n)[-1].update(execution_count=1000)),
    ("is_of_its_code", lambda n: n.metadata.latentcrs.update(code="0" * 16)),
    ("is_of_its_code", lambda n: n.metadata.latentcrs.pop("code")),
    ("has_its_outputs", lambda n: first_check(n).update(outputs=[])),
    ("raises_nothing", lambda n: code(n)[2].update(outputs=ERROR)),
    ("has_no_stderr", said("UserWarning: slow", name="stderr")),
    ("has_no_refuted_claim", said("rows sum to one: NO (they differ by up to 0.5)\n")),
    ("has_no_machine_path", said("saved to /" + "home/someone/model.bin")),
    ("has_no_widget_state", lambda n: n.metadata.update(widgets={"state": {}})),
    ("is_small", lambda n: figure(n)[1].data.update(LARGE)),
    ("has_plain_metadata", lambda n: n.metadata.kernelspec.update(name="my-venv")),
    ("has_stable_ids", lambda n: n.cells[1].update(id=n.cells[0].id)),
    ("is_compared", many_ignored),
    ("figures_have_words", lambda n: figure(n)[1].update(metadata=nbformat.from_dict({}))),
    ("opens_as_the_series", replaced(r"\*\*Question: .*\*\*", "**Question: Why not?**")),
    ("has_a_card", lambda n: n.cells[1].metadata.update(tags=[])),
    ("shows_its_measured_cost", replaced(*MEASURED)),
    ("shows_its_measured_cost", lambda n: n.metadata.update(latentcrs={})),
    ("is_configured_in_one_cell", tag(0, "parameters")),
    ("has_short_cells", coded(7, "\nx = 1" * 40)),
    ("is_read_in_one_sitting", written("word " * 4_000)),
    ("has_five_to_nine_blocks", replaced(r"^## 3 · ", "## 33 · ")),
    ("marks_each_block", replaced(r"^\*core · ", "*useful · ")),
    ("varies_its_openings", written("The loss falls.\n\nThe loss rises.")),
    ("judges_each_block", no_verdicts),
    ("judges_each_block", lambda n: first_check(n).update(source="checks.holds('x', 1)")),
    ("has_the_parts_of_a_lesson", replaced(r"^## Recap", "## End")),
    ("has_headings_in_order", replaced(r"^### Exercise", "#### Exercise")),
    ("names_known_equations", written("This follows from Equations 4 and 23.")),
    ("names_known_equations", written(r"$$a = b \qquad \text{(15)}$$")),
    ("links_to_what_exists", written("See [there](there.ipynb).")),
    ("links_to_what_exists", written("See [there](#There).")),
    ("has_complete_exercises", few_exercises),
    ("has_complete_exercises", replaced(r"<summary>Hint</summary>", "<summary>Tip</summary>")),
    ("has_complete_exercises", replaced(r"^    \.\.\.$", "    return 1", kind="code")),
    ("exercises_are_unanswered", lambda n: tagged(n, "exercise")[-1].update(outputs=[])),
]


@pytest.fixture(scope="module")
def good():
    return nbformat.read(CHAPTER, as_version=4)


@pytest.mark.parametrize(("policy", "change"), BREAKAGES)
def test_a_broken_copy_is_refused(tool, good, policy, change):
    check = policies(tool)[policy]
    assert check(good, CHAPTER) == []
    broken = copy.deepcopy(good)
    change(broken)
    assert check(broken, CHAPTER) != []
    assert set(check(broken, CHAPTER)) <= set(tool.problems(broken, CHAPTER))


def test_each_policy_is_broken(tool):
    assert {policy for policy, _ in BREAKAGES} == set(policies(tool))
