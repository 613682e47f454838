"""The notebook tool as a module, and the committed notebooks."""

from pathlib import Path

import nbformat
import pytest

from tools import notebooks

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


@pytest.fixture(scope="session")
def tool():
    """The notebook tool as a module."""
    return notebooks


@pytest.fixture(params=NOTEBOOKS, ids=lambda path: path.stem)
def notebook_path(request):
    """Each committed notebook."""
    return request.param


@pytest.fixture
def notebook(notebook_path):
    """Each committed notebook, parsed."""
    return nbformat.read(notebook_path, as_version=4)
