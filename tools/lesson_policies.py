"""What every chapter of the course must have: the anatomy of a lesson, its length and its links.

A policy takes a notebook and its file and returns sentences that say what is wrong.
"""

from __future__ import annotations

import ast
import itertools
import re
import statistics
from collections.abc import Callable, Iterator
from pathlib import Path

from nbformat import NotebookNode

from course.chapters import CHAPTERS, PAPER_EQUATIONS, mentioned_equations, strip_of_the_series
from tools.recorded_policies import code_cells, compared_text, tags

MEDIAN_LINES, MOST_LINES, WIDEST_LINE = 8, 40, 92
WHY_WORDS = 80
BLOCKS = range(5, 10)
READINGS = range(3, 6)
EXERCISES = range(3, 6)
WITH_EXERCISES = {"01", "02", "03", "04", "05", "06", "07", "08", "09", "10", "11"}
MOST_WORDS, MOST_CODE = 4500, 500  # about an hour and a half of reading and running
CARD = ("You will be able to", "You need", "Time and memory", "GPU: not measured")
MEASURED = re.compile(r"<!-- measured -->(.*?)<!-- /measured -->", re.DOTALL)
BLOCK = re.compile(r"## (\d+) · \S")
READING = re.compile(r"\*\*(What you see|So what)")
FENCE = re.compile(r"^ *```.*?^ *```", re.DOTALL | re.MULTILINE)
LINK = re.compile(r"\]\(([^()\s]+)\)|(?:href|src)=\"([^\"]+)\"")
TAG = re.compile(r"\\text\{\(([\d, ]+)\)\}|\\tag\{(\d+)\}")
TASK = re.compile(r"^### Exercise (\d+) · .+ \((?:easy|medium|hard), \d+ minutes\)$", re.MULTILINE)
SOLUTION = re.compile(
    r"<details><summary>Solution</summary>\n\n.*?```python\n(.*?)```.*?\n</details>", re.DOTALL
)
HINT = re.compile(r"<details><summary>Hint</summary>\n\n.+?\n\n</details>", re.DOTALL)

LessonPolicy = Callable[[NotebookNode, Path], list[str]]


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


def opens_as_the_series(notebook: NotebookNode, path: Path) -> list[str]:
    """First cell: number and title, the chapter's question, the strip of all chapters."""
    chapter = next((chapter for chapter in CHAPTERS if chapter.stem == path.stem), None)
    if chapter is None:
        return [f"{path.name} is no chapter of notebooks/course/chapters.py"]
    first = notebook.cells[0].source
    found = []
    if not first.startswith(f"# {chapter.number} · "):
        found.append(f"its first line is not '# {chapter.number} · ...'")
    if f"**Question: {chapter.question}**" not in first:
        found.append(f"its first cell does not ask '{chapter.question}'")
    if strip_of_the_series(path) not in first:
        found.append("its first cell has no strip of the series, or an old one")
    return found


def has_a_card(notebook: NotebookNode, path: Path) -> list[str]:
    """Second cell: what one learns, needs and waits for."""
    card = notebook.cells[1]
    missing = [part for part in CARD if part not in card.source]
    if "card" not in tags(card) or not MEASURED.search(card.source):
        missing.append("the tag 'card' and the place for the measured time")
    return [f"its second cell is no card: it lacks {', '.join(missing)}"] if missing else []


def shows_its_measured_cost(notebook: NotebookNode, path: Path) -> list[str]:
    """The time and memory on the card are those of the last recording."""
    said = MEASURED.search(notebook.cells[1].source)
    measured = notebook.metadata.get("latentcrs", {}).get("measured")
    if not measured or not said or said[1] != measured:
        return [f"its card says {said and said[1]!r}, measured was {measured!r}"]
    return []


def keeps_the_digest_of_its_code(notebook: NotebookNode, path: Path) -> list[str]:
    """Recording left the digest by which a later change of the code shows."""
    if notebook.metadata.get("latentcrs", {}).get("code"):
        return []
    return ["it does not say of which code its outputs are: run `make notebooks`"]


