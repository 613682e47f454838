"""Figures: the text twin has the figure's numbers, the image has an alternative text."""

import base64
import itertools

import numpy as np
import pytest

from latentcrs_utils import pictures, plots

from .conftest import NOTEBOOKS


@pytest.fixture
def shown(monkeypatch):
    """What the figure functions hand to IPython."""
    calls = []
    monkeypatch.setattr("IPython.display.display", lambda data, **more: calls.append((data, more)))
    return calls


SHARES = {"seen": {"x": 0.5, "y": 0.25}, "unseen": {"x": 0.125, "y": 1.0}}
GAINS = {"a": {"x": 0.5, "y": -0.25}, "b": {"x": 0.125, "y": np.nan}}
POINTS = {"left": [[0, 0], [2, 2], [1, 7]], "a right one": [[10, 10]]}


@pytest.mark.parametrize(
    ("draw", "values", "options", "facts"),
    [
        (plots.lines, {"a": (range(3), [1, 2, 3.25]), "b": (range(3), [np.nan, 5, 4])},
         {"digits": 2, "spans": {"first": (0, 1), "second": (1, 2)}, "references": {"goal": 6.0}},
         "y: a from 1.00 to 3.25; b from 5.00 to 4.00; goal at 6.00."),
        (plots.bars, SHARES,
         {"intervals": {"seen": {"x": (0.4, 0.6), "y": (0.2, 0.3)}}, "references": {"chance": 0.1}},
         "x: seen: x 0.50, y 0.25; unseen: x 0.12, y 1.00; chance 0.10."),
        (plots.dots, GAINS,
         {"digits": 2, "intervals": {"a": {"x": (0.4, 0.6), "y": (-0.3, 0.1)}},
          "references": {"no difference": 0.0}},
         "x: a: x 0.50 (0.40 to 0.60), y -0.25 (-0.30 to 0.10); b: x 0.12, y none; "
         "no difference 0.00."),
        (plots.stacks, {"first": {"x": 0.75, "y": 0.25}, "second": {"x": 0.5, "y": 0.5}}, {},
         "x: first: x 0.75, y 0.25; second: x 0.50, y 0.50."),
        (plots.heatmap, np.eye(2), {"rows": ["r1", "r2"], "columns": ["c1", "c2"]},
         "Columns c1, c2. r1 1.00 0.00; r2 0.00 1.00."),
        (plots.histogram, {"a": np.arange(101)}, {},
         "x: a median 50.00 (quartiles 25.00 to 75.00)."),
        (plots.scatter, POINTS, {"others": np.zeros((5, 2))},
         "left: 3 around (1.0, 2.0); a right one: 1 around (10.0, 10.0); others: 5."),
        # with stars the middle is the mean
        (plots.scatter, POINTS, {"stars": True},
         "left: 3 around (1.0, 3.0); a right one: 1 around (10.0, 10.0)."),
        (plots.silhouettes, {"a": [0.5, 0.25], "b": [-0.5, 0.1, 0.25, 0.15]}, {},
         "a 2 points, mean 0.38, 0% below 0; b 4 points, mean 0.00, 25% below 0; "
         "mean of all 0.12."),
    ],
    ids=lambda part: getattr(part, "__name__", ""),
)  # fmt: skip
def test_the_twin_says_what_the_figure_shows(shown, draw, values, options, facts):
    labels = {} if draw is plots.silhouettes else {"xlabel": "x", "ylabel": "y"}
    draw(values, title="One falls", **labels, **options)
    (data, more), (folded, _) = shown
    twin = folded["text/plain"]
    assert " ".join(twin.split()) == f"One falls. {facts}"
    assert max(map(len, twin.splitlines())) <= 96
    assert base64.b64decode(data["image/png"]).startswith(b"\x89PNG")
    assert folded["text/html"].startswith("<details>") and facts in folded["text/html"]
    assert data["text/plain"] == "Figure: One falls"
    assert more["metadata"]["image/png"]["alt"] == " ".join(twin.split())


@pytest.mark.parametrize("width", [3.0, 5.3, 7.2, 11.0])
def test_a_title_is_as_wide_as_its_figure_at_most(width):
    figure, _ = plots.new_axes(
        "Picky users refuse, and are lost on a system " * 4, "x", "y", (width, 3)
    )
    assert figure.get_suptitle().count("\n") >= 1
    assert figure._suptitle.get_window_extent().x1 <= figure.bbox.x1


def test_labels_at_the_right_do_not_overlap():
    figure, axes = plots.new_axes("T", "x", "y")
    places = {f"a name of some length, number {n}": np.array([n, 5.0]) for n in range(8)}
    axes.set(xlim=(0, 8), ylim=(0, 10))
    plots._label_at_the_right(axes, places)
    figure.canvas.draw()
    names = [text for text in axes.texts if text.get_text()]
    boxes = sorted((t.get_window_extent() for t in names), key=lambda box: box.y0)
    assert len(boxes) == 8
    assert all(low.y1 <= high.y0 + 1 for low, high in itertools.pairwise(boxes))
    frame = axes.get_window_extent()
    assert boxes[0].y0 > frame.y0 - 12 and boxes[-1].y1 < frame.y1 + 12


def test_the_diagrams_are_those_of_the_code(tmp_path):
    drawn = pictures.write_all(tmp_path)
    assert {path.stem[:2] for path in NOTEBOOKS[:12]} == {"00", *pictures.STAGES}
    for path in drawn:
        assert path.read_bytes() == (pictures.FOLDER / path.name).read_bytes(), "make pictures"
    assert len({path.read_bytes() for path in drawn}) == len(drawn)


def test_the_bound_touches_the_likelihood_and_is_nowhere_above_it():
    curve, *others = pictures.bound().axes[0].lines
    for line in others[::2]:
        gap = curve.get_ydata() - line.get_ydata()
        assert gap.min() > -1e-9 and gap.min() < 1e-3
