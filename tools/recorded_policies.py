"""What every committed notebook must satisfy as a file: how it was run, and what its outputs hold.

A policy takes a notebook and yields sentences that say what is wrong, none when all is well.
"""

import ast
import functools
import hashlib
import html
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from nbformat import NotebookNode

WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"
IGNORED = "nbval-ignore-output"
TAGS = {"card", "exercise", "lesson", "parameters", "twin", IGNORED}
COMPARED_SHARE = 0.85
LARGEST_IMAGE = 300_000  # bytes of the PNG
LARGEST_TEXT = 20_000  # characters of one output
LARGEST_NOTEBOOK = 2_000_000  # characters of all outputs
KERNEL = {"display_name": "Python 3", "language": "python", "name": "python3"}
LANGUAGE = {"name": "python", "file_extension": ".py"}
# Folders of machines; a path that a reader does not have must not be in a committed notebook.
MACHINE_PATHS = re.compile(r"(?<![\w.])(?:/(?:home|root|Users|tmp|work|opt|mnt)/|[A-Z]:\\\\)")
VERDICT_NO = re.compile(r": NO(?: \(.*\))?$", re.MULTILINE)
RANDOM_ID = re.compile(r"[0-9a-f]{8}")
WORDS_OF_A_FIGURE = 40  # characters that say less than this say nothing

Policy = Callable[..., list[str]]
# in the order of this file
POLICIES: list[Policy] = []
# not for a scratch notebook, but for a chapter of the course
CHAPTER_POLICIES: list[Policy] = []


def policy_of(policies: list[Policy]) -> Callable[[Callable[..., Iterator[str]]], Policy]:
    """Decorate a generator of sentences: it returns their list, and becomes one of ``policies``."""

    def register(find: Callable[..., Iterator[str]]) -> Policy:
        @functools.wraps(find)
        def found(*arguments: Any) -> list[str]:
            return list(find(*arguments))

        policies.append(found)
        return found

    return register


def code_cells(notebook: NotebookNode) -> Iterator[tuple[int, NotebookNode]]:
    """Yield (place counted from 1 over all cells, cell) of every code cell."""
    for place, cell in enumerate(notebook.cells, start=1):
        if cell.cell_type == "code":
            yield place, cell


def outputs(notebook: NotebookNode) -> Iterator[tuple[int, NotebookNode]]:
    """Yield (place of the cell, output) of every output."""
    for place, cell in code_cells(notebook):
        for output in cell.outputs:
            yield place, output


def tags(cell: NotebookNode) -> set[str]:
    """The tags of a cell."""
    return set(cell.metadata.get("tags", []))


def shown_text(output: NotebookNode) -> str:
    """All texts of one output; images are left out, base64 may spell anything."""
    data = output.get("data", {})
    texts = [str(value) for kind, value in data.items() if not kind.startswith("image/")]
    return "\n".join([*texts, output.get("text", "")])


def compared_text(cell: NotebookNode) -> str:
    """The printed text of a cell that strict nbval compares; empty where it is ignored.

    The title that stands in for an image is left out: it is written in the source.
    """
    if cell.cell_type != "code" or IGNORED in tags(cell):
        return ""
    kept = [o for o in cell.outputs if "image/png" not in o.get("data", {})]
    return "".join(shown_text(output) for output in kept)


@policy_of(POLICIES)
def ran_in_order(notebook: NotebookNode) -> Iterator[str]:
    """Execution counts are 1..N: once each, in order, on a fresh kernel, nothing stripped."""
    counts = [cell.execution_count for _, cell in code_cells(notebook)]
    if counts != list(range(1, len(counts) + 1)):
        yield "its code cells were not run once each, in order, on a fresh kernel"


def code_digest(notebook: NotebookNode) -> str:
    """The sha256, shortened, of all code; recording keeps it, so that a later change shows."""
    sources = "\0".join(cell.source.strip() for _, cell in code_cells(notebook))
    return hashlib.sha256(sources.encode()).hexdigest()[:16]


