"""What every chapter of the course must have: the anatomy of a lesson, its length and its links.

A policy takes a notebook and its file and yields sentences that say what is wrong.
"""

import ast
import itertools
import re
import statistics
from collections.abc import Iterator
from pathlib import Path

from nbformat import NotebookNode

from course.chapters import CHAPTERS, PAPER_EQUATIONS, mentioned_equations, strip_of_the_series
from tools.recorded_policies import Policy, code_cells, compared_text, policy_of, tags

MEDIAN_LINES, MOST_LINES, WIDEST_LINE = 8, 40, 92
BLOCKS = range(5, 10)
READINGS = range(3, 6)
EXERCISES = range(3, 6)
WITH_EXERCISES = {f"{number:02}" for number in range(1, 12)}
MOST_WORDS, MOST_CODE = 3_000, 520  # about an hour of reading and running
CARD = ("You will be able to", "You need", "Time and memory", "GPU: not measured")
MEASURED = re.compile(r"<!-- measured -->(.*?)<!-- /measured -->", re.DOTALL)
BLOCK = re.compile(r"## (\d+) · \S")
MARK = re.compile(r"^## \d+ · .+\n\n\*(core|more|optional) · (\d+) minutes?\*$", re.MULTILINE)
JUDGED = re.compile(r"^(?:\d+ of )?\d+ checks?: (?:ok|NO)$", re.MULTILINE)
FENCE = re.compile(r"^ *```.*?^ *```", re.DOTALL | re.MULTILINE)
LINK = re.compile(r"\]\(([^()\s]+)\)|(?:href|src)=\"([^\"]+)\"")
TAG = re.compile(r"\\text\{\(([\d, ]+)\)\}|\\tag\{(\d+)\}")
TASK = re.compile(
    r"^### Exercise (\d+) · .+ \((?:easy|medium|hard), (essential|useful|extra), (\d+) minutes\)$",
    re.MULTILINE,
)
SOLUTION = re.compile(
    r"<details><summary>Solution</summary>\n\n.*?```python\n(.*?)```.*?\n</details>", re.DOTALL
)
HINT = re.compile(r"<details><summary>Hint</summary>\n\n.+?\n\n</details>", re.DOTALL)

# what can be told from the text alone, before an execution of minutes
SOURCE_POLICIES: list[Policy] = []
OUTPUT_POLICIES: list[Policy] = []


def prose(notebook: NotebookNode) -> Iterator[str]:
    """Yield the text of every cell that is not code."""
    return (cell.source for cell in notebook.cells if cell.cell_type == "markdown")


def headings(text: str) -> list[tuple[int, str]]:
    """Level and words of every heading of a Markdown text, those in code left out."""
    found = re.findall(r"^(#{1,6}) +(.+?) *$", FENCE.sub("", text), re.MULTILINE)
    return [(len(marks), words) for marks, words in found]


def blocks(notebook: NotebookNode) -> dict[str, list[NotebookNode]]:
    """The cells under each numbered heading, by that heading."""
    found: dict[str, list[NotebookNode]] = {}
    current = None
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            for level, words in headings(cell.source):
                if level == 2:
                    heading = f"## {words}"
                    current = found.setdefault(heading, []) if BLOCK.match(heading) else None
        if current is not None:
            current.append(cell)
    return found


@policy_of(SOURCE_POLICIES)
def opens_as_the_series(notebook: NotebookNode, path: Path) -> Iterator[str]:
    """First cell: number and title, the chapter's question, the strip of all chapters."""
    chapter = next((chapter for chapter in CHAPTERS if chapter.stem == path.stem), None)
    if chapter is None:
        yield f"{path.name} is no chapter of notebooks/course/chapters.py"
        return
    first = notebook.cells[0].source
    if not first.startswith(f"# {chapter.number} · "):
        yield f"its first line is not '# {chapter.number} · ...'"
    if f"**Question: {chapter.question}**" not in first:
        yield f"its first cell does not ask '{chapter.question}'"
    if strip_of_the_series(path) not in first:
        yield "its first cell has no strip of the series, or an old one"


@policy_of(SOURCE_POLICIES)
def has_a_card(notebook: NotebookNode, path: Path) -> Iterator[str]:
    """Second cell: what one learns, needs and waits for."""
    card = notebook.cells[1]
    missing = [part for part in CARD if part not in card.source]
    if "card" not in tags(card) or not MEASURED.search(card.source):
        missing.append("the tag 'card' and the place for the measured time")
    if missing:
        yield f"its second cell is no card: it lacks {', '.join(missing)}"


@policy_of(OUTPUT_POLICIES)
def shows_its_measured_cost(notebook: NotebookNode, path: Path) -> Iterator[str]:
    """The time and memory on the card are those of the last recording."""
    said = MEASURED.search(notebook.cells[1].source)
    measured = notebook.metadata.get("latentcrs", {}).get("measured")
    if not measured or not said or said[1] != measured:
        yield f"its card says {said and said[1]!r}, measured was {measured!r}"


