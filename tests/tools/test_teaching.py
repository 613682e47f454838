"""What a class gets: the quiz and its page, lessons with and without solutions, slides."""

import json
import re
import sysconfig
from pathlib import Path

import nbformat
import pytest
from nbconvert import HTMLExporter, NotebookExporter

from course.chapters import CHAPTERS
from tools import notebooks, teaching
from tools.lesson_policies import BLOCK, MARK, TASK, blocks, prose

LESSON = Path("notebooks") / f"{CHAPTERS[5].stem}.ipynb"


def test_the_quiz_is_complete_and_its_page_is_of_it():
    quiz = json.loads(teaching.QUIZ.read_text(encoding="utf-8"))
    assert list(quiz) == [chapter.number for chapter in CHAPTERS]
    for one in (one for questions in quiz.values() for one in questions):
        assert len(set(one["options"])) == 4 and one["answer"] in range(4), one["question"]
        assert one["why"].endswith(".") and not one["why"].startswith(one["options"][one["answer"]])
    assert {len(questions) for questions in quiz.values()} == {5}
    assert teaching.quiz_page(quiz) == teaching.QUIZ.with_suffix(".md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def lessons(request):
    """The lessons, by number."""
    paths = {c.number: request.config.rootpath / f"notebooks/{c.stem}.ipynb" for c in CHAPTERS}
    return {number: nbformat.read(path, as_version=4) for number, path in paths.items()}


def minutes_of(lesson, kind):
    """Minutes of the sections of a kind, or of the exercises if it is a kind of exercise."""
    text = "\n\n".join(prose(lesson))
    marks = [*MARK.findall(text), *(task[1:] for task in TASK.findall(text))]
    return sum(int(minutes) for of, minutes in marks if of == kind)


def test_each_question_is_of_the_core_of_its_chapter(lessons):
    for number, questions in json.loads(teaching.QUIZ.read_text(encoding="utf-8")).items():
        sections = {
            int(BLOCK.match(heading)[1]): MARK.search(cells[0].source)[1]
            for heading, cells in blocks(lessons[number]).items()
        }
        for one in questions:  # 0: what stands before the first section
            assert {0: "core", **sections}[one["section"]] == "core", (number, one["question"])


def test_the_minutes_of_the_sessions_are_those_of_the_marks(lessons, request):
    page = (request.config.rootpath / "docs/teaching.md").read_text(encoding="utf-8")
    demo = (teaching.QUIZ.parent / "demo.md").read_text(encoding="utf-8")
    scenes = {int(n): int(m) for n, m in re.findall(r"## Scene (\d+) · .+ \((\d+) minutes", demo)}
    three, eight = page.split("## Three times")[1].split("## Eight sessions")
    sessions, found = [], 0
    for session, minutes, _, source in re.findall(r"^\|(.*)\| (\d+) \|(.*)\|(.*)\|$", three, re.M):
        sessions += [0] * bool(session.strip())
        sessions[-1] += int(minutes)
        if mark := re.match(r" (\d\d): (\w+)", source):
            found += 1
            assert int(minutes) == minutes_of(lessons[mark[1]], mark[2]), source
        elif mark := re.match(r" demo, scenes? (\d)(?: to (\d))?", source):
            shown = range(int(mark[1]), int(mark[2] or mark[1]) + 1)
            assert int(minutes) == sum(scenes[n] for n in shown), source
    assert sessions == [90, 90, 90] and found >= len(lessons)
    rows = re.findall(r"^\| \d \| ([\d, ]+) \|.*\| (\d+) \| (\d+) \| (\d+) \|$", eight, re.M)
    for numbers, *minutes in rows:
        core, essential = (
            sum(minutes_of(lessons[n], kind) for n in numbers.split(", "))
            for kind in ("core", "essential")
        )
        assert [*map(int, minutes)] == [core, essential, 90 - 15 - core - essential], numbers
    assert ", ".join(numbers for numbers, *_ in rows).split(", ") == list(lessons)


@pytest.mark.parametrize("whom", ["teacher", "student"])
def test_solutions_are_shown_or_gone_and_all_else_stays(whom, request):
    lesson = nbformat.read(request.config.rootpath / LESSON, as_version=4)
    exporter = NotebookExporter(preprocessors=[f"tools.teaching.for_{whom}"])
    text, _ = exporter.from_notebook_node(lesson)
    made = nbformat.reads(text, as_version=4)
    prose = "\n".join(cell.source for cell in made.cells if cell.cell_type == "markdown")
    n = sum(cell.source.count(teaching.FOLDED) for cell in lesson.cells)
    assert n >= 3 and teaching.FOLDED not in prose
    assert prose.count("<summary>Solution</summary>") == (n if whom == "teacher" else 0)
    assert prose.count("### Exercise") == prose.count("<summary>Hint</summary>") == n
    assert [c for c in made.cells if c.cell_type == "code"] == [
        c for c in lesson.cells if c.cell_type == "code"
    ]


def test_a_deck_needs_no_network_and_has_every_figure(request):
    pytest.importorskip("voila", reason="its copy of reveal.js")
    root = request.config.rootpath
    lesson = nbformat.read(root / LESSON, as_version=4)
    static = Path(sysconfig.get_path("data"), "share/jupyter/voila/templates/base")
    exporter = HTMLExporter(
        template_name="slides", extra_template_basedirs=[str(root / "tools")],
        extra_template_paths=[str(static)], preprocessors=[teaching.mathml],
    )  # fmt: skip
    deck, _ = exporter.from_notebook_node(lesson)
    page = deck.split("<script>")[0]  # what comes before reveal.js itself
    shown = [
        o for c in lesson.cells for o in c.get("outputs", []) if "image/png" in o.get("data", {})
    ]
    pictures = sum(len(notebooks.PICTURE.findall(c.source)) for c in lesson.cells)
    assert page.count('<section class="figure">') == len(shown) + pictures
    assert len(shown) >= 5 and page.count("<img") == len(shown) + pictures >= 7
    ends = page.split('<section class="verdict">')[1:]  # words, and how many checks held
    assert len(ends) >= 5 and all("checks: ok</p>" in end and "<p>" in end for end in ends)
    assert page.count('<section class="predict">') == 1 and "$$" not in page
    assert not [part for part in page.split('src="')[1:] if not part.startswith("data:")]
