"""Figures of the course: one look, colour plus marker, and the facts once more as text.

Each function shows a figure with an alternative text and returns its *twin*, a line or a few with
the same facts. The notebooks print the twin: it is what a check can compare, what a screen reader
reads, and what is left where images are off. The title of a figure says what there is to see; the
notebook gives it.
"""

from __future__ import annotations

import base64
import io
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import ArrayLike

# Okabe and Ito's palette: told apart with any of the common forms of colour blindness.
PALETTE = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#7F7F7F", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
HATCHES = ("", "//", "..", "xx", "\\\\", "++", "oo", "**")
DPI = 96


def _axes(
    title: str, xlabel: str, ylabel: str, size: tuple[float, float] = (7.2, 3.6)
) -> tuple[Figure, Axes]:
    """New figure in the course's look; ``Figure`` directly, so that no global state is touched."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    wrapped = "\n".join(textwrap.wrap(title, 74))
    figure.suptitle(wrapped, x=0.01, ha="left", fontsize=11, fontweight="bold")
    axes.set_xlabel(xlabel)
    axes.set_ylabel(ylabel)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    return figure, axes


def _filled(index: int) -> dict[str, Any]:
    """Colour, hatch and edge of the areas of one series."""
    return {"color": PALETTE[index % 8], "hatch": HATCHES[index % 8], "edgecolor": "white"}


def show(figure: Figure, title: str, alt: str, *, save: str | Path | None = None) -> str:
    """Display ``figure`` as PNG with the alternative text ``alt``; also write it to ``save``.

    Where there are no images the title stands in for it. It holds no measured number, so that a
    recorded output stays the same on another machine.

    Returns:
        ``alt`` in lines that fit under the figure.
    """
    from IPython.display import display

    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=DPI, metadata={"Software": None})
    if save is not None:
        Path(save).write_bytes(buffer.getvalue())
    image = base64.b64encode(buffer.getvalue()).decode("ascii")
    display(
        {"image/png": image, "text/plain": f"Figure: {title}"},
        metadata={"image/png": {"alt": alt}},
        raw=True,
    )
    return textwrap.fill(alt, 96)


def lines(
    curves: Mapping[str, tuple[ArrayLike, ArrayLike]],
    *,
    title: str,
    xlabel: str,
    ylabel: str,
    digits: int = 3,
    spans: Mapping[str, tuple[float, float]] | None = None,
    references: Mapping[str, float] | None = None,
    save: str | Path | None = None,
) -> str:
    """Draw one curve per entry of ``curves`` (name -> x, y) and return the text twin.

    Args:
        curves: name -> (x, y), each of shape [n]; gaps are NaN.
        title: the finding, in a sentence.
        xlabel: what runs along x, with its unit.
        ylabel: what runs along y, with its unit.
        digits: decimals in the twin.
        spans: name -> (from, to), shaded stretches of x such as the stages of a training.
        references: name -> y of a horizontal dashed line.
        save: also write the PNG here.
    """
    figure, axes = _axes(title, xlabel, ylabel)
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
    axes.margins(y=0.1)
    axes.grid(alpha=0.25)
    if len(curves) > 1:
        figure.legend(loc="outside lower left", ncols=4, frameon=False, fontsize=9)
    twin = f"{title}. {ylabel}: " + "; ".join(facts) + "."
    return show(figure, title, twin, save=save)


def bars(
    groups: Mapping[str, Mapping[str, float]],
    *,
    title: str,
    xlabel: str,
    ylabel: str = "",
    intervals: Mapping[str, Mapping[str, tuple[float, float]]] | None = None,
    digits: int = 2,
    references: Mapping[str, float] | None = None,
    save: str | Path | None = None,
) -> str:
    """Draw horizontal bars, one block per entry of ``groups`` (series -> label -> value).

    Args:
        groups: series -> label -> value; all series have the same labels.
        title: the finding, in a sentence.
        xlabel: what the length of a bar is, with its unit.
        ylabel: what the labels are.
        intervals: series -> label -> (low, high), drawn as whiskers.
        digits: decimals at the bars and in the twin.
        references: name -> x of a vertical dashed line.
        save: also write the PNG here.

    Returns:
        The text twin.
    """
    labels = list(next(iter(groups.values())))
    height = 0.8 / len(groups)
    rows = len(labels) * max(1, 0.62 * len(groups))
    figure, axes = _axes(title, xlabel, ylabel, (7.2, 1.25 + 0.34 * rows))
    for index, (series, values) in enumerate(groups.items()):
        y = np.arange(len(labels)) + (index - (len(groups) - 1) / 2) * height
        x = np.array([values[label] for label in labels], float)
        style = _filled(index)
        label = series if len(groups) > 1 else None
        axes.barh(y, x, height=height * 0.92, label=label, **style)
        ends = x.copy()
        if intervals and series in intervals:
            low, high = np.array([intervals[series][label] for label in labels], float).T
            axes.errorbar(x, y, xerr=[x - low, high - x], fmt="none", color="#222222", capsize=2)
            ends = np.maximum(high, x)
        for at, end, value in zip(y, ends, x, strict=True):
            axes.text(end, at, f" {value:.{digits}f}", va="center", fontsize=8)
    for name, value in (references or {}).items():
        axes.axvline(value, color="#444444", linestyle="--", linewidth=1.2, label=name)
    axes.set_yticks(
        range(len(labels)), [textwrap.shorten(str(x), 60, placeholder=" …") for x in labels]
    )
    axes.invert_yaxis()
    axes.margins(x=0.12)
    if len(groups) > 1 or references:
        figure.legend(loc="outside lower left", ncols=4, frameon=False, fontsize=9)
    facts = [
        (f"{series}: " if len(groups) > 1 else "")
        + ", ".join(f"{label} {values[label]:.{digits}f}" for label in labels)
        for series, values in groups.items()
    ]
    facts += [f"{name} {value:.{digits}f}" for name, value in (references or {}).items()]
    twin = f"{title}. {xlabel}: " + "; ".join(facts) + "."
    return show(figure, title, twin, save=save)


def heatmap(
    values: ArrayLike,
    *,
    rows: Sequence[str],
    columns: Sequence[str],
    title: str,
    xlabel: str,
    ylabel: str,
    digits: int = 2,
    save: str | Path | None = None,
) -> str:
    """Draw a matrix with its numbers in the cells and return the text twin, row by row.

    Args:
        values: [len(rows), len(columns)].
        rows: names of the rows.
        columns: names of the columns.
        title: the finding, in a sentence.
        xlabel: what the columns are.
        ylabel: what the rows are.
        digits: decimals in cells and twin.
        save: also write the PNG here.
    """
    matrix = np.asarray(values, float)
    label_width = 0.075 * min(46, max(map(len, rows)))
    size = (min(11, 0.8 + label_width + 1.25 * len(columns)), 1.5 + 0.42 * len(rows))
    figure, axes = _axes(title, xlabel, ylabel, size)
    image = axes.imshow(matrix, cmap="cividis", aspect="auto")
    axes.set_xticks(range(len(columns)), ["\n".join(textwrap.wrap(c, 16)) for c in columns],
                    fontsize=8)  # fmt: skip
    axes.set_yticks(
        range(len(rows)), [textwrap.shorten(r, 46, placeholder=" …") for r in rows], fontsize=9
    )
    for (row, column), value in np.ndenumerate(matrix):
        dark = np.less(image.norm(value), 0.6)
        axes.text(column, row, f"{value:.{digits}f}", ha="center", va="center", fontsize=9,
                  color="white" if dark else "black")  # fmt: skip
    facts = [
        f"{name} " + " ".join(f"{value:.{digits}f}" for value in row)
        for name, row in zip(rows, matrix, strict=True)
    ]
    twin = f"{title}. Columns {', '.join(columns)}. " + "; ".join(facts) + "."
    return show(figure, title, twin, save=save)


def histogram(
    samples: Mapping[str, ArrayLike],
    *,
    title: str,
    xlabel: str,
    ylabel: str,
    bins: int = 40,
    digits: int = 2,
    save: str | Path | None = None,
) -> str:
    """Draw the distribution of each entry of ``samples`` (name -> [n]) and return the text twin.

    The bins are shared, the heights are shares of the sample; the twin gives median and quartiles.
    """
    figure, axes = _axes(title, xlabel, ylabel)
    arrays = {name: np.asarray(x, float).ravel() for name, x in samples.items()}
    edges = np.histogram_bin_edges(np.concatenate(list(arrays.values())), bins)
    facts = []
    for index, (name, array) in enumerate(arrays.items()):
        weights = np.full(len(array), 1 / len(array))
        style = _filled(index)
        axes.hist(
            array, edges.tolist(), weights=weights, label=name, alpha=0.75, linewidth=0.3, **style
        )
        low, middle, high = np.quantile(array, [0.25, 0.5, 0.75])
        facts.append(
            f"{name} median {middle:.{digits}f} (quartiles {low:.{digits}f} to {high:.{digits}f})"
        )
    if len(arrays) > 1:
        figure.legend(loc="outside lower left", ncols=4, frameon=False, fontsize=9)
    twin = f"{title}. {xlabel}: " + "; ".join(facts) + "."
    return show(figure, title, twin, save=save)


def scatter(
    groups: Mapping[str, ArrayLike],
    *,
    title: str,
    xlabel: str,
    ylabel: str,
    others: ArrayLike | None = None,
    stars: bool = False,
    size: float = 22,
    digits: int = 1,
    save: str | Path | None = None,
) -> str:
    """Draw points in a plane, one colour and marker per entry of ``groups``, labelled directly.

    The labels stand in a column at the right, each with a line to the middle of its group; so they
    cover neither points nor each other.

    Args:
        groups: name -> [n, 2] points, at most eight groups.
        title: the finding, in a sentence.
        xlabel: what runs along x, with its unit, if it has one.
        ylabel: what runs along y.
        others: [n, 2] points of no group, drawn small and grey.
        stars: the middle of a group is its mean, marked with a star; else it is the median.
        size: area of a marker in square points.
        digits: decimals of the middles in the twin.
        save: also write the PNG here.

    Returns:
        The text twin: how many points each group has and where its middle lies.
    """
    figure, axes = _axes(title, xlabel, ylabel, (7.2, 4.6))
    if others is not None:
        cloud = np.asarray(others, float)
        axes.scatter(cloud[:, 0], cloud[:, 1], s=5, color="#BBBBBB", linewidths=0)
    arrays = {name: np.asarray(points, float).reshape(-1, 2) for name, points in groups.items()}
    middle = np.mean if stars else np.median
    middles = {name: middle(points, axis=0) for name, points in arrays.items()}
    facts = []
    for index, (name, points) in enumerate(arrays.items()):
        style: dict[str, Any] = {"color": PALETTE[index % 8], "linewidths": 0.5}
        style["edgecolors"] = "white"
        marker = MARKERS[index % 8]
        axes.scatter(points[:, 0], points[:, 1], s=size, marker=marker, zorder=3, **style)
        x, y = middles[name]
        if stars:
            style["edgecolors"] = "black"
            axes.scatter(x, y, s=9 * size, marker="*", zorder=4, **style)
        facts.append(f"{name}: {len(points)} around ({x:.{digits}f}, {y:.{digits}f})")
    axes.margins(0.06)
    _label_at_the_right(axes, middles)
    if others is not None:
        facts.append(f"others: {len(np.asarray(others))}")
    return show(figure, title, f"{title}. " + "; ".join(facts) + ".", save=save)


def _label_at_the_right(axes: Axes, places: Mapping[str, np.ndarray]) -> None:
    """Write the names in a column beside the axes, in the order of their places' heights."""
    low, high = axes.get_ylim()
    names = list(places)
    texts = ["\n".join(textwrap.wrap(name, 28)) for name in names]
    # in shares of the height; the labels below push a label up, the top pushes all down
    room = np.array([0.035 + 0.042 * (text.count("\n") + 1) for text in texts])
    wanted = np.array([(places[name][1] - low) / (high - low) for name in names])
    order = np.argsort(wanted, kind="stable")
    at, floor = np.zeros(len(names)), 0.0
    for index in order:
        at[index] = max(wanted[index], floor + room[index] / 2)
        floor = at[index] + room[index] / 2
    ceiling = 1.0
    for index in order[::-1]:
        at[index] = min(at[index], ceiling - room[index] / 2)
        ceiling = at[index] - room[index] / 2
    for index, name in enumerate(names):
        color = PALETTE[index % 8]
        line = {"arrowstyle": "-", "color": color, "linewidth": 0.8, "shrinkA": 0, "shrinkB": 0}
        axes.annotate("", tuple(places[name]), (1.04, at[index]), textcoords="axes fraction",
                      arrowprops=line, annotation_clip=False, zorder=2)  # fmt: skip
        axes.plot(1.04, at[index], marker=MARKERS[index % 8], color=color, markersize=6,
                  transform=axes.transAxes, clip_on=False)  # fmt: skip
        axes.text(1.065, at[index], texts[index], transform=axes.transAxes, va="center",
                  fontsize=8.5)  # fmt: skip


