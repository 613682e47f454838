"""pyproject.toml, environment.yml, the imports of the code and what is installed agree."""

from __future__ import annotations

import ast
import importlib.metadata
import json
import re
import shutil
import sys
import tomllib
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parent.parent

# Declared although no file imports it, and why.
NOT_IMPORTED = {
    "fastapi": "transformers serve, which the tests of endpoints ask",
    "gguf": "transformers reads GGUF files with it",
    "ipykernel": "runs the notebooks",
    "jupyterlab": "make lab",
    "mypy": "make lint",
    "nbval": "make check-notebooks: a plugin of pytest",
    "pre-commit": "the hooks of a contributor",
    "pytest-xdist": "a plugin of pytest",
    "ruff": "make lint",
    "seaborn": "part of the stack that the course promises its readers",
    "uvicorn": "transformers serve",
    "voila": "make chat",
}
# What runs in a virtual environment of its own, and the file that says what is in there.
ELSEWHERE = {"benchmarks/recbole_sasrec.py": "benchmarks/requirements-recbole.txt"}
# Which groups of pyproject.toml a folder may import from: `make run` installs everything, but a
# reader who takes the package alone has the dependencies only.
MAY_IMPORT = {
    "latentcrs_utils": {"dependencies"},
    "notebooks": {"dependencies"},
    "benchmarks": {"dependencies"},
    "experiments": {"dependencies"},
    "tools": {"dependencies", "test"},
    "tests": {"dependencies", "chat", "test"},
}
PIN = re.compile(r"([A-Za-z0-9._-]+)==([\w.]+)")


def normal(name: str) -> str:
    """A distribution's name as the package index compares it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def toml(root: Path) -> dict:
    return tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))


def declared(root: Path) -> dict[str, tuple[str, str]]:
    """Name -> (version, group) of every requirement; an inexact one has the version ""."""
    project = toml(root)["project"]
    groups = {"dependencies": project["dependencies"], **project["optional-dependencies"]}
    found = {}
    for group, requirements in groups.items():
        for requirement in requirements:
            match = PIN.fullmatch(requirement)
            name, version = match.groups() if match else (requirement, "")
            found[normal(name)] = (version, group)
    return found


def conda(root: Path) -> tuple[str, list[str]]:
    """The Python version of environment.yml, and its list for pip."""
    content = yaml.safe_load((root / "environment.yml").read_text(encoding="utf-8"))
    python, pip, listed = content["dependencies"]
    assert pip == "pip"
    return python.removeprefix("python="), listed["pip"]


def sources(root: Path) -> Iterator[tuple[str, str]]:
    """(file, Python source) of every module and of every notebook's code cells."""
    for folder in MAY_IMPORT:
        for file in sorted((root / folder).rglob("*.py")):
            yield file.relative_to(root).as_posix(), file.read_text(encoding="utf-8")
        for file in sorted((root / folder).glob("*.ipynb")):
            cells = json.loads(file.read_text(encoding="utf-8"))["cells"]
            code = "\n".join("".join(c["source"]) for c in cells if c["cell_type"] == "code")
            # a magic is not Python
            yield file.relative_to(root).as_posix(), re.sub(r"(?m)^\s*[%!].*$", "", code)


@cache
def imported(source: str) -> set[str]:
    """Top-level names that a source imports absolutely, wherever in it."""
    names = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            names.add(node.module)
    return {name.partition(".")[0] for name in names}


_packages = cache(importlib.metadata.packages_distributions)


def import_problems(root: Path) -> Iterator[str]:
    """What is imported and not declared where it should be, and what is declared in vain."""
    pins, used = declared(root), set()
    files = [file for folder in MAY_IMPORT for file in (root / folder).rglob("*.py")]
    known = {file.stem for file in files} | {file.parent.name for file in files}
    known |= set(sys.stdlib_module_names)
    for file, source in sources(root):
        allowed, theirs = MAY_IMPORT[file.partition("/")[0]], set()
        if file in ELSEWHERE:
            lines = (root / ELSEWHERE[file]).read_text(encoding="utf-8").splitlines()
            theirs = {re.split("[<=>]", line)[0] for line in lines}
        for module in sorted(imported(source) - known - theirs):
            names = {normal(name) for name in _packages().get(module, [])}
            used |= names
            if not any(name in pins and pins[name][1] in allowed for name in names):
                yield f"{file} imports {module}, which no group of {allowed} declares"
    for name in sorted(used & set(NOT_IMPORTED)):
        yield f"{name} is imported: take it off the list of exceptions"
    for name in sorted(set(pins) - used - set(NOT_IMPORTED)):
        yield f"{name} is declared, but nothing imports it"
    for name in sorted(set(NOT_IMPORTED) - set(pins)):
        yield f"{name} is an exception, but not declared"


def pin_problems(root: Path) -> Iterator[str]:
    """Inexact pins, and pins that environment.yml has otherwise, lacks or adds."""
    pins, (_, listed) = declared(root), conda(root)
    yield from (f"{name} is not pinned exactly" for name, (pin, _) in pins.items() if not pin)
    if listed[-1] != "--editable .":
        yield "environment.yml must end with the course's own package, --editable ."
    expected = {f"{name}=={pin}" for name, (pin, group) in pins.items() if group != "dev"}
    found = {re.sub("^[^=]+", lambda name: normal(name[0]), line) for line in listed[:-1]}
    yield from (f"environment.yml lacks {pin}" for pin in sorted(expected - found))
    yield from (f"environment.yml has {pin} in vain" for pin in sorted(found - expected))


