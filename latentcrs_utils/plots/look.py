"""What all figures share: colours, markers and hatches, empty axes, and how they are shown."""

from __future__ import annotations

import base64
import io
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito's palette: told apart with any of the common forms of colour blindness.
PALETTE = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#7F7F7F", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
HATCHES = ("", "//", "..", "xx", "\\\\", "++", "oo", "**")
DPI = 96


def new_axes(
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


def filled(index: int) -> dict[str, Any]:
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
