"""The course's diagrams: the pipeline, the graphical model, the bound, one turn, quality and cost.

    python -m latentcrs_utils.pictures    writes them to notebooks/course/pictures (`make pictures`)

What is lit is dark with white letters, so it shows in grey, too. Each function returns a figure.
"""

import json
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from latentcrs_utils.plots import MARKERS, PALETTE
from latentcrs_utils.support.files import atomic_path

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Place = tuple[float, float]
ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "notebooks" / "course" / "pictures"
DARK, PALE, INK = "#0B3C5D", "#EEF3F7", "#222222"

# stage -> where its box is, and what is written in it; the number is the notebook's
STAGES: dict[str, tuple[Place, str]] = {
    "01": ((0.0, 2.0), "ratings\n5-core, splits"),
    "02": ((2.0, 2.0), "backbone\nhistory → S"),
    "03": ((4.0, 2.0), "k-means\nanchors $c_m$"),
    "04": ((2.0, 0.0), "language model\nwords → x"),
    "05": ((4.0, 0.0), "variational EM\n$p_m$ and $q_m$"),
    "06": ((6.0, 1.0), "one turn\np(v | S, x)"),
    "07": ((8.0, 1.0), "conversation\nturn by turn"),
    "08": ((10.0, 2.0), "dialogues\nS@5, turns, cost"),
    "09": ((10.0, 1.0), "ablations\nwhat is needed"),
    "10": ((10.0, 0.0), "the chat\nin a browser"),
    "11": ((0.0, 0.0), "the paper's size\nml-1m, Amazon"),
}
FLOWS = (("01", "02"), ("02", "03"), ("03", "05"), ("02", "05"), ("04", "05"), ("05", "06"),
         ("06", "07"), ("07", "08"), ("07", "09"), ("07", "10"), ("11", "01"))  # fmt: skip


def pipeline(lit: str | None = None) -> "Figure":
    """The stages of the course; that of the notebook ``lit``, such as "05", is dark; "00": all."""
    figure, axes = _canvas(11.6, 2.9, (-0.85, 10.85), (-0.55, 2.6))
    for start, end in FLOWS:
        _arrow(axes, STAGES[start][0], STAGES[end][0], (0.82, 0.34))
    for number, (place, words) in STAGES.items():
        _box(axes, place, f"{number}  {words}", (1.62, 0.66), lit=lit in (number, "00"))
    return figure


def graphical_model() -> "Figure":
    """The model in plate notation: shaded is observed, m is latent; anchors and weights outside."""
    figure, axes = _canvas(7.2, 3.6, (-0.1, 6.9), (-0.75, 3.6))
    nodes = {"S": ((1.0, 2.1), True, "history"), "x": ((1.0, 0.6), True, "words"),
             "m": ((3.0, 1.35), False, "intent"), "v": ((4.9, 1.35), True, "item")}  # fmt: skip
    for start, end in (("S", "m"), ("x", "m"), ("m", "v")):
        _arrow(axes, nodes[start][0], nodes[end][0], (0.36, 0.36))
    for name, (place, observed, meaning) in nodes.items():
        _circle(axes, place, name, observed)
        axes.text(place[0], place[1] - 0.62, meaning, ha="center", fontsize=9, color=INK)
    for name, place, target in (("$c_m$", (3.0, 3.3), "m"), ("$θ$", (6.5, 1.35), "v")):
        axes.text(*place, name, ha="center", va="center", fontsize=13, color=INK)
        _arrow(axes, place, nodes[target][0], (0.36, 0.36))
    axes.annotate("", (2.72, 1.68), (1.32, 2.3), arrowprops={
        "arrowstyle": "-|>", "linestyle": "--", "color": PALETTE[5],
        "connectionstyle": "arc3,rad=-0.35"})  # fmt: skip
    axes.text(2.1, 2.5, "q(m | S)", color=PALETTE[5], fontsize=10, ha="center")
    _plate(axes, (0.2, -0.55), (5.6, 3.4), "one for each user and turn")
    return figure