def is_configured_in_one_cell(notebook: NotebookNode, path: Path) -> list[str]:
    """`## Setup` has at most two code cells; one cell, tagged `parameters`, only assigns."""
    found = []
    parameters = [cell for _, cell in code_cells(notebook) if "parameters" in tags(cell)]
    if len(parameters) != 1:
        return [f"{len(parameters)} cells are tagged 'parameters'; there must be one"]
    if not all(isinstance(node, ast.Assign | ast.AnnAssign)
               for node in ast.parse(parameters[0].source).body):  # fmt: skip
        found.append("its cell tagged 'parameters' does more than assign")
    first_block = next(iter(blocks(notebook).values()), [])
    setup = notebook.cells[: notebook.cells.index(first_block[0])] if first_block else []
    n_cells = sum(cell.cell_type == "code" for cell in setup)
    if n_cells > 2 or not any("## Setup" in cell.source for cell in setup):
        found.append(f"before its first block it has {n_cells} code cells, not one or two of Setup")
    return found


def has_short_cells(notebook: NotebookNode, path: Path) -> list[str]:
    """Median code cell at most 8 lines, none over 40, no line over 92 characters."""
    lines = {place: cell.source.splitlines() for place, cell in code_cells(notebook)}
    found = [
        f"cell {place} has {len(text)} lines (at most {MOST_LINES})"
        for place, text in lines.items()
        if len(text) > MOST_LINES
    ]
    found += [
        f"cell {place} has a line of {len(line)} characters (at most {WIDEST_LINE})"
        for place, text in lines.items()
        for line in text
        if len(line) > WIDEST_LINE
    ]
    median = statistics.median(len(text) for text in lines.values())
    if median > MEDIAN_LINES:
        found.append(f"its median code cell has {median:g} lines (at most {MEDIAN_LINES})")
    return found


def is_read_in_one_sitting(notebook: NotebookNode, path: Path) -> list[str]:
    """Not more prose and code than an hour and a half."""
    words = sum(len(text.split()) for text in prose(notebook))
    code = sum(len(cell.source.splitlines()) for _, cell in code_cells(notebook))
    if words > MOST_WORDS or code > MOST_CODE:
        return [f"it has {words} words and {code} lines of code "
                f"(at most {MOST_WORDS} and {MOST_CODE})"]  # fmt: skip
    return []


def has_five_to_nine_blocks(notebook: NotebookNode, path: Path) -> list[str]:
    """Its blocks are numbered from 1, and there are five to nine of them."""
    numbers = [int(match[1]) for heading in blocks(notebook) if (match := BLOCK.match(heading))]
    if numbers != list(range(1, len(numbers) + 1)) or len(numbers) not in BLOCKS:
        return [f"its blocks are numbered {numbers}, not from 1 to a number between 5 and 9"]
    return []


def says_why_in_few_words(notebook: NotebookNode, path: Path) -> list[str]:
    """Each block begins with a **Why.**, and none is longer than 80 words."""
    found = []
    for heading, cells in blocks(notebook).items():
        text = "\n\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
        whys = [part for part in text.split("\n\n") if part.startswith("**Why.**")]
        if not whys:
            found.append(f"'{heading}' does not say why")
        found += [
            f"a why in '{heading}' has {len(why.split())} words (at most {WHY_WORDS})"
            for why in whys
            if len(why.split()) > WHY_WORDS
        ]
    return found


def reads_and_checks_each_block(notebook: NotebookNode, path: Path) -> list[str]:
    """A block with code ends with a reading, and holds a verdict that nbval compares."""
    found = []
    for heading, cells in blocks(notebook).items():
        if not any(cell.cell_type == "code" for cell in cells):
            continue
        if not any(READING.search(c.source) for c in cells if c.cell_type == "markdown"):
            found.append(f"'{heading}' has no '**What you see, why, so what.**'")
        if not any(re.search(r": ok$", compared_text(c), re.MULTILINE) for c in cells):
            found.append(f"'{heading}' checks nothing that is compared")
    return found


def has_the_parts_of_a_lesson(notebook: NotebookNode, path: Path) -> list[str]:
    """One prediction before the run; recap, limits, three to five readings, and what is next."""
    text = "\n\n".join(prose(notebook))
    found = [
        f"it has no '{part}'" for part in ("## Recap", "## Limits", "Next") if part not in text
    ]
    if text.count("**Predict before you run.**") != 1:
        found.append("it does not ask once '**Predict before you run.**'")
    readings = re.search(
        r"^## Readings\n(.*?)(?=^## |^\*\*Next|\Z)", text, re.DOTALL | re.MULTILINE
    )
    n_readings = len(re.findall(r"^- ", readings[1], re.MULTILINE)) if readings else 0
    if n_readings not in READINGS:
        found.append(f"it has {n_readings} readings (three to five)")
    return found