@policy_of(SOURCE_POLICIES)
def is_configured_in_one_cell(notebook: NotebookNode, path: Path) -> Iterator[str]:
    """`## Setup` has at most two code cells; one cell, tagged `parameters`, only assigns."""
    parameters = [cell for _, cell in code_cells(notebook) if "parameters" in tags(cell)]
    if len(parameters) != 1:
        yield f"{len(parameters)} cells are tagged 'parameters'; there must be one"
        return
    statements = ast.parse(parameters[0].source).body
    if not all(isinstance(node, ast.Assign | ast.AnnAssign) for node in statements):
        yield "its cell tagged 'parameters' does more than assign"
    first_block = next(iter(blocks(notebook).values()), [])
    setup = notebook.cells[: notebook.cells.index(first_block[0])] if first_block else []
    n_cells = sum(cell.cell_type == "code" for cell in setup)
    if n_cells > 2 or not any("## Setup" in cell.source for cell in setup):
        yield f"before its first block it has {n_cells} code cells, not one or two of Setup"


@policy_of(SOURCE_POLICIES)
def has_short_cells(notebook: NotebookNode, path: Path) -> Iterator[str]:
    """Median code cell at most 8 lines, none over 40, no line over 92 characters."""
    lines = {place: cell.source.splitlines() for place, cell in code_cells(notebook)}
    for place, text in lines.items():
        if len(text) > MOST_LINES:
            yield f"cell {place} has {len(text)} lines (at most {MOST_LINES})"
        if (widest := max(map(len, text), default=0)) > WIDEST_LINE:
            yield f"cell {place} has a line of {widest} characters (at most {WIDEST_LINE})"
    median = statistics.median(len(text) for text in lines.values())
    if median > MEDIAN_LINES:
        yield f"its median code cell has {median:g} lines (at most {MEDIAN_LINES})"


@policy_of(SOURCE_POLICIES)
def is_read_in_one_sitting(notebook: NotebookNode, path: Path) -> Iterator[str]:
    """Not more prose and code than an hour and a half."""
    words = sum(len(text.split()) for text in prose(notebook))
    code = sum(len(cell.source.splitlines()) for _, cell in code_cells(notebook))
    if words > MOST_WORDS or code > MOST_CODE:
        most = f"(at most {MOST_WORDS} and {MOST_CODE})"
        yield f"it has {words} words and {code} lines of code {most}"


@policy_of(SOURCE_POLICIES)
def has_five_to_nine_blocks(notebook: NotebookNode, path: Path) -> Iterator[str]:
    """Its blocks are numbered from 1, and there are five to nine of them."""
    numbers = [int(match[1]) for heading in blocks(notebook) if (match := BLOCK.match(heading))]
    if numbers != list(range(1, len(numbers) + 1)) or len(numbers) not in BLOCKS:
        yield f"its blocks are numbered {numbers}, not from 1 to a number between 5 and 9"


@policy_of(SOURCE_POLICIES)
def marks_each_block(notebook: NotebookNode, path: Path) -> Iterator[str]:
    """Each block says whether it is core, more or optional, and how many minutes it takes."""
    for heading, cells in blocks(notebook).items():
        if heading not in [mark[0].split("\n")[0] for mark in MARK.finditer(cells[0].source)]:
            yield f"'{heading}' is not followed by '*core · 10 minutes*' or the like"


def core_minutes(notebook: NotebookNode) -> int:
    """How long the core of a notebook takes: its core blocks and its essential exercises."""
    text = "\n\n".join(prose(notebook))
    whole = sum(int(minutes) for kind, minutes in MARK.findall(text) if kind == "core")
    return whole + sum(int(m) for _, kind, m in TASK.findall(text) if kind == "essential")


@policy_of(SOURCE_POLICIES)
def varies_its_openings(notebook: NotebookNode, path: Path) -> Iterator[str]:
    """No paragraph opens with the two words of the one before it."""
    paragraphs = [p for text in prose(notebook) for p in FENCE.sub("", text).split("\n\n")]
    openings = [re.findall(r"[\w']+", p)[:2] for p in paragraphs if re.match(r"[*\w]", p)]
    for a, b in itertools.pairwise(openings):
        if a == b and len(a) == 2:
            yield f"two paragraphs in a row open with '{' '.join(a)}'"


@policy_of(OUTPUT_POLICIES)
def judges_each_block(notebook: NotebookNode, path: Path) -> Iterator[str]:
    """A block with checks ends them with one verdict, which nbval compares."""
    for heading, cells in blocks(notebook).items():
        code = [cell for cell in cells if cell.cell_type == "code"]
        n = sum(len(JUDGED.findall(compared_text(cell))) for cell in code)
        if code and n != 1:
            yield f"'{heading}' has {n} verdicts that are compared, not one"
        asked = [c.source for c in code if re.search(r"\bchecks\.\w+\(", c.source)]
        if asked and "checks.verdict()" not in asked[-1]:
            yield f"'{heading}' has checks after its verdict"


