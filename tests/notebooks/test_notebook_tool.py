"""The tool that records, checks and renders notebooks."""

import subprocess
import sys
import time

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from tools import notebooks

from .conftest import ROOT

PROGRESS = "import os; print(os.environ['LATENTCRS_PROGRESS'])"


def write(path, *sources, above=()):
    """A notebook of code cells, with texts above them."""
    cells = [*map(new_markdown_cell, above), *map(new_code_cell, sources)]
    nbformat.write(new_notebook(cells=cells), path)
    return path


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


def test_mathml_spaces_named_functions_as_tex_does():
    made, thin = notebooks.tex_to_mathml, notebooks.THIN
    assert f"<mn>2</mn>{thin}<mi>log</mi>{thin}<mi>p</mi>" in made(r"$2\log p$")
    assert f"</msub>{thin}<mn>7</mn>" in made(r"$$\log_2 7$$") and thin not in made(r"$-\log(p)$")
