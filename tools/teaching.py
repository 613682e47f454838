"""What a class gets: lessons without or with their solutions, slides, and the quiz to print.

`python -m tools.teaching` writes docs/teaching/quiz.md from docs/teaching/quiz.json. `mathml`,
`for_student` and `for_teacher` are preprocessors of nbconvert, which the Makefile names.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from nbformat import NotebookNode

from course.chapters import CHAPTERS
from tools.notebooks import self_contained

QUIZ = Path(__file__).resolve().parents[1] / "docs" / "teaching" / "quiz.json"
FOLDED, OPEN = (f"<details{state}><summary>Solution</summary>" for state in ("", " open"))
SOLUTION = re.compile(rf"{FOLDED}.*?</details>\n*", re.DOTALL)


def prose(edit: Callable[[str], str]) -> Callable[[NotebookNode, Any], tuple[NotebookNode, Any]]:
    """Make a preprocessor of nbconvert that edits the Markdown cells of a notebook in place."""

    def preprocess(notebook: NotebookNode, resources: Any) -> tuple[NotebookNode, Any]:
        for cell in (c for c in notebook.cells if c.cell_type == "markdown"):
            cell.source = edit(cell.source)
        return notebook, resources

    return preprocess


mathml = prose(self_contained)
for_student = prose(lambda text: SOLUTION.sub("", text).rstrip())
for_teacher = prose(lambda text: text.replace(FOLDED, OPEN))


def quiz_page(quiz: dict[str, list[dict[str, Any]]]) -> str:
    """The questions as Markdown, a heading per chapter, with the key and its reasons at the end."""
    page, key = ["# Quiz", "*Made from `quiz.json` by `make quiz`. One answer is right.*"], []
    for chapter in CHAPTERS:
        page.append(f"## {chapter.number} · {chapter.title}")
        for number, one in enumerate(quiz[chapter.number], start=1):
            options = [f"- {'abcd'[n]}) {text}" for n, text in enumerate(one["options"])]
            page += [f"**{chapter.number}.{number}** {one['question']}", "\n".join(options)]
            where = f"Section {one['section']}" if one["section"] else "Introduction"
            letter = "abcd"[one["answer"]]
            key.append(f"- **{chapter.number}.{number}: {letter}.** {one['why']} *{where}.*")
    return "\n\n".join([*page, "## Key", "\n".join(key)]) + "\n"


if __name__ == "__main__":
    page_of_all = quiz_page(json.loads(QUIZ.read_text(encoding="utf-8")))
    QUIZ.with_suffix(".md").write_text(page_of_all, encoding="utf-8")
