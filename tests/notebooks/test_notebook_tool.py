"""The tool that records, checks and renders notebooks."""

import subprocess
import sys
import time

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from tools import notebook_html

from .conftest import ROOT

PROGRESS = "import os; print(os.environ['LATENTCRS_PROGRESS'])"


def write(path, *sources, above=()):
    """A notebook of code cells, with texts above them."""
    cells = [*map(new_markdown_cell, above), *map(new_code_cell, sources)]
    nbformat.write(new_notebook(cells=cells), path)
    return path


def stream(text, name="stdout"):
    return new_output("stream", name=name, text=text)


def test_record_runs_fills_and_normalises(tool, tmp_path):
    card = "<!-- strip --><!-- /strip -->\n<!-- measured --><!-- /measured -->"
    path = write(tmp_path / "05_em_training.ipynb", PROGRESS, "x = 6\nx * 7", above=[card])
    notebook = nbformat.read(path, as_version=4)
    notebook.cells[1].execution_count = 17
    notebook.metadata["widgets"] = {"state": 1}
    nbformat.write(notebook, path)
    cost = tool.record(path)
    recorded = nbformat.read(path, as_version=4)
    assert 0 < cost.seconds < 120 and cost.peak_bytes > 10_000_000
    assert "**05 em training**" in recorded.cells[0].source
    assert " GB<!-- /measured -->" in recorded.cells[0].source
    assert [cell.execution_count for cell in recorded.cells[1:]] == [1, 2]
    # the kernel has the recording environment
    assert recorded.cells[1].outputs[0].text == tool.ENVIRONMENT["LATENTCRS_PROGRESS"] + "\n"
    assert recorded.cells[2].outputs[0].data["text/plain"] == "42"
    assert "widgets" not in recorded.metadata
    text = path.read_text(encoding="utf-8")
    assert text.endswith("}\n") and not text.endswith("\n\n")
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("1 / 0", "cell 1 failed with ZeroDivisionError: division by zero"),
        ("import os; os._exit(1)", "cell 1 ended the kernel"),
        ("import sys; print('careful', file=sys.stderr)", "stderr"),
        ("print('/' + 'home/someone/data.csv')", "machine's path"),
        ("print('rows sum to one' + ': NO (0.9)')", "verdict NO"),
    ],
)
def test_record_refuses_and_leaves_the_file(tool, tmp_path, source, reason):
    path = write(tmp_path / "a.ipynb", source)
    before = path.read_bytes()
    with pytest.raises(tool.NotebookError, match=reason):
        tool.record(path)
    assert path.read_bytes() == before


def test_normalise_is_idempotent_and_drops_what_is_transient(tool):
    figure = new_output(
        "display_data",
        data={"image/png": "AAAA", "text/plain": "Figure"},
        metadata={"image/png": {"alt": "words", "width": 7}, "collapsed": True},
    )
    widget = new_output(
        "display_data", data={tool.WIDGET_VIEW: {"model_id": "1"}, "text/plain": "x"}
    )
    cell = new_code_cell(
        "f()", outputs=[stream("a"), stream("b"), stream("c", "stderr"), figure, widget]
    )
    cell.metadata = nbformat.from_dict({"tags": ["twin"], "scrolled": True})
    twin = new_code_cell("g()")
    notebook = new_notebook(cells=[cell, twin])
    twin.id = cell.id = "0123abcd"
    once = tool.normalise(notebook)
    assert tool.normalise(once) == once
    first, second = once.cells
    assert first.metadata == {"tags": ["twin"]} and first.id != second.id
    assert [o.get("text") for o in first.outputs[:2]] == ["ab", "c"]
    assert first.outputs[2].metadata == {"image/png": {"alt": "words"}}
    assert tool.WIDGET_VIEW not in first.outputs[3].data
    assert first.id == "f" and second.id == "g"
    assert "run this notebook" in first.outputs[3].data["text/plain"]


def test_the_id_of_a_cell_is_made_of_its_words_and_stays(tool):
    cells = [new_markdown_cell("## Set-up of *it* all\n\nWhy") for _ in range(3)]
    cells[2].id = "my-own"
    found = [cell.id for cell in tool.normalise(new_notebook(cells=cells)).cells]
    assert found == ["set-up-of-it-all", "set-up-of-it-all-2", "my-own"]


def test_a_cell_that_takes_too_long_is_named(tool, tmp_path, monkeypatch):
    monkeypatch.setattr(tool, "CELL_TIMEOUT", 2)
    path = write(tmp_path / "a.ipynb", "", "import time; time.sleep(60)")  # the first is not run
    with pytest.raises(tool.NotebookError, match="cell 2 took longer than 2 s"):
        tool.record(path)