def has_headings_in_order(notebook: NotebookNode, path: Path) -> list[str]:
    """One title, and no heading more than one level below the one before it."""
    levels = [heading for text in prose(notebook) for heading in headings(text)]
    found = []
    if [level for level, _ in levels].count(1) != 1:
        found.append("it does not have exactly one title")
    for (above, _), (level, words) in itertools.pairwise(levels):
        if level > above + 1:
            found.append(f"the heading '{words}' jumps from level {above} to {level}")
    return found


def names_known_equations(notebook: NotebookNode, path: Path) -> list[str]:
    """Each equation that it names is one of the paper's, which are all on the map."""
    named: set[int] = set()
    for text in (cell.source for cell in notebook.cells):
        named |= mentioned_equations(text)
        for numbers, number in TAG.findall(text):
            named |= {int(found) for found in re.findall(r"\d+", numbers or number)}
    return [f"Equation {number} is not in the map" for number in sorted(named - {*PAPER_EQUATIONS})]


def links_to_what_exists(notebook: NotebookNode, path: Path) -> list[str]:
    """Relative links lead to files, and those within the page to headings.

    The name of a heading in a link is its words, joined by hyphens.
    """
    found = []
    anchors = {words.replace(" ", "-") for text in prose(notebook) for _, words in headings(text)}
    for text in prose(notebook):
        for target in (a or b for a, b in LINK.findall(FENCE.sub("", text))):
            file, _, anchor = target.partition("#")
            if re.match(r"https?://", target):
                continue
            if file and not (path.parent / file).exists():
                found.append(f"it links to {target}, which does not exist")
            if not file and anchor not in anchors:
                found.append(f"it links to {target}, and has no such heading")
    return found


def has_complete_exercises(notebook: NotebookNode, path: Path) -> list[str]:
    """Three to five in the notebooks that must have them: task, stub, hint and solution."""
    places = [p for p, cell in enumerate(notebook.cells) if "exercise" in tags(cell)]
    found = []
    wanted = path.stem[:2] in WITH_EXERCISES
    if (wanted or places) and len(places) not in EXERCISES:
        found.append(f"it has {len(places)} exercises (three to five)")
    for number, place in enumerate(places, start=1):
        before, stub = notebook.cells[place - 1].source, notebook.cells[place]
        after = notebook.cells[place + 1].source if place + 1 < len(notebook.cells) else ""
        if TASK.findall(before)[-1:] != [str(number)]:
            found.append(f"exercise {number} has no title with difficulty and minutes before it")
        names = [node.name for node in ast.parse(stub.source).body
                 if isinstance(node, ast.FunctionDef) and is_stub(node)]  # fmt: skip
        if len(names) != 1:
            found.append(f"exercise {number} has no stub whose body is '...'")
        if not HINT.search(after):
            found.append(f"exercise {number} has no folded hint")
        solution = SOLUTION.search(after)
        if not solution or (names and f"def {names[0]}(" not in solution[1]):
            found.append(f"exercise {number} has no folded solution")
    return found


def exercises_are_unanswered(notebook: NotebookNode, path: Path) -> list[str]:
    """Recorded without an answer, so that a reader meets the question first."""
    stubs = [cell for _, cell in code_cells(notebook) if "exercise" in tags(cell)]
    return [
        f"exercise {number} was not recorded as 'not answered yet'"
        for number, stub in enumerate(stubs, start=1)
        if compared_text(stub) != f"Exercise {number}: not answered yet.\n"
    ]


def is_stub(function: ast.FunctionDef) -> bool:
    """Whether a function's body is a docstring and an ellipsis, and nothing else."""
    return all(isinstance(getattr(node, "value", None), ast.Constant) and
               isinstance(node, ast.Expr) for node in function.body)  # fmt: skip


# What can be told from the text alone, before an execution of minutes.
SOURCE_POLICIES: tuple[LessonPolicy, ...] = (
    opens_as_the_series, has_a_card, is_configured_in_one_cell, has_short_cells,
    is_read_in_one_sitting, has_five_to_nine_blocks, says_why_in_few_words,
    has_the_parts_of_a_lesson, has_headings_in_order, names_known_equations,
    links_to_what_exists, has_complete_exercises,
)  # fmt: skip
OUTPUT_POLICIES: tuple[LessonPolicy, ...] = (
    shows_its_measured_cost, keeps_the_digest_of_its_code, reads_and_checks_each_block,
    exercises_are_unanswered,
)  # fmt: skip