@policy_of(SOURCE_POLICIES)
def has_the_parts_of_a_lesson(notebook: NotebookNode, path: Path) -> Iterator[str]:
    """One prediction before the run; recap, limits, three to five readings, and what is next."""
    text = "\n\n".join(prose(notebook))
    for part in ("## Recap", "## Limits", "Next"):
        if part not in text:
            yield f"it has no '{part}'"
    if text.count("**Predict before you run.**") != 1:
        yield "it does not ask once '**Predict before you run.**'"
    readings = re.search(
        r"^## Readings\n(.*?)(?=^## |^\*\*Next|\Z)", text, re.DOTALL | re.MULTILINE
    )
    n_readings = len(re.findall(r"^- ", readings[1], re.MULTILINE)) if readings else 0
    if n_readings not in READINGS:
        yield f"it has {n_readings} readings (three to five)"


@policy_of(SOURCE_POLICIES)
def has_headings_in_order(notebook: NotebookNode, path: Path) -> Iterator[str]:
    """One title, and no heading more than one level below the one before it."""
    levels = [heading for text in prose(notebook) for heading in headings(text)]
    if [level for level, _ in levels].count(1) != 1:
        yield "it does not have exactly one title"
    for (above, _), (level, words) in itertools.pairwise(levels):
        if level > above + 1:
            yield f"the heading '{words}' jumps from level {above} to {level}"


@policy_of(SOURCE_POLICIES)
def names_known_equations(notebook: NotebookNode, path: Path) -> Iterator[str]:
    """Each equation that it names is one of the paper's, which are all on the map."""
    named: set[int] = set()
    for text in (cell.source for cell in notebook.cells):
        named |= mentioned_equations(text)
        for numbers, number in TAG.findall(text):
            named |= {int(found) for found in re.findall(r"\d+", numbers or number)}
    for number in sorted(named - {*PAPER_EQUATIONS}):
        yield f"Equation {number} is not in the map"


@policy_of(SOURCE_POLICIES)
def links_to_what_exists(notebook: NotebookNode, path: Path) -> Iterator[str]:
    """Relative links lead to files, and those within the page to headings.

    The name of a heading in a link is its words, joined by hyphens.
    """
    anchors = {words.replace(" ", "-") for text in prose(notebook) for _, words in headings(text)}
    for text in prose(notebook):
        for target in (a or b for a, b in LINK.findall(FENCE.sub("", text))):
            file, _, anchor = target.partition("#")
            if re.match(r"https?://", target):
                continue
            if file and not (path.parent / file).exists():
                yield f"it links to {target}, which does not exist"
            if not file and anchor not in anchors:
                yield f"it links to {target}, and has no such heading"


@policy_of(SOURCE_POLICIES)
def has_complete_exercises(notebook: NotebookNode, path: Path) -> Iterator[str]:
    """Three to five in the notebooks that must have them: task, stub, hint and solution."""
    places = [p for p, cell in enumerate(notebook.cells) if "exercise" in tags(cell)]
    wanted = path.stem[:2] in WITH_EXERCISES
    if (wanted or places) and len(places) not in EXERCISES:
        yield f"it has {len(places)} exercises (three to five)"
    for number, place in enumerate(places, start=1):
        before, stub = notebook.cells[place - 1].source, notebook.cells[place]
        after = notebook.cells[place + 1].source if place + 1 < len(notebook.cells) else ""
        if [n for n, *_ in TASK.findall(before)[-1:]] != [str(number)]:
            yield f"exercise {number} has no title with difficulty, importance and minutes"
        names = [node.name for node in ast.parse(stub.source).body
                 if isinstance(node, ast.FunctionDef) and is_stub(node)]  # fmt: skip
        if len(names) != 1:
            yield f"exercise {number} has no stub whose body is '...'"
        if not HINT.search(after):
            yield f"exercise {number} has no folded hint"
        solution = SOLUTION.search(after)
        if not solution or (names and f"def {names[0]}(" not in solution[1]):
            yield f"exercise {number} has no folded solution"


@policy_of(OUTPUT_POLICIES)
def exercises_are_unanswered(notebook: NotebookNode, path: Path) -> Iterator[str]:
    """Recorded without an answer, so that a reader meets the question first."""
    stubs = [cell for _, cell in code_cells(notebook) if "exercise" in tags(cell)]
    for number, stub in enumerate(stubs, start=1):
        if compared_text(stub) != f"Exercise {number}: not answered yet.\n":
            yield f"exercise {number} was not recorded as 'not answered yet'"


def is_stub(function: ast.FunctionDef) -> bool:
    """Whether a function's body is a docstring and an ellipsis, and nothing else."""
    return all(isinstance(getattr(node, "value", None), ast.Constant) and
               isinstance(node, ast.Expr) for node in function.body)  # fmt: skip
