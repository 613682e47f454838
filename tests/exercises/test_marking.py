"""A verdict never raises, accepts what equals the reference and says where the rest fails."""

import numpy as np
import pytest
import torch

from course.exercises.marking import mark


def said(capsys, answer, reference, *cases, **options):
    mark("Exercise 1", answer, reference, cases, **options)
    return capsys.readouterr().out.strip()


@pytest.mark.parametrize("empty", [lambda n: None, lambda n: ...])
def test_a_stub_is_not_answered_yet(capsys, empty):
    assert said(capsys, empty, abs, (1,)) == "Exercise 1: not answered yet."


def test_a_stub_that_raises_is_not_answered_yet(capsys):
    def stub(n):
        raise NotImplementedError

    assert said(capsys, stub, abs, (1,)) == "Exercise 1: not answered yet."


def test_a_right_answer_on_all_cases(capsys):
    assert said(capsys, lambda n: max(n, -n), abs, (1,), (-2,)) == "Exercise 1: right."


def test_one_wrong_case_is_enough_and_is_shown(capsys):
    text = said(capsys, lambda n: n, abs, (1,), (-2,), advice="Mind the sign.")
    assert text == "Exercise 1: not yet. For (-2) it gave -2, expected 2. Mind the sign."


def test_an_error_becomes_part_of_the_verdict(capsys):
    text = said(capsys, lambda n: 1 / 0, abs, (3,))
    assert text == ("Exercise 1: not yet. For (3) it raised ZeroDivisionError: division by zero.")


@pytest.mark.parametrize(
    ("given", "expected", "verdict"),
    [
        (torch.tensor([0.5, 0.25]), np.array([0.5, 0.25]), "right"),
        ([0.5, 0.25001], [0.5, 0.25], "right"),
        ([[0.5, 0.25]], [0.5, 0.25], "not yet"),
        ([0.5, float("nan")], [0.5, float("nan")], "right"),
        ({1, 2}, {2, 1}, "right"),
        ([1, 2], {1, 2}, "not yet"),
        ({"a": 1.0}, {"a": 1.0}, "right"),
        ({"a": 1.0, "b": 2.0}, {"a": 1.0}, "not yet"),
        ("comedy", "comedy", "right"),
        ("Comedy", "comedy", "not yet"),
        (1, True, "not yet"),
        (["a", "b"], ["a", "b"], "right"),
        (["a"], ["a", "b"], "not yet"),
        ("12", 12.5, "not yet"),
    ],
)
def test_what_counts_as_the_same(capsys, given, expected, verdict):
    text = said(capsys, lambda: given, lambda: expected, ())
    assert text.startswith(f"Exercise 1: {verdict}")


def test_a_long_value_is_cut(capsys):
    text = said(capsys, lambda n: "x" * 10_000, lambda n: "y", (1,))
    assert len(text) < 700 and "…" in text


def test_an_answer_that_changes_its_argument_does_not_change_the_question(capsys):
    def in_place(x):
        return x.sub_(1)

    assert "right" in said(capsys, in_place, lambda x: x - 1, (torch.tensor([2.0]),))
