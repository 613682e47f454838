"""The course as data: its notebooks, and the map from equation to function to test.

The strip on top of every notebook, the map of the course in notebook 00 and the equation table are
all made from here, so that they cannot disagree.
"""

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import latentcrs_utils
from latentcrs_utils.errors import LatentCRSError


@dataclass(frozen=True)
class Chapter:
    """One notebook of the course: its number, its file name without the number, its question."""

    number: str
    name: str
    question: str

    @property
    def stem(self) -> str:
        """File name without suffix, ``04_language_meets_intent``."""
        return f"{self.number}_{self.name}"

    @property
    def title(self) -> str:
        """The name in words, ``language meets intent``."""
        return self.name.replace("_", " ")


CHAPTERS: tuple[Chapter, ...] = (
    Chapter("00", "start_here", "What does the finished system do, and where do we go?"),
    Chapter("01", "interactions_and_5core", "What is left of the ratings, and what is lost?"),
    Chapter("02", "iclrec_pretraining", "What does behavior alone know about the next film?"),
    Chapter("03", "intent_anchors", "Which tastes hide in the users' histories?"),
    Chapter("04", "language_meets_intent", "What does a small language model know about a wish?"),
    Chapter("05", "em_training", "How do behavior and words come to share one intent?"),
    Chapter("06", "one_turn", "Where does language help, and where does behavior?"),
    Chapter("07", "conversation", "How does an intent move from turn to turn?"),
    Chapter("08", "multi_turn", "How many turns until the user is content, at what cost?"),
    Chapter("09", "ablations", "Which parts earn their place?"),
    Chapter("10", "chat_demo", "What is it like to talk to the system?"),
    Chapter("11", "paper_scale", "What changes at the size of the paper's data?"),
)

STRIP = re.compile(r"<!-- strip -->.*?<!-- /strip -->", re.DOTALL)


def strip_of_the_series(current: Path) -> str:
    """Return the line of links on top of every notebook; chapters not written yet are plain.

    Args:
        current: the file that the strip is for; its folder says which chapters are written.
    """
    parts = []
    for chapter in CHAPTERS:
        label = f"{chapter.number} {chapter.title}"
        if chapter.stem == current.stem:
            parts.append(f"**{label}**")
        elif (current.parent / f"{chapter.stem}.ipynb").exists():
            parts.append(f"[{label}]({chapter.stem}.ipynb)")
        else:
            parts.append(f"<small>{label}</small>")
    alt = f"The stages of the course; dark is that of notebook {current.stem[:2]}"
    picture = f"![{alt}](course/pictures/pipeline_{current.stem[:2]}.svg)"
    return "<!-- strip -->\n" + " · ".join(parts) + f"\n\n{picture}\n<!-- /strip -->"


PAPER_EQUATIONS: dict[int, str] = {
    1: "the goal: maximum likelihood of the observed choices",
    2: "the likelihood as a sum over latent intents",
    3: "anchors: k-means on the embeddings of behavior",
    4: "the evidence lower bound (ELBO)",
    5: "p(m|S,x), the prior over intents given behavior and words",
    6: "g, the affinity of item and intent",
    7: "InfoNCE, intent by intent",
    8: "recommendation loss of the M-step",
    9: "loss of the M-step",
    10: "q(m|S), the inference model",
    11: "ELBO loss of the E-step",
    12: "the expected intent r",
    13: "recommendation loss of the E-step",
    14: "loss of the E-step",
}

_EQUATIONS = re.compile(
    r"\b(?:Eq|Eqs|Equation|Equations)\b\.?[ ~]+\(?(\d+)((?:\)?,? (?:and |to )?\(?\d+)*)"
)


@dataclass(frozen=True)
class EquationRow:
    """One line of the map: an equation, what it says, where it lives and which test holds it."""

    number: int
    says: str
    function: str
    test: str


def package_root() -> Path:
    """Folder of the package's own sources."""
    return Path(latentcrs_utils.__file__).resolve().parent


def mentioned_equations(text: str) -> set[int]:
    """Equation numbers that a text mentions, whether or not the paper has them."""
    found: set[int] = set()
    for match in _EQUATIONS.finditer(" ".join(text.split())):
        first, rest = int(match[1]), match[2]
        found.add(first)
        for connective, number in re.findall(r"(and |to )?\(?(\d+)", rest):
            last = int(number)
            found.update(range(first, last + 1) if connective == "to " else {last})
    return found


def _numbers(docstring: str) -> set[int]:
    """Equation numbers that the first paragraph of a docstring names.

    Only the first paragraph counts: further down equations are only mentioned.
    """
    return mentioned_equations(docstring.split("\n\n")[0]) & set(PAPER_EQUATIONS)


def _definitions(path: Path) -> Iterator[tuple[str, str]]:
    """Yield (name, docstring) of every public function and class of a module, methods included."""
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if not isinstance(node, ast.FunctionDef | ast.ClassDef) or node.name.startswith("_"):
            continue
        yield node.name, ast.get_docstring(node) or ""


def implementations() -> dict[int, list[str]]:
    """For every equation the dotted names of the definitions whose docstring names it.

    Read from the sources with ``ast``, so that nothing heavy is imported.
    """
    found: dict[int, list[str]] = {number: [] for number in PAPER_EQUATIONS}
    root = package_root()
    for path in sorted(root.rglob("*.py")):
        module = ".".join(path.relative_to(root).with_suffix("").parts)
        for name, docstring in _definitions(path):
            for number in sorted(_numbers(docstring)):
                found[number].append(f"{module}.{name}")
    return found


def _test_functions(tests: Path) -> list[tuple[str, set[str]]]:
    """List (``file::test``, the identifiers it uses) of every test function below ``tests``."""
    functions = []
    for path in sorted(tests.rglob("test_*.py")):
        relative = path.relative_to(tests.parent).as_posix()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test"):
                names = {n.id for n in ast.walk(node) if isinstance(n, ast.Name)}
                names |= {n.attr for n in ast.walk(node) if isinstance(n, ast.Attribute)}
                functions.append((f"{relative}::{node.name}", names))
    return functions


def equation_map(tests: Path | None = None) -> list[EquationRow]:
    """Build the table equation -> function -> test, and fail on a gap.

    Args:
        tests: folder of the tests; the checkout's own ``tests/`` when None.

    Returns:
        One row per definition, in the order of the paper's equations.

    Raises:
        LatentCRSError: an equation without a function, or a function that no test uses.
    """
    folder = tests or package_root().parent / "tests"
    tested = _test_functions(folder)
    rows, gaps = [], []
    for number, functions in implementations().items():
        if not functions:
            gaps.append(f"Equation {number} has no function whose docstring names it")
        for function in functions:
            name = function.rsplit(".", 1)[1]
            users = [test for test, names in tested if name in names]
            if users:
                # the test that says so in its name, else the first one
                telling = [test for test in users if f"equation_{number}_" in f"{test}_"]
                test = (telling or users)[0]
                rows.append(EquationRow(number, PAPER_EQUATIONS[number], function, test))
            else:
                gaps.append(f"{function} (Equation {number}) is used by no test in {folder.name}/")
    if gaps:
        raise LatentCRSError("The map of the equations has a gap: " + "; ".join(gaps) + ".")
    return rows
