"""What every committed notebook must satisfy as a file: how it was run, and what its outputs hold.

A policy takes a notebook and returns sentences that say what is wrong, none when all is well.
"""

from __future__ import annotations

import ast
import hashlib
import re
from collections.abc import Callable, Iterator
from pathlib import Path

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

Policy = Callable[[NotebookNode], list[str]]


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
    kept = [o for o in cell.outputs if o.output_type in ("stream", "execute_result")]
    return "".join(shown_text(output) for output in kept)


def ran_in_order(notebook: NotebookNode) -> list[str]:
    """Execution counts are 1..N: once each, in order, on a fresh kernel, nothing stripped."""
    counts = [cell.execution_count for _, cell in code_cells(notebook)]
    if counts != list(range(1, len(counts) + 1)):
        return ["its code cells were not run once each, in order, on a fresh kernel"]
    return []


def code_digest(notebook: NotebookNode) -> str:
    """The sha256, shortened, of all code; recording keeps it, so that a later change shows."""
    sources = "\0".join(cell.source.strip() for _, cell in code_cells(notebook))
    return hashlib.sha256(sources.encode()).hexdigest()[:16]


def is_of_its_code(notebook: NotebookNode) -> list[str]:
    """The outputs were recorded with the code as it stands."""
    if notebook.metadata.get("latentcrs", {}).get("code") != code_digest(notebook):
        return ["its code was changed after its outputs were recorded: run `make notebooks`"]
    return []


def has_its_outputs(notebook: NotebookNode) -> list[str]:
    """A cell that prints, shows or checks something has the output of it."""
    silent = [
        place
        for place, cell in code_cells(notebook)
        if not cell.outputs and any(map(_speaks, ast.parse(cell.source).body))
    ]
    places = ", ".join(map(str, silent))
    return [f"what these cells print is missing: {places}"] if silent else []


def _speaks(statement: ast.stmt) -> bool:
    """Whether a statement is a call whose purpose is its output."""
    if not isinstance(statement, ast.Expr) or not isinstance(statement.value, ast.Call):
        return False
    return ast.unparse(statement.value.func).split(".")[0] in {"print", "checks", "exercises"}


def raises_nothing(notebook: NotebookNode) -> list[str]:
    """No cell ended in an error."""
    return [
        f"cell {place} raised {output.ename}: {output.evalue}"
        for place, output in outputs(notebook)
        if output.output_type == "error"
    ]


def has_no_stderr(notebook: NotebookNode) -> list[str]:
    """Nothing was written to stderr: warnings and progress bars differ between machines."""
    return [
        f"cell {place} wrote to stderr: {output.text.strip()[:300]}"
        for place, output in outputs(notebook)
        if output.get("name") == "stderr"
    ]


def has_no_refuted_claim(notebook: NotebookNode) -> list[str]:
    """No verdict says NO."""
    return [
        f"cell {place} prints a verdict NO: {shown_text(output).strip()[:300]}"
        for place, output in outputs(notebook)
        if VERDICT_NO.search(shown_text(output))
    ]


def has_no_machine_path(notebook: NotebookNode) -> list[str]:
    """Neither a source nor an output holds a path of one machine."""
    found = []
    texts = [(place, cell.source) for place, cell in enumerate(notebook.cells, start=1)]
    texts += [(place, shown_text(output)) for place, output in outputs(notebook)]
    for place, text in texts:
        if match := MACHINE_PATHS.search(text):
            around = text[max(0, match.start() - 40) : match.end() + 40]
            found.append(f"cell {place} shows a machine's path: {around!r}")
    return found


def has_no_widget_state(notebook: NotebookNode) -> list[str]:
    """Widgets are neither in the metadata nor in an output: they only live in a kernel."""
    found = ["it holds the state of widgets"] if "widgets" in notebook.metadata else []
    return found + [
        f"cell {place} holds a widget's view"
        for place, output in outputs(notebook)
        if WIDGET_VIEW in output.get("data", {})
    ]


def is_small(notebook: NotebookNode) -> list[str]:
    """No output, and not all of them together, is larger than a reader's patience."""
    found, total = [], 0
    for place, output in outputs(notebook):
        text = shown_text(output)
        images = [v for k, v in output.get("data", {}).items() if k.startswith("image/")]
        total += len(text) + sum(map(len, images))
        if len(text) > LARGEST_TEXT:
            found.append(f"cell {place} prints {len(text):,} characters (at most {LARGEST_TEXT:,})")
        for image in images:
            if len(image) * 3 // 4 > LARGEST_IMAGE:
                found.append(f"cell {place} has an image of {len(image) * 3 // 4:,} bytes "
                             f"(at most {LARGEST_IMAGE:,})")  # fmt: skip
    for place, cell in enumerate(notebook.cells, start=1):
        if cell.get("attachments") or "base64," in cell.source:
            found.append(f"cell {place} has a file inside its text: link to it instead")
    if total > LARGEST_NOTEBOOK:
        found.append(f"its outputs hold {total:,} characters (at most {LARGEST_NOTEBOOK:,})")
    return found


