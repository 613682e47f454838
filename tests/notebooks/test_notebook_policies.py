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


def test_only_notebooks_are_committed_beside_them(tool):
    names = tool.committed_names()
    assert names and tool.folder_problems(names) == []
    assert {path.name for path in NOTEBOOKS} <= set(names)


@pytest.mark.parametrize(
    "name",
    [".ipynb_checkpoints/05_em_training-checkpoint.ipynb", "05_em_training.html", "drafts/x.ipynb"],
)
def test_what_is_no_notebook_is_refused(tool, name):
    (found,) = tool.folder_problems(["05_em_training.ipynb", name])
    assert name in found


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


def checks_cleared(notebook):
    next(cell for cell in code(notebook) if cell.source.startswith("checks.")).outputs = []


def many_ignored(notebook):
    for cell in printing(notebook)[: len(notebook.cells) // 8]:
        cell.metadata["tags"] = [*cell.metadata.get("tags", []), "nbval-ignore-output"]


def facts_not_printed(notebook):
    cell, output = figure(notebook)
    cell.outputs = [output]


def no_verdicts(notebook):
    for output in (output for cell in printing(notebook) for output in cell.outputs):
        if "text" in output:
            output.text = output.text.replace(": ok", "")


def few_exercises(notebook):
    for cell in tagged(notebook, "exercise")[2:]:
        cell.metadata["tags"] = []


def an_answer_recorded(notebook):
    tagged(notebook, "exercise")[-1].outputs[0].text = "Exercise 5: right.\n"


# One or more ways to break each policy.
BREAKAGES = {
    "ran_in_order": {
        "a gap in the counts": lambda n: code(n)[-1].update(execution_count=1000),
        "a stripped cell": lambda n: code(n)[3].update(execution_count=None, outputs=[]),
    },
    "is_of_its_code": {
        "code changed after the recording": lambda n: n.metadata.latentcrs.update(code="0" * 16),
        "code that was never recorded": lambda n: n.metadata.latentcrs.pop("code"),
    },
    "keeps_the_digest_of_its_code": {"no digest": lambda n: n.metadata.latentcrs.pop("code")},
    "has_its_outputs": {"outputs that were cleared": checks_cleared},
    "raises_nothing": {
        "an error": lambda n: code(n)[2].update(
            outputs=[new_output("error", ename="ValueError", evalue="no")]
        )
    },
    "has_no_stderr": {"a warning": said("UserWarning: slow", name="stderr")},
    "has_no_refuted_claim": {
        "a refuted claim": said("rows sum to one: NO (they differ by up to 0.5)\n")
    },
    "has_no_machine_path": {
        "a path in an output": said("saved to /" + "home/someone/model.bin"),
    },
    "has_no_widget_state": {
        "the state of widgets": lambda n: n.metadata.update(widgets={"state": {}}),
    },
    "is_small": {
        "a large image": lambda n: figure(n)[1].data.update(
            {"image/png": base64.b64encode(bytes(400_000)).decode()}
        ),
        "an attachment": lambda n: n.cells[0].update(attachments={"a.png": {"image/png": "AAAA"}}),
    },
    "has_plain_metadata": {
        "another kernel": lambda n: n.metadata.kernelspec.update(name="my-venv"),
        "what an editor left": lambda n: n.cells[0].metadata.update(collapsed=True),
        "a tag that skips a check": tag(4, "nbval-skip"),
    },
    "has_stable_ids": {
        "the same id twice": lambda n: n.cells[1].update(id=n.cells[0].id),
        "a random id": lambda n: n.cells[1].update(id="1a2b3c4d"),
    },
    "is_compared": {
        "one ignored cell too many": many_ignored,
        "a comment that switches it off": coded(5, "\n# NBVAL_IGNORE_OUTPUT"),
    },
    "figures_have_words": {
        "no alternative text": lambda n: figure(n)[1].update(metadata=nbformat.from_dict({})),
        "facts that are not printed": facts_not_printed,
    },
    "opens_as_the_series": {
        "another question": replaced(r"\*\*Question: .*\*\*", "**Question: Why not?**"),
        "a chapter missing in the strip": replaced(
            r" · \[11 paper scale\]\(11_paper_scale\.ipynb\)", ""
        ),
    },
    "has_a_card": {
        "no card": lambda n: n.cells[1].metadata.update(tags=[]),
    },
    "shows_its_measured_cost": {
        "a time that nobody measured": replaced(
            r"<!-- measured -->.*<!-- /measured -->",
            "<!-- measured -->1 s, 0.1 GB<!-- /measured -->",
        ),
        "no measurement": lambda n: n.metadata.update(latentcrs={}),
    },
    "is_configured_in_one_cell": {
        "two cells of parameters": tag(0, "parameters"),
        "parameters that compute": lambda n: tagged(n, "parameters")[0].update(
            source="SEED = 0\nprint(SEED)"
        ),
    },
    "has_short_cells": {
        "a long cell": coded(7, "\nx = 1" * 40),
        "a wide line": coded(7, f"\nx = '{'x' * 100}'"),
    },
    "is_read_in_one_sitting": {"too much prose": written("word " * 4_000)},
    "has_five_to_nine_blocks": {
        "a missing number": replaced(r"^## 3 · ", "## 33 · "),
    },
    "says_why_in_few_words": {
        "a long why": replaced(r"^\*\*Why\.\*\* ", "**Why.** " + "so " * 80),
        "no why": replaced(r"^\*\*Why\.\*\* ", ""),
    },
    "reads_and_checks_each_block": {
        "no reading": replaced(r"\*\*(What you see|So what)", "**Well"),
        "a block without a verdict": no_verdicts,
    },
    "has_the_parts_of_a_lesson": {
        "no recap": replaced(r"^## Recap", "## End"),
        "two predictions": written("**Predict before you run.** Again?"),
    },
    "has_headings_in_order": {
        "a level that is left out": replaced(r"^### Exercise", "#### Exercise"),
        "two titles": written("# Another title"),
    },
    "names_known_equations": {
        "an equation that nobody wrote": written("This follows from Equations 4 and 23."),
        "a number beside a formula": written(r"$$a = b \qquad \text{(15)}$$"),
    },
    "links_to_what_exists": {
        "a link to no file": written("See [there](there.ipynb)."),
        "a link to no heading": written("See [there](#There)."),
    },
    "has_complete_exercises": {
        "too few": few_exercises,
        "one without minutes": replaced(r", \d+ minutes\)", ")"),
        "one without a hint": replaced(r"<summary>Hint</summary>", "<summary>Tip</summary>"),
        "one without a solution": replaced(r"^```python\n", "```\n"),
        "a stub that gives it away": replaced(r"^    \.\.\.$", "    return 1", kind="code"),
    },
    "exercises_are_unanswered": {
        "one recorded with an answer": an_answer_recorded,
    },
}


@pytest.fixture(scope="module")
def good():
    return nbformat.read(CHAPTER, as_version=4)


@pytest.mark.parametrize(
    ("policy", "change"),
    [
        pytest.param(policy, change, id=f"{policy}-{words}")
        for policy, changes in BREAKAGES.items()
        for words, change in changes.items()
    ],
)
def test_a_broken_copy_is_refused(tool, good, policy, change):
    check = policies(tool)[policy]
    assert check(good, CHAPTER) == []
    broken = copy.deepcopy(good)
    change(broken)
    assert check(broken, CHAPTER) != []
    assert set(check(broken, CHAPTER)) <= set(tool.problems(broken, CHAPTER))


def test_a_chapter_must_be_on_the_map(tool, good, tmp_path):
    check = policies(tool)["opens_as_the_series"]
    assert "no chapter" in check(good, tmp_path / "05_em_taining.ipynb")[0]


def test_each_policy_is_broken_once(tool):
    assert set(BREAKAGES) == set(policies(tool))