@policy_of(POLICIES)
def has_its_outputs(notebook: NotebookNode) -> Iterator[str]:
    """A cell that prints, shows or checks something has the output of it."""
    for place, cell in code_cells(notebook):
        if not cell.outputs and any(map(_speaks, ast.parse(cell.source).body)):
            yield f"what cell {place} prints is missing"


def _speaks(statement: ast.stmt) -> bool:
    """Whether a statement is a call whose purpose is its output."""
    if not isinstance(statement, ast.Expr) or not isinstance(statement.value, ast.Call):
        return False
    named = ast.unparse(statement.value.func)
    return named in {"print", "checks.verdict"} or named.split(".")[0] in {"plots", "exercises"}


@policy_of(POLICIES)
def is_of_its_code(notebook: NotebookNode) -> Iterator[str]:
    """The outputs were recorded with the code as it stands."""
    if notebook.metadata.get("latentcrs", {}).get("code") != code_digest(notebook):
        yield "its code was changed after its outputs were recorded: run `make notebooks`"


@policy_of(POLICIES)
def raises_nothing(notebook: NotebookNode) -> Iterator[str]:
    """No cell ended in an error."""
    for place, output in outputs(notebook):
        if output.output_type == "error":
            yield f"cell {place} raised {output.ename}: {output.evalue}"


@policy_of(POLICIES)
def has_no_stderr(notebook: NotebookNode) -> Iterator[str]:
    """Nothing was written to stderr: warnings and progress bars differ between machines."""
    for place, output in outputs(notebook):
        if output.get("name") == "stderr":
            yield f"cell {place} wrote to stderr: {output.text.strip()[:300]}"


@policy_of(POLICIES)
def has_no_refuted_claim(notebook: NotebookNode) -> Iterator[str]:
    """No verdict says NO."""
    for place, output in outputs(notebook):
        if VERDICT_NO.search(shown_text(output)):
            yield f"cell {place} prints a verdict NO: {shown_text(output).strip()[:300]}"


@policy_of(POLICIES)
def has_no_machine_path(notebook: NotebookNode) -> Iterator[str]:
    """Neither a source nor an output holds a path of one machine."""
    texts = [(place, cell.source) for place, cell in enumerate(notebook.cells, start=1)]
    texts += [(place, shown_text(output)) for place, output in outputs(notebook)]
    for place, text in texts:
        if match := MACHINE_PATHS.search(text):
            around = text[max(0, match.start() - 40) : match.end() + 40]
            yield f"cell {place} shows a machine's path: {around!r}"


@policy_of(POLICIES)
def has_no_widget_state(notebook: NotebookNode) -> Iterator[str]:
    """Widgets are neither in the metadata nor in an output: they only live in a kernel."""
    if "widgets" in notebook.metadata:
        yield "it holds the state of widgets"
    for place, output in outputs(notebook):
        if WIDGET_VIEW in output.get("data", {}):
            yield f"cell {place} holds a widget's view"