def silhouettes(
    groups: Mapping[str, ArrayLike],
    *,
    title: str,
    xlabel: str = "silhouette of a point",
    ylabel: str = "cluster",
    digits: int = 2,
    save: str | Path | None = None,
) -> str:
    """Draw a silhouette diagram: one blade per cluster, its points sorted by their silhouette.

    Args:
        groups: name -> [n] silhouettes of the cluster's points, -1 to 1.
        title: the finding, in a sentence.
        xlabel: what runs along x.
        ylabel: what the blades are.
        digits: decimals in the twin.
        save: also write the PNG here.

    Returns:
        The text twin: points, mean and share below zero of each cluster, and the mean of all.
    """
    arrays = {name: -np.sort(-np.asarray(s, float).ravel()) for name, s in groups.items()}
    total = sum(map(len, arrays.values()))
    mean = np.concatenate(list(arrays.values())).mean()
    figure, axes = _axes(title, xlabel, ylabel, (7.2, 1.6 + 0.34 * len(arrays)))
    base, gap, facts, ticks = 0.0, 0.02 * total, [], []
    for index, (name, values) in enumerate(arrays.items()):
        heights = base + np.arange(len(values) + 1)
        steps = np.append(values, values[-1])
        style = _filled(index)
        axes.fill_betweenx(heights, 0, steps, step="post", linewidth=0.3, **style)
        ticks.append(base + len(values) / 2)
        base += len(values) + gap
        facts.append(
            f"{name} {len(values)} points, mean {values.mean():.{digits}f}, "
            f"{(values < 0).mean():.0%} below 0"
        )
    axes.axvline(mean, color="#444444", linestyle="--", linewidth=1.2)
    axes.annotate("mean of all", (mean, 1), xycoords=("data", "axes fraction"), fontsize=8,
                  ha="center", va="bottom")  # fmt: skip
    axes.axvline(0, color="black", linewidth=0.8)
    axes.set_yticks(ticks, [textwrap.shorten(name, 44, placeholder=" …") for name in arrays],
                    fontsize=8.5)  # fmt: skip
    axes.set_ylim(base, -gap)
    twin = f"{title}. " + "; ".join(facts) + f"; mean of all {mean:.{digits}f}."
    return show(figure, title, twin, save=save)
