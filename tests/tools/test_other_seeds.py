"""`tools.notebooks --seed`: the same lesson with another seed, to see whether its checks hold."""

from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook

from tools import notebooks

Captured = pytest.CaptureFixture[str]


def write(path: Path, *sources: str) -> str:
    nbformat.write(new_notebook(cells=[*map(new_code_cell, sources)]), path)
    return str(path)


def test_a_check_that_one_seed_breaks_is_named_and_all_cells_run(
    tmp_path: Path, capsys: Captured
) -> None:
    cells = (
        "SEED = 0  # of everything",
        "print('small' + (': NO (2 is large)' if SEED == 2 else ''))",
        "print(f'{12 // (SEED - 2)} checks: ok')",
        "print('late: NO' if SEED == 2 else 'not answered yet')",
    )
    lesson = write(tmp_path / "a.ipynb", *cells)
    before = Path(lesson).read_bytes()
    assert notebooks.main(["--seed", "1", lesson]) == 0
    assert capsys.readouterr().out.endswith("all checks hold\n")
    assert notebooks.main(["--seed", "2", lesson]) == 1
    said = capsys.readouterr().out.splitlines()[1:]
    assert [line.strip() for line in said] == [
        "cell 2: small: NO (2 is large)",
        "cell 3: ZeroDivisionError: integer division or modulo by zero",
        "cell 4: late: NO",
    ]
    assert Path(lesson).read_bytes() == before


def test_a_notebook_without_a_seed_is_told_and_not_executed(
    tmp_path: Path, capsys: Captured
) -> None:
    lesson = write(tmp_path / "a.ipynb", "SEED = 1\n1 / 0")
    assert notebooks.main(["--seed", "1", lesson]) == 0
    assert "has no line SEED = 0" in capsys.readouterr().out
