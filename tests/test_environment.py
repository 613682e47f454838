"""pyproject.toml, environment.yml, the imports of the code and what is installed agree."""

import ast
import importlib.metadata
import json
import re
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parent.parent

# Declared although no file imports it: transformers reads GGUF files with gguf, seaborn is part of
# the stack that the course promises its readers, the others are commands and plugins.
NOT_IMPORTED = {
    "gguf", "ipykernel", "jupyterlab", "mypy", "nbval", "pre-commit", "pytest-xdist", "ruff",
    "seaborn", "voila",
}  # fmt: skip
# What runs in a virtual environment of its own, and the file that says what is in there.
ELSEWHERE = {"benchmarks/recbole_sasrec.py": "benchmarks/requirements-recbole.txt"}
# Which groups of pyproject.toml a folder may import from: `make run` installs everything, but a
# reader who takes the package alone has the dependencies only.
FOLDERS = ("latentcrs_utils", "notebooks", "benchmarks", "experiments")
MAY_IMPORT = {folder: {"dependencies"} for folder in FOLDERS}
MAY_IMPORT |= {"tools": {"dependencies", "test"}, "tests": {"dependencies", "chat", "test"}}
MAY_IMPORT["notebooks/chat_server.py"] = {"dependencies", "chat"}  # Voilà alone loads it
PACKAGES = importlib.metadata.packages_distributions()
Files = dict[str, str]  # path -> text
# Everything that the checks read.
READ = ["pyproject.toml", "environment.yml", *ELSEWHERE.values()]
READ += [
    f"{folder}/{kind}" for folder in (*FOLDERS, "tools", "tests") for kind in ("**/*.py", "*.ipynb")
]
FILES: Files = {
    file.relative_to(ROOT).as_posix(): file.read_text(encoding="utf-8")
    for pattern in READ
    for file in sorted(ROOT.glob(pattern))
}


def normal(name: str) -> str:
    """A distribution's name as the package index compares it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def declared(files: Files) -> dict[str, tuple[str, str]]:
    """Name -> (version, group) of every requirement; an inexact one has the version ""."""
    project, found = tomllib.loads(files["pyproject.toml"])["project"], {}
    groups = {"dependencies": project["dependencies"], **project["optional-dependencies"]}
    for group, requirements in groups.items():
        for requirement in requirements:
            match = re.fullmatch(r"([\w.-]+)==([\w.]+)", requirement)
            name, version = match.groups() if match else (requirement, "")
            found[normal(name)] = (version, group)
    return found


def conda(files: Files) -> tuple[str, list[str]]:
    """The Python version of environment.yml, and its list for pip."""
    python, pip, listed = yaml.safe_load(files["environment.yml"])["dependencies"]
    assert pip == "pip"
    return python.removeprefix("python="), listed["pip"]


@cache
def imported(file: str, text: str) -> set[str]:
    """Top-level names that a module or a notebook's code imports absolutely, wherever in it."""
    if file.endswith(".ipynb"):
        cells = json.loads(text)["cells"]
        code = "\n".join("".join(c["source"]) for c in cells if c["cell_type"] == "code")
        text = re.sub(r"(?m)^\s*[%!].*$", "", code)  # a magic is not Python
    names = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            names.add(node.module)
    return {name.partition(".")[0] for name in names}


def import_problems(files: Files) -> Iterator[str]:
    """What is imported and not declared where it should be, and what is declared in vain."""
    pins, used = declared(files), set()
    sources = {file: text for file, text in files.items() if file.endswith((".py", ".ipynb"))}
    known = set(sys.stdlib_module_names)
    known |= {name for file in map(Path, sources) for name in (file.stem, file.parent.name)}
    for file, text in sources.items():
        theirs = re.findall(r"(?m)^[\w-]+", files[ELSEWHERE[file]]) if file in ELSEWHERE else []
        allowed = MAY_IMPORT.get(file) or MAY_IMPORT[file.partition("/")[0]]
        for module in sorted(imported(file, text) - known - set(theirs)):
            names = {normal(name) for name in PACKAGES.get(module, [])}
            used |= names
            if not any(name in pins and pins[name][1] in allowed for name in names):
                yield f"{file} imports {module}, which no group of {allowed} declares"
    for name in sorted(pins.keys() | NOT_IMPORTED):
        if name not in pins:
            yield f"{name} is an exception, but not declared"
        elif name in used and name in NOT_IMPORTED:
            yield f"{name} is imported: take it off the list of exceptions"
        elif name not in used and name not in NOT_IMPORTED:
            yield f"{name} is declared, but nothing imports it"


def pin_problems(files: Files) -> Iterator[str]:
    """Inexact pins, and pins that environment.yml has otherwise, lacks or adds."""
    pins, (_, listed) = declared(files), conda(files)
    yield from (f"{name} is not pinned exactly" for name, (pin, _) in pins.items() if not pin)
    if listed[-1] != "--editable .":
        yield "environment.yml must end with the course's own package, --editable ."
    expected = {f"{name}=={pin}" for name, (pin, group) in pins.items() if group != "dev"}
    found = {re.sub("^[^=]+", lambda name: normal(name[0]), line) for line in listed[:-1]}
    yield from (f"environment.yml lacks {pin}" for pin in sorted(expected - found))
    yield from (f"environment.yml has {pin} in vain" for pin in sorted(found - expected))


def python_problems(files: Files) -> Iterator[str]:
    """Whether the one Python version of environment.yml is the oldest that the package takes."""
    content = tomllib.loads(files["pyproject.toml"])
    oldest, tools = content["project"]["requires-python"].removeprefix(">="), content["tool"]
    ruff = tools["ruff"]["target-version"].replace("py3", "3.")
    others = {"mypy": tools["mypy"]["python_version"], "ruff": ruff}
    for where, version in (others | {"environment.yml": conda(files)[0]}).items():
        if version != oldest:
            yield f"{where} names Python {version}, the package begins with {oldest}"


def problems(files: Files) -> list[str]:
    """What all three find."""
    checks = (import_problems, pin_problems, python_problems)
    return [problem for check in checks for problem in check(files)]


def test_the_environments_agree() -> None:
    assert problems(FILES) == []


def test_the_hosted_environment_has_the_same_python_and_torch() -> None:
    """Binder's files: conda gives Python and torch, the rest comes from pyproject.toml."""
    folder = ROOT / ".binder"
    content = yaml.safe_load((folder / "environment.yml").read_text(encoding="utf-8"))
    torch, python = declared(FILES)["torch"][0], conda(FILES)[0]
    assert content["dependencies"] == [f"python={python}", "pip", f"pytorch-cpu={torch}"]
    script = folder / "postBuild"
    assert "--editable '.[chat]'" in script.read_text(encoding="utf-8")
    if sys.platform != "win32":
        assert script.stat().st_mode & 0o111, "Binder runs postBuild as a program"
