"""What notebooks print: verdicts on their claims, the environment, and marks of answers."""

import numpy as np
import pytest
import torch

from course import checks
from course.exercises.marking import mark

NAN, INF = float("nan"), torch.inf
ONES, MIXED = torch.ones(2), torch.tensor([True, False])


@pytest.mark.parametrize(
    ("check", "values", "verdict"),
    [
        *((checks.holds, (value,), "") for value in (True, MIXED | True, np.bool_(True))),
        *((checks.holds, (value,), "NO") for value in (False, MIXED)),
        (checks.equal, (ONES, [1.0, 1.0 + 1e-7]), ""),
        (checks.equal, (ONES, [1.0, 1.5]), "NO (they differ by up to 0.5)"),
        (checks.equal, (ONES, torch.ones(1, 2)), "NO (shapes (2,) and (1, 2)"),
        (checks.equal, (NAN, NAN), "NO"), (checks.equal, (-INF, -INF), ""),
        (checks.within, (0.11, 0.1, 0.12), ""), (checks.within, (0.13, 0.1, 0.12), "NO"),
    ],
)  # fmt: skip
def test_a_verdict(capsys, check, values, verdict):
    checks.holds("A section has several", True)
    check("NDCG", *values)
    claim = "NDCG from 0.1 to 0.12" if check is checks.within else "NDCG"
    said = capsys.readouterr().out
    if check is checks.within:  # shown whether it is in or out
        shown, _, said = said.partition("\n")
        assert shown == f"NDCG: {values[0]} (expected: 0.1 to 0.12)"
    assert said.startswith(f"{claim}: {verdict}") if verdict else not said
    checks.verdict()
    assert capsys.readouterr().out == ("1 of 2 checks: NO\n" if verdict else "2 checks: ok\n")
    checks.holds("The next one counts from zero", True)
    checks.verdict()
    checks.verdict()  # a verdict on nothing must not pass for one
    assert capsys.readouterr().out == "1 check: ok\n0 checks: NO\n"


def marked(capsys, answer, reference, *cases, **options):
    mark("Exercise 1", answer, reference, cases, **options)
    return capsys.readouterr().out.strip()


def raising(n):
    raise NotImplementedError


@pytest.mark.parametrize("stub", [lambda n: None, lambda n: ..., raising])
def test_a_stub_is_not_answered_yet(capsys, stub):
    assert marked(capsys, stub, abs, (1,)) == "Exercise 1: not answered yet."


def test_one_wrong_case_is_enough_and_is_shown(capsys):
    assert marked(capsys, lambda n: max(n, -n), abs, (1,), (-2,)) == "Exercise 1: right."
    text = marked(capsys, lambda n: n, abs, (1,), (-2,), advice="Mind the sign.")
    assert text == "Exercise 1: not yet. For (-2) it gave -2, expected 2. Mind the sign."
    text = marked(capsys, lambda n: 1 / 0, abs, (3,))
    assert text.startswith("Exercise 1: not yet. For (3)") and "ZeroDivisionError" in text


@pytest.mark.parametrize(
    ("given", "expected", "verdict"),
    [
        (torch.tensor([0.5, 0.25]), np.array([0.5, 0.25]), "right"),
        ([0.5, 0.25001], [0.5, 0.25], "right"), ([[0.5, 0.25]], [0.5, 0.25], "right"),
        ([0.5, float("nan")], [0.5, float("nan")], "right"),
        ({1, 2}, {2, 1}, "right"), ([1, 2], {1, 2}, "not yet"),
        ({"a": 1.0}, {"a": 1.0}, "right"), ({"a": 1.0, "b": 2.0}, {"a": 1.0}, "not yet"),
        ("comedy", "comedy", "right"), ("Comedy", "comedy", "not yet"), (1, True, "not yet"),
        (["a", "b"], ["a", "b"], "right"), (["a"], ["a", "b"], "not yet"),
        ("12", 12.5, "not yet"),
    ],
)  # fmt: skip
def test_what_counts_as_the_same(capsys, given, expected, verdict):
    text = marked(capsys, lambda: given, lambda: expected, ())
    assert text.startswith(f"Exercise 1: {verdict}")


def test_an_answer_that_changes_its_argument_does_not_change_the_question(capsys):
    def in_place(x):
        return x.sub_(1)

    assert "right" in marked(capsys, in_place, lambda x: x - 1, (torch.tensor([2.0]),))
