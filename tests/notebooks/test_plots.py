"""Figures: the text twin has the figure's numbers, the image has an alternative text."""

import base64

import numpy as np
import pytest

from latentcrs_utils import plots


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


def test_heatmap(shown):
    twin = plots.heatmap(
        np.eye(2), rows=["r1", "r2"], columns=["c1", "c2"], title="T", xlabel="x", ylabel="y"
    )
    assert_displayed(shown, twin, "T")
    assert "Columns c1, c2. r1 1.00 0.00; r2 0.00 1.00." in " ".join(twin.split())


def test_histogram(shown):
    twin = plots.histogram({"a": np.arange(101)}, title="T", xlabel="x", ylabel="share", digits=0)
    assert_displayed(shown, twin, "T")
    assert "a median 50 (quartiles 25 to 75)" in " ".join(twin.split())


def test_every_series_has_a_colour_a_marker_and_a_hatch_of_its_own():
    for looks in (plots.PALETTE, plots.MARKERS, plots.HATCHES):
        assert len(set(looks)) == 8
