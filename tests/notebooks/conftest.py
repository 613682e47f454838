"""The committed notebooks, the tool that records them, and what they write out by hand."""

import ast
from pathlib import Path
from types import SimpleNamespace

import nbformat
import numpy as np
import pytest

from tools import notebooks

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


def code_of(stem, tag=None):
    """The statements of a notebook's code cells, of those with a tag if one is given."""
    cells = nbformat.read(ROOT / "notebooks" / f"{stem}.ipynb", as_version=4).cells
    sources = [
        cell.source
        for cell in cells
        if cell.cell_type == "code" and (tag is None or tag in cell.metadata.get("tags", []))
    ]
    return ast.parse("\n".join(sources)).body


def imports_of(stem):
    """A notebook's import statements, in one text."""
    found = [node for node in code_of(stem) if isinstance(node, ast.Import | ast.ImportFrom)]
    return "\n".join(map(ast.unparse, found))


def twins_of(stem, names=None):
    """What the cells tagged ``twin`` define, or what is named, by name, in one namespace."""
    found = [
        node
        for node in code_of(stem, None if names else "twin")
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name in (names or {node.name})
    ]
    namespace = {}
    exec(imports_of(stem), namespace)
    exec(compile(ast.Module(found, []), stem, "exec"), namespace)
    return {node.name: namespace[node.name] for node in found}


@pytest.fixture(scope="session")
def tool():
    """The notebook tool as a module."""
    return notebooks


@pytest.fixture(scope="module")
def by_hand(request):
    """The twins of the notebooks that a test module names in ``STEMS``."""
    twins = {}
    for stem in request.module.STEMS:
        twins |= twins_of(stem)
    return SimpleNamespace(**twins)


@pytest.fixture(params=range(4))
def rng(request):
    """Random inputs, four times."""
    return np.random.default_rng(request.param)


@pytest.fixture(params=NOTEBOOKS, ids=lambda path: path.stem)
def notebook_path(request):
    """Each committed notebook."""
    return request.param


@pytest.fixture
def notebook(notebook_path):
    """Each committed notebook, parsed."""
    return nbformat.read(notebook_path, as_version=4)
