"""Figures of the course: one look, colour plus marker, and the facts once more as text.

Each function shows a figure with an alternative text and, folded under it, its *twin*: a line or a
few with the same facts, which a test can compare, a screen reader reads, and which remain where
images are off. Shared arguments: `title` is the finding, in a sentence; `xlabel`
and `ylabel` have the units; `digits` are the decimals in figure and twin; `groups` is series ->
label -> value, with the same labels in all; `intervals`, series -> label -> (low, high), are drawn
as whiskers; `references`, name -> value, are marked by dashed lines.
"""

from __future__ import annotations

import base64
import html
import io
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import ArrayLike

Groups = Mapping[str, Mapping[str, float]]
Intervals = Mapping[str, Mapping[str, tuple[float, float]]]
References = Mapping[str, float]

# Okabe and Ito's palette: told apart with any of the common forms of colour blindness.
PALETTE = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#7F7F7F", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
HATCHES = ("", "//", "..", "xx", "\\\\", "++", "oo", "**")


def lines(
    curves: Mapping[str, tuple[ArrayLike, ArrayLike]], *, title: str, xlabel: str, ylabel: str,
    digits: int = 3, spans: Mapping[str, tuple[float, float]] | None = None,
    references: References | None = None,
) -> None:  # fmt: skip
    """Draw one curve per entry of ``curves``, name -> (x, y), each [n], gaps NaN.

    ``spans`` are shaded stretches of x, name -> (from, to), such as the stages of a training.
    """
    figure, axes = new_axes(title, xlabel, ylabel)
    facts = []
    for index, (name, (x, y)) in enumerate(curves.items()):
        x, y = np.asarray(x, float), np.asarray(y, float)
        style: dict[str, Any] = {"color": PALETTE[index % 8], "marker": MARKERS[index % 8]}
        axes.plot(x, y, label=name, markersize=4.5, markevery=max(1, len(x) // 12), **style)
        known = y[np.isfinite(y)]
        facts.append(f"{name} from {known[0]:.{digits}f} to {known[-1]:.{digits}f}")
    for index, (name, value) in enumerate((references or {}).items()):
        axes.axhline(value, color="#444444", linestyle=(0, (4, 2 + 2 * index)), linewidth=1.2)
        axes.annotate(name, (0.01, value), xycoords=("axes fraction", "data"), fontsize=8,
                      va="bottom")  # fmt: skip
        facts.append(f"{name} at {value:.{digits}f}")
    for index, (name, (start, stop)) in enumerate((spans or {}).items()):
        axes.axvspan(start, stop, color="#000000", alpha=(0.03, 0.08)[index % 2], linewidth=0)
        axes.annotate(name, ((start + stop) / 2, 1), xycoords=("data", "axes fraction"),
                      fontsize=8, ha="center", va="top")  # fmt: skip
    steps = np.concatenate([np.asarray(x, float).ravel() for x, _ in curves.values()])
    if np.all(steps == np.round(steps)):
        axes.locator_params(axis="x", integer=True)  # there is no turn 1.5
    axes.margins(y=0.1)
    axes.grid(alpha=0.25)
    _show(figure, title, f"{ylabel}: ", facts, legend=len(curves) > 1)


def bars(
    groups: Groups, *, title: str, xlabel: str, ylabel: str = "", digits: int = 2,
    intervals: Intervals | None = None, references: References | None = None,
) -> None:  # fmt: skip
    """Draw horizontal bars, one block per series."""
    labels = list(next(iter(groups.values())))
    height = 0.8 / len(groups)
    rows = len(labels) * max(1, 0.62 * len(groups))
    figure, axes = new_axes(title, xlabel, ylabel, (7.2, 1.25 + 0.34 * rows))
    facts = []
    for index, (series, values) in enumerate(groups.items()):
        y = np.arange(len(labels)) + (index - (len(groups) - 1) / 2) * height
        x = np.array([values[label] for label in labels], float)
        shown_name = series if len(groups) > 1 else None
        axes.barh(y, x, height=height * 0.92, label=shown_name, **_filled(index))
        low = high = x
        if intervals and series in intervals:
            low, high = np.array([intervals[series][label] for label in labels], float).T
            axes.errorbar(x, y, xerr=[x - low, high - x], fmt="none", color="#222222", capsize=2)
        ends = np.where(x < 0, np.minimum(low, x), np.maximum(high, x))
        for at, end, value in zip(y, ends, x, strict=True):
            # beyond the end of the bar, on the side where there is no bar
            side = "right" if value < 0 else "left"
            axes.text(end, at, f" {value:.{digits}f} ", ha=side, va="center", fontsize=8)
        said = ", ".join(_numbers(labels, x, digits))
        facts.append(f"{series}: {said}" if len(groups) > 1 else said)
    for name, value in (references or {}).items():
        axes.axvline(value, color="#444444", linestyle="--", linewidth=1.2, label=name)
        facts.append(f"{name} {value:.{digits}f}")
    axes.set_yticks(range(len(labels)), _shortened(labels, 60))
    axes.invert_yaxis()
    axes.margins(x=0.12)
    _show(figure, title, f"{xlabel}: ", facts, legend=len(groups) > 1 or bool(references))


def dots(
    groups: Groups, *, title: str, xlabel: str, ylabel: str = "", digits: int = 3,
    intervals: Intervals | None = None, references: References | None = None,
) -> None:  # fmt: skip
    """Draw one row per label and in it one point per series.

    Points need no zero, unlike bars. The twin has the intervals in brackets, and "none" for NaN.
    """
    labels = list(next(iter(groups.values())))
    rows = len(labels) * max(1, 0.5 * len(groups))
    figure, axes = new_axes(title, xlabel, ylabel, (7.2, 1.4 + 0.34 * rows))
    for name, value in (references or {}).items():
        _mark_x(axes, name, value)
    facts = []
    for index, (series, values) in enumerate(groups.items()):
        y = np.arange(len(labels)) + (index - (len(groups) - 1) / 2) * 0.7 / len(groups)
        x = np.array([values[label] for label in labels], float)
        said, whiskers = _numbers(labels, x, digits), None
        if intervals and series in intervals:
            ends = np.array([intervals[series][label] for label in labels], float).T
            whiskers = np.abs(ends - x)
            for row, (low, high) in enumerate(ends.T):
                said[row] += f" ({low:.{digits}f} to {high:.{digits}f})"
        style: dict[str, Any] = {"color": PALETTE[index % 8], "fmt": MARKERS[index % 8]}
        axes.errorbar(x, y, xerr=whiskers, label=series, capsize=2, markersize=5, **style)
        for place in np.flatnonzero(np.isnan(x)):
            said[place] = f"{labels[place]} none"
        facts.append((f"{series}: " if len(groups) > 1 else "") + ", ".join(said))
    axes.set_yticks(range(len(labels)), _shortened(labels, 60))
    axes.set_ylim(len(labels) - 0.5, -0.5)
    axes.grid(axis="x", alpha=0.25)
    facts += _numbers(references or {}, (references or {}).values(), digits)
    _show(figure, title, f"{xlabel}: ", facts, legend=len(groups) > 1)


def stacks(rows: Groups, *, title: str, xlabel: str, ylabel: str) -> None:
    """Draw a horizontal bar per row, stacked from its (at most eight) parts."""
    parts = list(next(iter(rows.values())))
    values = np.array([[row[part] for part in parts] for row in rows.values()], float)
    figure, axes = new_axes(title, xlabel, ylabel, (7.2, 1.75 + 0.42 * len(rows)))
    starts, places = np.cumsum(values, axis=1) - values, range(len(rows))
    box = {"boxstyle": "round,pad=0.15", "facecolor": "white", "edgecolor": "none"}
    for index, part in enumerate(parts):
        style = _filled(index)
        axes.barh(places, values[:, index], left=starts[:, index], height=0.74, label=part, **style)
        for place, start, value in zip(places, starts[:, index], values[:, index], strict=True):
            if value >= 0.06 * values.sum(1).max():
                axes.text(start + value / 2, place, f"{value:.2f}", ha="center",
                          va="center", fontsize=8, bbox=box)  # fmt: skip
    axes.set_yticks(places, ["\n".join(textwrap.wrap(row, 30)) for row in _shortened(rows, 60)])
    axes.invert_yaxis()
    axes.margins(x=0)
    said = [", ".join(_numbers(parts, row, 2)) for row in values]
    facts = list(map("{}: {}".format, rows, said))
    _show(figure, title, f"{xlabel}: ", facts, legend=True)


def heatmap(
    values: ArrayLike, *, rows: Sequence[str], columns: Sequence[str],
    title: str, xlabel: str, ylabel: str, digits: int = 2,
) -> None:  # fmt: skip
    """Draw a matrix, [len(rows), len(columns)], with its numbers in the cells."""
    matrix = np.asarray(values, float)
    label_width = 0.075 * min(46, max(map(len, rows)))
    size = (min(11, 0.8 + label_width + 1.25 * len(columns)), 1.5 + 0.42 * len(rows))
    figure, axes = new_axes(title, xlabel, ylabel, size)
    image = axes.imshow(matrix, cmap="cividis", aspect="auto")
    column_labels = ["\n".join(textwrap.wrap(column, 16)) for column in columns]
    axes.set_xticks(range(len(columns)), column_labels, fontsize=8)
    axes.set_yticks(range(len(rows)), _shortened(rows, 46), fontsize=9)
    for (row, column), value in np.ndenumerate(matrix):
        dark = np.less(image.norm(value), 0.47)  # either colour is at 4.5:1 there
        axes.text(column, row, f"{value:.{digits}f}", ha="center", va="center", fontsize=9,
                  color="white" if dark else "black")  # fmt: skip
    said = [" ".join(f"{value:.{digits}f}" for value in row) for row in matrix]
    facts = list(map("{} {}".format, rows, said))
    _show(figure, title, f"Columns {', '.join(columns)}. ", facts)


def histogram(samples: Mapping[str, ArrayLike], *, title: str, xlabel: str, ylabel: str) -> None:
    """Draw ``samples`` (name -> [n]) as shares in 40 bins; the twin has medians and quartiles."""
    figure, axes = new_axes(title, xlabel, ylabel)
    arrays = {name: np.asarray(x, float).ravel() for name, x in samples.items()}
    edges = np.histogram_bin_edges(np.concatenate(list(arrays.values())), 40).tolist()
    facts = []
    for index, (name, array) in enumerate(arrays.items()):
        weights = np.full(len(array), 1 / len(array))
        style = {**_filled(index), "alpha": 0.75, "linewidth": 0.3}
        axes.hist(array, edges, weights=weights, label=name, **style)
        low, middle, high = np.quantile(array, [0.25, 0.5, 0.75])
        facts.append(f"{name} median {middle:.2f} (quartiles {low:.2f} to {high:.2f})")
    _show(figure, title, f"{xlabel}: ", facts, legend=len(arrays) > 1)


def scatter(
    groups: Mapping[str, ArrayLike], *, title: str, xlabel: str, ylabel: str,
    others: ArrayLike | None = None, stars: bool = False, size: float = 22,
) -> None:  # fmt: skip
    """Draw points in a plane, one colour and marker per group, labelled at the right.

    ``groups``: name -> [n, 2], at most eight; ``others`` [n, 2], of no group, are small and grey.
    The twin says how many points each group has and where its middle lies: its mean, marked with a
    star, if ``stars``, else its median. ``size`` is a marker's area in square points.
    """
    figure, axes = new_axes(title, xlabel, ylabel, (7.2, 4.6))
    middles, facts = {}, []
    for index, (name, group) in enumerate(groups.items()):
        points = np.asarray(group, float).reshape(-1, 2)
        x, y = middles[name] = (np.mean if stars else np.median)(points, axis=0)
        style: dict[str, Any] = {"color": PALETTE[index % 8], "linewidths": 0.5}
        axes.scatter(points[:, 0], points[:, 1], s=size, marker=MARKERS[index % 8], zorder=3,
                     edgecolors="white", **style)  # fmt: skip
        if stars:
            axes.scatter(x, y, s=9 * size, marker="*", zorder=4, edgecolors="black", **style)
        facts.append(f"{name}: {len(points)} around ({x:.1f}, {y:.1f})")
    if others is not None:
        cloud = np.asarray(others, float)
        axes.scatter(cloud[:, 0], cloud[:, 1], s=5, color="#BBBBBB", linewidths=0)
        facts.append(f"others: {len(cloud)}")
    axes.margins(0.06)
    _label_at_the_right(axes, middles)
    _show(figure, title, "", facts)


def silhouettes(groups: Mapping[str, ArrayLike], *, title: str) -> None:
    """Draw a blade per cluster (name -> [n], -1 to 1), its points sorted."""
    arrays = {name: -np.sort(-np.asarray(s, float).ravel()) for name, s in groups.items()}
    total = sum(map(len, arrays.values()))
    mean = np.concatenate(list(arrays.values())).mean()
    size = (7.2, 1.6 + 0.34 * len(arrays))
    figure, axes = new_axes(title, "silhouette of a point", "cluster", size)
    base, gap, facts, ticks = 0.0, 0.02 * total, [], []
    for index, (name, values) in enumerate(arrays.items()):
        n, below = len(values), (values < 0).mean()
        heights, steps = base + np.arange(n + 1), np.append(values, values[-1])
        axes.fill_betweenx(heights, 0, steps, step="post", linewidth=0.3, **_filled(index))
        ticks.append(base + n / 2)
        base += n + gap
        facts.append(f"{name} {n} points, mean {values.mean():.2f}, {below:.0%} below 0")
    _mark_x(axes, "mean of all", mean)
    axes.axvline(0, color="black", linewidth=0.8)
    axes.set_yticks(ticks, _shortened(arrays, 44), fontsize=8.5)
    axes.set_ylim(base, -gap)
    _show(figure, title, "", [*facts, f"mean of all {mean:.2f}"])


def new_axes(
    title: str, xlabel: str, ylabel: str, size: tuple[float, float] = (7.2, 3.6)
) -> tuple[Figure, Axes]:
    """New figure in the course's look; ``Figure`` directly, so that no global state is touched."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    wrapped = "\n".join(textwrap.wrap(title, round(10 * size[0])))
    figure.suptitle(wrapped, x=0.01, ha="left", fontsize=11, fontweight="bold")
    axes.set(xlabel=xlabel, ylabel=ylabel)
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _show(
    figure: Figure, title: str, opening: str, facts: Sequence[str], legend: bool = False
) -> None:
    """Display a figure as PNG with its twin as alternative text, and the twin folded."""
    from IPython.display import display

    if legend:
        figure.legend(loc="outside lower left", ncols=4, frameon=False, fontsize=9)
    twin, buffer = f"{title}. {opening}{'; '.join(facts)}.", io.BytesIO()
    figure.savefig(buffer, format="png", dpi=96, metadata={"Software": None})
    image = base64.b64encode(buffer.getvalue()).decode("ascii")
    # the title stands in where there are no images: without measured numbers, the same everywhere
    shown = {"image/png": image, "text/plain": f"Figure: {title}"}
    display(shown, metadata={"image/png": {"alt": twin}}, raw=True)
    folded = f"<details><summary>The figure in words</summary>{html.escape(twin)}</details>"
    display({"text/html": folded, "text/plain": textwrap.fill(twin, 96)}, raw=True)


def _filled(index: int) -> dict[str, Any]:
    return {"color": PALETTE[index % 8], "hatch": HATCHES[index % 8], "edgecolor": "white"}


def _mark_x(axes: Axes, name: str, value: float) -> None:
    axes.axvline(value, color="#444444", linestyle="--", linewidth=1.2)
    axes.annotate(name, (value, 1), xycoords=("data", "axes fraction"), fontsize=8,
                  ha="center", va="bottom")  # fmt: skip


def _numbers(names: Iterable[str], values: Iterable[float], digits: int) -> list[str]:
    return [f"{name} {value:.{digits}f}" for name, value in zip(names, values, strict=True)]


def _shortened(labels: Iterable[str], width: int) -> list[str]:
    return [textwrap.shorten(str(label), width, placeholder=" …") for label in labels]


def _label_at_the_right(axes: Axes, places: Mapping[str, np.ndarray]) -> None:
    """Write the names in a column beside the axes, in the order of their places' heights."""
    low, high = axes.get_ylim()
    ordered = sorted(enumerate(places.items()), key=lambda entry: entry[1][1][1])
    texts = ["\n".join(textwrap.wrap(name, 28)) for _, (name, _) in ordered]
    # in shares of the height; the labels below push a label up, the top pushes all down
    room = np.array([0.035 + 0.042 * (text.count("\n") + 1) for text in texts])
    wanted = (np.array([spot[1] for _, (_, spot) in ordered]) - low) / (high - low)
    stacked = np.cumsum(room) - room / 2
    heights = stacked + np.maximum.accumulate(np.maximum(wanted - stacked, 0))
    stacked += 1 - room.sum()
    heights = stacked + np.minimum.accumulate(np.minimum(heights - stacked, 0)[::-1])[::-1]
    for (index, (_, spot)), text, height in zip(ordered, texts, heights, strict=True):
        color = PALETTE[index % 8]
        line = {"arrowstyle": "-", "color": color, "linewidth": 0.8, "shrinkA": 0, "shrinkB": 0}
        axes.annotate("", tuple(spot), (1.04, height), textcoords="axes fraction",
                      arrowprops=line, annotation_clip=False, zorder=2)  # fmt: skip
        axes.plot(1.04, height, marker=MARKERS[index % 8], color=color, markersize=6,
                  transform=axes.transAxes, clip_on=False)  # fmt: skip
        axes.text(1.065, height, text, transform=axes.transAxes, va="center", fontsize=8.5)