def version_problems(root: Path) -> Iterator[str]:
    """Packages that are installed in another version than the pinned one, or not at all."""
    for name, (pin, group) in declared(root).items():
        try:
            # torch's local suffix (+cpu, +cu130) names the build
            installed = importlib.metadata.version(name).partition("+")[0]
        except importlib.metadata.PackageNotFoundError:
            installed = ""
        if installed != pin and not (group == "dev" and not installed):
            yield f"{name} {installed or '(none)'} is installed, {pin} is pinned"


def python_problems(root: Path) -> Iterator[str]:
    """Whether the one Python version of environment.yml is the oldest that the package takes."""
    content = toml(root)
    oldest = content["project"]["requires-python"].removeprefix(">=")
    others = {
        "mypy": content["tool"]["mypy"]["python_version"],
        "ruff": content["tool"]["ruff"]["target-version"].replace("py3", "3."),
        "environment.yml": conda(root)[0],
    }
    for where, version in others.items():
        if version != oldest:
            yield f"{where} names Python {version}, the package begins with {oldest}"


ALL = (import_problems, pin_problems, version_problems, python_problems)


@pytest.mark.parametrize("problems", ALL, ids=lambda check: check.__name__)
def test_the_environments_agree(problems: Callable[[Path], Iterator[str]]) -> None:
    assert list(problems(ROOT)) == []


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of everything that the checks read."""
    copy = tmp_path_factory.mktemp("original")
    for name in ("pyproject.toml", "environment.yml"):
        shutil.copy(ROOT / name, copy)
    for folder in MAY_IMPORT:
        kept = shutil.ignore_patterns("__pycache__", ".ipynb_checkpoints")
        shutil.copytree(ROOT / folder, copy / folder, ignore=kept)
    return copy


BOTH = "pyproject.toml environment.yml"
PROGRESS = "latentcrs_utils/support/progress.py"
PIN_OF_CONDA, PACKAGE_OF_CONDA = "      - polars==2.1.0\n", "      - --editable .\n"
# What is changed in which files, and the problem that must be named. An empty text: at the end;
# \x00 stands for a new line in the style of each list.
MUTATIONS = {
    "another pin for conda": (
        "environment.yml", "numpy==2.4.6", "numpy==2.4.5", "lacks numpy==2.4.6"),
    "another pin for pip": (
        "pyproject.toml", "numpy==2.4.6", "numpy==2.4.5", "has numpy==2.4.6 in vain"),
    "another pin in both": (
        BOTH, "numpy==2.4.6", "numpy==2.4.5", "2.4.6 is installed, 2.4.5 is pinned"),
    "a package forgotten for conda": (
        "environment.yml", PIN_OF_CONDA, "", "lacks polars==2.1.0"),
    "a range instead of a pin": (
        "pyproject.toml", "scipy==", "scipy>=", "is not pinned exactly"),
    "a package that nothing imports": (
        BOTH, "tqdm==", "six==1.17.0\x00tqdm==", "six is declared, but nothing imports it"),
    "an undeclared import inside a function": (
        PROGRESS, "", "\ndef f():\n    import pandas.io\n", "progress.py imports pandas"),
    "a test's package in the library": (
        PROGRESS, "", "\nfrom hypothesis import given\n", "progress.py imports hypothesis"),
    "a module that nobody provides": (
        "tests/conftest.py", "", "\nimport no_such_module\n", "conftest.py imports no_such_module"),
    "an undeclared import in a notebook": (
        "notebooks/00_start_here.ipynb", "import latentcrs_utils as lc",
        "import pandas, latentcrs_utils as lc", "00_start_here.ipynb imports pandas"),
    "another Python for conda": (
        "environment.yml", "python=3.11", "python=3.10", "environment.yml names Python 3.10"),
    "the package itself forgotten for conda": (
        "environment.yml", PACKAGE_OF_CONDA, "", "must end with the course's own package"),
}  # fmt: skip


@pytest.mark.parametrize("mutation", MUTATIONS)
def test_a_disagreement_is_found(original: Path, mutation: str) -> None:
    names, old, new, expected = MUTATIONS[mutation]
    before = {name: (original / name).read_text(encoding="utf-8") for name in names.split()}
    try:
        for name, text in before.items():
            style = '",\n    "' if name == "pyproject.toml" else "\n      - "
            changed = (text.replace(old, new) if old else text + new).replace("\x00", style)
            assert changed != text
            (original / name).write_text(changed, encoding="utf-8")
        found = [problem for check in ALL for problem in check(original)]
    finally:
        for name, text in before.items():
            (original / name).write_text(text, encoding="utf-8")
    assert any(expected in problem for problem in found), found


def test_the_hosted_environment_has_the_same_python_and_torch() -> None:
    """Binder's files: conda gives Python and torch, the rest comes from pyproject.toml."""
    folder = ROOT / ".binder"
    content = yaml.safe_load((folder / "environment.yml").read_text(encoding="utf-8"))
    torch, _ = declared(ROOT)["torch"]
    python, _ = conda(ROOT)
    assert content["dependencies"] == [f"python={python}", "pip", f"pytorch-cpu={torch}"]
    script = folder / "postBuild"
    assert "--editable '.[chat]'" in script.read_text(encoding="utf-8")
    if sys.platform != "win32":
        assert script.stat().st_mode & 0o111, "Binder runs postBuild as a program"
