"""What every notebook of the course has, and what none has."""

import ast
import statistics

import pytest

WHY_WORDS = 80


def code_cells(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def prose(notebook):
    return [cell.source for cell in notebook.cells if cell.cell_type == "markdown"]


def tagged(notebook, tag):
    return [cell for cell in notebook.cells if tag in cell.metadata.get("tags", [])]


def test_it_may_be_committed(tool, notebook):
    assert tool.problems(notebook) == []
    assert tool.normalise(notebook) == notebook


def test_title_question_strip_and_card(notebook, notebook_path):
    first, card = notebook.cells[0], notebook.cells[1]
    assert first.source.startswith(f"# {notebook_path.stem[:2]}") and "**Question:" in first.source
    assert "<!-- strip -->" in first.source
    assert "card" in card.metadata.tags
    for part in ("You will be able to", "You need", "Time and memory", "GPU: not measured"):
        assert part in card.source
    assert "not measured yet" not in card.source


def test_configuration_is_one_cell(notebook):
    (parameters,) = tagged(notebook, "parameters")
    for node in ast.parse(parameters.source).body:
        assert isinstance(node, ast.Assign | ast.AnnAssign)


def test_cells_are_short(notebook):
    lengths = [len(cell.source.splitlines()) for cell in code_cells(notebook)]
    assert statistics.median(lengths) <= 8
    assert max(lengths) <= 40
    assert (
        max(len(line) for cell in code_cells(notebook) for line in cell.source.splitlines()) <= 92
    )


def test_every_why_is_short(notebook):
    for text in prose(notebook):
        for paragraph in text.split("\n\n"):
            if paragraph.startswith("**Why.**"):
                assert len(paragraph.split()) <= WHY_WORDS, paragraph


def test_the_parts_of_a_lesson(notebook):
    text = "\n".join(prose(notebook))
    for part in ("**Why.**", "What you see", "## Recap", "## Limits", "## Readings", "Next"):
        assert part in text
    assert text.count("Predict before you run") == 1


def test_every_block_is_checked(notebook):
    """Under each numbered heading with code something is printed that nbval compares."""
    block, printed, verdicts = None, {}, set()
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            for line in cell.source.splitlines():
                if line.startswith("## "):
                    block = line if line[3:4].isdigit() else None
        elif block and "nbval-ignore-output" not in cell.metadata.get("tags", []):
            text = "".join(output.get("text", "") for output in cell.outputs)
            printed[block] = printed.get(block, "") + text
            if ": ok" in text:
                verdicts.add(block)
    assert not [block for block, text in printed.items() if not text]
    assert len(verdicts) >= 3


def test_few_outputs_are_unchecked(notebook):
    cells = code_cells(notebook)
    ignored = [cell for cell in cells if "nbval-ignore-output" in cell.metadata.get("tags", [])]
    assert len(ignored) <= len(cells) / 3
    assert not tagged(notebook, "nbval-skip")
    assert not any("NBVAL" in cell.source for cell in cells)


def test_figures_have_words(notebook):
    for cell in code_cells(notebook):
        for output in cell.outputs:
            if "image/png" in output.get("data", {}):
                assert len(output.metadata["image/png"]["alt"]) > 40
                assert any(o.output_type == "stream" for o in cell.outputs), "no text twin"


def test_links_to_other_notebooks_exist(notebook, notebook_path):
    import re

    for text in prose(notebook):
        for target in re.findall(r"\]\(([\w./]+\.ipynb)\)", text):
            if not (notebook_path.parent / target).exists():
                pytest.fail(f"{notebook_path.name} links to {target}, which does not exist")
