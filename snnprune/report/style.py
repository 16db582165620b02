"""The style of pictures: as wide as a paper's column, in colours that colour-blind readers can tell apart."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure

WIDTH = 3.5
"""Width of a picture in inches: one column of the field's journals (IEEE: 3.5)."""

PRUNED, DENSE, THIRD, FOURTH, FIFTH = "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#b07d00"
"""Okabe and Ito's palette (2008), with a darker orange that is legible as a line on white."""

LINES = (PRUNED, DENSE, THIRD, FOURTH, FIFTH, "#4d6b8a")
DASHES = ("-", "--", ":", "-.", (0, (3, 1, 1, 1, 1, 1)), (0, (1, 3)))
"""Lines differ by their dashes as well as by their colours."""

INK, FAINT, GRID, PAPER, GONE = "#1b1e22", "#5a6169", "#d5d9de", "#fdfdfd", "#e4e7eb"

NIGHT = {
    INK: "#e7e9ec",
    FAINT: "#a9b0b8",
    GRID: "#3a4047",
    PAPER: "#1c2025",
    GONE: "#0b0d10",
    PRUNED: "#56b4e9",
    DENSE: "#f0843c",
    THIRD: "#2fc79b",
    FOURTH: "#e3a3c6",
    FIFTH: "#e6b422",
    LINES[5]: "#a6c1dd",
}
"""Colours of a dark page, by the colours of the light page."""

HEAT = "cividis"
"""Colour map of amounts: uniform in brightness, for every kind of colour vision."""

SETTINGS: Any = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],  # comes with matplotlib: pictures are alike everywhere
    "font.size": 8,
    "axes.titlesize": 8,
    "axes.labelsize": 8,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "legend.fontsize": 7,
    "legend.frameon": False,
    "axes.linewidth": 0.6,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "lines.linewidth": 1.3,
    "axes.edgecolor": FAINT,
    "axes.labelcolor": INK,
    "axes.titlecolor": INK,
    "text.color": INK,
    "xtick.color": FAINT,
    "ytick.color": FAINT,
    "grid.color": GRID,
    "grid.linewidth": 0.5,
    "axes.facecolor": "none",
    "figure.facecolor": PAPER,
    "savefig.facecolor": PAPER,
    "text.parse_math": False,  # a name with dollar signs in it is a name
    "svg.fonttype": "path",
    "svg.hashsalt": "snnprune",
    "figure.dpi": 100,
    "savefig.dpi": 300,
}


def tidy(axes: Axes, *, epochs: bool = False, grid: bool = True) -> None:
    """Hide the frame's upper and right side; put ticks of epochs at whole numbers."""
    axes.spines[["top", "right"]].set_visible(False)
    if grid:
        axes.grid(visible=True)
        axes.set_axisbelow(True)
    if epochs:
        whole_numbers(axes.xaxis)
        axes.set_xlabel("epoch")


def whole_numbers(axis: Axis) -> None:
    """Put the ticks of ``axis`` at whole numbers."""
    from matplotlib.ticker import MaxNLocator  # noqa: PLC0415 - slow to import

    axis.set_major_locator(MaxNLocator(nbins=6, integer=True, min_n_ticks=1))


def short(number: float) -> str:
    """Write a number in at most four digits with its unit: 776.7 k, 26.4 M."""
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e4, "k")):
        if number >= size:
            return f"{number / (1e3 if unit == 'k' else size):.1f}".removesuffix(".0") + f" {unit}"
    return f"{number:,.0f}" if number >= 100 or number == round(number) else f"{number:.3g}"


def clipped(name: object, length: int = 18) -> str:
    """Return a name in at most ``length`` characters."""
    text = " ".join(str(name).split())
    return text if len(text) <= length else f"{text[: length - 1]}…"


def legend_below(figure: Figure, axes: Axes, *, most: int = 4, handle: float = 2.0) -> None:
    """Put the legend of ``axes`` below the figure, in columns that fit its width; more rows make it higher.

    Args:
        figure: the figure that holds the axes.
        axes: the axes whose lines and points have labels.
        most: most columns.
        handle: length of a line in the legend, as a multiple of the letters' height.
    """
    handles, labels = axes.get_legend_handles_labels()
    from matplotlib.textpath import TextPath  # noqa: PLC0415 - slow to import

    height = SETTINGS["legend.fontsize"]
    longest = max(TextPath((0, 0), label, size=height).get_extents().width for label in labels)
    wide = (longest + (handle + 2.2) * height) / 72  # inches, with the gaps around
    rows = math.ceil(len(labels) / max(1, min(most, int(WIDTH / wide))))
    figure.set_figheight(figure.get_figheight() + 0.15 * (rows - 1))
    figure.legend(
        handles,
        labels,
        loc="outside lower center",
        ncols=math.ceil(len(labels) / rows),
        columnspacing=1.2,
        handlelength=handle,
    )