def bound(prior: float = 0.3) -> "Figure":
    """log p(v | S, x) by the weight of one of two intents, and the ELBO, which touches it."""
    figure, axes = _canvas(6.4, 3.4, (-3, 4.2), (-2.35, -0.35), frame=True)
    a, b, z = 0.6, 0.12, np.linspace(-3, 4.2, 300)

    def log_p(z: Any) -> Any:
        w = 1 / (1 + np.exp(-z))
        return np.log(w * a + (1 - w) * b)

    def elbo(z: Any, z_of_q: float) -> Any:
        w, of_q = 1 / (1 + np.exp(-z)), 1 / (1 + np.exp(-z_of_q))
        q = of_q * a / (of_q * a + (1 - of_q) * b)
        of_entropy = -q * np.log(q) - (1 - q) * np.log(1 - q)
        return q * np.log(w * a) + (1 - q) * np.log((1 - w) * b) + of_entropy

    axes.plot(z, log_p(z), color=DARK, linewidth=2.5, label="log p(v | S, x)")
    here = float(np.log(prior / (1 - prior))) - 1
    for step, style in enumerate(("-", "--")):
        axes.plot(z, elbo(z, here), style, color=PALETTE[1 + step], linewidth=1.8,
                  label=f"ELBO after E-step {step + 1}")  # fmt: skip
        top = float(z[np.argmax(elbo(z, here))])
        axes.plot(here, log_p(here), marker=MARKERS[step], color=INK, markersize=8)
        axes.annotate(f"M-step {step + 1}", (top, elbo(top, here)), fontsize=9,
                      xytext=(top + 0.5, elbo(top, here) - 0.45),
                      arrowprops={"arrowstyle": "-|>", "color": INK})  # fmt: skip
        here = top
    axes.set(xlabel="parameter θ", ylabel="nats")
    axes.legend(frameon=False, fontsize=9, loc="upper left")
    return figure


def turn_flow() -> "Figure":
    """One turn as data: what comes in, what is computed once, what is shown."""
    figure, axes = _canvas(11.6, 3.0, (-1.1, 11.1), (-0.85, 2.45))
    boxes = {
        "message": ((0.0, 2.0), "message\n“no horror, please”"),
        "seen": ((0.0, 0.0), "history\nfilms seen"),
        "x": ((2.5, 2.0), "x\nlanguage model"), "S": ((2.5, 0.0), "S\nbackbone"),
        "belief": ((5.0, 1.0), "belief\np(m | S, x)"),
        "scores": ((7.4, 1.0), "scores\nlog p(v | S, x) + terms"),
        "policy": ((10.0, 2.0), "policy B, F, V or A\nmask, filter, order"),
        "reply": ((10.0, 0.0), "five films\nand a reply"),
    }  # fmt: skip
    for pair in ("message x", "seen S", "x belief", "S belief", "belief scores", "scores policy",
                 "policy reply"):  # fmt: skip
        start, end = (boxes[name][0] for name in pair.split())
        _arrow(axes, start, end, (1.02, 0.36))
    axes.plot([10.0, 10.0, 0.0, 0.0], [-0.38, -0.7, -0.7, -0.5], ":", color=INK)
    _arrow(axes, (0.0, -0.75), (0.0, 0.0), (1.0, 0.36))
    axes.text(5.0, -0.62, "what was refused or liked, and the next message", ha="center",
              va="bottom", fontsize=9)  # fmt: skip
    for name, (place, words) in boxes.items():
        _box(axes, place, words, (1.98, 0.7), lit=name == "belief")
    return figure