def has_plain_metadata(notebook: NotebookNode) -> list[str]:
    """Kernel and language are the course's, and no editor left anything of its own."""
    metadata = notebook.metadata
    found = []
    if metadata.get("kernelspec") != KERNEL or metadata.get("language_info") != LANGUAGE:
        found.append("its kernelspec or language_info is not plain Python 3")
    if extra := set(metadata) - {"kernelspec", "language_info", "latentcrs", "widgets"}:
        found.append(f"its metadata holds {', '.join(sorted(extra))}")
    if (notebook.nbformat, notebook.nbformat_minor) != (4, 5):
        found.append("its format is not 4.5")
    for place, cell in enumerate(notebook.cells, start=1):
        if extra := set(cell.metadata) - {"tags", "jupyter"}:
            found.append(f"the metadata of cell {place} holds {', '.join(sorted(extra))}")
        if extra := tags(cell) - TAGS:
            found.append(f"cell {place} has a tag that means nothing here: {sorted(extra)}")
    return found


def has_stable_ids(notebook: NotebookNode) -> list[str]:
    """Each cell has an id of its own, made of words: a random one changes with every editor."""
    found, seen = [], set()
    for place, cell in enumerate(notebook.cells, start=1):
        name = cell.get("id", "")
        if not name or name in seen or RANDOM_ID.fullmatch(name):
            found.append(f"cell {place} has no stable id of its own ({name!r})")
        seen.add(name)
    return found


def is_compared(notebook: NotebookNode) -> list[str]:
    """Strict nbval really compares a text in at least 85 % of the cells that have an output."""
    found = [
        f"cell {place} switches its comparison off in a comment"
        for place, cell in code_cells(notebook)
        if "NBVAL" in cell.source
    ]
    printing = [(place, cell) for place, cell in code_cells(notebook) if cell.outputs]
    left = [place for place, cell in printing if not compared_text(cell).strip()]
    if len(left) > (1 - COMPARED_SHARE) * len(printing) + 1e-9:
        found.append(
            f"{len(printing) - len(left)} of {len(printing)} cells with output are compared, fewer "
            f"than {COMPARED_SHARE:.0%}; not compared: cells {', '.join(map(str, left))}"
        )
    return found


def figures_have_words(notebook: NotebookNode) -> list[str]:
    """Each image has an alternative text, and the same words are printed under it."""
    found = []
    for place, cell in code_cells(notebook):
        printed = squeezed("".join(output.get("text", "") for output in cell.outputs))
        for output in cell.outputs:
            for kind in (k for k in output.get("data", {}) if k.startswith("image/")):
                alt = output.metadata.get(kind, {}).get("alt", "")
                if len(alt) < WORDS_OF_A_FIGURE:
                    found.append(f"the figure of cell {place} has no alternative text")
                elif squeezed(alt) not in printed:
                    found.append(f"the facts of the figure of cell {place} are not printed")
    return found


def squeezed(text: str) -> str:
    """A text without white space: where a line was broken does not matter."""
    return "".join(text.split())


POLICIES: tuple[Policy, ...] = (
    ran_in_order, has_its_outputs, is_of_its_code, raises_nothing, has_no_stderr,
    has_no_refuted_claim, has_no_machine_path, has_no_widget_state, is_small, has_plain_metadata,
    has_stable_ids, figures_have_words,
)  # fmt: skip
# Voilà reads its configuration from the folder that it serves.
BESIDE = {"voila.json", "chat_server.py"}
# Not for a scratch notebook, but for a chapter of the course.
CHAPTER_POLICIES: tuple[Policy, ...] = (is_compared,)


def folder_problems(names: list[str]) -> list[str]:
    """What must not be committed beside the notebooks: ``names`` are paths below ``notebooks/``.

    Checkpoints, drafts and data belong elsewhere; the lessons' package is ``course/``.
    """

    def belongs(path: Path) -> bool:
        in_course = path.parts[0] == "course" and path.suffix == ".py"
        return in_course or (path.suffix == ".ipynb" and len(path.parts) == 1)

    return [
        f"notebooks/{name} is committed, and is no chapter"
        for name in names
        if name not in BESIDE and not belongs(Path(name))
    ]
