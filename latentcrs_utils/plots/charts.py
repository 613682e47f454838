"""Curves, bars, matrices and distributions."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from latentcrs_utils.plots.look import MARKERS, PALETTE, filled, new_axes, show

if TYPE_CHECKING:
    from numpy.typing import ArrayLike


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
    figure, axes = new_axes(title, xlabel, ylabel, (7.2, 1.25 + 0.34 * rows))
    for index, (series, values) in enumerate(groups.items()):
        y = np.arange(len(labels)) + (index - (len(groups) - 1) / 2) * height
        x = np.array([values[label] for label in labels], float)
        style = filled(index)
        label = series if len(groups) > 1 else None
        axes.barh(y, x, height=height * 0.92, label=label, **style)
        low = high = x
        if intervals and series in intervals:
            low, high = np.array([intervals[series][label] for label in labels], float).T
            axes.errorbar(x, y, xerr=[x - low, high - x], fmt="none", color="#222222", capsize=2)
        ends = np.where(x < 0, np.minimum(low, x), np.maximum(high, x))
        for at, end, value in zip(y, ends, x, strict=True):
            # beyond the end of the bar, on the side where there is no bar
            side = "right" if value < 0 else "left"
            axes.text(end, at, f" {value:.{digits}f} ", ha=side, va="center", fontsize=8)
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


def stacks(
    rows: Mapping[str, Mapping[str, float]],
    *,
    title: str,
    xlabel: str,
    ylabel: str,
    digits: int = 2,
    save: str | Path | None = None,
) -> str:
    """Draw one horizontal bar per entry of ``rows``, stacked from its parts, and return the twin.

    For shares that add up to a whole, such as a belief turn by turn. Parts wide enough have their
    number inside.

    Args:
        rows: row -> part -> value; all rows have the same parts, at most eight, in one order.
        title: the finding, in a sentence.
        xlabel: what the length of a part is, with its unit.
        ylabel: what the rows are.
        digits: decimals in the bars and in the twin.
        save: also write the PNG here.
    """
    parts = list(next(iter(rows.values())))
    values = np.array([[row[part] for part in parts] for row in rows.values()], float)
    figure, axes = new_axes(title, xlabel, ylabel, (7.2, 1.75 + 0.42 * len(rows)))
    starts, places = np.cumsum(values, axis=1) - values, range(len(rows))
    box = {"boxstyle": "round,pad=0.15", "facecolor": "white", "edgecolor": "none"}
    for index, part in enumerate(parts):
        style = filled(index)
        axes.barh(places, values[:, index], left=starts[:, index], height=0.74, label=part, **style)
        for place, start, value in zip(places, starts[:, index], values[:, index], strict=True):
            if value >= 0.06 * values.sum(1).max():
                axes.text(start + value / 2, place, f"{value:.{digits}f}", ha="center",
                          va="center", fontsize=8, bbox=box)  # fmt: skip
    axes.set_yticks(
        places,
        ["\n".join(textwrap.wrap(textwrap.shorten(r, 60, placeholder=" …"), 30)) for r in rows],
    )
    axes.invert_yaxis()
    axes.margins(x=0)
    figure.legend(loc="outside lower left", ncols=4, frameon=False, fontsize=9)
    facts = [
        f"{name}: "
        + ", ".join(f"{part} {x:.{digits}f}" for part, x in zip(parts, row, strict=True))
        for name, row in zip(rows, values, strict=True)
    ]
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
    figure, axes = new_axes(title, xlabel, ylabel, size)
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
    figure, axes = new_axes(title, xlabel, ylabel)
    arrays = {name: np.asarray(x, float).ravel() for name, x in samples.items()}
    edges = np.histogram_bin_edges(np.concatenate(list(arrays.values())), bins)
    facts = []
    for index, (name, array) in enumerate(arrays.items()):
        weights = np.full(len(array), 1 / len(array))
        style = filled(index)
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
