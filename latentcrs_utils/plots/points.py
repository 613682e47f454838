"""Points in a plane, points with whiskers, and the blades of a silhouette diagram."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from latentcrs_utils.plots.look import MARKERS, PALETTE, filled, new_axes, show

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from numpy.typing import ArrayLike


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
    figure, axes = new_axes(title, xlabel, ylabel, (7.2, 4.6))
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
    figure, axes = new_axes(title, xlabel, ylabel, (7.2, 1.6 + 0.34 * len(arrays)))
    base, gap, facts, ticks = 0.0, 0.02 * total, [], []
    for index, (name, values) in enumerate(arrays.items()):
        heights = base + np.arange(len(values) + 1)
        steps = np.append(values, values[-1])
        style = filled(index)
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


def dots(
    groups: Mapping[str, Mapping[str, float]],
    *,
    title: str,
    xlabel: str,
    ylabel: str = "",
    intervals: Mapping[str, Mapping[str, tuple[float, float]]] | None = None,
    digits: int = 3,
    references: Mapping[str, float] | None = None,
    save: str | Path | None = None,
) -> str:
    """Draw one row per label and in it one point per entry of ``groups``, with its interval.

    Unlike bars, points need no zero: for differences, and for values far from it.

    Args:
        groups: series -> label -> value; all series have the same labels. NaN: no point.
        title: the finding, in a sentence.
        xlabel: what runs along x, with its unit.
        ylabel: what the labels are.
        intervals: series -> label -> (low, high), drawn as whiskers.
        digits: decimals in the twin.
        references: name -> x of a vertical dashed line, such as ``{"no difference": 0}``.
        save: also write the PNG here.

    Returns:
        The text twin: each value, and its interval in brackets; "none" for NaN.
    """
    labels = list(next(iter(groups.values())))
    rows = len(labels) * max(1, 0.5 * len(groups))
    figure, axes = new_axes(title, xlabel, ylabel, (7.2, 1.4 + 0.34 * rows))
    for name, value in (references or {}).items():
        axes.axvline(value, color="#444444", linestyle="--", linewidth=1.2)
        axes.annotate(name, (value, 1), xycoords=("data", "axes fraction"), fontsize=8,
                      ha="center", va="bottom")  # fmt: skip
    facts = []
    for index, (series, values) in enumerate(groups.items()):
        y = np.arange(len(labels)) + (index - (len(groups) - 1) / 2) * 0.7 / len(groups)
        x = np.array([values[label] for label in labels], float)
        ends = (intervals or {}).get(series)
        said = [f"{label} {value:.{digits}f}" for label, value in zip(labels, x, strict=True)]
        whiskers = None
        if ends:
            low, high = np.array([ends[label] for label in labels], float).T
            whiskers = np.abs(np.stack([x - low, high - x]))
            said = [
                f"{text} ({a:.{digits}f} to {b:.{digits}f})"
                for text, a, b in zip(said, low, high, strict=True)
            ]
        style: dict[str, Any] = {"color": PALETTE[index % 8], "fmt": MARKERS[index % 8]}
        axes.errorbar(x, y, xerr=whiskers, label=series, capsize=2, markersize=5, **style)
        for place in np.flatnonzero(np.isnan(x)):
            said[place] = f"{labels[place]} none"
        facts.append((f"{series}: " if len(groups) > 1 else "") + ", ".join(said))
    axes.set_yticks(
        range(len(labels)), [textwrap.shorten(str(x), 60, placeholder=" …") for x in labels]
    )
    axes.set_ylim(len(labels) - 0.5, -0.5)
    axes.grid(axis="x", alpha=0.25)
    if len(groups) > 1:
        figure.legend(loc="outside lower left", ncols=4, frameon=False, fontsize=9)
    facts += [f"{name} {value:.{digits}f}" for name, value in (references or {}).items()]
    return show(figure, title, f"{title}. {xlabel}: " + "; ".join(facts) + ".", save=save)
