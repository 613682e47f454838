"""The course as data: chapters and the map equation -> function -> test."""

import nbformat
import pytest

from course import chapters as course
from latentcrs_utils.errors import LatentCRSError
from tools.lesson_policies import core_minutes, prose
from tools.recorded_policies import tags

from .conftest import NOTEBOOKS


def test_committed_notebooks_are_chapters_or_guides(notebook_path, tool):
    assert notebook_path.stem in {chapter.stem for chapter in course.CHAPTERS} | tool.GUIDES


def test_every_equation_has_a_function_and_every_function_a_test():
    rows = course.equation_map()
    assert {row.number for row in rows} == set(course.PAPER_EQUATIONS)
    assert [row.number for row in rows] == sorted(row.number for row in rows)
    assert ("em.losses.elbo", 4) in {(row.function, row.number) for row in rows}


def test_a_function_without_a_test_is_a_gap(tmp_path):
    tests = tmp_path / "tests"
    tests.mkdir()
    (tests / "test_a.py").write_text("def test_elbo():\n    assert elbo(1, 2)\n")
    with pytest.raises(LatentCRSError, match=r"infonce \(Equation 7\) is used by no test"):
        course.equation_map(tests)


def test_the_core_takes_four_and_a_half_hours_at_most():
    lessons = [nbformat.read(path, as_version=4) for path in NOTEBOOKS if path.stem[:2] < "12"]
    assert sum(map(core_minutes, lessons)) <= 270
    readings = sum(text.count("**What you see") for one in lessons for text in prose(one))
    exercises = [cell for one in lessons for cell in one.cells if "exercise" in tags(cell)]
    assert readings <= 40 <= len(exercises)