def quality_against_cost(record: Mapping[str, Any]) -> "Figure":
    """S@5 of every system against the seconds that choosing takes a turn, from a record."""
    figure, axes = _canvas(8.8, 4.6, frame=True)
    costs = record.get("table_6_asked", []) + record["table_6"]
    seconds = {row["system"]: row["seconds_a_turn"] for row in costs}
    known = {row["system"] for row in record["table_4"]}
    asked = [row for row in record.get("table_4_asked", []) if row["system"] not in known]
    rows = sorted(record["table_4"] + asked, key=lambda row: -row["S@5"])
    for place, row in enumerate(rows):
        low, high = row["S@5"] - row["S@5_low"], row["S@5_high"] - row["S@5"]
        name = row["system"] + ("" if row["n"] == rows[0]["n"] else f" ({row['n']} users)")
        axes.errorbar(seconds[row["system"]], row["S@5"], [[low], [high]], label=name,
                      marker=MARKERS[place % 8], color=PALETTE[place % 8], markersize=8,
                      linestyle="", elinewidth=0.8,
                      fillstyle=("full", "none", "bottom")[place // 8 % 3])  # fmt: skip
    axes.set(xscale="log", xlabel="seconds a turn, to choose what to say",
             ylabel=f"S@5 of {rows[0]['n']} users, 95 % interval")  # fmt: skip
    figure.legend(loc="outside right center", frameon=False, fontsize=9)
    return figure


def _canvas(
    width: float, height: float, x: Place | None = None, y: Place | None = None, *,
    frame: bool = False,
) -> "tuple[Figure, Axes]":  # fmt: skip
    """An empty figure of some inches, without axes unless framed."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    if x is not None and y is not None:
        axes.set(xlim=x, ylim=y)
    if frame:
        axes.spines[["top", "right"]].set_visible(False)
    else:
        axes.set_axis_off()
    return figure, axes


def _box(axes: "Axes", place: Place, words: str, size: Place, *, lit: bool) -> None:
    from matplotlib.patches import FancyBboxPatch

    corner = place[0] - size[0] / 2, place[1] - size[1] / 2
    axes.add_patch(FancyBboxPatch(
        corner, *size, boxstyle="round,pad=0.02,rounding_size=0.12", linewidth=1.4,
        facecolor=DARK if lit else PALE, edgecolor=DARK, zorder=2))  # fmt: skip
    axes.text(*place, words, ha="center", va="center", fontsize=10, linespacing=1.35, zorder=3,
              color="white" if lit else INK, fontweight="bold" if lit else "normal")  # fmt: skip


def _circle(axes: "Axes", place: Place, name: str, observed: bool) -> None:
    axes.plot(*place, "o", markersize=30, markeredgecolor=DARK, markeredgewidth=1.6, zorder=2,
              markerfacecolor="#C9D6E2" if observed else "white")  # fmt: skip
    axes.text(*place, name, ha="center", va="center", fontsize=13, style="italic", zorder=3)


def _plate(axes: "Axes", corner: Place, size: Place, words: str) -> None:
    from matplotlib.patches import FancyBboxPatch

    axes.add_patch(FancyBboxPatch(corner, *size, boxstyle="round,pad=0,rounding_size=0.15",
                                  fill=False, edgecolor=INK, linewidth=1.1))  # fmt: skip
    axes.text(corner[0] + size[0] - 0.12, corner[1] + 0.12, words, ha="right", fontsize=9)


def _arrow(axes: "Axes", start: Place, end: Place, half: Place) -> None:
    """An arrow between two places that stops outside of what has these half sizes there."""
    a, b = np.array(start), np.array(end)
    way = b - a
    share = min(half[i] / abs(way[i]) for i in (0, 1) if way[i])
    axes.annotate("", tuple(b - way * share), tuple(a + way * share), zorder=1,
                  arrowprops={"arrowstyle": "-|>", "color": INK, "linewidth": 1.2,
                              "shrinkA": 0, "shrinkB": 0})  # fmt: skip


def write_all(folder: Path = FOLDER, numbers: tuple[str, ...] = ("00", *STAGES)) -> list[Path]:
    """Write every diagram as SVG, the same bytes each time; the folder is made if absent."""
    import matplotlib

    record = json.loads((ROOT / "results" / "tables_ml-100k.json").read_text("utf-8"))
    drawn: dict[str, Callable[[], Figure]] = {
        f"pipeline_{n}": partial(pipeline, n) for n in numbers
    }
    drawn |= {"graphical_model": graphical_model, "bound": bound, "turn_flow": turn_flow,
              "quality_against_cost": partial(quality_against_cost, record)}  # fmt: skip
    written = [folder / f"{name}.svg" for name in drawn]
    for path, draw in zip(written, drawn.values(), strict=True):
        with matplotlib.rc_context({"svg.hashsalt": "latentcrs"}), atomic_path(path) as temporary:
            draw().savefig(temporary, format="svg", metadata={"Date": None, "Creator": None})
    return written


if __name__ == "__main__":
    print(*(path.relative_to(ROOT) for path in write_all()), sep="\n")