def test_one_that_fails_is_left_as_it_was_and_the_others_are_recorded(
    tool, tmp_path, capsys, monkeypatch
):
    sent = []  # a kernel that is interrupted at its end may report that to the terminal

    async def send(_, number):
        sent.append(number)

    monkeypatch.setattr("jupyter_client.manager.KernelManager._async_signal_kernel", send)
    bad, good = write(tmp_path / "a.ipynb", "1 / 0"), write(tmp_path / "b.ipynb", "print(1)")
    before = bad.read_bytes()
    assert tool.main([str(bad), str(good)]) == 1
    said = capsys.readouterr()
    assert "a.ipynb: cell 1 failed with ZeroDivisionError" in said.err
    assert "left as it was" in said.out and sent == []
    assert bad.read_bytes() == before
    assert nbformat.read(good, as_version=4).cells[0].outputs[0].text == "1\n"


@pytest.mark.parametrize("content", ["", "{", '{"cells": 1, "nbformat": 4, "nbformat_minor": 5}'])
def test_what_is_no_notebook_is_named(tool, tmp_path, capsys, content):
    path = tmp_path / "a.ipynb"
    path.write_text(content, encoding="utf-8")
    assert tool.main([str(path)]) == 1
    assert "a.ipynb is not a notebook" in capsys.readouterr().err
    assert path.read_text(encoding="utf-8") == content


def test_killed_while_recording_it_leaves_the_file_and_no_other(tool, tmp_path):
    running = tmp_path / "running"
    path = write(tmp_path / "a.ipynb", f"open({str(running)!r}, 'w')\nimport time; time.sleep(60)")
    before = path.read_bytes()
    command = [sys.executable, "-m", "tools.notebooks", str(path)]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL)
    try:
        for _ in range(3000):
            if running.exists():
                break
            time.sleep(0.1)
        assert running.exists()
    finally:
        process.kill()
        process.wait()
    assert path.read_bytes() == before
    assert {entry.name for entry in tmp_path.iterdir()} == {"a.ipynb", "running"}


def test_a_new_chapter_appears_on_the_strips_of_the_others(tool, tmp_path):
    strip = "<!-- strip --><!-- /strip -->"
    first = write(tmp_path / "04_language_meets_intent.ipynb", "print(1)", above=[strip])
    tool.record_all([first])
    assert "<small>05 em training</small>" in first.read_text(encoding="utf-8")
    counts = [c.get("execution_count") for c in nbformat.read(first, as_version=4).cells]
    tool.record_all([write(tmp_path / "05_em_training.ipynb", "print(1)")])
    renewed = nbformat.read(first, as_version=4)
    assert "[05 em training](05_em_training.ipynb)" in renewed.cells[0].source
    assert [c.get("execution_count") for c in renewed.cells] == counts


def test_a_chapter_that_lacks_a_part_is_refused_before_it_runs(tool, tmp_path, monkeypatch):
    monkeypatch.setattr(tool, "NOTEBOOKS", tmp_path)
    monkeypatch.setattr(tool, "run", None)
    path = write(tmp_path / "05_em_training.ipynb", "print(1)", above=["# 05 · EM", "A card."])
    with pytest.raises(tool.NotebookError, match="second cell is no card"):
        tool.record(path)


def test_check_passes_what_is_recorded_and_fails_on_one_changed_digit(tool, tmp_path, capfd):
    path = write(tmp_path / "a.ipynb", "print(6 * 7)")
    assert tool.check([path]) == 1  # it was never run
    tool.record(path)
    assert tool.check([path]) == 0
    recorded = path.read_text()
    path.write_text(recorded.replace('"42\\n"', '"43\\n"'))
    assert tool.check([path]) == 1
    assert "1 failed" in capfd.readouterr().out
    assert tool.main(["--lint", str(path)]) == 0
    path.write_text(recorded.replace("6 * 7", "6 * 8"))
    assert tool.main(["--lint", str(path)]) == 1
    assert "code was changed after its outputs" in capfd.readouterr().err


def test_find_names_what_there_is(tool, tmp_path):
    for name in ("04_language.ipynb", "05_em.ipynb"):
        write(tmp_path / name, "1")
    assert [path.name for path in tool.find(["05"], tmp_path)] == ["05_em.ipynb"]
    assert len(tool.find([], tmp_path)) == 2
    with pytest.raises(tool.NotebookError, match="04_language"):
        tool.find(["12"], tmp_path)


def test_tex_becomes_mathml_outside_of_code_only(tool):
    html = notebook_html.tex_to_mathml(
        "mass $p(m_j)$ and `$x$`\n\n$$\\sum_j q_j \\quad (4)$$\n\n5 $ or 6 $."
    )
    assert html.count("<math") == 2 and html.count('display="block"') == 1
    assert "`$x$`" in html and "5 $ or 6 $." in html


def test_render_needs_no_network(tool, tmp_path):
    path = write(tmp_path / "04_language_meets_intent.ipynb", "print('hello')")
    before = path.read_bytes()
    assert tool.main(["--html", "--output", str(tmp_path / "build"), str(path)]) == 0
    page = (tmp_path / "build" / "04_language_meets_intent.html").read_text(encoding="utf-8")
    assert "hello" in page
    assert "<script" not in page
    assert path.read_bytes() == before
