"""The course as data: chapters and the map equation -> function -> test."""

import pytest

from course import chapters as course
from latentcrs_utils.errors import LatentCRSError


def test_committed_notebooks_are_chapters(notebook_path):
    assert notebook_path.stem in {chapter.stem for chapter in course.CHAPTERS}


def test_chapters_are_numbered_in_order():
    assert [c.number for c in course.CHAPTERS] == [f"{n:02d}" for n in range(len(course.CHAPTERS))]


@pytest.mark.parametrize(
    ("docstring", "numbers"),
    [
        ("The bound, Equation 4.", {4}),
        ("Equations 5 and 6 in one.", {5, 6}),
        ("Eqs. (11), (12) and (14).", {11, 12, 14}),
        ("Losses, Equations 4 to 7.", {4, 5, 6, 7}),
        ("Something else.\n\nUnlike Equation 8.", set()),
        ("Equation 99.", set()),
    ],
)
def test_numbers_in_docstrings(docstring, numbers):
    assert course._numbers(docstring) == numbers


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


def test_an_equation_without_a_function_is_a_gap(monkeypatch):
    monkeypatch.setitem(course.PAPER_EQUATIONS, 77, "invented")
    with pytest.raises(LatentCRSError, match="Equation 77 has no function"):
        course.equation_map()
