"""Strict nbval notices one changed character in a falsified copy of each notebook."""

import nbformat


def falsify(notebook):
    """Keep a notebook up to its first checked printed output, and change one character there.

    Returns:
        The number of the falsified code cell, counted from 1.
    """
    count = 0
    for position, cell in enumerate(notebook.cells):
        if cell.cell_type != "code":
            continue
        count += 1
        ignored = "nbval-ignore-output" in cell.metadata.get("tags", [])
        for output in cell.outputs:
            if output.output_type == "stream" and not ignored:
                output.text = output.text[:-2] + chr(ord(output.text[-2]) + 1) + "\n"
                notebook.cells = notebook.cells[: position + 1]
                return count
    raise AssertionError("no printed output is checked")


def test_one_changed_character_fails(tool, notebook, notebook_path, tmp_path, capfd):
    changed = falsify(notebook)
    path = tmp_path / notebook_path.name
    nbformat.write(notebook, path)
    assert tool.check([path]) == 1
    said = capfd.readouterr().out
    assert f"1 failed, {changed - 1} passed" in said or (changed == 1 and "1 failed" in said)
