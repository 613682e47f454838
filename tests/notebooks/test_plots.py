"""Figures: the text twin has the figure's numbers, the image has an alternative text."""

import base64
import itertools

import numpy as np
import pytest

from latentcrs_utils import plots
from latentcrs_utils.plots import charts
from latentcrs_utils.plots.look import new_axes
from latentcrs_utils.plots.points import _label_at_the_right


@pytest.fixture
def shown(monkeypatch):
    """What the figure functions hand to IPython."""
    calls = []
    monkeypatch.setattr("IPython.display.display", lambda data, **more: calls.append((data, more)))
    return calls


def assert_displayed(shown, twin, title):
    ((data, more),) = shown
    assert base64.b64decode(data["image/png"]).startswith(b"\x89PNG")
    assert data["text/plain"] == f"Figure: {title}"
    assert more["metadata"]["image/png"]["alt"] == " ".join(twin.split())
    assert twin.startswith(title) and max(map(len, twin.splitlines())) <= 96


def test_lines(shown, tmp_path):
    curves = {"a": (range(3), [1, 2, 3.25]), "b": (range(3), [np.nan, 5, 4])}
    twin = plots.lines(
        curves,
        title="a rises",
        xlabel="step",
        ylabel="nats",
        digits=2,
        spans={"first": (0, 1), "second": (1, 2)},
        references={"goal": 6.0},
        save=tmp_path / "a.png",
    )
    assert_displayed(shown, twin, "a rises")
    assert "a from 1.00 to 3.25; b from 5.00 to 4.00; goal at 6.00" in " ".join(twin.split())
    assert (tmp_path / "a.png").stat().st_size > 1000


def test_bars(shown):
    values = {"seen": {"x": 0.5, "y": 0.25}, "unseen": {"x": 0.125, "y": 1.0}}
    twin = plots.bars(
        values,
        title="x falls",
        xlabel="share",
        intervals={"seen": {"x": (0.4, 0.6), "y": (0.2, 0.3)}},
        references={"chance": 0.1},
    )
    assert_displayed(shown, twin, "x falls")
    assert "seen: x 0.50, y 0.25; unseen: x 0.12, y 1.00; chance 0.10" in " ".join(twin.split())


def test_bars_below_zero_have_their_numbers_beside_them(shown, monkeypatch):
    texts = []
    monkeypatch.setattr(
        "matplotlib.axes.Axes.text", lambda self, x, y, s, **style: texts.append((x, style["ha"]))
    )
    intervals = {"": {"x": (-0.7, -0.2), "y": (0.1, 0.4)}}
    plots.bars({"": {"x": -0.5, "y": 0.25}}, title="T", xlabel="x", intervals=intervals)
    assert texts == [(-0.7, "right"), (0.4, "left")]


def test_heatmap(shown):
    twin = plots.heatmap(
        np.eye(2), rows=["r1", "r2"], columns=["c1", "c2"], title="T", xlabel="x", ylabel="y"
    )
    assert_displayed(shown, twin, "T")
    assert "Columns c1, c2. r1 1.00 0.00; r2 0.00 1.00." in " ".join(twin.split())


def test_stacks(shown):
    rows = {"first": {"x": 0.75, "y": 0.25}, "second": {"x": 0.5, "y": 0.5}}
    twin = plots.stacks(rows, title="x shrinks", xlabel="share", ylabel="turn")
    assert_displayed(shown, twin, "x shrinks")
    said = " ".join(twin.split())
    assert "share: first: x 0.75, y 0.25; second: x 0.50, y 0.50." in said


def test_histogram(shown):
    twin = plots.histogram({"a": np.arange(101)}, title="T", xlabel="x", ylabel="share", digits=0)
    assert_displayed(shown, twin, "T")
    assert "a median 50 (quartiles 25 to 75)" in " ".join(twin.split())


def test_scatter(shown):
    groups = {"left": [[0, 0], [2, 2], [1, 7]], "a right one": [[10, 10]]}
    options = {"title": "Two groups", "xlabel": "x", "ylabel": "y"}
    twin = plots.scatter(groups, others=np.zeros((5, 2)), **options)
    assert_displayed(shown, twin, "Two groups")
    said = " ".join(twin.split())
    assert "left: 3 around (1.0, 2.0); a right one: 1 around (10.0, 10.0); others: 5." in said
    # with stars the middle is the mean
    assert "left: 3 around (1.0, 3.0)" in " ".join(
        plots.scatter(groups, stars=True, **options).split()
    )


def test_labels_at_the_right_do_not_overlap():
    figure, axes = new_axes("T", "x", "y")
    places = {f"a name of some length, number {n}": np.array([n, 5.0]) for n in range(8)}
    axes.set(xlim=(0, 8), ylim=(0, 10))
    _label_at_the_right(axes, places)
    figure.canvas.draw()
    names = [text for text in axes.texts if text.get_text()]
    boxes = sorted((t.get_window_extent() for t in names), key=lambda box: box.y0)
    assert len(boxes) == 8
    assert all(low.y1 <= high.y0 + 1 for low, high in itertools.pairwise(boxes))
    frame = axes.get_window_extent()
    assert boxes[0].y0 > frame.y0 - 12 and boxes[-1].y1 < frame.y1 + 12


def test_silhouettes(shown):
    twin = plots.silhouettes({"a": [0.5, 0.25], "b": [-0.5, 0.1, 0.25, 0.15]}, title="b is loose")
    assert_displayed(shown, twin, "b is loose")
    said = " ".join(twin.split())
    assert "a 2 points, mean 0.38, 0% below 0; b 4 points, mean 0.00, 25% below 0" in said
    assert said.endswith("mean of all 0.12.")


def test_dots(shown):
    values = {"a": {"x": 0.5, "y": -0.25}, "b": {"x": 0.125, "y": np.nan}}
    twin = plots.dots(
        values,
        title="x is ahead",
        xlabel="gain",
        intervals={"a": {"x": (0.4, 0.6), "y": (-0.3, 0.1)}},
        references={"no difference": 0.0},
        digits=2,
    )
    assert_displayed(shown, twin, "x is ahead")
    said = " ".join(twin.split())
    assert "a: x 0.50 (0.40 to 0.60), y -0.25 (-0.30 to 0.10); b: x 0.12, y none" in said
    assert said.endswith("no difference 0.00.")


def test_every_series_has_a_colour_a_marker_and_a_hatch_of_its_own():
    for looks in (plots.PALETTE, plots.MARKERS, plots.HATCHES):
        assert len(set(looks)) == 8


@pytest.mark.parametrize(("x", "whole"), [(range(1, 6), True), ([0.5, 1.0, 3.25], False)])
def test_what_is_counted_has_whole_ticks(monkeypatch, x, whole):
    figures = []
    monkeypatch.setattr(charts, "show", lambda figure, *rest, **more: figures.append(figure))
    plots.lines({"a": (x, np.ones(len(x)))}, title="t", xlabel="x", ylabel="y")
    ticks = figures[0].axes[0].get_xticks()
    assert bool(np.all(ticks == np.round(ticks))) is whole
