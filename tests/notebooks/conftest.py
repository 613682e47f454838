"""The notebook tool as a module, and the committed notebooks."""

import importlib
import sys
from pathlib import Path

import nbformat
import pytest

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


@pytest.fixture(scope="session")
def tool():
    """``tools/notebooks.py``, imported as the command line imports it."""
    sys.path.insert(0, str(ROOT / "tools"))
    try:
        yield importlib.import_module("notebooks")
    finally:
        sys.path.remove(str(ROOT / "tools"))


@pytest.fixture(params=NOTEBOOKS, ids=lambda path: path.stem)
def notebook_path(request):
    """Each committed notebook."""
    return request.param


@pytest.fixture
def notebook(notebook_path):
    """Each committed notebook, parsed."""
    return nbformat.read(notebook_path, as_version=4)
