"""The structure of the project, as one table: order of the rooms, ceilings of lines, names."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

# Imports run upwards only: a room imports from its own floor and from those before it.
FLOORS: tuple[tuple[str, ...], ...] = (
    ("errors", "config"),
    ("support", "plots", "pictures"),
    ("data",),
    ("ranking",),
    ("behavior",),
    ("intents",),
    ("language",),
    ("simulation", "constraints"),
    ("em",),
    ("conversation",),
    ("baselines", "evaluation"),
    ("widgets",),
    ("run",),
)
CORE = (
    "latentcrs_utils/behavior",
    "latentcrs_utils/intents.py",
    "latentcrs_utils/em",
    "latentcrs_utils/language/embedder.py",
    "latentcrs_utils/language/text_encoder.py",
    "latentcrs_utils/data/preprocess.py",
    "latentcrs_utils/data/sequences.py",
)
# places -> lines at most, docstrings and blank lines included
CEILINGS: dict[tuple[str, ...], int] = {
    ("latentcrs_utils",): 18_100,
    CORE: 3_400,
    ("notebooks/course",): 1_800,
    ("experiments",): 2_200,
    ("benchmarks", "tools"): 3_600,
    ("tests",): 20_000,
}
LONGEST_FILE = 600
PACKAGE = "latentcrs_utils"


def modules(root: Path) -> dict[str, ast.Module]:
    """Dotted name -> syntax tree of every module of the package."""
    found = {}
    for file in sorted((root / PACKAGE).rglob("*.py")):
        name = ".".join(file.relative_to(root).with_suffix("").parts)
        found[name.removesuffix(".__init__")] = ast.parse(file.read_text(encoding="utf-8"))
    return found


def imports(root: Path) -> dict[str, set[str]]:
    """Module -> modules of the package that it imports, also in functions and for types only."""
    trees = modules(root)
    graph: dict[str, set[str]] = {name: set() for name in trees}
    for name, tree in trees.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom):
                inner = [f"{node.module}.{alias.name}" for alias in node.names]
                graph[name] |= {i if i in trees else str(node.module) for i in inner}
            elif isinstance(node, ast.Import):
                graph[name] |= {alias.name for alias in node.names}
        graph[name] = {other for other in graph[name] if other in trees} - {name}
    return graph


def circles(root: Path) -> Iterator[str]:
    """Yield a circle of imports, if there is one."""
    try:
        TopologicalSorter(imports(root)).prepare()
    except CycleError as error:
        yield "circle: " + " -> ".join(error.args[1])


def against_the_order(root: Path) -> Iterator[str]:
    """Yield imports of a higher floor, of what is outside, and rooms that the table lacks."""
    floor = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}
    for name, others in imports(root).items():
        room = name.partition(".")[2].partition(".")[0]
        if not room:
            continue
        if room not in floor:
            yield f"{name}: the table of floors has no room {room!r}"
            continue
        for other in sorted(others):
            above = floor.get(other.partition(".")[2].partition(".")[0], len(FLOORS))
            if above > floor[room]:
                yield f"{name} imports {other}, which is above it"
    for name, tree in modules(root).items():
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and node.level:
                yield f"{name}, line {node.lineno}: a relative import"
            outside = [node.module] if isinstance(node, ast.ImportFrom) else []
            outside += [a.name for a in node.names] if isinstance(node, ast.Import) else []
            for other in outside:
                if str(other).partition(".")[0] in {"experiments", "course", "tools", "benchmarks"}:
                    yield f"{name} imports {other}, which is outside the package"


def names_used_twice(root: Path) -> Iterator[str]:
    """Yield file names and names of public classes that occur twice in the package."""
    places = defaultdict(list)
    for name, tree in modules(root).items():
        if (root / PACKAGE) not in (root / name.replace(".", "/")).parents:
            continue
        if (root / (name.replace(".", "/") + ".py")).is_file():
            places[f"{name.rpartition('.')[2]}.py"].append(name)
        for node in tree.body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                places[f"class {node.name}"].append(name)
    for what, where in places.items():
        if len(where) > 1:
            yield f"{what} twice: {', '.join(where)}"


def too_long(root: Path, ceilings: dict[tuple[str, ...], int]) -> Iterator[str]:
    """Yield places and files of the package with more lines than they may have."""
    for places, most in ceilings.items():
        n_lines = sum(_lines(file) for place in places for file in _files(root / place))
        if n_lines > most:
            yield f"{', '.join(places)}: {n_lines:,} lines, at most {most:,}"
    for file in _files(root / PACKAGE):
        if _lines(file) > LONGEST_FILE:
            yield f"{file.relative_to(root)}: {_lines(file)} lines, at most {LONGEST_FILE}"


def _files(place: Path) -> list[Path]:
    return sorted(place.rglob("*.py")) if place.is_dir() else [place]


def _lines(file: Path) -> int:
    return len(file.read_text(encoding="utf-8").splitlines())


def problems(root: Path, ceilings: dict[tuple[str, ...], int] | None = None) -> list[str]:
    """Everything that breaks a rule of the structure."""
    found = [*circles(root), *against_the_order(root), *names_used_twice(root)]
    return [*found, *too_long(root, CEILINGS if ceilings is None else ceilings)]


def test_the_structure_of_the_project() -> None:
    assert problems(ROOT) == []


BREACHES = [
    ("data/one.py", "if TYPE_CHECKING:\n    from latentcrs_utils.data.two import X\n", "circle"),
    ("data/one.py", "def f():\n    from latentcrs_utils.em import fit\n", "above it"),
    ("data/one.py", "from .two import X\n", "a relative import"),
    ("data/one.py", "import experiments.one\n", "outside the package"),
    ("attic/one.py", "", "no room 'attic'"),
    ("em/two.py", "", "two.py twice"),
    ("em/one.py", "class X: ...\n", "class X twice"),
    ("em/one.py", "x = 1\n" * (LONGEST_FILE + 1), "601 lines, at most 600"),
    ("em/one.py", "x = 1\n" * 10, "latentcrs_utils: 13 lines, at most 12"),
]


@pytest.mark.parametrize(("file", "text", "problem"), BREACHES)
def test_a_planted_breach_is_found(tmp_path: Path, file: str, text: str, problem: str) -> None:
    two = "from latentcrs_utils.data import one\nclass X: ...\n"
    fit = "from latentcrs_utils.data.two import X\n"
    inits = dict.fromkeys(("__init__.py", "data/__init__.py", "data/one.py", "em/__init__.py"), "")
    for name, content in (inits | {"data/two.py": two, "em/fit.py": fit, file: text}).items():
        place = tmp_path / PACKAGE / name
        place.parent.mkdir(parents=True, exist_ok=True)
        if name != file:
            place.write_text(content, encoding="utf-8")
    assert problems(tmp_path, {(PACKAGE,): 12}) == []
    (tmp_path / PACKAGE / file).write_text(text, encoding="utf-8")
    assert any(problem in found for found in problems(tmp_path, {(PACKAGE,): 12}))