@policy_of(POLICIES)
def is_small(notebook: NotebookNode) -> Iterator[str]:
    """No output, and not all of them together, is larger than a reader's patience."""
    total = 0
    for place, output in outputs(notebook):
        text = shown_text(output)
        images = [v for k, v in output.get("data", {}).items() if k.startswith("image/")]
        total += len(text) + sum(map(len, images))
        if len(text) > LARGEST_TEXT:
            yield f"cell {place} prints {len(text):,} characters (at most {LARGEST_TEXT:,})"
        for size in (len(image) * 3 // 4 for image in images):
            if size > LARGEST_IMAGE:
                yield f"cell {place} has an image of {size:,} bytes (at most {LARGEST_IMAGE:,})"
    for place, cell in enumerate(notebook.cells, start=1):
        if cell.get("attachments") or "base64," in cell.source:
            yield f"cell {place} has a file inside its text: link to it instead"
    if total > LARGEST_NOTEBOOK:
        yield f"its outputs hold {total:,} characters (at most {LARGEST_NOTEBOOK:,})"


@policy_of(POLICIES)
def has_plain_metadata(notebook: NotebookNode) -> Iterator[str]:
    """Kernel and language are the course's, and no editor left anything of its own."""
    metadata = notebook.metadata
    if metadata.get("kernelspec") != KERNEL or metadata.get("language_info") != LANGUAGE:
        yield "its kernelspec or language_info is not plain Python 3"
    if extra := set(metadata) - {"kernelspec", "language_info", "latentcrs", "widgets"}:
        yield f"its metadata holds {', '.join(sorted(extra))}"
    if (notebook.nbformat, notebook.nbformat_minor) != (4, 5):
        yield "its format is not 4.5"
    for place, cell in enumerate(notebook.cells, start=1):
        if extra := set(cell.metadata) - {"tags", "jupyter"}:
            yield f"the metadata of cell {place} holds {', '.join(sorted(extra))}"
        if extra := tags(cell) - TAGS:
            yield f"cell {place} has a tag that means nothing here: {sorted(extra)}"


@policy_of(POLICIES)
def has_stable_ids(notebook: NotebookNode) -> Iterator[str]:
    """Each cell has an id of its own, made of words: a random one changes with every editor."""
    seen = set()
    for place, cell in enumerate(notebook.cells, start=1):
        name = cell.get("id", "")
        if not name or name in seen or RANDOM_ID.fullmatch(name):
            yield f"cell {place} has no stable id of its own ({name!r})"
        seen.add(name)


@policy_of(CHAPTER_POLICIES)
def is_compared(notebook: NotebookNode) -> Iterator[str]:
    """Strict nbval really compares a text in at least 85 % of the cells that have an output."""
    for place, cell in code_cells(notebook):
        if "NBVAL" in cell.source:
            yield f"cell {place} switches its comparison off in a comment"
    # a check says nothing where it holds; the verdict of its section is compared
    said = {p: compared_text(c).strip() or "checks." in c.source for p, c in code_cells(notebook)}
    printing = [
        (place, cell) for place, cell in code_cells(notebook) if cell.outputs or said[place]
    ]
    left = [place for place, _ in printing if not said[place]]
    if len(left) > (1 - COMPARED_SHARE) * len(printing) + 1e-9:
        yield (
            f"{len(printing) - len(left)} of {len(printing)} cells with output are compared, fewer "
            f"than {COMPARED_SHARE:.0%}; not compared: cells {', '.join(map(str, left))}"
        )


@policy_of(POLICIES)
def figures_have_words(notebook: NotebookNode) -> Iterator[str]:
    """Each image has an alternative text, and the same words are folded under it."""
    for place, cell in code_cells(notebook):
        told = [output.get("data", {}).get("text/html", "") for output in cell.outputs]
        told = html.unescape("".join(told))
        for output in cell.outputs:
            for kind in (k for k in output.get("data", {}) if k.startswith("image/")):
                alt = output.metadata.get(kind, {}).get("alt", "")
                if len(alt) < WORDS_OF_A_FIGURE:
                    yield f"the figure of cell {place} has no alternative text"
                elif alt not in told:
                    yield f"the facts of the figure of cell {place} are not in words"


# Voilà reads its configuration from the folder that it serves.
BESIDE = {"voila.json", "chat_server.py"}


def folder_problems(names: list[str]) -> list[str]:
    """What must not be committed beside the notebooks: ``names`` are paths below ``notebooks/``.

    Checkpoints, drafts and data belong elsewhere; the lessons' package is ``course/``.
    """

    def belongs(path: Path) -> bool:
        in_course = path.parts[0] == "course" and path.suffix in {".py", ".toml", ".svg", ".png"}
        return in_course or (path.suffix == ".ipynb" and len(path.parts) == 1)

    return [
        f"notebooks/{name} is committed, and is no chapter"
        for name in names
        if name not in BESIDE and not belongs(Path(name))
    ]
