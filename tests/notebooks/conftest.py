"""The notebook tool as a module, and the committed notebooks."""

import importlib.util
import sys
from pathlib import Path

import nbformat
import pytest

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


@pytest.fixture(scope="session")
def tool():
    """``tools/notebooks.py`` as a module."""
    file = ROOT / "tools" / "notebooks.py"
    sys.path.insert(0, str(file.parent))
    try:
        # Not by its name, which is that of this package of tests and of a folder, too.
        spec = importlib.util.spec_from_file_location("notebook_tool", file)
        module = importlib.util.module_from_spec(spec)
        sys.modules[spec.name] = module
        spec.loader.exec_module(module)
        yield module
    finally:
        sys.path.remove(str(file.parent))


@pytest.fixture(params=NOTEBOOKS, ids=lambda path: path.stem)
def notebook_path(request):
    """Each committed notebook."""
    return request.param


@pytest.fixture
def notebook(notebook_path):
    """Each committed notebook, parsed."""
    return nbformat.read(notebook_path, as_version=4)
