"""Figures: the text twin has the figure's numbers, the image has an alternative text."""

import base64
import itertools

import numpy as np
import pytest

from latentcrs_utils import plots


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
    twin = draw(values, title="One falls", **labels, **options)
    assert " ".join(twin.split()) == f"One falls. {facts}"
    assert max(map(len, twin.splitlines())) <= 96
    ((data, more),) = shown
    assert base64.b64decode(data["image/png"]).startswith(b"\x89PNG")
    assert data["text/plain"] == "Figure: One falls"
    assert more["metadata"]["image/png"]["alt"] == " ".join(twin.split())


def test_bars_below_zero_have_their_numbers_beside_them(shown, monkeypatch):
    texts = []
    monkeypatch.setattr(
        "matplotlib.axes.Axes.text", lambda self, x, y, s, **style: texts.append((x, style["ha"]))
    )
    intervals = {"": {"x": (-0.7, -0.2), "y": (0.1, 0.4)}}
    plots.bars({"": {"x": -0.5, "y": 0.25}}, title="T", xlabel="x", intervals=intervals)
    assert texts == [(-0.7, "right"), (0.4, "left")]


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


def test_every_series_has_a_colour_a_marker_and_a_hatch_of_its_own():
    for looks in (plots.PALETTE, plots.MARKERS, plots.HATCHES):
        assert len(set(looks)) == 8


@pytest.mark.parametrize(("x", "whole"), [(range(1, 6), True), ([0.5, 1.0, 3.25], False)])
def test_what_is_counted_has_whole_ticks(monkeypatch, x, whole):
    figures = []
    monkeypatch.setattr(plots, "_show", lambda figure, *_, **__: figures.append(figure))
    plots.lines({"a": (x, np.ones(len(x)))}, title="t", xlabel="x", ylabel="y")
    ticks = figures[0].axes[0].get_xticks()
    assert bool(np.all(ticks == np.round(ticks))) is whole
